//! A broker that keeps its state, and its crashes.

use crate::support::broker::Setup;
use crate::support::{Broker, Client, Dial, Out, V5, V311, Version};

/// Sessions outlive connections in these; 3.1 does not tell of them.
pub(super) const TOLD: [Version; 2] = [V311, V5];

/// A broker with state on disk and two workers, not started yet.
pub(super) fn setup(conf: &str, own: &str) -> Setup {
    // Root would give its rights up, and with them its folder.
    let conf = format!("user root\npersistence true\npersistence_location {{dir}}/data/\n{conf}");
    Broker::setup().conf(&conf).own(&format!("worker_threads 2\n{own}"))
}

/// A broker with state on disk.
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

/// What `client` did before is on disk: changes get there in their order, and this one is.
#[track_caller]
pub(super) fn settle(client: &mut Client) {
    client.publish(Out::new("settled", "so far").qos(1).retain());
}
