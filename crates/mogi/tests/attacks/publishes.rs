//! PUBLISH packets that are wrong.

use super::raw::{ends_with, publish, text};
use super::siege::Siege;
use crate::support::{Broker, Id, Out, PacketKind, V5, V311, VERSIONS, Version, eventually};

/// Sends a PUBLISH in a session, which has to end with `code`; nobody gets it.
#[track_caller]
fn broken(broker: &Broker, version: Version, bytes: &[u8], code: u8, what: &str) {
    let mut client = broker.client(version, "broken");
    client.send(bytes);
    ends_with(&mut client, version, code, what);
}

#[test]
fn q01_no_topic() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for first in [0x30, 0x31, 0x32, 0x34] {
                let bytes = publish(version, first, b"", 1, &[]);
                broken(broker, version, &bytes, 0x82, "empty topic");
            }
        }
    });
}

#[test]
fn q02_wildcards_in_a_topic() {
    Siege::new(32).run(|broker| {
        let mut all = broker.client(V5, "all");
        all.subscribe("q02/#", 0);
        for version in VERSIONS {
            for topic in ["q02/#", "q02/+", "q02/+/x", "q02/x#", "q02/x+y", "#", "+"] {
                for first in [0x30, 0x31, 0x32, 0x34] {
                    let bytes = publish(version, first, topic.as_bytes(), 1, &[]);
                    broken(broker, version, &bytes, 0x90, topic);
                }
            }
        }
        all.expect_nothing_from(&mut broker.client(V5, "fence"));
    });
}

#[test]
fn q03_topics_that_are_no_text() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for topic in [
                &b"a\xFF"[..],
                b"a\xE2\x82",
                b"\xC0\xAF",
                b"\xED\xA0\x80",
                b"\xF5\x80\x80\x80",
                b"a\0b",
                b"\0",
                b"$SYS/\xFF",
                b"$share/\xFF",
            ] {
                for first in [0x30, 0x31, 0x32, 0x34] {
                    let bytes = publish(version, first, topic, 1, &[]);
                    broken(broker, version, &bytes, 0x81, "topic");
                }
            }
        }
    });
}

#[test]
fn q04_unusual_characters() {
    Siege::new(32).run(|broker| {
        let mut all = broker.client(V311, "all");
        all.subscribe("q04/#", 0);
        for version in VERSIONS {
            // Control characters and non-characters are refused, as Mosquitto does: there are
            // clients that hang up when they receive one.
            for text in ["\u{1}", "\u{1F}", "\u{7F}", "\u{9F}", "\u{FFFE}", "\u{FDD0}"] {
                let topic = format!("q04/{text}");
                let bytes = publish(version, 0x32, topic.as_bytes(), 1, &[]);
                broken(broker, version, &bytes, 0x81, "unusual character");
            }
            let mut client = broker.client(version, "q04");
            for text in ["\u{FEFF}", " ", "\u{A0}", "\u{10FFFD}", "ü", "\u{200B}"] {
                let topic = format!("q04/{text}");
                client.publish(Out::new(&topic, "x").qos(1));
                all.expect_message(&topic, "x");
            }
        }
    });
}

#[test]
fn q05_qos_3_dup_at_qos_0_packet_id_0() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for first in [0x36, 0x37, 0x3E, 0x3F] {
                let bytes = publish(version, first, b"a", 1, &[]);
                broken(broker, version, &bytes, 0x81, "QoS 3");
            }
            for first in [0x38, 0x39] {
                let bytes = publish(version, first, b"a", 1, &[]);
                broken(broker, version, &bytes, 0x81, "DUP at QoS 0");
            }
            for first in [0x32, 0x34, 0x3A, 0x3D] {
                let bytes = publish(version, first, b"a", 0, &[]);
                broken(broker, version, &bytes, 0x82, "packet id 0");
            }
        }
    });
}

#[test]
fn q06_publishes_shorter_than_they_say() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for bytes in [
                &b"\x30\0"[..],
                b"\x30\x01\0",
                b"\x30\x05\0\x09abc",
                b"\x30\x05\xFF\xFFabc",
                b"\x32\x03\0\x01a",
                b"\x34\x04\0\x01a\0",
            ] {
                broken(broker, version, bytes, 0x81, &format!("{bytes:02x?}"));
            }
        }
        for bytes in [
            &b"\x30\x03\0\x01a"[..],
            b"\x30\x05\0\x01a\x05\x01",
            b"\x30\x04\0\x01a\x7F",
            b"\x30\x08\0\x01a\xFF\xFF\xFF\xFF\x01",
            b"\x30\x06\0\x01a\x02\x02\0",
        ] {
            broken(broker, V5, bytes, 0x81, &format!("{bytes:02x?}"));
        }
    });
}

#[test]
fn q10_publish_properties() {
    Siege::new(32).run(|broker| {
        let cases: [(&[u8], u8, &str); 13] = [
            (b"\x0B\x01", 0x82, "subscription identifier"),
            (b"\x01\x02", 0x82, "payload format 2"),
            (b"\x01\x00\x01\x00", 0x82, "payload format twice"),
            (b"\x02\0\0\0\x01\x02\0\0\0\x01", 0x82, "expiry twice"),
            (b"\x03\0\x01a\x03\0\x01a", 0x82, "content type twice"),
            (b"\x08\0\x01a\x08\0\x01a", 0x82, "response topic twice"),
            (b"\x09\0\x01a\x09\0\x01a", 0x82, "correlation data twice"),
            (b"\x11\0\0\0\x01", 0x82, "session expiry"),
            (b"\x1F\0\x01a", 0x82, "reason string"),
            (b"\x24\x01", 0x82, "maximum QoS"),
            (b"\x7E\x01", 0x81, "unknown"),
            (b"\x03\0\x01\xFF", 0x81, "content type in bad UTF-8"),
            (b"\x26\0\x01k\0\x01\0", 0x81, "user property with U+0000"),
        ];
        for (props, code, what) in cases {
            let bytes = publish(V5, 0x32, b"q10", 1, props);
            broken(broker, V5, &bytes, code, what);
        }
        for topic in ["a/#", "+", "a/+/b"] {
            let props = [&[0x08][..], &text(topic)].concat();
            let mut client = broker.client(V5, "q10");
            client.send(&publish(V5, 0x32, b"q10", 1, &props));
            let code = client.next().map(|frame| frame.code());
            // [MQTT-3.3.2-14]: a protocol error, or a topic name that is none.
            assert!(matches!(code, Some(0x82 | 0x90)), "{topic}: {code:02x?}");
            client.expect_closed();
        }
    });
}

#[test]
fn q11_a_payload_that_is_not_the_text_it_says() {
    Siege::new(32).run(|broker| {
        let mut reader = broker.client(V5, "reader");
        reader.subscribe("q11", 1);
        let mut client = broker.client(V5, "q11");
        let out = Out::new("q11", b"\xFF\xFE").qos(1);
        // Whether a payload is what it claims to be is between the clients.
        client.publish(out.int(Id::PayloadFormatIndicator, 1));
        let message = reader.expect_publish();
        assert_eq!(message.payload, b"\xFF\xFE");
        reader.complete(&message);
    });
}

#[test]
fn q17_twenty_clients_claim_256_mib() {
    Siege::new(48).alone().run(|broker| {
        for version in [V311, V5] {
            let mut clients: Vec<_> =
                (0..20).map(|n| broker.client(version, &format!("q17-{n}"))).collect();
            for client in &mut clients {
                client.send(&super::raw::claim(0x30, 0x0FFF_FFFF));
                client.send(&vec![b'x'; 1 << 20]);
            }
            for client in &mut clients {
                // The code may be lost: the connection is reset where data was on its way.
                let code = super::raw::ending(client);
                assert!(matches!(code, None | Some(0x95)), "{code:02x?}");
            }
        }
        // The header alone is enough to be told.
        let mut client = broker.client(V5, "q17");
        client.send(&super::raw::claim(0x30, 0x0FFF_FFFF));
        client.expect_ended(0x95);
    });
}

#[test]
fn q17_large_packets_where_they_are_allowed() {
    let siege = Siege::new(48).conf("max_packet_size 268435455\n").alone();
    siege.run(|broker| {
        let mut clients: Vec<_> =
            (0..20).map(|n| broker.client(V311, &format!("q17-{n}"))).collect();
        for client in &mut clients {
            client.send(&super::raw::claim(0x30, 0x0FFF_0000));
            client.send(&vec![b'x'; 1 << 20]);
        }
        broker.client(V5, "other").ping();
    });
}

#[test]
fn q18_sys_is_the_brokers_own() {
    Siege::new(32).conf("sys_interval 1\n").run(|broker| {
        let mut reader = broker.client(V5, "reader");
        reader.subscribe("$SYS/broker/version", 0);
        let version = reader.expect_publish().text();
        for forger_version in VERSIONS {
            let mut forger = broker.client(forger_version, "forger");
            for topic in ["$SYS/broker/version", "$SYS/broker/clients/total", "$SYS", "$SYS/x"] {
                for qos in 0..3 {
                    let code = forger.publish_code(Out::new(topic, "forged").qos(qos).retain());
                    let expected = if forger_version.is_v5() && qos > 0 { 0x87 } else { 0 };
                    assert_eq!(code, expected, "{topic} at QoS {qos}");
                }
            }
        }
        reader.expect_nothing_from(&mut broker.client(V5, "fence"));
        let mut late = broker.client(V5, "late");
        late.subscribe("$SYS/broker/version", 0);
        assert_eq!(late.expect_publish().text(), version);
        late.subscribe("$SYS/x", 0);
        late.subscribe("$SYS", 0);
        late.expect_nothing();
    });
}

#[test]
fn q19_topics_that_begin_with_a_dollar() {
    Siege::new(32).run(|broker| {
        let mut all = broker.client(V5, "all");
        for filter in ["$", "$x", "$x/#"] {
            all.subscribe(filter, 0);
        }
        for version in VERSIONS {
            let mut client = broker.client(version, "q19");
            for topic in ["$", "$x", "$x/y"] {
                client.publish(Out::new(topic, "x").qos(1));
                all.expect_message(topic, "x");
                if topic == "$x" {
                    all.expect_message(topic, "x"); // through `$x/#`
                }
            }
            for topic in ["$CONTROL/x", "$share/g/t", "$SYS", "$share/x"] {
                for qos in [0, 1, 2] {
                    client.publish_code(Out::new(topic, "x").qos(qos));
                }
                let id = client.next_id();
                client.send(&super::raw::subscribe(version, id, &[], &[(topic.as_bytes(), 0)]));
                let ack = client.expect(PacketKind::Suback);
                assert_eq!(ack.packet_id(), Some(id));
            }
            client.ping();
        }
        all.expect_nothing();
    });
}

#[test]
fn e15_half_close_after_a_publish() {
    Siege::new(32).run(|broker| {
        let mut reader = broker.client(V311, "reader");
        reader.subscribe("e15", 0);
        for version in VERSIONS {
            for payload in [vec![b'x'; 10], vec![b'y'; 100_000], vec![b'z'; 1_500_000]] {
                let mut client = broker.client(version, "e15");
                client.send_publish(Out::new("e15", &payload));
                client.half_close();
                let message = reader.expect_publish();
                assert!(message.payload == payload, "{} bytes", message.payload.len());
                client.expect_closed();
            }
        }
    });
}

#[test]
fn x05_every_prefix_of_a_publish_and_then_the_end() {
    Siege::new(32).run(|broker| {
        let before = broker.open_files();
        let mut reader = broker.client(V5, "reader");
        reader.subscribe("x05", 0);
        for version in [V311, V5] {
            let bytes = Out::new("x05", "payload").qos(2).id(9).bytes(version);
            for len in 0..bytes.len() {
                let mut client = broker.client(version, "x05");
                client.send(&bytes[..len]);
                client.half_close();
                client.expect_closed();
            }
        }
        reader.expect_nothing_from(&mut broker.client(V5, "fence"));
        drop(reader);
        eventually("descriptors", || broker.open_files() <= before);
    });
}
