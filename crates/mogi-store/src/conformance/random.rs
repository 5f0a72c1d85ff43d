//! Random changes, compared with what [`MemoryStore`] makes of them.

use super::change::{
    assigned, delivered, enqueued, message, received, released, retained, session_set,
};
use super::{Factory, Subject};
use crate::memory::MemoryStore;
use crate::ops::{SessionNo, StoreOp, StoredSubscription};
use crate::store::Store;
use mogi_core::Message;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What is done with the store.
#[derive(Clone, Debug)]
enum Step {
    /// Batches of one commit.
    Commit(Vec<Vec<Change>>),
    /// The last commit once more.
    Repeat,
    Reopen,
    Tick,
}

/// A change; numbers are small so that changes meet.
#[derive(Clone, Debug)]
enum Change {
    SessionSet(u64),
    SessionEnd(u64),
    Subscribe(u64, u8),
    Unsubscribe(u64, u8),
    Enqueue(Vec<u64>, bool),
    Assign(u64, u64),
    Release(u64, u64),
    Deliver(u64, u64),
    Receive(u64, u16),
    ReceiveEnd(u64, u16),
    Retain(u8, u64),
    RetainEnd(u8, u64),
}

pub(super) fn run(factory: &mut Factory<'_>, cases: u32) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let factory = std::cell::RefCell::new(factory);
    let result = runner.run(&vec(step(), 1..40), |steps| {
        compare(&mut **factory.borrow_mut(), &steps);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(vec(change(), 0..6), 1..3).prop_map(Step::Commit),
        1 => Just(Step::Repeat),
        1 => Just(Step::Reopen),
        1 => Just(Step::Tick),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let session = || 1..5_u64;
    let entry = || 1..60_u64;
    prop_oneof![
        2 => session().prop_map(Change::SessionSet),
        1 => session().prop_map(Change::SessionEnd),
        1 => (session(), 0..3_u8).prop_map(|(a, b)| Change::Subscribe(a, b)),
        1 => (session(), 0..3_u8).prop_map(|(a, b)| Change::Unsubscribe(a, b)),
        6 => (vec(session(), 1..4), any::<bool>()).prop_map(|(a, b)| Change::Enqueue(a, b)),
        3 => (session(), entry()).prop_map(|(a, b)| Change::Assign(a, b)),
        3 => (session(), entry()).prop_map(|(a, b)| Change::Release(a, b)),
        6 => (session(), entry()).prop_map(|(a, b)| Change::Deliver(a, b)),
        1 => (session(), 1..4_u16).prop_map(|(a, b)| Change::Receive(a, b)),
        1 => (session(), 1..4_u16).prop_map(|(a, b)| Change::ReceiveEnd(a, b)),
        2 => (0..3_u8, 1..20_u64).prop_map(|(a, b)| Change::Retain(a, b)),
        2 => (0..3_u8, 1..20_u64).prop_map(|(a, b)| Change::RetainEnd(a, b)),
    ]
}

/// Groups of changes that meet, with numbers as a broker gives them.
#[cfg(test)]
pub(crate) fn groups(count: usize) -> impl Strategy<Value = Vec<Vec<StoreOp>>> {
    vec(vec(change(), 1..8), 1..count).prop_map(|groups| {
        let mut maker = Maker::default();
        groups.iter().map(|changes| maker.batch(changes)).collect()
    })
}

fn compare(factory: &mut Factory<'_>, steps: &[Step]) {
    let mut subject = Subject::new(factory);
    let mut model = MemoryStore::new();
    let mut maker = Maker::default();
    let mut last: Vec<Vec<StoreOp>> = Vec::new();
    for step in steps {
        match step {
            Step::Commit(batches) => {
                last = batches.iter().map(|batch| maker.batch(batch)).collect();
                commit(&mut subject, &mut model, &last);
            }
            Step::Repeat => commit(&mut subject, &mut model, &last),
            Step::Reopen => subject.reopen(),
            Step::Tick => drop(subject.store().tick().expect("it ticks")),
        }
    }
    let of_model = model.clone();
    let mut expected = Subject { factory: &mut |_| Box::new(of_model.clone()), store: None };
    let contents = expected.load();
    subject.holds(|found| assert_eq!(found, &contents));
    let all: Vec<u64> = (0..=maker.entry).collect();
    for session in 0..maker.session + 1 {
        assert_eq!(subject.fetch(session, &all), expected.fetch(session, &all));
    }
    subject.settle();
    subject.holds(|found| assert_eq!(found, &contents));
}

fn commit(subject: &mut Subject<'_, '_>, model: &mut MemoryStore, batches: &[Vec<StoreOp>]) {
    let batches: Vec<&[StoreOp]> = batches.iter().map(|batch| &batch[..]).collect();
    subject.store().commit(&batches).expect("the store takes it");
    model.commit(&batches).expect("memory takes all");
}

/// Makes operations of changes, with numbers as a broker gives them: none twice.
#[derive(Default)]
struct Maker {
    entry: u64,
    session: u64,
    /// The current number of each session; they end and begin anew.
    sessions: [u64; 5],
}

impl Maker {
    fn batch(&mut self, changes: &[Change]) -> Vec<StoreOp> {
        let mut batch = Vec::new();
        changes.iter().for_each(|change| self.add(change, &mut batch));
        batch
    }

    fn number(&self, session: u64) -> u64 {
        self.sessions[session as usize]
    }

    fn add(&mut self, change: &Change, batch: &mut Vec<StoreOp>) {
        let topic = |at: u8| ["a", "a/b", "b"][usize::from(at)];
        batch.push(match *change {
            Change::SessionSet(at) => {
                if self.number(at) == 0 {
                    self.session += 1;
                    self.sessions[at as usize] = self.session;
                }
                session_set(self.number(at))
            }
            Change::SessionEnd(at) => {
                let session = SessionNo(std::mem::take(&mut self.sessions[at as usize]));
                StoreOp::SessionEnd { session }
            }
            Change::Subscribe(at, filter) => StoreOp::SubscriptionSet {
                session: SessionNo(self.number(at)),
                subscription: StoredSubscription {
                    filter: topic(filter).into(),
                    options: filter,
                    id: 0,
                },
            },
            Change::Unsubscribe(at, filter) => StoreOp::SubscriptionEnd {
                session: SessionNo(self.number(at)),
                filter: topic(filter).into(),
            },
            Change::Enqueue(ref sessions, heavy) => {
                let message = self.message(heavy);
                for at in sessions {
                    self.entry += 1;
                    batch.push(enqueued(self.number(*at), self.entry, &message));
                }
                return;
            }
            Change::Assign(at, entry) => assigned(self.number(at), entry, entry as u16),
            Change::Release(at, entry) => released(self.number(at), entry),
            Change::Deliver(at, entry) => delivered(self.number(at), entry),
            Change::Receive(at, packet_id) => received(self.number(at), packet_id),
            Change::ReceiveEnd(at, packet_id) => {
                StoreOp::ReceivedEnd { session: SessionNo(self.number(at)), packet_id }
            }
            Change::Retain(at, version) => retained(topic(at), &version.to_le_bytes(), version),
            Change::RetainEnd(at, version) => {
                StoreOp::RetainedEnd { topic: topic(at).into(), version }
            }
        });
    }

    fn message(&self, heavy: bool) -> Message {
        let payload = self.entry.to_le_bytes().repeat(if heavy { 100 } else { 1 });
        message("t", &payload)
    }
}
