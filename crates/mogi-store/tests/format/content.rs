//! What stands in the fixtures: some of everything.

use mogi_codec::{PropertyBuf, PropertyId, QoS};
use mogi_core::message::NEVER;
use mogi_core::store::{
    EntryNo, Ids, SessionNo, SessionRecord, StoreOp, StoredDelivery, StoredSubscription, StoredWill,
};
use mogi_core::{Message, MessageView};
use std::sync::Arc;

/// A day in the year 2100: nothing of it expires while it is tested.
const LATE_MS: u64 = 4_102_444_800_000;
const ALICE: SessionNo = SessionNo(1);
const BOB: SessionNo = SessionNo(2);

/// The changes, in the batches they are committed in.
pub(crate) fn batches() -> Vec<Vec<StoreOp>> {
    vec![sessions(), messages(), progress(), retained_and_wills()]
}

fn sessions() -> Vec<StoreOp> {
    let session = |session, client: &str, expiry_s, username: Option<&str>, left_at_ms| {
        let client = client.into();
        let (username, mount) = (username.map(Arc::from), username.map(|_| "mount/".into()));
        let record = SessionRecord { client, expiry_s, username, mount, left_at_ms };
        StoreOp::SessionSet { session, record }
    };
    let subscription = |session, filter: &str, options, id| StoreOp::SubscriptionSet {
        session,
        subscription: StoredSubscription { filter: filter.into(), options, id },
    };
    vec![
        session(ALICE, "alice", u32::MAX, None, None),
        session(BOB, "bob", 3600, Some("bobby"), Some(LATE_MS)),
        session(SessionNo(3), "gone", 60, None, None),
        subscription(ALICE, "a/#", 0b10, 0),
        subscription(ALICE, "$share/g/b/+", 0b1, 268_435_455),
        subscription(BOB, "c", 0b10_1101, 7),
        StoreOp::SessionEnd { session: SessionNo(3) },
    ]
}

fn messages() -> Vec<StoreOp> {
    let large = message("a/large", &[0xAA; 300], QoS::AtLeastOnce, NEVER);
    let plain = |payload: &str| message("a/b", payload.as_bytes(), QoS::ExactlyOnce, NEVER);
    let mut shared = delivery(&message("b/x", b"\xFF\x00", QoS::AtLeastOnce, LATE_MS), 1);
    shared.group = Some(("g".into(), "b/+".into()));
    shared.ids = Ids::One(268_435_455);
    let mut many = delivery(&large, 1);
    many.ids = Ids::Many([1, 2, 3].into());
    many.retain = true;
    let enqueued = |session, entry, delivery| {
        let entry = EntryNo(entry);
        StoreOp::Enqueued { session, entry, delivery }
    };
    vec![
        enqueued(ALICE, 1, delivery(&plain("one"), 2)),
        enqueued(ALICE, 2, delivery(&plain("two"), 2)),
        enqueued(ALICE, 3, delivery(&plain("three"), 0)),
        // A body of its own, for both.
        enqueued(ALICE, 4, delivery(&large, 1)),
        enqueued(BOB, 5, many),
        enqueued(ALICE, 6, shared),
        enqueued(ALICE, 7, delivery(&plain("delivered"), 1)),
    ]
}

fn progress() -> Vec<StoreOp> {
    let session = ALICE;
    vec![
        StoreOp::Assigned { session, entry: EntryNo(1), packet_id: 10 },
        StoreOp::Assigned { session, entry: EntryNo(2), packet_id: 65_535 },
        StoreOp::Released { session, entry: EntryNo(1) },
        StoreOp::Delivered { session, entry: EntryNo(7) },
        StoreOp::Received { session: BOB, packet_id: 1, follows: 0 },
        StoreOp::Received { session: BOB, packet_id: 300, follows: 0 },
        StoreOp::ReceivedEnd { session: BOB, packet_id: 1 },
    ]
}

fn retained_and_wills() -> Vec<StoreOp> {
    let kept = message("a/kept", b"kept", QoS::AtLeastOnce, LATE_MS);
    let long = "l/".repeat(1000);
    let will = |delay_s, due_at_ms| {
        let message = message("w", b"bye", QoS::AtLeastOnce, NEVER);
        Arc::new(StoredWill { message, expiry_s: Some(30), delay_s, due_at_ms })
    };
    vec![
        StoreOp::Retained { message: kept, version: 3 },
        StoreOp::Retained { message: message(&long, b"x", QoS::AtMostOnce, NEVER), version: 4 },
        StoreOp::Retained { message: message("no", b"more", QoS::AtMostOnce, NEVER), version: 5 },
        StoreOp::RetainedEnd { topic: "no".into(), version: 6 },
        StoreOp::WillSet { client: "alice".into(), will: will(0, None) },
        StoreOp::WillSet { client: "bob".into(), will: will(60, Some(LATE_MS)) },
        StoreOp::WillSet { client: "gone".into(), will: will(0, None) },
        StoreOp::WillEnd { client: "gone".into() },
    ]
}

fn delivery(message: &Message, qos: u8) -> StoredDelivery {
    let qos = QoS::from_u8(qos).unwrap_or_default();
    StoredDelivery { message: message.clone(), qos, retain: false, ids: Ids::None, group: None }
}

fn message(topic: &str, payload: &[u8], qos: QoS, expires_at_ms: u64) -> Message {
    let mut properties = PropertyBuf::new();
    properties.str(PropertyId::ContentType, "text").user("name", "value");
    let view = MessageView {
        properties: properties.as_properties().raw(),
        expires_at_ms,
        ..MessageView::internal(topic, payload, qos, true)
    };
    Message::new(&view, &mut Vec::new())
}
