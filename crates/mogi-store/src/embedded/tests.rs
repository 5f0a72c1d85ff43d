use super::*;
use crate::conformance::{
    self, Open, assigned, delivered, enqueued, message, released, retained_set, session_set,
};
use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn options(dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions { sync: Sync::Off, ..EmbeddedOptions::new(dir) }
}

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(options(dir)).expect("a store")
}

fn new_dir() -> TempDir {
    TempDir::new().expect("a directory")
}

/// What `kill -9` does: nothing is written any more.
fn kill(mut store: EmbeddedStore) {
    store.front = None;
}

/// A store that is killed instead of closed.
struct Killed(EmbeddedStore);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.front = None;
    }
}

impl Store for Killed {
    fn write(&mut self, batches: &[&[StoreOp]]) -> Result<(), StoreError> {
        self.0.write(batches)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.0.sync()
    }

    fn load(&mut self, visit: &mut dyn FnMut(Loaded)) -> Result<LoadReport, StoreError> {
        self.0.load(visit)
    }

    fn fetch(
        &mut self,
        session: SessionNo,
        entries: &[EntryNo],
        out: &mut Vec<(EntryNo, StoredDelivery)>,
    ) -> Result<(), StoreError> {
        self.0.fetch(session, entries, out)
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn tick(&mut self) -> Result<bool, StoreError> {
        self.0.tick()
    }
}

/// The report, and the numbers of entries that wait.
fn load(store: &mut EmbeddedStore) -> (LoadReport, Vec<u64>) {
    let mut waiting = Vec::new();
    let report = store.load(&mut |loaded| match loaded {
        Loaded::Session(session) => {
            waiting.extend(session.waiting.iter().map(|it| it.entry.0));
        }
        Loaded::Anew => waiting.clear(),
        _ => {}
    });
    (report.expect("it loads"), waiting)
}

#[test]
fn it_conforms() {
    conforms(&|dir| Box::new(open(dir)));
}

/// Each store goes on from its log.
#[test]
fn it_conforms_when_it_is_killed() {
    conforms(&|dir| Box::new(Killed(open(dir))));
}

/// The log is full after each commit, so that it begins anew or goes to the tables.
#[test]
fn it_conforms_with_a_short_log() {
    for (log_bytes, young_bytes) in [(1, 1 << 20), (1 << 20, 1), (300, 600)] {
        conforms(&|dir| {
            let young_max = Duration::ZERO;
            let short = EmbeddedOptions { log_bytes, young_bytes, young_max, ..options(dir) };
            Box::new(Killed(EmbeddedStore::open(short).expect("a store")))
        });
    }
}

/// Bodies for all messages, however short.
#[test]
fn it_conforms_with_shared_messages_only() {
    conforms(&|dir| {
        let shared = EmbeddedOptions { share_from_bytes: 0, ..options(dir) };
        Box::new(EmbeddedStore::open(shared).expect("a store"))
    });
}

fn conforms(open: &dyn Fn(&Path) -> Box<dyn Store>) {
    // In memory where there is such a place: new stores are synced, and these are many.
    let new_dir = || TempDir::new_in("/dev/shm").unwrap_or_else(|_| new_dir());
    let dir = RefCell::new(new_dir());
    conformance::run(&mut |which| {
        if which == Open::Empty {
            dir.replace(new_dir());
        }
        open(dir.borrow().path())
    });
}

#[test]
fn a_second_broker_is_refused() {
    let dir = new_dir();
    let store = open(dir.path());
    let error = EmbeddedStore::open(options(dir.path())).map(|_| ()).expect_err("it is taken");
    assert_eq!(error.kind, ErrorKind::Locked);
    let text = error.to_string();
    assert!(text.contains(&format!("process {} has it open", std::process::id())), "{text}");
    drop(store);
    open(dir.path());
}

#[test]
fn a_later_format_is_refused_by_name() {
    let dir = new_dir();
    drop(open(dir.path()));
    let format = dir.path().join("format");
    let text = fs::read_to_string(&format).expect("a format file");
    fs::write(&format, text.replace("mogi-store 2", "mogi-store 3")).expect("it is written");
    let error = EmbeddedStore::open(options(dir.path())).map(|_| ()).expect_err("too new");
    assert_eq!(error.kind, ErrorKind::TooNew);
    assert!(error.to_string().contains("format 3"), "{error}");
    assert!(dir.path().join("data").exists(), "nothing was touched");
}

#[test]
fn a_place_that_cannot_be_a_directory_is_told() {
    let dir = new_dir();
    let file = dir.path().join("file");
    fs::write(&file, b"").expect("it is written");
    let error = EmbeddedStore::open(options(&file)).map(|_| ()).expect_err("it is a file");
    assert_eq!(error.path, file);
    assert!(error.to_string().contains("cannot make this directory"), "{error}");
}

/// The log's file, and where its last byte that is not zero stands.
fn log_file(dir: &Path) -> (PathBuf, u64) {
    let path = dir.join("log/1.log");
    let bytes = fs::read(&path).expect("it can be read");
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
    (path, end)
}

/// A store of one session to which entries 1 to 9 were committed, each alone.
fn nine_entries() -> TempDir {
    let dir = new_dir();
    let options = EmbeddedOptions { sync: Sync::Always, ..options(dir.path()) };
    let mut store = EmbeddedStore::open(options).expect("a store");
    store.commit(&[&[session_set(1)]]).expect("it is written");
    for entry in 1..=9 {
        let message = message("t", &[entry as u8; 500]);
        store.commit(&[&[enqueued(1, entry, &message)]]).expect("it is written");
    }
    kill(store);
    dir
}

fn flip(path: &Path, at: u64) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut byte)).expect("a byte");
    file.seek(SeekFrom::Start(at)).expect("it is there");
    file.write_all(&[byte[0] ^ 0x55]).expect("it is written");
}

#[test]
fn a_log_cut_off_anywhere_in_its_last_batch_loses_that_only() {
    for cut in [1, 2, 5, 12, 13, 40, 300, 500] {
        let dir = nine_entries();
        let (path, end) = log_file(dir.path());
        let file = OpenOptions::new().write(true).open(path).expect("a log");
        file.set_len(end - cut).expect("it is cut");
        let mut store = open(dir.path());
        let (report, waiting) = load(&mut store);
        assert_eq!(waiting, [1, 2, 3, 4, 5, 6, 7, 8], "cut {cut}");
        assert!(report.damage.torn_bytes > 0 && !report.damage.any(), "{:?}", report.damage);
        let message = message("t", b"more");
        store.commit(&[&[enqueued(1, 10, &message)]]).expect("it goes on");
        drop(store);
        assert_eq!(load(&mut open(dir.path())).1, [1, 2, 3, 4, 5, 6, 7, 8, 10]);
    }
}

/// As after a power failure that wrote the last batch in part, or not in order.
#[test]
fn a_flipped_byte_in_the_last_batch_loses_that_only() {
    for back in [1, 3, 5, 12, 20, 200, 500, 530] {
        let dir = nine_entries();
        let (path, end) = log_file(dir.path());
        flip(&path, end - back);
        let (report, waiting) = load(&mut open(dir.path()));
        assert_eq!(waiting, [1, 2, 3, 4, 5, 6, 7, 8], "{back} from the end");
        assert!(!report.damage.any(), "{:?}", report.damage);
    }
}

#[test]
fn damage_inside_the_log_is_told_and_kept() {
    let dir = nine_entries();
    let (path, end) = log_file(dir.path());
    flip(&path, end - 3 * 560);
    let (report, waiting) = load(&mut open(dir.path()));
    let left: Vec<u64> = (1..=9).filter(|entry| *entry != 7).collect();
    assert_eq!(waiting, left, "what is behind it is there");
    assert!(report.damage.any() && report.damage.lost_journal_bytes > 500);
    assert!(!report.damage.found.is_empty());
    let copy = &report.damage.set_aside[0];
    assert!(copy.exists() && copy.starts_with(dir.path()));
    let again = load(&mut open(dir.path())).0;
    assert!(!again.damage.any(), "it is told once");
}

#[test]
fn a_damaged_record_is_skipped_counted_and_copied() {
    let dir = nine_entries();
    let mut store = open(dir.path());
    store.commit(&[&[retained_set("r", b"x", 1)]]).expect("it is written");
    store.checkpoint().expect("it is written");
    let open_engine = store.open.as_ref().expect("it is open");
    let mut batch = open_engine.engine.batch(2);
    batch.insert(&open_engine.engine.queue, keys::queue(SessionNo(1), EntryNo(5)), "nonsense");
    batch.insert(&open_engine.engine.retained, "r", [1; 60]);
    open_engine.engine.commit(batch).expect("it is written");
    drop(store);
    let mut store = open(dir.path());
    let (report, waiting) = load(&mut store);
    assert_eq!(waiting, [1, 2, 3, 4, 6, 7, 8, 9]);
    assert_eq!((report.damage.records, report.loaded.retained), (2, 0));
    let text = fs::read_to_string(&report.damage.set_aside[0]).expect("a list");
    let key = "queue 00000000000000010000000000000005";
    assert!(text.contains(key) && text.contains("retained 72"), "{text}");
    drop(store);
    assert!(!load(&mut open(dir.path())).0.damage.any(), "it is told once");
}

#[test]
fn a_store_that_cannot_be_opened_is_set_aside() {
    let dir = nine_entries();
    drop(open(dir.path()));
    fs::write(dir.path().join("data/version"), b"nonsense").expect("it is written");
    let stop = EmbeddedOptions { on_damage: OnDamage::Stop, ..options(dir.path()) };
    let error = EmbeddedStore::open(stop).map(|_| ()).expect_err("it is damaged");
    assert_eq!(error.kind, ErrorKind::Damaged);
    let mut store = open(dir.path());
    let (report, waiting) = load(&mut store);
    // The log still has what was not in it.
    assert_eq!(waiting, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(report.damage.started_anew && report.damage.any());
    assert!(report.damage.set_aside[0].join("version").exists());
    store.commit(&[&[session_set(1)]]).expect("the new one works");
}

#[test]
fn a_lost_session_takes_what_it_had_with_it() {
    let dir = nine_entries();
    let mut store = open(dir.path());
    store.checkpoint().expect("it is written");
    let open_engine = store.open.as_ref().expect("it is open");
    let mut batch = open_engine.engine.batch(1);
    let key = keys::of_session(keys::SESSION, SessionNo(1));
    batch.insert(&open_engine.engine.state, key, "nonsense");
    open_engine.engine.commit(batch).expect("it is written");
    let (report, _) = load(&mut store);
    assert_eq!((report.loaded.sessions, report.damage.records), (0, 1));
    while store.tick().expect("it ticks") {}
    let open_engine = store.open.as_ref().expect("it is open");
    let left = open_engine.engine.queue.prefix(1_u64.to_be_bytes()).count();
    assert_eq!(left, 0, "nothing stays behind");
}

/// Deletes hide what is written behind them if a batch is not in order.
#[test]
fn an_entry_changed_several_times_in_a_commit_ends_as_it_was_last() {
    let dir = new_dir();
    let mut store = open(dir.path());
    let message = message("t", b"x");
    let (there, gone) = (enqueued(1, 5, &message), delivered(1, 5));
    let batch = [session_set(1), there.clone(), gone.clone(), there.clone(), gone, there];
    store.commit(&[&batch]).expect("it is written");
    assert_eq!(load(&mut store).1, [5]);
    drop(store);
    assert_eq!(load(&mut open(dir.path())).1, [5]);
}

/// Whichever session comes first in a checkpoint.
#[test]
fn a_shared_message_stays_although_one_session_has_it_already() {
    let big = message("t", &[7; 4096]);
    for first in 1..=3 {
        let dir = new_dir();
        let mut store = open(dir.path());
        let mut batch: Vec<_> = (1..=3).map(session_set).collect();
        batch.extend((1..=3).map(|session| enqueued(session, session, &big)));
        batch.extend([assigned(first, first, 1), released(first, first)]);
        store.commit(&[&batch]).expect("it is written");
        store.checkpoint().expect("it is written");
        for session in (1..=3).filter(|session| *session != first) {
            let mut out = Vec::new();
            let entries = [EntryNo(session)];
            store.fetch(SessionNo(session), &entries, &mut out).expect("it can be read");
            assert_eq!(out.len(), 1, "session {session}, where {first} has it");
        }
    }
}

/// A block of a table that cannot be read, among many that can.
#[test]
fn a_damaged_table_loses_what_is_in_the_damaged_block() {
    let dir = new_dir();
    let small = EmbeddedOptions { memtable_bytes: 64 << 10, ..options(dir.path()) };
    let mut store = EmbeddedStore::open(small.clone()).expect("a store");
    store.commit(&[&[session_set(1)]]).expect("it is written");
    for entry in 1..=2000 {
        let message = message("t", &[entry as u8; 500]);
        store.commit(&[&[enqueued(1, entry, &message)]]).expect("it is written");
    }
    store.checkpoint().expect("it is written");
    let engine = &store.open.as_ref().expect("it is open").engine;
    engine.queue.rotate_memtable_and_wait().expect("tables are written");
    let tables = engine.queue.path().join("tables");
    drop(store);
    let files = fs::read_dir(tables).expect("a directory").map(|it| it.expect("an entry").path());
    let len = |path: &PathBuf| fs::metadata(path).map_or(0, |it| it.len());
    let largest = files.max_by_key(len).expect("a table");
    // Among the first are messages; further behind a block may be an index of many.
    flip(&largest, len(&largest) / 10);
    let stop = EmbeddedOptions { on_damage: OnDamage::Stop, ..small.clone() };
    let mut stopping = EmbeddedStore::open(stop).expect("it opens");
    let error = stopping.load(&mut |_| {}).expect_err("it is damaged");
    assert_eq!(error.kind, ErrorKind::Damaged);
    drop(stopping);
    let mut store = EmbeddedStore::open(small).expect("it opens");
    let (report, waiting) = load(&mut store);
    let left = waiting.len();
    assert!((1900..2000).contains(&left), "{left} are left");
    assert!(report.damage.any() && report.damage.set_aside[0].exists());
    drop(store);
    assert!(!load(&mut open(dir.path())).0.damage.any(), "it is told once");
}

#[test]
fn a_repair_that_was_interrupted_is_finished() {
    let dir = nine_entries();
    let data = |name: &str| dir.path().join(name);
    fs::rename(data("data"), data("data.new")).expect("it is renamed");
    assert_eq!(load(&mut open(dir.path())).1.len(), 9);
    assert!(!data("data.new").exists());
}
