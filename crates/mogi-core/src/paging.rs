//! Long queues: what a client waits for beyond a bounded window stays in the store.
//!
//! ```text
//!  ◄── client   window in memory  │  asked for  │  tail: in the store only      ◄── new messages
//! ```
//! An absent client has no window. Messages of shared groups are always in memory, because another
//! member may get them at any time; so they may overtake those of other subscriptions.

use crate::client::Client;
use crate::event::Fetch;
use crate::inflight::Delivery;
use crate::queue::Queue;
use crate::shared::{Group, Through};
use crate::store::{EntryNo, StoredDelivery, StoredWaiting};
use crate::tail::Tail;
use crate::turn::Turn;
use crate::worker::Worker;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// The question after messages of groups.
const GROUPED: u32 = 0;

/// Entries the store has and a queue has not.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// With their weights.
    pub(crate) plain: Vec<(EntryNo, u32)>,
    /// Those of shared groups.
    pub(crate) grouped: Vec<EntryNo>,
}

/// What of a queue is not in memory.
#[derive(Debug, Default)]
pub(crate) struct Paged {
    tail: Tail,
    /// Entries that were asked for, oldest first.
    asked: VecDeque<EntryNo>,
}

impl Paged {
    pub(crate) fn len(&self) -> usize {
        self.asked.len() + self.tail.len()
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.tail.bytes()
    }
}

impl Queue {
    /// Adds a message the store has; it is not kept in memory.
    pub(crate) fn push_paged(&mut self, entry: EntryNo, weight: u32) {
        self.paged_mut().tail.push_back(entry, weight);
        self.count_more(1);
    }

    /// Those of `waiting` that are neither here nor in `known`.
    pub(crate) fn missing(
        &mut self,
        known: &BTreeSet<EntryNo>,
        waiting: Vec<StoredWaiting>,
    ) -> Missing {
        let mut here: BTreeSet<EntryNo> = self.numbers().collect();
        here.extend(&self.grouped.0);
        if let Some(paged) = &mut self.paged {
            here.extend(&paged.asked);
            here.extend(paged.tail.numbers());
        }
        let mut missing = Missing::default();
        for StoredWaiting { entry, weight, grouped } in waiting {
            if here.contains(&entry) || known.contains(&entry) {
                continue;
            }
            match grouped {
                true => missing.grouped.push(entry),
                false => missing.plain.push((entry, weight)),
            }
        }
        missing
    }

    /// Adds messages the store has. They take their places by number among those that are only in
    /// the store as well, and come behind those in memory, which may have been sent.
    pub(crate) fn merge_paged(&mut self, entries: Vec<(EntryNo, u32)>) {
        if entries.is_empty() {
            return;
        }
        self.count_more(entries.len());
        self.paged_mut().tail.merge(entries);
    }

    /// The next entries to ask for, up to `most`, and the number of the question.
    fn ask(&mut self, most: usize) -> Option<(u32, Vec<EntryNo>)> {
        let paged = self.paged.as_mut().filter(|paged| paged.asked.is_empty())?;
        let mut entries = Vec::with_capacity(most.min(paged.tail.len()));
        while entries.len() < most
            && let Some(entry) = paged.tail.pop()
        {
            entries.push(entry);
        }
        paged.asked.extend(&entries);
        self.question = next(self.question);
        (!entries.is_empty()).then_some((self.question, entries))
    }

    /// Takes an answer in; `stays`: whether the client is there.
    fn answer(&mut self, question: u32, found: Vec<(EntryNo, Delivery)>, stays: bool) {
        if question == GROUPED {
            let (asked, answers) = &mut self.grouped;
            *answers = answers.saturating_sub(1);
            match *answers {
                0 => asked.clear(),
                _ => {
                    for (entry, _) in &found {
                        asked.remove(entry);
                    }
                }
            }
            return found.into_iter().for_each(|(_, delivery)| self.push_shared(delivery));
        }
        if self.question != question {
            return;
        }
        let Some(paged) = self.paged.as_mut() else { return };
        let asked = std::mem::take(&mut paged.asked);
        if !stays {
            asked.into_iter().rev().for_each(|entry| paged.tail.push_front(entry));
            return;
        }
        for (_, delivery) in &found {
            paged.tail.forget_bytes(delivery.weight);
        }
        if paged.len() == 0 {
            paged.tail.settle_bytes();
        }
        self.count_less(asked.len());
        found.into_iter().for_each(|(_, delivery)| self.push_shared(delivery));
        self.forget_empty_pages();
    }

    /// The client is gone: what the store has need not be in memory, but for messages of groups.
    pub(crate) fn page_out(&mut self) {
        let spilled = self.take_kept();
        if self.paged.as_ref().is_some_and(|paged| !paged.asked.is_empty()) {
            self.question = next(self.question);
        }
        let paged = self.paged_mut();
        let asked = std::mem::take(&mut paged.asked);
        asked.into_iter().rev().for_each(|entry| paged.tail.push_front(entry));
        for delivery in spilled.iter().rev() {
            paged.tail.push_front(delivery.entry);
            paged.tail.add_bytes(delivery.weight);
        }
        self.count_more(spilled.len());
        self.forget_empty_pages();
    }

    fn paged_mut(&mut self) -> &mut Paged {
        self.paged.get_or_insert_default()
    }

    fn forget_empty_pages(&mut self) {
        if self.paged.as_ref().is_some_and(|paged| paged.len() == 0) {
            self.paged = None;
        }
    }
}

const fn next(question: u32) -> u32 {
    let next = question.wrapping_add(1);
    if next == GROUPED { 1 } else { next }
}

impl Client {
    /// Asks the store for what comes next, if there is room in the window.
    pub(crate) fn ask_page(&mut self, key: u32, turn: &mut Turn) {
        // While the store is being read it may have more that comes before what is known here.
        let reads = self.session.watches_entries();
        let queue = &mut self.session.queue;
        let window = turn.cfg.queue_window_messages;
        if queue.paged.is_none()
            || reads
            || queue.in_memory() > window / 2
            || !self.link.as_ref().is_some_and(|link| link.open)
        {
            return;
        }
        let most = window - queue.in_memory();
        if let Some((question, entries)) = queue.ask(most.max(1)) {
            let (generation, session) = (self.generation, self.session.number);
            turn.effects.fetches.push(Fetch { key, generation, question, session, entries });
        }
    }

    /// Fetches messages of groups after a start, all at once: they belong in memory.
    pub(crate) fn fetch_grouped(&mut self, key: u32, turn: &mut Turn, entries: Vec<EntryNo>) {
        if !entries.is_empty() {
            let (asked, answers) = &mut self.session.queue.grouped;
            asked.extend(&entries);
            *answers += 1;
            let (generation, session) = (self.generation, self.session.number);
            let question = GROUPED;
            turn.effects.fetches.push(Fetch { key, generation, question, session, entries });
        }
    }
}

impl Worker {
    /// What the store has of a [`Fetch`], in the order it was asked for; what it has not is gone.
    pub fn fetched(
        &mut self,
        now_ms: u64,
        key: u32,
        generation: u32,
        question: u32,
        entries: Vec<(EntryNo, StoredDelivery)>,
    ) {
        self.turn.now_ms = now_ms;
        let found: Vec<(EntryNo, Delivery)> = entries
            .into_iter()
            .map(|(entry, stored)| (entry, self.revive(entry, stored)))
            .collect();
        let Some(client) = self.clients.current(key, generation) else {
            return;
        };
        client.session.queue.answer(question, found, client.link.is_some());
        client.pump(key, &mut self.turn);
    }

    /// A delivery of the store as one in memory.
    pub(crate) fn revive(&self, entry: EntryNo, stored: StoredDelivery) -> Delivery {
        let group = stored.group.map(|(name, filter)| {
            let group = self.node.interest.group(&name, &filter);
            group.unwrap_or_else(|| Through::new(&Arc::new(Group::empty(&name, &filter))))
        });
        Delivery {
            weight: stored.message.weight().max(1) as u32,
            message: Some(stored.message),
            qos: stored.qos,
            retain: stored.retain,
            ids: stored.ids,
            group,
            entry,
        }
    }
}
