//! The first packet of a connection, and CONNECT in all its broken forms.

use super::raw::{claim, connect, packet, pour, protocol, text};
use super::siege::Siege;
use crate::support::{Broker, Dial, PacketKind, V5, V31, V311, VERSIONS, Version};
use std::time::{Duration, Instant};

const FLOOD_PATIENCE: Duration = Duration::from_secs(5);

/// Sends bytes on a fresh connection, which has to end; the CONNACK's code, if there was one.
#[track_caller]
fn refused(broker: &Broker, version: Version, bytes: &[u8], what: &str) -> Option<u8> {
    let mut client = broker.open(version);
    client.send(bytes);
    let code = client.next().map(|frame| {
        assert_eq!(frame.kind(), PacketKind::Connack, "{what}: {frame:?}");
        assert_ne!(frame.code(), 0, "{what}");
        frame.code()
    });
    client.expect_closed();
    code
}

#[test]
fn p01_publish_first_claims_256_mib() {
    Siege::new(8).run(|broker| {
        let mut client = broker.open(V311);
        client.send(&claim(0x30, 0x0FFF_FFFF));
        pour(&client, &[b'x'; 65_536], 8 << 20, FLOOD_PATIENCE);
        client.expect_closed();
    });
}

#[test]
fn p02_any_other_packet_first_gets_no_answer() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for kind in (0..=15).filter(|&kind| kind != 1) {
                for body in [&[][..], &[0, 1], &[0, 1, 0, 0, 1, b'a', 0]] {
                    let first = kind << 4 | u8::from(matches!(kind, 6 | 8 | 10)) << 1;
                    let bytes = packet(first, &[body]);
                    let answer = refused(broker, version, &bytes, "not a CONNECT");
                    assert_eq!(answer, None, "packet type {kind}");
                }
            }
        }
    });
}

#[test]
fn p03_connect_claims_256_mib_and_streams() {
    Siege::new(12).run(|broker| {
        let mut client = broker.open(V5);
        client.send(&claim(0x10, 0x0FFF_FFFF));
        let taken = pour(&client, &[b'x'; 65_536], 16 << 20, FLOOD_PATIENCE);
        assert!(taken < 16 << 20, "all of it was taken");
        client.expect_closed();
    });
}

#[test]
fn p04_remaining_length_of_five_bytes() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let first = [0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
            assert_eq!(refused(broker, version, &first, "CONNECT"), None);
            for kind in [0x30, 0x40, 0x82, 0xC0, 0xE0] {
                let mut client = broker.client(version, "p04");
                client.send(&[kind, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
                client.expect_ended(0x81);
            }
        }
    });
}

#[test]
fn p05_remaining_length_longer_than_needed() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let mut client = broker.client(version, "p05");
            // Mosquitto takes it, so there may be clients that send it.
            for bytes in [&[0xC0, 0x80, 0][..], &[0xC0, 0x80, 0x80, 0x80, 0]] {
                client.send(bytes);
                client.expect(PacketKind::Pingresp);
            }
        }
    });
}

#[test]
fn p06_connections_that_never_send_connect_are_closed() {
    let siege = Siege::new(32).own("connect_timeout 2\n");
    siege.run(|broker| {
        let silent: Vec<_> = (0..150).map(|_| broker.open(V5)).collect();
        let mut talking = broker.client(V311, "p06");
        talking.ping();
        for mut client in silent {
            client.expect_closed();
        }
        talking.ping();
    });
}

#[test]
fn p07_a_connect_that_dribbles_in_is_cut_off() {
    let siege = Siege::new(32).own("connect_timeout 2\n");
    siege.run(|broker| {
        let begun = Instant::now();
        let client = broker.open(V5);
        let connect = Dial::new(V5, &"i".repeat(500)).bytes();
        let mut sent = 0;
        for byte in &connect {
            if pour(&client, &[*byte], 1, FLOOD_PATIENCE) == 0 {
                break;
            }
            sent += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(sent < connect.len(), "nobody cut it off");
        assert!(begun.elapsed() >= Duration::from_secs(2));
    });
}

#[test]
fn p08_connect_flags() {
    Siege::new(32).run(|broker| {
        let id = text("p08");
        let will = [text("w"), text("m")].concat();
        for (flags, fields, what) in [
            (0x03, &id[..], "reserved bit"),
            (0x0A, &id[..], "will QoS without will"),
            (0x22, &id[..], "will retain without will"),
            (0x1E, &[&id[..], &will].concat(), "will QoS 3"),
        ] {
            for version in [V311, V5] {
                let bytes = connect(version, flags, &[], &[fields]);
                let code = refused(broker, version, &bytes, what);
                // 5.0: a CONNACK may be sent; 3.1.1: the connection is closed.
                assert!(matches!((version, code), (_, None) | (V5, Some(0x81))), "{what}");
            }
        }
        let password = text("secret");
        let bytes = connect(V311, 0x42, &[], &[&id, &password]);
        assert_eq!(refused(broker, V311, &bytes, "password alone"), None);
        // 5.0 lifted that rule.
        let mut client = broker.open(V5);
        client.send(&connect(V5, 0x42, &[], &[&id, &password]));
        client.expect_connected();
    });
}

#[test]
fn p09_unknown_protocols() {
    Siege::new(32).run(|broker| {
        let id = text("p09");
        for (name, level, read_as, code) in [
            ("MQTX", 4, V311, None),
            ("mqtt", 4, V311, None),
            ("", 4, V311, None),
            ("MQTTMQTTMQTT", 5, V5, None),
            ("MQIsdp", 4, V311, Some(1)),
            ("MQIsdp", 5, V311, Some(1)),
            ("MQTT", 3, V311, Some(1)),
            ("MQTT", 0, V5, Some(0x84)),
            ("MQTT", 6, V5, Some(0x84)),
            ("MQTT", 0x7F, V5, Some(0x84)),
            ("MQTT", 0x86, V5, Some(0x84)),
        ] {
            let bytes = protocol(name, level, 2, &[], &[&id]);
            assert_eq!(refused(broker, read_as, &bytes, name), code, "{name} {level}");
        }
        // A name that claims to be longer than the packet.
        let bytes = packet(0x10, &[&[0, 100], b"MQTT\x04\x02\x00\x3c\x00\x01a"]);
        assert_eq!(refused(broker, V311, &bytes, "long name"), None);
    });
}

#[test]
fn p10_client_ids_that_are_no_text() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for id in BAD_TEXTS {
                let bytes = connect(version, 2, &[], &[&text(id)]);
                let code = refused(broker, version, &bytes, "client id");
                assert_eq!(code, version.is_v5().then_some(0x81), "{id:02x?}");
            }
        }
    });
}

/// Bad UTF-8: a lone byte, cut short, overlong, a surrogate, beyond U+10FFFF; and U+0000.
const BAD_TEXTS: [&[u8]; 7] =
    [b"a\xFF", b"a\xE2\x82", b"a\xC0\xAF", b"\xED\xA0\x80", b"\xF5\x80\x80\x80", b"\x80", b"a\0b"];

#[test]
fn p11_user_names_and_will_topics_that_are_no_text() {
    Siege::new(32).run(|broker| {
        let id = text("p11");
        for version in VERSIONS {
            let no_properties: &[u8] = if version.is_v5() { &[0] } else { &[] };
            for bad in BAD_TEXTS.map(text) {
                let user = connect(version, 0x82, &[], &[&id, &bad]);
                let will = connect(version, 0x06, &[], &[&id, no_properties, &bad, &text("m")]);
                for bytes in [user, will] {
                    let code = refused(broker, version, &bytes, "user name or will topic");
                    assert_eq!(code, version.is_v5().then_some(0x81), "{bad:02x?}");
                }
            }
        }
    });
}

#[test]
fn p12_no_client_id_and_a_session_to_keep() {
    Siege::new(32).run(|broker| {
        for version in [V31, V311] {
            let bytes = connect(version, 0, &[], &[&text("")]);
            assert_eq!(refused(broker, version, &bytes, "no client id"), Some(2));
        }
    });
}

#[test]
fn p13_connect_cut_at_every_byte() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let mut dial = Dial::new(version, "p13")
                .will("will", "payload")
                .username("user")
                .password("password");
            if version.is_v5() {
                dial = dial.session_expiry(10).user("k", "v").will_delay(1);
            }
            let bytes = dial.bytes();
            for len in 0..bytes.len() {
                let mut client = broker.open(version);
                client.send(&bytes[..len]);
                client.half_close();
                client.expect_closed();
            }
            broker.connect(&dial).disconnect();
        }
    });
}

#[test]
fn p14_connect_with_bytes_left_over() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let bytes = connect(version, 2, &[], &[&text("p14"), b"x"]);
            let code = refused(broker, version, &bytes, "a byte left over");
            assert_eq!(code, version.is_v5().then_some(0x81));
        }
    });
}

#[test]
fn p15_a_second_connect() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let mut heir = broker.client(version, "heir");
            heir.subscribe("p15", 0);
            let dial = Dial::new(version, "p15").will("p15", "broken");
            let mut client = broker.connect(&dial);
            client.send(&dial.bytes());
            client.expect_closed();
            heir.expect_message("p15", "broken");
        }
    });
}

#[test]
fn p16_connect_properties() {
    Siege::new(32).run(|broker| {
        let id = text("p16");
        let cases: [(&[u8], u8, &str); 14] = [
            (b"\x11\0\0\0\x01\x11\0\0\0\x01", 0x82, "session expiry twice"),
            (b"\x21\0\x01\x21\0\x01", 0x82, "receive maximum twice"),
            (b"\x15\0\x01a\x15\0\x01a", 0x82, "method twice"),
            (b"\x03\0\x01a", 0x82, "content type"),
            (b"\x23\0\x01", 0x82, "topic alias"),
            (b"\x0b\x01", 0x82, "subscription identifier"),
            (b"\x7f\0", 0x81, "unknown"),
            (b"\xff\xff\xff\x7f\0", 0x81, "unknown, four bytes"),
            (b"\x21\0\0", 0x82, "receive maximum 0"),
            (b"\x27\0\0\0\0", 0x82, "maximum packet size 0"),
            (b"\x17\x02", 0x82, "request problem information 2"),
            (b"\x19\x02", 0x82, "request response information 2"),
            (b"\x11\0\0", 0x81, "cut short"),
            (b"\x26\0\x01a\0\x01\xff", 0x81, "user property in bad UTF-8"),
        ];
        for (props, code, what) in cases {
            let bytes = connect(V5, 2, props, &[&id]);
            assert_eq!(refused(broker, V5, &bytes, what), Some(code), "{what}");
        }
        for length in [&[0x7F][..], &[0xFF, 0xFF, 0xFF, 0x7F], &[0xFF; 5]] {
            let bytes = protocol("MQTT", 5, 2, length, &[&id]);
            assert_eq!(refused(broker, V5, &bytes, "length"), Some(0x81), "{length:x?}");
        }
    });
}

#[test]
fn p17_an_authentication_method_nobody_knows() {
    Siege::new(32).run(|broker| {
        let id = text("p17");
        let method = [&[0x15][..], &text("SCRAM-SHA-256")].concat();
        let data = [&[0x16][..], &text("n,,n=user")].concat();
        for props in [method.clone(), [&method[..], &data].concat()] {
            let bytes = connect(V5, 2, &props, &[&id]);
            assert_eq!(refused(broker, V5, &bytes, "method"), Some(0x8C));
        }
        let bytes = connect(V5, 2, &data, &[&id]);
        assert_eq!(refused(broker, V5, &bytes, "data without method"), Some(0x82));
    });
}

#[test]
fn p18_auth_nobody_asked_for() {
    Siege::new(32).run(|broker| {
        for bytes in [&[0xF0, 0][..], b"\xF0\x06\x18\x04\x15\0\x01X", b"\xF0\x01\x19"] {
            for version in VERSIONS {
                let mut client = broker.client(version, "p18");
                client.send(bytes);
                client.expect_ended(0x82);
            }
        }
    });
}

#[test]
fn p19_eight_thousand_user_properties() {
    Siege::new(16).run(|broker| {
        let mut dial = Dial::new(V5, "p19");
        for _ in 0..8000 {
            dial = dial.user("k", "v");
        }
        for _ in 0..20 {
            broker.connect(&dial).ping();
        }
    });
}

#[test]
fn p20_more_user_properties_than_anybody_needs() {
    Siege::new(48).run(|broker| {
        let props = b"\x26\0\x01k\0\x01v".repeat(150_000);
        let bytes = connect(V5, 2, &props, &[&text("p20")]);
        for _ in 0..10 {
            let mut client = broker.open(V5);
            client.send(&bytes);
            client.expect_closed();
        }
    });
}
