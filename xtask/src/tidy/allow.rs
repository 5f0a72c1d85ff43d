//! Exceptions to the rules: `xtask/tidy-allow.txt`.

use super::{Finding, Tree};
use anyhow::{Result, ensure};

const PATH: &str = "xtask/tidy-allow.txt";

/// The list's lines.
pub(super) struct Allowed {
    entries: Vec<Entry>,
}

struct Entry {
    line: usize,
    path: String,
    rule: String,
}

impl Allowed {
    /// Reads the list.
    ///
    /// # Errors
    /// If a line has no reason.
    pub(super) fn read(tree: &Tree) -> Result<Self> {
        let mut entries = Vec::new();
        for (index, text) in tree.text(PATH).lines().enumerate() {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let line = index + 1;
            let fields: Vec<&str> = text.splitn(3, ' ').collect();
            ensure!(fields.len() == 3, "{PATH}:{line}: not PATH RULE REASON: {text:?}");
            let [path, rule] = [fields[0], fields[1]].map(ToOwned::to_owned);
            entries.push(Entry { line, path, rule });
        }
        Ok(Self { entries })
    }

    /// Takes away what is allowed, and adds the exceptions nobody needs any more.
    pub(super) fn apply(self, findings: Vec<Finding>) -> Vec<Finding> {
        let fits = |entry: &Entry, finding: &Finding| {
            entry.path == finding.path && entry.rule == finding.rule
        };
        let idle = self.entries.iter().filter(|entry| !findings.iter().any(|it| fits(entry, it)));
        let idle: Vec<_> = idle
            .map(|entry| {
                let what = format!("nothing breaks {} in {} any more", entry.rule, entry.path);
                Finding::new(PATH, entry.line, "allow", what)
            })
            .collect();
        let kept = findings.into_iter();
        kept.filter(|finding| !self.entries.iter().any(|entry| fits(entry, finding)))
            .chain(idle)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_holds_for_its_rule_and_has_to_be_needed() {
        let list = "# list\na.rs file-length a table\nb.rs file-length gone\n";
        let allowed = Allowed::read(&Tree::of(&[(PATH, list)])).expect("a valid list");
        let long = Finding::new("a.rs", 0, "file-length", "");
        let tab = Finding::new("a.rs", 3, "tab", "");
        let left = allowed.apply(vec![long, tab.clone()]);
        assert_eq!(left.len(), 2);
        assert_eq!(left[0], tab);
        assert_eq!((left[1].path.as_str(), left[1].line), (PATH, 3));
    }

    #[test]
    fn an_exception_needs_a_reason() {
        assert!(Allowed::read(&Tree::of(&[(PATH, "a.rs file-length\n")])).is_err());
    }
}
