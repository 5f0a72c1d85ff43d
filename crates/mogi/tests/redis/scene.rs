//! A broker that keeps its state in Redis, and its crashes.

use super::server;
use crate::support::broker::Setup;
use crate::support::{Broker, Client, Dial, Out, V5, V311, Version};
use std::sync::atomic::{AtomicU32, Ordering};

/// Sessions outlive connections in these; 3.1 does not tell of them.
pub(super) const TOLD: [Version; 2] = [V311, V5];

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

/// SIGKILL, and another start.
#[track_caller]
pub(super) fn crash(broker: &mut Broker) {
    broker.kill();
    broker.restart();
}

/// SIGTERM, and another start.
#[track_caller]
pub(super) fn stop(broker: &mut Broker) {
    assert!(broker.stop().success());
    broker.restart();
}

/// Connects to a session that has to be there.
#[track_caller]
pub(super) fn resume(broker: &Broker, version: Version, id: &str) -> Client {
    let mut client = broker.dial(&Dial::persistent(version, id));
    assert!(client.expect_connected().session_present(), "{id} has no session any more");
    client
}

/// Makes a session.
#[track_caller]
pub(super) fn begin(broker: &Broker, version: Version, id: &str) -> Client {
    let mut client = broker.dial(&Dial::persistent(version, id));
    assert!(!client.expect_connected().session_present(), "{id} has a session already");
    client
}

/// A session that is away and gets what is published to `filter`.
#[track_caller]
pub(super) fn sleeper(broker: &Broker, version: Version, id: &str, filter: &str, qos: u8) {
    let mut client = begin(broker, version, id);
    client.subscribe(filter, qos);
    client.disconnect();
}

/// What `client` did before is in Redis: a worker is told of its turns in their order.
#[track_caller]
pub(super) fn settle(client: &mut Client) {
    client.publish(Out::new("settled", "so far").qos(1).retain());
}
