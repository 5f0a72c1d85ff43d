//! UTF-8 strings (section 1.5.4): what is refused, character by character.

use mogi_codec::reader::checked_str;
use mogi_codec::wire::put_bytes;
use mogi_codec::{Packet, Reason, Version};
use proptest::prelude::*;

/// The characters the specification forbids or advises against, by their numbers.
fn refused(number: u32) -> bool {
    matches!(number, 0..=0x1F | 0x7F..=0x9F | 0xFDD0..=0xFDEF) || number & 0xFFFF >= 0xFFFE
}

#[test]
fn every_character_there_is() {
    for number in 0..=0x10_FFFF {
        let Some(char) = char::from_u32(number) else {
            continue;
        };
        let text = format!("a{char}b");
        let found = checked_str(text.as_bytes());
        if refused(number) {
            let reason = found.map_err(|err| err.reason);
            assert_eq!(reason, Err(Reason::MalformedPacket), "U+{number:04X}");
        } else {
            assert_eq!(found, Ok(text.as_str()), "U+{number:04X}");
        }
    }
}

/// [MQTT-1.5.4-1]: surrogates, forms longer than needed, numbers too large, and pieces.
#[test]
fn ill_formed_utf_8() {
    for bytes in [
        &b"\x80"[..],
        b"\xC3",
        b"\xC0\x80",
        b"\xC1\xBF",
        b"\xE0\x80\xAF",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xED\xA0\xBD\xED\xB8\x80",
        b"\xE2\x82",
        b"\xF0\x80\x80\x80",
        b"\xF4\x90\x80\x80",
        b"\xF8\x88\x80\x80\x80",
        b"\xFE",
        b"\xFF",
        b"a\xFFb",
    ] {
        let found = checked_str(bytes).map_err(|err| err.reason);
        assert_eq!(found, Err(Reason::MalformedPacket), "{bytes:?}");
    }
}

/// Every string of every packet is checked: the same bad one put in each place.
#[test]
fn every_string_of_a_packet_is_checked() {
    let mut bad = Vec::new();
    put_bytes(&mut bad, b"a\nb");
    let user = |bad: &[u8]| [&[0x26], bad, b"\0\0"].concat();
    let user_value = |bad: &[u8]| [b"\x26\0\0", bad].concat();
    let section = |body: Vec<u8>| [vec![body.len() as u8], body].concat();
    let connect = b"\0\x04MQTT\x05";
    let packets: Vec<(u8, Vec<u8>)> = vec![
        (0x10, [&connect[..], b"\x02\0\0\0", &bad].concat()),
        (0x10, [&connect[..], b"\x06\0\0\0\0\0\0", &bad, b"\0\0"].concat()),
        (0x10, [&connect[..], b"\x82\0\0\0\0\0", &bad].concat()),
        (0x10, [&connect[..], b"\x02\0\0", &section(user(&bad)), b"\0\0"].concat()),
        (0x30, [&bad[..], b"\0"].concat()),
        (0x30, [b"\0\x01t", &section(user(&bad))[..]].concat()),
        (0x30, [b"\0\x01t", &section(user_value(&bad))[..]].concat()),
        (0x30, [b"\0\x01t", &section([b"\x03", &bad[..]].concat())[..]].concat()),
        (0x30, [b"\0\x01t", &section([b"\x08", &bad[..]].concat())[..]].concat()),
        (0x40, [b"\0\x01\0", &section([b"\x1F", &bad[..]].concat())[..]].concat()),
        (0x82, [b"\0\x01\0", &bad[..], b"\0"].concat()),
        (0xA2, [b"\0\x01\0", &bad[..]].concat()),
        (0xE0, [b"\0", &section([b"\x1F", &bad[..]].concat())[..]].concat()),
        (0xF0, [b"\0", &section([b"\x15", &bad[..]].concat())[..]].concat()),
    ];
    for (first, body) in packets {
        let refusal = |body: &[u8]| {
            let wire = [&[first, body.len() as u8], body].concat();
            Packet::parse(Version::V5, &wire).map(|_| ()).map_err(|err| err.reason)
        };
        assert_eq!(refusal(&body), Err(Reason::MalformedPacket), "{first:#x} {body:?}");
        let at = body.windows(3).position(|bytes| bytes == b"a\nb").expect("is in there");
        let mut mended = body.clone();
        mended[at + 1] = b'n';
        assert_eq!(refusal(&mended), Ok(()), "{first:#x} {mended:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged_like_their_characters(
        bytes in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let good = std::str::from_utf8(&bytes)
            .is_ok_and(|text| !text.chars().any(|char| refused(char as u32)));
        prop_assert_eq!(checked_str(&bytes).is_ok(), good);
    }
}
