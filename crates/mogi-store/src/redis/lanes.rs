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
mod units;

use super::directory::Directory;
use super::keys::Tag;
use super::ops::{Extra, Outcome, Plan, Planner};
use super::order::moves_messages;
use super::tickets::{TicketNo, Tickets};
use super::wire::{Commands, Value};
use crate::committer::Answer;
use crate::committer::compact::Compactor;
use crate::ops::{Batch, Cause, EntryNo, SessionNo, StoreOp};
use claims::will_of;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use mogi_core::Wait;
use std::collections::VecDeque;
use std::sync::Arc;
use units::{Following, Unit};

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
    /// Units whose causes are in `ops`.
    taken: Vec<UnitNo>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiter {
    Turn(TicketNo),
    Unit(UnitNo),
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
                lane.flight = Some(Flight { at_ms: now_ms, ops, plan, waiters, taken });
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
        self.note(&outcome, &flight.ops, &flight.taken);
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

    /// Whether anything is under way that may be changed under the client's claim.
    pub(super) fn concern(&self, client: &str) -> bool {
        self.lanes.contains_key(&Tag::of(client).slot) || self.held_wills.contains_key(client)
    }

    /// Whether changes of this slot are yet to be on their way.
    pub(super) fn gathers(&self, slot: u16) -> bool {
        self.lanes.get(&slot).is_some_and(|lane| !lane.ops.is_empty())
    }

    /// Whether one of these entries is yet to be on its way.
    pub(super) fn holds(&self, entries: &[EntryNo]) -> bool {
        !self.held.is_empty() && entries.iter().any(|entry| self.held.contains_key(entry))
    }

    /// Whether a change of that client's will waits for one before it.
    pub(super) fn holds_will(&self, client: &Arc<str>) -> bool {
        let is_its = |op: &StoreOp| will_of(op) == Some(client);
        self.held_wills.contains_key(client)
            && self.units.values().any(|unit| unit.later.iter().any(is_its))
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

    /// `taken`: the units whose causes are in `ops`.
    fn note(&mut self, outcome: &Outcome, ops: &[StoreOp], taken: &[UnitNo]) {
        self.counts.sessions += outcome.sessions;
        self.counts.flights += outcome.flights;
        self.counts.retained += outcome.retained;
        for (session, epoch) in &outcome.fenced {
            self.directory.lives_on(*session);
            let home = self.directory.home(*session);
            let home = home.map(|home| (Arc::clone(&home.client), home.epoch));
            // If it was claimed again since, be it by this node, what is under way is of that
            // claim, but for what was refused.
            let all = home.as_ref().is_none_or(|(_, now)| now == epoch);
            self.drop_units_of(*session, None, |no| all || taken.contains(&no));
            if let Some((client, _)) = home {
                self.fenced.push(Fenced { client, session: *session, epoch: *epoch });
            }
        }
        for (session, entry) in &outcome.gone {
            // A member of a group that gave the message away before, or has done with it.
            let gone = (*session, Cause::Entry(*entry));
            self.drop_units(|no, _, cause| *cause == gone && taken.contains(&no));
        }
        for index in &outcome.gone_wills {
            // It was published before.
            if let Some(StoreOp::WillTaken { client, .. }) = ops.get(*index) {
                self.drop_units_of(SessionNo::NONE, Some(client), |no| taken.contains(&no));
            }
        }
        for (index, epoch) in &outcome.fenced_wills {
            let client = match ops.get(*index) {
                Some(
                    StoreOp::WillSet { client, .. }
                    | StoreOp::WillEnd { client }
                    | StoreOp::WillTaken { client, .. },
                ) => Arc::clone(client),
                _ => continue,
            };
            if matches!(ops.get(*index), Some(StoreOp::WillTaken { .. })) {
                self.drop_units_of(SessionNo::NONE, Some(&client), |no| taken.contains(&no));
            }
            self.fenced.push(Fenced { client, session: SessionNo::NONE, epoch: *epoch });
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
