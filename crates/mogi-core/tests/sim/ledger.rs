//! The simulated store: batches become durable in order, late, and are reported later still.
//!
//! What it [holds](Held) is what a crash leaves.

use crate::held::Held;
use crate::message::id_of;
use mogi_core::store::StoredDelivery;
use mogi_core::{Changes, EntryNo, Fetch, SessionNo, StoreOp, Wait};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A batch on its way: worker, turn, changes, who waits for them.
type Submitted = (u16, u64, Vec<StoreOp>, Wait);

/// What was handed over, and what of it would survive a crash.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    waiting: VecDeque<Submitted>,
    /// Turns to be reported to each worker.
    done: Vec<VecDeque<u64>>,
    pub(crate) held: Held,
    /// Messages of entries, durable or not.
    messages: BTreeMap<EntryNo, u32>,
    /// (session, message) → when it was about to be sent with a packet id, in milliseconds.
    pub(crate) begun_ms: BTreeMap<(SessionNo, u32), u64>,
    /// (client, message), for ever: who was to get what.
    pub(crate) enqueued: BTreeSet<(String, u32)>,
    /// Messages that were retained at some time.
    pub(crate) retained_ever: BTreeSet<u32>,
    /// Messages that were wills at some time.
    pub(crate) wills_ever: BTreeSet<u32>,
}

impl Ledger {
    pub(crate) fn new(workers: u16) -> Self {
        Self { done: vec![VecDeque::new(); usize::from(workers)], ..Self::default() }
    }

    /// The broker is gone, and with it all that was not durable; the next one has so many workers.
    pub(crate) fn crash(&mut self, workers: u16) {
        self.waiting.clear();
        self.done = vec![VecDeque::new(); usize::from(workers)];
    }

    pub(crate) fn submit(&mut self, worker: u16, changes: Changes, now_ms: u64) {
        let Changes { turn, batch: ops, wait, .. } = changes;
        assert!(!ops.is_empty() || wait == Wait::ForAll, "an empty batch is submitted");
        if let Some(before) = self.last_turn(worker) {
            assert!(before < turn, "turn {turn} of {worker} after {before}");
        }
        for op in &ops {
            match op {
                StoreOp::Enqueued { entry, delivery, .. } => {
                    if let Some(id) = id_of(delivery.message.payload()) {
                        self.messages.insert(*entry, id);
                    }
                }
                StoreOp::Assigned { session, entry, .. } => {
                    if let Some(id) = self.messages.get(entry) {
                        self.begun_ms.insert((*session, *id), now_ms);
                    }
                }
                _ => {}
            }
        }
        self.waiting.push_back((worker, turn, ops, wait));
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
        let Some((worker, turn, ops, wait)) = self.waiting.pop_front() else {
            return false;
        };
        for op in ops {
            self.note(&op);
            self.held.apply(op);
        }
        // As the store does it: nobody is told what nobody waits for.
        if wait != Wait::Nobody {
            self.done[usize::from(worker)].push_back(turn);
        }
        true
    }

    /// The next turn to tell `worker` about.
    pub(crate) fn next_done(&mut self, worker: u16) -> Option<u64> {
        self.done[usize::from(worker)].pop_front()
    }

    /// Notes what is asked for later, when the store may have it no more.
    fn note(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Enqueued { session, delivery, .. } => {
                let kept = self.held.sessions.get(session);
                if let (Some(kept), Some(id)) = (kept, id_of(delivery.message.payload())) {
                    self.enqueued.insert((kept.record.client.to_string(), id));
                }
            }
            StoreOp::Retained { message, .. } => {
                self.retained_ever.extend(id_of(message.payload()));
            }
            StoreOp::WillSet { will, .. } => {
                self.wills_ever.extend(id_of(will.message.payload()));
            }
            _ => {}
        }
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
                StoreOp::Delivered { session, entry }
                | StoreOp::HandedOver { session, entry, .. } => {
                    unwritten.insert((*session, *entry), None);
                }
                _ => {}
            }
        }
        let kept = self.held.sessions.get(&fetch.session);
        let find = |&entry: &EntryNo| {
            let found = match unwritten.get(&(fetch.session, entry)) {
                Some(delivery) => delivery.cloned(),
                None => kept.and_then(|kept| kept.entries.get(&entry)?.delivery.clone()),
            };
            Some((entry, found?))
        };
        fetch.entries.iter().filter_map(find).collect()
    }

    /// The durable QoS 2 packet ids of a client whose session lasts.
    pub(crate) fn has_received(&self, client: &str, packet_id: u16) -> bool {
        self.held.session_of(client).is_some_and(|(_, kept)| kept.received.contains(&packet_id))
    }

    /// The options of a durable subscription.
    pub(crate) fn subscription(&self, client: &str, filter: &str) -> Option<u8> {
        let (_, kept) = self.held.session_of(client)?;
        Some(kept.subscriptions.get(filter)?.options)
    }
}
