//! CONNECT: which packets open a connection (3.1.0, 3.1.2, 3.1.4).

use super::scene::{each, start};
use super::wire::{connect, connect_with, expect_refused, field, hex, packet, publish, subscribe};
use crate::support::{Dial, Id, Out, PacketKind, V5, V31, V311, VERSIONS, other_broker};

/// 3.1.1: MQTT-3.1.0-1. 5.0: MQTT-3.1.0-1, MQTT-3.14.0-1, MQTT-3.2.0-1.
#[test]
fn mqtt_3_1_0_1_the_first_packet_is_connect() {
    let broker = start("");
    let mut healthy = broker.client(V311, "healthy");
    for version in VERSIONS {
        let packets = [
            publish(version, 0, "t"),
            publish(version, 0b0010, "t"),
            subscribe(version, "t", 0),
            hex("00 00"),
            hex("20 02 00 00"),
            hex("40 02 00 01"),
            hex("50 02 00 01"),
            hex("62 02 00 01"),
            hex("70 02 00 01"),
            hex("90 03 00 01 00"),
            hex("a2 05 00 01 00 01 61"),
            hex("b0 02 00 01"),
            hex("c0 00"),
            hex("d0 00"),
            hex("e0 00"),
            hex("f0 00"),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            hex("30 ff ff ff 7f"), // claims 256 MiB (CVE-2023-0809)
        ];
        for packet in packets {
            let mut client = broker.open(version);
            client.send(&packet);
            client.expect_closed();
        }
    }
    healthy.ping();
}

/// 3.1.1: MQTT-3.1.0-2. 5.0: MQTT-3.1.0-2, MQTT-3.2.0-2.
#[test]
fn mqtt_3_1_0_2_a_second_connect_ends_the_connection() {
    each(&VERSIONS, "", |s| {
        let mut heir = s.client("heir");
        heir.subscribe(&s.topic("#"), 0);
        let dial = s.dial("eager").will(&s.topic("will"), "twice");
        let mut client = s.connect(&dial);
        client.send(&dial.bytes());
        client.send(&publish(s.version, 0, s.topic("after")));
        // No CONNACK again; a 5.0 client may be told that it broke the protocol.
        if let Some(frame) = client.next() {
            assert_eq!((frame.kind(), frame.code()), (PacketKind::Disconnect, 0x82));
            client.expect_closed();
        }
        if !other_broker() {
            heir.expect_message(&s.topic("will"), "twice");
        }
        heir.expect_nothing();
    });
}

/// 3.1.1: MQTT-3.1.2-1. 5.0: MQTT-3.1.2-1.
#[test]
fn mqtt_3_1_2_1_other_protocols_are_not_served() {
    let broker = start("");
    for name in ["MQTX", "mqtt", "MQTTT", "MQT", "MQIsdq", "HTTP"] {
        for level in [3, 4, 5] {
            let mut client = broker.open(V311);
            let rest = [level, 2, 0, 60];
            let body = match level {
                5 => [&field(name), &rest[..], &[0], &field("a")].concat(),
                _ => [&field(name), &rest[..], &field("a")].concat(),
            };
            client.send(&packet(0x10, body));
            expect_refused(name, &mut client);
        }
    }
}

/// 3.1.1: MQTT-3.1.2-2, MQTT-3.2.2-5. 5.0: MQTT-3.1.2-2.
#[test]
fn mqtt_3_1_2_2_unknown_levels_are_told_so() {
    let broker = start("");
    let answers = [
        ("4d 51 54 54 06", "20 03 00 84 00"),
        ("4d 51 54 54 00", "20 03 00 84 00"),
        ("4d 51 54 54 02", "20 03 00 84 00"),
        ("4d 51 54 54 86", "20 03 00 84 00"),
        ("4d 51 54 54 03", "20 02 00 01"),
        ("4d 51 49 73 64 70 04", "20 02 00 01"),
        ("4d 51 49 73 64 70 05", "20 02 00 01"),
    ];
    for (name_and_level, answer) in answers {
        let (mut name, mut rest) = (hex(name_and_level), hex("02 00 3c 00 01 61"));
        let level = name.pop().expect("a level");
        rest.insert(0, level);
        let mut client = broker.open(V5);
        client.send(&packet(0x10, [field(name), rest].concat()));
        // A 3.x answer cannot be read as one of 5.0, so it is compared as bytes.
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut client.stream(), &mut bytes).expect("an answer");
        assert_eq!(bytes, hex(answer), "{name_and_level}");
    }
}

/// Bit 0x80 of the level, which bridges set: they do not get their own messages back, and see
/// RETAIN as it was published.
#[test]
fn the_bridge_bit_of_the_level_is_accepted() {
    each(&[V31, V311], "", |s| {
        let topic = s.topic("x");
        let mut bridge = s.connect(&s.dial("bridge").bridge());
        bridge.subscribe(&topic, 1);
        let mut sender = s.client("sender");
        bridge.publish(Out::new(&topic, "own").qos(1));
        sender.publish(Out::new(&topic, "to keep").qos(1).retain());
        assert!(bridge.receive(&topic, "to keep").retain);
        sender.publish(Out::new(&topic, "passing").qos(1));
        assert!(!bridge.receive(&topic, "passing").retain);
        // What is retained comes as to others.
        bridge.subscribe(&topic, 1);
        bridge.receive(&topic, "to keep");
        // In a shared subscription own messages are messages like others.
        bridge.unsubscribe(&[&topic]);
        bridge.subscribe(&format!("$share/g/{topic}"), 1);
        bridge.publish(Out::new(&topic, "").qos(1).retain());
        assert!(bridge.receive(&topic, "").retain);
    });
}

/// 3.1.1: MQTT-3.1.2-3. 5.0: MQTT-3.1.2-3.
#[test]
fn mqtt_3_1_2_3_the_reserved_flag_is_zero() {
    let broker = start("");
    for version in [V311, V5] {
        let mut client = broker.open(version);
        client.send(&connect(version, 0b0000_0011, &field("a")));
        client.expect_closed();
    }
}

/// CONNECT itself has header flags, too.
///
/// 3.1.1: MQTT-2.2.2-2. 5.0: MQTT-2.1.3-1.
#[test]
fn mqtt_2_2_2_2_the_header_flags_of_connect_are_zero() {
    let broker = start("");
    for version in [V311, V5] {
        for flags in [1, 2, 4, 8, 15] {
            let mut bytes = connect(version, 2, &field("a"));
            bytes[0] |= flags;
            let mut client = broker.open(version);
            client.send(&bytes);
            expect_refused("flags", &mut client);
        }
    }
}

/// The packet's connection is refused, and nothing behind the CONNECT is looked at.
///
/// 3.1.1: MQTT-3.1.4-5, MQTT-3.2.2-5. 5.0: MQTT-3.1.4-6, MQTT-3.2.2-7, MQTT-4.13.2-1,
/// MQTT-3.14.0-1.
#[test]
fn mqtt_3_1_4_5_nothing_is_processed_after_a_refusal() {
    each(&VERSIONS, "", |s| {
        let mut witness = s.client("witness");
        witness.subscribe("#", 0);
        let refused = match s.version {
            V5 => s.dial("no").str(Id::AuthenticationMethod, "none").bytes(),
            V311 => Dial::new(V311, "").resume().bytes(),
            V31 => Dial::new(V31, "").bytes(),
        };
        let (code, want) = if s.v5() { (0x8C, 5) } else { (2, 4) };
        let after = publish(s.version, 0b0001, s.topic("after"));
        let mut client = s.broker.open(s.version);
        client.send(&[refused, after.clone()].concat());
        let answer = client.expect_connack(code);
        assert_eq!(answer.bytes().len(), want);
        client.send(&after);
        client.expect_closed();
        witness.expect_nothing_from(&mut s.client("fence"));
    });
}

/// 5.0: MQTT-3.1.4-2.
#[test]
fn mqtt_3_1_4_2_clients_that_fail_authentication_are_refused() {
    let broker = start("allow_anonymous false");
    for (version, answer) in [(V31, "20 02 00 05"), (V311, "20 02 00 05"), (V5, "20 03 00 87 00")] {
        let mut client = broker.dial(&Dial::new(version, "nobody"));
        client.expect_bytes(&hex(answer));
        client.expect_closed();
    }
}

/// 5.0: MQTT-4.12.0-1, MQTT-3.2.2-8.
#[test]
fn mqtt_4_12_0_1_unknown_authentication_methods_are_refused() {
    let broker = start("");
    let dial = Dial::new(V5, "method").str(Id::AuthenticationMethod, "SCRAM-SHA-1");
    for dial in [dial.clone(), dial.data(Id::AuthenticationData, b"secret")] {
        let mut client = broker.dial(&dial);
        client.expect_bytes(&hex("20 03 00 8c 00"));
        client.expect_closed();
    }
}

/// Properties that are there twice, are not CONNECT's, are unknown, have an impossible value, or do
/// not end where they should. Attack P16.
///
/// 5.0: MQTT-3.1.4-1, MQTT-3.2.2-7, MQTT-3.2.2-8, MQTT-4.13.1-1, MQTT-4.13.2-1.
#[test]
fn mqtt_3_2_2_8_bad_properties_get_a_listed_code() {
    let broker = start("");
    let cases = [
        ("receive maximum 0", "03 21 0000", 0x82),
        ("maximum packet size 0", "05 27 00000000", 0x82),
        ("request response information 2", "02 19 02", 0x82),
        ("request problem information 2", "02 17 02", 0x82),
        ("authentication data without method", "04 16 0001 64", 0x82),
        ("session expiry twice", "0a 11 00000001 11 00000001", 0x82),
        ("receive maximum twice", "06 21 0001 21 0001", 0x82),
        ("topic alias maximum twice", "06 22 0001 22 0001", 0x82),
        ("method twice", "0c 15 0003 616161 15 0003 616161", 0x82),
        ("content type", "04 03 0001 61", 0x82),
        ("topic alias", "03 23 0001", 0x82),
        ("server keep alive", "03 13 0001", 0x82),
        ("unknown 0x7f", "02 7f 00", 0x81),
        ("unknown 0", "02 00 00", 0x81),
        ("length beyond the packet", "7f 00", 0x81),
        ("a value cut short", "03 11 0000", 0x81),
        ("length of five bytes", "ff ff ff ff 01", 0x81),
    ];
    for (what, section, code) in cases {
        let mut client = broker.open(V5);
        client.send(&connect_with(V5, 2, &hex(section), &field("a")));
        let answer = client.expect(PacketKind::Connack);
        let pair = [0x81, 0x82].contains(&answer.code());
        assert!(pair && (answer.code() == code || code == 0x81), "{what}: {answer:?}");
        client.expect_closed();
    }
}

/// The payload's fields come in one order, each there exactly if its flag says so: a CONNECT that
/// was cut anywhere, and one with bytes to spare, is refused. Attacks P13 and P14.
///
/// 3.1.1: MQTT-3.1.2-9, MQTT-3.1.2-19, MQTT-3.1.2-21, MQTT-3.1.3-1, MQTT-3.1.3-3, MQTT-3.1.4-1,
/// MQTT-3.2.2-6. 5.0: MQTT-3.1.2-9, MQTT-3.1.2-17, MQTT-3.1.2-19, MQTT-3.1.3-1, MQTT-3.1.3-3,
/// MQTT-3.1.4-1.
#[test]
fn mqtt_3_1_4_1_a_connect_cut_anywhere_is_refused() {
    let broker = start("");
    for version in [V311, V5] {
        let dial =
            Dial::new(version, "whole").will("will", "gone").username("user").password("secret");
        let whole = dial.bytes();
        broker.connect(&dial).disconnect();
        let body = &whole[2..];
        for len in 0..body.len() {
            let mut client = broker.open(version);
            client.send(&packet(0x10, &body[..len]));
            expect_refused(&format!("{version:?}, {len} bytes"), &mut client);
        }
        for len in 0..whole.len() {
            let mut client = broker.open(version);
            client.send(&whole[..len]);
            client.half_close();
            client.expect_closed();
        }
        let mut client = broker.open(version);
        client.send(&packet(0x10, [body, b"zz"].concat()));
        expect_refused("bytes to spare", &mut client);
    }
}

/// A peer that knows no version yet is told nothing it might not understand.
///
/// 3.1.1: MQTT-3.1.4-1, MQTT-3.2.2-6.
#[test]
fn mqtt_3_2_2_6_where_no_code_fits_there_is_no_connack() {
    let broker = start("");
    let cases = [
        ("no client id", connect(V311, 2, &[])),
        ("reserved flag", connect(V311, 3, &field("a"))),
        ("bytes to spare", connect(V311, 2, b"\0\x01azz")),
        ("ill-formed UTF-8", connect(V311, 2, b"\0\x01\xFF")),
        ("empty packet", hex("10 00")),
    ];
    for (what, bytes) in cases {
        let mut client = broker.open(V311);
        client.send(&bytes);
        let end = client.next();
        assert_eq!(end, None, "{what}");
    }
}

/// Attacks P03, P04, P19 and E12.
#[test]
fn connects_of_odd_sizes_are_answered_or_ended() {
    let broker = start("");
    // Five bytes of length; a length no CONNECT has.
    for bytes in ["10 ff ff ff ff 01", "10 ff ff ff 7f"] {
        let mut client = broker.open(V5);
        client.send(&hex(bytes));
        client.expect_closed();
    }
    let mut dial = Dial::new(V5, "many");
    for at in 0..4000 {
        dial = dial.user("n", &at.to_string());
    }
    broker.connect(&dial).ping();
    let mut client = broker.open(V311);
    for byte in Dial::new(V311, "slow").bytes() {
        client.send(&[byte]);
    }
    client.expect_connected();
    for byte in subscribe(V311, "slow", 0) {
        client.send(&[byte]);
    }
    client.expect(PacketKind::Suback);
}
