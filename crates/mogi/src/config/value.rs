//! One line of a configuration file, and what may be wrong with it.

/// Why a line is not accepted, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) text: String,
    /// It was found in a file that names itself already.
    pub(crate) located: bool,
}

impl Problem {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), located: false }
    }
}

/// An option and its value, as they stand in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) file: &'a str,
    pub(crate) number: usize,
}

impl<'a> Line<'a> {
    /// The value as text, not empty.
    pub(crate) fn text(&self) -> Result<&'a str, Problem> {
        if self.value.is_empty() {
            let name = self.name;
            return Err(Problem::new(format!("Error: Empty '{name}' value in configuration.")));
        }
        Ok(self.value)
    }

    /// The value's words.
    pub(crate) fn words(&self) -> impl Iterator<Item = &'a str> {
        self.value.split([' ', '\t']).filter(|word| !word.is_empty())
    }

    /// `true`, `false`, `1` or `0`, and nothing else.
    pub(crate) fn bool(&self) -> Result<bool, Problem> {
        match self.text()? {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(self.invalid(other)),
        }
    }

    /// A number within the range, in C's notation: `0x10` and `010` count.
    pub(crate) fn int(&self, low: i64, high: i64) -> Result<i64, Problem> {
        let word = self.text()?.split([' ', '\t']).next().unwrap_or_default();
        let Some(value) = integer(word) else {
            return Err(Problem::new(format!("Error: '{}' value not a number.", self.name)));
        };
        if (low..=high).contains(&value) { Ok(value) } else { Err(self.invalid(word)) }
    }

    /// The problem that the value is none the option has.
    pub(crate) fn invalid(&self, value: &str) -> Problem {
        Problem::new(format!("Error: Invalid '{}' value ({value}).", self.name))
    }

    /// `FILE:LINE`.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.number)
    }
}

/// A number in C's notation.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_in_c() {
        assert_eq!(integer("16"), Some(16));
        assert_eq!(integer("0x10"), Some(16));
        assert_eq!(integer("020"), Some(16));
        assert_eq!(integer("-5"), Some(-5));
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("1k"), None);
        assert_eq!(integer(""), None);
    }
}
