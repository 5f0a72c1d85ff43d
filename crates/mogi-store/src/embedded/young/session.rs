//! The changes of one session.

use super::entries::Entries;
use super::{Cost, Find, PLACE_BYTES};
use crate::embedded::mind::Mind;
use crate::error::StoreError;
use crate::ops::{EntryNo, SessionNo, SessionRecord, StoreOp, StoredDelivery, StoredSubscription};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an entry of the tables that is gone costs in memory, in bytes.
const GONE_BYTES: usize = 16;

/// What changed of a session.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) record: Option<SessionRecord>,
    /// `None`: it is there no more.
    pub(super) subscriptions: BTreeMap<Arc<str>, Option<StoredSubscription>>,
    /// Whether it is in use.
    pub(super) received: BTreeMap<u16, bool>,
    pub(super) entries: Entries,
    /// Entries of the tables that are there no more.
    pub(super) gone: BTreeSet<EntryNo>,
}

/// What changed of an entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// `None`: it stands in the tables.
    pub(super) delivery: Option<StoredDelivery>,
    pub(super) packet_id: Option<u16>,
    pub(super) released: bool,
}

impl Entry {
    fn bytes(&self) -> usize {
        PLACE_BYTES + self.delivery.as_ref().map_or(0, |it| it.message.weight())
    }
}

impl Session {
    pub(super) const fn is_set(&self) -> bool {
        self.record.is_some()
    }

    pub(super) fn set(&mut self, record: &SessionRecord) -> Cost {
        let first = self.record.replace(record.clone()).is_none();
        Cost { more: if first { PLACE_BYTES } else { 0 }, less: 0 }
    }

    /// What is counted for it.
    pub(super) fn bytes(&self) -> usize {
        let places =
            self.subscriptions.len() + self.received.len() + usize::from(self.record.is_some());
        let entries: usize = self.entries.iter().map(|(_, it)| it.bytes()).sum();
        places * PLACE_BYTES + entries + self.gone.len() * GONE_BYTES
    }

    pub(super) fn apply(
        &mut self,
        session: SessionNo,
        op: &StoreOp,
        settled: u64,
        mind: &Mind,
        find: &mut Find<'_>,
    ) -> Result<Cost, StoreError> {
        let one_more = |fresh: bool| Cost { more: if fresh { PLACE_BYTES } else { 0 }, less: 0 };
        Ok(match op {
            StoreOp::SubscriptionSet { subscription, .. } => {
                let filter = subscription.filter.clone();
                let state = Some(subscription.clone());
                one_more(self.subscriptions.insert(filter, state).is_none())
            }
            StoreOp::SubscriptionEnd { filter, .. } => {
                one_more(self.subscriptions.insert(filter.clone(), None).is_none())
            }
            StoreOp::Received { packet_id, .. } => {
                one_more(self.received.insert(*packet_id, true).is_none())
            }
            StoreOp::ReceivedEnd { packet_id, .. } => {
                one_more(self.received.insert(*packet_id, false).is_none())
            }
            StoreOp::Enqueued { entry, delivery, .. } => {
                let held = self.entries.get(*entry).is_some_and(|it| it.delivery.is_some());
                let settles = entry.0 <= settled && !self.gone.contains(entry);
                if held || (settles && find(session, *entry)?) {
                    return Ok(Cost::default());
                }
                self.enqueue(*entry, delivery)
            }
            StoreOp::Assigned { entry, packet_id, .. } => {
                let change = |it: &mut Entry| it.packet_id = Some(*packet_id);
                self.change(*entry, settled, change)
            }
            StoreOp::Released { entry, .. } => {
                let known = mind.flights.contains_key(&(session, *entry));
                let change = |it: &mut Entry| {
                    it.released |= it.packet_id.is_some() || (it.delivery.is_none() && known);
                };
                self.change(*entry, settled, change)
            }
            StoreOp::Delivered { entry, .. } | StoreOp::HandedOver { entry, .. } => {
                self.deliver(*entry, settled)
            }
            _ => Cost::default(),
        })
    }

    fn enqueue(&mut self, entry: EntryNo, delivery: &StoredDelivery) -> Cost {
        let fresh = Entry { delivery: Some(delivery.clone()), packet_id: None, released: false };
        let more = fresh.bytes();
        let less = self.entries.insert(entry, fresh).map_or(0, |before| before.bytes());
        Cost { more, less }
    }

    fn change(&mut self, entry: EntryNo, settled: u64, change: impl FnOnce(&mut Entry)) -> Cost {
        if let Some(state) = self.entries.get_mut(entry) {
            change(state);
            return Cost::default();
        }
        // It stands in the tables, or nowhere.
        if entry.0 > settled || self.gone.contains(&entry) {
            return Cost::default();
        }
        let mut state = Entry { delivery: None, packet_id: None, released: false };
        change(&mut state);
        if state.packet_id.is_none() && !state.released {
            return Cost::default();
        }
        self.entries.insert(entry, state);
        Cost { more: PLACE_BYTES, less: 0 }
    }

    fn deliver(&mut self, entry: EntryNo, settled: u64) -> Cost {
        let less = self.entries.remove(entry).map_or(0, |before| before.bytes());
        let more = if entry.0 <= settled && self.gone.insert(entry) { GONE_BYTES } else { 0 };
        Cost { more, less }
    }

    /// What changed but for the packet ids of messages.
    pub(super) fn each<E>(
        &self,
        session: SessionNo,
        each: &mut dyn FnMut(&StoreOp) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(record) = self.record.clone() {
            each(&StoreOp::SessionSet { session, record })?;
        }
        for (filter, state) in &self.subscriptions {
            let filter = filter.clone();
            each(&match state.clone() {
                Some(subscription) => StoreOp::SubscriptionSet { session, subscription },
                None => StoreOp::SubscriptionEnd { session, filter },
            })?;
        }
        for (&packet_id, in_use) in &self.received {
            each(&match in_use {
                true => StoreOp::Received { session, packet_id, follows: 0 },
                false => StoreOp::ReceivedEnd { session, packet_id },
            })?;
        }
        for &entry in &self.gone {
            each(&StoreOp::Delivered { session, entry })?;
        }
        for (entry, state) in self.entries.iter() {
            if let Some(delivery) = state.delivery.clone() {
                each(&StoreOp::Enqueued { session, entry, delivery })?;
            }
        }
        Ok(())
    }

    /// What became of its messages.
    pub(super) fn each_flight<E>(
        &self,
        session: SessionNo,
        each: &mut dyn FnMut(&StoreOp) -> Result<(), E>,
    ) -> Result<(), E> {
        for (entry, state) in self.entries.iter() {
            if let Some(packet_id) = state.packet_id {
                each(&StoreOp::Assigned { session, entry, packet_id })?;
            }
            if state.released {
                each(&StoreOp::Released { session, entry })?;
            }
        }
        Ok(())
    }

    /// See [`super::Young::fetch`].
    pub(super) fn fetch(
        &self,
        wanted: &[EntryNo],
        settled: u64,
        out: &mut Vec<(EntryNo, StoredDelivery)>,
    ) -> Vec<EntryNo> {
        let mut others = Vec::new();
        for &entry in wanted {
            match self.entries.get(entry) {
                Some(Entry { released: true, .. }) => {}
                Some(Entry { delivery: Some(delivery), .. }) => out.push((entry, delivery.clone())),
                _ if entry.0 > settled || self.gone.contains(&entry) => {}
                _ => others.push(entry),
            }
        }
        others
    }

    /// By how many packet ids it differs from the tables.
    pub(super) fn flights(&self, session: SessionNo, mind: &Mind) -> i64 {
        let known = |entry: &EntryNo| mind.flights.contains_key(&(session, *entry));
        let given = self.entries.iter().filter(|(_, it)| it.packet_id.is_some());
        let fresh = given.filter(|(entry, _)| !known(entry)).count() as i64;
        fresh - self.gone.iter().filter(|entry| known(entry)).count() as i64
    }

    pub(super) fn gone(&self) -> impl Iterator<Item = EntryNo> + '_ {
        self.gone.iter().copied()
    }
}
