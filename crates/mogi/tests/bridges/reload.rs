//! SIGHUP: bridges that are new start, those that are gone end, changed ones change.

use super::scene::{Server, await_up, bridge_to, setup_to};
use crate::support::{Broker, Out, PacketKind, V311};
use nix::sys::signal::Signal;

/// Puts other bridges into the broker's file and has it read.
fn reload(broker: &Broker, conf: &str) {
    let head = format!("listener {} 127.0.0.1\nallow_anonymous true\n", broker.port());
    std::fs::write(broker.dir().join("mosquitto.conf"), head + conf).expect("a file");
    broker.signal(Signal::SIGHUP);
}

/// Retained messages from before there was a bridge go over, of any QoS, and once.
#[test]
fn a_new_bridge_brings_what_is_retained() {
    let remote = Broker::start("");
    let mut far = remote.client(V311, "far");
    far.subscribe("#", 2);
    let broker = Broker::setup().conf("user root\nlog_type all\n").start();
    let mut near = broker.client(V311, "near");
    near.publish(Out::new("low/a", "old").qos(1).retain());
    near.publish(Out::new("high/a", "old").qos(2).retain());
    reload(
        &broker,
        &bridge_to(remote.port(), "notifications false\ntopic low/# out 0\ntopic high/# out 2"),
    );
    let mut got: Vec<_> = (0..2).map(|_| far.expect_publish()).collect();
    for message in &got {
        far.complete(message);
    }
    got.sort_by_key(|message| message.qos);
    assert_eq!(got.iter().map(|message| message.qos).collect::<Vec<_>>(), [0, 2]);
    near.publish(Out::new("low/a", "new").qos(1));
    far.receive("low/a", "new");
}

const QUIET: &str = "notifications false\ntopic # out 1\n";

#[test]
fn bridges_come_and_go() {
    let (first, second) = (Server::new(V311), Server::new(V311));
    let broker = Broker::setup().conf("user root\nlog_type all\n").start();
    reload(&broker, &bridge_to(first.port(), QUIET));
    let mut client = first.welcome(false);
    // A bridge that is not up yet has nothing to say good-bye to.
    await_up(&broker, 1);
    let other = bridge_to(second.port(), QUIET).replace("connection b", "connection c");
    reload(&broker, &other.replace("clientid there", "clientid other"));
    client.expect(PacketKind::Disconnect);
    client.expect_closed();
    second.welcome(false);
    // Nobody would read the queue of the bridge that is gone.
    let mut heir = broker.dial(&crate::support::Dial::persistent(V311, "local.there"));
    assert!(!heir.expect_connected().session_present());
}

#[test]
fn a_changed_bridge_changes_with_its_next_connection_or_at_once() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), QUIET).start();
    let mut client = server.welcome(false);
    reload(&broker, &bridge_to(server.port(), &format!("{QUIET}topic new in\n")));
    broker.expect_log("Reloading config.");
    client.send(&[0xD0, 0]);
    drop(client);
    let mut client = server.welcome(true);
    let frame = client.expect(PacketKind::Subscribe);
    server.answer(&mut client, &frame);
    let lines = format!("{QUIET}bridge_reload_type immediate\n");
    reload(&broker, &bridge_to(server.port(), &lines));
    while client.recv().kind() != PacketKind::Disconnect {}
    server.welcome(true);
}

#[test]
fn a_mistake_in_the_file_changes_nothing() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), QUIET).start();
    let mut client = server.welcome(false);
    reload(&broker, "connection b\n");
    broker.expect_log("Error: Invalid bridge configuration: no remote addresses defined.");
    broker.client(V311, "near").publish(Out::new("a", "x").qos(1));
    assert_eq!(server.next_message(&mut client).text(), "x");
}
