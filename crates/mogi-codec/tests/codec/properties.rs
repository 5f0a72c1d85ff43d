//! The rules for properties, beside tables copied from the specification.

use mogi_codec::properties::Section;
use mogi_codec::reader::Reader;
use mogi_codec::{PacketKind, Properties, PropertyBuf, PropertyId, Reason};

/// Table 2-4 of 5.0: identifier, packets it may stand in by number (0 for the will), and a value.
const TABLE: &[(u8, &[u8], &[u8])] = &[
    (0x01, &[3, 0], &[1]),
    (0x02, &[3, 0], &[0, 0, 0, 9]),
    (0x03, &[3, 0], b"\0\x01c"),
    (0x08, &[3, 0], b"\0\x01r"),
    (0x09, &[3, 0], b"\0\x01\xFF"),
    (0x0B, &[3, 8], &[0x81, 0x01]),
    (0x11, &[1, 2, 14], &[0, 0, 0, 9]),
    (0x12, &[2], b"\0\x01c"),
    (0x13, &[2], &[0, 9]),
    (0x15, &[1, 2, 15], b"\0\x01m"),
    (0x16, &[1, 2, 15], b"\0\x01\xFF"),
    (0x17, &[1], &[0]),
    (0x18, &[0], &[0, 0, 0, 9]),
    (0x19, &[1], &[1]),
    (0x1A, &[2], b"\0\x01i"),
    (0x1C, &[2, 14], b"\0\x01s"),
    (0x1F, &[2, 4, 5, 6, 7, 9, 11, 14, 15], b"\0\x01r"),
    (0x21, &[1, 2], &[0, 1]),
    (0x22, &[1, 2], &[0, 0]),
    (0x23, &[3], &[0, 1]),
    (0x24, &[2], &[1]),
    (0x25, &[2], &[0]),
    (0x26, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15], b"\0\x01k\0\0"),
    (0x27, &[1, 2], &[0, 0, 0, 1]),
    (0x28, &[2], &[0]),
    (0x29, &[2], &[1]),
    (0x2A, &[2], &[1]),
];

/// The values that break a range of chapter 3, and the reason for it.
const OUT_OF_RANGE: &[(u8, &[u8], Reason)] = &[
    (0x01, &[2], Reason::ProtocolError),
    (0x08, b"\0\x03a/+", Reason::TopicNameInvalid),
    (0x08, b"\0\x01#", Reason::TopicNameInvalid),
    (0x08, b"\0\0", Reason::TopicNameInvalid),
    (0x0B, &[0], Reason::ProtocolError),
    (0x17, &[2], Reason::ProtocolError),
    (0x19, &[255], Reason::ProtocolError),
    (0x21, &[0, 0], Reason::ProtocolError),
    (0x23, &[0, 0], Reason::TopicAliasInvalid),
    (0x24, &[2], Reason::ProtocolError),
    (0x25, &[2], Reason::ProtocolError),
    (0x27, &[0, 0, 0, 0], Reason::ProtocolError),
    (0x28, &[2], Reason::ProtocolError),
    (0x29, &[2], Reason::ProtocolError),
    (0x2A, &[2], Reason::ProtocolError),
];

fn sections() -> impl Iterator<Item = (u8, Section)> {
    let packets = PacketKind::ALL.into_iter().map(|kind| (kind as u8, Section::Packet(kind)));
    packets.chain([(0, Section::Will)])
}

fn decode(body: &[u8], section: Section) -> Result<Vec<PropertyId>, Reason> {
    let mut wire = Vec::new();
    mogi_codec::wire::put_varint(&mut wire, body.len() as u32);
    wire.extend_from_slice(body);
    let mut reader = Reader::new(&wire);
    let properties = Properties::decode(&mut reader, section).map_err(|err| err.reason)?;
    assert!(reader.is_empty());
    assert_eq!(properties.raw(), body);
    let found: Vec<_> = properties.iter().map(|property| property.id).collect();
    for id in PropertyId::ALL {
        assert_eq!(properties.has(*id), found.contains(id), "{}", id.name());
    }
    Ok(found)
}

fn property(id: u8, value: &[u8]) -> Vec<u8> {
    [&[id], value].concat()
}

#[test]
fn the_table_is_complete() {
    let ids: Vec<u8> = PropertyId::ALL.iter().map(|id| *id as u8).collect();
    let table: Vec<u8> = TABLE.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids, table);
    for number in 0..300 {
        let known = TABLE.iter().any(|(id, ..)| u32::from(*id) == number);
        assert_eq!(PropertyId::from_u32(number).is_some(), known, "{number}");
    }
}

#[test]
fn each_property_stands_where_the_table_says_and_nowhere_else() {
    for &(id, packets, value) in TABLE {
        for (number, section) in sections() {
            let found = decode(&property(id, value), section);
            match packets.contains(&number) {
                true => assert_eq!(found.map(|found| found.len()), Ok(1), "{id:#x} in {number}"),
                false => assert_eq!(found, Err(Reason::ProtocolError), "{id:#x} in {number}"),
            }
        }
    }
}

/// Only a user property may stand twice, and in PUBLISH a subscription identifier (3.3.2.3.8).
#[test]
fn no_property_stands_twice_but_two() {
    for &(id, packets, value) in TABLE {
        let twice = property(id, value).repeat(2);
        for (number, section) in sections().filter(|(number, _)| packets.contains(number)) {
            let found = decode(&twice, section);
            if id == 0x26 || (id == 0x0B && number == 3) {
                assert_eq!(found.map(|found| found.len()), Ok(2), "{id:#x} in {number}");
            } else {
                assert_eq!(found, Err(Reason::ProtocolError), "{id:#x} in {number}");
            }
        }
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for &(id, value, reason) in OUT_OF_RANGE {
        let (_, packets, _) = TABLE.iter().find(|row| row.0 == id).expect("in the table");
        for (number, section) in sections().filter(|(number, _)| packets.contains(number)) {
            let found = decode(&property(id, value), section);
            assert_eq!(found, Err(reason), "{id:#x} = {value:?} in {number}");
        }
    }
}

#[test]
fn a_property_cut_off_anywhere_is_malformed() {
    for &(id, packets, value) in TABLE {
        let whole = property(id, value);
        for (_, section) in sections().filter(|(number, _)| packets.contains(number)) {
            for len in 1..whole.len() {
                let found = decode(&whole[..len], section);
                assert_eq!(found, Err(Reason::MalformedPacket), "{id:#x} cut to {len}");
            }
        }
    }
}

#[test]
fn unknown_identifiers_are_malformed() {
    for id in (0..=0x7F).filter(|id| !TABLE.iter().any(|row| row.0 == *id)) {
        for (_, section) in sections() {
            let found = decode(&property(id, &[0; 8]), section);
            assert_eq!(found, Err(Reason::MalformedPacket), "{id:#x}");
        }
    }
}

/// MQTT-1.5.5-1: no form is longer than needed, and none longer than four bytes.
#[test]
fn variable_byte_integers_have_one_form() {
    let section = Section::Packet(PacketKind::Publish);
    let decode = |value: &[u8]| {
        let mut reader = Reader::new(value);
        reader.varint().map_err(|err| err.reason)
    };
    assert_eq!(decode(&[0]), Ok(0));
    assert_eq!(decode(&[0x80, 0x01]), Ok(128));
    assert_eq!(decode(&[0xFF, 0xFF, 0xFF, 0x7F]), Ok(268_435_455));
    for long in [&[0x80, 0x00][..], &[0x81, 0x80, 0x00], &[0xFF, 0xFF, 0xFF, 0x00]] {
        assert_eq!(decode(long), Err(Reason::MalformedPacket), "{long:?}");
    }
    assert_eq!(decode(&[0x80; 5]), Err(Reason::MalformedPacket));
    assert_eq!(decode(&[0x80]), Err(Reason::MalformedPacket));
    let long_id = super::properties::decode(&[0x81, 0x00, 0x00], section);
    assert_eq!(long_id, Err(Reason::MalformedPacket));
}

#[test]
fn a_built_section_reads_like_a_decoded_one() {
    let mut buf = PropertyBuf::new();
    buf.int(PropertyId::SubscriptionIdentifier, 200)
        .str(PropertyId::ContentType, "text/plain")
        .user("a", "1")
        .bytes(PropertyId::CorrelationData, &[0, 255])
        .int(PropertyId::SubscriptionIdentifier, 3)
        .user("a", "2");
    let built = buf.as_properties();
    let mut wire = Vec::new();
    mogi_codec::properties::put_section(&mut wire, built);
    let section = Section::Packet(PacketKind::Publish);
    let decoded = Properties::decode(&mut Reader::new(&wire), section).expect("valid");
    assert_eq!(decoded, built);
    assert_eq!(decoded.int(PropertyId::SubscriptionIdentifier), Some(200));
    assert_eq!(decoded.str(PropertyId::ContentType), Some("text/plain"));
    assert_eq!(decoded.bytes(PropertyId::CorrelationData), Some(&[0, 255][..]));
    // A value is given out as what it is, or not at all.
    assert_eq!(decoded.int(PropertyId::ContentType), None);
    assert_eq!(decoded.str(PropertyId::CorrelationData), None);
    assert_eq!(decoded.bytes(PropertyId::SubscriptionIdentifier), None);
    assert_eq!(decoded.int(PropertyId::TopicAlias), None);
    assert_eq!(decoded.iter().count(), 6);
}
