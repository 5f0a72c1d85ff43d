//! The simulated store: batches become durable in order, late, and are reported later still.

use crate::message::id_of;
use mogi_core::StoreOp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A batch on its way: worker, turn, changes.
type Submitted = (u16, u64, Vec<StoreOp>);

/// What was handed over, and what of it would survive a crash.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    waiting: VecDeque<Submitted>,
    /// Turns to be reported to each worker.
    done: Vec<VecDeque<u64>>,
    pub(crate) sessions: BTreeSet<String>,
    /// (client, filter) → options.
    pub(crate) subscriptions: BTreeMap<(String, String), u8>,
    pub(crate) received: BTreeSet<(String, u16)>,
    /// (client, message), for ever: who was to get what.
    pub(crate) enqueued: BTreeSet<(String, u32)>,
    /// Messages that were retained at some time.
    pub(crate) retained_ever: BTreeSet<u32>,
    pub(crate) retained: BTreeMap<String, u32>,
    /// How often topics were cleared.
    pub(crate) cleared: BTreeMap<String, usize>,
}

impl Ledger {
    pub(crate) fn new(workers: u16) -> Self {
        Self { done: vec![VecDeque::new(); usize::from(workers)], ..Self::default() }
    }

    pub(crate) fn submit(&mut self, worker: u16, turn: u64, ops: Vec<StoreOp>) {
        assert!(!ops.is_empty(), "an empty batch is submitted");
        if let Some(before) = self.last_turn(worker) {
            assert!(before < turn, "turn {turn} of {worker} after {before}");
        }
        self.waiting.push_back((worker, turn, ops));
    }

    fn last_turn(&self, worker: u16) -> Option<u64> {
        let waiting = self.waiting.iter().rev().find(|batch| batch.0 == worker);
        let done = || self.done[usize::from(worker)].back().copied();
        waiting.map(|batch| batch.1).or_else(done)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.done.iter().all(VecDeque::is_empty)
    }

    /// Makes the oldest batch durable.
    pub(crate) fn redeem(&mut self) -> bool {
        let Some((worker, turn, ops)) = self.waiting.pop_front() else {
            return false;
        };
        for op in ops {
            self.apply(op);
        }
        self.done[usize::from(worker)].push_back(turn);
        true
    }

    /// The next turn to tell `worker` about.
    pub(crate) fn next_done(&mut self, worker: u16) -> Option<u64> {
        self.done[usize::from(worker)].pop_front()
    }

    fn apply(&mut self, op: StoreOp) {
        match op {
            StoreOp::SessionSet { client, expiry_s } => {
                let client = client.to_string();
                if expiry_s == 0 {
                    // It ends with its connection: nothing more is kept of it.
                    self.received.retain(|key| key.0 != client);
                }
                self.sessions.insert(client);
            }
            StoreOp::SessionEnd { client } => {
                let client = client.to_string();
                self.subscriptions.retain(|key, _| key.0 != client);
                self.received.retain(|key| key.0 != client);
                self.sessions.remove(&client);
            }
            StoreOp::SubscriptionSet { client, filter, options, .. } => {
                let key = (client.to_string(), filter.to_string());
                self.subscriptions.insert(key, options);
            }
            StoreOp::SubscriptionEnd { client, filter } => {
                let key = (client.to_string(), filter.to_string());
                self.subscriptions.remove(&key);
            }
            StoreOp::Received { client, packet_id } => {
                self.received.insert((client.to_string(), packet_id));
            }
            StoreOp::Released { client, packet_id } => {
                self.received.remove(&(client.to_string(), packet_id));
            }
            StoreOp::Retained { message } => {
                if let Some(id) = id_of(message.payload()) {
                    self.retained_ever.insert(id);
                    self.retained.insert(message.topic().to_owned(), id);
                }
            }
            StoreOp::RetainedEnd { topic } => {
                self.retained.remove(&*topic);
                *self.cleared.entry(topic.to_string()).or_default() += 1;
            }
            // What is kept of messages on their way is the store's own test's business; here it
            // counts that they were safe before somebody was told so.
            other => self.apply_message(other),
        }
    }

    fn apply_message(&mut self, op: StoreOp) {
        if let StoreOp::Enqueued { client, message } = op
            && let Some(id) = id_of(message.payload())
        {
            self.enqueued.insert((client.to_string(), id));
        }
    }
}
