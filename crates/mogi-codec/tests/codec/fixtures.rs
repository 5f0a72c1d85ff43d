//! Reads `fixtures.txt`, which says itself how it is written.

use mogi_codec::Version;

/// One packet of the file.
pub(crate) struct Fixture {
    /// The clause it illustrates.
    pub(crate) clause: &'static str,
    /// The versions in which it is what it is.
    pub(crate) versions: Vec<Version>,
    /// The packet.
    pub(crate) wire: Vec<u8>,
    /// What is to come of it.
    pub(crate) verdict: Verdict,
}

/// What is to come of a packet.
pub(crate) enum Verdict {
    /// It says this, as `describe` puts it; and may be the form in which we write it.
    Good { says: &'static str, canonical: bool },
    /// It is refused with this reason code.
    Bad(u8),
}

/// All fixtures, in the order of the file.
pub(crate) fn fixtures() -> Vec<Fixture> {
    let mut lines = include_str!("fixtures.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut fixtures = Vec::new();
    while let Some(head) = lines.next() {
        let mut body = || {
            let line = lines.next().and_then(|line| line.strip_prefix("  "));
            line.unwrap_or_else(|| panic!("{head}: a line is missing"))
        };
        let wire = bytes(body());
        let mut words = head.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{head}: a word is missing"));
        let (kind, versions, rest) = (word(), word(), word());
        let (verdict, clause) = match kind {
            "bad" => {
                let (code, clause) = rest.split_once(' ').expect("a reason and a clause");
                (Verdict::Bad(byte(code.trim_start_matches("0x"))), clause)
            }
            "good" | "also" => {
                let (says, canonical) = (body(), kind == "good");
                (Verdict::Good { says, canonical }, rest)
            }
            _ => panic!("{head}: neither good, also nor bad"),
        };
        fixtures.push(Fixture {
            clause,
            versions: versions.split(',').map(version).collect(),
            wire,
            verdict,
        });
    }
    fixtures
}

fn version(text: &str) -> Version {
    match text {
        "v3" => Version::V31,
        "v4" => Version::V311,
        "v5" => Version::V5,
        _ => panic!("{text}: no version"),
    }
}

fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Every other part stands between quotes.
    for (i, part) in text.split('\'').enumerate() {
        if i % 2 == 1 {
            bytes.extend_from_slice(part.as_bytes());
            continue;
        }
        let digits: String = part.split(' ').collect();
        assert!(digits.len().is_multiple_of(2), "{text}: half a byte");
        bytes.extend((0..digits.len()).step_by(2).map(|at| byte(&digits[at..at + 2])));
    }
    bytes
}

fn byte(digits: &str) -> u8 {
    u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{digits}: no byte"))
}
