//! The values of a flag, and the types they are read as.

use super::Stop;
use mogi_codec::reader::checked_str;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What stood behind a flag; as many values as the flag takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a> {
    /// The flag's name in messages.
    pub(crate) name: &'a str,
    /// The values.
    pub(crate) all: &'a [OsString],
}

impl<'a> Values<'a> {
    /// The value as bytes.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.all.first().map_or(&[], |value| value.as_bytes())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.all.first().map(PathBuf::from).unwrap_or_default()
    }

    /// The value as text that can stand in a packet (section 1.5.4).
    pub(crate) fn text(&self) -> Result<&'a str, Stop> {
        self.text_at(0)
    }

    pub(crate) fn text_at(&self, index: usize) -> Result<&'a str, Stop> {
        let bytes = self.all.get(index).map_or(&[][..], |it| it.as_bytes());
        let text = checked_str(bytes);
        let text = text.map_err(|_| self.wrong("Malformed UTF-8 in"))?;
        if text.len() > usize::from(u16::MAX) {
            return Err(self.wrong("More than 65535 bytes in"));
        }
        Ok(text)
    }

    /// The number the value begins with; what follows it is ignored, as `atoi` does.
    pub(crate) fn int(&self) -> Option<i64> {
        int_prefix(self.all.first()?.to_str()?)
    }

    /// The decimal number the value begins with.
    pub(crate) fn float(&self) -> Option<f64> {
        float_prefix(self.all.first()?.to_str()?)
    }

    /// The value for a message.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    fn wrong(&self, what: &str) -> Stop {
        Stop::Wrong(format!("{what} {} argument.", self.name))
    }
}

/// Reads `[blanks][+-]digits`; `None` without digits.
pub(crate) fn int_prefix(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut value = None;
    for digit in digits.bytes().take_while(u8::is_ascii_digit) {
        let sum = value.unwrap_or(0i64).saturating_mul(10);
        value = Some(sum.saturating_add(i64::from(digit - b'0')));
    }
    value.map(|value| if negative { -value } else { value })
}

/// Reads `[blanks][+-]digits[.digits]`; `None` without digits.
pub(crate) fn float_prefix(text: &str) -> Option<f64> {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['+', '-']));
    let mut point = false;
    let number = text[sign..].bytes().take_while(|byte| match byte {
        b'.' => !std::mem::replace(&mut point, true),
        _ => byte.is_ascii_digit(),
    });
    let end = sign + number.count();
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        assert_eq!(int_prefix("12"), Some(12));
        assert_eq!(int_prefix(" -7x"), Some(-7));
        assert_eq!(int_prefix("+2.9"), Some(2));
        assert_eq!(int_prefix("x"), None);
        assert_eq!(int_prefix(""), None);
        assert_eq!(int_prefix("99999999999999999999"), Some(i64::MAX));
        assert_eq!(float_prefix("0.5"), Some(0.5));
        assert_eq!(float_prefix("-1.25s"), Some(-1.25));
        assert_eq!(float_prefix("1.2.3"), Some(1.2));
        assert_eq!(float_prefix("."), None);
        assert_eq!(float_prefix("x"), None);
    }
}
