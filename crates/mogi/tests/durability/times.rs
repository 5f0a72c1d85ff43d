//! Time goes on while the broker is down.

use super::scene::{begin, crash, resume, settle, sleeper, start};
use crate::support::{Broker, Dial, Id, Out, V5};
use std::thread::sleep;
use std::time::Duration;

/// Killed, and started after some time; what lasts a second is over then, even if the broker's
/// last sign of life is half a second old.
#[track_caller]
fn sleep_over(broker: &mut Broker) {
    broker.kill();
    sleep(Duration::from_millis(3500));
    broker.restart();
}

#[test]
fn messages_expire_while_the_broker_is_down() {
    let mut broker = start("");
    sleeper(&broker, V5, "sleeper", "t", 1);
    let mut sender = broker.client(V5, "sender");
    let out = |text, expiry_s| Out::new("t", text).qos(1).int(Id::MessageExpiryInterval, expiry_s);
    sender.publish(out("short", 1));
    sender.publish(out("long", 3600));
    sender.publish(Out::new("r", "short").qos(1).retain().int(Id::MessageExpiryInterval, 1));
    sleep_over(&mut broker);
    let mut client = resume(&broker, V5, "sleeper");
    let message = client.receive("t", "long");
    let left_s = message.props.int(Id::MessageExpiryInterval).expect("it still expires");
    assert!(left_s <= 3597, "{left_s}");
    client.expect_nothing();
    client.subscribe("r", 1);
    client.expect_nothing();
}

#[test]
fn sessions_expire_while_the_broker_is_down() {
    let mut broker = start("");
    for (id, expiry_s) in [("short", 1), ("long", 3600)] {
        broker.connect(&Dial::new(V5, id).resume().session_expiry(expiry_s)).disconnect();
    }
    settle(&mut broker.client(V5, "other"));
    sleep_over(&mut broker);
    begin(&broker, V5, "short");
    resume(&broker, V5, "long");
}

/// Clients that were connected are away since the crash, not since the next start.
#[test]
fn sessions_of_connected_clients_expire_while_the_broker_is_down() {
    let mut broker = start("");
    let connect =
        |id, expiry_s| broker.connect(&Dial::new(V5, id).resume().session_expiry(expiry_s));
    let clients = [connect("short", 1), connect("long", 3600)];
    sleep_over(&mut broker);
    drop(clients);
    begin(&broker, V5, "short");
    resume(&broker, V5, "long");
}

#[test]
fn mqtt_3_1_3_9_will_delays_pass_while_the_broker_is_down() {
    let mut broker = start("");
    sleeper(&broker, V5, "witness", "will/#", 2);
    let mortal = |id: &str, delay_s| {
        let dial = Dial::persistent(V5, id).will(&format!("will/{id}"), "gone");
        dial.will_qos(2).will_delay(delay_s)
    };
    let clients = [("short", 1), ("long", 3600)].map(|(id, s)| broker.connect(&mortal(id, s)));
    sleep_over(&mut broker);
    drop(clients);
    // Both are back at once: too late for one will, in time for the other.
    resume(&broker, V5, "short");
    resume(&broker, V5, "long").disconnect();
    crash(&mut broker);
    let mut witness = resume(&broker, V5, "witness");
    witness.receive("will/short", "gone");
    witness.expect_nothing();
}

/// A delay that had begun when the broker was killed.
#[test]
fn mqtt_3_1_3_9_a_will_delay_goes_on_where_it_was() {
    let mut broker = start("");
    sleeper(&broker, V5, "witness", "will", 2);
    let dial = Dial::persistent(V5, "mortal").will("will", "gone").will_qos(2).will_delay(1);
    broker.connect(&dial).abort();
    settle(&mut broker.client(V5, "other"));
    sleep_over(&mut broker);
    resume(&broker, V5, "mortal");
    let mut witness = resume(&broker, V5, "witness");
    witness.receive("will", "gone");
    witness.expect_nothing();
}

/// The delay of a client that the first crash cut off has begun then.
#[test]
fn mqtt_3_1_3_9_a_second_crash_does_not_begin_a_will_delay_anew() {
    let mut broker = start("");
    sleeper(&broker, V5, "witness", "will", 2);
    let dial = Dial::persistent(V5, "mortal").will("will", "gone").will_qos(2).will_delay(2);
    let client = broker.connect(&dial);
    crash(&mut broker);
    drop(client);
    settle(&mut broker.client(V5, "other"));
    sleep_over(&mut broker);
    resume(&broker, V5, "mortal");
    let mut witness = resume(&broker, V5, "witness");
    witness.receive("will", "gone");
    witness.expect_nothing();
}
