//! Every case of `stock.txt`: the same words as Mosquitto's, and the same exit code.

use crate::program::{Outcome, Program};
use std::fs;
use std::path::PathBuf;

#[test]
fn every_line_is_judged_as_mosquitto_judges_it() {
    let text = fs::read_to_string(path()).expect("stock.txt can be read");
    let program = Program::mosquitto();
    let mut whole = String::new();
    let mut wrong = Vec::new();
    let mut count = 0;
    for part in parts(&text) {
        let case = match part {
            Part::Text(line) => {
                whole.push_str(line);
                whole.push('\n');
                continue;
            }
            Part::Case(case) => case,
        };
        count += 1;
        let conf: Vec<u8> = case.conf.lines().flat_map(conf_line).collect();
        let outcome = judged(program.test(conf));
        if outcome != case.judgement {
            let expected = &case.judgement;
            wrong.push(format!("{}expected {expected:?}\n     got {outcome:?}\n", case.conf));
        }
        whole.push_str(&case.conf);
        whole.push_str(&outcome.to_string());
    }
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path(), whole).expect("stock.txt can be written");
        return;
    }
    assert!(count > 300, "stock.txt has lost its cases: {count}");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a broker says about a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judgement {
    lines: Vec<String>,
    code: String,
}

impl std::fmt::Display for Judgement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.lines {
            writeln!(f, "> {}", escape(line))?;
        }
        writeln!(f, "= {}", self.code)
    }
}

fn judged(outcome: Outcome) -> Judgement {
    let mut lines = outcome.stderr;
    let last = lines.pop().unwrap_or_default();
    assert!(last.ends_with(" terminating"), "the last line is {last:?} after {lines:?}");
    Judgement {
        lines,
        code: outcome.code.map_or_else(|| "killed".to_owned(), |code| code.to_string()),
    }
}

enum Part<'a> {
    Text(&'a str),
    Case(Case),
}

#[derive(Default)]
struct Case {
    /// The lines of the file, as they stand in `stock.txt`.
    conf: String,
    judgement: Judgement,
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut case = Case::default();
    for line in text.lines() {
        match line.split_at_checked(1) {
            Some(("|", _)) => {
                case.conf.push_str(line);
                case.conf.push('\n');
            }
            Some((">", said)) => {
                let line = unescape(said.strip_prefix(' ').unwrap_or_default());
                case.judgement.lines.push(String::from_utf8_lossy(&line).into_owned());
            }
            Some(("=", code)) => {
                case.judgement.code = code.trim().to_owned();
                parts.push(Part::Case(std::mem::take(&mut case)));
            }
            _ => parts.push(Part::Text(line)),
        }
    }
    parts
}

/// The bytes of a line of the file.
fn conf_line(line: &str) -> Vec<u8> {
    let mut bytes = unescape(line.strip_prefix("| ").unwrap_or_default());
    bytes.push(b'\n');
    bytes
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().expect("something is escaped") {
            b't' => b'\t',
            b'r' => b'\r',
            b'x' => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.expect("a digit"));
                let digits = std::str::from_utf8(&digits).expect("digits are ASCII");
                u8::from_str_radix(digits, 16).expect("digits are hexadecimal")
            }
            other => other,
        });
    }
    bytes
}

/// Writes what editors and people do not see.
fn escape(line: &str) -> String {
    let line = line.replace('\\', "\\\\").replace('\t', "\\t");
    match line.strip_suffix(' ') {
        Some(start) => format!("{start}\\x20"),
        None => line,
    }
}

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/stock.txt"))
}
