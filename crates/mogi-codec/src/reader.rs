//! A cursor over received bytes that cannot run past their end.

use crate::DecodeError;

type Result<T> = std::result::Result<T, DecodeError>;

const SHORT: DecodeError = DecodeError::malformed("packet shorter than its contents");

/// Reads the primitive types of the specification (section 1.5) off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    buf: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over all of `buf`.
    pub const fn new(buf: &'a [u8]) -> Self {
        Self { buf }
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        let (&first, rest) = self.buf.split_first().ok_or(SHORT)?;
        self.buf = rest;
        Ok(first)
    }

    /// Two Byte Integer, big-endian.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        let (head, rest) = self.buf.split_first_chunk::<2>().ok_or(SHORT)?;
        self.buf = rest;
        Ok(u16::from_be_bytes(*head))
    }

    /// Four Byte Integer, big-endian.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        let (head, rest) = self.buf.split_first_chunk::<4>().ok_or(SHORT)?;
        self.buf = rest;
        Ok(u32::from_be_bytes(*head))
    }

    /// Variable Byte Integer of at most four bytes, in its shortest form ([MQTT-1.5.5-1]). A
    /// longer form is refused, as Mosquitto does: it would be forwarded to readers that refuse it.
    #[inline]
    pub fn varint(&mut self) -> Result<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(DecodeError::malformed("variable byte integer longer than needed"));
                }
                return Ok(value);
            }
        }
        Err(DecodeError::malformed("variable byte integer longer than four bytes"))
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.buf.split_at_checked(len).ok_or(SHORT)?;
        self.buf = rest;
        Ok(head)
    }

    /// Binary Data: a length of two bytes and as many bytes.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// UTF-8 Encoded String ([MQTT-1.5.4-1], [MQTT-1.5.4-2]).
    #[inline]
    pub fn str(&mut self) -> Result<&'a str> {
        checked_str(self.bytes()?)
    }

    /// What is left.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.buf
    }

    /// Whether nothing is left.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// An error if anything is left: a packet ends where its fields end.
    #[inline]
    pub fn finish(self) -> Result<()> {
        if self.buf.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::malformed("bytes left over after the last field"))
        }
    }
}

/// `bytes` as a string the specification allows: well-formed UTF-8 without U+0000. Control
/// characters and non-characters, which it only advises against (section 1.5.4), are refused as
/// Mosquitto does: clients exist that hang up when they receive one, and logs that break. U+FEFF
/// is an ordinary character and stays where it is ([MQTT-1.5.4-3]).
#[inline]
pub fn checked_str(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| DecodeError::malformed("string is not well-formed UTF-8"))?;
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(text);
    }
    check_chars(text)?;
    Ok(text)
}

fn check_chars(text: &str) -> Result<()> {
    for char in text.chars() {
        match char {
            '\0' => return Err(DecodeError::malformed("string contains U+0000")),
            _ if char.is_control() => {
                return Err(DecodeError::malformed("string contains a control character"));
            }
            // The last two of every plane, and U+FDD0 to U+FDEF.
            _ if char as u32 & 0xFFFE == 0xFFFE || matches!(char, '\u{FDD0}'..='\u{FDEF}') => {
                return Err(DecodeError::malformed("string contains a non-character"));
            }
            _ => {}
        }
    }
    Ok(())
}
