//! Writing the primitive types of the specification (section 1.5) to the end of a buffer.

/// How many bytes `value` takes as a Variable Byte Integer; `value` is below 2^28.
#[inline]
pub const fn varint_len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends `value` in its shortest form ([MQTT-1.5.5-1]).
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    debug_assert!(value <= crate::MAX_REMAINING_LENGTH);
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a Two Byte Integer.
#[inline]
pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a Four Byte Integer.
#[inline]
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends Binary Data or a string with its length; what is beyond 65,535 bytes is cut off (all
/// strings a packet can hold were read from a packet or checked against that limit before).
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    let len = bytes.len().min(usize::from(u16::MAX));
    put_u16(out, len as u16);
    out.extend_from_slice(&bytes[..len]);
}

/// Appends a packet: the first byte, the length of `body`'s output, and that output. The length
/// is written afterwards, so `body` appends straight to `out`.
pub fn put_packet(out: &mut Vec<u8>, first: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(first);
    let start = out.len();
    out.push(0);
    body(out);
    let len = (out.len() - start - 1) as u32;
    debug_assert!(len <= crate::MAX_REMAINING_LENGTH);
    if len < 0x80 {
        out[start] = len as u8;
        return;
    }
    let mut coded = Vec::with_capacity(4);
    put_varint(&mut coded, len);
    out.splice(start..=start, coded);
}
