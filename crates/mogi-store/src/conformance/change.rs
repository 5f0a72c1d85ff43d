//! Short names for changes.

use crate::ops::{EntryNo, Ids, SessionNo, SessionRecord, StoreOp, StoredDelivery};
use mogi_codec::QoS;
use mogi_core::message::NEVER;
use mogi_core::{Message, MessageView};

/// A QoS 1 message.
pub fn message(topic: &str, payload: &[u8]) -> Message {
    view_of(&MessageView::internal(topic, payload, QoS::AtLeastOnce, false))
}

/// The message of a view.
pub fn view_of(view: &MessageView<'_>) -> Message {
    Message::new(view, &mut Vec::new())
}

/// A delivery of it with QoS 1 and nothing special.
pub fn delivery(message: &Message) -> StoredDelivery {
    StoredDelivery {
        message: message.clone(),
        qos: QoS::AtLeastOnce,
        retain: false,
        ids: Ids::None,
        group: None,
    }
}

/// A session of a client called like its number.
pub fn session_set(session: u64) -> StoreOp {
    let record = SessionRecord {
        client: format!("client-{session}").into(),
        expiry_s: u32::MAX,
        username: None,
        mount: None,
        left_at_ms: None,
    };
    StoreOp::SessionSet { session: SessionNo(session), record }
}

/// An entry.
pub fn enqueued(session: u64, entry: u64, message: &Message) -> StoreOp {
    let (session, entry) = (SessionNo(session), EntryNo(entry));
    StoreOp::Enqueued { session, entry, delivery: delivery(message) }
}

/// An entry that is gone.
pub fn delivered(session: u64, entry: u64) -> StoreOp {
    StoreOp::Delivered { session: SessionNo(session), entry: EntryNo(entry) }
}

/// An entry's packet id.
pub fn assigned(session: u64, entry: u64, packet_id: u16) -> StoreOp {
    StoreOp::Assigned { session: SessionNo(session), entry: EntryNo(entry), packet_id }
}

/// An entry that the client has.
pub fn released(session: u64, entry: u64) -> StoreOp {
    StoreOp::Released { session: SessionNo(session), entry: EntryNo(entry) }
}

/// A packet id of the publisher's side.
pub fn received(session: u64, packet_id: u16) -> StoreOp {
    StoreOp::Received { session: SessionNo(session), packet_id, follows: 0 }
}

/// A retained message that expires never.
pub fn retained(topic: &str, payload: &[u8], version: u64) -> StoreOp {
    let mut view = MessageView::internal(topic, payload, QoS::AtLeastOnce, true);
    view.expires_at_ms = NEVER;
    StoreOp::Retained { message: view_of(&view), version }
}
