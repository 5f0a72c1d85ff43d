//! Reason codes, beside the tables of chapter 3 of 5.0.

use mogi_codec::{Packet, PacketKind, Reason, Version};

/// The codes each packet may carry: tables 3-1, 3-4 to 3-9, 3-13 and 3-14, and what only table
/// 2-6 adds (0x8C in DISCONNECT).
const TABLE: &[(PacketKind, &[u8])] = &[
    (
        PacketKind::Connack,
        &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
            0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
    ),
    (PacketKind::Puback, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (PacketKind::Pubrec, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (PacketKind::Pubrel, &[0x00, 0x92]),
    (PacketKind::Pubcomp, &[0x00, 0x92]),
    (PacketKind::Suback, &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2]),
    (PacketKind::Unsuback, &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
    (
        PacketKind::Disconnect,
        &[
            0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90,
            0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0,
            0xA1, 0xA2,
        ],
    ),
    (PacketKind::Auth, &[0x00, 0x18, 0x19]),
];

#[test]
fn each_packet_may_carry_the_codes_of_its_table() {
    for kind in PacketKind::ALL {
        let listed = TABLE.iter().find(|row| row.0 == kind).map_or(&[][..], |row| row.1);
        for code in 0..=u8::MAX {
            let allowed = Reason::from_u8(code).is_some_and(|reason| reason.allowed_in(kind));
            assert_eq!(allowed, listed.contains(&code), "{code:#04x} in {}", kind.name());
        }
    }
}

#[test]
fn decoding_keeps_to_the_tables() {
    let front = |kind: PacketKind| match kind {
        PacketKind::Disconnect | PacketKind::Auth => vec![],
        _ => vec![0, 1],
    };
    for &(kind, codes) in TABLE {
        if matches!(kind, PacketKind::Connack | PacketKind::Suback | PacketKind::Unsuback) {
            // Those give their codes out as they stand.
            continue;
        }
        for code in 0..=u8::MAX {
            let mut wire = vec![(kind as u8) << 4 | kind.reserved_flags(), 0];
            wire.extend(front(kind));
            wire.push(code);
            wire[1] = wire.len() as u8 - 2;
            let found = Packet::parse(Version::V5, &wire);
            match codes.contains(&code) {
                true => assert!(matches!(found, Ok(Some(_))), "{code:#04x} in {}", kind.name()),
                false => assert_eq!(
                    found.map_err(|err| err.reason),
                    Err(Reason::ProtocolError),
                    "{code:#04x} in {}",
                    kind.name()
                ),
            }
        }
    }
}

#[test]
fn errors_begin_at_0x80() {
    for reason in (0..=u8::MAX).filter_map(Reason::from_u8) {
        assert_eq!(reason.is_error(), reason as u8 >= 0x80);
        assert!(!reason.text().is_empty());
    }
}

/// 3.1.1, table 3.1: what a 3.x client is told instead.
#[test]
fn return_codes_of_3_x() {
    for (reason, code) in [
        (Reason::Success, 0),
        (Reason::UnsupportedProtocolVersion, 1),
        (Reason::ClientIdentifierNotValid, 2),
        (Reason::ServerUnavailable, 3),
        (Reason::ServerBusy, 3),
        (Reason::BadUserNameOrPassword, 4),
        (Reason::NotAuthorized, 5),
        (Reason::Banned, 5),
    ] {
        assert_eq!(reason.as_v3_connack(), code, "{}", reason.text());
    }
    let codes = (0..=u8::MAX).filter_map(Reason::from_u8).map(Reason::as_v3_connack);
    assert!(codes.into_iter().all(|code| code <= 5));
}
