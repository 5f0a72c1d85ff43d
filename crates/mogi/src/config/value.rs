//! One line of a configuration file, and what may be wrong with it.
//!
//! Mosquitto reads lines with C's string functions, and files in the field rely on what follows
//! from that: a blank is 0x20 and nothing else, words after the expected ones are not looked at,
//! numbers may be octal. [mosquitto.conf(5), and seen of Mosquitto 2.1.2]

/// Why a line is not accepted, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem(pub(crate) String);

impl Problem {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// An option and what stands behind it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// What follows the blank behind the name, as it stands; `None`: nothing does.
    rest: Option<String>,
    /// `FILE:LINE`.
    pub(crate) place: String,
    /// Whether `rest` is not text: not UTF-8, or with control characters in it.
    malformed: bool,
}

impl Line {
    /// Takes a line apart; `None`: there is nothing on it.
    pub(crate) fn parse(bytes: &[u8], place: String) -> Option<Self> {
        // Strings of C end with their first NUL.
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let mut bytes = &bytes[..end];
        while let [start @ .., b'\r' | b'\n'] = bytes {
            bytes = start;
        }
        // Only the first column makes a comment.
        if bytes.starts_with(b"#") {
            return None;
        }
        let name_at = bytes.iter().position(|&byte| byte != b' ')?;
        let bytes = &bytes[name_at..];
        let name_end = bytes.iter().position(|&byte| byte == b' ').unwrap_or(bytes.len());
        let name = String::from_utf8_lossy(&bytes[..name_end]).into_owned();
        let rest = bytes.get(name_end + 1..).filter(|rest| !rest.is_empty());
        let text = rest.map(|rest| std::str::from_utf8(rest.trim_ascii()));
        Some(Self {
            name,
            malformed: text
                .is_some_and(|text| text.map_or(true, |text| text.chars().any(|c| c.is_control()))),
            rest: rest.map(|rest| String::from_utf8_lossy(rest).into_owned()),
            place,
        })
    }

    /// What stands behind the name, with the blanks around it.
    ///
    /// # Errors
    /// Nothing stands there.
    pub(crate) fn verbatim(&self) -> Result<&str, Problem> {
        self.rest.as_deref().ok_or_else(|| empty(&self.name))
    }

    /// The value as text, without the blanks around it.
    ///
    /// # Errors
    /// It is empty, not UTF-8, or has control characters.
    pub(crate) fn text(&self) -> Result<&str, Problem> {
        self.text_of(&self.name)
    }

    /// The same for a value that Mosquitto's errors call by another name.
    pub(crate) fn text_of(&self, what: &str) -> Result<&str, Problem> {
        let text = self.rest.as_deref().unwrap_or_default().trim_ascii();
        if text.is_empty() {
            return Err(empty(what));
        }
        if self.malformed {
            return Err(Problem::new("Error: Malformed UTF-8 in configuration."));
        }
        Ok(text)
    }

    /// The value's words.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.rest.as_deref().unwrap_or_default().split(' ').filter(|word| !word.is_empty())
    }

    /// The first word; others are not looked at.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn word(&self) -> Result<&str, Problem> {
        self.words().next().ok_or_else(|| empty(&self.name))
    }

    /// What stands behind the first word, without the blanks around it.
    pub(crate) fn behind_first_word(&self) -> &str {
        let rest = self.rest.as_deref().unwrap_or_default().trim_start_matches(' ');
        rest.split_once(' ').map_or("", |(_, behind)| behind.trim_ascii())
    }

    /// `true`, `false`, `1` or `0`, and nothing else.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn bool(&self) -> Result<bool, Problem> {
        match self.word()? {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(self.invalid(other)),
        }
    }

    /// A number in C's notation: `0x10` and `010` are 16 and 8.
    ///
    /// # Errors
    /// It is none, or has more than 32 bits.
    pub(crate) fn number(&self) -> Result<i32, Problem> {
        self.number_of(&self.name)
    }

    /// The same for a value that Mosquitto's errors call by another name.
    pub(crate) fn number_of(&self, what: &str) -> Result<i32, Problem> {
        let word = self.words().next().ok_or_else(|| empty(what))?;
        let Some(value) = integer(word) else {
            return Err(Problem::new(format!("Error: '{what}' value not a number.")));
        };
        i32::try_from(value)
            .map_err(|_| Problem::new(format!("Error: '{what}' value out of range.")))
    }

    /// The problem that the value is none the option has.
    pub(crate) fn invalid(&self, value: impl std::fmt::Display) -> Problem {
        Problem::new(format!("Error: Invalid '{}' value ({value}).", self.name))
    }
}

fn empty(what: &str) -> Problem {
    Problem::new(format!("Error: Empty '{what}' value in configuration."))
}

/// What strtol(3) makes of the whole of `text` with base 0. What does not fit is the next best
/// number, as there.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (digits, base) = match hex {
        Some(hex) => (hex, 16),
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    let value = i64::from_str_radix(digits, base).unwrap_or(i64::MAX);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::parse(text.as_bytes(), "FILE:1".to_owned()).expect("something stands there")
    }

    #[test]
    fn numbers_are_written_as_in_c() {
        assert_eq!(integer("16"), Some(16));
        assert_eq!(integer("0x10"), Some(16));
        assert_eq!(integer("0XfF"), Some(255));
        assert_eq!(integer("020"), Some(16));
        assert_eq!(integer("-5"), Some(-5));
        assert_eq!(integer("+5"), Some(5));
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("\t7"), Some(7));
        assert_eq!(integer("99999999999999999999"), Some(i64::MAX));
        for none in ["", "1k", "08", "0x", "5.0", "5\t", "--5", "+-5", "٣"] {
            assert_eq!(integer(none), None, "{none}");
        }
    }

    #[test]
    fn a_line_is_a_name_and_what_follows_one_blank() {
        let parsed = line("  name  a b \r\n");
        assert_eq!(parsed.name, "name");
        assert_eq!(parsed.verbatim(), Ok(" a b "));
        assert_eq!(parsed.text(), Ok("a b"));
        assert_eq!(parsed.words().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(parsed.behind_first_word(), "b");
        assert_eq!(line("a\tb").name, "a\tb");
        assert_eq!(line("a\0b").name, "a");
        for nothing in ["", " ", "\r\n", "# comment", "\0x"] {
            assert!(Line::parse(nothing.as_bytes(), String::new()).is_none(), "{nothing:?}");
        }
        assert_eq!(line(" # no comment").name, "#");
    }

    #[test]
    fn text_is_utf_8_without_control_characters() {
        assert_eq!(line("a \t b\t").text(), Ok("b"));
        assert!(line("a b\tc").text().is_err());
        assert!(line("a b\u{9b}").text().is_err());
        assert_eq!(line("a ü€").text(), Ok("ü€"));
        let invalid = Line::parse(b"a \xff", String::new()).expect("a line");
        assert_eq!(invalid.text(), Err(Problem::new("Error: Malformed UTF-8 in configuration.")));
    }
}
