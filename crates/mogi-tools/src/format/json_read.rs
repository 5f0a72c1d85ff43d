//! Reading JSON, as leniently as Mosquitto's tools do, and no more.

use super::json::Json;

/// Arrays and objects within each other, at most.
const DEPTH_MAX: usize = 1000;

/// Reads a text that is one JSON value; `None` where it is none.
///
/// Lenient: every control character is a blank, a byte order mark may come first, numbers may
/// begin with zeros and end with a point, and strings may hold control characters.
pub(super) fn read(text: &[u8]) -> Option<Json> {
    if text.contains(&0) {
        return None;
    }
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.blanks();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Json> {
        self.blanks();
        for (word, value) in
            [(&b"null"[..], Json::Null), (b"true", Json::Bool(true)), (b"false", Json::Bool(false))]
        {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Some(value);
            }
        }
        match self.rest.first()? {
            b'"' => self.text().map(Json::Text),
            b'-' | b'0'..=b'9' => self.number(),
            b'[' if depth < DEPTH_MAX => self.array(depth + 1),
            b'{' if depth < DEPTH_MAX => self.object(depth + 1),
            _ => None,
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        self.blanks();
        if self.take(b']') {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.blanks();
            if self.take(b']') {
                return Some(Json::Array(items));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.rest = &self.rest[1..];
        let mut members = Vec::new();
        self.blanks();
        if self.take(b'}') {
            return Some(Json::Object(members));
        }
        loop {
            self.blanks();
            if self.rest.first() != Some(&b'"') {
                return None;
            }
            let name = self.text()?;
            self.blanks();
            if !self.take(b':') {
                return None;
            }
            members.push((name, self.value(depth)?));
            self.blanks();
            if self.take(b'}') {
                return Some(Json::Object(members));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let mut escaped = false;
        let inner = self.rest.get(1..)?;
        let end = inner.iter().position(|byte| {
            let quote = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            quote
        })?;
        self.rest = &inner[end + 1..];
        unescape(&inner[..end])
    }

    fn number(&mut self) -> Option<Json> {
        let mut len = usize::from(self.rest.first() == Some(&b'-'));
        let digits = |rest: &[u8], from: usize| {
            let digits = rest[from..].iter().take_while(|byte| byte.is_ascii_digit());
            digits.count()
        };
        let whole = digits(self.rest, len);
        len += whole;
        let mut fraction = 0;
        if self.rest.get(len) == Some(&b'.') {
            fraction = digits(self.rest, len + 1);
            len += 1 + fraction;
        }
        if whole + fraction == 0 {
            return None;
        }
        if matches!(self.rest.get(len), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.rest.get(len + 1), Some(b'+' | b'-')));
            let from = (len + 1 + sign).min(self.rest.len());
            let exponent = digits(self.rest, from);
            if exponent > 0 {
                len = from + exponent;
            }
        }
        let (number, rest) = self.rest.split_at(len);
        self.rest = rest;
        let number = std::str::from_utf8(number).ok()?;
        number.parse().ok().map(Json::Number)
    }

    fn blanks(&mut self) {
        let blanks = self.rest.iter().take_while(|byte| **byte <= b' ');
        self.rest = &self.rest[blanks.count()..];
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }
}

fn unescape(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        text = rest;
        if first != b'\\' {
            out.push(first);
            continue;
        }
        let (&kind, rest) = text.split_first()?;
        text = rest;
        match kind {
            b'"' | b'\\' | b'/' => out.push(kind),
            b'b' => out.push(0x08),
            b'f' => out.push(0x0C),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let letter = read_letter(&mut text)?;
                let mut bytes = [0; 4];
                out.extend_from_slice(letter.encode_utf8(&mut bytes).as_bytes());
            }
            _ => return None,
        }
    }
    Some(out)
}

/// What follows `\u`, and a second `\u` where the first is half of a pair.
fn read_letter(text: &mut &[u8]) -> Option<char> {
    let first = read_unit(text)?;
    if !(0xD800..0xDC00).contains(&first) {
        // The other half alone is no letter.
        return char::from_u32(first);
    }
    *text = text.strip_prefix(b"\\u")?;
    let second = read_unit(text)?;
    if !(0xDC00..0xE000).contains(&second) {
        return None;
    }
    char::from_u32(0x10000 + ((first & 0x3FF) << 10) + (second & 0x3FF))
}

/// Four hexadecimal digits; 0 where they are something else.
fn read_unit(text: &mut &[u8]) -> Option<u32> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    *text = rest;
    let mut unit = 0;
    for digit in digits {
        let Some(digit) = char::from(*digit).to_digit(16) else {
            return Some(0);
        };
        unit = unit << 4 | digit;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out again; `None` where it is not JSON.
    fn again(text: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        read(text)?.write(&mut out);
        Some(String::from_utf8(out).expect("UTF-8"))
    }

    /// Pairs of payload and output, as Mosquitto 2.1.2's tools print them for `%J`.
    #[test]
    fn values_come_out_as_from_mosquittos_tools() {
        for (text, printed) in [
            (r#"{"a":27.0}"#, r#"{"a":27}"#),
            ("1.0", "1"),
            ("1.5", "1.5"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("1E+400", "null"),
            ("-1e400", "null"),
            ("1e-400", "0"),
            ("1e-7", "1e-07"),
            ("123456789012345678901", "1.2345678901234568e+20"),
            ("0.1", "0.1"),
            ("1e15", "1e+15"),
            ("1e14", "100000000000000"),
            ("123456789.123456789", "123456789.12345679"),
            ("3.141592653589793238", "3.1415926535897931"),
            ("1.7976931348623157e308", "1.79769313486232e+308"),
            ("5e-324", "4.94065645841247e-324"),
            ("9007199254740993", "9.00719925474099e+15"),
            ("2147483647", "2147483647"),
            ("2147483648", "2147483648"),
            ("-2147483649", "-2147483649"),
            ("0.30000000000000004", "0.3"),
            ("12345678901234567", "12345678901234568"),
            ("33.333333333333336", "33.333333333333336"),
            ("1.0000000000000002", "1"),
            ("72.30000000000001", "72.3"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("-1.5e-9", "-1.5e-09"),
            ("01", "1"),
            ("1.", "1"),
            ("-.5", "-0.5"),
            ("1.e5", "100000"),
            ("[1, 2 ,3]", "[1,2,3]"),
            (r#" { "a" : [ 1 , {"b":null} ] } "#, r#"{"a":[1,{"b":null}]}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
            (r#""\u0041\u00e9\ud83d\ude00""#, "\"A\u{e9}\u{1f600}\""),
            (r#""\/\b\f\n\r\t\"\\""#, r#""/\b\f\n\r\t\"\\""#),
            (r#""\u0001\u001f\u007f""#, "\"\\u0001\\u001f\u{7f}\""),
            (r#""a\u0000b""#, r#""a""#),
            (r#"{"a\u0000b":1}"#, r#"{"a":1}"#),
            (r#""\u00zz""#, r#""""#),
            ("\"tab\there\"", r#""tab\there""#),
            ("\u{feff}{\"a\":1}", r#"{"a":1}"#),
            ("\u{1}1\u{b}", "1"),
            ("[1\u{c},2]", "[1,2]"),
            ("12 ", "12"),
            ("true", "true"),
            (r#"{"":""}"#, r#"{"":""}"#),
            ("[[[[]]]]", "[[[[]]]]"),
        ] {
            assert_eq!(again(text.as_bytes()).as_deref(), Some(printed), "{text}");
        }
    }

    #[test]
    fn what_they_refuse_is_refused() {
        let bad = [
            "",
            "  ",
            "{\"a\":1} x",
            "{\"a\":1}{",
            "[1,]",
            "{a:1}",
            "{'a':1}",
            "+1",
            ".5",
            "nan",
            "NaN",
            "Infinity",
            "\"\\ud800\"",
            "\"\\ude00\"",
            "\"\\ud83dx\"",
            "\"\\ud83d\\u0041\"",
            "\"\\x\"",
            "\"\\u12\"",
            "tru",
            "\"open",
            "[1 2]",
            "{\"a\"}",
            "{\"a\" 1}",
            "{,}",
            "[,]",
            "1e",
            "1e+",
            "-",
            "--1",
            "1-2",
            "1.5.5",
            "1x",
            "0x10",
            "1,2",
            "nullx",
            "null null",
            " \u{feff}1",
            "\u{feff}",
            "\"a\\\"",
            "a\0",
            "1\0",
            "[1,\0 2]",
            "{\"a\":1,}",
        ];
        for text in bad {
            assert_eq!(again(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(again(nested(DEPTH_MAX).as_bytes()).is_some());
        assert!(again(nested(DEPTH_MAX + 1).as_bytes()).is_none());
        assert!(again("[".repeat(1_000_000).as_bytes()).is_none());
    }

    #[test]
    fn bytes_that_are_no_utf_8_stay_as_they_are() {
        let mut out = Vec::new();
        read(b"\"\xFF\x80\"").expect("lenient").write(&mut out);
        assert_eq!(out, b"\"\xFF\x80\"");
    }

    #[test]
    fn several_lines_have_the_layout_of_mosquittos_tools() {
        let text = br#"{"a":27.0,"b":[1,2,{"c":null}],"d":{},"e":[],"f":[[]]}"#;
        let mut out = Vec::new();
        read(text).expect("valid").write_pretty(&mut out);
        let lines = "{\n\t\"a\":\t27,\n\t\"b\":\t[1, 2, {\n\t\t\t\"c\":\tnull\n\t\t}],\n\
            \t\"d\":\t{\n\t},\n\t\"e\":\t[],\n\t\"f\":\t[[]]\n}";
        assert_eq!(String::from_utf8_lossy(&out), lines);
    }
}
