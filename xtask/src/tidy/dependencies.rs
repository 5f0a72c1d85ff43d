//! Every dependency has its line in `docs/dependencies.md`, and every line its dependency.

use super::{Finding, Tree};
use anyhow::{Context, Result};
use std::collections::BTreeSet;

const PATH: &str = "docs/dependencies.md";

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut used = BTreeSet::new();
    for manifest in tree.ending("Cargo.toml") {
        let table: toml::Table = manifest.text.parse().with_context(|| manifest.path.clone())?;
        used.extend(dependencies(&table));
    }
    let listed = listed(tree.text(PATH));
    let mut findings = Vec::new();
    for name in used.difference(&listed) {
        let what = format!("{name} has no line here: | {name} | where | why |");
        findings.push(Finding::new(PATH, 0, "dependency", what));
    }
    for name in listed.difference(&used) {
        let what = format!("{name} stands here, and no crate uses it");
        findings.push(Finding::new(PATH, 0, "dependency", what));
    }
    Ok(findings)
}

/// The other people's crates a package uses, for its work and its tests.
fn dependencies(table: &toml::Table) -> BTreeSet<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let mut tables: Vec<_> = kinds.iter().filter_map(|kind| table.get(*kind)).collect();
    let targets = table.get("target").and_then(toml::Value::as_table);
    for target in targets.into_iter().flat_map(|targets| targets.values()) {
        tables.extend(kinds.iter().filter_map(|kind| target.get(*kind)));
    }
    let names = tables.into_iter().filter_map(toml::Value::as_table).flat_map(toml::Table::keys);
    names.filter(|name| !name.starts_with("mogi")).cloned().collect()
}

/// The names in the first column of the tables.
fn listed(text: &str) -> BTreeSet<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    let names = cells.map(|cell| cell.trim().trim_matches('`'));
    let heading =
        |name: &&str| !name.is_empty() && *name != "crate" && !name.starts_with(['-', ':']);
    names.filter(heading).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_dependencies_belong_together() {
        let manifest = "[dependencies]\nmio = \"1\"\nmogi-codec = \"1\"\n\
            [target.'cfg(unix)'.dev-dependencies]\nnix = \"1\"\n";
        let page = |lines: &str| format!("| crate | where | why |\n|---|---|---|\n{lines}");
        let count = |lines| {
            let tree = Tree::of(&[("a/Cargo.toml", manifest), (PATH, &page(lines))]);
            check(&tree).expect("valid TOML").len()
        };
        assert_eq!(count("| mio | a | b |\n| `nix` | a | b |\n"), 0);
        assert_eq!(count("| mio | a | b |\n"), 1);
        assert_eq!(count("| mio | a | b |\n| nix | a | b |\n| slab | a | b |\n"), 1);
    }
}
