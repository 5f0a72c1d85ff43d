//! Brokers are killed (SIGKILL) while messages are on their way over a bridge: those of QoS 1 and 2
//! arrive, and those of QoS 2 once.

use super::scene::{bridge_to, setup_to};
use crate::support::broker::Setup;
use crate::support::{Broker, Client, Dial, Out, V311};
use std::collections::BTreeMap;

const KEPT: &str = "persistence true\npersistence_location {dir}/data/\nmax_queued_messages 0\n";
/// Messages on their way at once.
const MESSAGES: usize = 400;

fn lasting(lines: &str) -> Setup {
    Broker::setup().conf(&format!("user root\n{KEPT}{lines}")).own("worker_threads 2\n")
}

/// A broker that keeps its state, with a bridge that does.
fn lasting_to(port: u16, lines: &str) -> Setup {
    let conf = bridge_to(port, &format!("{KEPT}{lines}"));
    setup_to(port, lines).conf(&conf)
}

/// A session that is away and collects what comes to `filter`.
#[track_caller]
fn collector(broker: &Broker, filter: &str) {
    let mut client = broker.dial(&Dial::persistent(V311, "collector"));
    client.expect_connected();
    client.subscribe(filter, 2);
    client.disconnect();
}

#[track_caller]
fn resume(broker: &Broker) -> Client {
    let mut client = broker.dial(&Dial::persistent(V311, "collector"));
    assert!(client.expect_connected().session_present());
    client
}

/// How often the collector got each text, until the one that says that all have come.
#[track_caller]
fn collected(broker: &Broker) -> BTreeMap<String, u32> {
    let mut client = resume(broker);
    let mut counts = BTreeMap::new();
    loop {
        let message = client.expect_publish();
        client.complete(&message);
        if message.text() == "end" {
            return counts;
        }
        *counts.entry(message.text()).or_default() += 1;
    }
}

#[track_caller]
fn expect_exactly_once(counts: &BTreeMap<String, u32>) {
    let repeated: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    let lost: Vec<_> = (0..MESSAGES).filter(|at| !counts.contains_key(&format!("m{at}"))).collect();
    assert!(lost.is_empty() && repeated.is_empty(), "lost {lost:?}, repeated {repeated:?}");
}

fn publish_all(broker: &Broker, topic: &str, qos: u8) {
    let mut client = broker.client(V311, "publisher");
    for at in 0..MESSAGES {
        client.publish(Out::new(topic, format!("m{at}")).qos(qos));
    }
}

/// A moment that is different each time.
fn pause(round: u64) {
    std::thread::sleep(std::time::Duration::from_millis(round * 37 % 120));
}

#[test]
fn a_bridge_s_queue_outlives_its_broker() {
    for version in ["mqttv311", "mqttv50"] {
        let mut remote = lasting("").start();
        collector(&remote, "#");
        remote.kill();
        let lines = format!("bridge_protocol_version {version}\ntopic # out 2");
        let mut broker = lasting_to(remote.port(), &lines).start();
        publish_all(&broker, "a", 2);
        broker.client(V311, "publisher").publish(Out::new("a", "end").qos(2));
        broker.kill();
        broker.restart();
        remote.restart();
        expect_exactly_once(&collected(&remote));
    }
}

#[test]
fn qos_2_goes_out_once_whoever_is_killed() {
    let mut remote = lasting("").start();
    collector(&remote, "#");
    remote.kill();
    let mut broker = lasting_to(remote.port(), "topic # out 2").start();
    publish_all(&broker, "a", 2);
    remote.restart();
    for round in 0..12 {
        let victim = if round % 3 == 2 { &mut remote } else { &mut broker };
        pause(round);
        victim.kill();
        victim.restart();
    }
    broker.client(V311, "publisher").publish(Out::new("a", "end").qos(2));
    expect_exactly_once(&collected(&remote));
}

#[test]
fn qos_2_comes_in_once_whoever_is_killed() {
    let mut remote = lasting("").start();
    let mut broker = lasting_to(remote.port(), "topic # in 2").start();
    super::scene::await_up(&broker, 1);
    collector(&broker, "#");
    broker.kill();
    publish_all(&remote, "a", 2);
    broker.restart();
    for round in 0..12 {
        let victim = if round % 3 == 2 { &mut remote } else { &mut broker };
        pause(round);
        victim.kill();
        victim.restart();
    }
    remote.client(V311, "publisher").publish(Out::new("a", "end").qos(2));
    expect_exactly_once(&collected(&broker));
}

#[test]
fn without_a_lasting_session_nothing_waits() {
    let mut remote = Broker::start("");
    let broker = super::scene::bridged(&remote, "cleansession true\ntopic # out 1");
    remote.kill();
    broker.expect_log("Client local.there [127.0.0.1:");
    broker.client(V311, "near").publish(Out::new("a", "lost").qos(1));
    remote.restart();
    let mut far = remote.client(V311, "far");
    far.subscribe("#", 1);
    super::scene::await_up(&broker, 2);
    broker.client(V311, "near").publish(Out::new("a", "kept").qos(1));
    far.receive("a", "kept");
}

#[test]
fn the_local_session_may_last_longer_than_the_remote_one() {
    let mut remote = Broker::start("");
    let lines = "cleansession true\nlocal_cleansession false\ntopic # out 1";
    let broker = super::scene::bridged(&remote, lines);
    remote.kill();
    broker.expect_log("Client local.there [127.0.0.1:");
    broker.client(V311, "near").publish(Out::new("a", "waits").qos(1).retain());
    remote.restart();
    let mut far = remote.client(V311, "far");
    far.subscribe("#", 1);
    far.receive("a", "waits");
}
