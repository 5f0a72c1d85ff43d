//! Sessions over the end of a connection, or of the broker.

use super::{Broker, Client, Dial, Out, V5, V311, Version};

/// Sessions outlive connections in these; 3.1 does not tell of them.
pub const TOLD: [Version; 2] = [V311, V5];

/// SIGKILL, and another start.
#[track_caller]
pub fn crash(broker: &mut Broker) {
    broker.kill();
    broker.restart();
}

/// SIGTERM, and another start.
#[track_caller]
pub fn stop(broker: &mut Broker) {
    assert!(broker.stop().success());
    broker.restart();
}

/// Connects to a session that has to be there.
#[track_caller]
pub fn resume(broker: &Broker, version: Version, id: &str) -> Client {
    resume_with(broker, &Dial::persistent(version, id))
}

/// As [`resume`].
#[track_caller]
pub fn resume_with(broker: &Broker, dial: &Dial) -> Client {
    let mut client = broker.dial(dial);
    let present = client.expect_connected().session_present();
    assert!(present, "{} has no session any more", dial.client_id);
    client
}

/// Makes a session.
#[track_caller]
pub fn begin(broker: &Broker, version: Version, id: &str) -> Client {
    let mut client = broker.dial(&Dial::persistent(version, id));
    assert!(!client.expect_connected().session_present(), "{id} has a session already");
    client
}

/// A session that is away and gets what is published to `filter`.
#[track_caller]
pub fn sleeper(broker: &Broker, version: Version, id: &str, filter: &str, qos: u8) {
    let mut client = begin(broker, version, id);
    client.subscribe(filter, qos);
    client.disconnect();
}

/// What `client` did before is in the store: changes get there in their order, and this one is.
#[track_caller]
pub fn settle(client: &mut Client) {
    client.publish(Out::new("settled", "so far").qos(1).retain());
}
