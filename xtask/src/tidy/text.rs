//! Lines and files as text.

use super::tree::File;
use super::{Finding, Tree};

/// Columns in a line of code, at most.
const LINE_COLUMNS_MAX: usize = 100;

/// Lines in a file of code, at most.
const FILE_LINES_MAX: usize = 600;

/// Kinds of files that are code.
const CODE: [&str; 6] = [".rs", ".py", ".mjs", ".sh", ".toml", ".js"];

/// Where somebody's machine shows. Put together here, so that this file is none of them.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/opt/", "stock"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Made by their tools.
    if file.path.ends_with(".lock") || file.path.ends_with("package-lock.json") {
        return findings;
    }
    let mut add = |line, rule, what: String| {
        findings.push(Finding::new(&file.path, line, rule, what));
    };
    let code = CODE.iter().any(|end| file.path.ends_with(end));
    for (index, text) in file.text.lines().enumerate() {
        let line = index + 1;
        let columns = text.chars().count();
        if code && columns > LINE_COLUMNS_MAX {
            add(line, "line-length", format!("{columns} columns of {LINE_COLUMNS_MAX}"));
        }
        if text.contains('\t') && !file.path.ends_with("Makefile") {
            add(line, "tab", "a tab; indent with blanks".to_owned());
        }
        if text.ends_with([' ', '\r']) {
            add(line, "trailing-blank", "a blank at the line's end".to_owned());
        }
        if let Some(path) = MACHINE_PATHS.iter().find(|path| text.contains(**path)) {
            add(line, "machine-path", format!("{path} is a path of somebody's machine"));
        }
    }
    let lines = file.text.lines().count();
    if code && lines > FILE_LINES_MAX {
        add(0, "file-length", format!("{lines} lines of {FILE_LINES_MAX}: find its second noun"));
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        add(lines, "last-line", "the last line does not end".to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(usize, String)> {
        let findings = check(&Tree::of(&[(path, text)]));
        findings.into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn what_no_line_may_have() {
        assert_eq!(rules("a.md", "fine\n"), []);
        assert_eq!(rules("a.md", "a\tb\nc \n"), [(1, "tab".into()), (2, "trailing-blank".into())]);
        let path = format!("see {}x\n", MACHINE_PATHS[0]);
        assert_eq!(rules("a.md", &path), [(1, "machine-path".into())]);
        assert_eq!(rules("a.md", "no end"), [(1, "last-line".into())]);
    }

    #[test]
    fn code_is_narrow_and_short() {
        let wide = format!("{}\n", "é".repeat(LINE_COLUMNS_MAX + 1));
        assert_eq!(rules("a.py", &wide), [(1, "line-length".into())]);
        assert_eq!(rules("a.py", &wide.replacen('é', "", 1)), []);
        assert_eq!(rules("a.md", &wide), []);
        let long = "#\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(rules("a.py", &long), [(0, "file-length".into())]);
        assert_eq!(rules("a.py", &long[2..]), []);
    }
}
