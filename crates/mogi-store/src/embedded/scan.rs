//! Reads everything once, in order: for a start, and to know again what stands on disk after a
//! write that failed.
//!
//! The records of a session stand in five runs, all sorted by session. They are read side by side:
//! ```text
//!  's'  1      2      5      ─┐
//!  'f'  1 1    2 2 2  5       ├─► one session after the other
//!  'r'         2              │
//!  'p'  1                     │
//!  queue 1 1 1        5 5 5  ─┘
//! ```

use super::cursor::Cursor;
use super::engine::Engine;
use super::fetch;
use super::keys;
use super::mind::{Flight, Marks, Mind, retained_head};
use super::rubbish::Rubbish;
use super::young::{Overlay, Young};
use crate::coding::{self, Input};
use crate::error::StoreError;
use crate::ops::{
    EntryNo, SessionNo, SessionRecord, StoredDelivery, StoredFlight, StoredSession, StoredWaiting,
    StoredWill,
};
use crate::store::{LoadReport, Loaded, Progress};
use mogi_core::Message;
use std::time::{Duration, Instant};

const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A reading of everything.
pub(super) struct Scan<'a> {
    engine: &'a Engine,
    rubbish: &'a mut Rubbish,
    visit: &'a mut dyn FnMut(Loaded),
    /// What stands in the log only; the mind is of the tables without it.
    over: Overlay<'a>,
    mind: Mind,
    report: LoadReport,
    told: Instant,
    steps: u32,
    /// Only what the mind needs for a checkpoint is read, and nothing given.
    light: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        rubbish: &'a mut Rubbish,
        visit: &'a mut dyn FnMut(Loaded),
        (young, seed): (&'a Young, u64),
    ) -> Self {
        let (mind, report) = (Mind::default(), LoadReport::default());
        let over = Overlay::new(young, seed);
        Self {
            engine,
            rubbish,
            visit,
            over,
            mind,
            report,
            told: Instant::now(),
            steps: 0,
            light: false,
        }
    }

    /// Reads only what the mind needs to know before a checkpoint; what is damaged is passed.
    pub(super) fn mind(engine: &Engine) -> Result<Mind, StoreError> {
        let (rubbish, visit) = (&mut Rubbish::default(), &mut |_| {});
        let young = Young::default();
        let mut scan = Scan { light: true, ..Scan::new(engine, rubbish, visit, (&young, 0)) };
        scan.marks()?;
        scan.sessions()?;
        let mut mind = scan.mind;
        mind.opened_at = mind.marks.entry;
        Ok(mind)
    }

    /// Reads it. The report lacks what was damaged; the rubbish has it.
    pub(super) fn run(mut self, later: &Marks) -> Result<(Mind, LoadReport), StoreError> {
        self.marks()?;
        let alive_at_ms = self.mind.marks.alive_at_ms.max(later.alive_at_ms);
        let alive_at_ms = (alive_at_ms > 0).then_some(alive_at_ms);
        (self.visit)(Loaded::Alive { at_ms: alive_at_ms });
        self.report.alive_at_ms = alive_at_ms;
        self.sessions()?;
        self.retained()?;
        self.wills()?;
        let mut marks = self.mind.marks;
        self.mind.opened_at = marks.entry;
        marks.raise(later);
        self.report.last_session = SessionNo(marks.session);
        self.report.last_entry = EntryNo(marks.entry);
        self.report.last_version = marks.version;
        Ok((self.mind, self.report))
    }

    fn marks(&mut self) -> Result<(), StoreError> {
        let record = self.engine.read(|| self.engine.queue.get(keys::MARKS))?;
        let Some(record) = record else { return Ok(()) };
        match coding::open(&keys::MARKS, &record).and_then(Marks::read) {
            Some(marks) => self.mind.marks = marks,
            // The numbers of what is there still count.
            None => self.rubbish.add("queue", &keys::MARKS, &record),
        }
        Ok(())
    }

    fn sessions(&mut self) -> Result<(), StoreError> {
        let engine = self.engine;
        let state = |kind: u8| Cursor::new(engine, "state", &engine.state, &[kind]);
        let mut ended = state(keys::ENDED)?;
        while let Some((key, _)) = ended.take(self.rubbish)? {
            self.mind.ended.extend(keys::session_in(&key));
        }
        let mut runs = Runs {
            subscriptions: state(keys::SUBSCRIPTION)?,
            received: state(keys::RECEIVED)?,
            flights: state(keys::FLIGHT)?,
            queue: Cursor::new(engine, "queue", &engine.queue, &[])?,
        };
        let mut records = state(keys::SESSION)?;
        while let Some((key, record)) = records.take(self.rubbish)? {
            let session = keys::session_in(&key);
            let Some((session, record)) =
                session.zip(coding::open(&key, &record).and_then(coding::session))
            else {
                self.rubbish.add("state", &key, &record);
                continue;
            };
            self.mind.marks.session = self.mind.marks.session.max(session.0);
            self.leftovers(&mut runs, Some(session))?;
            self.fresh_sessions(Some(session));
            let stored = self.session(&mut runs, session, record)?;
            let rubbish = &mut *self.rubbish;
            let mut fetch = |session, entries: &[EntryNo], out: &mut Vec<_>| {
                fetch::fetch(engine, session, entries, rubbish, out)
            };
            if let Some(stored) = self.over.session(stored, &mut fetch)? {
                self.give(stored);
            }
        }
        self.fresh_sessions(None);
        self.leftovers(&mut runs, None)
    }

    /// Those that are not in the tables.
    fn fresh_sessions(&mut self, until: Option<SessionNo>) {
        while let Some(stored) = self.over.next_before(until) {
            self.give(stored);
        }
    }

    fn give(&mut self, stored: StoredSession) {
        self.report.loaded.sessions += 1;
        self.report.subscriptions += stored.subscriptions.len() as u64;
        self.report.loaded.entries += (stored.flights.len() + stored.waiting.len()) as u64;
        (self.visit)(Loaded::Session(stored));
        self.progress();
    }

    /// The session whose record this is.
    fn session(
        &mut self,
        runs: &mut Runs,
        session: SessionNo,
        record: SessionRecord,
    ) -> Result<StoredSession, StoreError> {
        self.mind.sessions.insert(session, 0);
        let mut stored = StoredSession {
            session,
            record,
            subscriptions: Vec::new(),
            received: Vec::new(),
            flights: Vec::new(),
            waiting: Vec::new(),
        };
        let prefix = |kind| keys::of_session(kind, session);
        let rubbish = &mut *self.rubbish;
        if !self.light {
            runs.subscriptions.each(&prefix(keys::SUBSCRIPTION), rubbish, |_, input| {
                stored.subscriptions.push(coding::subscription(input)?);
                Some(())
            })?;
            runs.received.each(&prefix(keys::RECEIVED), rubbish, |rest, _| {
                stored.received.push(u16::from_be_bytes(rest.try_into().ok()?));
                Some(())
            })?;
        }
        let mut flights: Vec<(EntryNo, Flight)> = Vec::new();
        runs.flights.each(&prefix(keys::FLIGHT), rubbish, |rest, mut input| {
            let entry = EntryNo(u64::from_be_bytes(rest.try_into().ok()?));
            let flight = Flight { packet_id: input.u16()?, released: input.u8()? == 1 };
            flights.push((entry, flight));
            Some(())
        })?;
        self.entries(runs, &mut stored, flights)?;
        Ok(stored)
    }

    /// The entries of a session, together with the packet ids some of them have.
    fn entries(
        &mut self,
        runs: &mut Runs,
        stored: &mut StoredSession,
        flights: Vec<(EntryNo, Flight)>,
    ) -> Result<(), StoreError> {
        let session = stored.session;
        let mut messages: Vec<Option<StoredDelivery>> = vec![None; flights.len()];
        let (mind, engine) = (&mut self.mind, self.engine);
        runs.queue.each(&session.0.to_be_bytes(), self.rubbish, |rest, input| {
            let number = EntryNo(u64::from_be_bytes(rest.try_into().ok()?));
            let entry = coding::entry(input)?;
            let (weight, grouped, body) = (entry.weight, entry.grouped(), entry.body);
            match flights.binary_search_by_key(&number, |(entry, _)| *entry) {
                Ok(at) => messages[at] = Some(entry.delivery(|body| read_body(engine, body))?),
                Err(_) => stored.waiting.push(StoredWaiting { entry: number, weight, grouped }),
            }
            if let Some(body) = body {
                mind.share(session, body);
            }
            mind.marks.entry = mind.marks.entry.max(number.0);
            Some(())
        })?;
        for ((entry, flight), delivery) in flights.into_iter().zip(messages) {
            // A packet id whose message is damaged: the client may have it already, or not.
            if delivery.is_none() && !flight.released {
                let key = keys::flight(session, entry);
                self.rubbish.add("state", &key, &[]);
                continue;
            }
            let packet_id = flight.packet_id;
            self.mind.flights.insert((session, entry), flight);
            stored.flights.push(StoredFlight { entry, packet_id, delivery });
        }
        Ok(())
    }

    /// Passes what stands before `until` and belongs to no session: ended ones leave it for a
    /// while, anything else is there because the session's record was damaged.
    fn leftovers(&mut self, runs: &mut Runs, until: Option<SessionNo>) -> Result<(), StoreError> {
        let mind = &mut self.mind;
        let all = [&mut runs.flights, &mut runs.subscriptions, &mut runs.received];
        for run in all.into_iter().take(if self.light { 1 } else { 3 }) {
            while let Some(key) = run.peek(self.rubbish)? {
                if until.is_some_and(|until| keys::session_in(key) >= Some(until)) {
                    break;
                }
                mind.lost(keys::session_in(key));
                run.take(self.rubbish)?;
            }
        }
        while let Some(key) = runs.queue.peek(self.rubbish)? {
            let number = keys::split_queue(key);
            if until.is_some_and(|until| number.is_some_and(|(session, _)| session >= until)) {
                break;
            }
            let Some((key, record)) = runs.queue.take(self.rubbish)? else { break };
            if let Some((session, entry)) = number {
                mind.lost(Some(session));
                mind.marks.entry = mind.marks.entry.max(entry.0);
                let entry = coding::open(&key, &record).and_then(coding::entry);
                if let Some(body) = entry.and_then(|it| it.body) {
                    mind.share(session, body);
                }
            }
        }
        Ok(())
    }

    fn retained(&mut self) -> Result<(), StoreError> {
        let mut run = Cursor::new(self.engine, "retained", &self.engine.retained, &[])?;
        while let Some((key, record)) = run.take(self.rubbish)? {
            let Some((version, message, at)) = coding::open(&key, &record).and_then(retained)
            else {
                self.rubbish.add("retained", &key, &record);
                continue;
            };
            self.mind.marks.version = self.mind.marks.version.max(version);
            match message {
                Some(message) => {
                    self.mind.retained += 1;
                    if self.over.keeps(message.topic(), version) {
                        self.report.loaded.retained += 1;
                        (self.visit)(Loaded::Retained { message, version });
                    }
                }
                None => {
                    self.over.ended(&key, version);
                    self.mind.faded.push_back((at, (*key).into()));
                }
            }
            self.progress();
        }
        for (version, message) in self.over.retained() {
            self.report.loaded.retained += 1;
            (self.visit)(Loaded::Retained { message: message.clone(), version });
        }
        self.mind.faded.make_contiguous().sort_unstable_by_key(|(at, _)| *at);
        Ok(())
    }

    fn wills(&mut self) -> Result<(), StoreError> {
        let mut run = Cursor::new(self.engine, "state", &self.engine.state, &[keys::WILL])?;
        while let Some((key, record)) = run.take(self.rubbish)? {
            match coding::open(&key, &record).and_then(coding::will) {
                Some((client, will)) if self.over.keeps_will(&client) => {
                    self.report.wills += 1;
                    (self.visit)(Loaded::Will { client, will });
                }
                Some(_) => {}
                None => self.rubbish.add("state", &key, &record),
            }
        }
        for (client, will) in self.over.wills() {
            self.report.wills += 1;
            let (client, will) = (client.clone(), StoredWill::clone(will));
            (self.visit)(Loaded::Will { client, will });
        }
        Ok(())
    }

    fn progress(&mut self) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(1024) && self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            let Progress { sessions, entries, retained } = self.report.loaded;
            (self.visit)(Loaded::Progress(Progress { sessions, entries, retained }));
        }
    }
}

/// The runs a session's records stand in.
struct Runs {
    subscriptions: Cursor,
    received: Cursor,
    flights: Cursor,
    queue: Cursor,
}

/// A retained record: version, message, and since when there is none.
fn retained(mut input: Input<'_>) -> Option<(u64, Option<Message>, u64)> {
    let (version, present) = retained_head(&mut input)?;
    if present {
        return Some((version, Some(Message::from_bytes(input.rest())?), 0));
    }
    Some((version, None, input.u64()?))
}

/// The message of a body; `None`: it is damaged or not there.
pub(super) fn read_body(engine: &Engine, body: u64) -> Option<Message> {
    let key = body.to_be_bytes();
    let record = engine.read(|| engine.bodies.get(key)).ok()??;
    Message::from_bytes(coding::open(&key, &record)?.rest())
}

/// The number of the last record of the log that is in the tables; 0: none.
pub(super) fn read_checkpoint(engine: &Engine) -> Result<u64, StoreError> {
    let key = keys::CHECKPOINT;
    let Some(record) = engine.read(|| engine.state.get(key))? else { return Ok(0) };
    // Without it everything in the log is gone through once more.
    Ok(coding::open(&key, &record).and_then(|mut input| input.u64()).unwrap_or(0))
}
