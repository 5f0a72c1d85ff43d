//! The store on Redis for those who may wait: tools, tests, and a broker's start.

use super::RedisOptions;
use super::directory::Directory;
use super::fetch::Search;
use super::journal::Parts;
use super::keys::{Keys, Tag};
use super::link::Link;
use super::ops::{Extra, Outcome, Plan, Planner};
use super::wire::{Commands, Request, Value, slot_of};
use super::{encode::Found, load};
use crate::clock::now_ms;
use crate::error::StoreError;
use crate::ops::{Cause, EntryNo, SessionNo, StoreOp, StoredDelivery};
use crate::store::{LoadReport, Loaded, Store, Usage};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keeps state in Redis. It is to be loaded before anything else is asked of it.
pub struct RedisStore {
    pub(super) link: Link,
    pub(super) directory: Directory,
    pub(super) node: Arc<str>,
    pub(super) usage: Usage,
    pub(super) marks: Marks,
    pub(super) purpose: Purpose,
}

/// What a store is opened for, and so what a load does with messages whose publishers' owners ended
/// before they were in all queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To serve clients: what is left of one's own is finished.
    Serve,
    /// To look: nothing is changed.
    Look,
    /// To take everything elsewhere, while no broker runs: all that is left is finished.
    Move,
}

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The node that claimed it last; `None`: nobody has.
    pub node: Option<Arc<str>>,
    /// The epoch of that claim.
    pub epoch: u64,
}

/// What the owner of a client left undone when it ended.
#[derive(Debug)]
pub(super) struct Undone {
    pub(super) client: Arc<str>,
    /// Its session; `NONE`: it is of a will.
    pub(super) session: SessionNo,
    /// The epoch of the last claim.
    pub(super) epoch: u64,
    pub(super) cause: Cause,
    pub(super) parts: Parts,
}

/// The greatest numbers used, and when something was written last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    session: u64,
    entry: u64,
    version: u64,
    alive_at_ms: u64,
}

impl RedisStore {
    /// The store at this place. It connects when it is first needed.
    ///
    /// # Errors
    /// If files of TLS cannot be read.
    pub fn open(options: &RedisOptions) -> Result<Self, StoreError> {
        let (link, node) = (Link::start(options.connection())?, options.node.as_str().into());
        Ok(Self::over(link, options.keys(), node, Purpose::Serve))
    }

    /// The store behind a connection that is there already.
    pub(super) fn looking(link: Link, keys: &Keys, node: &Arc<str>) -> Self {
        Self::over(link, keys.clone(), Arc::clone(node), Purpose::Look)
    }

    fn over(link: Link, keys: Keys, node: Arc<str>, purpose: Purpose) -> Self {
        let directory = Directory::new(keys);
        Self { link, directory, node, usage: Usage::default(), marks: Marks::default(), purpose }
    }

    /// The same store for another purpose than to serve clients.
    #[must_use]
    pub fn to(self, purpose: Purpose) -> Self {
        Self { purpose, ..self }
    }

    /// Notices of the connection go there from now on; it is called on the connection's thread.
    pub fn listen(&self, on_notice: impl FnMut(&super::wire::Notice) + Send + 'static) {
        self.link.listen(on_notice);
    }

    /// How many replicas Redis has, if nothing that is acknowledged waits for them.
    pub fn unawaited_replicas(&self) -> usize {
        self.link.unawaited_replicas()
    }

    /// As [`Store::load`]; with each session comes whose it is.
    ///
    /// # Errors
    /// As of [`Store::load`].
    pub fn load_owned(
        &mut self,
        visit: &mut dyn FnMut(Loaded, Option<Owner>),
    ) -> Result<LoadReport, StoreError> {
        load::load(self, visit)
    }

    /// As [`Self::load_owned`] without retained messages: clients can be served then, and
    /// [`Self::load_retained`] reads these meanwhile. The report says up to which version they may
    /// go.
    ///
    /// # Errors
    /// As of [`Store::load`].
    pub fn load_sessions(
        &mut self,
        visit: &mut dyn FnMut(Loaded, Option<Owner>),
    ) -> Result<LoadReport, StoreError> {
        load::sessions(self, visit)
    }

    /// Retained messages, those that ended lately, and nothing else.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn load_retained(
        &mut self,
        visit: &mut dyn FnMut(Loaded),
    ) -> Result<LoadReport, StoreError> {
        load::retained(self, &mut |loaded, _| visit(loaded))
    }

    /// Where it is, without login.
    pub fn place(&self) -> &str {
        &self.link.place
    }

    /// What has to follow from something, which its owner left undone, follows.
    pub(super) fn roll_forward(&mut self, left: &Undone) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        for (client, op) in &left.parts {
            if let (Some(client), StoreOp::Enqueued { session, .. }) = (client, op) {
                self.directory.learn(*session, client);
            }
            ops.push(op.clone());
        }
        self.write_all(&ops)?;
        // It is done: nobody needs to do it again. If this is lost, it counts but once anyway. It
        // is said under the claim under which it was read: whoever has claimed it since may have
        // used the packet id again, for a message of which something is to follow.
        match left.session {
            SessionNo::NONE => self.directory.claimed(&left.client, left.epoch, None),
            session => self.directory.learn_owned(session, &left.client, left.epoch, true),
        }
        let settled = vec![(left.session, left.cause.clone())];
        let extra = Extra { settled, ..Extra::default() };
        let plan = Planner { directory: &self.directory, now_ms: now_ms() }.plan(&[], &extra);
        let request = Request::new(Tag::of(&left.client).slot, plan.commands);
        // Refused, it is somebody else's.
        self.link.call(vec![request]).map(drop)
    }

    pub(super) fn read_marks(&self) -> Result<LoadReport, StoreError> {
        let key = self.directory.keys.marks(&self.node);
        let commands = Commands::one(&[b"HGETALL", key.as_bytes()]);
        let replies = self.link.call(vec![Request::new(slot_of(key.as_bytes()), commands)])?;
        let nothing = Value::Nil;
        let value = replies.first().and_then(|reply| reply.values.first()).unwrap_or(&nothing);
        let found = Found::of(value);
        let behind = if found.get("running") == Some(b"1") { BEHIND } else { 0 };
        let number = |name| found.number(name).map_or(0, |it: u64| it.saturating_add(behind));
        Ok(LoadReport {
            last_session: SessionNo(number("session")),
            last_entry: EntryNo(number("entry")),
            last_version: number("version"),
            alive_at_ms: found.number("alive").filter(|at_ms| *at_ms > 0),
            ..LoadReport::default()
        })
    }

    /// The greatest version that any node has written down, those that are gone among them: what is
    /// retained from now on is to be newer than what is there.
    pub(super) fn newest_version(&self) -> Result<u64, StoreError> {
        let keys = &self.directory.keys;
        let asked = self.nodes().seen()?.into_iter().map(|seen| {
            let key = keys.marks(&seen.node);
            let ask = Commands::one(&[b"HGET", key.as_bytes(), b"version"]);
            Request::new(slot_of(key.as_bytes()), ask)
        });
        let replies = self.link.call(asked.collect())?;
        let versions =
            replies.iter().filter_map(|reply| reply.values.first()?.text()?.parse().ok());
        Ok(versions.max().unwrap_or(0))
    }

    /// Writes down the numbers used so far. `running`: more will be used before the next time.
    pub(super) fn write_marks(&self, running: bool) -> Result<(), StoreError> {
        let request = self.marks.request(&self.directory.keys, &self.node, running);
        self.link.call(vec![request]).map(drop)
    }

    /// Carries changes out, all slots at once.
    fn write_all(&mut self, ops: &[StoreOp]) -> Result<(), StoreError> {
        let mut slots: BTreeMap<u16, Vec<StoreOp>> = BTreeMap::new();
        for op in ops {
            self.marks.see(op);
            if let Some(slot) = self.directory.route(op) {
                slots.entry(slot).or_default().push(op.clone());
            }
        }
        let planner = Planner { directory: &self.directory, now_ms: now_ms() };
        let extra = Extra::default();
        let plans: Vec<(u16, &[StoreOp], Plan)> = slots
            .iter()
            .map(|(slot, ops)| (*slot, &ops[..], planner.plan(ops, &extra)))
            .filter(|(.., plan)| !plan.is_empty())
            .collect();
        let mut late = Vec::new();
        let mut total = Outcome::default();
        for ((slot, ops, _), outcome) in plans.iter().zip(self.carry_out(&plans)?) {
            if !outcome.late.is_empty() {
                late.push((*slot, *ops, planner.late(ops, &outcome.late)));
            }
            total.sessions += outcome.sessions;
            total.flights += outcome.flights;
            total.retained += outcome.retained;
        }
        self.carry_out(&late)?;
        let add = |count: &mut u64, by: i64| *count = count.saturating_add_signed(by);
        add(&mut self.usage.sessions, total.sessions);
        add(&mut self.usage.flights, total.flights);
        add(&mut self.usage.retained, total.retained);
        for op in ops {
            if let StoreOp::SessionEnd { session } = op {
                self.directory.forget(*session);
            }
        }
        Ok(())
    }

    fn carry_out(&self, plans: &[(u16, &[StoreOp], Plan)]) -> Result<Vec<Outcome>, StoreError> {
        let requests = plans.iter().map(|(slot, _, plan)| Request {
            durable: true,
            ..Request::new(*slot, plan.commands.clone())
        });
        let replies = self.link.call_durable(requests.collect())?;
        let mut outcomes = Vec::new();
        for ((.., plan), reply) in plans.iter().zip(replies) {
            let outcome = plan.read(&reply.values);
            if let Some(error) = outcome.error {
                return Err(self.link.told(error));
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

impl Store for RedisStore {
    fn write(&mut self, batches: &[&[StoreOp]]) -> Result<(), StoreError> {
        let ops = batches.concat();
        self.write_all(&ops)?;
        self.marks.alive_at_ms = now_ms();
        self.write_marks(false)
    }

    /// What was written is as durable as Redis makes it (`redis_wait`).
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn load(&mut self, visit: &mut dyn FnMut(Loaded)) -> Result<LoadReport, StoreError> {
        load::load(self, &mut |loaded, _| visit(loaded))
    }

    fn fetch(
        &mut self,
        session: SessionNo,
        entries: &[EntryNo],
        out: &mut Vec<(EntryNo, StoredDelivery)>,
    ) -> Result<(), StoreError> {
        let Some(home) = self.directory.home(session) else { return Ok(()) };
        let mut search = Search::new(home, entries);
        while let Some(commands) = search.commands(&self.directory) {
            let request = Request::new(search.slot(), commands);
            let reply = self.link.call(vec![request])?;
            search.take(reply.first().map_or(&[], |reply| &reply.values));
        }
        out.extend(search.finish());
        Ok(())
    }

    fn usage(&self) -> Usage {
        self.usage
    }

    fn tick(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// How long the marks of a node that comes no more are kept, in milliseconds: a quarter.
const MARKS_MS: u64 = 90 * 86_400_000;

/// How many numbers a node may use between two times it writes its marks, and a crash.
const BEHIND: u64 = 1 << 24;

impl Marks {
    pub(super) fn follow(&mut self, report: &LoadReport) {
        self.session = self.session.max(report.last_session.0);
        self.entry = self.entry.max(report.last_entry.0);
        self.version = self.version.max(report.last_version);
        self.alive_at_ms = report.alive_at_ms.unwrap_or(0);
    }

    pub(super) fn see(&mut self, op: &StoreOp) {
        match op {
            StoreOp::SessionSet { session, .. } => self.session = self.session.max(session.0),
            StoreOp::Enqueued { entry, .. } => self.entry = self.entry.max(entry.0),
            StoreOp::Retained { version, .. } | StoreOp::RetainedEnd { version, .. } => {
                self.version = self.version.max(*version);
            }
            _ => {}
        }
    }

    pub(super) const fn alive(&mut self, now_ms: u64) {
        self.alive_at_ms = now_ms;
    }

    pub(super) fn request(&self, keys: &Keys, node: &str, running: bool) -> Request {
        let key = keys.marks(node);
        let mut commands = Commands::new();
        commands.begin(12).word(b"HSET").word(key.as_bytes());
        let all = [
            ("session", self.session),
            ("entry", self.entry),
            ("version", self.version),
            ("alive", self.alive_at_ms),
            ("running", u64::from(running)),
        ];
        for (name, number) in all {
            commands.word(name.as_bytes()).number(number);
        }
        commands.begin(3).word(b"PEXPIRE").word(key.as_bytes()).number(MARKS_MS);
        Request::new(slot_of(key.as_bytes()), commands)
    }
}
