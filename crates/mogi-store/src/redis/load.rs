//! Gives everything back: slot by slot what there is, then the sessions by rising numbers.

use super::RedisStore;
use super::depth;
use super::encode::{self, Found};
use super::journal::{self, Parts};
use super::keys::{Of, PUBLISHED, Per, Tag, cause_of, slot_tag};
use super::read;
use super::store::{Owner, Purpose, Undone};
use super::wire::{Commands, Reply, Request, SLOTS, Value};
use crate::clock::now_ms;
use crate::error::{ErrorKind, StoreError};
use crate::ops::{Cause, EntryNo, SessionNo, StoreOp};
use crate::store::{LoadReport, Loaded};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Slots, and sessions, that are asked for at once.
const SLOTS_AT_ONCE: u16 = 1024;
const SESSIONS_AT_ONCE: usize = 512;

/// Sessions of one slot of which it is asked at once whether any is busy.
const ASKED_AT_ONCE: usize = 8;

/// Slots whose retained messages are asked for at once. Fewer, as what is removed between asking
/// and taking has to be remembered.
const RETAINED_AT_ONCE: u16 = 256;

/// Retained messages of one command, and such commands at once.
const TOPICS: usize = 128;
const GROUPS_AT_ONCE: usize = 64;

/// A retained message's slot, topic, and what is known of it besides its payload.
type Topic<'a> = (u16, &'a str, &'a [u8]);

/// What few of many sessions have.
const SELDOM: [Of; 2] = [Of::Recv, Of::Inflight];

const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A session of the lists.
struct Named {
    number: SessionNo,
    client: Arc<str>,
    tag: Tag,
    /// Nothing is on its way, neither to the client nor from it at QoS 2.
    idle: bool,
}

/// A load on its way.
struct Load<'a> {
    store: &'a mut RedisStore,
    visit: &'a mut dyn FnMut(Loaded, Option<Owner>),
    report: LoadReport,
    told: Instant,
    sessions: Vec<Named>,
    wills: Vec<Arc<str>>,
}

/// Everything.
pub(super) fn load(
    store: &mut RedisStore,
    visit: &mut dyn FnMut(Loaded, Option<Owner>),
) -> Result<LoadReport, StoreError> {
    let mut load = Load::begin(store, visit)?;
    load.sessions_and_wills()?;
    load.all_retained()?;
    load.store.usage.retained = load.report.loaded.retained;
    Ok(load.end())
}

/// Everything but retained messages.
pub(super) fn sessions(
    store: &mut RedisStore,
    visit: &mut dyn FnMut(Loaded, Option<Owner>),
) -> Result<LoadReport, StoreError> {
    let mut load = Load::begin(store, visit)?;
    load.sessions_and_wills()?;
    let newest = load.store.newest_version()?;
    load.report.last_version = load.report.last_version.max(newest);
    Ok(load.end())
}

/// Retained messages, and which of them ended lately, and nothing else.
pub(super) fn retained(
    store: &mut RedisStore,
    visit: &mut dyn FnMut(Loaded, Option<Owner>),
) -> Result<LoadReport, StoreError> {
    let mut load = Load::of(store, visit, LoadReport::default());
    load.all_retained()?;
    Ok(load.report)
}

/// All slots, so many at once.
fn ranges(count: u16) -> impl Iterator<Item = Range<u16>> {
    let firsts = (0..SLOTS).step_by(usize::from(count));
    firsts.map(move |first| first..SLOTS.min(first + count))
}

/// For each slot what `commands` says.
fn per_slot(slots: Range<u16>, commands: impl Fn(u16) -> Commands) -> Vec<Request> {
    slots.map(|slot| Request { aside: true, ..Request::new(slot, commands(slot)) }).collect()
}

impl<'a> Load<'a> {
    fn of(
        store: &'a mut RedisStore,
        visit: &'a mut dyn FnMut(Loaded, Option<Owner>),
        report: LoadReport,
    ) -> Self {
        let (sessions, wills) = (Vec::new(), Vec::new());
        Self { store, visit, report, told: Instant::now(), sessions, wills }
    }

    fn begin(
        store: &'a mut RedisStore,
        visit: &'a mut dyn FnMut(Loaded, Option<Owner>),
    ) -> Result<Self, StoreError> {
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
        Ok(Self::of(store, visit, report))
    }

    fn sessions_and_wills(&mut self) -> Result<(), StoreError> {
        self.names()?;
        self.find_idle()?;
        self.sessions.sort_unstable_by_key(|named| named.number);
        // Before messages are read: some of them may be retained.
        self.roll_forward()?;
        self.all_sessions()?;
        self.all_wills()
    }

    fn end(self) -> LoadReport {
        self.store.usage.sessions = self.report.loaded.sessions;
        self.store.marks.follow(&self.report);
        self.report
    }
}

impl Load<'_> {
    /// Whose sessions and wills there are, and how many retained messages.
    fn names(&mut self) -> Result<(), StoreError> {
        let keys = self.store.directory.keys.clone();
        let ask = |slot| {
            let mut commands = Commands::new();
            for what in [Per::Sessions, Per::Wills] {
                commands.push(&[b"HGETALL", keys.per(slot, what).as_bytes()]);
            }
            commands.push(&[b"HLEN", keys.per(slot, Per::RetainedMeta).as_bytes()]);
            commands
        };
        let batches = ranges(SLOTS_AT_ONCE).map(|slots| (slots.clone(), per_slot(slots, ask)));
        self.store.link.clone().each(batches, |slots, replies| {
            for (slot, Reply { values, .. }) in slots.zip(&replies) {
                let [sessions, wills, retained] = &values[..] else { continue };
                for (client, number) in Found::of(sessions).pairs() {
                    let number = std::str::from_utf8(number).ok().and_then(|it| it.parse().ok());
                    match (std::str::from_utf8(client), number) {
                        (Ok(client), Some(number)) => {
                            let (number, tag) = (SessionNo(number), Tag::of(client));
                            let client = client.into();
                            self.sessions.push(Named { number, client, tag, idle: false });
                        }
                        _ => self.strange("sessions", slot),
                    }
                }
                self.store.usage.retained += retained.int().unwrap_or(0).unsigned_abs();
                for (client, _) in Found::of(wills).pairs() {
                    self.wills.extend(std::str::from_utf8(client).ok().map(Arc::<str>::from));
                }
            }
            Ok(())
        })
    }

    /// Which sessions are idle: most of them, where there are very many. They stand slot by slot.
    fn find_idle(&mut self) -> Result<(), StoreError> {
        let keys = self.store.directory.keys.clone();
        let of_slots = self.sessions.chunk_by_mut(|a, b| a.tag.slot == b.tag.slot);
        let mut groups: Vec<_> =
            of_slots.flat_map(|sessions| sessions.chunks_mut(ASKED_AT_ONCE)).collect();
        let ask = |group: &&mut [Named]| {
            let mut commands = Commands::new();
            commands.begin(1 + SELDOM.len() * group.len()).word(b"EXISTS");
            for (named, what) in group.iter().flat_map(|it| SELDOM.map(|what| (it, what))) {
                commands.word(keys.of(&named.tag, what).as_bytes());
            }
            let slot = group.first().map_or(0, |named| named.tag.slot);
            Request { aside: true, ..Request::new(slot, commands) }
        };
        let batches = groups.chunks_mut(SESSIONS_AT_ONCE);
        let batches = batches.map(|groups| {
            let requests = groups.iter().map(ask).collect();
            (groups, requests)
        });
        self.store.link.each(batches, |groups, replies| {
            for (group, Reply { values, .. }) in groups.iter_mut().zip(replies) {
                let idle = values.first().and_then(Value::int) == Some(0);
                group.iter_mut().for_each(|named| named.idle = idle);
            }
            Ok(())
        })
    }

    fn all_retained(&mut self) -> Result<(), StoreError> {
        let (keys, now_ms) = (self.store.directory.keys.clone(), now_ms());
        let ask = |slot| {
            let mut commands = Commands::new();
            commands.push(&[b"HGETALL", keys.per(slot, Per::RetainedMeta).as_bytes()]);
            for key in keys.gone(slot, now_ms) {
                commands.push(&[b"HGETALL", key.as_bytes()]);
            }
            commands
        };
        let batches = ranges(RETAINED_AT_ONCE).map(|slots| (slots.clone(), per_slot(slots, ask)));
        self.store.link.clone().each(batches, |slots, replies| {
            let mut topics: Vec<Topic<'_>> = Vec::new();
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
        })
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

    /// The payloads of these.
    fn retained(&mut self, topics: &[Topic<'_>]) -> Result<(), StoreError> {
        let keys = self.store.directory.keys.clone();
        let of_slots = topics.chunk_by(|(a, ..), (b, ..)| a == b);
        let groups: Vec<_> = of_slots.flat_map(|topics| topics.chunks(TOPICS)).collect();
        let ask = |group: &&[Topic<'_>]| {
            let mut commands = Commands::new();
            commands.begin(1 + group.len()).word(b"MGET");
            for (_, topic, _) in *group {
                commands.word(keys.retained(topic).as_bytes());
            }
            let slot = group.first().map_or(0, |(slot, ..)| *slot);
            Request { aside: true, ..Request::new(slot, commands) }
        };
        let batches = groups.chunks(GROUPS_AT_ONCE);
        let batches = batches.map(|groups| (groups, groups.iter().map(ask).collect()));
        self.store.link.clone().each(batches, |groups, replies| {
            for (group, Reply { values, .. }) in groups.iter().zip(replies) {
                let payloads = values.first().and_then(Value::array).unwrap_or_default();
                group.iter().zip(payloads).for_each(|(topic, it)| self.take_retained(*topic, it));
            }
            Ok(())
        })
    }

    fn take_retained(&mut self, (slot, topic, meta): Topic<'_>, payload: &Value) {
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
            None => self.strange("retained-meta", slot),
        }
    }

    /// What the owner of a publisher's session left undone when it ended.
    fn roll_forward(&mut self) -> Result<(), StoreError> {
        if self.store.purpose == Purpose::Look {
            return Ok(());
        }
        let concerned = self.concerned()?;
        let keys = self.store.directory.keys.clone();
        let mut left: Vec<Undone> = Vec::new();
        let ask = |(_, client): &(SessionNo, Arc<str>)| {
            let tag = Tag::of(client);
            let mut commands = Commands::new();
            // The claim first: what is read behind it may only be of a later one.
            commands.push(&owner_command(&keys.of(&tag, Of::Session)));
            commands.push(&[b"HGETALL", keys.of(&tag, Of::Recv).as_bytes()]);
            Request { aside: true, ..Request::new(tag.slot, commands) }
        };
        let batches = concerned.chunks(SESSIONS_AT_ONCE);
        let batches = batches.map(|some| (some, some.iter().map(ask).collect()));
        self.store.link.each(batches, |some, replies| {
            for ((session, client), Reply { values, .. }) in some.iter().zip(replies) {
                let [owner, recv] = &values[..] else { continue };
                let Some(epoch) = self.left_to_us(owner) else { continue };
                for (cause, parts) in undone(recv) {
                    let (session, client) = (*session, Arc::clone(client));
                    left.push(Undone { client, session, epoch, cause, parts });
                }
            }
            Ok(())
        })?;
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

    /// Sessions with something undone, whosever it is: few of all.
    fn concerned(&self) -> Result<Vec<(SessionNo, Arc<str>)>, StoreError> {
        let keys = self.store.directory.keys.clone();
        let ask = |named: &&Named| {
            let commands = Commands::one(&[b"HGETALL", keys.of(&named.tag, Of::Recv).as_bytes()]);
            Request { aside: true, ..Request::new(named.tag.slot, commands) }
        };
        let mut concerned = Vec::new();
        let busy: Vec<&Named> = self.sessions.iter().filter(|named| !named.idle).collect();
        let batches = busy.chunks(SESSIONS_AT_ONCE);
        let batches = batches.map(|some| (some, some.iter().map(ask).collect()));
        self.store.link.each(batches, |some, replies| {
            let has = |reply: &Reply| reply.values.iter().any(|recv| undone(recv).next().is_some());
            let found = some.iter().zip(&replies).filter(|(_, reply)| has(reply));
            concerned.extend(found.map(|(named, _)| (named.number, Arc::clone(&named.client))));
            Ok(())
        })?;
        Ok(concerned)
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
                let parts = parts.bytes().and_then(journal::read);
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
        let keys = self.store.directory.keys.clone();
        let ask = |Named { tag, idle, .. }: &Named| {
            let commands = read::commands_of_many(&keys, tag, *idle);
            Request { aside: true, ..Request::new(tag.slot, commands) }
        };
        let batches = sessions.chunks(SESSIONS_AT_ONCE);
        let batches = batches.map(|some| (some, some.iter().map(ask).collect()));
        let link = self.store.link.clone();
        link.each(batches, |some, replies| {
            let damage = &mut self.report.damage;
            let mut partials: Vec<_> = some
                .iter()
                .zip(replies)
                .filter_map(|(Named { client, tag, .. }, reply)| {
                    read::begin(client, tag, &reply.values, damage)
                })
                .collect();
            read::complete(&link, &keys, &mut partials, damage)?;
            for partial in partials {
                self.take(partial);
                self.progress();
            }
            Ok(())
        })
    }

    fn take(&mut self, partial: read::Partial) {
        let number = partial.session.session;
        let own = partial.owner.as_ref().is_none_or(|owner| *owner == self.store.node);
        let (client, tag) = (&partial.client, || partial.tag.clone());
        self.store.directory.learn_tagged(number, client, tag, partial.epoch, own);
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

/// What of that is still to be done.
fn undone(recv: &Value) -> impl Iterator<Item = (Cause, Parts)> {
    let parts = |(field, state)| Some((cause_of(field)?, journal::read(state)?));
    Found::of(recv).pairs().filter_map(parts)
}

/// What reads whose a session is, and since which claim.
fn owner_command(session: &str) -> [&[u8]; 4] {
    [b"HMGET", session.as_bytes(), b"node", b"epoch"]
}
