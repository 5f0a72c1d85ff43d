//! Changes on their way: what of them goes to which slot, in what order, and when a turn is done.
//!
//! ```text
//!  turn ─┬─ lane (slot 17)    gathers ──compact──► one request at a time ──► done
//!        ├─ lane (slot 9000)  gathers ──compact──► …
//!        └─ unit              what may only follow when something else is durable
//! ```
//! A slot has one request out at a time; meanwhile the next gathers, and much of it makes up for
//! itself. Nothing here waits, and nothing here does I/O.
//!
//! A **unit** keeps an order over slots. A QoS 2 message of a lasting publisher is one: first its
//! packet id is written, with what is to follow from it ([`super::journal`]), then that follows. A
//! message of a shared group that goes to another member is one: it leaves the queue of the first
//! with the note where it goes to.
//! What ends something whose message goes elsewhere in the same turn is one too: first the message
//! is there, then the end.

mod claims;
mod free;

use super::directory::{Directory, cause_of, session_of};
use super::journal;
use super::keys::Tag;
use super::ops::{Extra, Outcome, Plan, Planner};
use super::order::{is_exactly_once, moves_messages};
use super::tickets::{TicketNo, Tickets};
use super::wire::{Commands, Value};
use crate::committer::Answer;
use crate::committer::compact::Compactor;
use crate::ops::{Batch, Cause, EntryNo, SessionNo, StoreOp};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use mogi_core::Wait;
use std::collections::VecDeque;
use std::sync::Arc;

type UnitNo = u64;
type Map<K, V> = HashMap<K, V, RandomState>;

/// All changes on their way.
pub(super) struct Lanes {
    pub(super) directory: Directory,
    pub(super) tickets: Tickets,
    lanes: Map<u16, Lane>,
    /// Lanes that may have something to send.
    dirty: VecDeque<u16>,
    /// Slots with claims out: what comes behind one waits until it is known whose the session is.
    claimed: Map<u16, Vec<Arc<str>>>,
    /// Slots the turn at hand has changes for.
    touched: Vec<u16>,
    units: Map<UnitNo, Unit>,
    last_unit: UnitNo,
    /// Entries of units that are not on their way yet: what concerns them follows them.
    held: Map<EntryNo, UnitNo>,
    /// Units of wills that are taken, by client id.
    held_wills: Map<Arc<str>, UnitNo>,
    compactor: Compactor,
    pub(super) fenced: Vec<Fenced>,
    /// What others follow from, and was refused: worker, turn, session, cause.
    pub(super) refused: Vec<(u16, u64, SessionNo, Cause)>,
    pub(super) counts: Counts,
}

/// Something of a client that belongs to another node by now was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fenced {
    pub(super) client: Arc<str>,
    pub(super) session: SessionNo,
    /// The epoch it was changed under.
    pub(super) epoch: u64,
}

/// What was done, and what there is more of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) written: u64,
    pub(super) compacted: u64,
    pub(super) requests: u64,
    pub(super) sessions: i64,
    pub(super) flights: i64,
    pub(super) retained: i64,
}

#[derive(Default)]
struct Lane {
    ops: Batch,
    waiters: Vec<Waiter>,
    /// Units whose causes are in `ops`.
    taken: Vec<UnitNo>,
    /// Causes of which all that follows is in all queues.
    settled: Vec<(SessionNo, Cause)>,
    flight: Option<Flight>,
    /// A second request, that only gives memory back.
    freeing: Option<(Plan, Batch)>,
}

/// A request to be sent.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) slot: u16,
    pub(super) commands: Commands,
    /// It only gives memory back: it may overtake the slot's other request.
    pub(super) frees: bool,
}

/// A request on its way.
struct Flight {
    /// When it was sent.
    at_ms: u64,
    ops: Batch,
    plan: Plan,
    waiters: Vec<Waiter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiter {
    Turn(TicketNo),
    Unit(UnitNo),
}

struct Unit {
    /// Requests it waits for: first those it follows, then its own.
    left: usize,
    /// What follows; empty once it is on its way.
    parts: Batch,
    /// Turns of which it is a part.
    turns: Vec<TicketNo>,
    /// What it follows from.
    cause: Option<(SessionNo, Cause)>,
    follows: bool,
    /// There was something to follow.
    routed: bool,
    /// Units that wait for this one.
    behind: Vec<UnitNo>,
    /// What comes when all of it is done.
    later: Batch,
}

/// The unit that changes follow in.
#[derive(Clone, Copy)]
struct Following {
    no: UnitNo,
    /// Messages of any QoS do.
    all: bool,
    /// They come when all of the unit is done.
    later: bool,
}

impl Following {
    fn takes(self, op: &StoreOp) -> bool {
        let of_message = matches!(op, StoreOp::Enqueued { .. } | StoreOp::Retained { .. });
        is_exactly_once(op) || (self.all && of_message)
    }
}

impl Lanes {
    pub(super) fn new(directory: Directory) -> Self {
        Self {
            directory,
            tickets: Tickets::default(),
            lanes: Map::default(),
            dirty: VecDeque::new(),
            claimed: Map::default(),
            touched: Vec::new(),
            units: Map::default(),
            last_unit: 0,
            held: Map::default(),
            held_wills: Map::default(),
            compactor: Compactor::default(),
            fenced: Vec::new(),
            refused: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Takes the changes of a turn.
    pub(super) fn submit(&mut self, worker: u16, turn: u64, batch: Batch, wait: Wait, bytes: u64) {
        let ticket = self.tickets.open(worker, turn, wait, bytes, batch.len() as u64);
        let moves = moves_messages(&batch);
        // What ends something, while its message goes elsewhere.
        let mut ends = Batch::new();
        let (mut unit, mut following): (Option<Following>, u32) = (None, 0);
        let mut units = Vec::new();
        self.touched.clear();
        for op in batch {
            // What comes behind belongs to somebody else, whose message is to go its way anyhow.
            unit = unit.filter(|_| following > 0);
            following = following.saturating_sub(1);
            match &op {
                StoreOp::Received { follows, .. }
                | StoreOp::HandedOver { follows, .. }
                | StoreOp::WillTaken { follows, .. } => {
                    following = *follows;
                    unit = self.take_cause(op, Waiter::Turn(ticket));
                    units.extend(unit.map(|unit| unit.no));
                }
                StoreOp::SessionEnd { .. } if moves => ends.push(op),
                _ => match unit.filter(|unit| unit.takes(&op)) {
                    Some(unit) => self.hold_in(unit, op),
                    None => self.route(op, Waiter::Turn(ticket)),
                },
            }
        }
        if !ends.is_empty() {
            self.end_behind(ticket, &units, ends);
        }
        self.tickets.done(ticket);
    }

    /// The next request. The reply goes to [`Self::returned`], or to [`Self::freed`].
    pub(super) fn next(&mut self, now_ms: u64) -> Option<Out> {
        while let Some(slot) = self.dirty.pop_front() {
            let Some(lane) = self.lanes.get_mut(&slot) else { continue };
            if self.claimed.contains_key(&slot) {
                continue;
            }
            if lane.flight.is_some() {
                match self.free(slot, now_ms) {
                    Some(out) => return Some(out),
                    None => continue,
                }
            }
            let mut ops = std::mem::take(&mut lane.ops);
            let waiters = std::mem::take(&mut lane.waiters);
            let taken = std::mem::take(&mut lane.taken);
            let settled = std::mem::take(&mut lane.settled);
            let before = ops.len();
            let dropped = self.compactor.compact(std::slice::from_mut(&mut ops));
            self.counts.compacted += dropped as u64;
            self.counts.written += (before - dropped) as u64;
            let parts = self.parts_of(&taken);
            let extra = Extra { parts, settled };
            let planner = Planner { directory: &self.directory, now_ms };
            let plan = planner.plan(&ops, &extra);
            if plan.is_empty() {
                self.arrived(ops, waiters);
                self.tidy(slot);
                continue;
            }
            let commands = plan.commands.clone();
            self.counts.requests += 1;
            if let Some(lane) = self.lanes.get_mut(&slot) {
                lane.flight = Some(Flight { at_ms: now_ms, ops, plan, waiters });
            }
            return Some(Out { slot, commands, frees: false });
        }
        None
    }

    /// The reply to a slot's request. What is given back is to be sent now, in its place.
    ///
    /// # Errors
    /// What Redis says it will never do. The request is to be sent again when that may have
    /// changed: it is [`Self::again`].
    pub(super) fn returned(
        &mut self,
        slot: u16,
        values: &[Value],
        now_ms: u64,
    ) -> Result<Option<Commands>, String> {
        let Some(lane) = self.lanes.get_mut(&slot) else { return Ok(None) };
        let Some(mut flight) = lane.flight.take() else { return Ok(None) };
        let outcome = flight.plan.read(values);
        if let Some(error) = outcome.error {
            lane.flight = Some(flight);
            return Err(error);
        }
        self.note(&outcome, &flight.ops);
        if !outcome.late.is_empty() {
            let planner = Planner { directory: &self.directory, now_ms };
            flight.plan = planner.late(&flight.ops, &outcome.late);
            if !flight.plan.is_empty() {
                let commands = flight.plan.commands.clone();
                if let Some(lane) = self.lanes.get_mut(&slot) {
                    lane.flight = Some(flight);
                }
                return Ok(Some(commands));
            }
        }
        self.arrived(flight.ops, flight.waiters);
        self.dirty.push_back(slot);
        self.tidy(slot);
        Ok(None)
    }

    /// The request of a slot that is out.
    pub(super) fn again(&self, slot: u16) -> Option<Commands> {
        self.lanes.get(&slot)?.flight.as_ref().map(|flight| flight.plan.commands.clone())
    }

    /// Whether nothing of this slot is on its way, so that what is read there is all there is.
    pub(super) fn is_quiet(&self, slot: u16) -> bool {
        self.lanes.get(&slot).is_none_or(|lane| lane.flight.is_none() && lane.ops.is_empty())
    }

    /// Whether changes of this slot are yet to be on their way.
    pub(super) fn gathers(&self, slot: u16) -> bool {
        self.lanes.get(&slot).is_some_and(|lane| !lane.ops.is_empty())
    }

    /// Whether one of these entries is yet to be on its way.
    pub(super) fn holds(&self, entries: &[EntryNo]) -> bool {
        !self.held.is_empty() && entries.iter().any(|entry| self.held.contains_key(entry))
    }

    /// Looks at lanes that only have to say that something is settled.
    pub(super) fn settle(&mut self) {
        let due = self.lanes.iter().filter(|(_, lane)| !lane.settled.is_empty());
        self.dirty.extend(due.map(|(slot, _)| *slot));
    }

    /// What the workers are to be told, in this order.
    pub(super) fn answers(&mut self, out: &mut Vec<(u16, Answer)>) {
        self.tickets.answers(out);
    }

    /// Sends a change its way; `waiter` is told when it has arrived.
    fn route(&mut self, op: StoreOp, waiter: Waiter) {
        if let Some(unit) = self.unit_before(&op) {
            self.join(unit, waiter);
            let later = self.is_of_will(unit);
            return self.hold_in(Following { no: unit, all: true, later }, op);
        }
        let Some(slot) = self.directory.route(&op) else { return };
        let lane = self.lanes.entry(slot).or_default();
        if let StoreOp::ReceivedEnd { session, packet_id } = &op {
            let cause = Cause::PacketId(*packet_id);
            lane.settled.retain(|known| (known.0, &known.1) != (*session, &cause));
        }
        lane.ops.push(op);
        self.dirty.push_back(slot);
        self.wait_for(slot, waiter);
    }

    fn wait_for(&mut self, slot: u16, waiter: Waiter) {
        let lane = self.lanes.entry(slot).or_default();
        if lane.waiters.last() == Some(&waiter) {
            return;
        }
        lane.waiters.push(waiter);
        match waiter {
            Waiter::Turn(ticket) => {
                self.tickets.add(ticket);
                self.touched.push(slot);
            }
            Waiter::Unit(no) => {
                if let Some(unit) = self.units.get_mut(&no) {
                    unit.left += 1;
                }
            }
        }
    }

    /// Something others follow from: a unit for those.
    fn take_cause(&mut self, op: StoreOp, waiter: Waiter) -> Option<Following> {
        let (session, cause) = cause_of(&op)?;
        if let Some(before) = self.unit_before(&op) {
            // What it is about is not on its way itself: it and what follows come when it is.
            self.join(before, waiter);
            let following = Following { no: before, all: true, later: self.is_of_will(before) };
            self.hold_in(following, op);
            return Some(following);
        }
        let slot = self.directory.route(&op)?;
        let turns = match waiter {
            Waiter::Turn(ticket) => vec![ticket],
            Waiter::Unit(_) => Vec::new(),
        };
        let no = self.open_unit(turns, Some((session, cause.clone())));
        if let Waiter::Unit(outer) = waiter {
            self.put_behind(no, outer);
        }
        if let Cause::Will(client) = &cause {
            self.held_wills.insert(Arc::clone(client), no);
        }
        let lane = self.lanes.entry(slot).or_default();
        // The id was used before: what is settled of it is history.
        lane.settled.retain(|known| (known.0, &known.1) != (session, &cause));
        lane.ops.push(op);
        lane.taken.push(no);
        self.dirty.push_back(slot);
        self.wait_for(slot, Waiter::Unit(no));
        Some(Following { no, all: !matches!(cause, Cause::PacketId(_)), later: false })
    }

    /// `outer` is done only when the unit is.
    fn put_behind(&mut self, no: UnitNo, outer: UnitNo) {
        if let Some(unit) = self.units.get_mut(&no) {
            unit.behind.push(outer);
        }
        if let Some(outer) = self.units.get_mut(&outer) {
            outer.left += 1;
        }
    }

    /// Who waits for a change waits for that unit.
    fn join(&mut self, no: UnitNo, waiter: Waiter) {
        match waiter {
            Waiter::Turn(ticket) => {
                self.tickets.add(ticket);
                if let Some(unit) = self.units.get_mut(&no) {
                    unit.turns.push(ticket);
                }
            }
            Waiter::Unit(outer) if outer != no => self.put_behind(no, outer),
            Waiter::Unit(_) => {}
        }
    }

    /// Ends follow when everything of the turn so far is durable.
    fn end_behind(&mut self, ticket: TicketNo, units: &[UnitNo], ends: Batch) {
        let no = self.open_unit(vec![ticket], None);
        for slot in std::mem::take(&mut self.touched) {
            self.wait_for(slot, Waiter::Unit(no));
        }
        let mut left = 0;
        for before in units {
            if let Some(before) = self.units.get_mut(before) {
                before.behind.push(no);
                left += 1;
            }
        }
        let idle = self.units.get_mut(&no).is_some_and(|unit| {
            unit.parts = ends;
            unit.left += left;
            unit.left == 0
        });
        if idle {
            self.advance(no);
        }
    }

    fn open_unit(&mut self, turns: Vec<TicketNo>, cause: Option<(SessionNo, Cause)>) -> UnitNo {
        self.last_unit += 1;
        turns.iter().for_each(|turn| self.tickets.add(*turn));
        let unit = Unit {
            left: 0,
            parts: Batch::new(),
            turns,
            cause,
            follows: false,
            routed: false,
            behind: Vec::new(),
            later: Batch::new(),
        };
        self.units.insert(self.last_unit, unit);
        self.last_unit
    }

    /// The unit a change has to follow, if any.
    fn unit_before(&self, op: &StoreOp) -> Option<UnitNo> {
        match op {
            StoreOp::Assigned { entry, .. }
            | StoreOp::Released { entry, .. }
            | StoreOp::Delivered { entry, .. }
            | StoreOp::HandedOver { entry, .. }
                if !self.held.is_empty() =>
            {
                self.held.get(entry).copied()
            }
            StoreOp::WillSet { client, .. }
            | StoreOp::WillEnd { client }
            | StoreOp::WillTaken { client, .. }
                if !self.held_wills.is_empty() =>
            {
                self.held_wills.get(client).copied()
            }
            _ => None,
        }
    }

    /// Whether what concerns the same will waits until all of the unit is done: the place of the
    /// will is taken until then.
    fn is_of_will(&self, no: UnitNo) -> bool {
        let cause = self.units.get(&no).and_then(|unit| unit.cause.as_ref());
        cause.is_some_and(|(_, cause)| matches!(cause, Cause::Will(_)))
    }

    fn hold_in(&mut self, following: Following, op: StoreOp) {
        if !following.later {
            self.hold(following.no, op);
        } else if let Some(unit) = self.units.get_mut(&following.no) {
            unit.later.push(op);
        }
    }

    fn hold(&mut self, no: UnitNo, op: StoreOp) {
        if let StoreOp::Enqueued { entry, .. } = &op {
            self.held.insert(*entry, no);
        }
        if let Some(unit) = self.units.get_mut(&no) {
            unit.parts.push(op);
        }
    }

    /// What follows in these units, as far as there is anything.
    fn parts_of(&mut self, taken: &[UnitNo]) -> Map<(SessionNo, Cause), Vec<u8>> {
        let mut all = Map::default();
        for no in taken {
            let Some(unit) = self.units.get_mut(no) else { continue };
            let Some(cause) = unit.cause.clone() else { continue };
            let before = unit.parts.len();
            let dropped = self.compactor.compact(std::slice::from_mut(&mut unit.parts));
            debug_assert_eq!(before, dropped + unit.parts.len());
            self.counts.compacted += dropped as u64;
            let directory = &self.directory;
            let handed = |entry: &EntryNo| {
                unit.parts
                    .iter()
                    .any(|op| matches!(op, StoreOp::HandedOver { entry: it, .. } if it == entry))
            };
            // What has gone to another member already is of that one.
            let parts = unit.parts.iter().filter(|op| match op {
                StoreOp::Enqueued { entry, .. } => !handed(entry),
                _ => true,
            });
            let parts = parts.filter_map(|op| match session_of(op) {
                Some(session) => Some((Some(&*directory.home(session)?.client), op)),
                None => Some((None, op)),
            });
            let parts: Vec<_> = parts.collect();
            if !parts.is_empty() {
                all.insert(cause, journal::encode(parts.into_iter()));
            }
        }
        all
    }

    /// A request was carried out.
    fn arrived(&mut self, ops: Batch, waiters: Vec<Waiter>) {
        for op in &ops {
            if let StoreOp::SessionEnd { session } = op {
                self.directory.forget(*session);
            }
        }
        for waiter in waiters {
            match waiter {
                Waiter::Turn(ticket) => self.tickets.done(ticket),
                Waiter::Unit(no) => self.one_less(no),
            }
        }
    }

    /// Something a unit waits for is done.
    fn one_less(&mut self, no: UnitNo) {
        let ready = self.units.get_mut(&no).is_some_and(|unit| {
            unit.left = unit.left.saturating_sub(1);
            unit.left == 0
        });
        if ready {
            self.advance(no);
        }
    }

    /// What a unit follows is durable, or all of it is.
    fn advance(&mut self, no: UnitNo) {
        let Some(unit) = self.units.get_mut(&no) else { return };
        let parts = std::mem::take(&mut unit.parts);
        unit.routed |= !parts.is_empty();
        if !std::mem::replace(&mut unit.follows, true) {
            for op in &parts {
                if let StoreOp::Enqueued { entry, .. } = op {
                    self.held.remove(entry);
                }
            }
            // Those that made up for one another are held no more, too.
            self.held.retain(|_, unit| *unit != no);
        }
        self.send_parts(no, parts);
        let Some(unit) = self.units.get(&no) else { return };
        if unit.left > 0 {
            return;
        }
        let Some(unit) = self.units.remove(&no) else { return };
        if let Some((session, cause)) = &unit.cause {
            self.settle_cause(*session, cause, unit.routed);
        }
        if !unit.later.is_empty() {
            return self.send_later(unit);
        }
        unit.turns.iter().for_each(|turn| self.tickets.done(*turn));
        for behind in unit.behind {
            self.one_less(behind);
        }
    }

    /// All that follows is done; `any`: there was something.
    fn settle_cause(&mut self, session: SessionNo, cause: &Cause, any: bool) {
        let slot = match cause {
            Cause::Will(client) => {
                self.held_wills.remove(client);
                Some(Tag::of(client).slot)
            }
            _ => self.directory.home(session).map(|home| home.tag.slot),
        };
        if let Some(slot) = slot.filter(|_| any) {
            self.lanes.entry(slot).or_default().settled.push((session, cause.clone()));
        }
    }

    /// What waited for all of a unit goes its way; whoever waited for the unit waits for that, too.
    fn send_later(&mut self, unit: Unit) {
        let no = self.open_unit(Vec::new(), None);
        if let Some(next) = self.units.get_mut(&no) {
            (next.turns, next.behind, next.follows) = (unit.turns, unit.behind, true);
        }
        self.send_parts(no, unit.later);
        if self.units.get(&no).is_some_and(|unit| unit.left == 0) {
            self.advance(no);
        }
    }

    /// What follows goes its way; some of it others follow from.
    fn send_parts(&mut self, no: UnitNo, parts: Batch) {
        let (mut inner, mut following): (Option<Following>, u32) = (None, 0);
        for op in parts {
            inner = inner.filter(|_| following > 0);
            following = following.saturating_sub(1);
            if let StoreOp::HandedOver { follows, .. } | StoreOp::WillTaken { follows, .. } = &op {
                following = *follows;
                inner = self.take_cause(op, Waiter::Unit(no));
                continue;
            }
            match inner.filter(|inner| inner.takes(&op)) {
                Some(inner) => self.hold_in(inner, op),
                None => self.route(op, Waiter::Unit(no)),
            }
        }
    }

    fn note(&mut self, outcome: &Outcome, ops: &[StoreOp]) {
        self.counts.sessions += outcome.sessions;
        self.counts.flights += outcome.flights;
        self.counts.retained += outcome.retained;
        for session in &outcome.fenced {
            self.drop_units_of(*session, None);
            if let Some(home) = self.directory.home(*session) {
                let (client, epoch) = (Arc::clone(&home.client), home.epoch);
                self.fenced.push(Fenced { client, session: *session, epoch });
            }
        }
        for index in &outcome.fenced_wills {
            let op = ops.get(*index);
            if let Some(StoreOp::WillTaken { client, .. }) = op {
                self.drop_units_of(SessionNo::NONE, Some(client));
            }
            if let Some(
                StoreOp::WillSet { client, .. }
                | StoreOp::WillEnd { client }
                | StoreOp::WillTaken { client, .. },
            ) = op
            {
                let (client, epoch) = (Arc::clone(client), self.directory.epoch(client));
                self.fenced.push(Fenced { client, session: SessionNo::NONE, epoch });
            }
        }
    }

    /// Another node has the session, and what it decides there counts: messages its publisher sends
    /// there once more, and those that it has there itself, are not given to others from here.
    fn drop_units_of(&mut self, session: SessionNo, will: Option<&Arc<str>>) {
        for (no, unit) in &mut self.units {
            let is_its = |(of, cause): &(SessionNo, Cause)| match cause {
                Cause::Will(client) => Some(client) == will,
                _ => *of == session,
            };
            if let Some((_, cause)) = unit.cause.as_ref().filter(|cause| is_its(cause))
                && !unit.follows
            {
                unit.parts.clear();
                let turns = unit.turns.iter().filter_map(|turn| self.tickets.turn(*turn));
                self.refused.extend(turns.map(|(by, turn)| (by, turn, session, cause.clone())));
                self.held.retain(|_, held| held != no);
            }
        }
    }

    fn tidy(&mut self, slot: u16) {
        let idle = self.lanes.get(&slot).is_some_and(|lane| {
            lane.flight.is_none()
                && lane.ops.is_empty()
                && lane.settled.is_empty()
                && lane.waiters.is_empty()
                && lane.freeing.is_none()
        });
        if idle {
            self.lanes.remove(&slot);
        }
    }
}
