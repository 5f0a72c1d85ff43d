//! SUBSCRIBE and SUBACK (3.8, 3.9).

use super::scene::each;
use super::wire::{expect_ended, field, hex, no_properties, packet, subscribe};
use crate::support::{Id, Out, PacketKind, V5, V31, V311, VERSIONS, other_broker};
use mogi_codec::PropertyBuf;

const NO_LOCAL: u8 = 0b0100;
const RETAIN_AS_PUBLISHED: u8 = 0b1000;

fn identifier(id: u32) -> PropertyBuf {
    let mut props = PropertyBuf::new();
    props.int(Id::SubscriptionIdentifier, id);
    props
}

/// 3.1.1: MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT-3.8.4-4, MQTT-3.8.4-5, MQTT-3.9.3-1, MQTT-2.3.1-7.
/// 5.0: MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT-3.8.4-5, MQTT-3.8.4-6, MQTT-3.8.4-7, MQTT-3.9.3-1,
/// MQTT-2.2.1-6, MQTT-2.2.2-1, MQTT-3.9.2-1, MQTT-3.9.2-2.
#[test]
fn mqtt_3_8_4_1_suback_answers_with_id_and_a_code_for_each_filter() {
    each(&VERSIONS, "", |s| {
        let mut client = s.client("subscriber");
        let filters: [(&str, u8); 7] =
            [("a", 2), ("b/#", 0), ("c", 1), ("a", 1), ("+", 2), ("$SYS/#", 0), ("a/b/c", 1)];
        let mut bytes = Vec::new();
        for id in [700, 7, 65_535] {
            let mut body = u16::to_be_bytes(id).to_vec();
            body.extend_from_slice(no_properties(s.version));
            for (filter, qos) in filters {
                body.extend_from_slice(&field(s.topic(filter)));
                body.push(qos);
            }
            bytes.extend_from_slice(&packet(0x82, body));
        }
        client.send(&bytes);
        for id in [700_u16, 7, 65_535] {
            let codes = filters.map(|(_, qos)| qos);
            let body = [&id.to_be_bytes(), no_properties(s.version), &codes].concat();
            client.expect_bytes(&packet(0x90, body));
        }
    });
}

/// 3.1.1: MQTT-3.8.3-3, MQTT-3-8.3-4, MQTT-2.3.1-1. 5.0: MQTT-3.8.3-2, MQTT-3.8.3-5,
/// MQTT-4.13.1-1.
#[test]
fn mqtt_3_8_3_3_malformed_subscribes_end_the_connection() {
    let broker = super::scene::start("");
    let mut healthy = broker.client(V311, "healthy");
    for version in VERSIONS {
        let none = no_properties(version);
        let mut cases = vec![
            ("QoS 3", subscribe(version, "a", 3)),
            ("reserved 0x40", subscribe(version, "a", 0x40)),
            ("reserved 0x80", subscribe(version, "a", 0x80)),
            ("packet id 0", packet(0x82, [&[0, 0], none, &field("a"), &[0]].concat())),
            ("filter cut short", packet(0x82, [&[0, 1], none, &[0, 9, b'a']].concat())),
            ("no options", packet(0x82, [&[0, 1], none, &field("a")].concat())),
            ("no id", packet(0x82, [])),
        ];
        if version != V31 || !other_broker() {
            cases.push(("no filter", packet(0x82, [&[0, 1], none].concat())));
        }
        if version == V5 {
            cases.push(("retain handling 3", subscribe(version, "a", 0x30)));
        } else {
            cases.push(("options of 5.0", subscribe(version, "a", NO_LOCAL)));
            cases.push(("options of 5.0", subscribe(version, "a", 0x10)));
        }
        for (what, bytes) in cases {
            let mut client = broker.client(version, "odd");
            client.send(&bytes);
            expect_ended(what, &mut client, &[0x81, 0x82]);
            healthy.ping();
        }
    }
}

/// Attack S05.
///
/// 5.0: MQTT-4.13.1-1.
#[test]
fn mqtt_4_13_1_1_bad_properties_of_subscribe_end_the_connection() {
    let broker = super::scene::start("");
    let cases = [
        "82 09 0001 02 0b00 0001 61 00",         // identifier 0
        "82 0d 0001 06 0bffffffff7f 0001 61 00", // identifier of five bytes
        "82 0b 0001 04 0b01 0b02 0001 61 00",    // two of them
        "82 0c 0001 05 11 00000001 0001 61 00",  // session expiry
        "82 09 0001 02 7f00 0001 61 00",         // unknown
        "82 07 0001 20 0001 61 00",              // longer than the packet
    ];
    for bytes in cases {
        let mut client = broker.client(V5, "odd");
        client.send(&hex(bytes));
        expect_ended(bytes, &mut client, &[0x81, 0x82]);
    }
    let mut client = broker.client(V5, "even");
    let ack = client.subscribe_with(&[("a", 0)], &identifier(268_435_455));
    assert_eq!(ack.codes(), [0]);
    client.publish(Out::new("a", "x"));
    let props = client.expect_message("a", "x").props;
    assert_eq!(props.int(Id::SubscriptionIdentifier), Some(268_435_455));
}

/// 3.1.1: MQTT-3.8.3-2, MQTT-3.8.4-6. 5.0: MQTT-3.8.4-7, MQTT-3.8.4-8.
#[test]
fn mqtt_3_8_4_6_delivery_is_at_the_lower_qos() {
    each(&VERSIONS, "", |s| {
        let mut sender = s.client("sender");
        for granted in 0..=2 {
            let mut receiver = s.client("receiver");
            receiver.subscribe(&s.topic("+/#"), granted);
            for published in 0..=2 {
                sender.publish(Out::new(&s.topic("t"), "x").qos(published));
                let message = receiver.receive(&s.topic("t"), "x");
                assert_eq!(message.qos, granted.min(published));
            }
        }
    });
}

/// 3.1.1: MQTT-3.3.5-1. 5.0: MQTT-3.3.4-2, MQTT-3.3.4-3, MQTT-3.3.4-5.
#[test]
fn mqtt_3_3_5_1_overlapping_subscriptions_each_get_their_copy() {
    each(&VERSIONS, "", |s| {
        let mut receiver = s.client("receiver");
        for (filter, id) in [("a/b", 1), ("a/+", 2), ("a/#", 200)] {
            let qos = (id % 100).min(2) as u8;
            let props = if s.v5() { identifier(id) } else { PropertyBuf::new() };
            receiver.subscribe_with(&[(&s.topic(filter), qos)], &props);
        }
        let mut sender = s.client("sender");
        for published in 0..=2_u8 {
            sender.publish(Out::new(&s.topic("a/b"), "x").qos(published));
            let mut got: Vec<_> = (0..3)
                .map(|_| receiver.receive(&s.topic("a/b"), "x"))
                .map(|message| (message.qos, message.props.ints(Id::SubscriptionIdentifier)))
                .collect();
            got.sort();
            let ids = |id| if s.v5() { vec![id] } else { vec![] };
            let mut expected = [1, 2, 200].map(|id| {
                let qos = (id % 100).min(2) as u8;
                (qos.min(published), ids(id))
            });
            expected.sort();
            assert_eq!(got, expected);
        }
        receiver.expect_nothing_from(&mut sender);
    });
}

/// With `allow_duplicate_messages false` one copy, at the highest of the QoS granted, with all
/// identifiers.
///
/// 3.1.1: MQTT-3.3.5-1. 5.0: MQTT-3.3.4-2, MQTT-3.3.4-4.
#[test]
fn mqtt_3_3_4_4_a_single_copy_has_the_highest_qos_and_all_identifiers() {
    if other_broker() {
        return; // Mosquitto: 3.x only, and at the first filter's QoS.
    }
    each(&VERSIONS, "allow_duplicate_messages false", |s| {
        let mut receiver = s.client("receiver");
        for (filter, qos, id) in [("a/b", 0, 1), ("a/+", 2, 2), ("a/#", 1, 200)] {
            let props = if s.v5() { identifier(id) } else { PropertyBuf::new() };
            receiver.subscribe_with(&[(&s.topic(filter), qos)], &props);
        }
        let mut sender = s.client("sender");
        for published in 0..=2 {
            sender.publish(Out::new(&s.topic("a/b"), "x").qos(published));
            let message = receiver.receive(&s.topic("a/b"), "x");
            assert_eq!(message.qos, published);
            let mut ids = message.props.ints(Id::SubscriptionIdentifier);
            ids.sort();
            let expected: &[u32] = if s.v5() { &[1, 2, 200] } else { &[] };
            assert_eq!(ids, expected);
            receiver.expect_nothing_from(&mut sender);
        }
    });
}

/// 3.1.1: MQTT-3.8.4-3. 5.0: MQTT-3.8.4-3, MQTT-3.8.4-4.
#[test]
fn mqtt_3_8_4_3_the_same_filter_again_replaces_the_subscription() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut sender = s.client("sender");
        sender.publish(Out::new(&topic, "kept").qos(1).retain());
        let mut receiver = s.client("receiver");
        for (qos, id) in [(2, 1), (0, 0), (1, 7)] {
            let props = if s.v5() && id > 0 { identifier(id) } else { PropertyBuf::new() };
            let ack = receiver.subscribe_with(&[(&topic, qos)], &props);
            assert_eq!(ack.codes(), [qos]);
            // The retained message comes again each time.
            let ids = if s.v5() && id > 0 { vec![id] } else { vec![] };
            let kept = receiver.receive(&topic, "kept");
            assert_eq!((kept.qos, kept.retain), (qos.min(1), true));
            assert_eq!(kept.props.ints(Id::SubscriptionIdentifier), ids);
            // And a message once, as the last SUBSCRIBE wants it.
            sender.publish(Out::new(&topic, "live").qos(2));
            let live = receiver.receive(&topic, "live");
            assert_eq!(live.qos, qos);
            assert_eq!(live.props.ints(Id::SubscriptionIdentifier), ids);
            receiver.expect_nothing_from(&mut sender);
        }
        sender.publish(Out::new(&topic, "").qos(1).retain());
    });
}

/// No message is lost or comes twice when the same filter is subscribed to under traffic.
///
/// 3.1.1: MQTT-3.8.4-3. 5.0: MQTT-3.8.4-4.
#[test]
fn mqtt_3_8_4_4_replacing_a_subscription_under_traffic_loses_nothing() {
    each(&VERSIONS, "max_inflight_messages 1000", |s| {
        let topic = s.topic("t");
        let mut receiver = s.client("receiver");
        receiver.subscribe(&topic, 1);
        let mut sender = s.client("sender");
        let sending = std::thread::spawn({
            let topic = topic.clone();
            move || {
                for at in 0..300 {
                    sender.publish(Out::new(&topic, at.to_string()).qos(1));
                }
            }
        });
        for _ in 0..50 {
            receiver.subscribe(&topic, 1);
        }
        sending.join().expect("the sender");
        for at in 0..300 {
            receiver.receive(&topic, at.to_string());
        }
        receiver.expect_nothing();
    });
}

/// 3.1.1: MQTT-3.9.3-2. 5.0: MQTT-3.9.3-2, MQTT-3.9.2-1, MQTT-3.1.2-29.
#[test]
fn mqtt_3_9_3_2_codes_of_suback_are_listed() {
    let own = "max_subscriptions_per_client 2\n";
    if other_broker() {
        return; // Mosquitto refuses no filter on its own.
    }
    let broker = super::scene::start_with("", own);
    for version in VERSIONS {
        let mut client = broker.client(version, "many");
        let filters = [("a", 2), ("b", 1), ("c", 0), ("a", 0)];
        let ack = client.subscribe_with(&filters, &PropertyBuf::new());
        let refused = if version == V5 { 0x97 } else { 0x80 };
        assert_eq!(ack.codes(), [2, 1, refused, 0]);
        assert_eq!(ack.props().has(Id::ReasonString), version == V5);
    }
    let dials = [
        crate::support::Dial::new(V5, "small").int(Id::MaximumPacketSize, 20),
        crate::support::Dial::new(V5, "silent").int(Id::RequestProblemInformation, 0),
    ];
    for dial in dials {
        let mut client = broker.connect(&dial);
        let ack = client.subscribe_with(&[("a", 0), ("b", 0), ("c", 0)], &PropertyBuf::new());
        assert_eq!(ack.codes(), [0, 0, 0x97]);
        assert!(ack.props().is_empty());
    }
}

/// 5.0: MQTT-3.8.3-3.
#[test]
fn mqtt_3_8_3_3_no_local_keeps_own_messages_away() {
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        let mut client = s.connect(&s.persistent("talker"));
        client.subscribe_with(&[(&topic, NO_LOCAL | 1)], &PropertyBuf::new());
        let mut other = s.client("other");
        other.subscribe(&topic, 1);
        assert_eq!(client.publish_code(Out::new(&topic, "mine").qos(1)), 0);
        other.receive(&topic, "mine");
        other.publish(Out::new(&topic, "other's").qos(1));
        client.receive(&topic, "other's");
        // The id is the same after a reconnect, so are its messages.
        client.disconnect();
        let mut client = s.connect(&s.persistent("talker"));
        client.publish(Out::new(&topic, "mine").qos(2));
        // Another subscription without no-local still gets them.
        client.subscribe(&s.topic("+"), 0);
        client.publish(Out::new(&topic, "both"));
        client.expect_message(&topic, "both");
        client.expect_nothing();
    });
}

/// 5.0: MQTT-3.8.3-4.
#[test]
fn mqtt_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error() {
    let broker = super::scene::start("");
    let mut client = broker.client(V5, "odd");
    client.send(&subscribe(V5, "$share/g/a", NO_LOCAL));
    client.expect_disconnect(0x82);
}

/// 5.0: MQTT-3.3.1-12, MQTT-3.3.1-13. 3.1.1: MQTT-3.3.1-9.
#[test]
fn mqtt_3_3_1_13_retain_as_published() {
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        let mut without = s.client("without");
        let mut with = s.client("with");
        without.subscribe(&topic, 1);
        with.subscribe_with(&[(&topic, RETAIN_AS_PUBLISHED | 1)], &PropertyBuf::new());
        let mut sender = s.client("sender");
        for (retain, payload) in [(true, "x"), (false, "y"), (true, "")] {
            let out = Out::new(&topic, payload).qos(1);
            sender.publish(if retain { out.retain() } else { out });
            assert!(!without.receive(&topic, payload).retain);
            assert_eq!(with.receive(&topic, payload).retain, retain);
        }
    });
}

/// Attacks S07 and S08.
#[test]
fn many_filters_at_once_and_one_filter_many_times() {
    let broker = super::scene::start("");
    for version in [V311, V5] {
        let mut client = broker.client(version, "many");
        let names: Vec<String> = (0..5000).map(|at| format!("f/{at}")).collect();
        let filters: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let ack = client.subscribe_with(&filters, &PropertyBuf::new());
        assert_eq!(ack.codes(), [1; 5000]);
        client.publish(Out::new("f/4999", "x"));
        client.expect_message("f/4999", "x");
        let same = vec![("f/0", 0); 5000];
        let ack = client.subscribe_with(&same, &PropertyBuf::new());
        assert_eq!(ack.codes(), [0; 5000]);
        client.publish(Out::new("f/0", "x"));
        client.expect_message("f/0", "x");
        client.expect_nothing();
        client.send(&[0xC0, 0]);
        client.expect(PacketKind::Pingresp);
    }
}
