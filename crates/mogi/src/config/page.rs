//! The page about all options, made of the table: docs/configuration.md and `--list-options`.

use super::table::{self, Scope, Spec, Status};
use std::fmt::Write as _;

const HEAD: &str = "\
# Configuration

mogi reads Mosquitto's `mosquitto.conf`, by Mosquitto's rules:

* A line is an option's name, one blank, and its value. It is a comment only if `#` is its very
  first character.
* Numbers may be decimal, octal (`010` is 8) or hexadecimal (`0x10`). Switches are `true`,
  `false`, `1` or `0`.
* An option of a listener belongs to the last `listener` above it; where there is none, to the
  *default listener*, which is open on port 1883 as soon as `port`, `bind_address` or any
  `listener` stands in the file. Without these mogi starts in *local only mode*: only clients of
  the same machine can connect, without a user name.
* An option that does not exist ends the start with exit code 3 and the line it stands on; so does
  one that is **not yet** built into mogi, unless its value is the default.

mogi's own options may stand in the same file, in a `mogi.conf` beside it, or in the file that
`--mogi-config` names, so that the first file stays valid for Mosquitto and the way back is
starting the other program. `mogi -c FILE --test-config` says what each listener will do.

The column *reload* says when a change of the file counts: on SIGHUP, after a restart, or, for
bridges, as `bridge_reload_type` says. SIGHUP reads the file and all files it names again; what
Mosquitto reloads mogi reloads as well, and some more. Listeners cannot come, go or move. Changes
that need a restart are told in the log. If there is a mistake anywhere, the log says where, and
everything stays as it was. What clients were told when they connected stays for them.

This page is what `mogi --list-options` prints; `UPDATE_DOCS=1 cargo test -p mogi
configuration_page` writes it anew.
";

/// The page, as Markdown.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for (title, rows) in table::sections() {
        let _ = write!(
            page,
            "\n## {title}\n\n| option | value | default | what it does | reload | in mogi |\n\
             | --- | --- | --- | --- | --- | --- |\n"
        );
        for spec in rows {
            let name = spec.name.replace('*', "\\*");
            let (value, default, doc) = (spec.value, spec.default, doc(spec));
            let (reload, status) = (super::reload::when(spec), status(spec));
            let _ =
                writeln!(page, "| {name} | {value} | {default} | {doc} | {reload} | {status} |");
        }
    }
    page
}

fn doc(spec: &Spec) -> String {
    let mut doc = spec.doc.to_owned();
    if spec.scope == Scope::ListenerAbove {
        doc.push_str("; needs a `listener` above");
    }
    if spec.scope == Scope::DefaultListener {
        doc.push_str("; makes the default listener the one the following lines belong to");
    }
    if !spec.quirk.is_empty() {
        let _ = write!(doc, "; {}", spec.quirk);
    }
    match spec.deprecated {
        None => {}
        Some("") => doc.push_str("; deprecated in Mosquitto"),
        Some(instead) => {
            let instead = instead.replace('\'', "`");
            let _ = write!(doc, "; deprecated in Mosquitto: {}", instead.trim_end_matches('.'));
        }
    }
    doc
}

fn status(spec: &Spec) -> String {
    match spec.status {
        Status::Works(_) => "works".to_owned(),
        Status::NoEffect(_, why) => format!("no effect: {why}"),
        Status::NotYet => "not yet".to_owned(),
    }
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
        let mut names: Vec<_> = table::all().map(|spec| spec.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(all > 150, "options were lost: {all}");
    }

    #[test]
    fn sections_are_sorted() {
        for (title, rows) in table::sections() {
            assert!(rows.is_sorted_by_key(|spec| spec.name), "{title}");
        }
    }
}
