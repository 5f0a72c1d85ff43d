//! Bridges of brokers that share a store: whatever comes over them comes once.

use super::scene::{Site, begin, expect_no_message, free_port, linked, resume};
use crate::support::{Broker, Client, Dial, Out, V5, V311};
use std::collections::BTreeMap;

const MESSAGES: usize = 200;

/// A broker that is none of the cluster's.
fn far() -> Broker {
    Broker::setup().conf("user root\nmax_queued_messages 0\n").start()
}

/// A node with a bridge of that name to the broker.
fn bridged(site: &Site, node: &str, name: &str, far: &Broker, more: &str) -> Broker {
    let conf = format!(
        "user root\nlog_type all\nmax_queued_messages 0\nconnection {name}\n\
         address 127.0.0.1:{}\ntopic in/# in 2\ntopic out/# out 2\nrestart_timeout 1\n",
        far.port()
    );
    site.setup(node, free_port(), more).conf(&conf).start()
}

/// The bridge works in both directions.
#[track_caller]
fn carries(node: &Broker, name: &str) {
    node.expect_log(&format!("Bridge {name}: this node carries it now."));
    node.expect_log(&format!("Connecting bridge (step 2) {name}"));
    // What is published there before that is none of its.
    node.expect_log(&format!("Received SUBACK from local.mogi.{name}"));
}

/// What the client gets, until the text that says that all have come.
#[track_caller]
fn collect(client: &mut Client) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    loop {
        let message = client.expect_publish();
        client.complete(&message);
        match message.text() {
            end if end == "end" => return counts,
            text => *counts.entry(text).or_default() += 1,
        }
    }
}

#[track_caller]
fn expect_once(counts: &BTreeMap<String, u32>, prefix: &str) {
    let all = (0..MESSAGES).map(|at| (format!("{prefix}{at}"), 1)).collect();
    assert_eq!(*counts, all);
}

fn publish_all(client: &mut Client, topic: &str, prefix: &str) {
    for at in 0..MESSAGES {
        client.publish(Out::new(topic, format!("{prefix}{at}")).qos(1 + (at % 2) as u8));
    }
}

#[track_caller]
fn end(broker: &Broker, topic: &str) {
    broker.client(V5, "ender").publish(Out::new(topic, "end").qos(2));
}

/// Both nodes have the same configuration; the one that carries the bridge is killed.
#[test]
fn one_node_carries_a_bridge_and_another_one_when_it_is_killed() {
    let far = far();
    let site = Site::new("");
    let mut a = bridged(&site, "a", "up", &far, "");
    carries(&a, "up");
    let b = bridged(&site, "b", "up", &far, "");
    b.expect_log("Bridge up: node a carries it, this one stands by.");
    linked(&a, &b);
    let mut inside = begin(&b, V5, "inside");
    inside.subscribe("in/#", 2);
    let mut outside = far.dial(&Dial::persistent(V311, "outside"));
    outside.expect_connected();
    outside.subscribe("out/#", 2);
    let mut far_publisher = far.client(V5, "far");
    let mut near_publisher = b.client(V5, "near");

    publish_all(&mut far_publisher, "in/x", "m");
    publish_all(&mut near_publisher, "out/x", "m");
    end(&far, "in/x");
    end(&b, "out/x");
    expect_once(&collect(&mut inside), "m");
    expect_once(&collect(&mut outside), "m");

    a.kill();
    publish_all(&mut far_publisher, "in/x", "n");
    publish_all(&mut near_publisher, "out/x", "n");
    end(&far, "in/x");
    end(&b, "out/x");
    expect_once(&collect(&mut inside), "n");
    expect_once(&collect(&mut outside), "n");
    b.expect_log("Bridge up: this node carries it now.");
    drop(inside);
    a.restart();
    a.expect_log("Bridge up: node b carries it, this one stands by.");
    expect_no_message(&mut resume(&a, V5, "inside"));
}

/// The same bridge under two names; the node that carries it ends.
#[test]
fn two_bridges_that_carry_the_same_are_one() {
    let far = far();
    let site = Site::new("");
    let mut a = bridged(&site, "a", "one", &far, "");
    carries(&a, "one");
    let b = bridged(&site, "b", "two", &far, "");
    b.expect_log("Bridge two stands by: bridge one of node a goes to the same broker");
    linked(&a, &b);
    let mut inside = begin(&b, V5, "inside");
    inside.subscribe("in/#", 2);
    publish_all(&mut far.client(V5, "far"), "in/x", "m");
    end(&far, "in/x");
    expect_once(&collect(&mut inside), "m");
    a.stop();
    carries(&b, "two");
    publish_all(&mut far.client(V5, "far"), "in/x", "n");
    end(&far, "in/x");
    expect_once(&collect(&mut inside), "n");
}

#[test]
fn a_name_for_two_bridges_is_told() {
    let (far, other) = (far(), far());
    let site = Site::new("");
    let a = bridged(&site, "a", "up", &far, "");
    carries(&a, "up");
    let b = bridged(&site, "b", "up", &other, "");
    b.expect_log("the one of that name on node a has another address");
}

/// As brokers that know nothing of one another.
#[test]
fn each_node_carries_its_own_where_that_is_wanted() {
    let far = far();
    let site = Site::new("cluster_bridges each");
    let more = |node: &str| format!("remote_clientid from-{node}\n");
    let nodes = ["a", "b"].map(|node| {
        let conf = format!(
            "user root\nlog_type all\nconnection up\naddress 127.0.0.1:{}\ntopic in/# in 1\n{}",
            far.port(),
            more(node)
        );
        site.setup(node, free_port(), "").conf(&conf).start()
    });
    for node in &nodes {
        node.expect_log("Connecting bridge (step 2) up");
    }
}
