//! Which crate may know what.
//!
//! The table below says the same as `ARCHITECTURE.md`. What a crate of the lower rooms must not
//! know is looked for in its code that is not for tests: paths, `use`s, and words in macros.

use super::tree::File;
use super::{Finding, Tree};
use anyhow::{Context, Result};
use syn::visit::{self, Visit};

/// What one crate may know.
struct Room {
    name: &'static str,
    /// The crates of this workspace it may depend on.
    may_use: &'static [&'static str],
    /// No sockets, files, threads, processes or clocks, and no crate that has them.
    pure: bool,
}

const ROOMS: [Room; 10] = [
    Room { name: "mogi-codec", may_use: &[], pure: true },
    Room { name: "mogi-core", may_use: &["mogi-codec"], pure: true },
    Room { name: "mogi-auth", may_use: &["mogi-codec"], pure: true },
    Room { name: "mogi-store", may_use: &["mogi-codec", "mogi-core"], pure: false },
    Room { name: "mogi-client", may_use: &["mogi-codec", "mogi-transport"], pure: false },
    Room { name: "mogi-tools", may_use: &["mogi-auth", "mogi-client", "mogi-codec"], pure: false },
    Room { name: "mogi-transport", may_use: &[UNSAFE_CRATE], pure: false },
    Room { name: UNSAFE_CRATE, may_use: &[], pure: false },
    Room {
        name: "mogi",
        may_use: &[
            "mogi-auth",
            "mogi-codec",
            "mogi-core",
            "mogi-store",
            "mogi-client",
            "mogi-tools",
            "mogi-transport",
        ],
        pure: false,
    },
    Room { name: "xtask", may_use: &["mogi-codec"], pure: false },
];

/// The only crate in which `unsafe` may stand, in one file.
const UNSAFE_CRATE: &str = "mogi-psk-hint";

/// The part of `mogi-store` that may use sockets and a runtime; nothing else in it may.
const WIRE: &str = "crates/mogi-store/src/redis/";

/// What only that part may name.
const WIRE_PATHS: [&str; 5] = ["std::net", "tokio", "tokio_rustls", "rustls", "mio"];

/// Crates that a pure room does not depend on: they do I/O, tell the time, or throw dice.
const IMPURE_CRATES: [&str; 11] = [
    "mio",
    "tokio",
    "socket2",
    "nix",
    "libc",
    "rustix",
    "rustls",
    "tungstenite",
    "rand",
    "getrandom",
    "jiff",
];

/// The same in the standard library, and where a clock is read.
const IMPURE_PATHS: [&str; 8] = [
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "Instant::now",
    "SystemTime::now",
];

/// What may not be named somewhere, and why not.
struct Ban {
    paths: &'static [&'static str],
    why: &'static str,
}

const PURE: Ban =
    Ban { paths: &IMPURE_PATHS, why: "has no place in a crate without I/O and clock" };

const OFF_THE_WIRE: Ban =
    Ban { paths: &WIRE_PATHS, why: "has no place in this crate outside of src/redis" };

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = check_lints(tree)?;
    for manifest in tree.ending("Cargo.toml") {
        // The root has no package, and the fuzz targets are no part of the program.
        let Some(folder) = manifest.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        if folder == "fuzz" {
            continue;
        }
        findings.extend(check_manifest(manifest)?);
        let name = folder.rsplit('/').next().unwrap_or(folder);
        if ROOMS.iter().any(|room| room.name == name && room.pure) {
            let sources = tree.files.iter().filter(|file| {
                let inside = file.path.strip_prefix(folder);
                inside.is_some_and(|rest| rest.starts_with("/src/"))
            });
            findings.extend(check_sources(&sources.collect::<Vec<_>>(), &PURE));
        }
        if name == "mogi-store" {
            let sources = tree.files.iter().filter(|file| {
                let inside = file.path.strip_prefix(folder);
                let inside = inside.is_some_and(|rest| rest.starts_with("/src/"));
                inside && !file.path.starts_with(WIRE)
            });
            findings.extend(check_sources(&sources.collect::<Vec<_>>(), &OFF_THE_WIRE));
        }
    }
    Ok(findings)
}

/// `unsafe` is forbidden for the whole workspace, in one place.
fn check_lints(tree: &Tree) -> Result<Vec<Finding>> {
    let root: toml::Table = tree.text("Cargo.toml").parse().context("Cargo.toml")?;
    let lints = root.get("workspace").and_then(|it| it.get("lints")).and_then(|it| it.get("rust"));
    let lint = lints.and_then(|it| it.get("unsafe_code")).and_then(toml::Value::as_str);
    if lint == Some("forbid") {
        return Ok(Vec::new());
    }
    let what = "unsafe_code is not forbidden in workspace.lints.rust";
    Ok(vec![Finding::new("Cargo.toml", 0, "unsafe", what)])
}

fn check_manifest(manifest: &File) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut add = |rule, what: String| findings.push(Finding::new(&manifest.path, 0, rule, what));
    let table: toml::Table = manifest.text.parse().with_context(|| manifest.path.clone())?;
    let name = table.get("package").and_then(|it| it.get("name")).and_then(toml::Value::as_str);
    let Some(room) = ROOMS.iter().find(|room| Some(room.name) == name) else {
        let what = "a new crate: give it a room in xtask/src/tidy/boundaries.rs".to_owned();
        add("boundary", what);
        return Ok(findings);
    };
    let lints = table.get("lints").and_then(|it| it.get("workspace"));
    if lints.and_then(toml::Value::as_bool) != Some(true) && room.name != UNSAFE_CRATE {
        add("unsafe", "does not take the workspace's lints".to_owned());
    }
    let dependencies = table.get("dependencies").and_then(toml::Value::as_table);
    for dependency in dependencies.into_iter().flat_map(|table| table.keys()) {
        let ours = dependency.starts_with("mogi");
        if ours && !room.may_use.contains(&&**dependency) {
            add("boundary", format!("{} must not depend on {dependency}", room.name));
        }
        if room.pure && IMPURE_CRATES.contains(&&**dependency) {
            add("boundary", format!("{} knows no I/O, and {dependency} is I/O", room.name));
        }
    }
    Ok(findings)
}

fn check_sources(sources: &[&File], ban: &Ban) -> Vec<Finding> {
    let mut modules = TestModules::default();
    for file in sources {
        if let Some(rust) = &file.rust {
            modules.visit_file(rust);
        }
    }
    let mut findings = Vec::new();
    for file in sources {
        let Some(rust) = &file.rust else { continue };
        // `#[cfg(test)] mod tests;` stands in `tests.rs` or under `tests/`.
        let test = file.path.split('/').any(|part| {
            modules.0.iter().any(|name| part == name || part.strip_suffix(".rs") == Some(name))
        });
        if !test {
            let mut impure = Impure { path: &file.path, ban, findings: &mut findings };
            impure.visit_file(rust);
        }
    }
    findings
}

/// The names of modules that are compiled for tests only and stand in files of their own.
#[derive(Default)]
struct TestModules(Vec<String>);

impl<'ast> Visit<'ast> for TestModules {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_none() && for_tests(&item.attrs) {
            self.0.push(item.ident.to_string());
        }
        visit::visit_item_mod(self, item);
    }
}

struct Impure<'a> {
    path: &'a str,
    ban: &'a Ban,
    findings: &'a mut Vec<Finding>,
}

impl Impure<'_> {
    fn check(&mut self, span: proc_macro2::Span, path: &str) {
        let within = |impure: &&&str| {
            let rest = path.strip_prefix(**impure);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
                || path.ends_with(&format!("::{impure}"))
        };
        if let Some(impure) = self.ban.paths.iter().find(within) {
            let what = format!("{impure} {}", self.ban.why);
            self.findings.push(Finding::new(self.path, span.start().line, "boundary", what));
        }
    }

    /// All paths a `use` names, `std::{net, time::Instant}` taken apart.
    fn check_use(&mut self, prefix: &str, tree: &syn::UseTree) {
        let join = |name: &syn::Ident| {
            if prefix.is_empty() { name.to_string() } else { format!("{prefix}::{name}") }
        };
        match tree {
            syn::UseTree::Path(path) => self.check_use(&join(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.check(name.ident.span(), &join(&name.ident)),
            syn::UseTree::Rename(name) => self.check(name.ident.span(), &join(&name.ident)),
            syn::UseTree::Glob(glob) => self.check(glob.star_token.spans[0], prefix),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.check_use(prefix, tree);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Impure<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attrs = match item {
            syn::Item::Fn(it) => &it.attrs,
            syn::Item::Impl(it) => &it.attrs,
            syn::Item::Mod(it) => &it.attrs,
            syn::Item::Use(it) => &it.attrs,
            _ => &Vec::new(),
        };
        if !for_tests(attrs) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.check_use("", &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if let Some(first) = path.segments.first() {
            self.check(first.ident.span(), &names.join("::"));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let text = item.tokens.to_string().replace(' ', "");
        for path in self.ban.paths.iter().filter(|path| text.contains(**path)) {
            let span = item.path.segments[0].ident.span();
            self.check(span, path);
        }
        visit::visit_macro(self, item);
    }
}

fn for_tests(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let test = attr.path().is_ident("cfg")
            && attr.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"));
        test || attr.path().is_ident("test")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(source: &str) -> Vec<(usize, String)> {
        let tree = Tree::of(&[("crates/mogi-core/src/a.rs", source)]);
        let sources: Vec<_> = tree.files.iter().collect();
        let findings = check_sources(&sources, &PURE);
        findings.into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn a_pure_crate_names_no_impure_path() {
        let boundary = |line| vec![(line, "boundary".to_owned())];
        assert_eq!(core("use std::time::{Duration, Instant};\n"), []);
        assert_eq!(core("use std::net::TcpStream;\n"), boundary(1));
        assert_eq!(core("use std::{time::Duration,\n net};\n"), boundary(2));
        assert_eq!(core("fn a() {\n let t = Instant::now();\n}\n"), boundary(2));
        assert_eq!(core("fn a() {\n let t = std::time::SystemTime::now();\n}\n"), boundary(2));
        assert_eq!(core("fn a() { assert!(std::thread::panicking()); }\n"), boundary(1));
        assert_eq!(core("fn a() { std::netting::a(); }\n"), []);
    }

    #[test]
    fn only_the_redis_backend_of_the_store_has_sockets() {
        let manifest = "[package]\nname = \"mogi-store\"\n[lints]\nworkspace = true\n";
        let root = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n";
        let count = |path| {
            let tree = Tree::of(&[
                ("Cargo.toml", root),
                ("crates/mogi-store/Cargo.toml", manifest),
                (path, "use tokio::net::TcpStream;\nuse std::thread;\n"),
            ]);
            check(&tree).expect("valid TOML").iter().filter(|it| it.path == path).count()
        };
        assert_eq!(count("crates/mogi-store/src/redis/wire/lane.rs"), 0);
        assert_eq!(count("crates/mogi-store/src/store.rs"), 1);
    }

    #[test]
    fn tests_may_do_what_they_want() {
        assert_eq!(core("#[cfg(test)]\nmod tests { use std::net::TcpStream; }\n"), []);
        assert_eq!(core("#[cfg(not(test))]\nmod a { use std::net::TcpStream; }\n").len(), 1);
        let tree = Tree::of(&[
            ("crates/mogi-core/src/lib.rs", "#[cfg(test)] mod tests;\n"),
            ("crates/mogi-core/src/tests.rs", "use std::fs;\n"),
        ]);
        assert_eq!(check_sources(&tree.files.iter().collect::<Vec<_>>(), &PURE), []);
    }

    #[test]
    fn one_crate_may_be_unsafe() {
        let findings = |name: &str| {
            let text =
                format!("[package]\nname = \"{name}\"\n[lints.rust]\nunsafe_code = \"deny\"\n");
            let tree = Tree::of(&[("crates/a/Cargo.toml", &text)]);
            check_manifest(&tree.files[0]).expect("valid TOML").len()
        };
        assert_eq!((findings(UNSAFE_CRATE), findings("mogi-transport")), (0, 1));
    }

    #[test]
    fn dependencies_point_down_only() {
        let manifest = |name: &str, dependency: &str| {
            let text = format!(
                "[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n\
                 [dependencies]\n{dependency} = \"1\"\n"
            );
            let tree = Tree::of(&[("crates/a/Cargo.toml", &text)]);
            check_manifest(&tree.files[0]).expect("valid TOML").len()
        };
        assert_eq!(manifest("mogi-core", "mogi-codec"), 0);
        assert_eq!(manifest("mogi-codec", "mogi-core"), 1);
        assert_eq!(manifest("mogi-core", "mio"), 1);
        assert_eq!(manifest("mogi", "mio"), 0);
        assert_eq!(manifest("mogi-new", "slab"), 1);
    }
}
