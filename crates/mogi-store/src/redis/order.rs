//! Which changes have to keep an order over slots.

use crate::ops::StoreOp;
use mogi_codec::QoS;

/// Whether a message goes to a queue in this turn because of what ends in it: a session whose
/// messages of a shared group other members get.
pub(super) fn moves_messages(batch: &[StoreOp]) -> bool {
    let ends = |op: &StoreOp| matches!(op, StoreOp::SessionEnd { .. });
    let goes = |op: &StoreOp| matches!(op, StoreOp::Enqueued { .. } | StoreOp::Retained { .. });
    batch.iter().any(goes) && batch.iter().any(ends)
}

/// Whether a change belongs to a QoS 2 message.
pub(super) fn is_exactly_once(op: &StoreOp) -> bool {
    match op {
        StoreOp::Enqueued { delivery, .. } => delivery.message.qos() == QoS::ExactlyOnce,
        StoreOp::Retained { message, .. } => message.qos() == QoS::ExactlyOnce,
        StoreOp::RetainedEnd { .. } => true,
        _ => false,
    }
}
