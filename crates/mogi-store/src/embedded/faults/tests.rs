use super::disk::{Faulty, Odds};
use crate::conformance::{enqueued, groups, message, session_set};
use crate::embedded::{EmbeddedOptions, EmbeddedStore, Snapshot, place};
use crate::error::{ErrorKind, StoreError};
use crate::memory::MemoryStore;
use crate::ops::{SessionNo, StoreOp};
use crate::store::{Loaded, Store};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// All a store gives back, and its messages, as text.
fn everything(store: &mut dyn Store) -> Result<Vec<String>, StoreError> {
    let mut all = Vec::new();
    let mut waiting: Vec<(SessionNo, Vec<_>)> = Vec::new();
    let report = store.load(&mut |loaded| match loaded {
        Loaded::Session(mut session) => {
            session.subscriptions.sort_by(|a, b| a.filter.cmp(&b.filter));
            session.received.sort_unstable();
            let entries = session.waiting.iter().map(|waiting| waiting.entry).collect();
            waiting.push((session.session, entries));
            all.push(format!("{session:?}"));
        }
        Loaded::Alive { .. } | Loaded::Progress(_) => {}
        Loaded::Anew => panic!("nothing is damaged"),
        other => all.push(format!("{other:?}")),
    })?;
    assert!(!report.damage.any(), "{:?}", report.damage);
    for (session, entries) in waiting {
        let mut out = Vec::new();
        store.fetch(session, &entries, &mut out)?;
        assert_eq!(out.len(), entries.len());
        all.extend(out.into_iter().map(|fetched| format!("{session:?} {fetched:?}")));
    }
    all.sort();
    Ok(all)
}

/// What a broker does not do is taken out, as a group that is tried twice would not come to the
/// same then: entries are not changed before they are there. And each change of a retained message
/// is newer than the one before: whether one that nobody can see was lost makes no difference.
fn sensible(mut groups: Vec<Vec<StoreOp>>) -> Vec<Vec<StoreOp>> {
    let (mut known, mut newest) = (BTreeSet::new(), 0);
    for group in &mut groups {
        group.retain_mut(|op| match op {
            StoreOp::Enqueued { session, entry, .. } => known.insert((*session, *entry)),
            StoreOp::Assigned { session, entry, .. }
            | StoreOp::Released { session, entry }
            | StoreOp::Delivered { session, entry } => known.contains(&(*session, *entry)),
            StoreOp::Retained { version, .. } | StoreOp::RetainedEnd { version, .. } => {
                newest += 1;
                *version = newest;
                true
            }
            _ => true,
        });
    }
    groups
}

/// What happens beside the changes.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The group is written, and not synced.
    Write,
    /// It is written and synced.
    Commit,
    /// What was written is synced, once, without the group: as a store that syncs at times.
    Sync,
    Checkpoint,
    /// The engine's part of a checkpoint fails before, or after it is written.
    FailedCheckpoint {
        written: bool,
    },
    Tick,
    Close,
    /// `kill -9`, and how many attempts of a write come before it.
    Kill,
    PowerFailure,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Write),
        6 => Just(Event::Commit),
        2 => Just(Event::Sync),
        2 => Just(Event::Checkpoint),
        1 => any::<bool>().prop_map(|written| Event::FailedCheckpoint { written }),
        1 => Just(Event::Tick),
        1 => Just(Event::Close),
        2 => Just(Event::Kill),
        3 => Just(Event::PowerFailure),
    ]
}

fn odds() -> impl Strategy<Value = Odds> {
    prop_oneof![
        2 => Just(Odds::default()),
        1 => Just(Odds { short_write: 30, ..Odds::default() }),
        1 => Just(Odds { sync: 25, ..Odds::default() }),
        1 => Just(Odds { torn_write: 20, full: 10, ..Odds::default() }),
        1 => Just(Odds { short_write: 10, torn_write: 10, full: 10, sync: 10, open: 10, read: 0 }),
    ]
}

/// A store on a disk that fails, beside what it is to hold.
struct Rig {
    disk: Faulty,
    odds: Odds,
    options: EmbeddedOptions,
    dir: TempDir,
    store: Option<EmbeddedStore>,
    /// What was written, in order, and how much of it is promised.
    written: Vec<Vec<StoreOp>>,
    promised: usize,
    /// The tables as they were last synced, and how many checkpoints this store made until then.
    synced: (PathBuf, u64),
}

impl Rig {
    fn new(seed: u64, odds: Odds, log_bytes: u64) -> Self {
        let dir = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder");
        let options =
            EmbeddedOptions { log_bytes, ..EmbeddedOptions::new(dir.path().join("store")) };
        let synced = (dir.path().join("synced"), 0);
        let (disk, written) = (Faulty::new(seed), Vec::new());
        let mut rig = Self { disk, odds, options, dir, store: None, written, promised: 0, synced };
        rig.open();
        rig.keep_tables();
        rig.disk.set_odds(odds);
        rig
    }

    fn open(&mut self) {
        let disk = self.disk.clone();
        let store = EmbeddedStore::open_on(self.options.clone(), Box::new(move || disk.folder()));
        self.store = Some(store.expect("it opens"));
        self.synced.1 = 0;
    }

    fn store(&mut self) -> &mut EmbeddedStore {
        self.store.as_mut().expect("it is open")
    }

    /// As the committer: the same again until it works.
    fn insist(&mut self, mut run: impl FnMut(&mut EmbeddedStore) -> Result<(), StoreError>) {
        for _ in 0..200 {
            if run(self.store()).is_ok() {
                self.keep_tables();
                return;
            }
            self.keep_tables();
        }
        panic!("it does not recover");
    }

    /// Remembers the tables if there was a checkpoint. (One that failed may be there, but is not
    /// durable.)
    fn keep_tables(&mut self) {
        let count = self.store().trouble.checkpoints();
        if count != self.synced.1 || !self.synced.0.exists() {
            // It is not there the first time.
            let _ = fs::remove_dir_all(&self.synced.0);
            // The engine's threads may be at work: its files have to be of one moment.
            let whole = Snapshot::take(&self.options.dir).expect("it can be copied");
            copy(&whole.dir().join(place::DATA), &self.synced.0);
            self.synced.1 = count;
        }
    }

    fn run(&mut self, group: &[StoreOp], event: Event, attempts: usize) {
        let group = &self.of_living(group)[..];
        match event {
            Event::Write | Event::Commit => {
                self.written.push(group.to_vec());
                self.insist(|store| store.write(&[group]));
                if matches!(event, Event::Commit) {
                    let mut first = true;
                    self.insist(|store| {
                        // After a failure it is to be written once more.
                        let again = !std::mem::take(&mut first);
                        if again { store.commit(&[group]) } else { store.sync() }
                    });
                    self.promised = self.written.len();
                }
            }
            Event::Sync => {
                if self.store().sync().is_ok() {
                    self.promised = self.written.len();
                }
                self.keep_tables();
            }
            Event::Checkpoint => self.insist(EmbeddedStore::checkpoint),
            Event::FailedCheckpoint { written } => {
                let trouble = self.store().trouble.clone();
                if written {
                    trouble.fail_sync()
                } else {
                    trouble.fail_commit()
                }
                let _ = self.store().checkpoint();
                trouble.before_commit().and_then(|()| trouble.before_sync()).unwrap_or_default();
            }
            Event::Tick => {
                drop(self.store().tick());
                self.keep_tables();
            }
            Event::Close => {
                self.disk.set_odds(Odds::default());
                self.store = None;
                self.open();
                self.check();
                // Its end was a checkpoint.
                self.synced.1 = u64::MAX;
                self.keep_tables();
                self.promised = self.written.len();
                self.disk.set_odds(self.odds);
            }
            Event::Kill | Event::PowerFailure => {
                self.written.push(group.to_vec());
                for _ in 0..attempts {
                    drop(self.store().write(&[group]));
                    self.keep_tables();
                }
                self.crash(matches!(event, Event::PowerFailure));
            }
        }
    }

    /// Without changes of sessions that are not there: a crash may have taken them back, and a
    /// broker that starts behind it knows.
    fn of_living(&self, group: &[StoreOp]) -> Vec<StoreOp> {
        let mut living = BTreeSet::new();
        let mut counts = |op: &&StoreOp| match op {
            StoreOp::SessionSet { session, .. } => {
                living.insert(*session);
                true
            }
            StoreOp::SessionEnd { session } => living.remove(session),
            StoreOp::SubscriptionSet { session, .. }
            | StoreOp::SubscriptionEnd { session, .. }
            | StoreOp::Enqueued { session, .. }
            | StoreOp::Assigned { session, .. }
            | StoreOp::Released { session, .. }
            | StoreOp::Delivered { session, .. }
            | StoreOp::HandedOver { session, .. }
            | StoreOp::Received { session, .. }
            | StoreOp::ReceivedEnd { session, .. } => living.contains(session),
            _ => true,
        };
        for op in self.written.iter().flatten() {
            counts(&op);
        }
        group.iter().filter(counts).cloned().collect()
    }

    fn crash(&mut self, power: bool) {
        self.disk.kill();
        self.store().front = None;
        self.store = None;
        self.disk.set_odds(Odds::default());
        if power {
            self.disk.lose_power();
            let data = self.options.dir.join(place::DATA);
            fs::remove_dir_all(&data).expect("it is removed");
            copy(&self.synced.0, &data);
        }
        self.disk.revive();
        self.open();
        self.check();
        self.keep_tables();
        self.disk.set_odds(self.odds);
    }

    /// The store holds what was promised and perhaps some of what came next, whole and in order.
    fn check(&mut self) {
        let found = everything(self.store()).expect("it can be read");
        let all = self.written.len();
        let fits = (self.promised..=all).rev().find(|count| {
            let mut model = MemoryStore::new();
            for group in &self.written[..*count] {
                model.commit(&[group]).expect("memory takes all");
            }
            everything(&mut model).expect("memory can be read") == found
        });
        let expected = |count: usize| {
            let mut model = MemoryStore::new();
            let groups: Vec<&[StoreOp]> = self.written[..count].iter().map(|it| &it[..]).collect();
            model.commit(&groups).expect("memory takes all");
            everything(&mut model).expect("memory can be read")
        };
        let count = fits.unwrap_or_else(|| {
            let (promised, dir) = (self.promised, self.dir.path());
            let expected = expected(promised);
            let missing: Vec<_> = expected.iter().filter(|it| !found.contains(it)).collect();
            let more: Vec<_> = found.iter().filter(|it| !expected.contains(it)).collect();
            panic!(
                "{promised} to {all} groups were expected in {}; as of what was promised there \
                 lacks {missing:#?}, and there is besides {more:#?}",
                dir.display()
            )
        });
        // What came back counts from now on only if it is there the next time too.
        self.written.truncate(count);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            let bytes = fs::read(&from).expect("it can be read");
            // Journals are long and mostly zeros.
            let end = if from.extension().is_some_and(|it| it == "jnl") {
                bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
            } else {
                bytes.len()
            };
            fs::write(to, &bytes[..end]).expect("it is written");
        }
    }
}

/// How many rounds there are: few where all tests run, and as many as are asked for in a soak.
fn cases() -> u32 {
    std::env::var("MOGI_FAULTS").ok().and_then(|it| it.parse().ok()).unwrap_or(40)
}

proptest! {
    // Each round writes files: a failure is not worth many more of them.
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_promised_is_there_whatever_the_disk_does(
        seed in any::<u64>(),
        odds in odds(),
        log_bytes in prop_oneof![Just(1_u64), Just(600), Just(1 << 20)],
        groups in groups(24).prop_map(sensible),
        events in vec((event(), 0..3_usize), 24),
    ) {
        let mut rig = Rig::new(seed, odds, log_bytes);
        for (group, (event, attempts)) in groups.iter().zip(events) {
            rig.run(group, event, attempts);
        }
        rig.crash(true);
    }
}

/// One session, and an entry a group.
fn simple(rig: &mut Rig, entries: std::ops::RangeInclusive<u64>) {
    for entry in entries {
        let group = [session_set(1), enqueued(1, entry, &message("t", &[entry as u8; 700]))];
        rig.run(&group, Event::Commit, 0);
    }
}

#[test]
fn after_a_failed_sync_the_page_cache_is_not_believed() {
    for seed in 1..40 {
        let mut rig = Rig::new(seed, Odds::default(), 1 << 20);
        simple(&mut rig, 1..=3);
        let group = [enqueued(1, 4, &message("t", &[4; 5000]))];
        rig.written.push(group.to_vec());
        rig.store().write(&[&group]).expect("it is written");
        rig.disk.set_odds(Odds { sync: 100, ..Odds::default() });
        let error = rig.store().sync().expect_err("the disk says so");
        assert!(error.to_string().contains("sync the log"), "{error}");
        rig.store().commit(&[&group]).expect_err("it still does");
        rig.disk.set_odds(Odds::default());
        rig.store().commit(&[&group]).expect("it goes on");
        rig.promised = 4;
        rig.crash(true);
        assert_eq!(rig.written.len(), 4);
    }
}

#[test]
fn a_checkpoint_that_cannot_be_synced_loses_nothing() {
    for seed in 1..10 {
        let mut rig = Rig::new(seed, Odds::default(), 1 << 20);
        simple(&mut rig, 1..=3);
        rig.store().trouble.clone().fail_sync();
        rig.store().checkpoint().expect_err("the test says so");
        simple(&mut rig, 4..=5);
        let gone = [StoreOp::Delivered { session: SessionNo(1), entry: crate::ops::EntryNo(2) }];
        rig.run(&gone, Event::Commit, 0);
        if seed % 2 == 0 {
            rig.store().checkpoint().expect("it works again");
            rig.keep_tables();
        }
        rig.crash(true);
        assert_eq!(rig.written.len(), 6);
    }
}

/// The next process believes what the page cache shows of the tables, and the power fails then.
#[test]
fn a_checkpoint_is_made_durable_before_the_log_forgets_what_is_in_it() {
    for seed in 1..6 {
        let mut rig = Rig::new(seed, Odds::default(), 1 << 20);
        simple(&mut rig, 1..=3);
        rig.run(&[], Event::FailedCheckpoint { written: true }, 0);
        rig.run(&[], Event::Kill, 0);
        simple(&mut rig, 4..=4);
        rig.crash(true);
        assert!(rig.promised >= 4);
    }
}

/// As before, but the log had to begin anew as well: nothing in it tells of a checkpoint.
#[test]
fn a_new_file_of_the_log_does_not_hide_a_checkpoint_that_is_not_durable() {
    for seed in 1..6 {
        let mut rig = Rig::new(seed, Odds::default(), 1 << 20);
        simple(&mut rig, 1..=3);
        let group = [enqueued(1, 4, &message("t", b"x"))];
        rig.written.push(group.to_vec());
        rig.store().write(&[&group]).expect("it is written");
        rig.disk.set_odds(Odds { sync: 100, ..Odds::default() });
        rig.store().sync().expect_err("the disk says so");
        rig.disk.set_odds(Odds::default());
        rig.run(&[], Event::FailedCheckpoint { written: true }, 0);
        rig.run(&[], Event::Sync, 0);
        assert_eq!(rig.promised, 4);
        rig.run(&[], Event::Kill, 0);
        simple(&mut rig, 5..=5);
        rig.crash(true);
        assert!(rig.promised >= 5);
    }
}

/// Numbers leap with each start, and damage is told from a torn end by numbers.
#[test]
fn damage_is_seen_after_any_number_of_starts() {
    let mut rig = Rig::new(7, Odds::default(), 1 << 20);
    for entry in 1..=300 {
        simple(&mut rig, entry..=entry);
        rig.run(&[], Event::Kill, 0);
    }
    simple(&mut rig, 301..=303);
    rig.disk.kill();
    rig.store().front = None;
    rig.store = None;
    rig.disk.damage();
    rig.disk.revive();
    rig.open();
    let report = rig.store().load(&mut |_| {}).expect("the rest can be read");
    assert!(report.damage.lost_journal_bytes > 0, "{report:?}");
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost_when_there_is_room() {
    let mut rig = Rig::new(7, Odds::default(), 1 << 20);
    simple(&mut rig, 1..=3);
    rig.disk.set_odds(Odds { full: 100, ..Odds::default() });
    let group = [enqueued(1, 4, &message("t", b"x"))];
    for _ in 0..3 {
        let error = rig.store().commit(&[&group]).expect_err("it is full");
        assert_eq!(error.kind, ErrorKind::Full);
    }
    rig.disk.set_odds(Odds::default());
    rig.run(&group, Event::Commit, 0);
    rig.crash(true);
    assert_eq!(rig.written.len(), 4);
}

#[test]
fn a_log_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
    let mut rig = Rig::new(7, Odds::default(), 1 << 20);
    simple(&mut rig, 1..=3);
    rig.disk.kill();
    rig.store().front = None;
    rig.store = None;
    rig.disk.revive();
    rig.disk.set_odds(Odds { read: 100, ..Odds::default() });
    rig.open();
    let error = everything(rig.store()).expect_err("it cannot be read");
    assert!(error.to_string().contains("read the log"), "{error}");
    rig.disk.set_odds(Odds::default());
    rig.check();
    assert_eq!(rig.written.len(), 3);
}
