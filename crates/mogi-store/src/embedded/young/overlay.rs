//! What is read of the tables at a start, with what stands in the log only laid over it.

use super::{Session, Young};
use crate::embedded::keys;
use crate::error::StoreError;
use crate::ops::{
    EntryNo, SessionNo, StoredDelivery, StoredFlight, StoredSession, StoredWaiting, StoredWill,
};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use mogi_core::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

type Messages = Vec<(EntryNo, StoredDelivery)>;

/// Finds messages of the tables: the session's, by rising numbers.
pub(crate) type Fetch<'a> =
    dyn FnMut(SessionNo, &[EntryNo], &mut Messages) -> Result<(), StoreError> + 'a;

/// What was given of the tables so far, laid over by a [`Young`].
pub(crate) struct Overlay<'a> {
    young: &'a Young,
    /// What long keys are hashed with.
    seed: u64,
    /// Sessions that are not in the tables as far as these were read, the last one first.
    fresh: Vec<SessionNo>,
    /// Topics of which the tables know something newer.
    older: HashSet<Arc<str>, RandomState>,
    /// Where the tables know that there is no retained message, and since which version.
    ended: HashMap<Box<[u8]>, u64, RandomState>,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(young: &'a Young, seed: u64) -> Self {
        let set = young.sessions.iter().filter(|(_, it)| it.is_set());
        let mut fresh: Vec<_> = set.map(|(session, _)| *session).collect();
        fresh.sort_unstable_by(|a, b| b.cmp(a));
        Self { young, seed, fresh, older: HashSet::default(), ended: HashMap::default() }
    }

    /// The next session before `until` that the tables do not have.
    pub(crate) fn next_before(&mut self, until: Option<SessionNo>) -> Option<StoredSession> {
        let session = *self.fresh.last()?;
        if until.is_some_and(|until| session >= until) {
            return None;
        }
        self.fresh.pop();
        let state = self.young.sessions.get(&session)?;
        let mut stored = StoredSession {
            session,
            record: state.record.clone()?,
            subscriptions: Vec::new(),
            received: Vec::new(),
            flights: Vec::new(),
            waiting: Vec::new(),
        };
        // Nothing of it is in the tables.
        state.lay_over(&mut stored, &mut |_, _, _| Ok(())).ok()?;
        Some(stored)
    }

    /// The session of the tables as it is now; `None`: it has ended.
    ///
    /// # Errors
    /// Those of `fetch`.
    pub(crate) fn session(
        &mut self,
        mut stored: StoredSession,
        fetch: &mut Fetch<'_>,
    ) -> Result<Option<StoredSession>, StoreError> {
        let session = stored.session;
        if self.fresh.last() == Some(&session) {
            self.fresh.pop();
        }
        if self.young.ended.contains(&session) {
            return Ok(None);
        }
        if let Some(state) = self.young.sessions.get(&session) {
            state.lay_over(&mut stored, fetch)?;
        }
        Ok(Some(stored))
    }

    /// Whether the retained message of the tables is the one that counts.
    pub(crate) fn keeps(&mut self, topic: &str, version: u64) -> bool {
        match self.young.retained.get_key_value(topic) {
            Some((_, (newer, _))) if *newer > version => false,
            Some((topic, _)) => {
                self.older.insert(topic.clone());
                true
            }
            None => true,
        }
    }

    /// The tables know that the topic of this key has no retained message since this version.
    pub(crate) fn ended(&mut self, key: &[u8], version: u64) {
        if !self.young.retained.is_empty() {
            self.ended.insert(key.into(), version);
        }
    }

    /// Retained messages that the tables do not have.
    pub(crate) fn retained(&self) -> impl Iterator<Item = (u64, &'a Message)> + '_ {
        let counts = self.young.retained.iter().filter(|(topic, (version, _))| {
            !self.older.contains(*topic) && !self.ended_since(topic, *version)
        });
        counts.filter_map(|(_, (version, message))| Some((*version, message.as_ref()?)))
    }

    fn ended_since(&self, topic: &str, version: u64) -> bool {
        if self.ended.is_empty() {
            return false;
        }
        let mut key = Vec::new();
        keys::put_text(&[], topic, self.seed, &mut key);
        self.ended.get(&key[..]).is_some_and(|ended| *ended >= version)
    }

    /// Whether a will of the tables is the one that counts.
    pub(crate) fn keeps_will(&self, client: &str) -> bool {
        !self.young.wills.contains_key(client)
    }

    /// Wills that the tables do not have.
    pub(crate) fn wills(&self) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<StoredWill>)> + '_ {
        self.young.wills.iter().filter_map(|(client, will)| Some((client, will.as_ref()?)))
    }
}

impl Session {
    fn lay_over(
        &self,
        stored: &mut StoredSession,
        fetch: &mut Fetch<'_>,
    ) -> Result<(), StoreError> {
        if let Some(record) = &self.record {
            stored.record = record.clone();
        }
        stored.subscriptions.retain(|it| !self.subscriptions.contains_key(&it.filter));
        stored.subscriptions.extend(self.subscriptions.values().flatten().cloned());
        stored.received.retain(|packet_id| !self.received.contains_key(packet_id));
        let received = self.received.iter().filter(|(_, in_use)| **in_use);
        stored.received.extend(received.map(|(packet_id, _)| *packet_id));
        if self.gone.is_empty() && self.entries.is_empty() {
            return Ok(());
        }
        stored.waiting.retain(|it| !self.gone.contains(&it.entry));
        stored.flights.retain(|it| !self.gone.contains(&it.entry));
        self.entries_over(stored, fetch)
    }

    fn entries_over(
        &self,
        stored: &mut StoredSession,
        fetch: &mut Fetch<'_>,
    ) -> Result<(), StoreError> {
        let is_waiting = |entry: &EntryNo, stored: &StoredSession| {
            stored.waiting.binary_search_by_key(entry, |it| it.entry).is_ok()
        };
        // Those that got a packet id since they are in the tables.
        let settled = self.entries.iter().filter(|(_, it)| it.delivery.is_none());
        let sent: Vec<EntryNo> =
            settled.map(|(entry, _)| entry).filter(|entry| is_waiting(entry, stored)).collect();
        let mut messages = Vec::new();
        fetch(stored.session, &sent, &mut messages)?;
        let mut messages: BTreeMap<_, _> = messages.into_iter().collect();
        let mut flights: BTreeMap<EntryNo, StoredFlight> =
            stored.flights.drain(..).map(|flight| (flight.entry, flight)).collect();
        stored.waiting.retain(|it| self.entries.get(it.entry).is_none());
        for (entry, state) in self.entries.iter() {
            let known = flights.remove(&entry);
            let before = known.as_ref().map(|flight| flight.packet_id);
            let delivery = match (&state.delivery, known) {
                (Some(delivery), _) => Some(delivery.clone()),
                (None, Some(flight)) => flight.delivery,
                // It is damaged, or never was.
                (None, None) => match messages.remove(&entry) {
                    None => continue,
                    found => found,
                },
            };
            match (state.packet_id.or(before), delivery) {
                (Some(packet_id), delivery) => {
                    let delivery = delivery.filter(|_| !state.released);
                    flights.insert(entry, StoredFlight { entry, packet_id, delivery });
                }
                (None, Some(delivery)) => stored.waiting.push(StoredWaiting {
                    entry,
                    weight: delivery.message.weight() as u32,
                    grouped: delivery.group.is_some(),
                }),
                (None, None) => {}
            }
        }
        stored.waiting.sort_unstable_by_key(|it| it.entry);
        stored.flights.extend(flights.into_values());
        Ok(())
    }
}
