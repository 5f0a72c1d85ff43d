//! What may only follow when something else is durable.

use super::claims::will_of;
use super::{Lanes, Map, UnitNo, Waiter};
use crate::ops::{Batch, Cause, EntryNo, SessionNo, StoreOp};
use crate::redis::directory::{Directory, cause_of, session_of};
use crate::redis::journal;
use crate::redis::keys::Tag;
use crate::redis::order::is_exactly_once;
use crate::redis::tickets::TicketNo;
use std::sync::Arc;

/// Changes that follow something, and who waits for them.
pub(super) struct Unit {
    /// Requests it waits for: first those it follows, then its own.
    pub(super) left: usize,
    /// What follows; empty once it is on its way.
    pub(super) parts: Batch,
    /// Turns of which it is a part.
    pub(super) turns: Vec<TicketNo>,
    /// What it follows from.
    pub(super) cause: Option<(SessionNo, Cause)>,
    pub(super) follows: bool,
    /// Something stands in Redis for it until all of it is done.
    pub(super) stands: bool,
    /// Units that wait for this one.
    pub(super) behind: Vec<UnitNo>,
    /// What comes when all of it is done.
    pub(super) later: Batch,
}

/// The unit that changes follow in.
#[derive(Clone, Copy)]
pub(super) struct Following {
    pub(super) no: UnitNo,
    /// Messages of any QoS do.
    pub(super) all: bool,
    /// They come when all of the unit is done.
    pub(super) later: bool,
}

impl Following {
    pub(super) fn takes(self, op: &StoreOp) -> bool {
        let of_message = matches!(op, StoreOp::Enqueued { .. } | StoreOp::Retained { .. });
        is_exactly_once(op) || (self.all && of_message)
    }
}

impl Lanes {
    /// Something others follow from: a unit for those.
    pub(super) fn take_cause(&mut self, op: StoreOp, waiter: Waiter) -> Option<Following> {
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
    pub(super) fn join(&mut self, no: UnitNo, waiter: Waiter) {
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
    pub(super) fn end_behind(&mut self, ticket: TicketNo, units: &[UnitNo], ends: Batch) {
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
        // A packet id stands for itself.
        let stands = matches!(cause, Some((_, Cause::Entry(_) | Cause::Will(_))));
        let unit = Unit {
            left: 0,
            parts: Batch::new(),
            turns,
            cause,
            follows: false,
            stands,
            behind: Vec::new(),
            later: Batch::new(),
        };
        self.units.insert(self.last_unit, unit);
        self.last_unit
    }

    /// The unit a change has to follow, if any.
    pub(super) fn unit_before(&self, op: &StoreOp) -> Option<UnitNo> {
        match op {
            StoreOp::Assigned { entry, .. }
            | StoreOp::Released { entry, .. }
            | StoreOp::Delivered { entry, .. }
            | StoreOp::HandedOver { entry, .. }
                if !self.held.is_empty() =>
            {
                self.held.get(entry).copied()
            }
            op if !self.held_wills.is_empty() => self.held_wills.get(will_of(op)?).copied(),
            _ => None,
        }
    }

    /// Whether what concerns the same will waits until all of the unit is done: the place of the
    /// will is taken until then.
    pub(super) fn is_of_will(&self, no: UnitNo) -> bool {
        let cause = self.units.get(&no).and_then(|unit| unit.cause.as_ref());
        cause.is_some_and(|(_, cause)| matches!(cause, Cause::Will(_)))
    }

    pub(super) fn hold_in(&mut self, following: Following, op: StoreOp) {
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
    pub(super) fn parts_of(&mut self, taken: &[UnitNo]) -> Map<(SessionNo, Cause), Vec<u8>> {
        let mut all = Map::default();
        for no in taken {
            let Some(unit) = self.units.get_mut(no) else { continue };
            let Some(cause) = unit.cause.clone() else { continue };
            let before = unit.parts.len();
            let dropped = self.compactor.compact(std::slice::from_mut(&mut unit.parts));
            debug_assert_eq!(before, dropped + unit.parts.len());
            self.counts.compacted += dropped as u64;
            let directory = &self.directory;
            let handed = unit.parts.iter().filter_map(|op| match op {
                StoreOp::HandedOver { entry, .. } => Some(*entry),
                _ => None,
            });
            let handed: Vec<EntryNo> = handed.collect();
            // What has gone to another member already is of that one.
            let parts = unit.parts.iter().filter(|op| match op {
                StoreOp::Enqueued { entry, .. } => !handed.contains(entry),
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

    /// Something a unit waits for is done.
    pub(super) fn one_less(&mut self, no: UnitNo) {
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
        unit.stands |= !parts.is_empty();
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
            self.settle_cause(no, *session, cause, unit.stands);
        }
        if !unit.later.is_empty() {
            return self.send_later(unit);
        }
        unit.turns.iter().for_each(|turn| self.tickets.done(*turn));
        for behind in unit.behind {
            self.one_less(behind);
        }
    }

    /// All that follows is done; `stands`: something stands in Redis for it.
    fn settle_cause(&mut self, no: UnitNo, session: SessionNo, cause: &Cause, stands: bool) {
        let slot = match cause {
            Cause::Will(client) => {
                if self.held_wills.get(client) == Some(&no) {
                    self.held_wills.remove(client);
                }
                Some(Tag::of(client).slot)
            }
            _ => self.directory.home(session).map(|home| home.tag.slot),
        };
        if let Some(slot) = slot.filter(|_| stands) {
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

    /// Another node has the session, and what it decides there counts: messages its publisher sends
    /// there once more, and those that it has there itself, are not given to others from here.
    pub(super) fn drop_units_of(
        &mut self,
        session: SessionNo,
        will: Option<&Arc<str>>,
        is_one: impl Fn(UnitNo) -> bool,
    ) {
        self.drop_units(|no, _, (of, cause)| {
            let is_its = match cause {
                Cause::Will(client) => Some(client) == will,
                _ => *of == session,
            };
            is_its && is_one(no)
        });
    }

    /// Refuses what units follow from, where it is one of these and nothing of it is on its way.
    pub(super) fn drop_units(
        &mut self,
        is_its: impl Fn(UnitNo, &Directory, &(SessionNo, Cause)) -> bool,
    ) {
        let Self { directory, units, tickets, held, refused, .. } = self;
        for (no, unit) in units {
            let cause = unit.cause.as_ref().filter(|cause| is_its(*no, directory, cause));
            if let Some((session, cause)) = cause
                && !unit.follows
            {
                unit.parts.clear();
                unit.stands = false;
                let turns = unit.turns.iter().filter_map(|turn| tickets.turn(*turn));
                refused.extend(turns.map(|(by, turn)| (by, turn, *session, cause.clone())));
                held.retain(|_, held| held != no);
            }
        }
    }
}
