//! `@X`: the conversions of strftime(3), as the C library prints them in the C locale.

use jiff::Zoned;
use jiff::fmt::strtime;

/// Appends what `%X` stands for. What strftime(3) does not know is printed as it was written.
pub fn strftime(out: &mut Vec<u8>, conversion: u8, now: &Zoned) {
    let format = match conversion {
        b'n' => return out.push(b'\n'),
        b't' => return out.push(b'\t'),
        b's' => return out.extend_from_slice(now.timestamp().as_second().to_string().as_bytes()),
        b'Z' => return out.extend_from_slice(zone_name(now).as_bytes()),
        b'c' => "%a %b %e %H:%M:%S %Y",
        b'r' => "%I:%M:%S %p",
        b'x' | b'D' => "%m/%d/%y",
        b'X' | b'T' => "%H:%M:%S",
        b'h' => "%b",
        b'A' => "%A",
        b'B' => "%B",
        b'C' => "%C",
        b'F' => "%F",
        b'G' => "%G",
        b'H' => "%H",
        b'I' => "%I",
        b'M' => "%M",
        b'P' => "%P",
        b'R' => "%R",
        b'S' => "%S",
        b'U' => "%U",
        b'V' => "%V",
        b'W' => "%W",
        b'Y' => "%Y",
        b'a' => "%a",
        b'b' => "%b",
        b'd' => "%d",
        b'e' => "%e",
        b'g' => "%g",
        b'j' => "%j",
        b'k' => "%k",
        b'l' => "%l",
        b'm' => "%m",
        b'p' => "%p",
        b'u' => "%u",
        b'w' => "%w",
        b'y' => "%y",
        b'z' => "%z",
        b'%' => "%%",
        other => return out.extend_from_slice(&[b'%', other]),
    };
    // Every format above is one that jiff knows.
    if let Ok(text) = strtime::format(format, now) {
        out.extend_from_slice(text.as_bytes());
    }
}

/// The zone's abbreviation. Where the system names no zone, C says UTC.
fn zone_name(now: &Zoned) -> String {
    if now.time_zone().is_unknown() {
        return "UTC".to_owned();
    }
    strtime::format("%Z", now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_is_that_of_the_c_library() {
        let now: Zoned = "2026-11-01T05:07:09.5[America/St_Johns]".parse().expect("valid");
        // What strftime(3) of glibc 2.36 says about that second.
        let expected = [
            ('A', "Sunday"),
            ('B', "November"),
            ('C', "20"),
            ('D', "11/01/26"),
            ('E', "%E"),
            ('F', "2026-11-01"),
            ('G', "2026"),
            ('H', "05"),
            ('I', "05"),
            ('J', "%J"),
            ('M', "07"),
            ('P', "am"),
            ('Q', "%Q"),
            ('R', "05:07"),
            ('S', "09"),
            ('T', "05:07:09"),
            ('U', "44"),
            ('V', "44"),
            ('W', "43"),
            ('X', "05:07:09"),
            ('Y', "2026"),
            ('Z', "NST"),
            ('a', "Sun"),
            ('b', "Nov"),
            ('c', "Sun Nov  1 05:07:09 2026"),
            ('d', "01"),
            ('e', " 1"),
            ('f', "%f"),
            ('g', "26"),
            ('h', "Nov"),
            ('j', "305"),
            ('k', " 5"),
            ('l', " 5"),
            ('m', "11"),
            ('n', "\n"),
            ('p', "AM"),
            ('r', "05:07:09 AM"),
            ('s', "1793522229"),
            ('t', "\t"),
            ('u', "7"),
            ('w', "0"),
            ('x', "11/01/26"),
            ('y', "26"),
            ('z', "-0330"),
            ('%', "%"),
            (':', "%:"),
        ];
        for (letter, text) in expected {
            let mut out = Vec::new();
            strftime(&mut out, letter as u8, &now);
            assert_eq!(String::from_utf8_lossy(&out), text, "%{letter}");
        }
    }
}
