//! PUBLISH of 5.0: properties (3.3.2.3).

use super::scene::{each, start};
use super::wire::{expect_ended, hex, publish_properties};
use crate::support::{Id, Out, V5, V311};

/// 5.0: MQTT-3.3.2-4, MQTT-3.3.2-15, MQTT-3.3.2-16, MQTT-3.3.2-17, MQTT-3.3.2-18, MQTT-3.3.2-20.
#[test]
fn mqtt_3_3_2_4_properties_are_passed_on_unchanged() {
    each(&[V5], "", |s| {
        let mut receiver = s.client("receiver");
        let mut old = s.broker.client(V311, &s.id("old"));
        let mut sender = s.client("sender");
        let topic = s.topic("t");
        receiver.subscribe(&topic, 2);
        old.subscribe(&topic, 2);
        for (retain, qos) in [(false, 0), (false, 1), (false, 2), (true, 1)] {
            let out = Out::new(&topic, "x")
                .qos(qos)
                .user("b", "1")
                .int(Id::PayloadFormatIndicator, 1)
                .user("a", "2")
                .str(Id::ContentType, "text/ü")
                .str(Id::ResponseTopic, "answer/$here")
                .data(Id::CorrelationData, &[0, 0xFF, 1])
                .user("b", "1")
                .user("", "");
            sender.publish(if retain { out.retain() } else { out });
            let mut got = vec![receiver.receive(&topic, "x")];
            if retain {
                let mut late = s.client("late");
                late.subscribe(&topic, 2);
                got.push(late.receive(&topic, "x"));
                sender.publish(Out::new(&topic, "").qos(1).retain());
                receiver.receive(&topic, "");
                old.receive(&topic, "x");
                old.receive(&topic, "");
            } else {
                old.receive(&topic, "x");
            }
            for message in got {
                let props = &message.props;
                let pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("", "")];
                assert_eq!(props.users(), pairs);
                assert_eq!(props.int(Id::PayloadFormatIndicator), Some(1));
                assert_eq!(props.str(Id::ContentType), Some("text/ü"));
                assert_eq!(props.str(Id::ResponseTopic), Some("answer/$here"));
                assert_eq!(props.bytes(Id::CorrelationData), Some(&[0, 0xFF, 1][..]));
            }
        }
        // Nothing is added, either.
        sender.publish(Out::new(&topic, "plain"));
        assert!(receiver.receive(&topic, "plain").props.is_empty());
    });
}

/// The same through a queue: the receiver was away.
///
/// 5.0: MQTT-3.3.2-17, MQTT-3.3.2-18.
#[test]
fn mqtt_3_3_2_17_properties_survive_the_queue() {
    each(&[V5], "", |s| {
        let mut receiver = s.connect(&s.persistent("receiver"));
        receiver.subscribe(&s.topic("t"), 1);
        receiver.disconnect();
        let out = Out::new(&s.topic("t"), "x").qos(1).user("z", "1").user("a", "2");
        s.client("sender").publish(out.data(Id::CorrelationData, b"77"));
        let mut receiver = s.connect(&s.persistent("receiver"));
        let message = receiver.receive(&s.topic("t"), "x");
        assert_eq!(message.props.users(), [("z", "1"), ("a", "2")]);
        assert_eq!(message.props.bytes(Id::CorrelationData), Some(&b"77"[..]));
    });
}

/// Attack Q10.
///
/// 5.0: MQTT-3.3.4-6, MQTT-3.3.2-14, MQTT-3.3.2-8, MQTT-4.13.1-1, MQTT-3.14.2-1.
#[test]
fn mqtt_3_3_4_6_bad_properties_end_the_connection() {
    let broker = start("");
    let mut healthy = broker.client(V5, "healthy");
    healthy.subscribe("#", 0);
    let cases = [
        ("subscription identifier", "0b 01", 0x82),
        ("payload format 2", "01 02", 0x82),
        ("response topic with +", "08 0003 612f2b", 0x82),
        ("response topic with #", "08 0001 23", 0x82),
        ("response topic, empty", "08 0000", 0x82),
        ("session expiry", "11 00000001", 0x82),
        ("reason string", "1f 0001 61", 0x82),
        ("unknown 0x7f", "7f", 0x81),
        ("payload format twice", "01 01 01 01", 0x82),
        ("message expiry twice", "02 00000001 02 00000001", 0x82),
        ("content type twice", "03 0001 61 03 0001 61", 0x82),
        ("response topic twice", "08 0001 61 08 0001 61", 0x82),
        ("correlation data twice", "09 0001 61 09 0001 61", 0x82),
        ("topic alias twice", "23 0003 23 0003", 0x82),
        ("a value cut short", "02 0000", 0x81),
    ];
    for (what, properties, code) in cases {
        let mut client = broker.client(V5, "odd");
        client.send(&publish_properties(&hex(properties)));
        let codes: &[u8] = match what {
            // A topic that cannot be: several codes say so.
            what if what.starts_with("response") => &[0x81, 0x82, 0x90],
            _ => &[code],
        };
        expect_ended(what, &mut client, codes);
    }
    healthy.expect_nothing();
}

/// What the payload is said to be is passed on, not judged. Attack Q11.
#[test]
fn payloads_that_are_not_what_they_claim_pass() {
    each(&[V5], "", |s| {
        let mut receiver = s.client("receiver");
        receiver.subscribe(&s.topic("t"), 1);
        let mut sender = s.client("sender");
        let out = Out::new(&s.topic("t"), b"\xFF").qos(1);
        sender.publish(out.int(Id::PayloadFormatIndicator, 1));
        let message = receiver.expect_publish();
        assert_eq!(message.payload, b"\xFF");
        assert_eq!(message.props.int(Id::PayloadFormatIndicator), Some(1));
    });
}
