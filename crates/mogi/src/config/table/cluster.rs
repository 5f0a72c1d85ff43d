//! Options of a broker that is one of several.

use super::Kind::{Number, Other, Text};
use super::Scope::Mogi;
use super::Status::Works;
use super::{Spec, range, row};
use crate::config::{apply, redis};

const BETWEEN: &str = "Error: '{name}' must be between {low} and {high} inclusive.";

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    row("cluster_advertise", Mogi, "`HOST:PORT`", "–",
        Works(Text(|to, text| to.config.cluster.advertise = Some(text))),
        "where other nodes reach this one; without it the address and port of `cluster_listener`")
        .restart().restart(),
    row("cluster_buffer_limit", Mogi, "bytes, 1048576 or more", "67108864",
        Works(Number(range(1 << 20, i32::MAX).or(BETWEEN), |to, n| {
            to.config.cluster.buffer_limit = n as usize;
        })),
        "messages that wait for one node beyond which they are dropped; those in the store are \
         read there")
        .restart().restart(),
    row("cluster_lease_seconds", Mogi, "seconds, 2 to 300", "10",
        Works(Number(range(2, 300).or(BETWEEN), |to, n| {
            to.config.cluster.lease_ms = n as u64 * 1000;
        })),
        "time without a sign of life after which the others take a node for dead")
        .restart().restart(),
    row("cluster_listener", Mogi, "port, then an address if not all", "–",
        Works(Other(apply::cluster_listener)),
        "where other nodes connect to; makes the broker one of several on one store")
        .restart().restart(),
    row("cluster_name", Mogi, "text", "mogi",
        Works(Text(|to, text| to.config.cluster.name = text)),
        "the name of the cluster: nodes of another one are not let in")
        .restart().restart(),
    row("cluster_node_id", Mogi, "letters, digits, `-`, `_`, `.`", "–",
        Works(Other(redis::cluster_node_id)),
        "the name under which this broker owns sessions in Redis: another one for each broker, the \
         same over restarts; without it `mogi`, or with `cluster_listener` the host name and its \
         port")
        .restart().restart(),
    row("cluster_server_reference", Mogi, "`HOST[:PORT] …`", "–",
        Works(Text(|to, text| to.config.core.server_reference = Some(text))),
        "where MQTT 5 clients are told to go when this broker stops (DISCONNECT 0x9D)")
        .restart(),
];
