//! `%x` and `%X`: the payload in hexadecimal.

use super::field::fill_up;
use super::template::Width;

/// Appends the payload's nibbles. The precision makes groups of them, counted from the left,
/// padding included; between two groups stands the separator.
///
/// The width counts nibbles where it pads and bytes where it cuts, as Mosquitto's tools have it.
pub(super) fn hex(out: &mut Vec<u8>, width: Width, upper: bool, payload: &[u8]) {
    let field = match width.width {
        0 => payload.len(),
        width => width,
    };
    let bytes = &payload[..payload.len().min(field)];
    let nibbles = bytes.len() * 2;
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let before = if width.left { 0 } else { field.saturating_sub(nibbles) };
    let fill = if width.zero { b'0' } else { b' ' };
    let padding = std::iter::repeat_n(fill, before);
    let content = bytes
        .iter()
        .flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
    let group = width.precision.filter(|group| *group > 0);
    let separator = width.separator.unwrap_or(b' ');
    for (at, nibble) in padding.chain(content).enumerate() {
        if at > 0 && group.is_some_and(|group| at % group == 0) {
            out.push(separator);
        }
        out.push(nibble);
    }
    if width.left {
        fill_up(out, b' ', field.abs_diff(nibbles));
    }
}
