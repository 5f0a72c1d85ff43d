//! Whatever the bytes are: no panic, and nothing read that is not there.

use crate::arbitrary::{packet, version};
use crate::describe::describe;
use crate::golden::encode;
use mogi_codec::frame::Header;
use mogi_codec::{MAX_REMAINING_LENGTH, Packet, Version};
use proptest::prelude::*;
use proptest::sample::Index;

/// Decodes, looks at everything, and checks what must hold for any bytes.
fn take_apart(version: Version, bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(Some((packet, len))) = Packet::parse(version, bytes) else {
        return Ok(());
    };
    prop_assert!(len <= bytes.len());
    let said = describe(&packet);
    // A CONNECT brings its own version.
    let version = match &packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    let mut written = Vec::new();
    encode(version, &packet, &mut written);
    prop_assert!(written.len() <= len, "our form is never longer: {}", said);
    let again = Packet::parse(version, &written);
    let Ok(Some((again, _))) = again else {
        return Err(TestCaseError::fail(format!("{said} became {again:?}")));
    };
    prop_assert_eq!(describe(&again), said);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(version in version(), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        take_apart(version, &bytes)?;
    }

    /// Bytes that begin like a packet get further than any bytes do.
    #[test]
    fn any_body(
        version in version(),
        first in any::<u8>(),
        mut body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let len = body.len() as u8;
        body.splice(0..0, [first, len]);
        take_apart(version, &body)?;
    }
}

proptest! {
    /// A packet with one byte changed, one taken out or one put in.
    #[test]
    fn a_packet_that_was_damaged(
        (version, owned) in packet(),
        (at, byte, how) in (any::<Index>(), any::<u8>(), 0..3u8),
    ) {
        let mut wire = Vec::new();
        owned.encode(version, &mut wire);
        let at = at.index(wire.len().min(300));
        match how {
            0 => wire[at] = byte,
            1 => drop(wire.remove(at)),
            _ => wire.insert(at, byte),
        }
        take_apart(version, &wire)?;
    }

    /// The front of a packet is never taken for one.
    #[test]
    fn a_prefix_is_no_packet((version, owned) in packet(), cut in any::<Index>()) {
        let mut wire = Vec::new();
        owned.encode(version, &mut wire);
        for len in (0..wire.len().min(100)).chain([cut.index(wire.len()), wire.len() - 1]) {
            prop_assert_eq!(Packet::parse(version, &wire[..len]), Ok(None));
        }
    }

    /// Section 2.1.4, table 2-1.
    #[test]
    fn the_remaining_length_is_read_as_it_is_written(len in 0..=MAX_REMAINING_LENGTH) {
        let mut wire = vec![0x30];
        mogi_codec::wire::put_varint(&mut wire, len);
        let bytes = match len {
            0..128 => 1,
            128..16_384 => 2,
            16_384..2_097_152 => 3,
            _ => 4,
        };
        prop_assert_eq!(wire.len(), 1 + bytes);
        prop_assert_eq!(mogi_codec::wire::varint_len(len), bytes);
        let header = Header::parse(&wire).expect("a header").expect("all of it");
        prop_assert_eq!((header.remaining, header.header_len), (len as usize, 1 + bytes));
        for cut in 0..wire.len() {
            prop_assert_eq!(Header::parse(&wire[..cut]), Ok(None));
        }
    }
}

/// The edges of table 2-1, and a length that is too long as soon as its fourth byte is there.
#[test]
fn the_edges_of_the_remaining_length() {
    for (len, bytes) in [
        (0, &[0x00][..]),
        (127, &[0x7F]),
        (128, &[0x80, 0x01]),
        (16_383, &[0xFF, 0x7F]),
        (16_384, &[0x80, 0x80, 0x01]),
        (2_097_151, &[0xFF, 0xFF, 0x7F]),
        (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
        (MAX_REMAINING_LENGTH, &[0xFF, 0xFF, 0xFF, 0x7F]),
    ] {
        let mut wire = Vec::new();
        mogi_codec::wire::put_varint(&mut wire, len);
        assert_eq!(wire, bytes);
        assert_eq!(mogi_codec::wire::varint_len(len), bytes.len(), "{len}");
        wire.insert(0, 0x30);
        let header = Header::parse(&wire).expect("a header").expect("all of it");
        assert_eq!(header.remaining, len as usize);
    }
    assert_eq!(Header::parse(&[0x30, 0x80, 0x80, 0x80]), Ok(None));
    assert!(Header::parse(&[0x30, 0x80, 0x80, 0x80, 0x80]).is_err());
}
