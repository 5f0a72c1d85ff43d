//! The text of `-F`, taken apart once.

/// A printing template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(super) pieces: Vec<Piece>,
}

/// One piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Printed as it is.
    Text(Vec<u8>),
    /// `@X`: the time, by a conversion of strftime(3).
    Time(u8),
    /// `%X`: something of the message.
    Field(u8, Width),
}

/// `%[-][0][width][.precision][separator]X`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Width {
    pub(super) left: bool,
    pub(super) zero: bool,
    pub(super) width: usize,
    pub(super) precision: Option<usize>,
    pub(super) separator: Option<u8>,
}

/// Everything `%` knows.
const FIELDS: &[u8] = b"%ACDEFIJPRSUXdfjlmpqrtx";

/// The widest field. Mosquitto's tools take any number, and print for minutes.
const WIDTH_MAX: usize = 65_535;

impl Template {
    /// Takes the text apart.
    ///
    /// # Errors
    /// A sentence about the first wrong sequence.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            let piece = match first {
                b'\\' => {
                    literal.push(read_escape(&mut rest)?);
                    continue;
                }
                b'@' => read_time(&mut rest)?,
                b'%' => read_field(&mut rest)?,
                _ => {
                    literal.push(first);
                    continue;
                }
            };
            if let Piece::Field(b'%', _) = piece {
                literal.push(b'%');
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { pieces })
    }
}

const INCOMPLETE: &str = "Incomplete format specifier.";

fn read_escape(rest: &mut &[u8]) -> Result<u8, String> {
    let Some(byte) = next(rest) else {
        return Err("Incomplete escape specifier.".to_owned());
    };
    Ok(match byte {
        b'\\' => b'\\',
        b'0' => 0,
        b'a' => 0x07,
        b'e' => 0x1B,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0B,
        other => return Err(invalid("escape", other)),
    })
}

fn read_time(rest: &mut &[u8]) -> Result<Piece, String> {
    match next(rest) {
        Some(b'@') => Ok(Piece::Text(b"@".to_vec())),
        Some(conversion) => Ok(Piece::Time(conversion)),
        None => Err(INCOMPLETE.to_owned()),
    }
}

fn read_field(rest: &mut &[u8]) -> Result<Piece, String> {
    let left = take(rest, b'-');
    let zero = take(rest, b'0');
    let width = digits(rest).unwrap_or(0);
    if width > WIDTH_MAX {
        return Err(format!("Field width {width} is more than {WIDTH_MAX}."));
    }
    let precision =
        if take(rest, b'.') { Some(digits(rest).unwrap_or(0).min(WIDTH_MAX)) } else { None };
    // Any sign that is none of the fields may stand between the nibbles of %x; the other fields
    // pay no attention to it.
    let separator = rest
        .first()
        .copied()
        .filter(|byte| (byte.is_ascii_punctuation() || *byte == b' ') && !FIELDS.contains(byte));
    if separator.is_some() {
        next(rest);
    }
    match next(rest) {
        None => Err(INCOMPLETE.to_owned()),
        Some(field) if FIELDS.contains(&field) => {
            Ok(Piece::Field(field, Width { left, zero, width, precision, separator }))
        }
        Some(other) => Err(invalid("format", other)),
    }
}

fn digits(rest: &mut &[u8]) -> Option<usize> {
    let mut value = None;
    while let Some(digit) = rest.first().filter(|byte| byte.is_ascii_digit()) {
        let sum = value.unwrap_or(0usize).saturating_mul(10);
        value = Some(sum.saturating_add(usize::from(digit - b'0')));
        next(rest);
    }
    value
}

fn take(rest: &mut &[u8], byte: u8) -> bool {
    let found = rest.first() == Some(&byte);
    if found {
        next(rest);
    }
    found
}

fn next(rest: &mut &[u8]) -> Option<u8> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

fn invalid(what: &str, byte: u8) -> String {
    let shown = [byte];
    let shown = String::from_utf8_lossy(&shown);
    format!("Invalid {what} specifier '{shown}'.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        Template::parse(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn errors_are_those_of_mosquittos_tools() {
        for text in ["%", "a%", "@", "%-", "%0", "%10", "%10.", "%.", "x%10.3"] {
            assert_eq!(wrong(text), "Incomplete format specifier.", "{text}");
        }
        assert_eq!(wrong("\\"), "Incomplete escape specifier.");
        assert_eq!(wrong("\\q"), "Invalid escape specifier 'q'.");
        for (text, what) in [
            ("%b", 'b'),
            ("%z", 'z'),
            ("%--5t", '5'),
            ("%0-5t", '5'),
            ("%+5t", '5'),
            ("% 5t", '5'),
            ("%.5.3t", '3'),
            ("%.2::x", ':'),
            ("%.2ax", 'a'),
        ] {
            assert_eq!(wrong(text), format!("Invalid format specifier '{what}'."));
        }
        assert!(Template::parse(b"%99999t").is_err());
        assert!(Template::parse(b"%99999999999999999999999t").is_err());
    }

    #[test]
    fn pieces_are_told_apart() {
        let parse = |text: &str| Template::parse(text.as_bytes()).expect(text).pieces;
        let text = |text: &str| Piece::Text(text.as_bytes().to_vec());
        let plain = |field| Piece::Field(field, Width::default());
        assert_eq!(parse(""), []);
        assert_eq!(parse("a%%b\\\\c"), [text("a%b\\c")]);
        assert_eq!(parse("%ld"), [plain(b'l'), text("d")]);
        assert_eq!(parse("@Ez"), [Piece::Time(b'E'), text("z")]);
        let width =
            Width { left: true, zero: true, width: 12, precision: Some(4), separator: Some(b':') };
        assert_eq!(parse("%-012.4:x"), [Piece::Field(b'x', width)]);
    }
}
