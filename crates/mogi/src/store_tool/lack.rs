//! What a session lacks where it is migrated to: nothing is written twice, and what has gone since
//! a first attempt goes there too.

use super::target::entries;
use mogi_codec::QoS;
use mogi_core::message::NEVER;
use mogi_core::store::{
    EntryNo, Ids, StoreOp, StoredDelivery, StoredFlight, StoredSession, StoredWaiting,
};
use mogi_core::{Message, MessageView};
use std::collections::{HashMap, HashSet};

/// The topic of a message that stands for one the client has already: only its packet id counts.
const HAS_IT: &[u8] = b"mogi/released";

/// The changes that make all but waiting messages the same; `there`: what is there already.
pub(super) fn changes(session: &StoredSession, there: Option<&StoredSession>) -> Vec<StoreOp> {
    let mut ops = Vec::new();
    let no = session.session;
    if there.is_none_or(|there| there.record != session.record) {
        ops.push(StoreOp::SessionSet { session: no, record: session.record.clone() });
    }
    let old: HashMap<_, _> =
        there.iter().flat_map(|it| &it.subscriptions).map(|it| (&it.filter, it)).collect();
    for subscription in session.subscriptions.iter().filter(|it| old.get(&it.filter) != Some(it)) {
        let subscription = subscription.clone();
        ops.push(StoreOp::SubscriptionSet { session: no, subscription });
    }
    for packet_id in session.received.iter().copied() {
        if !there.is_some_and(|it| it.received.contains(&packet_id)) {
            ops.push(StoreOp::Received { session: no, packet_id, follows: 0 });
        }
    }
    if let Some(there) = there {
        ops.extend(gone(session, there));
    }
    let flights: HashMap<_, _> =
        there.iter().flat_map(|it| &it.flights).map(|it| (it.entry, it)).collect();
    let waiting: HashSet<_> = there.iter().flat_map(|it| &it.waiting).map(|it| it.entry).collect();
    for flight in &session.flights {
        flown(session, flight, flights.get(&flight.entry).copied(), &waiting, &mut ops);
    }
    ops
}

/// The waiting messages that are not there.
pub(super) fn waiting(
    session: &StoredSession,
    there: Option<&StoredSession>,
) -> Vec<StoredWaiting> {
    let there = there.map(entries).unwrap_or_default();
    session.waiting.iter().filter(|it| !there.contains(&it.entry)).copied().collect()
}

/// What is there and should not be any more.
fn gone(session: &StoredSession, there: &StoredSession) -> Vec<StoreOp> {
    let no = session.session;
    let mut ops = Vec::new();
    let filters: HashSet<_> = session.subscriptions.iter().map(|it| &it.filter).collect();
    for subscription in there.subscriptions.iter().filter(|it| !filters.contains(&it.filter)) {
        let filter = subscription.filter.clone();
        ops.push(StoreOp::SubscriptionEnd { session: no, filter });
    }
    for packet_id in there.received.iter().copied().filter(|it| !session.received.contains(it)) {
        ops.push(StoreOp::ReceivedEnd { session: no, packet_id });
    }
    let kept = entries(session);
    for entry in entries(there).into_iter().filter(|it| !kept.contains(it)) {
        ops.push(StoreOp::Delivered { session: no, entry });
    }
    ops
}

/// A message on its way: there, with its packet id, and as far as it was.
fn flown(
    session: &StoredSession,
    flight: &StoredFlight,
    there: Option<&StoredFlight>,
    waiting: &HashSet<EntryNo>,
    ops: &mut Vec<StoreOp>,
) {
    let (no, entry) = (session.session, flight.entry);
    if there.is_none() && !waiting.contains(&entry) {
        let delivery = flight.delivery.clone().unwrap_or_else(stand_in);
        ops.push(StoreOp::Enqueued { session: no, entry, delivery });
    }
    if there.is_none_or(|there| there.packet_id != flight.packet_id) {
        ops.push(StoreOp::Assigned { session: no, entry, packet_id: flight.packet_id });
    }
    if flight.delivery.is_none() && there.is_none_or(|there| there.delivery.is_some()) {
        ops.push(StoreOp::Released { session: no, entry });
    }
}

/// What is never sent: the client has the message.
fn stand_in() -> StoredDelivery {
    let view = MessageView {
        topic: HAS_IT,
        payload: &[],
        properties: &[],
        qos: QoS::ExactlyOnce,
        retain: false,
        expires_at_ms: NEVER,
        frame: None,
    };
    let message = Message::new(&view, &mut Vec::new());
    StoredDelivery { message, qos: QoS::ExactlyOnce, retain: false, ids: Ids::None, group: None }
}
