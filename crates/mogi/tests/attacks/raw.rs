//! Packets put together byte by byte, for what no encoder writes; and ways to send and to end.

use crate::support::{Client, PacketKind, Version};
use mogi_codec::wire::{put_bytes, put_packet, put_u16, put_varint};
use std::io::{ErrorKind, Write};
use std::time::Duration;

/// A string or binary field: its length in two bytes, and the bytes.
pub(crate) fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, bytes.as_ref());
    out
}

/// A packet with that first byte and these parts behind a right length.
pub(crate) fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    put_packet(&mut out, first, |out| out.extend(parts.concat()));
    out
}

/// A fixed header that claims so many bytes.
pub(crate) fn claim(first: u8, remaining: u32) -> Vec<u8> {
    let mut out = vec![first];
    put_varint(&mut out, remaining);
    out
}

/// A property section in 5.0; nothing before.
fn section(version: Version, props: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if version.is_v5() {
        put_varint(&mut out, props.len() as u32);
        out.extend_from_slice(props);
    }
    out
}

/// CONNECT with these flags, properties and fields of the payload.
pub(crate) fn connect(version: Version, flags: u8, props: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let name = if version == Version::V31 { "MQIsdp" } else { "MQTT" };
    protocol(name, version as u8, flags, &section(version, props), fields)
}

/// CONNECT of any protocol.
pub(crate) fn protocol(
    name: &str,
    level: u8,
    flags: u8,
    props: &[u8],
    fields: &[&[u8]],
) -> Vec<u8> {
    let fixed = [level, flags, 0, 60];
    packet(0x10, &[&text(name), &fixed, props, &fields.concat()])
}

/// PUBLISH; `first` says QoS and flags, `id` counts where there is a QoS.
pub(crate) fn publish(version: Version, first: u8, topic: &[u8], id: u16, props: &[u8]) -> Vec<u8> {
    let id = id.to_be_bytes();
    let id: &[u8] = if first & 0b110 == 0 { &[] } else { &id };
    packet(first, &[&text(topic), id, &section(version, props), b"payload"])
}

/// SUBSCRIBE to filters with their option bytes.
pub(crate) fn subscribe(
    version: Version,
    id: u16,
    props: &[u8],
    filters: &[(&[u8], u8)],
) -> Vec<u8> {
    let mut out = Vec::new();
    put_packet(&mut out, 0x82, |out| {
        put_u16(out, id);
        out.extend(section(version, props));
        for (filter, options) in filters {
            put_bytes(out, filter);
            out.push(*options);
        }
    });
    out
}

/// UNSUBSCRIBE.
pub(crate) fn unsubscribe(version: Version, id: u16, filters: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    put_packet(&mut out, 0xA2, |out| {
        put_u16(out, id);
        out.extend(section(version, &[]));
        for filter in filters {
            put_bytes(out, filter);
        }
    });
    out
}

/// Writes `chunk` again and again, `total` bytes in all; stops when the connection ends or takes
/// nothing for `patience`. How many bytes went.
pub(crate) fn pour(client: &Client, chunk: &[u8], total: usize, patience: Duration) -> usize {
    let mut stream = client.stream();
    stream.set_write_timeout(Some(patience)).expect("cannot set a timeout");
    let mut gone = 0;
    while gone < total {
        let at = gone % chunk.len();
        let end = chunk.len().min(at + total - gone);
        match stream.write(&chunk[at..end]) {
            Ok(len) => gone += len,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    gone
}

/// Receives until the connection ends, which it has to; the reason code of the DISCONNECT before
/// it, if there was one.
#[track_caller]
pub(crate) fn ending(client: &mut Client) -> Option<u8> {
    let mut code = None;
    while let Some(frame) = client.next() {
        code = (frame.kind() == PacketKind::Disconnect).then(|| frame.code());
    }
    code
}

/// The connection ends: with DISCONNECT and `code` in 5.0, without a word before.
#[track_caller]
pub(crate) fn ends_with(client: &mut Client, version: Version, code: u8, what: &str) {
    let expected = version.is_v5().then_some(code);
    assert_eq!(ending(client), expected, "{version:?}: {what}");
}
