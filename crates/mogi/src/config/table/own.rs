//! mogi's own options: limits Mosquitto has no name for, and threads.

use super::Kind::{Bool, Number, Other, TextOnce};
use super::Scope::Mogi;
use super::Status::Works;
use super::{BOOL, Range, Spec, range, row};
use crate::config::{apply, redis};

const OR_MORE: &str = "Error: '{name}' must be {low} or more.";
const BETWEEN: &str = "Error: '{name}' must be between {low} and {high} inclusive.";

const fn at_least(low: i32) -> Range {
    range(low, i32::MAX).or(OR_MORE)
}

const fn between(low: i32, high: i32) -> Range {
    range(low, high).or(BETWEEN)
}

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    row("acl_strict", Mogi, BOOL, "false",
        Works(Bool(|to, yes| to.config.access.acl_strict = yes)),
        "refuse SUBSCRIBE where `acl_file` does not allow to read everything it asks for; \
         Mosquitto grants it and delivers what is allowed"),
    row("auth_ban_addresses", Mogi, "addresses, 100 to 1000000", "10000",
        Works(Number(between(100, 1_000_000), |to, n| {
            to.config.access.bans.addresses = n as usize;
        })),
        "addresses with failed logins that are remembered").restart(),
    row("auth_ban_attempts", Mogi, "logins, up to 1000000; 0: never", "0",
        Works(Number(between(0, 1_000_000), |to, n| to.config.access.bans.attempts = n as u32)),
        "failed logins within `auth_ban_window` after which an address is not let in for a while")
        .restart(),
    row("auth_ban_time", Mogi, "seconds, 1 to 2592000", "600",
        Works(Number(between(1, 2_592_000), |to, n| {
            to.config.access.bans.time_ms = n as u64 * 1000;
        })),
        "how long it is not let in").restart(),
    row("auth_ban_window", Mogi, "seconds, 1 to 86400", "60",
        Works(Number(between(1, 86_400), |to, n| {
            to.config.access.bans.window_ms = n as u64 * 1000;
        })),
        "the time in which failed logins are counted").restart(),
    row("auth_delay", Mogi, "milliseconds, up to 60000", "0",
        Works(Number(between(0, 60_000), |to, n| to.config.access.delay_ms = n as u64)),
        "how long a client whose login failed waits for the answer"),
    row("auth_threads", Mogi, "threads, 1 to 64", "2",
        Works(Number(between(1, 64), |to, n| to.config.access.threads = n as u16)),
        "threads that check passwords; they are started when there is one to check").restart(),
    row("connect_timeout", Mogi, "seconds, 1 to 3600", "30",
        Works(Number(between(1, 3600), |to, n| to.config.connect_timeout_ms = n as u64 * 1000)),
        "how long a connection may take until it has sent its CONNECT, with PROXY header, TLS \
         handshake and WebSocket request"),
    row("connection_buffer_limit", Mogi, "bytes, 65536 or more", "16777216",
        Works(Number(at_least(65_536), |to, n| {
            to.config.core.connection_buffer_limit = n as usize;
        })),
        "output pending for a connection beyond which messages to it are dropped"),
    row("max_connection_rate", Mogi, "connections per second; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.crowd.per_second = n as u32)),
        "new connections that are accepted; others wait"),
    row("max_connection_wait", Mogi, "seconds, up to 3600; 0: for ever", "10",
        Works(Number(between(0, 3600), |to, n| to.config.crowd.wait_ms = n as u64 * 1000)),
        "how long there may be connections that wait because of `max_connection_rate`; those \
         beyond it are refused then (0x9F), so that who comes next need not wait as long"),
    row("max_connections_per_address", Mogi, "connections; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.crowd.per_address = n as u32)),
        "connections from one address, or one network of 64 bits in IPv6"),
    row("max_pending_connections", Mogi, "connections; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.crowd.pending = n as usize)),
        "connections whose CONNECT was not accepted yet"),
    row("max_publish_bytes_per_client", Mogi, "bytes per second; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.rates.client.bytes = n as u32)),
        "what a client may publish; who has done so is not read for a while"),
    row("max_publish_bytes_per_listener", Mogi, "bytes per second; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.rates.listener.bytes = n as u32)),
        "what all clients of a listener together may publish; who has done so is not read for a \
         while"),
    row("max_publish_bytes_per_user", Mogi, "bytes per second; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.rates.user.bytes = n as u32)),
        "what all clients of one user name together may publish; who has done so is not read \
         for a while"),
    row("max_publish_rate_per_client", Mogi, "messages per second; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.rates.client.messages = n as u32)),
        "what a client may publish; who has done so is not read for a while"),
    row("max_publish_rate_per_listener", Mogi, "messages per second; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.rates.listener.messages = n as u32)),
        "what all clients of a listener together may publish; who has done so is not read for a \
         while"),
    row("max_publish_rate_per_user", Mogi, "messages per second; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.rates.user.messages = n as u32)),
        "what all clients of one user name together may publish; who has done so is not read \
         for a while"),
    row("max_queued_bytes_total", Mogi, "bytes; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.core.max_queued_bytes_total = n as u64)),
        "messages that wait for clients, in memory, of all clients; newer ones are dropped"),
    row("max_retained_bytes", Mogi, "bytes; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.core.max_retained_bytes = n as usize)),
        "topics, properties and payloads of retained messages"),
    row("max_retained_messages", Mogi, "topics; 0: any number", "0",
        Works(Number(at_least(0), |to, n| to.config.core.max_retained_messages = n as usize)),
        "topics with a retained message"),
    row("max_subscriptions_per_client", Mogi, "filters; 0: any number", "0",
        Works(Number(at_least(0), |to, n| {
            to.config.core.max_subscriptions_per_client = n as usize;
        })),
        "subscriptions a client may hold"),
    row("max_topic_levels", Mogi, "separators, up to 65535; 0: any number", "200",
        Works(Number(between(0, 65_535), |to, n| to.config.core.max_topic_levels = n as usize)),
        "`/` a topic or filter may have"),
    row("persistence_buffer_limit", Mogi, "bytes, 1048576 or more", "67108864",
        Works(Number(at_least(1 << 20), |to, n| to.config.persistence.buffer_limit = n as u64)),
        "changes not on disk yet from which on publishers wait for the disk").restart(),
    row("persistence_cache_bytes", Mogi, "bytes, 65536 or more", "4194304",
        Works(Number(at_least(65_536), |to, n| to.config.persistence.cache_bytes = n as u64)),
        "memory for what was read from the disk").restart(),
    row("persistence_journal_bytes", Mogi, "bytes, 67108864 or more", "67108864",
        Works(Number(at_least(64 << 20), |to, n| to.config.persistence.journal_bytes = n as u64)),
        "journals on disk before their content is moved to tables").restart(),
    row("persistence_memtable_bytes", Mogi, "bytes, 1048576 or more", "8388608",
        Works(Number(at_least(1 << 20), |to, n| to.config.persistence.memtable_bytes = n as u64)),
        "memory for new data of each kind before it is moved to tables").restart(),
    row("persistence_on_damage", Mogi, "`continue` or `stop`", "continue",
        Works(Other(apply::persistence_on_damage)),
        "what happens when the store is damaged: the damage is set aside and the rest is served, \
         or the start fails").restart(),
    row("persistence_store", Mogi, "`redis://[user:password@]host[:port][,host[:port]…]`",
        "the folder of `persistence_location`",
        Works(Other(redis::persistence_store)),
        "keeps state in Redis, Valkey or a cluster of either; `rediss://` with TLS").restart(),
    row("persistence_sync", Mogi, "`always`, `interval MILLISECONDS` or `off`", "always",
        Works(Other(apply::persistence_sync)),
        "when changes are synced to the disk; with `always` before they are acknowledged")
        .restart(),
    row("queue_window_bytes", Mogi, "bytes, 65536 or more", "1048576",
        Works(Number(at_least(65_536), |to, n| to.config.core.queue_window_bytes = n as u64)),
        "bytes of a client's queue that are in memory; the rest is on disk, where state is kept \
         there"),
    row("queue_window_messages", Mogi, "messages, 10 or more", "1000",
        Works(Number(at_least(10), |to, n| to.config.core.queue_window_messages = n as usize)),
        "messages of a client's queue that are in memory; the rest is on disk, where state is \
         kept there"),
    row("receive_maximum_tolerance", Mogi, "times, up to 65535", "10",
        Works(Number(between(0, 65_535), |to, n| {
            to.config.core.receive_maximum_tolerance = n as u32;
        })),
        "how many times the receive maximum announced to it a 5.0 client may have in flight, \
         before it is disconnected"),
    row("redis_cafile", Mogi, "a file", "those of the system",
        Works(TextOnce(|to| &mut to.config.persistence.redis.ca_file)),
        "PEM certificates of who signs those of Redis").restart(),
    row("redis_certfile", Mogi, "a file", "none",
        Works(TextOnce(|to| &mut to.config.persistence.redis.cert_file)),
        "the PEM certificate shown to Redis; needs `redis_keyfile`").restart(),
    row("redis_cluster", Mogi, "`true`, `false` or `auto`", "auto",
        Works(Other(redis::redis_cluster)),
        "whether `persistence_store` is a Redis Cluster; `auto`: whatever the server says it is")
        .restart(),
    row("redis_insecure", Mogi, BOOL, "false",
        Works(Bool(|to, yes| to.config.persistence.redis.insecure = yes)),
        "uses TLS to Redis without looking at its certificate").restart(),
    row("redis_keyfile", Mogi, "a file", "none",
        Works(TextOnce(|to| &mut to.config.persistence.redis.key_file)),
        "the PEM key of `redis_certfile`").restart(),
    row("redis_prefix", Mogi, "text without braces", "empty",
        Works(Other(redis::redis_prefix)),
        "what all keys in Redis begin with").restart(),
    row("redis_wait", Mogi, "replicas, up to 64, and milliseconds", "1, if there is one",
        Works(Other(redis::redis_wait)),
        "how many replicas must have a change before it is acknowledged, and after how long a \
         warning says that they do not; if it is not set, one, but only as long \
         as the master has one (docs/redis.md)").restart(),
    row("redis_wait_aof", Mogi, "0 or 1, replicas up to 64, and milliseconds", "0 0",
        Works(Other(redis::redis_wait_aof)),
        "whether the master, and how many replicas, must have a change on disk before it is \
         acknowledged (Redis 7.2), and after how long a warning says that they do not; instead of \
         `redis_wait`").restart(),
    row("route_cache_bytes", Mogi, "bytes", "8388608",
        Works(Number(at_least(1), |to, n| to.config.core.route_cache_bytes = n as usize)),
        "topic names whose receivers a worker remembers").restart(),
    row("route_cache_topics", Mogi, "topics", "131072",
        Works(Number(at_least(1), |to, n| to.config.core.route_cache_topics = n as usize)),
        "topics whose receivers a worker remembers").restart(),
    row("send_timeout", Mogi, "seconds, up to 86400; 0: for ever", "60",
        Works(Number(between(0, 86_400), |to, n| {
            to.config.core.send_timeout_ms = n as u64 * 1000;
        })),
        "how long a connection may leave all output waiting before it is closed"),
    row("websockets_forwarded_for", Mogi, BOOL, "false",
        Works(Bool(|to, yes| to.config.forwarded_for = yes)),
        "believe `X-Forwarded-For` of WebSocket requests: the first address there is the \
         client's; only for listeners that nobody but a proxy can reach"),
    row("worker_threads", Mogi, "threads, up to 64; 0: one per core", "0",
        Works(Number(between(0, 64), |to, n| to.config.worker_threads = n as u16)),
        "threads that serve connections").restart(),
];
