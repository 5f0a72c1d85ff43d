//! Packets byte by byte, for what no encoder writes.

use crate::support::{Client, PacketKind, Version};

/// Bytes from their hexadecimal notation; blanks are ignored.
#[track_caller]
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| {
        let pair: String = pair.iter().collect();
        u8::from_str_radix(&pair, 16).expect("a hexadecimal byte")
    });
    pairs.collect()
}

/// A string or binary field with its length.
pub(super) fn field(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let len = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    [&len.to_be_bytes(), bytes].concat()
}

/// A packet with this first byte and body.
pub(super) fn packet(first: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let more = rest > 127;
        bytes.push((rest % 128) as u8 | if more { 0x80 } else { 0 });
        rest /= 128;
        if !more {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// An empty property section in 5.0, nothing in 3.x.
pub(super) fn no_properties(version: Version) -> &'static [u8] {
    if version.is_v5() { &[0] } else { &[] }
}

/// A PUBLISH with these flags; the packet id is 1 where flags ask for one.
pub(super) fn publish(version: Version, flags: u8, topic: impl AsRef<[u8]>) -> Vec<u8> {
    let mut body = field(topic);
    if flags & 0b110 != 0 {
        body.extend_from_slice(&[0, 1]);
    }
    body.extend_from_slice(no_properties(version));
    body.push(b'x');
    packet(0x30 | flags, body)
}

/// A PUBLISH of 5.0 at QoS 0 to `t` with these bytes as its properties.
pub(super) fn publish_properties(properties: &[u8]) -> Vec<u8> {
    let mut body = field("t");
    body.push(u8::try_from(properties.len()).expect("few properties"));
    body.extend_from_slice(properties);
    packet(0x30, body)
}

/// A SUBSCRIBE with packet id 1 for one filter.
pub(super) fn subscribe(version: Version, filter: impl AsRef<[u8]>, options: u8) -> Vec<u8> {
    let body = [&[0, 1], no_properties(version), &field(filter), &[options]].concat();
    packet(0x82, body)
}

/// An UNSUBSCRIBE with packet id 1 for one filter.
pub(super) fn unsubscribe(version: Version, filter: impl AsRef<[u8]>) -> Vec<u8> {
    let body = [&[0, 1], no_properties(version), &field(filter)].concat();
    packet(0xA2, body)
}

/// A CONNECT put together from its parts: flags, keep alive 60, and the payload as it is.
pub(super) fn connect(version: Version, flags: u8, payload: &[u8]) -> Vec<u8> {
    connect_with(version, flags, no_properties(version), payload)
}

/// Like [`connect`], with a property section.
pub(super) fn connect_with(version: Version, flags: u8, section: &[u8], payload: &[u8]) -> Vec<u8> {
    let name: &[u8] = match version {
        Version::V31 => b"MQIsdp",
        _ => b"MQTT",
    };
    let level = [version as u8, flags, 0, 60];
    packet(0x10, [&field(name)[..], &level, section, payload].concat())
}

/// The connection ends over an error: a 5.0 client may be told before, with one of `codes`.
#[track_caller]
pub(super) fn expect_ended(what: &str, client: &mut Client, codes: &[u8]) {
    if let Some(frame) = client.next() {
        assert_eq!(frame.kind(), PacketKind::Disconnect, "{what}: {frame:?}");
        let code = frame.code();
        assert!(codes.contains(&code), "{what}: 0x{code:02X}");
        client.expect_closed();
    }
}

/// The CONNECT is refused: at most a CONNACK with an error code comes, then the end.
#[track_caller]
pub(super) fn expect_refused(what: &str, client: &mut Client) {
    if let Some(frame) = client.next() {
        assert_eq!(frame.kind(), PacketKind::Connack, "{what}: {frame:?}");
        assert_ne!(frame.code(), 0, "{what}: {frame:?}");
        assert!(!frame.session_present(), "{what}: {frame:?}");
        client.expect_closed();
    }
}
