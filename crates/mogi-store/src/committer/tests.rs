use super::*;
use crate::conformance::{
    assigned, delivered, enqueued, message, received, released, retained_set, session_set,
};
use crate::memory::MemoryStore;
use crate::store::{LoadReport, Loaded};
use mogi_core::Wait;
use proptest::prelude::*;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// What the tests tell a store to do, and see of it.
#[derive(Clone, Default)]
struct Knobs(Arc<Mutex<Knob>>);

#[derive(Default)]
struct Knob {
    /// The next calls fail.
    failures: usize,
    /// A failing commit leaves its changes behind all the same.
    leaves: bool,
    /// All commits, failed ones too.
    commits: Vec<Vec<StoreOp>>,
    /// Commits wait for this.
    gate: Option<Arc<Mutex<()>>>,
}

impl Knobs {
    fn get(&self) -> MutexGuard<'_, Knob> {
        self.0.lock().expect("nobody panicked")
    }
}

/// A store that fails on demand.
struct Faulty {
    inner: MemoryStore,
    knobs: Knobs,
}

fn error() -> StoreError {
    StoreError::new(ErrorKind::Full, Path::new("/somewhere"), "the test says so")
}

impl Faulty {
    fn fails(&self) -> Result<(), StoreError> {
        let mut knob = self.knobs.get();
        match knob.failures.checked_sub(1) {
            Some(left) => {
                knob.failures = left;
                Err(error())
            }
            None => Ok(()),
        }
    }
}

impl Store for Faulty {
    fn sync(&mut self) -> Result<(), StoreError> {
        self.inner.sync()
    }

    fn write(&mut self, batches: &[&[StoreOp]]) -> Result<(), StoreError> {
        let gate = self.knobs.get().gate.clone();
        drop(gate.as_ref().map(|gate| gate.lock().expect("nobody panicked")));
        self.knobs.get().commits.push(batches.concat());
        let result = self.fails();
        let leaves = self.knobs.get().leaves;
        if result.is_ok() || leaves {
            self.inner.write(batches)?;
        }
        result
    }

    fn load(&mut self, visit: &mut dyn FnMut(Loaded)) -> Result<LoadReport, StoreError> {
        self.inner.load(visit)
    }

    fn fetch(
        &mut self,
        session: SessionNo,
        entries: &[EntryNo],
        out: &mut Vec<(EntryNo, StoredDelivery)>,
    ) -> Result<(), StoreError> {
        self.inner.fetch(session, entries, out)?;
        self.fails()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn tick(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

struct Bench {
    committer: Committer,
    knobs: Knobs,
    memory: MemoryStore,
    answers: Receiver<(u16, Answer)>,
    notices: Receiver<Notice>,
}

impl Bench {
    fn new() -> Self {
        let (knobs, memory) = (Knobs::default(), MemoryStore::new());
        let store = Faulty { inner: memory.clone(), knobs: knobs.clone() };
        let (to_answers, answers) = channel();
        let (to_notices, notices) = channel();
        let on_answer = move |worker, answer| drop(to_answers.send((worker, answer)));
        let on_notice = move |notice| drop(to_notices.send(notice));
        let committer = Committer::start(Box::new(store), Box::new(on_answer), Box::new(on_notice))
            .expect("a thread");
        Self { committer, knobs, memory, answers, notices }
    }

    fn answer(&self) -> (u16, Answer) {
        self.answers.recv_timeout(Duration::from_secs(60)).expect("an answer")
    }

    fn notice(&self) -> Notice {
        self.notices.recv_timeout(Duration::from_secs(60)).expect("a notice")
    }

    /// Waits until this turn of the worker is stored.
    fn stored(&self, worker: u16, turn: u64) {
        while self.answer() != (worker, Answer::Stored { turn }) {}
    }

    /// Runs `submit` while the store is held up, so that all of it is one group.
    fn as_one_group(&self, submit: impl FnOnce(&Committer)) {
        let gate = Arc::new(Mutex::new(()));
        self.knobs.get().gate = Some(gate.clone());
        let held = gate.lock().expect("nobody panicked");
        // This is what is held up.
        self.committer.submit(99, 0, vec![session_set(99)], Wait::ForThis);
        while self.committer.shared.pending().turns.iter().any(|(worker, _)| *worker == 99) {
            std::thread::yield_now();
        }
        submit(&self.committer);
        self.knobs.get().gate = None;
        drop(held);
        self.stored(99, 0);
    }
}

#[test]
fn every_worker_is_answered_once_its_changes_are_durable() {
    let bench = Bench::new();
    bench.committer.submit(0, 7, vec![session_set(1)], Wait::ForThis);
    assert_eq!(bench.answer(), (0, Answer::Stored { turn: 7 }));
    bench.as_one_group(|committer| {
        committer.submit(0, 8, vec![received(1, 1)], Wait::ForThis);
        committer.submit(1, 3, vec![session_set(2)], Wait::ForThis);
        committer.submit(0, 9, vec![received(1, 2)], Wait::ForThis);
        committer.submit(2, 1, Vec::new(), Wait::ForThis);
    });
    let mut answers = [bench.answer(), bench.answer(), bench.answer()];
    answers.sort_by_key(|(worker, _)| *worker);
    let stored = |worker, turn| (worker, Answer::Stored { turn });
    assert_eq!(answers, [stored(0, 9), stored(1, 3), stored(2, 1)]);
    assert_eq!(bench.knobs.get().commits.len(), 3, "one commit for all of them");
    assert_eq!(bench.committer.pending_bytes(), 0);
    assert_eq!(bench.committer.status().pending_ops, 0);
    bench.committer.close().expect("nothing is left");
}

#[test]
fn changes_nobody_waits_for_are_written_all_the_same() {
    let bench = Bench::new();
    let message = message("t", b"x");
    bench.committer.submit(0, 1, vec![session_set(1), enqueued(1, 5, &message)], Wait::ForThis);
    bench.stored(0, 1);
    bench.committer.submit(0, 2, vec![delivered(1, 5)], Wait::Nobody);
    while bench.committer.pending_bytes() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(bench.memory.clone().load(&mut |_| {}).expect("memory").loaded.entries, 0);
    assert!(bench.answers.try_recv().is_err(), "nobody asked");
    // They go with the next that somebody waits for, and before it.
    bench.committer.submit(0, 3, vec![enqueued(1, 6, &message)], Wait::Nobody);
    bench.committer.submit(0, 4, vec![delivered(1, 6), received(1, 9)], Wait::ForThis);
    assert_eq!(bench.answer(), (0, Answer::Stored { turn: 4 }));
    assert_eq!(bench.knobs.get().commits.last(), Some(&vec![received(1, 9)]));
    bench.committer.close().expect("nothing is left");
}

#[test]
fn a_fetch_sees_what_was_submitted_before() {
    let bench = Bench::new();
    let message = message("t", b"x");
    bench.as_one_group(|committer| {
        committer.submit(0, 1, vec![session_set(1), enqueued(1, 5, &message)], Wait::ForThis);
        committer.fetch(1, 42, SessionNo(1), vec![EntryNo(4), EntryNo(5)]);
    });
    // It needs what was written, not that it is durable.
    let fetched = |answer: &(u16, Answer)| matches!(answer.1, Answer::Fetched { .. });
    let (worker, answer) = std::iter::repeat_with(|| bench.answer()).find(fetched).expect("one");
    bench.stored(0, 1);
    let Answer::Fetched { token, session, entries } = answer else { panic!("{answer:?}") };
    assert_eq!((worker, token, session, entries.len()), (1, 42, SessionNo(1), 1));
    assert_eq!(entries[0].1.message, message);
}

#[test]
fn what_is_delivered_within_a_group_is_never_written() {
    let bench = Bench::new();
    let message = message("t", b"x");
    bench.committer.submit(0, 1, vec![session_set(1)], Wait::ForThis);
    bench.stored(0, 1);
    bench.as_one_group(|committer| {
        committer.submit(0, 2, vec![enqueued(1, 5, &message), assigned(1, 5, 1)], Wait::ForThis);
        committer.submit(1, 1, vec![released(1, 5), delivered(1, 5)], Wait::ForThis);
    });
    bench.stored(1, 1);
    let status = bench.committer.status();
    assert_eq!((status.commits, status.ops_written, status.ops_compacted), (2, 2, 4));
    assert_eq!(bench.knobs.get().commits.len(), 2, "there was nothing to commit");
}

#[test]
fn a_failure_is_told_once_and_nothing_is_lost() {
    let mut bench = Bench::new();
    bench.committer.submit(0, 1, vec![session_set(1)], Wait::ForThis);
    bench.stored(0, 1);
    // The second of them would be compacted with the first, part of which may be on disk.
    let message = message("t", b"x");
    bench.knobs.get().failures = 3;
    bench.knobs.get().leaves = true;
    bench.committer.submit(0, 2, vec![enqueued(1, 5, &message)], Wait::ForThis);
    assert_eq!(bench.notice(), Notice::Failing { error: error() });
    let status = bench.committer.status();
    assert!(status.failing_since.is_some() && status.pending_ops == 1 && status.pending_bytes > 0);
    bench.committer.submit(0, 3, vec![delivered(1, 5)], Wait::ForThis);
    bench.stored(0, 2);
    assert!(matches!(bench.notice(), Notice::Recovered { .. }));
    bench.stored(0, 3);
    assert!(bench.notices.try_recv().is_err(), "told once");
    let status = bench.committer.status();
    assert_eq!((status.failing_since, status.pending_bytes), (None, 0));
    assert_eq!(status.last_error, Some(error()));
    let commits = bench.knobs.get().commits.clone();
    assert!(commits[1..5].iter().all(|commit| *commit == commits[1]), "the same group again");
    assert_eq!(commits[5], [delivered(1, 5)]);
    let mut waiting = 0;
    let visit = &mut |loaded| {
        if let Loaded::Session(session) = loaded {
            waiting += session.waiting.len();
        }
    };
    bench.memory.load(visit).expect("it loads");
    assert_eq!(waiting, 0);
}

#[test]
fn a_fetch_that_fails_is_repeated() {
    let bench = Bench::new();
    let message = message("t", b"x");
    bench.committer.submit(0, 1, vec![session_set(1), enqueued(1, 5, &message)], Wait::ForThis);
    bench.stored(0, 1);
    bench.knobs.get().failures = 2;
    bench.committer.fetch(0, 1, SessionNo(1), vec![EntryNo(5)]);
    let (_, Answer::Fetched { entries, .. }) = bench.answer() else { panic!("not fetched") };
    assert_eq!(entries.len(), 1);
    assert!(matches!(bench.notice(), Notice::Failing { .. }));
    assert!(matches!(bench.notice(), Notice::Recovered { .. }));
}

#[test]
fn closing_gives_up_a_store_that_does_not_recover() {
    let bench = Bench::new();
    bench.knobs.get().failures = usize::MAX;
    bench.committer.submit(0, 1, vec![session_set(1), session_set(2)], Wait::ForThis);
    assert!(matches!(bench.notice(), Notice::Failing { .. }));
    let error = bench.committer.close().expect_err("it was not written");
    assert!(error.to_string().contains("2 changes were not made durable"), "{error}");
    assert!(matches!(bench.notices.recv(), Ok(Notice::Lost { ops: 2, .. })));
    assert!(bench.answers.recv().is_err(), "and not acknowledged");
}

#[test]
fn closing_commits_what_is_pending() {
    let bench = Bench::new();
    let batches = (1..=100).map(|session| vec![session_set(session)]);
    batches
        .zip(0..)
        .for_each(|(batch, turn)| bench.committer.submit(0, turn, batch, Wait::ForThis));
    bench.committer.close().expect("all is written");
    assert_eq!(bench.memory.usage().sessions, 100);
}

fn change() -> impl Strategy<Value = StoreOp> {
    let session = || 1..4_u64;
    let end = |session| StoreOp::SessionEnd { session: SessionNo(session) };
    let will_end = |at: u64| StoreOp::WillEnd { client: format!("c{at}").into() };
    let retained_end =
        |(topic, version): (u8, u64)| StoreOp::RetainedEnd { topic: name(topic).into(), version };
    prop_oneof![
        3 => session().prop_map(session_set),
        1 => session().prop_map(end),
        1 => session().prop_map(will_end),
        4 => (session(), 1..8_u64).prop_map(|(a, b)| enqueued(a, a * 100 + b, &message("t", b"x"))),
        2 => (session(), 1..8_u64).prop_map(|(a, b)| assigned(a, a * 100 + b, b as u16)),
        2 => (session(), 1..8_u64).prop_map(|(a, b)| released(a, a * 100 + b)),
        4 => (session(), 1..8_u64).prop_map(|(a, b)| delivered(a, a * 100 + b)),
        1 => (session(), 1..4_u16).prop_map(|(a, b)| received(a, b)),
        1 => (session(), 1..4_u16).prop_map(|(a, packet_id)| StoreOp::ReceivedEnd {
            session: SessionNo(a),
            packet_id
        }),
        2 => (0..2_u8, 1..9_u64).prop_map(|(a, b)| retained_set(name(a), &[a], b)),
        2 => (0..2_u8, 10..19_u64).prop_map(retained_end),
    ]
}

fn name(topic: u8) -> &'static str {
    ["a", "a/b"][usize::from(topic)]
}

/// A broker uses a number once; this takes away what only a test can come up with.
fn sensible(group: &mut Vec<StoreOp>) {
    let mut gone: Vec<EntryNo> = Vec::new();
    let mut there: Vec<EntryNo> = Vec::new();
    let mut ended: Vec<SessionNo> = Vec::new();
    group.retain(|op| match op {
        StoreOp::Enqueued { entry, .. } => {
            let fresh = !there.contains(entry);
            there.push(*entry);
            fresh
        }
        StoreOp::Delivered { entry, .. } => {
            gone.push(*entry);
            there.contains(entry)
        }
        StoreOp::Assigned { entry, .. } | StoreOp::Released { entry, .. } => !gone.contains(entry),
        StoreOp::SessionEnd { session } => {
            ended.push(*session);
            true
        }
        StoreOp::SessionSet { session, .. } => !ended.contains(session),
        _ => true,
    });
}

proptest! {
    #[test]
    fn a_compacted_group_does_what_the_group_does(
        before in proptest::collection::vec(change(), 0..20),
        group in proptest::collection::vec(change(), 0..40),
        cuts in proptest::collection::vec(0..40_usize, 3),
    ) {
        let mut all = [before.clone(), group].concat();
        sensible(&mut all);
        let before_len = before.len().min(all.len());
        let (before, group) = all.split_at(before_len);
        let mut batches: Vec<Batch> = vec![Vec::new(); 4];
        for (at, op) in group.iter().enumerate() {
            let batch = cuts.iter().filter(|cut| **cut <= at).count();
            batches[batch].push(op.clone());
        }
        let (mut whole, mut short) = (MemoryStore::new(), MemoryStore::new());
        whole.commit(&[before, group]).expect("memory takes all");
        short.commit(&[before]).expect("memory takes all");
        let dropped = compact::Compactor::default().compact(&mut batches);
        prop_assert_eq!(batches.iter().map(Vec::len).sum::<usize>() + dropped, group.len());
        short.commit(&[&batches.concat()]).expect("memory takes all");
        prop_assert_eq!(contents(&mut short), contents(&mut whole));
    }
}

fn contents(store: &mut MemoryStore) -> Vec<Loaded> {
    let mut contents = Vec::new();
    store.load(&mut |loaded| contents.push(loaded)).expect("it loads");
    // When it was written is not what it holds.
    contents.retain(|loaded| !matches!(loaded, Loaded::Alive { .. }));
    contents
}
