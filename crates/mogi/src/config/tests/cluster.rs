//! A store in Redis, and several brokers on it.

use super::Expected;
use mogi_store::redis::wire::{Depth, Mode};

/// An example of each option, and how it is found.
pub(super) const EXAMPLES: &[(&str, Expected)] = &[
    ("cluster_advertise a:1", |c| c.cluster.advertise.as_deref() == Some("a:1")),
    ("cluster_bridges each", |c| c.cluster.bridges_each),
    ("cluster_buffer_limit 2000000", |c| c.cluster.buffer_limit == 2_000_000),
    ("cluster_cafile x", |c| c.cluster.tls.ca_file.as_deref() == Some("x")),
    ("cluster_certfile x", |c| c.cluster.tls.cert_file.as_deref() == Some("x")),
    ("cluster_insecure true", |c| c.cluster.tls.insecure),
    ("cluster_keyfile x", |c| c.cluster.tls.key_file.as_deref() == Some("x")),
    ("cluster_lease_seconds 7", |c| c.cluster.lease_ms == 7000),
    ("cluster_listener 7 h", |c| {
        let listener = c.cluster.listener.as_ref();
        listener.is_some_and(|it| (it.port, it.host.as_deref()) == (7, Some("h")))
    }),
    ("cluster_name x", |c| c.cluster.name == "x"),
    ("cluster_node_id x", |c| c.persistence.redis.node.as_deref() == Some("x")),
    ("cluster_server_reference h:1", |c| c.core.server_reference.as_deref() == Some("h:1")),
    ("persistence_store redis://h:1", |c| c.persistence.redis.store.is_some()),
    ("redis_cafile x", |c| c.persistence.redis.ca_file.as_deref() == Some("x")),
    ("redis_certfile x", |c| c.persistence.redis.cert_file.as_deref() == Some("x")),
    ("redis_cluster true", |c| c.persistence.redis.mode == Mode::Cluster),
    ("redis_insecure true", |c| c.persistence.redis.insecure),
    ("redis_keyfile x", |c| c.persistence.redis.key_file.as_deref() == Some("x")),
    ("redis_prefix x:", |c| c.persistence.redis.prefix.as_deref() == Some("x:")),
    ("redis_wait 2 70", |c| c.persistence.redis.wait.is_some_and(|wait| wait.replicas == 2)),
    ("redis_wait_aof 1 2 70", |c| {
        let wait = c.persistence.redis.wait;
        wait.is_some_and(|it| (it.replicas, it.depth) == (2, Depth::Disk { master: true }))
    }),
];
