//! Nodes that are killed (SIGKILL), and their clients.

use super::scene::{Site, TOLD, begin, publish, resume, sleeper, three, two};
use crate::support::{Dial, Out, PacketKind, V5};

#[test]
fn clients_of_a_killed_node_go_on_at_once_elsewhere() {
    let [mut a, b] = two();
    for version in TOLD {
        let id = format!("{version:?}");
        sleeper(&a, version, &format!("away-{id}"), "t", 2);
        let mut client = begin(&a, version, &format!("online-{id}"));
        client.subscribe("t", 2);
    }
    publish(&b, "t", "before", 2);
    let mut sender = begin(&a, V5, "publisher");
    sender.send_publish(Out::new("t", "half").qos(2).id(9));
    sender.expect_ack(PacketKind::Pubrec, 9, 0);
    a.kill();
    publish(&b, "t", "after", 2);
    let mut sender = resume(&b, V5, "publisher");
    sender.send_publish(Out::new("t", "half").qos(2).id(9).dup());
    sender.expect_ack(PacketKind::Pubrec, 9, 0);
    sender.pubrel(9);
    sender.expect_ack(PacketKind::Pubcomp, 9, 0);
    for version in TOLD {
        for name in ["away", "online"] {
            let mut client = resume(&b, version, &format!("{name}-{version:?}"));
            for text in ["before", "half", "after"] {
                client.receive("t", text);
            }
            client.expect_nothing();
        }
    }
}

/// Its host says that nobody listens there any more, so nobody waits until its lease ends.
#[test]
fn a_killed_node_is_not_waited_for() {
    let site = Site::new("cluster_lease_seconds 300");
    let [mut a, b, c] = ["a", "b", "c"].map(|name| site.node(name));
    for node in [&b, &c] {
        node.expect_log("linked to node a");
    }
    let mut watcher = begin(&b, V5, "watcher");
    watcher.subscribe("will/x", 1);
    sleeper(&a, V5, "away", "t", 1);
    let _online = a.connect(&Dial::persistent(V5, "online").will("will/x", "gone").will_qos(1));
    a.kill();
    for node in [&b, &c] {
        node.expect_log("node a is gone");
    }
    watcher.receive("will/x", "gone");
    publish(&c, "t", "one", 1);
    resume(&b, V5, "away").receive("t", "one");
    a.restart();
    publish(&c, "t", "two", 1);
    let mut client = resume(&a, V5, "away");
    client.receive("t", "two");
    client.expect_nothing();
}

#[test]
fn clients_of_a_killed_node_go_on_after_its_lease() {
    let [mut a, b, c] = three();
    sleeper(&a, V5, "away", "t", 1);
    let mut client = begin(&a, V5, "online");
    client.subscribe("t", 1);
    a.kill();
    b.expect_log("node a is gone");
    c.expect_log("node a is gone");
    publish(&b, "t", "one", 1);
    publish(&c, "t", "two", 1);
    for (node, id) in [(&b, "away"), (&c, "online")] {
        let mut client = resume(node, V5, id);
        // Of two nodes, so in any order.
        let mut got = [(); 2].map(|()| {
            let message = client.expect_publish();
            client.complete(&message);
            message.text()
        });
        got.sort_unstable();
        assert_eq!(got, ["one", "two"]);
        client.expect_nothing();
    }
}

/// A subscription is confirmed though a node has died, at the latest when its lease has ended.
#[test]
fn a_dead_node_does_not_hold_up_subscriptions() {
    let [mut a, b, c] = three();
    a.kill();
    let mut client = b.client(V5, "client");
    client.subscribe("t", 1);
    publish(&c, "t", "one", 1);
    client.receive("t", "one");
}

#[test]
fn a_node_that_starts_again_serves_its_clients() {
    let [mut a, b] = two();
    for round in 0..3 {
        let id = format!("client{round}");
        sleeper(&a, V5, &id, "t", 1);
        a.kill();
        publish(&b, "t", "one", 1);
        a.restart();
        let mut client = resume(&a, V5, &id);
        client.receive("t", "one");
        publish(&b, "t", "two", 1);
        client.receive("t", "two");
        client.expect_nothing();
        client.unsubscribe(&["t"]);
        let mut other = b.client(V5, "other");
        other.subscribe("u", 1);
        publish(&a, "u", "three", 1);
        other.receive("u", "three");
    }
}

/// Its clients are elsewhere when it starts again: they stay there.
#[test]
fn a_node_that_starts_again_takes_nothing_away() {
    let [mut a, b] = two();
    let mut client = begin(&a, V5, "client");
    client.subscribe("t", 1);
    a.kill();
    let mut client = resume(&b, V5, "client");
    a.restart();
    publish(&a, "t", "one", 1);
    client.receive("t", "one");
    client.expect_nothing();
}

/// Nobody is there while messages wait.
#[test]
fn all_nodes_may_die() {
    let [mut a, mut b] = two();
    sleeper(&a, V5, "client", "t", 2);
    publish(&b, "t", "one", 2);
    a.kill();
    b.kill();
    b.restart();
    publish(&b, "t", "two", 2);
    let mut client = resume(&b, V5, "client");
    client.receive("t", "one");
    client.receive("t", "two");
    client.expect_nothing();
}
