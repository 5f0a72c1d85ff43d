//! Retained messages (3.3.1.3, 3.8.3.1).

use super::scene::{Scene, each, start};
use crate::support::{Client, Id, Message, Out, V5, V311, VERSIONS};
use mogi_codec::PropertyBuf;
use std::collections::BTreeSet;
use std::time::Duration;

const SEND_IF_NEW: u8 = 0b01_0000;
const DO_NOT_SEND: u8 = 0b10_0000;

/// What a new subscriber gets for `filter`, sorted by topic.
#[track_caller]
fn kept(s: &Scene<'_>, filter: &str, qos: u8) -> Vec<Message> {
    let mut client = s.client("late");
    client.subscribe(&s.topic(filter), qos);
    let mut messages = until_ping(&mut client);
    messages.sort_by_key(|message| message.topic.clone());
    messages
}

/// Everything up to the answer to a PINGREQ.
#[track_caller]
fn until_ping(client: &mut Client) -> Vec<Message> {
    client.send(&[0xC0, 0]);
    let mut messages = Vec::new();
    loop {
        let frame = client.recv();
        if frame.kind() == crate::support::PacketKind::Pingresp {
            return messages;
        }
        let message = Message::of(&frame);
        if message.qos == 1 {
            client.puback(message.packet_id);
        }
        messages.push(message);
    }
}

/// 3.1.1: MQTT-3.3.1-5, MQTT-3.3.1-6, MQTT-3.3.1-7, MQTT-3.3.1-8, MQTT-3.3.1-12.
/// 5.0: MQTT-3.3.1-5, MQTT-3.3.1-8, MQTT-3.3.1-9.
#[test]
fn mqtt_3_3_1_5_the_last_retained_message_is_kept_with_its_qos() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut sender = s.client("sender");
        for (qos, text) in [(1, "one"), (2, "two"), (0, "zero"), (1, "one again")] {
            sender.publish(Out::new(&topic, text).qos(qos).retain());
            // Not retained: nothing is stored or replaced.
            sender.publish(Out::new(&topic, "passing").qos(2));
            for wanted in [0, 1] {
                let got = kept(s, "t", wanted);
                assert_eq!(got.len(), 1);
                let message = &got[0];
                assert_eq!((message.text().as_str(), message.retain), (text, true));
                assert_eq!((message.qos, message.dup), (qos.min(wanted), false));
            }
        }
        sender.publish(Out::new(&topic, "").qos(1).retain());
    });
}

/// 3.1.1: MQTT-3.3.1-10, MQTT-3.3.1-11. 5.0: MQTT-3.3.1-6, MQTT-3.3.1-7.
#[test]
fn mqtt_3_3_1_10_an_empty_payload_clears_and_is_not_kept() {
    each(&VERSIONS, "", |s| {
        let mut sender = s.client("sender");
        let mut live = s.client("live");
        live.subscribe(&s.topic("#"), 1);
        for qos in 0..=2 {
            for topic in ["a", "a/b"] {
                sender.publish(Out::new(&s.topic(topic), "x").qos(1).retain());
                live.receive(&s.topic(topic), "x");
            }
            sender.publish(Out::new(&s.topic("a"), "").qos(qos).retain());
            // It is delivered to those who are there.
            assert!(!live.receive(&s.topic("a"), "").retain);
            let topics: Vec<String> = kept(s, "#", 0).into_iter().map(|it| it.topic).collect();
            assert_eq!(topics, [s.topic("a/b")]);
            sender.publish(Out::new(&s.topic("a/b"), "").qos(qos).retain());
            live.receive(&s.topic("a/b"), "");
            assert!(kept(s, "#", 0).is_empty());
        }
    });
}

/// 3.1.1: MQTT-3.3.1-6. 5.0: MQTT-3.3.1-9.
#[test]
fn mqtt_3_3_1_6_wildcards_get_each_match() {
    each(&VERSIONS, "", |s| {
        let mut sender = s.client("sender");
        let topics = ["a", "a/b", "a/b/c", "a/", "b", "a//x", "/a"];
        for topic in topics {
            sender.publish(Out::new(&s.topic(topic), topic).qos(1).retain());
        }
        let cases: [(&str, &[&str]); 9] = [
            ("#", &["/a", "a", "a/", "a//x", "a/b", "a/b/c", "b"]),
            ("a/#", &["a", "a/", "a//x", "a/b", "a/b/c"]),
            ("a/+", &["a/", "a/b"]),
            ("+", &["a", "b"]),
            ("a/+/+", &["a//x", "a/b/c"]),
            ("+/a", &["/a"]),
            ("a/b/c/#", &["a/b/c"]),
            ("a/b/c/d", &[]),
            ("+/b/#", &["a/b", "a/b/c"]),
        ];
        for (filter, expected) in cases {
            let got: Vec<String> = kept(s, filter, 1).iter().map(Message::text).collect();
            assert_eq!(got, expected, "{filter}");
        }
        for topic in topics {
            sender.publish(Out::new(&s.topic(topic), "").qos(1).retain());
        }
        assert!(kept(s, "#", 1).is_empty());
    });
}

/// 5.0: MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11, MQTT-3.8.4-4.
#[test]
fn mqtt_3_3_1_10_retain_handling() {
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        s.client("sender").publish(Out::new(&topic, "kept").qos(1).retain());
        let mut client = s.connect(&s.persistent("client"));
        let mut count = |handling: u8, fresh: bool| {
            if fresh {
                client.unsubscribe(&[&topic]);
            }
            client.subscribe_with(&[(&topic, 1 | handling)], &PropertyBuf::new());
            until_ping(&mut client).len()
        };
        assert_eq!([count(0, true), count(0, false)], [1, 1]);
        assert_eq!([count(SEND_IF_NEW, true), count(SEND_IF_NEW, false)], [1, 0]);
        assert_eq!([count(DO_NOT_SEND, true), count(DO_NOT_SEND, false)], [0, 0]);
        assert_eq!(count(0, false), 1);
        // Also when the subscription is known from an earlier connection.
        client.disconnect();
        let mut client = s.connect(&s.persistent("client"));
        client.subscribe_with(&[(&topic, 1 | SEND_IF_NEW)], &PropertyBuf::new());
        client.expect_nothing();
        s.client("sender").publish(Out::new(&topic, "").qos(1).retain());
    });
}

/// Messages of the same topic that are published while a client subscribes: it gets the value
/// that was retained, or the live one, or both, and the last value never before an older one.
///
/// 3.1.1: MQTT-3.3.1-6. 5.0: MQTT-3.3.1-9.
#[test]
fn mqtt_3_3_1_6_subscribing_under_traffic_misses_no_value() {
    each(&VERSIONS, "max_inflight_messages 1000", |s| {
        let topic = s.topic("t");
        let mut sender = s.client("sender");
        sender.publish(Out::new(&topic, "0").qos(1).retain());
        let sending = std::thread::spawn({
            let topic = topic.clone();
            move || {
                for at in 1..200 {
                    sender.publish(Out::new(&topic, at.to_string()).qos(1).retain());
                }
                sender
            }
        });
        for at in 0..10 {
            let mut client = s.client(&format!("late{at}"));
            client.subscribe(&topic, 0);
            let mut last = -1;
            while last < 199 {
                let value: i32 = client.expect_publish().text().parse().expect("a number");
                // A value may come retained and live, so at most one step back.
                assert!(last == -1 || value == last + 1 || value == last, "{value} after {last}");
                last = value;
            }
        }
        let mut sender = sending.join().expect("the sender");
        sender.publish(Out::new(&topic, "").qos(1).retain());
    });
}

/// Retained messages expire, and their remaining time is told.
///
/// 5.0: MQTT-3.3.2-5, MQTT-3.3.2-6.
#[test]
fn mqtt_3_3_2_6_retained_messages_expire() {
    let broker = start("");
    let mut sender = broker.client(V5, "sender");
    for (topic, seconds) in [("brief", 1), ("long", 100)] {
        let out = Out::new(topic, "x").retain();
        sender.publish(out.int(Id::MessageExpiryInterval, seconds));
    }
    std::thread::sleep(Duration::from_millis(2200));
    for version in [V311, V5] {
        let mut client = broker.client(version, "late");
        client.subscribe("#", 0);
        let message = client.expect_message("long", "x");
        if version == V5 {
            let left = message.props.int(Id::MessageExpiryInterval).expect("an expiry");
            assert!((90..=98).contains(&left), "{left}");
        }
        client.expect_nothing();
    }
}

/// Attack Q23, smaller.
#[test]
fn many_retained_messages_come_and_go() {
    let broker = start("");
    let mut sender = broker.client(V311, "sender");
    let publish = |sender: &mut Client, payload: &str| {
        let packets = (0..5000).map(|at| {
            let out = Out::new(&format!("r/{}/{}", at % 70, at), payload);
            out.retain().bytes(V311)
        });
        let bytes: Vec<u8> = packets.flatten().collect();
        sender.send(&bytes);
        sender.ping();
    };
    for round in 0..2 {
        publish(&mut sender, "x");
        let mut client = broker.client(V5, &format!("late{round}"));
        client.subscribe("r/#", 0);
        let topics: BTreeSet<String> = (0..5000).map(|_| client.expect_publish().topic).collect();
        assert_eq!(topics.len(), 5000);
        client.expect_nothing();
        publish(&mut sender, "");
        let mut client = broker.client(V5, &format!("later{round}"));
        client.subscribe("r/#", 0);
        client.expect_nothing();
    }
}
