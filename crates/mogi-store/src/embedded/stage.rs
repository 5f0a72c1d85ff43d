//! Turns changes into records: a checkpoint is one batch of fjall.

use super::engine::Engine;
use super::keys;
use super::mind::{Flight, Map, Marks, Mind, retained_head};
use crate::clock::now_ms;
use crate::coding;
use crate::error::StoreError;
use crate::ops::{EntryNo, SessionNo, StoreOp, StoredDelivery};
use fjall::{Keyspace, OwnedWriteBatch};

/// Space for keys and records, kept from commit to commit.
#[derive(Default)]
pub(super) struct Scratch {
    key: Vec<u8>,
    value: Vec<u8>,
}

/// A commit that is being put together.
///
/// It changes the mind as it goes. If the commit fails, the mind is built anew.
pub(super) struct Stage<'a> {
    engine: &'a Engine,
    mind: &'a mut Mind,
    seed: u64,
    batch: OwnedWriteBatch,
    scratch: &'a mut Scratch,
    /// Heavy messages that several entries of this commit have: by address, how many, and the
    /// number of their body once there is one.
    heavy: Map<usize, (u32, Option<u64>)>,
    /// Entries changed by this commit, if anything will ask for them.
    entries: Option<Map<(SessionNo, EntryNo), Found>>,
    /// Versions of retained messages changed by this commit.
    versions: Map<Vec<u8>, (u64, bool)>,
}

/// Where an entry's message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nowhere,
    Inline,
    Body(u64),
}

/// What is known of a commit before it is put together.
pub(super) struct Survey {
    share_from_bytes: usize,
    count: usize,
    heavy: Map<usize, (u32, Option<u64>)>,
    /// Something will ask for entries that were changed before it.
    asked: bool,
}

impl Survey {
    /// Of no change yet; messages of this weight on are shared.
    pub(super) fn new(share_from_bytes: usize) -> Self {
        Self { share_from_bytes, count: 2, heavy: Map::default(), asked: false }
    }

    pub(super) fn add(&mut self, op: &StoreOp) {
        self.count += 1;
        match op {
            StoreOp::Enqueued { delivery, .. } => {
                let message = &delivery.message;
                if message.weight() >= self.share_from_bytes {
                    self.heavy.entry(message.as_bytes().as_ptr() as usize).or_default().0 += 1;
                }
            }
            StoreOp::Assigned { .. } | StoreOp::Delivered { .. } | StoreOp::HandedOver { .. } => {
                self.asked = true
            }
            _ => {}
        }
    }
}

impl<'a> Stage<'a> {
    /// For the changes of the survey, all of which have to follow.
    pub(super) fn new(
        engine: &'a Engine,
        mind: &'a mut Mind,
        seed: u64,
        scratch: &'a mut Scratch,
        survey: Survey,
    ) -> Self {
        let Survey { count, mut heavy, asked, .. } = survey;
        heavy.retain(|_, (entries, _)| *entries > 1);
        let asked = asked || !heavy.is_empty() || !mind.bodies.is_empty();
        let batch = engine.batch(count);
        let entries = asked.then(Map::default);
        Self { engine, mind, seed, batch, scratch, heavy, entries, versions: Map::default() }
    }

    /// Adds a change.
    ///
    /// # Errors
    /// If what it depends on cannot be read.
    pub(super) fn apply(&mut self, op: &StoreOp) -> Result<(), StoreError> {
        match op {
            StoreOp::SessionSet { session, record } => {
                self.mind.marks.session = self.mind.marks.session.max(session.0);
                self.mind.sessions.entry(*session).or_default();
                coding::begin(&mut self.scratch.value);
                coding::put_session(record, &mut self.scratch.value);
                self.insert(|it| &it.state, &keys::of_session(keys::SESSION, *session));
            }
            StoreOp::Retained { message, version } => {
                return self.retain(message.topic(), *version, Some(message.as_bytes()));
            }
            StoreOp::RetainedEnd { topic, version } => return self.retain(topic, *version, None),
            StoreOp::WillSet { client, will } => {
                coding::begin(&mut self.scratch.value);
                coding::put_will(client, will, &mut self.scratch.value);
                self.with_text_key(&[keys::WILL], client, |stage, key| {
                    stage.insert(|it| &it.state, key);
                });
            }
            StoreOp::WillEnd { client } | StoreOp::WillTaken { client, .. } => {
                self.with_text_key(&[keys::WILL], client, |stage, key| {
                    stage.remove(|it| &it.state, key);
                });
            }
            StoreOp::SessionEnd { session }
            | StoreOp::SubscriptionSet { session, .. }
            | StoreOp::SubscriptionEnd { session, .. }
            | StoreOp::Enqueued { session, .. }
            | StoreOp::Assigned { session, .. }
            | StoreOp::Released { session, .. }
            | StoreOp::Delivered { session, .. }
            | StoreOp::HandedOver { session, .. }
            | StoreOp::Received { session, .. }
            | StoreOp::ReceivedEnd { session, .. } => {
                // What comes after the session's end counts for nothing.
                if self.mind.sessions.contains_key(session) {
                    return self.apply_to(*session, op);
                }
                if let StoreOp::Enqueued { entry, .. } = op {
                    self.mind.marks.entry = self.mind.marks.entry.max(entry.0);
                }
            }
        }
        Ok(())
    }

    /// The batch, with the greatest numbers, and up to where the log is in it.
    pub(super) fn finish(mut self, marks: &Marks, checkpoint: u64) -> OwnedWriteBatch {
        self.mind.marks.raise(marks);
        coding::begin(&mut self.scratch.value);
        self.mind.marks.put(&mut self.scratch.value);
        self.insert(|it| &it.queue, &keys::MARKS);
        coding::begin(&mut self.scratch.value);
        self.scratch.value.extend_from_slice(&checkpoint.to_le_bytes());
        self.insert(|it| &it.state, &keys::CHECKPOINT);
        self.batch
    }

    fn apply_to(&mut self, session: SessionNo, op: &StoreOp) -> Result<(), StoreError> {
        match op {
            StoreOp::SessionEnd { .. } => self.end(session),
            StoreOp::SubscriptionSet { subscription, .. } => {
                coding::begin(&mut self.scratch.value);
                coding::put_subscription(subscription, &mut self.scratch.value);
                let prefix = keys::of_session(keys::SUBSCRIPTION, session);
                self.with_text_key(&prefix, &subscription.filter, |stage, key| {
                    stage.insert(|it| &it.state, key);
                });
            }
            StoreOp::SubscriptionEnd { filter, .. } => {
                let prefix = keys::of_session(keys::SUBSCRIPTION, session);
                self.with_text_key(&prefix, filter, |stage, key| {
                    stage.remove(|it| &it.state, key);
                });
            }
            StoreOp::Enqueued { entry, delivery, .. } => {
                return self.enqueue(session, *entry, delivery);
            }
            StoreOp::Assigned { entry, packet_id, .. } => {
                let known = self.mind.flights.get(&(session, *entry));
                let released = known.is_some_and(|it| it.released);
                if released || self.find(session, *entry)? != Found::Nowhere {
                    self.set_flight(session, *entry, Flight { packet_id: *packet_id, released });
                }
            }
            StoreOp::Released { entry, .. } => {
                let known = self.mind.flights.get(&(session, *entry)).copied();
                if let Some(flight) = known {
                    self.remove_entry(session, *entry)?;
                    self.set_flight(session, *entry, Flight { released: true, ..flight });
                }
            }
            StoreOp::Delivered { entry, .. } | StoreOp::HandedOver { entry, .. } => {
                self.remove_entry(session, *entry)?;
                if !self.mind.flights.is_empty()
                    && self.mind.flights.remove(&(session, *entry)).is_some()
                {
                    self.remove(|it| &it.state, &keys::flight(session, *entry));
                }
            }
            StoreOp::Received { packet_id, .. } => {
                coding::begin(&mut self.scratch.value);
                self.insert(|it| &it.state, &keys::received(session, *packet_id));
            }
            StoreOp::ReceivedEnd { packet_id, .. } => {
                self.remove(|it| &it.state, &keys::received(session, *packet_id));
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the session. Its entries and the rest are removed later, in small steps.
    fn end(&mut self, session: SessionNo) {
        self.mind.end(session);
        self.remove(|it| &it.state, &keys::of_session(keys::SESSION, session));
        coding::begin(&mut self.scratch.value);
        self.insert(|it| &it.state, &keys::of_session(keys::ENDED, session));
    }

    fn enqueue(
        &mut self,
        session: SessionNo,
        entry: EntryNo,
        delivery: &StoredDelivery,
    ) -> Result<(), StoreError> {
        self.mind.marks.entry = self.mind.marks.entry.max(entry.0);
        let flights = &self.mind.flights;
        if !flights.is_empty() && flights.get(&(session, entry)).is_some_and(|it| it.released) {
            return Ok(());
        }
        let address = delivery.message.as_bytes().as_ptr() as usize;
        let heavy = self.heavy.get(&address).copied();
        // An entry that is there already is not counted twice.
        let shares = self.mind.sessions.get(&session).is_some_and(|shared| *shared > 0);
        let old = entry.0 <= self.mind.opened_at;
        if (heavy.is_some() || shares || old) && self.find(session, entry)? != Found::Nowhere {
            return Ok(());
        }
        let body =
            heavy.map(|(_, body)| body.unwrap_or_else(|| self.put_body(address, entry, delivery)));
        if let Some(body) = body {
            self.mind.share(session, body);
        }
        coding::begin(&mut self.scratch.value);
        coding::put_entry(delivery, body, &mut self.scratch.value);
        self.insert(|it| &it.queue, &keys::queue(session, entry));
        if let Some(entries) = &mut self.entries {
            entries.insert((session, entry), body.map_or(Found::Inline, Found::Body));
        }
        Ok(())
    }

    fn put_body(&mut self, address: usize, entry: EntryNo, delivery: &StoredDelivery) -> u64 {
        coding::begin(&mut self.scratch.value);
        self.scratch.value.extend_from_slice(delivery.message.as_bytes());
        self.insert(|it| &it.bodies, &entry.0.to_be_bytes());
        if let Some((_, body)) = self.heavy.get_mut(&address) {
            *body = Some(entry.0);
        }
        entry.0
    }

    /// Removes an entry's message, wherever it is.
    fn remove_entry(&mut self, session: SessionNo, entry: EntryNo) -> Result<(), StoreError> {
        if self.mind.sessions.get(&session).is_some_and(|shared| *shared > 0)
            && let Found::Body(body) = self.find(session, entry)?
            && self.mind.unshare(session, body)
        {
            self.remove(|it| &it.bodies, &body.to_be_bytes());
        }
        let key = keys::queue(session, entry);
        if entry.0 > self.mind.opened_at {
            self.batch.remove_weak(&self.engine.queue, key);
        } else {
            self.remove(|it| &it.queue, &key);
        }
        if let Some(entries) = &mut self.entries {
            entries.insert((session, entry), Found::Nowhere);
        }
        Ok(())
    }

    fn set_flight(&mut self, session: SessionNo, entry: EntryNo, flight: Flight) {
        coding::begin(&mut self.scratch.value);
        self.scratch.value.extend_from_slice(&flight.packet_id.to_le_bytes());
        self.scratch.value.push(u8::from(flight.released));
        self.insert(|it| &it.state, &keys::flight(session, entry));
        self.mind.flights.insert((session, entry), flight);
    }

    /// Where an entry's message is, as of the changes so far.
    fn find(&self, session: SessionNo, entry: EntryNo) -> Result<Found, StoreError> {
        let staged = self.entries.as_ref().and_then(|it| it.get(&(session, entry)));
        if let Some(found) = staged {
            return Ok(*found);
        }
        let key = keys::queue(session, entry);
        let record = self.engine.read(|| self.engine.queue.get(key))?;
        let Some(record) = record else { return Ok(Found::Nowhere) };
        let entry = coding::open(&key, &record).and_then(coding::entry);
        // A damaged one is as good as not there.
        Ok(entry.map_or(Found::Nowhere, |it| it.body.map_or(Found::Inline, Found::Body)))
    }

    /// Sets or ends a retained message, unless the topic has seen a newer change.
    fn retain(
        &mut self,
        topic: &str,
        version: u64,
        message: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.mind.marks.version = self.mind.marks.version.max(version);
        let mut key = std::mem::take(&mut self.scratch.key);
        keys::put_text(&[], topic, self.seed, &mut key);
        let known = match self.versions.get(&key[..]) {
            Some(known) => Some(*known),
            None => self.retained_version(&key)?,
        };
        if known.is_none_or(|(known, _)| known < version) {
            self.put_retained(&key, version, message);
            let before = known.is_some_and(|(_, present)| present);
            let retained = self.mind.retained + u64::from(message.is_some());
            self.mind.retained = retained.saturating_sub(u64::from(before));
            self.versions.insert(key.clone(), (version, message.is_some()));
        }
        self.scratch.key = key;
        Ok(())
    }

    fn put_retained(&mut self, key: &[u8], version: u64, message: Option<&[u8]>) {
        coding::begin(&mut self.scratch.value);
        let value = &mut self.scratch.value;
        value.extend_from_slice(&version.to_le_bytes());
        value.push(u8::from(message.is_some()));
        match message {
            Some(message) => value.extend_from_slice(message),
            None => {
                let now = now_ms();
                value.extend_from_slice(&now.to_le_bytes());
                self.mind.faded.push_back((now, key.into()));
            }
        }
        self.insert(|it| &it.retained, key);
    }

    /// The version of the last change of the topic, and whether it has a message.
    fn retained_version(&self, key: &[u8]) -> Result<Option<(u64, bool)>, StoreError> {
        let record = self.engine.read(|| self.engine.retained.get(key))?;
        let mut input = record.as_ref().and_then(|record| coding::open(key, record));
        Ok(input.as_mut().and_then(retained_head))
    }

    fn with_text_key(&mut self, prefix: &[u8], text: &str, then: impl FnOnce(&mut Self, &[u8])) {
        let mut key = std::mem::take(&mut self.scratch.key);
        keys::put_text(prefix, text, self.seed, &mut key);
        then(self, &key);
        self.scratch.key = key;
    }

    /// Adds the record in the scratch space under this key.
    fn insert(&mut self, keyspace: fn(&Engine) -> &Keyspace, key: &[u8]) {
        coding::seal(key, &mut self.scratch.value);
        self.batch.insert(keyspace(self.engine), key, &self.scratch.value[..]);
    }

    fn remove(&mut self, keyspace: fn(&Engine) -> &Keyspace, key: &[u8]) {
        self.batch.remove(keyspace(self.engine), key);
    }
}
