//! Packets a client may not send, acknowledgements nobody waits for, flags that are wrong.

use super::raw::{claim, ends_with, packet, subscribe, unsubscribe};
use super::siege::Siege;
use crate::support::{Broker, PacketKind, V5, V31, VERSIONS, Version};

/// Sends bytes in a session, which has to end with `code`.
#[track_caller]
fn broken(broker: &Broker, version: Version, bytes: &[u8], code: u8) {
    let mut client = broker.client(version, "broken");
    client.send(bytes);
    ends_with(&mut client, version, code, &format!("{bytes:02x?}"));
}

#[test]
fn p29_packets_only_a_server_sends() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for bytes in [
                &b"\x20\x02\0\0"[..],
                b"\x20\x03\0\0\0",
                b"\x90\x03\0\x01\0",
                b"\xB0\x02\0\x01",
                b"\xD0\0",
            ] {
                broken(broker, version, bytes, 0x82);
            }
        }
    });
}

#[test]
fn p30_a_connack_with_a_bad_property() {
    Siege::new(32).run(|broker| {
        for bytes in [
            &b"\x20\x05\0\0\x02\x7F\0"[..],
            b"\x20\x09\0\0\x06\x22\0\x0A\x22\0\x0A",
            b"\x20\x03\0\0\x7F",
            b"\x20\x00",
        ] {
            for version in VERSIONS {
                broken(broker, version, bytes, 0x82);
                let mut first = broker.open(version);
                first.send(bytes);
                first.expect_closed();
            }
        }
    });
}

#[test]
fn q20_acknowledgements_nobody_waits_for() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let mut client = broker.client(version, "q20");
            for id in [1u16, 7, 0x100, 0xFFFF] {
                let [high, low] = id.to_be_bytes();
                client.send(&[0x40, 2, high, low]); // PUBACK: means nothing
                client.send(&[0x70, 2, high, low]); // PUBCOMP: means nothing
                client.expect_nothing();
                // The other two are answered, so that the exchange ends; 5.0 says the id is
                // not known.
                client.send(&[0x50, 2, high, low]);
                client.expect_ack(PacketKind::Pubrel, id, if version.is_v5() { 0x92 } else { 0 });
                client.send(&[0x62, 2, high, low]);
                client.expect_ack(PacketKind::Pubcomp, id, if version.is_v5() { 0x92 } else { 0 });
            }
            for first in [0x40, 0x50, 0x62, 0x70] {
                broken(broker, version, &[first, 2, 0, 0], 0x82);
                broken(broker, version, &[first, 1, 0], 0x81);
                broken(broker, version, &[first, 0], 0x81);
            }
        }
        for (first, reason) in [(0x40, 1), (0x40, 0x92), (0x50, 1), (0x62, 0x80), (0x70, 0x80)] {
            broken(broker, V5, &[first, 3, 0, 7, reason], 0x82);
        }
        // A property that cannot stand there.
        broken(broker, V5, b"\x40\x09\0\x07\0\x05\x11\0\0\0\xFF", 0x82);
    });
}

#[test]
fn q21_header_flags() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let subscribe = subscribe(version, 1, &[], &[(b"a", 0)]);
            let unsubscribe = unsubscribe(version, 1, &[b"a"]);
            let other_flags = |bytes: &[u8], flags: u8| {
                let mut bytes = bytes.to_vec();
                bytes[0] = bytes[0] & 0xF0 | flags;
                bytes
            };
            for flags in [0, 1, 3, 4, 6, 0xF] {
                // Mosquitto takes a PUBREL of 3.1 whatever its flags are.
                if version != V31 {
                    let pubrel = other_flags(&[0x60, 2, 0, 1], flags);
                    broken(broker, version, &pubrel, 0x81);
                }
                broken(broker, version, &other_flags(&subscribe, flags), 0x81);
                broken(broker, version, &other_flags(&unsubscribe, flags), 0x81);
            }
            for flags in [1, 2, 8] {
                for bytes in [&[0x40, 2, 0, 1][..], &[0x50, 2, 0, 1], &[0xC0, 0], &[0xE0, 0]] {
                    broken(broker, version, &other_flags(bytes, flags), 0x81);
                }
            }
            broken(broker, version, &[0x00, 0], 0x81);
            broken(broker, version, &[0x0F, 2, 0, 0], 0x81);
        }
    });
}

#[test]
fn q22_pingreq_and_disconnect_with_a_body() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            broken(broker, version, &[0xC0, 1, 0], 0x81);
            broken(broker, version, &packet(0xC0, &[&[0; 300]]), 0x81);
            broken(broker, version, &packet(0xE0, &[&[0; 300]]), 0x81);
        }
        // 5.0: properties that end too early, and a reason only servers give.
        broken(broker, V5, &[0xE0, 2, 0, 5], 0x81);
    });
}

#[test]
fn x04_packets_larger_than_their_kind_can_be() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for first in [0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0] {
                broken(broker, version, &claim(first, 0x0FFF_FFFF), 0x95);
                broken(broker, version, &claim(first, 3_000_000), 0x95);
            }
        }
    });
}
