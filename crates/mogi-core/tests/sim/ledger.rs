//! The simulated store: batches become durable in order, late, and are reported later still.

use crate::message::id_of;
use mogi_core::store::StoredDelivery;
use mogi_core::{EntryNo, Fetch, Message, SessionNo, StoreOp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A batch on its way: worker, turn, changes.
type Submitted = (u16, u64, Vec<StoreOp>);

/// What was handed over, and what of it would survive a crash.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    waiting: VecDeque<Submitted>,
    /// Turns to be reported to each worker.
    done: Vec<VecDeque<u64>>,
    /// The client ids of sessions.
    names: BTreeMap<SessionNo, String>,
    /// Messages on their way.
    pub(crate) entries: BTreeMap<(SessionNo, EntryNo), StoredDelivery>,
    /// Of the newest change of each topic's retained message.
    versions: BTreeMap<String, u64>,
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
            StoreOp::SessionSet { session, record } => {
                let client = record.client.to_string();
                if record.expiry_s == 0 {
                    // It ends with its connection: nothing more is kept of it.
                    self.received.retain(|key| key.0 != client);
                }
                self.names.insert(session, client.clone());
                self.sessions.insert(client);
            }
            StoreOp::SessionEnd { session } => {
                let client = self.name(session);
                self.subscriptions.retain(|key, _| key.0 != client);
                self.received.retain(|key| key.0 != client);
                self.entries.retain(|key, _| key.0 != session);
                self.sessions.remove(&client);
                self.names.remove(&session);
            }
            StoreOp::SubscriptionSet { session, subscription } => {
                let key = (self.name(session), subscription.filter.to_string());
                self.subscriptions.insert(key, subscription.options);
            }
            StoreOp::SubscriptionEnd { session, filter } => {
                let key = (self.name(session), filter.to_string());
                self.subscriptions.remove(&key);
            }
            StoreOp::Received { session, packet_id } => {
                self.received.insert((self.name(session), packet_id));
            }
            StoreOp::ReceivedEnd { session, packet_id } => {
                self.received.remove(&(self.name(session), packet_id));
            }
            StoreOp::Retained { message, version } => self.retain(&message, version),
            StoreOp::RetainedEnd { topic, version } => {
                if self.is_newer(&topic, version) {
                    self.retained.remove(&*topic);
                    *self.cleared.entry(topic.to_string()).or_default() += 1;
                }
            }
            other => self.apply_message(other),
        }
    }

    fn apply_message(&mut self, op: StoreOp) {
        match op {
            StoreOp::Enqueued { session, entry, delivery } => {
                if let Some(id) = id_of(delivery.message.payload()) {
                    self.enqueued.insert((self.name(session), id));
                }
                if self.names.contains_key(&session) {
                    self.entries.insert((session, entry), delivery);
                }
            }
            StoreOp::Delivered { session, entry } => {
                self.entries.remove(&(session, entry));
            }
            _ => {}
        }
    }

    fn retain(&mut self, message: &Message, version: u64) {
        if let Some(id) = id_of(message.payload()) {
            self.retained_ever.insert(id);
            if self.is_newer(message.topic(), version) {
                self.retained.insert(message.topic().to_owned(), id);
            }
        }
    }

    /// Whether that is the newest change of the topic, which is noted.
    fn is_newer(&mut self, topic: &str, version: u64) -> bool {
        let newest = self.versions.entry(topic.to_owned()).or_default();
        let newer = version > *newest;
        *newest = version.max(*newest);
        newer
    }

    /// What the store has of a fetch.
    pub(crate) fn fetch(&self, fetch: &Fetch) -> Vec<(EntryNo, StoredDelivery)> {
        let waiting = self.waiting.iter().flat_map(|batch| &batch.2);
        let mut unwritten: BTreeMap<(SessionNo, EntryNo), Option<&StoredDelivery>> =
            BTreeMap::new();
        for op in waiting {
            match op {
                StoreOp::Enqueued { session, entry, delivery } => {
                    unwritten.insert((*session, *entry), Some(delivery));
                }
                StoreOp::Delivered { session, entry } => {
                    unwritten.insert((*session, *entry), None);
                }
                _ => {}
            }
        }
        let find = |&entry: &EntryNo| {
            let key = (fetch.session, entry);
            let found = match unwritten.get(&key) {
                Some(delivery) => delivery.cloned(),
                None => self.entries.get(&key).cloned(),
            };
            Some((entry, found?))
        };
        fetch.entries.iter().filter_map(find).collect()
    }

    fn name(&self, session: SessionNo) -> String {
        self.names.get(&session).cloned().unwrap_or_default()
    }
}
