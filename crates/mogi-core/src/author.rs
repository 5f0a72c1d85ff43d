//! Who published a message that is retained, as it is kept with it: its right to publish may be
//! asked about long after it has gone (`check_retain_source`), and after the broker has.
//!
//! ```text
//!  … payload | client id | user name | client id len 2 | has name 1 | user name len 2 | port 2 |
//! ```
//! It stands at the end, so that what is before it reads as in a message without an author.

/// Bytes behind the names.
const TAIL: usize = 7;

/// A client as it was when it published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author<'a> {
    /// Its client id.
    pub client_id: &'a str,
    /// Its user name.
    pub username: Option<&'a str>,
    /// The port of the listener it came through; 0: a Unix socket, or not known.
    pub port: u16,
}

impl<'a> Author<'a> {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let name = self.username.unwrap_or_default();
        out.extend_from_slice(self.client_id.as_bytes());
        out.extend_from_slice(name.as_bytes());
        // Both were strings of MQTT.
        out.extend_from_slice(&(self.client_id.len() as u16).to_le_bytes());
        out.push(u8::from(self.username.is_some()));
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.port.to_le_bytes());
    }

    /// The author at the end of these bytes, and what is before it; `None`: there is none.
    pub(crate) fn split(bytes: &'a [u8]) -> Option<(&'a [u8], Self)> {
        let (rest, &[a, b, has_name, c, d, e, f]) = bytes.split_last_chunk::<TAIL>()?;
        let id_len = usize::from(u16::from_le_bytes([a, b]));
        let name_len = usize::from(u16::from_le_bytes([c, d]));
        let (rest, name) = rest.split_at_checked(rest.len().checked_sub(name_len)?)?;
        let (rest, id) = rest.split_at_checked(rest.len().checked_sub(id_len)?)?;
        let name = std::str::from_utf8(name).ok()?;
        let username = match has_name {
            0 if name.is_empty() => None,
            1 => Some(name),
            _ => return None,
        };
        let client_id = std::str::from_utf8(id).ok()?;
        Some((rest, Self { client_id, username, port: u16::from_le_bytes([e, f]) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found() {
        for username in [None, Some(""), Some("ann"), Some("ü")] {
            let author = Author { client_id: "c", username, port: 1883 };
            let mut bytes = b"before".to_vec();
            author.put(&mut bytes);
            assert_eq!(Author::split(&bytes), Some((&b"before"[..], author)));
            for end in 0..bytes.len() {
                if let Some((before, _)) = Author::split(&bytes[..end]) {
                    assert!(before.len() < end);
                }
            }
        }
        assert_eq!(Author::split(b"\xff\x01\0\0\0\0\0\0"), None, "no text");
        assert_eq!(Author::split(b"a\0\0\0\x01\0\0\0"), None, "a name that is not there");
        assert_eq!(Author::split(b"\x01\0\0\0\0\0\0"), None, "longer than all there is");
    }
}
