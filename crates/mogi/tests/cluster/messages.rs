//! Messages from one node's clients to another's.

use super::scene::{TOLD, begin, three, two};
use crate::support::{Message, Out, PacketKind, V5, V311, eventually};

#[test]
fn messages_cross_nodes_at_each_qos() {
    let [a, b] = two();
    for version in TOLD {
        let mut lasting = begin(&a, version, &format!("lasting-{version:?}"));
        let mut brief = a.client(version, "brief");
        let mut sender = b.client(version, "sender");
        for qos in 0..=2 {
            let topic = format!("t/{version:?}/{qos}");
            lasting.subscribe(&topic, qos);
            brief.subscribe(&topic, qos);
            sender.publish(Out::new(&topic, "hello").qos(qos));
            for client in [&mut lasting, &mut brief] {
                assert_eq!(client.receive(&topic, "hello").qos, qos);
            }
        }
    }
}

#[test]
fn wildcards_hold_over_nodes() {
    let [a, b, c] = three();
    let mut plus = a.client(V5, "plus");
    plus.subscribe("x/+/z", 1);
    let mut hash = begin(&b, V5, "hash");
    hash.subscribe("x/#", 1);
    let mut sender = c.client(V5, "sender");
    sender.publish(Out::new("x/1/z", "both").qos(1));
    sender.publish(Out::new("x/1", "one").qos(1));
    sender.publish(Out::new("x/2/z", "both").qos(1));
    for text in ["x/1/z", "x/2/z"] {
        plus.receive(text, "both");
    }
    hash.receive("x/1/z", "both");
    hash.receive("x/1", "one");
    hash.receive("x/2/z", "both");
    plus.unsubscribe(&["x/+/z"]);
    hash.unsubscribe(&["x/#"]);
    sender.publish(Out::new("x/3/z", "nobody").qos(1));
    plus.expect_nothing_from(&mut sender);
    hash.expect_nothing_from(&mut sender);
}

#[test]
fn order_holds_over_nodes() {
    let [a, b] = two();
    let mut client = begin(&a, V311, "client");
    client.subscribe("t", 2);
    let mut sender = b.client(V311, "sender");
    for n in 0..100 {
        sender.send_publish(Out::new("t", n.to_string()).qos(1));
    }
    for n in 0..100 {
        client.receive("t", n.to_string());
    }
}

/// What is published anywhere after SUBACK arrives.
#[test]
fn suback_promises_messages_of_all_nodes() {
    let [a, b] = two();
    for round in 0..200 {
        let version = TOLD[round % 2];
        let topic = format!("t/{round}");
        let mut sender = b.client(version, "sender");
        let qos = (round % 3) as u8;
        let mut client = match round % 4 {
            0 => begin(&a, version, &format!("client{round}")),
            _ => a.client(version, "client"),
        };
        client.subscribe(&topic, qos);
        sender.publish(Out::new(&topic, "now").qos(qos));
        client.receive(&topic, "now");
    }
}

#[test]
fn shared_subscriptions_share_over_nodes() {
    let [a, b, c] = three();
    let mut members = [
        begin(&a, V5, "lasting-a"),
        begin(&b, V5, "lasting-b"),
        a.client(V5, "brief-a"),
        c.client(V5, "brief-c"),
    ];
    for member in &mut members {
        member.subscribe("$share/g/t", 1);
    }
    let mut sender = c.client(V5, "sender");
    for n in 0..40 {
        sender.publish(Out::new("t", n.to_string()).qos(1));
    }
    let mut got: Vec<Vec<u32>> = vec![Vec::new(); members.len()];
    eventually("all messages", || {
        for (member, got) in members.iter_mut().zip(&mut got) {
            member.send(&[0xC0, 0]);
            loop {
                let frame = member.recv();
                if frame.kind() == PacketKind::Pingresp {
                    break;
                }
                let message = Message::of(&frame);
                member.complete(&message);
                got.push(message.text().parse().expect("a number"));
            }
        }
        got.iter().map(Vec::len).sum::<usize>() >= 40
    });
    assert!(got.iter().all(|got| !got.is_empty()), "a member got nothing: {got:?}");
    let mut all = got.concat();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<u32>>());
}

/// A group has members on another node only: it is served there, and while all are away it waits.
#[test]
fn a_group_that_is_away_waits() {
    let [a, b] = two();
    let mut member = begin(&a, V5, "member");
    member.subscribe("$share/g/t", 1);
    member.disconnect();
    let mut sender = b.client(V5, "sender");
    sender.publish(Out::new("t", "one").qos(1));
    let mut member = super::scene::resume(&b, V5, "member");
    member.receive("t", "one");
    member.expect_nothing();
}
