//! Every normative statement of the specifications has a test, or a reason why not.
//!
//! `docs/conformance.md` has a section for each version (a heading that ends in `3.1.1` or `5.0`)
//! and in it a table with a line for each statement: the id first, and last what shows that it
//! holds. That is names of tests in backquotes, `not applicable: …` or `not yet: …`.

use super::{Finding, Tree};
use std::collections::BTreeSet;

const PATH: &str = "docs/conformance.md";
const IDS: &str = "xtask/normative-ids.txt";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    if tree.text(PATH).is_empty() {
        return vec![Finding::new(PATH, 0, "conformance", "there is no such file")];
    }
    let tests = tests(tree);
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows(tree.text(PATH)) {
        if !seen.insert((row.version, row.id)) {
            let what = format!("{} of {} stands here twice", row.id, row.version);
            findings.push(Finding::new(PATH, row.line, "conformance", what));
        }
        if let Some(what) = fault(&row, &tests) {
            findings.push(Finding::new(PATH, row.line, "conformance", what));
        }
    }
    let wanted: BTreeSet<_> = ids(tree.text(IDS)).into_iter().collect();
    for (version, id) in wanted.difference(&seen) {
        let what = format!("{id} of {version} has no line");
        findings.push(Finding::new(PATH, 0, "conformance", what));
    }
    for (version, id) in seen.difference(&wanted) {
        let what = format!("{id} is no statement of {version} that binds a broker");
        findings.push(Finding::new(PATH, 0, "conformance", what));
    }
    findings
}

/// One statement's line.
struct Row<'a> {
    line: usize,
    version: &'a str,
    id: &'a str,
    /// The last cell.
    proof: &'a str,
}

/// What is wrong with a line, if something is.
fn fault(row: &Row<'_>, tests: &BTreeSet<String>) -> Option<String> {
    for reason in ["not applicable:", "not yet:"] {
        if let Some(reason) = row.proof.strip_prefix(reason) {
            return reason.trim().is_empty().then(|| format!("{} without a reason", row.id));
        }
    }
    let names: Vec<_> = row.proof.split('`').skip(1).step_by(2).collect();
    if names.is_empty() {
        return Some(format!("{} names neither a test nor a reason", row.id));
    }
    let missing = names.into_iter().find(|name| !tests.contains(*name));
    missing.map(|name| format!("{}: there is no test `{name}`", row.id))
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let mut version = "";
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            version = match line.rsplit(' ').next() {
                Some(last @ ("3.1.1" | "5.0")) => last,
                _ => version,
            };
        } else if line.starts_with("| MQTT-") {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let id = cells.first().copied().unwrap_or_default();
            let proof = if cells.len() > 1 { cells[cells.len() - 1] } else { "" };
            rows.push(Row { line: index + 1, version, id, proof });
        }
    }
    rows
}

/// The statements there are: version and id.
fn ids(text: &str) -> Vec<(&str, &str)> {
    let mut version = "";
    let mut ids = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            version = name;
        } else if line.starts_with("MQTT-") {
            ids.push((version, line));
        }
    }
    ids
}

/// The names of all functions with `#[test]`, and of those a macro such as `proptest!` makes one.
fn tests(tree: &Tree) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in tree.ending(".rs").filter(|file| file.path.starts_with("crates/")) {
        let mut marked = false;
        for line in file.text.lines().map(str::trim_start) {
            let function = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("fn ");
            if line.starts_with("#[test]") {
                marked = true;
            } else if let Some(rest) = function {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                if std::mem::take(&mut marked) {
                    names.insert(rest[..end.unwrap_or(rest.len())].to_owned());
                }
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str = "#[test]\n#[cfg(unix)]\nfn pings() {}\nfn helper() {}\n";
    const BOTH: &str = "[3.1.1]\nMQTT-1-1\n[5.0]\nMQTT-1-1\n";

    fn findings(page: &str) -> Vec<String> {
        let tree = Tree::of(&[("crates/a/tests/a.rs", TEST), (IDS, BOTH), (PATH, page)]);
        check(&tree).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_line_names_a_test_or_a_reason() {
        let page = |first: &str, second: &str| {
            let [first, second] = [first, second].map(|it| format!("| MQTT-1-1 | x | {it} |\n"));
            findings(&format!("## MQTT 3.1.1\n{first}## MQTT 5.0\n{second}"))
        };
        assert_eq!(page("`pings`", "`pings`, see there").len(), 0);
        assert_eq!(page("not applicable: no bridge", "not yet: WebSockets").len(), 0);
        assert_eq!(page("`helper`", "`nothing`").len(), 2);
        assert_eq!(page("", "not applicable:").len(), 2);
    }

    #[test]
    fn every_statement_has_one_line() {
        let line = "| MQTT-1-1 | `pings` |\n";
        assert_eq!(findings(&format!("## 3.1.1\n{line}## 5.0\n{line}")).len(), 0);
        assert_eq!(findings(&format!("## 3.1.1\n{line}")), ["MQTT-1-1 of 5.0 has no line"]);
        assert_eq!(findings(&format!("## 3.1.1\n{line}{line}## 5.0\n{line}")).len(), 1);
        let unknown = "| MQTT-9-9 | `pings` |\n";
        assert_eq!(findings(&format!("## 3.1.1\n{line}## 5.0\n{line}{unknown}")).len(), 1);
    }
}
