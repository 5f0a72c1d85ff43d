//! `cargo xtask tidy`: the rules about the source that no compiler checks.
//!
//! * [`text`]: line and file lengths, blanks, paths of somebody's machine.
//! * [`functions`]: how long functions are.
//! * [`boundaries`]: which crate may know what, after the table in `ARCHITECTURE.md`.
//! * [`dependencies`]: every dependency has its line in `docs/dependencies.md`.
//! * [`conformance`]: every normative statement has a test, or a reason why not.
//! * [`allow`]: exceptions, each with a reason, in `xtask/tidy-allow.txt`.
//! * [`tree`]: the files all this is about.

mod allow;
mod boundaries;
mod conformance;
mod dependencies;
mod functions;
mod text;
mod tree;

use allow::Allowed;
use anyhow::Result;
use tree::Tree;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, from the repository's root.
    path: String,
    /// The line, from 1; 0: the file as a whole.
    line: usize,
    /// The rule's name, as the allow-list writes it.
    rule: String,
    /// What is wrong, and what to do.
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, rule: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule: rule.to_owned(), what: what.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {} [{}]", self.path, self.what, self.rule),
            line => write!(f, "{}:{line}: {} [{}]", self.path, self.what, self.rule),
        }
    }
}

/// Checks everything and prints what is wrong; whether nothing is.
///
/// # Errors
/// If files cannot be read.
pub(crate) fn run() -> Result<bool> {
    let tree = Tree::read(crate::root())?;
    let findings = check(&tree)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: {} files, nothing to say", tree.files.len()),
        count => println!("tidy: {count} findings"),
    }
    Ok(findings.is_empty())
}

fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = text::check(tree);
    findings.extend(functions::check(tree));
    findings.extend(boundaries::check(tree)?);
    findings.extend(dependencies::check(tree)?);
    findings.extend(conformance::check(tree));
    let mut findings = Allowed::read(tree)?.apply(findings);
    findings.sort();
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let tree = Tree::read(crate::root()).expect("the tree can be read");
        let findings = check(&tree).expect("the lists can be read");
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{}", lines.join("\n"));
    }
}
