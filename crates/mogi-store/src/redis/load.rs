//! Gives everything back: slot by slot what there is, then the sessions by rising numbers.

use super::RedisStore;
use super::depth;
use super::encode::{self, Found};
use super::keys::{Of, PUBLISHED, Per, Tag, cause_of, slot_tag};
use super::read;
use super::store::{Owner, Purpose, Undone};
use super::wire::{Commands, Reply, Request, SLOTS, Value};
use crate::clock::now_ms;
use crate::error::{ErrorKind, StoreError};
use crate::ops::{Cause, EntryNo, SessionNo, StoreOp};
use crate::store::{LoadReport, Loaded};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Slots, and sessions, that are asked for at once.
const SLOTS_AT_ONCE: u16 = 1024;
const SESSIONS_AT_ONCE: usize = 512;

/// Retained messages of one command.
const TOPICS: usize = 128;

const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A load on its way.
struct Load<'a> {
    store: &'a mut RedisStore,
    visit: &'a mut dyn FnMut(Loaded, Option<Owner>),
    report: LoadReport,
    told: Instant,
    sessions: Vec<(SessionNo, Arc<str>)>,
    wills: Vec<Arc<str>>,
}

pub(super) fn load(
    store: &mut RedisStore,
    visit: &mut dyn FnMut(Loaded, Option<Owner>),
) -> Result<LoadReport, StoreError> {
    store.directory.clear();
    store.usage = Default::default();
    if store.purpose == Purpose::Serve
        && let Some(from) = store.migrating()?
    {
        let what = format!("what was migrated from {from} is not complete");
        return Err(StoreError::new(ErrorKind::Unfinished, Path::new(store.place()), what));
    }
    if store.purpose == Purpose::Serve {
        depth::check(&store.link)?;
    }
    let report = store.read_marks()?;
    visit(Loaded::Alive { at_ms: report.alive_at_ms }, None);
    let (sessions, wills) = (Vec::new(), Vec::new());
    let mut load = Load { store, visit, report, told: Instant::now(), sessions, wills };
    let ranges = || (0..SLOTS).step_by(usize::from(SLOTS_AT_ONCE));
    let ranges = || ranges().map(|first| first..SLOTS.min(first + SLOTS_AT_ONCE));
    ranges().try_for_each(|slots| load.names(slots))?;
    load.sessions.sort_unstable();
    // Before messages are read: some of them may be retained.
    load.roll_forward()?;
    ranges().try_for_each(|slots| load.slots(slots))?;
    load.all_sessions()?;
    load.all_wills()?;
    let report = load.report;
    store.usage.sessions = report.loaded.sessions;
    store.usage.retained = report.loaded.retained;
    store.marks.follow(&report);
    Ok(report)
}

impl Load<'_> {
    /// Whose sessions and wills there are in these slots.
    fn names(&mut self, slots: std::ops::Range<u16>) -> Result<(), StoreError> {
        let keys = self.store.directory.keys.clone();
        let requests = slots.clone().map(|slot| {
            let mut commands = Commands::new();
            for what in [Per::Sessions, Per::Wills] {
                commands.push(&[b"HGETALL", keys.per(slot, what).as_bytes()]);
            }
            Request { aside: true, ..Request::new(slot, commands) }
        });
        let replies = self.store.link.call(requests.collect())?;
        for (slot, Reply { values, .. }) in slots.zip(&replies) {
            let [sessions, wills] = &values[..] else { continue };
            for (client, number) in Found::of(sessions).pairs() {
                let number = std::str::from_utf8(number).ok().and_then(|it| it.parse().ok());
                match (std::str::from_utf8(client), number) {
                    (Ok(client), Some(number)) => {
                        self.sessions.push((SessionNo(number), client.into()));
                    }
                    _ => self.strange("sessions", slot),
                }
            }
            for (client, _) in Found::of(wills).pairs() {
                self.wills.extend(std::str::from_utf8(client).ok().map(Arc::<str>::from));
            }
        }
        Ok(())
    }

    /// The retained messages in these slots.
    fn slots(&mut self, slots: std::ops::Range<u16>) -> Result<(), StoreError> {
        let (keys, now_ms) = (self.store.directory.keys.clone(), now_ms());
        let requests = slots.clone().map(|slot| {
            let mut commands = Commands::new();
            commands.push(&[b"HGETALL", keys.per(slot, Per::RetainedMeta).as_bytes()]);
            for key in keys.gone(slot, now_ms) {
                commands.push(&[b"HGETALL", key.as_bytes()]);
            }
            Request { aside: true, ..Request::new(slot, commands) }
        });
        let replies = self.store.link.call(requests.collect())?;
        let mut topics: Vec<(u16, &str, &[u8])> = Vec::new();
        for (slot, Reply { values, .. }) in slots.zip(&replies) {
            let [retained, gone @ ..] = &values[..] else { continue };
            gone.iter().for_each(|gone| self.ended(gone));
            for (topic, meta) in Found::of(retained).pairs() {
                match std::str::from_utf8(topic) {
                    Ok(topic) => topics.push((slot, topic, meta)),
                    Err(_) => self.strange("retained-meta", slot),
                }
            }
        }
        self.retained(&topics)
    }

    /// Retained messages that ended lately.
    fn ended(&mut self, gone: &Value) {
        for (topic, version) in Found::of(gone).pairs() {
            let version = std::str::from_utf8(version).ok().and_then(|it| it.parse().ok());
            if let (Ok(topic), Some(version)) = (std::str::from_utf8(topic), version) {
                self.report.last_version = self.report.last_version.max(version);
                (self.visit)(Loaded::RetainedEnd { topic: topic.into(), version }, None);
            }
        }
    }

    fn retained(&mut self, topics: &[(u16, &str, &[u8])]) -> Result<(), StoreError> {
        let keys = self.store.directory.keys.clone();
        let mut requests = Vec::new();
        let mut groups = Vec::new();
        for of_slot in topics.chunk_by(|(a, ..), (b, ..)| a == b) {
            for group in of_slot.chunks(TOPICS) {
                let mut commands = Commands::new();
                commands.begin(1 + group.len()).word(b"MGET");
                for (_, topic, _) in group {
                    commands.word(keys.retained(topic).as_bytes());
                }
                let Some((slot, ..)) = group.first() else { continue };
                requests.push(Request { aside: true, ..Request::new(*slot, commands) });
                groups.push(group);
            }
        }
        for (group, Reply { values, .. }) in groups.into_iter().zip(self.store.link.call(requests)?)
        {
            let payloads = values.first().and_then(Value::array).unwrap_or_default();
            for ((slot, topic, meta), payload) in group.iter().zip(payloads) {
                let found = payload.bytes().and_then(|it| encode::read_retained(topic, it, meta));
                match found {
                    Some((message, version)) => {
                        self.report.loaded.retained += 1;
                        self.report.last_version = self.report.last_version.max(version);
                        (self.visit)(Loaded::Retained { message, version }, None);
                        self.progress();
                    }
                    // Between the two reads it was removed.
                    None if *payload == Value::Nil => {}
                    None => self.strange("retained-meta", *slot),
                }
            }
        }
        Ok(())
    }

    /// What the owner of a publisher's session left undone when it ended.
    fn roll_forward(&mut self) -> Result<(), StoreError> {
        if self.store.purpose == Purpose::Look {
            return Ok(());
        }
        let sessions = std::mem::take(&mut self.sessions);
        let keys = self.store.directory.keys.clone();
        let mut left: Vec<Undone> = Vec::new();
        for some in sessions.chunks(SESSIONS_AT_ONCE) {
            let requests = some.iter().map(|(_, client)| {
                let tag = Tag::of(client);
                let mut commands = Commands::new();
                // The claim first: what is read behind it may only be of a later one.
                commands.push(&owner_command(&keys.of(&tag, Of::Session)));
                commands.push(&[b"HGETALL", keys.of(&tag, Of::Recv).as_bytes()]);
                Request { aside: true, ..Request::new(tag.slot, commands) }
            });
            let replies = self.store.link.call(requests.collect())?;
            for ((session, client), Reply { values, .. }) in some.iter().zip(replies) {
                let [owner, recv] = &values[..] else { continue };
                let Some(epoch) = self.left_to_us(owner) else { continue };
                for (field, state) in Found::of(recv).pairs() {
                    if let (Some(cause), Some(parts)) =
                        (cause_of(field), super::journal::read(state))
                    {
                        let (session, client) = (*session, Arc::clone(client));
                        left.push(Undone { client, session, epoch, cause, parts });
                    }
                }
            }
        }
        self.sessions = sessions;
        self.left_of_wills(&mut left)?;
        left.sort_by_key(|undone| super::journal::first_number(&undone.parts));
        for undone in left {
            self.store.roll_forward(&undone)?;
            for (_, op) in undone.parts {
                if let StoreOp::Retained { .. } | StoreOp::RetainedEnd { .. } = op {
                    (self.visit)(Loaded::Redone(op), None);
                }
            }
        }
        Ok(())
    }

    /// Wills that are taken, and not in all queues.
    fn left_of_wills(&self, left: &mut Vec<Undone>) -> Result<(), StoreError> {
        let keys = &self.store.directory.keys;
        for some in self.wills.chunks(SESSIONS_AT_ONCE) {
            let requests = some.iter().map(|client| {
                let tag = Tag::of(client);
                let (will, session) = (keys.of(&tag, Of::Will), keys.of(&tag, Of::Session));
                let mut commands = Commands::new();
                commands.push(&owner_command(&session));
                commands.push(&[b"HGET", will.as_bytes(), PUBLISHED.as_bytes()]);
                Request { aside: true, ..Request::new(tag.slot, commands) }
            });
            for (client, Reply { values, .. }) in
                some.iter().zip(self.store.link.call(requests.collect())?)
            {
                let [owner, parts] = &values[..] else { continue };
                let parts = parts.bytes().and_then(super::journal::read);
                if let (Some(epoch), Some(parts)) = (self.left_to_us(owner), parts) {
                    let (client, session) = (Arc::clone(client), SessionNo::NONE);
                    let cause = Cause::Will(Arc::clone(&client));
                    left.push(Undone { client, session, epoch, cause, parts });
                }
            }
        }
        Ok(())
    }

    /// The epoch of the last claim, if what was left undone is left to this node: another one that
    /// lives does it itself, and whoever claims the session from a dead one does it then.
    fn left_to_us(&self, claim: &Value) -> Option<u64> {
        let claim = claim.array().unwrap_or_default();
        let text = |at: usize| claim.get(at).and_then(Value::text).unwrap_or_default();
        let (owner, epoch) = (text(0), text(1).parse().unwrap_or(0));
        let ours = owner.is_empty() || owner == &*self.store.node;
        (ours || self.store.purpose == Purpose::Move).then_some(epoch)
    }

    fn all_sessions(&mut self) -> Result<(), StoreError> {
        let sessions = std::mem::take(&mut self.sessions);
        for some in sessions.chunks(SESSIONS_AT_ONCE) {
            let directory = &self.store.directory;
            let requests = some.iter().map(|(_, client)| {
                let tag = Tag::of(client);
                let commands = read::commands(directory, &tag);
                Request { aside: true, ..Request::new(tag.slot, commands) }
            });
            let replies = self.store.link.call(requests.collect())?;
            let damage = &mut self.report.damage;
            let mut partials: Vec<_> = some
                .iter()
                .zip(replies)
                .filter_map(|((_, client), reply)| read::begin(client, &reply.values, damage))
                .collect();
            read::complete(&self.store.link, directory, &mut partials, damage)?;
            for partial in partials {
                self.take(partial);
                self.progress();
            }
        }
        Ok(())
    }

    fn take(&mut self, partial: read::Partial) {
        let number = partial.session.session;
        let own = partial.owner.as_ref().is_none_or(|owner| *owner == self.store.node);
        self.store.directory.learn_owned(number, &partial.client, partial.epoch, own);
        let owner = Owner { node: partial.owner.clone(), epoch: partial.epoch };
        let session = partial.finish();
        let report = &mut self.report;
        report.loaded.sessions += 1;
        report.loaded.entries += (session.flights.len() + session.waiting.len()) as u64;
        report.subscriptions += session.subscriptions.len() as u64;
        report.last_session = report.last_session.max(number);
        let entries = session.waiting.iter().map(|it| it.entry);
        let entries = entries.chain(session.flights.iter().map(|it| it.entry));
        report.last_entry = report.last_entry.max(entries.max().unwrap_or(EntryNo::NONE));
        self.store.usage.flights += session.flights.len() as u64;
        (self.visit)(Loaded::Session(session), Some(owner));
    }

    fn all_wills(&mut self) -> Result<(), StoreError> {
        let wills = std::mem::take(&mut self.wills);
        let keys = self.store.directory.keys.clone();
        for some in wills.chunks(SESSIONS_AT_ONCE) {
            let requests = some.iter().map(|client| {
                let tag = Tag::of(client);
                let key = keys.of(&tag, Of::Will);
                let commands = Commands::one(&[b"HGETALL", key.as_bytes()]);
                Request { aside: true, ..Request::new(tag.slot, commands) }
            });
            let replies = self.store.link.call(requests.collect())?;
            for (client, Reply { values, .. }) in some.iter().zip(replies) {
                let Some(value) = values.first() else { continue };
                let found = Found::of(value);
                match found.will() {
                    Some((client, will)) => {
                        self.report.wills += 1;
                        (self.visit)(Loaded::Will { client, will }, None);
                    }
                    // It is published, and nobody's any more.
                    None if found.is_empty() || found.get(PUBLISHED).is_some() => {}
                    None => self.strange("will", Tag::of(client).slot),
                }
            }
        }
        Ok(())
    }

    fn strange(&mut self, what: &str, slot: u16) {
        let damage = &mut self.report.damage;
        damage.records += 1;
        damage
            .note(|| format!("{what}:{{{}}} holds something mogi has not written", slot_tag(slot)));
    }

    fn progress(&mut self) {
        if self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            (self.visit)(Loaded::Progress(self.report.loaded), None);
        }
    }
}

/// What reads whose a session is, and since which claim.
fn owner_command(session: &str) -> [&[u8]; 4] {
    [b"HMGET", session.as_bytes(), b"node", b"epoch"]
}
