//! Claims on their way: what is changed behind one waits until it is known under which.

use super::Lanes;
use crate::ops::{Cause, SessionNo};
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
