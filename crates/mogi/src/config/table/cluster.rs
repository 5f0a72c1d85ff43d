//! Options of a broker that is one of several.

use super::Kind::{Bool, Number, Other, Text, TextOnce};
use super::Scope::Mogi;
use super::Status::Works;
use super::{BOOL, Spec, range, row};
use crate::config::{apply, redis};

const BETWEEN: &str = "Error: '{name}' must be between {low} and {high} inclusive.";

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    row("cluster_advertise", Mogi, "`HOST:PORT`", "–",
        Works(Text(|to, text| to.config.cluster.advertise = Some(text))),
        "where other nodes reach this one; without it the address and port of `cluster_listener`")
        .restart().restart(),
    row("cluster_bridges", Mogi, "`one` or `each`", "one",
        Works(Other(apply::cluster_bridges)),
        "who carries the bridges of mosquitto.conf: one node at a time, and another one when it is \
         gone, or each node its own")
        .restart(),
    row("cluster_buffer_limit", Mogi, "bytes, 1048576 or more", "67108864",
        Works(Number(range(1 << 20, i32::MAX).or(BETWEEN), |to, n| {
            to.config.cluster.buffer_limit = n as usize;
        })),
        "messages that wait for one node beyond which they are dropped; those in the store are \
         read there")
        .restart().restart(),
    row("cluster_cafile", Mogi, "a file", "none",
        Works(TextOnce(|to| &mut to.config.cluster.tls.ca_file)),
        "PEM certificates of who signs those of the nodes: links between nodes are encrypted, and \
         whoever shows none of these is not let in; needs `cluster_certfile` and `cluster_keyfile`")
        .restart(),
    row("cluster_certfile", Mogi, "a file", "none",
        Works(TextOnce(|to| &mut to.config.cluster.tls.cert_file)),
        "the PEM certificate this node shows to the others, for the host in `cluster_advertise`; \
         read again on SIGHUP, and when it changes").restart(),
    row("cluster_insecure", Mogi, BOOL, "false",
        Works(Bool(|to, yes| to.config.cluster.tls.insecure = yes)),
        "takes certificates of other nodes whatever host they are for; signed they have to be")
        .restart(),
    row("cluster_keyfile", Mogi, "a file", "none",
        Works(TextOnce(|to| &mut to.config.cluster.tls.key_file)),
        "the PEM key of `cluster_certfile`").restart(),
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
