//! A store in memory: what the others are compared with, and what tests use.

use crate::clock::now_ms;
use crate::error::StoreError;
use crate::ops::{
    EntryNo, SessionNo, SessionRecord, StoreOp, StoredDelivery, StoredFlight, StoredSession,
    StoredSubscription, StoredWaiting, StoredWill,
};
use crate::store::{LoadReport, Loaded, Store, Usage};
use mogi_core::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps everything in maps. Clones share what they hold, as two openings of one directory do.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<SessionNo, Session>,
    /// `None`: there was one, and an older change has to know it.
    retained: BTreeMap<Arc<str>, (u64, Option<Message>)>,
    wills: BTreeMap<Arc<str>, StoredWill>,
    last_session: SessionNo,
    last_entry: EntryNo,
    last_version: u64,
    alive_at_ms: Option<u64>,
}

#[derive(Debug)]
struct Session {
    record: SessionRecord,
    subscriptions: BTreeMap<Arc<str>, StoredSubscription>,
    received: BTreeSet<u16>,
    entries: BTreeMap<EntryNo, Entry>,
}

#[derive(Debug)]
struct Entry {
    packet_id: Option<u16>,
    delivery: Option<StoredDelivery>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&mut self, batches: &[&[StoreOp]]) -> Result<(), StoreError> {
        let mut state = self.state();
        batches.iter().copied().flatten().for_each(|op| state.apply(op));
        state.alive_at_ms = Some(now_ms());
        Ok(())
    }

    fn load(&mut self, visit: &mut dyn FnMut(Loaded)) -> Result<LoadReport, StoreError> {
        let state = self.state();
        let mut report = LoadReport {
            last_session: state.last_session,
            last_entry: state.last_entry,
            last_version: state.last_version,
            alive_at_ms: state.alive_at_ms,
            wills: state.wills.len() as u64,
            ..LoadReport::default()
        };
        visit(Loaded::Alive { at_ms: state.alive_at_ms });
        for (number, session) in &state.sessions {
            report.loaded.sessions += 1;
            report.loaded.entries += session.entries.len() as u64;
            report.subscriptions += session.subscriptions.len() as u64;
            visit(Loaded::Session(session.stored(*number)));
        }
        for (version, message) in state.retained.values() {
            if let Some(message) = message.clone() {
                report.loaded.retained += 1;
                visit(Loaded::Retained { message, version: *version });
            }
        }
        for (client, will) in &state.wills {
            visit(Loaded::Will { client: client.clone(), will: will.clone() });
        }
        Ok(report)
    }

    fn fetch(
        &mut self,
        session: SessionNo,
        entries: &[EntryNo],
        out: &mut Vec<(EntryNo, StoredDelivery)>,
    ) -> Result<(), StoreError> {
        let wanted: BTreeSet<EntryNo> = entries.iter().copied().collect();
        if let Some(session) = self.state().sessions.get(&session) {
            out.extend(wanted.into_iter().filter_map(|number| {
                let delivery = session.entries.get(&number)?.delivery.clone()?;
                Some((number, delivery))
            }));
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let state = self.state();
        let entries = || state.sessions.values().flat_map(|session| session.entries.values());
        Usage {
            sessions: state.sessions.len() as u64,
            retained: state.retained.values().filter(|(_, it)| it.is_some()).count() as u64,
            flights: entries().filter(|entry| entry.packet_id.is_some()).count() as u64,
            ..Usage::default()
        }
    }

    fn tick(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

impl State {
    fn apply(&mut self, op: &StoreOp) {
        self.count(op);
        match op {
            StoreOp::SessionSet { session, record } => {
                let record = record.clone();
                match self.sessions.get_mut(session) {
                    Some(known) => known.record = record,
                    None => drop(self.sessions.insert(*session, Session::new(record))),
                }
            }
            StoreOp::SessionEnd { session } => drop(self.sessions.remove(session)),
            StoreOp::Retained { message, version } => {
                self.retain(message.topic(), *version, Some(message.clone()));
            }
            StoreOp::RetainedEnd { topic, version } => self.retain(topic, *version, None),
            StoreOp::WillSet { client, will } => {
                self.wills.insert(client.clone(), StoredWill::clone(will));
            }
            StoreOp::WillEnd { client } | StoreOp::WillTaken { client, .. } => {
                self.wills.remove(client);
            }
            StoreOp::SubscriptionSet { session, .. }
            | StoreOp::SubscriptionEnd { session, .. }
            | StoreOp::Enqueued { session, .. }
            | StoreOp::Assigned { session, .. }
            | StoreOp::Released { session, .. }
            | StoreOp::Delivered { session, .. }
            | StoreOp::HandedOver { session, .. }
            | StoreOp::Received { session, .. }
            | StoreOp::ReceivedEnd { session, .. } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.apply(op);
                }
            }
        }
    }

    fn count(&mut self, op: &StoreOp) {
        match op {
            StoreOp::SessionSet { session, .. } => {
                self.last_session = self.last_session.max(*session);
            }
            StoreOp::Enqueued { entry, .. } => self.last_entry = self.last_entry.max(*entry),
            StoreOp::Retained { version, .. } | StoreOp::RetainedEnd { version, .. } => {
                self.last_version = self.last_version.max(*version);
            }
            _ => {}
        }
    }

    fn retain(&mut self, topic: &str, version: u64, message: Option<Message>) {
        let known = self.retained.get(topic);
        if known.is_none_or(|(known, _)| *known < version) {
            self.retained.insert(topic.into(), (version, message));
        }
    }
}

impl Session {
    const fn new(record: SessionRecord) -> Self {
        Self {
            record,
            subscriptions: BTreeMap::new(),
            received: BTreeSet::new(),
            entries: BTreeMap::new(),
        }
    }

    fn apply(&mut self, op: &StoreOp) {
        match op {
            StoreOp::SubscriptionSet { subscription, .. } => {
                self.subscriptions.insert(subscription.filter.clone(), subscription.clone());
            }
            StoreOp::SubscriptionEnd { filter, .. } => drop(self.subscriptions.remove(filter)),
            StoreOp::Enqueued { entry, delivery, .. } => {
                let fresh = || Entry { packet_id: None, delivery: Some(delivery.clone()) };
                self.entries.entry(*entry).or_insert_with(fresh);
            }
            StoreOp::Assigned { entry, packet_id, .. } => {
                if let Some(entry) = self.entries.get_mut(entry) {
                    entry.packet_id = Some(*packet_id);
                }
            }
            StoreOp::Released { entry, .. } => {
                if let Some(entry) = self.entries.get_mut(entry)
                    && entry.packet_id.is_some()
                {
                    entry.delivery = None;
                }
            }
            StoreOp::Delivered { entry, .. } | StoreOp::HandedOver { entry, .. } => {
                drop(self.entries.remove(entry))
            }
            StoreOp::Received { packet_id, .. } => drop(self.received.insert(*packet_id)),
            StoreOp::ReceivedEnd { packet_id, .. } => drop(self.received.remove(packet_id)),
            _ => {}
        }
    }

    fn stored(&self, session: SessionNo) -> StoredSession {
        let mut flights = Vec::new();
        let mut waiting = Vec::new();
        for (&entry, state) in &self.entries {
            match (state.packet_id, &state.delivery) {
                (Some(packet_id), delivery) => {
                    flights.push(StoredFlight { entry, packet_id, delivery: delivery.clone() });
                }
                (None, Some(delivery)) => waiting.push(StoredWaiting {
                    entry,
                    weight: delivery.message.weight() as u32,
                    grouped: delivery.group.is_some(),
                }),
                (None, None) => {}
            }
        }
        StoredSession {
            session,
            record: self.record.clone(),
            subscriptions: self.subscriptions.values().cloned().collect(),
            received: self.received.iter().copied().collect(),
            flights,
            waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryStore;
    use crate::conformance::{self, Open};

    #[test]
    fn it_conforms() {
        let mut store = MemoryStore::new();
        conformance::run(&mut |open| {
            if open == Open::Empty {
                store = MemoryStore::new();
            }
            Box::new(store.clone())
        });
    }
}
