//! What gives memory back overtakes a request that does not get on: Redis may be full, and then
//! only that helps.

use super::{Flight, Lane, Lanes, Out};
use crate::ops::{Batch, EntryNo, SessionNo, StoreOp};
use crate::redis::ops::{Extra, Planner};
use crate::redis::wire::Value;
use foldhash::fast::RandomState;
use hashbrown::HashSet;

/// How long a slot's request may be out before that, in milliseconds.
const STUCK_MS: u64 = 1000;

impl Lanes {
    /// Has slots looked at whose request does not get on, though nothing new comes for them.
    pub(in crate::redis) fn look_at_stuck(&mut self, now_ms: u64) {
        let stuck = |lane: &Lane| {
            let old = |flight: &Flight| now_ms.saturating_sub(flight.at_ms) >= STUCK_MS;
            !lane.ops.is_empty() && lane.freeing.is_none() && lane.flight.as_ref().is_some_and(old)
        };
        let slots = self.lanes.iter().filter(|(_, lane)| stuck(lane)).map(|(slot, _)| *slot);
        self.dirty.extend(slots);
    }

    /// Of a slot whose request has been out for long: entries that are delivered, and neither on
    /// their way nor of sessions that begin or end here.
    pub(super) fn free(&mut self, slot: u16, now_ms: u64) -> Option<Out> {
        let lane = self.lanes.get_mut(&slot)?;
        let flight = lane.flight.as_ref()?;
        if lane.freeing.is_some() || now_ms.saturating_sub(flight.at_ms) < STUCK_MS {
            return None;
        }
        let mut coming: HashSet<EntryNo, RandomState> = HashSet::default();
        let mut turning: HashSet<SessionNo, RandomState> = HashSet::default();
        for op in flight.ops.iter().chain(&lane.ops) {
            match op {
                StoreOp::Enqueued { entry, .. } | StoreOp::Assigned { entry, .. } => {
                    coming.insert(*entry);
                }
                StoreOp::SessionSet { session, .. } | StoreOp::SessionEnd { session } => {
                    turning.insert(*session);
                }
                _ => {}
            }
        }
        let frees = |op: &mut StoreOp| {
            matches!(op, StoreOp::Delivered { session, entry }
                if !coming.contains(entry) && !turning.contains(session))
        };
        let ops: Batch = lane.ops.extract_if(.., frees).collect();
        let planner = Planner { directory: &self.directory, now_ms };
        let plan = planner.plan(&ops, &Extra::default());
        if plan.is_empty() {
            return None;
        }
        let commands = plan.commands.clone();
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.freeing = Some((plan, ops));
        }
        Some(Out { slot, commands, frees: true })
    }

    /// The reply to a request that gives memory back.
    pub(in crate::redis) fn freed(&mut self, slot: u16, values: &[Value]) {
        let lane = self.lanes.get_mut(&slot);
        let Some((plan, mut ops)) = lane.and_then(|lane| lane.freeing.take()) else { return };
        let outcome = plan.read(values);
        self.note(&outcome, &ops, &[]);
        if outcome.error.is_some()
            && let Some(lane) = self.lanes.get_mut(&slot)
        {
            // Once more, with the others.
            ops.append(&mut lane.ops);
            lane.ops = ops;
        }
        self.dirty.push_back(slot);
        self.tidy(slot);
    }
}
