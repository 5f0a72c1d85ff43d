//! Whatever bytes come, decoding ends in a packet or an error; and a packet that was understood
//! says the same after it is written and read again.
//!
//! Input: one byte that picks the version, then a stream of packets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mogi_codec::{Header, Packet, PacketKind, Properties, Subscribe, Unsubscribe, Version};

fuzz_target!(|input: &[u8]| {
    let Some((&pick, mut stream)) = input.split_first() else {
        return;
    };
    let version = [Version::V31, Version::V311, Version::V5][usize::from(pick % 3)];
    while let Ok(Some((packet, len))) = Packet::parse(version, stream) {
        assert!(len >= 2 && len <= stream.len());
        check_prefixes(version, &stream[..len]);
        check_again(version, packet);
        stream = &stream[len..];
    }
    // The header alone never asks for more than the packet needs.
    if let Ok(Some(header)) = Header::parse(stream) {
        assert!(header.header_len <= 5 && header.packet_len() >= 2);
    }
});

/// A packet cut short is an unfinished one, or an error: never another packet.
fn check_prefixes(version: Version, whole: &[u8]) {
    for len in 0..whole.len().min(16) {
        assert!(!matches!(Packet::parse(version, &whole[..len]), Ok(Some(_))));
    }
}

/// Writing what was read, and reading that, gives the same packet.
fn check_again(version: Version, packet: Packet<'_>) {
    let mut bytes = Vec::new();
    let version = encode(version, packet, &mut bytes);
    match Packet::parse(version, &bytes) {
        Ok(Some((again, len))) => {
            assert_eq!(len, bytes.len());
            assert_eq!(lists(again), lists(packet));
            let mut twice = Vec::new();
            encode(version, again, &mut twice);
            assert_eq!(bytes, twice);
        }
        other => panic!("{packet:?} came back as {other:?}"),
    }
}

/// Everything a reader of the packet can iterate over.
fn lists(packet: Packet<'_>) -> (usize, usize, String) {
    let properties = match packet {
        Packet::Publish(it) => it.properties,
        Packet::Connect(it) => it.properties,
        Packet::Subscribe(it) => it.properties,
        _ => Properties::default(),
    };
    let filters = match packet {
        Packet::Subscribe(it) => it.filters().count(),
        Packet::Unsubscribe(it) => it.filters().count(),
        _ => 0,
    };
    (properties.iter().count(), filters, format!("{packet:?}"))
}

fn encode(version: Version, packet: Packet<'_>, out: &mut Vec<u8>) -> Version {
    match packet {
        Packet::Connect(it) => {
            it.encode(out);
            return it.version;
        }
        Packet::Connack(it) => it.encode(version, out),
        Packet::Publish(it) => {
            it.encode(version, out);
            assert_eq!(it.packet_len(version), out.len());
        }
        Packet::Puback(it) => it.encode(version, PacketKind::Puback, out),
        Packet::Pubrec(it) => it.encode(version, PacketKind::Pubrec, out),
        Packet::Pubrel(it) => it.encode(version, PacketKind::Pubrel, out),
        Packet::Pubcomp(it) => it.encode(version, PacketKind::Pubcomp, out),
        Packet::Subscribe(it) => {
            let filters: Vec<_> = it.filters().collect();
            Subscribe::encode(version, it.packet_id, it.properties, &filters, out);
        }
        Packet::Suback(it) => it.encode(version, out),
        Packet::Unsubscribe(it) => {
            let filters: Vec<_> = it.filters().collect();
            Unsubscribe::encode(version, it.packet_id, it.properties, &filters, out);
        }
        Packet::Unsuback(it) => it.encode(version, out),
        Packet::Pingreq => out.extend_from_slice(&[0xC0, 0]),
        Packet::Pingresp => out.extend_from_slice(&[0xD0, 0]),
        Packet::Disconnect(it) => it.encode(version, out),
        Packet::Auth(it) => it.encode(version, out),
    }
    version
}
