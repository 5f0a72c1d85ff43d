//! A turn's changes, split as a store of many slots carries them out.

use crate::kept::is_exactly_once;
use crate::store::{Key, Turn};
use mogi_core::{Cause, EntryNo, SessionNo, StoreOp};

/// What follows from a QoS 2 packet id.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    pub(crate) request: u64,
    pub(crate) key: Key,
    pub(crate) session: SessionNo,
    pub(crate) cause: Cause,
    pub(crate) ops: Vec<StoreOp>,
    /// What later turns change about that.
    pub(crate) behind: Vec<(StoreOp, Vec<StoreOp>, Turn)>,
    pub(crate) begun: bool,
    /// Something stands in the store for it until all of it is done.
    pub(crate) stands: bool,
}

/// What of a turn goes its way at once, and what follows it.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) plain: Vec<StoreOp>,
    /// QoS 2 packet ids, entries handed over and wills, and what follows from each.
    pub(crate) causes: Vec<(StoreOp, Vec<StoreOp>)>,
    /// What ends something whose message goes elsewhere.
    pub(crate) ends: Vec<StoreOp>,
}

/// Splits a turn's changes.
pub(crate) fn split(batch: Vec<StoreOp>) -> Parts {
    let moves = batch.iter().any(|op| {
        matches!(
            op,
            StoreOp::Enqueued { .. } | StoreOp::Retained { .. } | StoreOp::RetainedEnd { .. }
        )
    });
    let mut parts = Parts::default();
    let mut following = 0_u32;
    for op in batch {
        let all = parts.causes.last().is_some_and(|(op, _)| !is_received(op));
        let follows = following > 0
            && (is_exactly_once(&op)
                || matches!(op, StoreOp::RetainedEnd { .. })
                || all && matches!(op, StoreOp::Enqueued { .. } | StoreOp::Retained { .. }));
        following = following.saturating_sub(1);
        match &op {
            StoreOp::Received { follows, .. }
            | StoreOp::HandedOver { follows, .. }
            | StoreOp::WillTaken { follows, .. } => {
                following = *follows;
                parts.causes.push((op, Vec::new()));
            }
            StoreOp::SessionEnd { .. } if moves => {
                parts.ends.push(op);
            }
            StoreOp::WillSet { .. } | StoreOp::WillEnd { .. } => {
                parts.causes.push((op, Vec::new()))
            }
            _ => match parts.causes.last_mut().filter(|_| follows) {
                Some((_, follows)) => follows.push(op),
                None => parts.plain.push(op),
            },
        }
    }
    parts
}

const fn is_received(op: &StoreOp) -> bool {
    matches!(op, StoreOp::Received { .. })
}

/// What others follow from, and whose it is.
pub(crate) fn cause_of(op: &StoreOp) -> Option<(SessionNo, Cause)> {
    match op {
        StoreOp::Received { session, packet_id, .. } => {
            Some((*session, Cause::PacketId(*packet_id)))
        }
        StoreOp::HandedOver { session, entry, .. } => Some((*session, Cause::Entry(*entry))),
        StoreOp::WillTaken { client, .. } => {
            Some((SessionNo::NONE, Cause::Will(std::sync::Arc::clone(client))))
        }
        _ => None,
    }
}

/// The session a message is written down for.
pub(crate) fn entry_of(op: &StoreOp) -> Option<SessionNo> {
    match op {
        StoreOp::Enqueued { session, .. } => Some(*session),
        _ => None,
    }
}

/// The entry a change is about that is there already.
pub(crate) fn about(op: &StoreOp) -> Option<EntryNo> {
    match op {
        StoreOp::Assigned { entry, .. }
        | StoreOp::Released { entry, .. }
        | StoreOp::Delivered { entry, .. }
        | StoreOp::HandedOver { entry, .. } => Some(*entry),
        _ => None,
    }
}

/// The entry a change adds.
pub(crate) fn added(op: &StoreOp) -> Option<EntryNo> {
    match op {
        StoreOp::Enqueued { entry, .. } => Some(*entry),
        _ => None,
    }
}

/// The client whose will a change is of.
pub(crate) fn will_of(op: &StoreOp) -> Option<&str> {
    match op {
        StoreOp::WillSet { client, .. }
        | StoreOp::WillEnd { client }
        | StoreOp::WillTaken { client, .. } => Some(client),
        _ => None,
    }
}
