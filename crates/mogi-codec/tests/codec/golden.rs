//! The fixtures decode to what they say; what is good is written as it stands there.

use crate::describe::describe;
use crate::fixtures::{Verdict, fixtures};
use mogi_codec::{Packet, PacketKind, Subscribe, SubscribeFilter, Unsubscribe, Version};
use std::collections::BTreeSet;

#[test]
fn good_packets_say_what_they_should() {
    for fixture in fixtures() {
        let Verdict::Good { says, .. } = fixture.verdict else {
            continue;
        };
        for &version in &fixture.versions {
            let found = Packet::parse(version, &fixture.wire);
            let Ok(Some((packet, len))) = found else {
                panic!("{version:?} {}: {found:?}", fixture.clause);
            };
            assert_eq!(describe(&packet), says, "{version:?} {}", fixture.clause);
            assert_eq!(len, fixture.wire.len(), "{version:?} {}", fixture.clause);
        }
    }
}

#[test]
fn good_packets_are_written_as_they_stand() {
    for fixture in fixtures() {
        let Verdict::Good { canonical, .. } = fixture.verdict else {
            continue;
        };
        for &version in &fixture.versions {
            let (packet, _) =
                Packet::parse(version, &fixture.wire).expect(fixture.clause).expect(fixture.clause);
            let mut written = Vec::new();
            encode(version, &packet, &mut written);
            if canonical {
                assert_eq!(written, fixture.wire, "{version:?} {}", fixture.clause);
            } else {
                assert_ne!(written, fixture.wire, "{version:?} {}", fixture.clause);
                let again = Packet::parse(version, &written).expect(fixture.clause);
                let (again, _) = again.expect(fixture.clause);
                assert_eq!(describe(&again), describe(&packet), "{}", fixture.clause);
            }
        }
    }
}

#[test]
fn bad_packets_are_refused_with_their_reason() {
    for fixture in fixtures() {
        let Verdict::Bad(reason) = fixture.verdict else {
            continue;
        };
        for &version in &fixture.versions {
            match Packet::parse(version, &fixture.wire) {
                Err(err) => {
                    let found = err.reason as u8;
                    assert_eq!(found, reason, "{version:?} {}: {err}", fixture.clause);
                }
                other => panic!("{version:?} {}: {other:?}", fixture.clause),
            }
        }
    }
}

#[test]
fn every_kind_has_a_good_and_a_bad_packet_in_every_version() {
    let mut seen = BTreeSet::new();
    for fixture in fixtures() {
        let good = matches!(fixture.verdict, Verdict::Good { .. });
        for version in fixture.versions {
            seen.insert((fixture.wire[0] >> 4, version, good));
        }
    }
    for kind in PacketKind::ALL {
        for version in [Version::V31, Version::V311, Version::V5] {
            for good in [true, false] {
                if kind == PacketKind::Auth && good && !version.is_v5() {
                    continue;
                }
                let wanted = (kind as u8, version, good);
                assert!(seen.contains(&wanted), "{}: no {wanted:?}", kind.name());
            }
        }
    }
}

/// What stands before the last byte is not the whole packet yet, and an error at most.
#[test]
fn a_prefix_is_no_packet() {
    for fixture in fixtures() {
        for &version in &fixture.versions {
            for len in 0..fixture.wire.len() {
                let found = Packet::parse(version, &fixture.wire[..len]);
                let good = matches!(fixture.verdict, Verdict::Good { .. });
                match found {
                    Ok(None) => {}
                    Err(_) if !good => {}
                    other => panic!("{version:?} {} cut to {len}: {other:?}", fixture.clause),
                }
            }
        }
    }
}

/// What follows a packet changes nothing.
#[test]
fn a_packet_ends_where_it_ends() {
    for fixture in fixtures() {
        let mut followed = fixture.wire.clone();
        followed.extend_from_slice(&[0xC0, 0, 0xFF]);
        for &version in &fixture.versions {
            let alone = Packet::parse(version, &fixture.wire);
            assert_eq!(Packet::parse(version, &followed), alone, "{}", fixture.clause);
        }
    }
}

/// Appends any packet, by the encoder of its kind.
pub(crate) fn encode(version: Version, packet: &Packet<'_>, out: &mut Vec<u8>) {
    match packet {
        Packet::Connect(packet) => packet.encode(out),
        Packet::Connack(packet) => packet.encode(version, out),
        Packet::Publish(packet) => {
            let before = out.len();
            packet.encode(version, out);
            assert_eq!(out.len() - before, packet.packet_len(version));
        }
        Packet::Puback(packet) => packet.encode(version, PacketKind::Puback, out),
        Packet::Pubrec(packet) => packet.encode(version, PacketKind::Pubrec, out),
        Packet::Pubrel(packet) => packet.encode(version, PacketKind::Pubrel, out),
        Packet::Pubcomp(packet) => packet.encode(version, PacketKind::Pubcomp, out),
        Packet::Subscribe(packet) => {
            let filters: Vec<SubscribeFilter<'_>> = packet.filters().collect();
            Subscribe::encode(version, packet.packet_id, packet.properties, &filters, out);
        }
        Packet::Suback(packet) => packet.encode(version, out),
        Packet::Unsubscribe(packet) => {
            let filters: Vec<&str> = packet.filters().collect();
            Unsubscribe::encode(version, packet.packet_id, packet.properties, &filters, out);
        }
        Packet::Unsuback(packet) => packet.encode(version, out),
        Packet::Pingreq => empty(PacketKind::Pingreq, out),
        Packet::Pingresp => empty(PacketKind::Pingresp, out),
        Packet::Disconnect(packet) => packet.encode(version, out),
        Packet::Auth(packet) => packet.encode(version, out),
    }
}

fn empty(kind: PacketKind, out: &mut Vec<u8>) {
    out.extend_from_slice(&[(kind as u8) << 4, 0]);
}
