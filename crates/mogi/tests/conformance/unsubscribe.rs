//! UNSUBSCRIBE and UNSUBACK (3.10, 3.11).

use super::scene::{each, start};
use super::wire::{expect_ended, field, hex, no_properties, packet, unsubscribe};
use crate::support::{Id, Out, PacketKind, V5, V31, V311, VERSIONS, other_broker};

/// 3.1.1: MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-3.10.4-6, MQTT-2.3.1-7.
/// 5.0: MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-3.10.4-6, MQTT-3.11.3-1, MQTT-3.11.3-2,
/// MQTT-2.2.1-6, MQTT-3.11.2-1, MQTT-3.11.2-2, MQTT-2.2.2-1.
#[test]
fn mqtt_3_10_4_4_one_unsuback_answers_all_filters() {
    each(&VERSIONS, "", |s| {
        let mut client = s.client("client");
        for filter in ["a", "b/+", "$share/g/c"] {
            let filter = filter.replace("g/c", &format!("g/{}", s.topic("c")));
            client.subscribe(&filter, 1);
        }
        let shared = format!("$share/g/{}", s.topic("c"));
        let filters = ["a", "unknown", "b/+", "b/+", &shared];
        for id in [500_u16, 3] {
            let mut body = [&id.to_be_bytes(), no_properties(s.version)].concat();
            for filter in filters {
                body.extend_from_slice(&field(filter));
            }
            client.send(&packet(0xA2, body));
        }
        for (id, codes) in [(500_u16, [0, 0x11, 0, 0x11, 0]), (3, [0x11; 5])] {
            let codes: &[u8] = if s.v5() { &codes } else { &[] };
            let body = [&id.to_be_bytes(), no_properties(s.version), codes].concat();
            client.expect_bytes(&packet(0xB0, body));
        }
    });
}

/// 3.1.1: MQTT-3.10.3-2, MQTT-2.3.1-1. 5.0: MQTT-3.10.3-2, MQTT-4.13.1-1.
#[test]
fn mqtt_3_10_3_2_malformed_unsubscribes_end_the_connection() {
    let broker = start("");
    let mut healthy = broker.client(V311, "healthy");
    for version in VERSIONS {
        let none = no_properties(version);
        let mut cases = vec![
            ("packet id 0", packet(0xA2, [&[0, 0], none, &field("a")].concat())),
            ("filter cut short", packet(0xA2, [&[0, 1], none, &[0, 9, b'a']].concat())),
            ("no id", packet(0xA2, [])),
        ];
        if version != V31 || !other_broker() {
            cases.push(("no filter", packet(0xA2, [&[0, 1], none].concat())));
        }
        for (what, bytes) in cases {
            let mut client = broker.client(version, "odd");
            client.send(&bytes);
            expect_ended(what, &mut client, &[0x81, 0x82]);
            healthy.ping();
        }
    }
    let mut client = broker.client(V5, "odd");
    client.send(&hex("a2 08 0001 02 0b01 0001 61")); // a property it has not
    expect_ended("property", &mut client, &[0x81, 0x82]);
}

/// 3.1.1: MQTT-3.10.4-1. 5.0: MQTT-3.10.4-1.
#[test]
fn mqtt_3_10_4_1_only_the_same_filter_is_removed() {
    each(&VERSIONS, "", |s| {
        let names = ["a/#", "a/b", "+/b", "A/b", "a/b/"];
        let mut client = s.client("client");
        let mut sender = s.client("sender");
        let others = ["a/+", "a", "a/", "/a/b", "a/b/#", "#", "+/+"];
        for name in names {
            client.subscribe(&s.topic(name), 0);
        }
        client.unsubscribe(&others.map(|name| s.topic(name)).each_ref().map(String::as_str));
        // Four of the five match, "A/b" does not.
        let mut left = 3;
        for name in names {
            sender.publish(Out::new(&s.topic("a/b"), name));
            for _ in 0..left {
                client.expect_message(&s.topic("a/b"), name);
            }
            client.expect_nothing_from(&mut sender);
            client.unsubscribe(&[&s.topic(name)]);
            left -= i32::from(["a/#", "a/b", "+/b"].contains(&name));
        }
    });
}

/// 3.1.1: MQTT-3.10.4-2. 5.0: MQTT-3.10.4-2.
#[test]
fn mqtt_3_10_4_2_no_new_messages_after_unsuback() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut client = s.client("client");
        let mut sender = s.client("sender");
        for qos in 0..=2 {
            client.subscribe(&topic, qos);
            sender.publish(Out::new(&topic, "before").qos(qos));
            client.receive(&topic, "before");
            client.unsubscribe(&[&topic]);
            sender.publish(Out::new(&topic, "after").qos(qos));
            sender.publish(Out::new(&topic, "after").qos(qos).retain());
            client.expect_nothing_from(&mut sender);
            sender.publish(Out::new(&topic, "").qos(1).retain());
        }
    });
}

/// 3.1.1: MQTT-3.10.4-3. 5.0: MQTT-3.10.4-3.
#[test]
fn mqtt_3_10_4_3_started_exchanges_are_finished() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut client = s.connect(&s.persistent("client"));
        let mut sender = s.client("sender");
        client.subscribe(&topic, 2);
        for qos in [1, 2, 2] {
            sender.publish(Out::new(&topic, "begun").qos(qos));
        }
        let begun: Vec<_> = (0..3).map(|_| client.expect_message(&topic, "begun")).collect();
        client.pubrec(begun[2].packet_id);
        client.expect_ack(PacketKind::Pubrel, begun[2].packet_id, 0);
        client.unsubscribe(&[&topic]);
        drop(client);
        // Also over a new connection.
        let mut client = s.connect(&s.persistent("client"));
        for message in &begun[..2] {
            let again = client.expect_message(&topic, "begun");
            assert_eq!((again.packet_id, again.dup), (message.packet_id, true));
        }
        client.expect_ack(PacketKind::Pubrel, begun[2].packet_id, 0);
        client.pubcomp(begun[2].packet_id);
        client.puback(begun[0].packet_id);
        client.pubrec(begun[1].packet_id);
        client.expect_ack(PacketKind::Pubrel, begun[1].packet_id, 0);
        client.pubcomp(begun[1].packet_id);
        client.expect_nothing_from(&mut sender);
    });
}

/// A subscription of an absent client goes with its UNSUBSCRIBE, too: nothing waits.
#[test]
fn unsubscribing_outlasts_the_connection() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut client = s.connect(&s.persistent("client"));
        client.subscribe(&topic, 1);
        client.send(&unsubscribe(s.version, &topic));
        client.expect(PacketKind::Unsuback);
        client.disconnect();
        let code = s.client("sender").publish_code(Out::new(&topic, "x").qos(1));
        assert_eq!(code, if s.v5() { 0x10 } else { 0 });
        s.connect(&s.persistent("client")).expect_nothing();
    });
}

/// Reason strings and user properties of UNSUBSCRIBE are taken.
#[test]
fn unsubscribe_may_have_user_properties() {
    let broker = start("");
    let mut client = broker.client(V5, "client");
    client.send(&hex("a2 0d 0001 07 26 0001 61 0001 62 0001 61"));
    let ack = client.expect(PacketKind::Unsuback);
    assert_eq!(ack.codes(), [0x11]);
    assert!(!ack.props().has(Id::UserProperty));
}
