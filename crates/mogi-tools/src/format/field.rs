//! Texts and numbers in a field of some width, as printf(3) pads them.

use super::template::Width;

/// `%*.*s`: width and precision count bytes.
pub(super) fn text(out: &mut Vec<u8>, width: Width, bytes: &[u8]) {
    let len = width.precision.unwrap_or(bytes.len()).min(bytes.len());
    pad(out, width, false, &bytes[..len]);
}

/// `%*d` of a number, or blanks where there is none.
pub(super) fn number(out: &mut Vec<u8>, width: Width, value: Option<u64>) {
    match value {
        Some(value) => pad(out, width, width.zero, value.to_string().as_bytes()),
        None => pad(out, width, false, b""),
    }
}

/// `%p`: the width also cuts a longer payload, and `-` alone pads it to twice its length. That
/// is no use to anybody; it is what Mosquitto's tools do.
pub(super) fn payload(out: &mut Vec<u8>, width: Width, payload: &[u8]) {
    let len = match width.width {
        0 => payload.len(),
        width => width.min(payload.len()),
    };
    let fill = if width.zero { b'0' } else { b' ' };
    if width.left {
        out.extend_from_slice(&payload[..len]);
        fill_up(out, b' ', width.width.abs_diff(len));
    } else {
        fill_up(out, fill, width.width.saturating_sub(len));
        out.extend_from_slice(&payload[..len]);
    }
}

/// Appends `bytes` in the field.
pub(super) fn pad(out: &mut Vec<u8>, width: Width, zero: bool, bytes: &[u8]) {
    let missing = width.width.saturating_sub(bytes.len());
    if width.left {
        out.extend_from_slice(bytes);
        fill_up(out, b' ', missing);
    } else {
        fill_up(out, if zero { b'0' } else { b' ' }, missing);
        out.extend_from_slice(bytes);
    }
}

pub(super) fn fill_up(out: &mut Vec<u8>, byte: u8, count: usize) {
    out.resize(out.len() + count, byte);
}
