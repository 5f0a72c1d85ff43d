//! PUBLISH: flags, packet ids, what is answered and what is forwarded (3.3).

use super::scene::{each, start};
use super::wire::{expect_ended, field, hex, no_properties, packet, publish};
use crate::support::{Frame, Out, PacketKind, V5, V311, VERSIONS, Version};

/// 3.1.1: MQTT-3.3.1-2, MQTT-3.3.1-4, MQTT-2.3.1-1, MQTT-4.8.0-1.
/// 5.0: MQTT-3.3.1-2, MQTT-3.3.1-4, MQTT-4.13.1-1.
#[test]
fn mqtt_3_3_1_4_impossible_flags_end_the_connection() {
    let broker = start("");
    let mut healthy = broker.client(V311, "healthy");
    healthy.subscribe("#", 0);
    for version in VERSIONS {
        let id_0 = |flags: u8| {
            let body = [&field("t"), &[0, 0][..], no_properties(version)].concat();
            packet(0x30 | flags, body)
        };
        let cases = [
            ("QoS 3", publish(version, 0b0110, "t")),
            ("QoS 3 with DUP", publish(version, 0b1110, "t")),
            ("DUP at QoS 0", publish(version, 0b1000, "t")),
            ("packet id 0 at QoS 1", id_0(0b0010)),
            ("packet id 0 at QoS 2", id_0(0b0100)),
        ];
        for (what, bytes) in cases {
            let mut client = broker.client(version, "odd");
            client.send(&bytes);
            expect_ended(what, &mut client, &[0x81, 0x82]);
        }
    }
    healthy.expect_nothing();
}

/// Attack Q06.
///
/// 3.1.1: MQTT-4.8.0-1. 5.0: MQTT-4.13.1-1.
#[test]
fn mqtt_4_8_0_1_publishes_cut_short_end_only_their_own_connection() {
    let broker = start("");
    let mut healthy = broker.client(V5, "healthy");
    for version in VERSIONS {
        let cases =
            ["30 00", "30 01 00", "30 05 00 09 61 62 63", "32 03 00 01 61", "32 04 0001 61 00"];
        for bytes in cases {
            let mut client = broker.client(version, "cut");
            client.send(&hex(bytes));
            expect_ended(bytes, &mut client, &[0x81, 0x82, 0x90]);
            healthy.ping();
        }
    }
    let cases = ["30 03 0001 61", "30 04 0001 61 05", "30 08 0001 61 ff ff ff ff 7f"];
    for bytes in cases {
        let mut client = broker.client(V5, "cut");
        client.send(&hex(bytes));
        expect_ended(bytes, &mut client, &[0x81, 0x82]);
        healthy.ping();
    }
}

/// 3.1.1: MQTT-2.3.1-5, MQTT-3.3.1-2, MQTT-4.3.1-1. 5.0: MQTT-2.2.1-2, MQTT-3.3.1-2,
/// MQTT-4.3.1-1, MQTT-2.2.2-1.
#[test]
fn mqtt_2_3_1_5_qos_0_has_neither_packet_id_nor_dup() {
    let broker = start("");
    for version in VERSIONS {
        let mut receiver = broker.client(version, "receiver");
        receiver.subscribe("t", 2);
        for sender in VERSIONS {
            let mut sender = broker.client(sender, "sender");
            sender.publish(Out::new("t", "x"));
            let bytes = match version {
                V5 => hex("30 05 0001 74 00 78"),
                _ => hex("30 04 0001 74 78"),
            };
            receiver.expect_bytes(&bytes);
        }
    }
}

/// 3.1.1: MQTT-3.3.1-3, MQTT-3.3.1-9. 5.0: MQTT-3.3.1-3, MQTT-4.3.2-2, MQTT-4.3.3-2.
#[test]
fn mqtt_3_3_1_3_dup_of_the_publisher_is_not_forwarded() {
    each(&VERSIONS, "", |s| {
        let mut receiver = s.client("receiver");
        let mut sender = s.client("sender");
        receiver.subscribe(&s.topic("t"), 2);
        for qos in [1, 2] {
            sender.publish(Out::new(&s.topic("t"), "again?").qos(qos).dup());
            let message = receiver.receive(&s.topic("t"), "again?");
            assert_eq!((message.dup, message.qos, message.retain), (false, qos, false));
        }
    });
}

/// 3.1.1: MQTT-3.3.4-1, MQTT-2.3.1-6. 5.0: MQTT-3.3.4-1, MQTT-2.2.1-5.
#[test]
fn mqtt_3_3_4_1_the_answer_follows_from_the_qos() {
    each(&VERSIONS, "", |s| {
        let mut client = s.client("sender");
        for (qos, kind) in [(1, PacketKind::Puback), (2, PacketKind::Pubrec)] {
            for id in [1, 2, 255, 256, 65_535] {
                client.send_publish(Out::new(&s.topic("t"), "x").qos(qos).id(id));
                let answer = client.expect(kind);
                assert_eq!(answer.packet_id(), Some(id));
                assert!(answer.code() < 0x80);
            }
        }
        client.send_publish(Out::new(&s.topic("t"), "x"));
        client.expect_nothing();
    });
}

/// Acknowledgements carry their PUBLISH's id, and come in the order of the PUBLISHes.
///
/// 3.1.1: MQTT-2.3.1-6, MQTT-4.6.0-2, MQTT-4.6.0-3. 5.0: MQTT-2.2.1-5.
#[test]
fn mqtt_2_3_1_6_acknowledgements_carry_the_ids_in_order() {
    each(&VERSIONS, "", |s| {
        let mut receiver = s.client("receiver");
        receiver.subscribe(&s.topic("t"), 2);
        let mut client = s.client("sender");
        let ids: [u16; 10] = [7, 3, 900, 1, 65_535, 4, 2, 300, 8, 5];
        let mut bytes = Vec::new();
        for (at, id) in ids.into_iter().enumerate() {
            let out = Out::new(&s.topic("t"), "x").qos(1 + at as u8 % 2).id(id);
            bytes.extend_from_slice(&out.bytes(s.version));
        }
        client.send(&bytes);
        let answers: Vec<Frame> = ids.iter().map(|_| client.recv()).collect();
        let of = |kind| -> Vec<u16> {
            let same = answers.iter().filter(|answer| answer.kind() == kind);
            same.filter_map(Frame::packet_id).collect()
        };
        assert_eq!(of(PacketKind::Puback), [7, 900, 65_535, 2, 8]);
        assert_eq!(of(PacketKind::Pubrec), [3, 1, 4, 300, 5]);
        for id in [5, 300, 4, 1, 3] {
            client.pubrel(id);
            client.expect_ack(PacketKind::Pubcomp, id, 0);
        }
    });
}

/// 3.1.1: MQTT-3.3.5-2. 5.0: MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-4.3.3-9.
#[test]
fn mqtt_3_3_5_2_refused_messages_are_acknowledged_and_go_nowhere() {
    each(&VERSIONS, "", |s| {
        let mut client = s.client("liar");
        for filter in ["$SYS/#", "$share/g/#", "#"] {
            s.client("witness").subscribe_with(&[(filter, 0)], &Default::default());
        }
        let mut witness = s.client("witness");
        witness.subscribe("$SYS/fake", 0);
        let code = if s.v5() { 0x87 } else { 0 };
        for topic in ["$SYS/fake", "$SYS/broker/uptime", "$share/g/t"] {
            client.publish(Out::new(topic, "lie"));
            client.publish(Out::new(topic, "lie").retain());
            for qos in [1, 2] {
                assert_eq!(client.publish_code(Out::new(topic, "lie").qos(qos)), code, "{topic}");
            }
        }
        client.ping();
        witness.expect_nothing_from(&mut client);
        // Nothing was retained either.
        let mut late = s.client("late");
        late.subscribe("$SYS/broker/uptime", 0);
        assert_ne!(late.expect_publish().text(), "lie");
    });
}

/// The same bytes come out that went in, whatever they are.
#[test]
fn payloads_of_any_size_arrive_whole() {
    each(&VERSIONS, "", |s| {
        let mut receiver = s.client("receiver");
        let mut sender = s.client("sender");
        receiver.subscribe(&s.topic("t"), 1);
        for len in [0, 1, 100, 127, 128, 16_383, 16_384, 65_536, 1_000_000] {
            let payload: Vec<u8> = (0..len).map(|at: u32| (at * 7 + at / 251) as u8).collect();
            sender.publish(Out::new(&s.topic("t"), &payload).qos(1));
            let message = receiver.expect_publish();
            receiver.complete(&message);
            assert!(message.payload == payload, "{len} bytes");
        }
    });
}

/// Attack E13; 4.2 of 5.0 asks for a lossless, ordered stream.
///
/// 3.1.1: MQTT-7.1.1-1, MQTT-7.0.0-2. 5.0: MQTT-4.2-1.
#[test]
fn mqtt_4_2_1_twenty_thousand_packets_in_one_write_are_all_answered_in_order() {
    let broker = start("");
    for version in [V311, V5] {
        let mut bytes = Vec::new();
        for id in 1..=20_000 {
            bytes.extend_from_slice(&Out::new("t", "x").qos(1).id(id).bytes(version));
        }
        bytes.extend_from_slice(&[0xC0, 0]);
        let mut client = broker.client(version, "eager");
        let mut writer = client.stream().try_clone().expect("a second handle");
        let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes));
        for id in 1..=20_000 {
            assert_eq!(client.expect(PacketKind::Puback).packet_id(), Some(id));
        }
        client.expect(PacketKind::Pingresp);
        writing.join().expect("no panic").expect("written");
    }
}

/// A client that closes its half after a message has said what it had to say. Attack E15.
#[test]
fn what_came_before_the_end_of_the_stream_is_delivered() {
    each(&VERSIONS, "", |s| {
        let mut receiver = s.client("receiver");
        receiver.subscribe(&s.topic("t"), 0);
        let mut sender = s.client("sender");
        sender.send_publish(Out::new(&s.topic("t"), "last words"));
        sender.half_close();
        sender.expect_closed();
        receiver.expect_message(&s.topic("t"), "last words");
    });
}

/// Every kind of packet the broker sends has the flags the standard gives it; [`Frame`] refuses
/// others, so it is enough to see each kind once.
///
/// 3.1.1: MQTT-2.2.2-1, MQTT-2.3.1-1. 5.0: MQTT-2.1.3-1, MQTT-2.2.2-1, MQTT-3.6.1-1.
#[test]
fn mqtt_2_2_2_1_sent_packets_have_the_flags_of_their_kind() {
    each(&VERSIONS, "", |s| {
        let mut client = s.client("all");
        let mut first_bytes = Vec::new();
        let mut see = |frame: Frame| first_bytes.push(frame.bytes()[0]);
        let topic = s.topic("t");
        client.send(&super::wire::subscribe(s.version, &topic, 2));
        see(client.expect(PacketKind::Suback));
        client.send_publish(Out::new(&topic, "x").qos(2).id(9));
        // Its own message may come before PUBREC, between, or, as from Mosquitto, with PUBCOMP.
        let mut got: Vec<Frame> = vec![client.recv()];
        client.pubrel(9);
        got.extend([client.recv(), client.recv()]);
        let order = [PacketKind::Pubrec, PacketKind::Pubcomp, PacketKind::Publish];
        got.sort_by_key(|frame| order.iter().position(|&kind| kind == frame.kind()));
        let id = got[2].packet_id().expect("an id");
        got.into_iter().for_each(&mut see);
        client.pubrec(id);
        see(client.expect(PacketKind::Pubrel));
        client.pubcomp(id);
        client.send_publish(Out::new(&s.topic("other"), "x").qos(1));
        see(client.expect(PacketKind::Puback));
        client.send(&super::wire::unsubscribe(s.version, &topic));
        see(client.expect(PacketKind::Unsuback));
        client.send(&[0xC0, 0]);
        see(client.expect(PacketKind::Pingresp));
        assert_eq!(first_bytes, [0x90, 0x50, 0x70, 0x34, 0x62, 0x40, 0xB0, 0xD0]);
    });
}

/// Wrong flags in a received packet's header.
///
/// 3.1.1: MQTT-2.2.2-2, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1.
/// 5.0: MQTT-2.1.3-1, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1, MQTT-3.15.1-1.
#[test]
fn mqtt_2_2_2_2_wrong_header_flags_end_the_connection() {
    let broker = start("");
    let mut healthy = broker.client(V311, "healthy");
    let packets = |version: Version| {
        let none = no_properties(version);
        vec![
            (0x40, 0, vec![0, 7]),
            (0x50, 0, vec![0, 7]),
            (0x60, 2, vec![0, 7]),
            (0x70, 0, vec![0, 7]),
            (0x80, 2, [&[0, 1], none, &field("a"), &[0]].concat()),
            (0xA0, 2, [&[0, 1], none, &field("a")].concat()),
            (0xC0, 0, vec![]),
            (0xE0, 0, vec![]),
            (0xF0, 0, vec![]),
        ]
    };
    for version in [V311, V5] {
        for (kind, right, body) in packets(version) {
            for flags in (0..16).filter(|&flags| flags != right) {
                let mut client = broker.client(version, "flags");
                client.send(&packet(kind | flags, &body));
                let what = format!("{version:?} {kind:02x}, flags {flags:04b}");
                expect_ended(&what, &mut client, &[0x81, 0x82]);
            }
        }
    }
    healthy.ping();
}
