//! A broker that keeps its state in Redis, and its crashes.

use super::server;
use crate::support::Broker;
use crate::support::broker::Setup;
pub(super) use crate::support::sessions::{TOLD, begin, crash, resume, settle, sleeper, stop};
use std::sync::atomic::{AtomicU32, Ordering};

/// A broker with two workers and state in Redis under a prefix of its own, not started yet.
pub(super) fn setup(conf: &str, own: &str) -> Setup {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let prefix = COUNT.fetch_add(1, Ordering::Relaxed);
    let own = format!(
        "worker_threads 2\npersistence_store redis://127.0.0.1:{}\nredis_prefix t{prefix}:\n{own}",
        server::port()
    );
    Broker::setup().conf(&format!("user root\n{conf}")).own(&own)
}

/// A broker with state in Redis.
#[track_caller]
pub(super) fn start(conf: &str) -> Broker {
    setup(conf, "").start()
}
