//! Retained messages are the same on all nodes.

use super::scene::{Site, two};
use crate::support::broker::free_port;
use crate::support::{Broker, Dial, Message, Out, PacketKind, V5, eventually};

/// What a new subscriber of `filter` gets.
pub(super) fn retained(broker: &Broker, filter: &str) -> Vec<(String, String)> {
    let mut reader = broker.client(V5, "reader");
    reader.subscribe(filter, 1);
    let mut found = Vec::new();
    reader.send(&[0xC0, 0]);
    loop {
        let frame = reader.recv();
        if frame.kind() == PacketKind::Pingresp {
            return found;
        }
        let message = Message::of(&frame);
        reader.complete(&message);
        // One on its way over a link comes as a live one.
        if message.retain {
            found.push((message.topic.clone(), message.text()));
        }
    }
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(topic, text)| ((*topic).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn retained_messages_are_set_changed_and_cleared_everywhere() {
    let [a, b] = two();
    let mut sender = a.client(V5, "sender");
    for (text, qos) in [("one", 0), ("two", 1), ("three", 2)] {
        sender.publish(Out::new("r/t", text).qos(qos).retain());
        eventually(text, || retained(&b, "r/#") == pairs(&[("r/t", text)]));
        assert_eq!(retained(&a, "r/#"), pairs(&[("r/t", text)]));
    }
    let mut other = b.client(V5, "other");
    other.publish(Out::new("r/t", "").qos(1).retain());
    eventually("no message", || retained(&a, "r/#").is_empty());
    assert!(retained(&b, "r/#").is_empty());
}

#[test]
fn a_node_that_starts_later_has_them() {
    let site = Site::new("");
    let a = site.node("a");
    let mut sender = a.client(V5, "sender");
    sender.publish(Out::new("r/1", "one").qos(1).retain());
    sender.publish(Out::new("r/2", "two").qos(1).retain());
    sender.publish(Out::new("r/1", "").qos(1).retain());
    let b = site.node("b");
    assert_eq!(retained(&b, "r/#"), pairs(&[("r/2", "two")]));
    sender.publish(Out::new("r/3", "three").qos(1).retain());
    eventually("r/3", || retained(&b, "r/#") == pairs(&[("r/2", "two"), ("r/3", "three")]));
}

/// A live subscriber on another node sees it as live, and with Retain As Published as it was sent.
#[test]
fn live_messages_of_other_nodes_are_not_marked_retained() {
    let [a, b] = two();
    let mut plain = b.client(V5, "plain");
    plain.subscribe("r/t", 1);
    let mut as_published = b.client(V5, "as-published");
    let none = mogi_codec::PropertyBuf::new();
    as_published.subscribe_with(&[("r/t", 0x08 | 1)], &none);
    a.client(V5, "sender").publish(Out::new("r/t", "x").qos(1).retain());
    assert!(!plain.receive("r/t", "x").retain);
    assert!(as_published.receive("r/t", "x").retain);
}

/// A node knows who published it through another one, and asks about that one's rights.
#[test]
fn publishers_of_retained_messages_are_known_on_all_nodes() {
    let site = Site::new("");
    let start = |name: &str, acl: &str| {
        let conf = "user root\nlog_type all\nacl_file {dir}/acl\ncheck_retain_source true\n";
        site.setup(name, free_port(), "").conf(conf).file("acl", acl).start()
    };
    let may = "pattern readwrite %c/#\npattern read +/r\n";
    let a = start("a", may);
    let b = start("b", "pattern read #\n");
    let mut late = a.client(V5, "late");
    late.publish(Out::new("late/r", "x").qos(2).retain());
    let mut sender = a.connect(&Dial::persistent(V5, "sender"));
    for qos in 0..=2 {
        sender.publish(Out::new("sender/r", "x").qos(qos).retain());
    }
    assert_eq!(retained(&a, "+/r").len(), 2);
    let c = start("c", may);
    eventually("both on a third node", || retained(&c, "+/r").len() == 2);
    assert_eq!(retained(&b, "+/r"), []);
}
