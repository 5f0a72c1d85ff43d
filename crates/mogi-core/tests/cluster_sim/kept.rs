//! What the shared store holds of one client id, or of one topic: what lies in one slot of Redis.

use crate::store::Answer;
use mogi_codec::QoS;
use mogi_core::store::{
    SessionRecord, StoredDelivery, StoredFlight, StoredSession, StoredSubscription, StoredWaiting,
    StoredWill,
};
use mogi_core::{Cause, EntryNo, Message, SessionNo, StoreOp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A client id's slot, or a topic's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// Rises with every claim.
    pub(crate) epoch: u64,
    /// Who claimed it last.
    pub(crate) owner: Option<usize>,
    pub(crate) session: Option<KeptSession>,
    pub(crate) will: Option<Arc<StoredWill>>,
    /// A will that is taken, and what follows from it until it has.
    pub(crate) published: Option<(Cause, Vec<StoreOp>)>,
    /// Entries that were added at some time: each counts but once.
    marks: BTreeSet<EntryNo>,
    /// Of a topic: version and message.
    pub(crate) retained: (u64, Option<Message>),
}

/// A session in the store.
#[derive(Clone, Debug)]
pub(crate) struct KeptSession {
    pub(crate) number: SessionNo,
    pub(crate) record: SessionRecord,
    pub(crate) subscriptions: BTreeMap<Arc<str>, StoredSubscription>,
    /// QoS 2 ids and entries handed over, and what is to follow from each until it has.
    pub(crate) received: BTreeMap<Cause, Vec<StoreOp>>,
    pub(crate) entries: BTreeMap<EntryNo, KeptEntry>,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct KeptEntry {
    pub(crate) packet_id: Option<u16>,
    /// `None`: released.
    pub(crate) delivery: Option<StoredDelivery>,
}

impl Kept {
    /// Carries out what only the owner may change.
    pub(crate) fn own(&mut self, epoch: u64, ops: &[StoreOp], follows: &[StoreOp]) -> Answer {
        if epoch != 0 && epoch < self.epoch {
            return Answer::Fenced;
        }
        let session = self.session.as_ref();
        let gone = |op: &StoreOp| session.is_some_and(|kept| kept.lacks(op, follows));
        if ops.iter().any(gone) || ops.iter().any(|op| self.lacks_will(op, follows)) {
            return Answer::Gone;
        }
        for op in ops {
            match op {
                StoreOp::SessionSet { session, record } => self.set_session(*session, record),
                StoreOp::SessionEnd { session } => {
                    if self.session.as_ref().is_some_and(|kept| kept.number == *session) {
                        self.session = None;
                    }
                }
                StoreOp::WillSet { will, .. } => self.will = Some(Arc::clone(will)),
                StoreOp::WillEnd { .. } => self.will = None,
                StoreOp::WillTaken { client, .. } => {
                    self.will = None;
                    self.published = (!follows.is_empty())
                        .then(|| (Cause::Will(Arc::clone(client)), follows.to_vec()));
                }
                other => {
                    let session = session_of(other);
                    let kept = self.session.as_mut().filter(|kept| Some(kept.number) == session);
                    if let Some(kept) = kept {
                        kept.apply(other, follows);
                    }
                }
            }
        }
        Answer::Done
    }

    /// Whether a will is to be taken that is not there; the same request may come again.
    fn lacks_will(&self, op: &StoreOp, follows: &[StoreOp]) -> bool {
        let again = || self.published.as_ref().is_some_and(|(_, known)| known == follows);
        matches!(op, StoreOp::WillTaken { .. }) && self.will.is_none() && !again()
    }

    fn set_session(&mut self, session: SessionNo, record: &SessionRecord) {
        match &mut self.session {
            Some(kept) if kept.number == session => kept.record = record.clone(),
            _ => {
                self.session = Some(KeptSession {
                    number: session,
                    record: record.clone(),
                    subscriptions: BTreeMap::new(),
                    received: BTreeMap::new(),
                    entries: BTreeMap::new(),
                });
            }
        }
    }

    /// Adds a message, whoever says so, unless it was added before.
    pub(crate) fn add(&mut self, op: &StoreOp) {
        let StoreOp::Enqueued { session, entry, delivery } = op else {
            unreachable!("not a message: {op:?}");
        };
        let kept = self.session.as_mut().filter(|kept| kept.number == *session);
        if let Some(kept) = kept
            && self.marks.insert(*entry)
        {
            let delivery = Some(delivery.clone());
            kept.entries.insert(*entry, KeptEntry { packet_id: None, delivery });
        }
    }

    /// What follows from entries that were handed over has followed.
    pub(crate) fn settle_entries(&mut self) {
        let received = self.session.iter_mut().map(|kept| &mut kept.received);
        received.for_each(|causes| causes.retain(|cause, _| !matches!(cause, Cause::Entry(_))));
    }

    /// Retains a message, or ends one, unless something newer is known.
    pub(crate) fn retain(&mut self, op: &StoreOp) {
        let (version, message) = match op {
            StoreOp::Retained { message, version } => (*version, Some(message.clone())),
            StoreOp::RetainedEnd { version, .. } => (*version, None),
            other => unreachable!("not retained: {other:?}"),
        };
        if version > self.retained.0 {
            self.retained = (version, message);
        }
    }
}

impl KeptSession {
    /// Whether an entry is to be handed over that is not there; the same request may come again.
    fn lacks(&self, op: &StoreOp, follows: &[StoreOp]) -> bool {
        matches!(op, StoreOp::HandedOver { session, entry, .. }
            if *session == self.number
                && !self.entries.contains_key(entry)
                && self.received.get(&Cause::Entry(*entry)).is_none_or(|it| it != follows))
    }

    fn apply(&mut self, op: &StoreOp, follows: &[StoreOp]) {
        match op {
            StoreOp::SubscriptionSet { subscription, .. } => {
                self.subscriptions.insert(Arc::clone(&subscription.filter), subscription.clone());
            }
            StoreOp::SubscriptionEnd { filter, .. } => drop(self.subscriptions.remove(filter)),
            StoreOp::Received { packet_id, .. } => {
                self.received.insert(Cause::PacketId(*packet_id), follows.to_vec());
            }
            StoreOp::ReceivedEnd { packet_id, .. } => {
                drop(self.received.remove(&Cause::PacketId(*packet_id)));
            }
            StoreOp::HandedOver { entry, .. } => {
                self.entries.remove(entry);
                self.received.insert(Cause::Entry(*entry), follows.to_vec());
            }
            StoreOp::Assigned { entry, packet_id, .. } => {
                if let Some(kept) = self.entries.get_mut(entry) {
                    kept.packet_id = Some(*packet_id);
                }
            }
            StoreOp::Released { entry, .. } => {
                if let Some(kept) = self.entries.get_mut(entry) {
                    assert!(kept.packet_id.is_some(), "{entry:?} is released, and has no id");
                    kept.delivery = None;
                }
            }
            StoreOp::Delivered { entry, .. } => drop(self.entries.remove(entry)),
            other => unreachable!("{other:?} is not of one session"),
        }
    }

    /// The session as a claim gives it: without what waits.
    pub(crate) fn stored(&self) -> StoredSession {
        let flight = |(&entry, kept): (&EntryNo, &KeptEntry)| {
            let (packet_id, delivery) = (kept.packet_id?, kept.delivery.clone());
            Some(StoredFlight { entry, packet_id, delivery })
        };
        StoredSession {
            session: self.number,
            record: self.record.clone(),
            subscriptions: self.subscriptions.values().cloned().collect(),
            received: self.received.keys().filter_map(packet_id_of).collect(),
            flights: self.entries.iter().filter_map(flight).collect(),
            waiting: Vec::new(),
        }
    }

    pub(crate) fn waiting(&self) -> Vec<StoredWaiting> {
        let waits = |(&entry, kept): (&EntryNo, &KeptEntry)| {
            let delivery = kept.delivery.as_ref().filter(|_| kept.packet_id.is_none())?;
            let weight = delivery.message.weight() as u32;
            Some(StoredWaiting { entry, weight, grouped: delivery.group.is_some() })
        };
        self.entries.iter().filter_map(waits).collect()
    }
}

fn packet_id_of(cause: &Cause) -> Option<u16> {
    match cause {
        Cause::PacketId(packet_id) => Some(*packet_id),
        Cause::Entry(_) | Cause::Will(_) => None,
    }
}

/// The session a change is of.
pub(crate) const fn session_of(op: &StoreOp) -> Option<SessionNo> {
    match op {
        StoreOp::SessionSet { session, .. }
        | StoreOp::SessionEnd { session }
        | StoreOp::SubscriptionSet { session, .. }
        | StoreOp::SubscriptionEnd { session, .. }
        | StoreOp::Enqueued { session, .. }
        | StoreOp::Assigned { session, .. }
        | StoreOp::Released { session, .. }
        | StoreOp::Delivered { session, .. }
        | StoreOp::HandedOver { session, .. }
        | StoreOp::Received { session, .. }
        | StoreOp::ReceivedEnd { session, .. } => Some(*session),
        _ => None,
    }
}

/// Whether a change follows from a QoS 2 packet id in its turn.
pub(crate) fn is_exactly_once(op: &StoreOp) -> bool {
    match op {
        StoreOp::Enqueued { delivery, .. } => delivery.message.qos() == QoS::ExactlyOnce,
        StoreOp::Retained { message, .. } => message.qos() == QoS::ExactlyOnce,
        _ => false,
    }
}
