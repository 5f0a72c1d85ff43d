//! PUBACK, PUBREC, PUBREL, PUBCOMP: codes, unknown ids, what is wrong with them (3.4 to 3.7).

use super::scene::{each, start};
use super::wire::{expect_ended, hex};
use crate::support::{Id, Out, PacketKind, Reason, V5, V31, V311, VERSIONS, other_broker};

/// 5.0: MQTT-3.4.2-1, MQTT-3.5.2-1. 3.1.1: MQTT-3.3.4-1.
#[test]
fn mqtt_3_4_2_1_codes_of_puback_and_pubrec() {
    each(&[V5], "", |s| {
        let mut receiver = s.client("receiver");
        receiver.subscribe(&s.topic("heard"), 0);
        let mut sender = s.client("sender");
        let code = |topic: &str, qos: u8| Out::new(topic, "x").qos(qos);
        assert_eq!(sender.publish_code(code(&s.topic("heard"), 1)), 0);
        assert_eq!(sender.publish_code(code(&s.topic("heard"), 2)), 0);
        assert_eq!(sender.publish_code(code(&s.topic("unheard"), 1)), 0x10);
        let pubrec = sender.publish_code(code(&s.topic("unheard"), 2));
        // Mosquitto routes later, at PUBREL, and cannot know yet.
        assert!(pubrec == 0x10 || other_broker());
        assert_eq!(sender.publish_code(code("$SYS/x", 1)), 0x87);
        assert_eq!(sender.publish_code(code("$SYS/x", 2)), 0x87);
    });
}

/// Reason strings come where they fit and are wanted, and nowhere else.
///
/// 5.0: MQTT-3.4.2-2, MQTT-3.4.2-3, MQTT-3.5.2-2, MQTT-3.5.2-3, MQTT-3.1.2-29.
#[test]
fn mqtt_3_4_2_2_reason_strings_fit_the_client() {
    each(&[V5], "", |s| {
        for (qos, kind) in [(1, PacketKind::Puback), (2, PacketKind::Pubrec)] {
            let refused = Out::new("$SYS/x", "x").qos(qos).id(5);
            let small = s.dial("small").int(Id::MaximumPacketSize, 20);
            let silent = s.dial("silent").int(Id::RequestProblemInformation, 0);
            for dial in [small, silent] {
                let mut client = s.connect(&dial);
                client.send_publish(refused.clone());
                let answer = client.expect_ack(kind, 5, 0x87);
                assert!(answer.bytes().len() <= 20);
                assert!(answer.props().is_empty(), "{answer:?}");
            }
            let mut client = s.client("large");
            client.send_publish(refused);
            let answer = client.expect_ack(kind, 5, 0x87);
            let told = answer.props().str(Id::ReasonString).is_some();
            assert!(told || other_broker());
            assert!(answer.props().users().is_empty());
        }
    });
}

/// 5.0: MQTT-3.6.2-1, MQTT-3.6.2-2, MQTT-3.6.2-3, MQTT-3.7.2-1, MQTT-3.7.2-2, MQTT-3.7.2-3,
/// MQTT-4.3.3-11. 3.1.1: MQTT-4.3.3-2.
#[test]
fn mqtt_3_7_2_1_unknown_ids_are_answered() {
    each(&VERSIONS, "", |s| {
        let mut client = s.connect(&s.dial("odd"));
        // PUBACK and PUBCOMP end something; there is nothing to end.
        client.puback(7);
        client.pubcomp(7);
        client.expect_nothing();
        client.pubrel(7);
        let pubcomp = client.expect(PacketKind::Pubcomp);
        client.pubrec(7);
        let pubrel = client.expect(PacketKind::Pubrel);
        for answer in [pubcomp, pubrel] {
            assert_eq!(answer.packet_id(), Some(7));
            let code = if s.v5() { 0x92 } else { 0 };
            assert!(answer.code() == code || other_broker());
            // No reason string, no user properties: they always fit.
            assert!(answer.bytes().len() <= 5, "{answer:?}");
        }
        if s.v5() {
            client.send_ack(PacketKind::Pubrec, 7, Reason::UnspecifiedError);
            client.expect_nothing();
        }
    });
}

/// Attack Q20.
///
/// 3.1.1: MQTT-4.8.0-1, MQTT-2.3.1-6. 5.0: MQTT-4.13.1-1, MQTT-3.14.2-1.
#[test]
fn mqtt_4_8_0_1_acknowledgements_that_cannot_be_end_the_connection() {
    let broker = start("");
    let mut healthy = broker.client(V311, "healthy");
    for kind in ["40", "50", "62", "70"] {
        let both = [" 02 00 00", " 01 00", " 00"];
        for rest in both {
            for version in VERSIONS {
                let mut client = broker.client(version, "odd");
                client.send(&hex(&format!("{kind}{rest}")));
                expect_ended(&format!("{kind}{rest}"), &mut client, &[0x81, 0x82]);
            }
        }
        // Codes that are no acknowledgement's, a property that is not either, a length too long.
        for rest in [" 03 0007 01", " 09 0007 00 05 11 000000ff", " 05 0007 00 20 00"] {
            let mut client = broker.client(V5, "odd");
            client.send(&hex(&format!("{kind}{rest}")));
            expect_ended(&format!("{kind}{rest}"), &mut client, &[0x81, 0x82]);
        }
        // In 3.x an acknowledgement is its id.
        for version in [V31, V311] {
            let mut client = broker.client(version, "odd");
            client.send(&hex(&format!("{kind} 03 0007 00")));
            client.expect_closed();
        }
        // And these are fine.
        for rest in [" 03 0007 00", " 04 0007 00 00", " 08 0007 00 04 1f 0001 61"] {
            let mut client = broker.client(V5, "even");
            client.send(&hex(&format!("{kind}{rest}")));
            client.send(&[0xC0, 0]);
            while client.recv().kind() != PacketKind::Pingresp {}
        }
    }
    healthy.ping();
}

/// An id that is in use is acknowledged with a packet of another QoS.
///
/// 3.1.1: MQTT-4.8.0-1. 5.0: MQTT-4.13.1-1.
#[test]
fn mqtt_4_13_1_1_acknowledgements_of_the_wrong_kind_end_the_connection() {
    each(&VERSIONS, "", |s| {
        let cases = [(1, PacketKind::Pubrec), (1, PacketKind::Pubcomp), (2, PacketKind::Puback)];
        for (qos, kind) in cases {
            let mut receiver = s.client("receiver");
            receiver.subscribe(&s.topic("t"), 2);
            let mut sender = s.client("sender");
            sender.publish(Out::new(&s.topic("t"), "x").qos(qos));
            let id = receiver.expect_message(&s.topic("t"), "x").packet_id;
            if qos == 2 {
                receiver.pubrec(id);
                receiver.expect(PacketKind::Pubrel);
            }
            receiver.send_ack(kind, id, Reason::Success);
            receiver.expect_ended(0x82);
        }
    });
}

/// Packets only a broker sends. Attacks P29 and P30.
///
/// 3.1.1: MQTT-4.8.0-1. 5.0: MQTT-4.13.1-1.
#[test]
fn mqtt_4_13_1_1_packets_of_a_broker_end_the_connection() {
    let broker = start("");
    let mut healthy = broker.client(V311, "healthy");
    let packets = [
        "20 02 00 00",
        "20 09 00 00 06 22 000a 21 0014",
        "20 05 00 00 02 7f 00",
        "90 03 0001 00",
        "90 04 0001 00 00",
        "b0 02 0001",
        "b0 04 0001 00 00",
        "d0 00",
        "00 00",
        "0f 00",
    ];
    for version in VERSIONS {
        for packet in packets {
            let mut client = broker.client(version, "mirror");
            client.send(&hex(packet));
            expect_ended(packet, &mut client, &[0x81, 0x82]);
            healthy.ping();
        }
    }
}

/// The packets before the bad one are dealt with, those behind it are not.
#[test]
fn a_bad_packet_ends_the_connection_at_its_place() {
    each(&VERSIONS, "", |s| {
        let mut receiver = s.client("receiver");
        receiver.subscribe(&s.topic("t"), 0);
        let mut client = s.client("odd");
        let good = |text| Out::new(&s.topic("t"), text).bytes(s.version);
        client.send(&[hex("c000"), good("before"), hex("0000"), good("after")].concat());
        client.expect(PacketKind::Pingresp);
        expect_ended("a packet of kind 0", &mut client, &[0x81, 0x82]);
        receiver.expect_message(&s.topic("t"), "before");
        receiver.expect_nothing();
    });
}
