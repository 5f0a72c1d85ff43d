//! What stands in the log only: the changes since the last checkpoint, as they are now.
//!
//! A message that comes and is delivered between two checkpoints leaves nothing here, and never
//! gets to the tables. What is left at a checkpoint goes there as one batch.

mod entries;
mod overlay;
mod session;

pub(super) use overlay::Overlay;

use super::mind::{Marks, Mind};
use crate::error::StoreError;
use crate::ops::{EntryNo, SessionNo, StoreOp, StoredDelivery, StoredWill};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use mogi_core::Message;
use session::Session;
use std::sync::Arc;

type Map<K, V> = HashMap<K, V, RandomState>;

/// What a place costs in memory besides what stands there, in bytes.
const PLACE_BYTES: usize = 160;

/// Whether an entry stands in the tables, for those few whose number does not say it.
pub(super) type Find<'a> = dyn FnMut(SessionNo, EntryNo) -> Result<bool, StoreError> + 'a;

/// Changes that are not in the tables.
#[derive(Debug, Default)]
pub(super) struct Young {
    sessions: Map<SessionNo, Session>,
    /// Sessions of the tables that have ended.
    ended: HashSet<SessionNo, RandomState>,
    retained: Map<Arc<str>, (u64, Option<Message>)>,
    wills: Map<Arc<str>, Option<Arc<StoredWill>>>,
    /// The greatest numbers used by any change so far, and when the last one was.
    pub(super) marks: Marks,
    /// No entry with a greater number is in the tables.
    pub(super) settled: u64,
    bytes: usize,
}

/// What a change did to the memory in use.
#[derive(Clone, Copy, Default)]
struct Cost {
    more: usize,
    less: usize,
}

impl Young {
    /// Nothing, on tables in which no entry has a number above `settled`.
    pub(super) fn new(marks: Marks) -> Self {
        Self { marks, settled: marks.entry, ..Self::default() }
    }

    /// About how many bytes of memory it takes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it holds no change.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.ended.is_empty()
            && self.retained.is_empty()
            && self.wills.is_empty()
    }

    /// Forgets everything, as the tables have it.
    pub(super) fn settle(&mut self) {
        *self = Self::new(self.marks);
    }

    /// Forgets everything, as something else says what it is.
    pub(super) fn reset(&mut self) {
        let (marks, settled) = (self.marks, self.settled);
        *self = Self { marks, settled, ..Self::default() };
    }

    /// Whether there is such a session.
    pub(super) fn lives(&self, session: SessionNo, mind: &Mind) -> bool {
        let set = self.sessions.get(&session).is_some_and(Session::is_set);
        set || (mind.sessions.contains_key(&session) && !self.ended.contains(&session))
    }

    /// Takes in a change.
    ///
    /// # Errors
    /// Those of `find`.
    pub(super) fn apply(
        &mut self,
        op: &StoreOp,
        mind: &Mind,
        find: &mut Find<'_>,
    ) -> Result<(), StoreError> {
        self.count(op);
        match op {
            StoreOp::SessionSet { session, record } => {
                let cost = self.session(*session).set(record);
                self.paid(cost);
            }
            StoreOp::SessionEnd { session } => self.end(*session, mind),
            StoreOp::Retained { message, version } => {
                self.retain(message.topic(), *version, Some(message));
            }
            StoreOp::RetainedEnd { topic, version } => self.retain(topic, *version, None),
            StoreOp::WillSet { client, will } => self.will(client, Some(will)),
            StoreOp::WillEnd { client } | StoreOp::WillTaken { client, .. } => {
                self.will(client, None)
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
                // What comes after the session's end counts for nothing.
                if self.lives(*session, mind) {
                    let settled = self.settled;
                    let cost = self.session(*session).apply(*session, op, settled, mind, find)?;
                    self.paid(cost);
                }
            }
        }
        Ok(())
    }

    /// Gives all changes, in an order in which they can be made.
    ///
    /// # Errors
    /// The first one of `each`.
    pub(super) fn each<E>(&self, each: &mut dyn FnMut(&StoreOp) -> Result<(), E>) -> Result<(), E> {
        for session in &self.ended {
            each(&StoreOp::SessionEnd { session: *session })?;
        }
        for (session, state) in &self.sessions {
            state.each(*session, each)?;
        }
        // Behind all messages: one that several share must not seem to be needed no more while
        // some who need it are still to come.
        for (session, state) in &self.sessions {
            state.each_flight(*session, each)?;
        }
        for (topic, (version, message)) in &self.retained {
            let (topic, version) = (topic.clone(), *version);
            each(&match message.clone() {
                Some(message) => StoreOp::Retained { message, version },
                None => StoreOp::RetainedEnd { topic, version },
            })?;
        }
        for (client, will) in &self.wills {
            let client = client.clone();
            each(&match will.clone() {
                Some(will) => StoreOp::WillSet { client, will },
                None => StoreOp::WillEnd { client },
            })?;
        }
        Ok(())
    }

    /// The session's messages of these entries, which rise, and those entries of them that are not
    /// decided here: the tables have them, or nobody.
    pub(super) fn fetch(
        &self,
        session: SessionNo,
        wanted: &[EntryNo],
        out: &mut Vec<(EntryNo, StoredDelivery)>,
    ) -> Vec<EntryNo> {
        match self.sessions.get(&session) {
            Some(state) => state.fetch(wanted, self.settled, out),
            None => wanted.iter().copied().filter(|entry| entry.0 <= self.settled).collect(),
        }
    }

    /// How many sessions and packet ids in use there are, with those of the tables.
    pub(super) fn counts(&self, mind: &Mind) -> (u64, u64) {
        let is_new = |session: &SessionNo| !mind.sessions.contains_key(session);
        let set = self.sessions.iter().filter(|(session, it)| it.is_set() && is_new(session));
        let sessions = mind.sessions.len() + set.count() - self.ended.len();
        let of_ended = mind.flights.keys().filter(|(session, _)| self.ended.contains(session));
        let more: i64 = self.sessions.iter().map(|(session, it)| it.flights(*session, mind)).sum();
        let flights = mind.flights.len() as i64 - of_ended.count() as i64 + more;
        (sessions as u64, flights.max(0) as u64)
    }

    /// Up to so many topics, and whether each has a retained message; and how many there are.
    pub(super) fn topics(&self, max: usize) -> (usize, impl Iterator<Item = (&str, bool)>) {
        let topics =
            self.retained.iter().map(|(topic, (_, message))| (&**topic, message.is_some()));
        (self.retained.len(), topics.take(max))
    }

    /// Up to so many entries of the tables that are there no more.
    pub(super) fn gone(&self, max: usize) -> impl Iterator<Item = (SessionNo, EntryNo)> + '_ {
        let of = |(session, it): (&SessionNo, &'_ Session)| {
            let session = *session;
            it.gone().collect::<Vec<_>>().into_iter().map(move |entry| (session, entry))
        };
        self.sessions.iter().flat_map(of).take(max)
    }

    fn session(&mut self, session: SessionNo) -> &mut Session {
        let bytes = &mut self.bytes;
        self.sessions.entry(session).or_insert_with(|| {
            *bytes += size_of::<Session>();
            Session::default()
        })
    }

    fn end(&mut self, session: SessionNo, mind: &Mind) {
        if let Some(state) = self.sessions.remove(&session) {
            self.bytes = self.bytes.saturating_sub(size_of::<Session>() + state.bytes());
        }
        if mind.sessions.contains_key(&session) && self.ended.insert(session) {
            self.bytes += PLACE_BYTES;
        }
    }

    fn retain(&mut self, topic: &str, version: u64, message: Option<&Message>) {
        let weight = message.map_or(0, Message::weight);
        match self.retained.get_mut(topic) {
            Some((known, _)) if *known >= version => return,
            Some((known, before)) => {
                let freed = before.as_ref().map_or(0, Message::weight);
                self.bytes = self.bytes.saturating_sub(freed);
                (*known, *before) = (version, message.cloned());
            }
            None => {
                self.retained.insert(topic.into(), (version, message.cloned()));
                self.bytes += PLACE_BYTES + topic.len();
            }
        }
        self.bytes += weight;
    }

    fn will(&mut self, client: &Arc<str>, will: Option<&Arc<StoredWill>>) {
        let weigh = |it: &Arc<StoredWill>| size_of::<StoredWill>() + it.message.weight();
        let weight = will.map_or(0, weigh);
        let freed = match self.wills.insert(client.clone(), will.cloned()) {
            Some(before) => before.as_ref().map_or(0, weigh),
            None => {
                self.bytes += PLACE_BYTES;
                0
            }
        };
        self.paid(Cost { more: weight, less: freed });
    }

    fn paid(&mut self, cost: Cost) {
        self.bytes = (self.bytes + cost.more).saturating_sub(cost.less);
    }

    fn count(&mut self, op: &StoreOp) {
        let marks = &mut self.marks;
        match op {
            StoreOp::SessionSet { session, .. } => marks.session = marks.session.max(session.0),
            StoreOp::Enqueued { entry, .. } => marks.entry = marks.entry.max(entry.0),
            StoreOp::Retained { version, .. } | StoreOp::RetainedEnd { version, .. } => {
                marks.version = marks.version.max(*version);
            }
            _ => {}
        }
    }
}
