//! Stores that earlier versions of mogi wrote are read as what was put into them.
//!
//! A fixture is never written again: a store of that version stands on somebody's disk.

mod content;

use mogi_core::store::{EntryNo, SessionNo, StoredDelivery};
use mogi_store::{EmbeddedOptions, EmbeddedStore, Loaded, MemoryStore, Store};
use std::fs;
use std::path::{Path, PathBuf};

/// Everything a store gives back, as text that can be compared.
fn everything(store: &mut dyn Store) -> (Vec<String>, [u64; 3]) {
    let mut all = Vec::new();
    let mut waiting: Vec<(SessionNo, Vec<EntryNo>)> = Vec::new();
    let report = store.load(&mut |loaded| match loaded {
        Loaded::Session(mut session) => {
            session.subscriptions.sort_by(|a, b| a.filter.cmp(&b.filter));
            session.received.sort_unstable();
            let entries = session.waiting.iter().map(|waiting| waiting.entry).collect();
            waiting.push((session.session, entries));
            all.push(format!("{session:?}"));
        }
        Loaded::Alive { .. } | Loaded::Progress(_) => {}
        other => all.push(format!("{other:?}")),
    });
    let report = report.expect("it can be read");
    assert_eq!(report.damage, mogi_store::Damage::default());
    for (session, entries) in waiting {
        let mut out: Vec<(EntryNo, StoredDelivery)> = Vec::new();
        store.fetch(session, &entries, &mut out).expect("it can be read");
        assert_eq!(out.len(), entries.len());
        all.extend(out.into_iter().map(|fetched| format!("{session:?} {fetched:?}")));
    }
    all.sort();
    (all, [report.last_session.0, report.last_entry.0, report.last_version])
}

fn expected() -> (Vec<String>, [u64; 3]) {
    let mut store = MemoryStore::new();
    for batch in content::batches() {
        store.commit(&[&batch]).expect("memory takes it");
    }
    everything(&mut store)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

fn opened(version: &str, check: impl FnOnce(&Path, EmbeddedStore)) {
    let fixtures: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures"].iter().collect();
    let dir = tempfile::tempdir().expect("a folder");
    copy(&fixtures.join(version), dir.path());
    let store = EmbeddedStore::open(EmbeddedOptions::new(dir.path())).expect("it opens");
    check(dir.path(), store);
}

#[test]
fn a_store_of_version_1_is_read() {
    is_read("store-v1");
}

#[test]
fn a_store_of_version_2_is_read() {
    is_read("store-v2");
}

fn is_read(version: &str) {
    opened(version, |dir, mut store| {
        assert_eq!(everything(&mut store), expected());
        // And it goes on: what is written now is there the next time.
        let end = mogi_core::store::StoreOp::SessionEnd { session: SessionNo(1) };
        store.commit(&[&[end]]).expect("it is written");
        drop(store);
        let format = fs::read_to_string(dir.join("format")).expect("a format file");
        assert!(format.starts_with("mogi-store 2\n"), "an earlier mogi does not open it");
        let mut store = EmbeddedStore::open(EmbeddedOptions::new(dir)).expect("it opens");
        let (left, _) = everything(&mut store);
        let (before, _) = expected();
        let of_session_1 = |line: &&String| line.contains("SessionNo(1)");
        assert_eq!(left.len(), before.len() - before.iter().filter(of_session_1).count());
    });
}

#[test]
fn the_fixtures_have_tables_and_a_journal_or_a_log() {
    has_tables_and("store-v1", &["data/0.jnl", "data/1.jnl"]);
    has_tables_and("store-v2", &["log/0.log", "log/1.log"]);
}

fn has_tables_and(version: &str, files: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version);
    let journal = files.iter().find_map(|file| fs::read(root.join(file)).ok());
    let root = root.join("data");
    assert!(journal.is_some_and(|bytes| !bytes.is_empty()));
    let keyspaces = fs::read_dir(root.join("keyspaces")).expect("a folder").flatten();
    let tables: usize = keyspaces
        .filter(|entry| entry.file_name() != "0")
        .filter_map(|entry| Some(fs::read_dir(entry.path().join("tables")).ok()?.count()))
        .sum();
    assert!(tables > 0);
}
