//! What the simulated store holds, and how it gives that back.

use crate::message::id_of;
use mogi_core::store::{
    SessionRecord, StoredDelivery, StoredFlight, StoredSession, StoredSubscription, StoredWaiting,
    StoredWill,
};
use mogi_core::{EntryNo, Message, SessionNo, StoreOp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Durable state.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) sessions: BTreeMap<SessionNo, Kept>,
    ended: BTreeSet<SessionNo>,
    /// Topic → version of its newest change, and its message.
    retained: BTreeMap<String, (u64, Option<Message>)>,
    pub(crate) wills: BTreeMap<Arc<str>, Arc<StoredWill>>,
    last_session: SessionNo,
    last_entry: EntryNo,
    last_version: u64,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) record: SessionRecord,
    pub(crate) subscriptions: BTreeMap<String, StoredSubscription>,
    pub(crate) received: BTreeSet<u16>,
    pub(crate) entries: BTreeMap<EntryNo, Entry>,
}

/// A message on its way.
pub(crate) struct Entry {
    packet_id: Option<u16>,
    /// `None`: the client has it.
    pub(crate) delivery: Option<StoredDelivery>,
}

impl Entry {
    /// Whether the message may have been sent with that packet id, and is not acknowledged.
    pub(crate) fn is_published(&self, packet_id: u16) -> bool {
        self.packet_id == Some(packet_id) && self.delivery.is_some()
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = self.delivery.as_ref().map(|one| (id_of(one.message.payload()), one.qos));
        write!(f, "{message:?} as {:?}", self.packet_id)
    }
}

impl Held {
    pub(crate) fn apply(&mut self, op: StoreOp) {
        match op {
            StoreOp::SessionSet { session, record } => self.set_session(session, record),
            StoreOp::SessionEnd { session } => {
                self.sessions.remove(&session);
                self.ended.insert(session);
            }
            StoreOp::Retained { message, version } => {
                self.retain(message.topic().to_owned(), version, Some(message));
            }
            StoreOp::RetainedEnd { topic, version } => {
                self.retain(topic.to_string(), version, None);
            }
            StoreOp::WillSet { client, will } => drop(self.wills.insert(client, will)),
            StoreOp::WillEnd { client } | StoreOp::WillTaken { client, .. } => {
                self.wills.remove(&client);
            }
            StoreOp::SubscriptionSet { session, .. }
            | StoreOp::SubscriptionEnd { session, .. }
            | StoreOp::Received { session, .. }
            | StoreOp::ReceivedEnd { session, .. }
            | StoreOp::Enqueued { session, .. }
            | StoreOp::Assigned { session, .. }
            | StoreOp::Released { session, .. }
            | StoreOp::Delivered { session, .. }
            | StoreOp::HandedOver { session, .. } => {
                if let StoreOp::Enqueued { entry, .. } = op {
                    self.last_entry = self.last_entry.max(entry);
                }
                match self.sessions.get_mut(&session) {
                    Some(kept) => kept.apply(op),
                    None => assert!(self.ended.contains(&session), "no such session yet: {op:?}"),
                }
            }
        }
    }

    fn set_session(&mut self, session: SessionNo, record: SessionRecord) {
        assert!(session != SessionNo::NONE && !self.ended.contains(&session), "{session:?} again");
        self.last_session = self.last_session.max(session);
        let mut others = self.sessions.iter().filter(|(number, _)| **number != session);
        let twin = others.find(|(_, kept)| kept.record.client == record.client);
        assert!(twin.is_none(), "{} has two sessions: {session:?} and {twin:?}", record.client);
        match self.sessions.get_mut(&session) {
            Some(kept) => kept.record = record,
            None => {
                let kept = Kept {
                    record,
                    subscriptions: BTreeMap::new(),
                    received: BTreeSet::new(),
                    entries: BTreeMap::new(),
                };
                self.sessions.insert(session, kept);
            }
        }
    }

    fn retain(&mut self, topic: String, version: u64, message: Option<Message>) {
        self.last_version = self.last_version.max(version);
        let place = self.retained.entry(topic).or_default();
        assert!(version != place.0, "two changes of a topic have version {version}");
        if version > place.0 {
            *place = (version, message);
        }
    }

    /// The session of a client id.
    pub(crate) fn session_of(&self, client: &str) -> Option<(SessionNo, &Kept)> {
        let mut all = self.sessions.iter();
        let (number, kept) = all.find(|(_, kept)| &*kept.record.client == client)?;
        Some((*number, kept))
    }

    pub(crate) fn retained(&self) -> impl Iterator<Item = (&Message, u64)> {
        self.retained.values().filter_map(|(version, message)| Some((message.as_ref()?, *version)))
    }

    pub(crate) fn retained_of(&self, topic: &str) -> Option<&Message> {
        self.retained.get(topic)?.1.as_ref()
    }

    /// The highest numbers there were: of sessions, entries, changes of retained messages.
    pub(crate) const fn last_numbers(&self) -> (SessionNo, EntryNo, u64) {
        (self.last_session, self.last_entry, self.last_version)
    }

    /// All sessions, as a store gives them back.
    pub(crate) fn stored_sessions(&self) -> Vec<StoredSession> {
        self.sessions.iter().map(|(number, kept)| kept.stored(*number)).collect()
    }
}

impl Kept {
    fn apply(&mut self, op: StoreOp) {
        match op {
            StoreOp::SubscriptionSet { subscription, .. } => {
                self.subscriptions.insert(subscription.filter.to_string(), subscription);
            }
            StoreOp::SubscriptionEnd { filter, .. } => drop(self.subscriptions.remove(&*filter)),
            StoreOp::Received { packet_id, .. } => drop(self.received.insert(packet_id)),
            StoreOp::ReceivedEnd { packet_id, .. } => drop(self.received.remove(&packet_id)),
            StoreOp::Enqueued { entry, delivery, .. } => {
                let kept = Entry { packet_id: None, delivery: Some(delivery) };
                let before = self.entries.insert(entry, kept);
                assert!(before.is_none(), "{entry:?} twice");
            }
            StoreOp::Assigned { entry, packet_id, .. } => {
                let mut others = self.entries.iter().filter(|(other, _)| **other != entry);
                let twin = others.find(|(_, other)| other.packet_id == Some(packet_id));
                assert!(twin.is_none(), "{packet_id} of {entry:?} is that of {twin:?}");
                if let Some(kept) = self.entries.get_mut(&entry) {
                    kept.packet_id = Some(packet_id);
                }
            }
            StoreOp::Released { entry, .. } => {
                if let Some(kept) = self.entries.get_mut(&entry) {
                    assert!(kept.packet_id.is_some(), "{entry:?} is released, and has no id");
                    kept.delivery = None;
                }
            }
            StoreOp::Delivered { entry, .. } | StoreOp::HandedOver { entry, .. } => {
                drop(self.entries.remove(&entry))
            }
            other => unreachable!("{other:?} is not of one session"),
        }
    }

    fn stored(&self, session: SessionNo) -> StoredSession {
        let mut stored = StoredSession {
            session,
            record: self.record.clone(),
            subscriptions: self.subscriptions.values().cloned().collect(),
            received: self.received.iter().copied().collect(),
            flights: Vec::new(),
            waiting: Vec::new(),
        };
        for (&entry, Entry { packet_id, delivery }) in &self.entries {
            match (packet_id, delivery) {
                (Some(packet_id), delivery) => stored.flights.push(StoredFlight {
                    entry,
                    packet_id: *packet_id,
                    delivery: delivery.clone(),
                }),
                (None, Some(delivery)) => stored.waiting.push(StoredWaiting {
                    entry,
                    weight: delivery.message.weight() as u32,
                    grouped: delivery.group.is_some(),
                }),
                (None, None) => unreachable!("released without an id"),
            }
        }
        stored
    }
}
