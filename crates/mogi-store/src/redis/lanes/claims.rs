//! Claims on their way: what is changed behind one waits until it is known under which.

use super::{Batch, Lanes};
use crate::ops::{Cause, SessionNo, StoreOp};
use crate::redis::directory::{Directory, session_of};
use std::sync::Arc;

impl Lanes {
    /// A claim of a client id of this slot goes out.
    pub(in crate::redis) fn claim_begins(&mut self, slot: u16, client: &Arc<str>) {
        self.claimed.entry(slot).or_default().push(Arc::clone(client));
    }

    /// What it means is known here: changes of the slot go on.
    pub(in crate::redis) fn claim_ends(&mut self, slot: u16, client: &str) {
        if let Some(claims) = self.claimed.get_mut(&slot) {
            if let Some(at) = claims.iter().position(|claim| &**claim == client) {
                claims.swap_remove(at);
            }
            if claims.is_empty() {
                self.claimed.remove(&slot);
                self.dirty.push_back(slot);
            }
        }
    }

    /// Nobody takes note of claims any more: changes that wait for that go their way. Those of a
    /// client that another node has claimed since are refused.
    pub(in crate::redis) fn claims_end(&mut self) {
        self.dirty.extend(self.claimed.drain().map(|(slot, _)| slot));
    }

    /// The client was elsewhere before it was claimed: what was changed of an earlier stay here,
    /// and is not on its way, is history, and what follows from it does not.
    pub(in crate::redis) fn drop_stay(&mut self, slot: u16, client: &Arc<str>) {
        let Self { directory, lanes, units, held_wills, .. } = self;
        if let Some(lane) = lanes.get_mut(&slot) {
            lane.ops.retain(|op| !is_own(directory, op, client));
        }
        for unit in units.values_mut() {
            drop_with_messages(directory, &mut unit.parts, client);
            drop_with_messages(directory, &mut unit.later, client);
        }
        held_wills.remove(client);
        let is_its = |directory: &Directory, (session, cause): &(SessionNo, Cause)| match cause {
            Cause::Will(of) => of == client,
            _ => directory.home(*session).is_some_and(|home| home.client == *client),
        };
        self.drop_units(|_, directory, cause| is_its(directory, cause));
        // What follows already goes on. Whoever had the client since has done it too, and what it
        // follows from stands in the store no more: nothing is to wait for it, and when it is done
        // what the client does now under the same name is not.
        let Self { directory, units, .. } = self;
        let theirs = units.values_mut().filter(|unit| unit.follows);
        theirs.for_each(|unit| drop(unit.cause.take_if(|cause| is_its(directory, cause))));
    }

    /// What follows from these, which another node had left undone, is in all queues.
    pub(in crate::redis) fn rolled(
        &mut self,
        slot: u16,
        session: Option<SessionNo>,
        causes: Vec<Cause>,
    ) {
        let lane = self.lanes.entry(slot).or_default();
        lane.settled.extend(causes.into_iter().filter_map(|cause| match cause {
            Cause::Will(_) => Some((SessionNo::NONE, cause)),
            _ => Some((session?, cause)),
        }));
    }
}

/// Takes out what only the owner of that client may change, and the messages that follow from it.
fn drop_with_messages(directory: &Directory, ops: &mut Batch, client: &Arc<str>) {
    let mut following = 0;
    ops.retain(|op| {
        if is_own(directory, op, client) {
            following = match op {
                StoreOp::Received { follows, .. }
                | StoreOp::HandedOver { follows, .. }
                | StoreOp::WillTaken { follows, .. } => *follows,
                _ => 0,
            };
            return false;
        }
        let is_message = matches!(
            op,
            StoreOp::Enqueued { .. } | StoreOp::Retained { .. } | StoreOp::RetainedEnd { .. }
        );
        let follows = is_message && following > 0;
        following = if follows { following - 1 } else { 0 };
        !follows
    });
}

/// Whether only the owner of that client may change so.
fn is_own(directory: &Directory, op: &StoreOp, client: &Arc<str>) -> bool {
    match op {
        StoreOp::Enqueued { .. } => false,
        op => match will_of(op) {
            Some(of) => of == client,
            None => session_of(op)
                .and_then(|session| directory.home(session))
                .is_some_and(|home| home.client == *client),
        },
    }
}

/// Whose will is changed, if one is.
pub(super) const fn will_of(op: &StoreOp) -> Option<&Arc<str>> {
    match op {
        StoreOp::WillSet { client, .. }
        | StoreOp::WillEnd { client }
        | StoreOp::WillTaken { client, .. } => Some(client),
        _ => None,
    }
}
