//! JSON values, written byte for byte as Mosquitto's tools write them.
//!
//! No JSON library does that: numbers go through `double` and come out in the shortest of two C
//! notations, strings keep bytes that are no UTF-8 and end at a NUL, objects keep members of the
//! same name, and the indented form has a layout of its own.

use super::float::general;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    /// A string; nearly always UTF-8, but nobody promises.
    Text(Vec<u8>),
    Array(Vec<Self>),
    /// Members in their order, of which several may have one name.
    Object(Vec<(Vec<u8>, Self)>),
}

impl Json {
    pub(super) fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Text(text.as_ref().to_vec())
    }

    pub(super) fn number(value: impl Into<f64>) -> Self {
        Self::Number(value.into())
    }

    /// Appends the value in one line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.write_at(out, None);
    }

    /// Appends the value over several lines.
    pub(super) fn write_pretty(&self, out: &mut Vec<u8>) {
        self.write_at(out, Some(0));
    }

    /// `depth`: how many arrays and objects are around it; none in the one-line form.
    fn write_at(&self, out: &mut Vec<u8>, depth: Option<usize>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(value) => write_number(out, *value),
            Self::Text(text) => write_text(out, text),
            Self::Array(items) => write_array(out, items, depth),
            Self::Object(members) => write_object(out, members, depth),
        }
    }
}

fn write_array(out: &mut Vec<u8>, items: &[Json], depth: Option<usize>) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
            if depth.is_some() {
                out.push(b' ');
            }
        }
        item.write_at(out, depth.map(|depth| depth + 1));
    }
    out.push(b']');
}

fn write_object(out: &mut Vec<u8>, members: &[(Vec<u8>, Json)], depth: Option<usize>) {
    out.push(b'{');
    if depth.is_some() {
        out.push(b'\n');
    }
    for (at, (name, value)) in members.iter().enumerate() {
        indent(out, depth.map(|depth| depth + 1));
        write_text(out, name);
        out.push(b':');
        if depth.is_some() {
            out.push(b'\t');
        }
        value.write_at(out, depth.map(|depth| depth + 1));
        if at + 1 < members.len() {
            out.push(b',');
        }
        if depth.is_some() {
            out.push(b'\n');
        }
    }
    indent(out, depth);
    out.push(b'}');
}

fn indent(out: &mut Vec<u8>, depth: Option<usize>) {
    out.resize(out.len() + depth.unwrap_or(0), b'\t');
}

/// 32-bit integers as they are; other numbers with 15 digits, or with 17 where 15 lose too much.
fn write_number(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        return out.extend_from_slice(b"null");
    }
    let integer = value as i32;
    if f64::from(integer) == value {
        return out.extend_from_slice(integer.to_string().as_bytes());
    }
    let short = general(value, 15);
    let read: f64 = short.parse().unwrap_or(f64::NAN);
    let close = (read - value).abs() <= read.abs().max(value.abs()) * f64::EPSILON;
    let text = if close { short } else { general(value, 17) };
    out.extend_from_slice(text.as_bytes());
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    // What C takes for a string ends at a NUL, and so does what the tools print.
    for &byte in text.iter().take_while(|byte| **byte != 0) {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0C => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
