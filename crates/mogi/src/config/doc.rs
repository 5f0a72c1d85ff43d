//! The page about all options, made of the table: docs/configuration.md and `--list-options`.

use crate::config::table::{Scope, Status, TABLE};
use std::fmt::Write as _;

const HEAD: &str = "# Configuration\n\n\
    mogi reads Mosquitto's `mosquitto.conf`. Its own options may stand in the same file, in a \
    `mogi.conf` beside it, or in the file that `--mogi-config` names, so that the first file \
    stays valid for Mosquitto. An option that is not built yet stops start-up.\n\n\
    This page is what `mogi --list-options` prints; `UPDATE_DOCS=1 cargo test -p mogi \
    configuration_page` writes it anew.\n";

const SECTIONS: [(Scope, &str); 6] = [
    (Scope::Mogi, "mogi's own"),
    (Scope::Global, "The broker"),
    (Scope::Listener, "Listeners"),
    (Scope::Security, "Security: all listeners, or one under `per_listener_settings`"),
    (Scope::Bridge, "Bridges"),
    (Scope::Plugin, "Plugins"),
];

/// The page, as Markdown.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for (scope, title) in SECTIONS {
        let _ = write!(page, "\n## {title}\n\n| option | default | what it does | in mogi |\n");
        page.push_str("| --- | --- | --- | --- |\n");
        for spec in TABLE.iter().filter(|spec| spec.scope == scope) {
            let status = match spec.status {
                Status::Works(_) => "works".to_owned(),
                Status::NoEffect(why) => format!("no effect: {why}"),
                Status::NotYet => "not yet".to_owned(),
            };
            let name = spec.name.replace('*', "\\*");
            let _ = writeln!(page, "| {name} | {} | {} | {status} |", spec.default, spec.doc);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_page_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let page = page();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).expect("writes the page");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page, "docs/configuration.md is old; run with UPDATE_DOCS=1");
    }

    #[test]
    fn no_option_stands_twice() {
        let mut names: Vec<_> = TABLE.iter().map(|spec| spec.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
