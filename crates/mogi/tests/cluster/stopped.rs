//! Nodes that hang (SIGSTOP) longer than their lease and wake up, and nodes that end by themselves.

use super::retained::retained;
use super::scene::{
    REFERENCE_OPTION, Site, ask_redis, begin, expect_moved, free_port, linked, publish, resume,
    resume_with, sleeper, two,
};
use crate::support::{Broker, Dial, Out, PacketKind, V5, V311, eventually};
use nix::sys::signal::Signal;
use std::time::Duration;

/// Stops `node` until `other` knows it for dead.
#[track_caller]
fn hang(node: &Broker, other: &Broker) {
    linked(node, other);
    node.signal(Signal::SIGSTOP);
    other.expect_log("is gone");
}

/// It goes on, learns what it counts for, and is one of them again.
#[track_caller]
fn wake(node: &Broker) {
    let links = |node: &Broker| node.log().matches("linked to node").count();
    let before = links(node);
    node.signal(Signal::SIGCONT);
    node.expect_log("taken for dead");
    eventually("another link", || links(node) > before);
}

#[test]
fn a_hung_owner_that_wakes_up_lets_go() {
    let [a, b] = two();
    let mut old = begin(&a, V5, "client");
    old.subscribe("t", 2);
    publish(&b, "t", "one", 2);
    let first = old.expect_message("t", "one").packet_id;
    hang(&a, &b);
    let mut client = resume(&b, V5, "client");
    let again = client.expect_message("t", "one");
    assert_eq!((again.packet_id, again.dup), (first, true));
    // What the old connection still says counts for nothing.
    old.pubrec(first);
    a.signal(Signal::SIGCONT);
    let ended = std::iter::from_fn(|| old.next()).last();
    assert_eq!(ended.map(|frame| frame.kind()), Some(PacketKind::Disconnect));
    client.complete(&again);
    a.expect_log("taken for dead");
    eventually("another link", || a.log().matches("linked to node").count() > 1);
    publish(&a, "t", "two", 2);
    client.receive("t", "two");
    client.expect_nothing();
}

/// All clients of a node that was taken for dead are told to go, and find everything elsewhere or
/// there again.
#[test]
fn clients_of_a_hung_node_are_told_to_go() {
    let [a, b] = two();
    let mut lasting = begin(&a, V5, "lasting");
    lasting.subscribe("t", 1);
    let mut brief = a.client(V311, "brief");
    hang(&a, &b);
    publish(&b, "t", "one", 1);
    // It comes to a node that does not know that it counts for dead.
    let mut subscriber = begin(&b, V5, "subscriber");
    subscriber.subscribe("u", 1);
    brief.send_publish(Out::new("u", "late").qos(1).id(5));
    a.signal(Signal::SIGCONT);
    brief.drain();
    lasting.drain();
    eventually("another link", || a.log().matches("linked to node").count() > 1);
    // No acknowledgement: it comes again.
    let mut brief = a.client(V311, "brief");
    brief.publish(Out::new("u", "again").qos(1));
    loop {
        let message = subscriber.expect_publish();
        subscriber.complete(&message);
        if message.text() == "again" {
            break;
        }
    }
    let mut lasting = resume(&a, V5, "lasting");
    lasting.receive("t", "one");
    publish(&b, "t", "two", 1);
    lasting.receive("t", "two");
    lasting.expect_nothing();
}

/// It is one of them again: what it knows of others and they of it is right.
#[test]
fn a_node_that_hung_is_one_of_them_again() {
    let [a, b] = two();
    sleeper(&a, V5, "moves", "t", 1);
    hang(&a, &b);
    let mut moved = resume(&b, V5, "moves");
    let mut there = b.client(V5, "there");
    there.subscribe("u", 1);
    wake(&a);
    let mut here = a.client(V5, "here");
    here.subscribe("v", 1);
    publish(&a, "t", "one", 1);
    moved.receive("t", "one");
    publish(&a, "u", "two", 1);
    there.receive("u", "two");
    publish(&b, "v", "three", 1);
    here.receive("v", "three");
}

#[test]
fn a_stop_hands_everything_over() {
    let [mut a, b] = two();
    let dial = Dial::persistent(V5, "client").will("w", "gone");
    let mut client = a.connect(&dial);
    client.subscribe("t", 1);
    publish(&b, "t", "one", 1);
    let first = client.expect_message("t", "one");
    assert!(a.stop().success());
    client.expect_disconnect(0x8B);
    publish(&b, "t", "two", 1);
    let mut client = resume_with(&b, &Dial::persistent(V5, "client"));
    let again = client.receive("t", "one");
    assert_eq!((again.packet_id, again.dup), (first.packet_id, true));
    client.receive("t", "two");
    client.expect_nothing();
    // Nobody waits for a node that has said that it ends.
    client.subscribe("u", 1);
    a.restart();
    publish(&a, "u", "three", 1);
    client.receive("u", "three");
}

#[test]
fn a_stop_says_where_the_others_are() {
    let site = Site::new("");
    let mut a = site.node_with("a", free_port(), REFERENCE_OPTION);
    let b = site.node("b");
    let mut clients = ["one", "two"].map(|id| begin(&a, V5, id));
    clients[0].subscribe("t", 1);
    assert!(a.stop().success());
    for client in &mut clients {
        expect_moved(client);
    }
    publish(&b, "t", "x", 1);
    resume(&b, V5, "one").receive("t", "x");
}

/// It hung for so long that no trace of a removal is left.
#[test]
fn retained_messages_removed_long_ago_do_not_come_back() {
    let [a, mut b] = two();
    for topic in ["r/stays", "r/goes"] {
        publish_retained(&a, topic, "x");
    }
    // What is younger than two leases may be on its way to the store, and what is younger than half
    // a minute is told to nodes that come.
    std::thread::sleep(Duration::from_secs(32));
    hang(&a, &b);
    publish_retained(&b, "r/goes", "");
    publish_retained(&b, "r/comes", "x");
    forget_traces();
    b.kill();
    b.restart();
    wake(&a);
    let topics = |node: &Broker| -> Vec<String> {
        retained(node, "r/#").into_iter().map(|(topic, _)| topic).collect()
    };
    for node in [&a, &b] {
        eventually("the same", || {
            let mut topics = topics(node);
            topics.sort_unstable();
            topics == ["r/comes", "r/stays"]
        });
    }
}

/// It lies in the socket of a node that hangs, and its client has sent something else elsewhere.
#[test]
fn what_a_node_finds_in_its_sockets_when_it_wakes_up_removes_nothing() {
    let [a, b] = two();
    let mut client = a.client(V5, "client");
    hang(&a, &b);
    client.send_publish(Out::new("r", "").qos(0).retain());
    publish_retained(&b, "r", "new");
    wake(&a);
    a.expect_log("this node slept for");
    let there = [("r".to_owned(), "new".to_owned())];
    for node in [&a, &b] {
        eventually("the newer one", || retained(node, "r") == there);
    }
    // It reads what comes from now on.
    publish_retained(&a, "r", "newest");
    eventually("the newest", || retained(&b, "r")[0].1 == "newest");
}

fn publish_retained(node: &Broker, topic: &str, payload: &str) {
    node.client(V5, "retainer").publish(Out::new(topic, payload).qos(1).retain());
}

/// As the time would.
fn forget_traces() {
    let script = "local all = redis.call('KEYS', '*retained-gone*') \
                  for _, key in ipairs(all) do redis.call('DEL', key) end return #all";
    assert_eq!(ask_redis(&format!("EVAL \"{script}\" 0")), ":1\r\n");
}
