//! The broker starts: sessions and wills of the store come back to their workers.
//!
//! The driver restores all sessions first, then all wills, because a will that is due is published
//! to them. What that changes leaves with the first turn, as any change does.

use crate::client::Client;
use crate::cluster::change::Change;
use crate::inflight::{Delivery, Flight, Stage};
use crate::numbers::{claim_at, numbers_at};
use crate::route::Ids;
use crate::session::{Expiry, Session, Will};
use crate::store::{EntryNo, StoreOp, StoredFlight, StoredSession, StoredWaiting, StoredWill};
use crate::subscriptions::Subscription;
use crate::timers::Due;
use crate::worker::Worker;
use mogi_codec::{QoS, SubscribeOptions, Version};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// By how much the clock of another node may be ahead, in milliseconds.
const SKEW_MS: u64 = 1000;

impl Worker {
    /// Brings a session back. `alive_at_ms` is when the broker was last known to run: clients that
    /// were connected then are away since. To be called by the worker that owns the client id.
    pub fn restore(&mut self, now_ms: u64, stored: StoredSession, alive_at_ms: u64) {
        self.restore_at(now_ms, stored, alive_at_ms, 0);
    }

    /// As [`Self::restore`]; `epoch` is the one the session has, where there are other nodes.
    pub fn restore_at(&mut self, now_ms: u64, stored: StoredSession, alive_at_ms: u64, epoch: u64) {
        self.turn.now_ms = now_ms;
        let epoch = claim_at(epoch);
        let StoredSession { session: number, record, subscriptions, received, flights, waiting } =
            stored;
        let expiry = Expiry::from_s(record.expiry_s);
        if !expiry.outlives_connection() || self.clients.find(&record.client).is_some() {
            // It was to end with its connection. Two of one client id are no work of ours: one
            // has to do.
            self.turn.record(|| StoreOp::SessionEnd { session: number });
            return;
        }
        self.clients.generations = self.clients.generations.wrapping_add(1);
        let (username, mount) = (record.username, record.mount);
        let mut session = Session::new(expiry, username, mount, &self.node.queued);
        session.number = number;
        session.epoch = epoch;
        if self.node.cluster.is_some() {
            session.since = numbers_at(now_ms + SKEW_MS);
        }
        session.left_at_ms = Some(record.left_at_ms.unwrap_or(alive_at_ms).min(now_ms));
        for packet_id in received {
            session.received.insert(packet_id);
        }
        let id = record.client;
        if let Some(cluster) = &self.node.cluster {
            let client = Arc::clone(&id);
            cluster.log().push(&Change::Home { session: number, epoch, client });
        }
        let generation = self.clients.generations;
        let key = self.clients.add(Client { id, generation, link: None, session });
        self.node.sessions.fetch_add(1, Ordering::Relaxed);
        self.turn.stats.clients_disconnected += 1;
        for stored in subscriptions {
            self.restore_subscription(key, &stored.filter, stored.options, stored.id);
        }
        let read = waiting.iter().map(|one| one.entry);
        self.expect_again(key, read.chain(flights.iter().map(|flight| flight.entry)));
        self.restore_flights(key, flights);
        self.restore_queue(key, waiting);
        self.schedule_end(key);
        if record.left_at_ms.is_none() {
            self.persist_session(key);
        }
        if let (Some(cluster), Some(client)) = (&self.node.cluster, self.clients.get(key)) {
            // Last, so that at no moment it is nowhere.
            cluster.settled_here(&self.node.interest, &client.id, number);
        }
    }

    /// Brings a will back, after all sessions: that of a session here, or of a client whose
    /// session ended with the broker.
    pub fn restore_will(
        &mut self,
        now_ms: u64,
        client: &Arc<str>,
        stored: &StoredWill,
        alive_at_ms: u64,
    ) {
        self.turn.now_ms = now_ms;
        let mut will = revived(stored);
        let key = self.clients.find(client);
        let Some((key, client)) = key.and_then(|key| Some((key, self.clients.get_mut(key)?)))
        else {
            // [MQTT-3.1.2-8]: the session has ended, so the delay has.
            return self.publish_will(None, Some(Arc::clone(client)), &will);
        };
        let delay_ms = u64::from(stored.delay_s) * 1000;
        let at_ms = stored.due_at_ms.unwrap_or_else(|| alive_at_ms.min(now_ms) + delay_ms);
        will.due_at_ms = Some(at_ms);
        client.session.will = Some(Box::new(will));
        client.session.will_stored = true;
        if at_ms <= now_ms {
            // Not later: the client could be back by then, and is not back in time.
            return self.publish_will_now(key);
        }
        let generation = client.generation;
        self.timers.add(at_ms, key, generation, Due::Will);
        if stored.due_at_ms.is_none() {
            // Another crash is not to begin the delay anew.
            self.record_will(key);
        }
    }

    /// Publishes the will of a connection of that client which is no more, here or elsewhere.
    pub(crate) fn publish_left_will(&mut self, client: &Arc<str>, stored: &StoredWill) {
        self.publish_will(None, Some(Arc::clone(client)), &revived(stored));
    }

    fn restore_subscription(&mut self, key: u32, filter: &str, options: u8, id: u32) {
        let (Ok(options), Some(client)) =
            (SubscribeOptions::decode(Version::V5, options), self.clients.get_mut(key))
        else {
            return;
        };
        let subscription = Subscription { options, id, replay: false };
        if client.session.subscriptions.insert(filter, subscription) {
            self.turn.stats.subscriptions += 1;
            let shared = mogi_codec::topic::Shared::parse(filter);
            self.turn.stats.shared_subscriptions += u64::from(matches!(shared, Ok(Some(_))));
        }
        self.install(key, filter, subscription);
    }

    fn restore_flights(&mut self, key: u32, stored: Vec<StoredFlight>) {
        let flights: Vec<(Flight, Delivery)> = stored
            .into_iter()
            .map(|flight| {
                let delivery = flight.delivery.map(|stored| self.revive(flight.entry, stored));
                restored(flight.packet_id, flight.entry, delivery)
            })
            .collect();
        if let Some(client) = self.clients.get_mut(key).filter(|_| !flights.is_empty()) {
            client.session.inflight.restore(flights);
        }
    }

    fn restore_queue(&mut self, key: u32, waiting: Vec<StoredWaiting>) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let grouped: Vec<EntryNo> =
            waiting.iter().filter(|one| one.grouped).map(|one| one.entry).collect();
        for one in waiting.into_iter().filter(|one| !one.grouped) {
            client.session.queue.push_paged(one.entry, one.weight);
        }
        client.fetch_grouped(key, &mut self.turn, grouped);
    }
}

/// A flight of the store; without a delivery PUBREL is due.
fn restored(packet_id: u16, entry: EntryNo, delivery: Option<Delivery>) -> (Flight, Delivery) {
    if let Some(delivery) = delivery {
        return (Flight::new(packet_id, delivery.qos, delivery.weight), delivery);
    }
    let mut flight = Flight::new(packet_id, QoS::ExactlyOnce, 0);
    flight.stage = Stage::Released;
    let delivery = Delivery {
        message: None,
        qos: QoS::ExactlyOnce,
        retain: false,
        ids: Ids::None,
        group: None,
        weight: 0,
        entry,
    };
    (flight, delivery)
}

/// A will as it was.
fn revived(stored: &StoredWill) -> Will {
    let view = stored.message.view();
    Will {
        topic: stored.message.topic().to_owned(),
        payload: view.payload.to_vec(),
        qos: view.qos,
        retain: view.retain,
        properties: view.properties.to_vec(),
        expiry_s: stored.expiry_s,
        delay_s: stored.delay_s,
        due_at_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CoreConfig;
    use crate::node::Node;
    use crate::store::{SessionNo, SessionRecord, StoredSubscription};

    fn restored(workers: u16) -> Worker {
        let cfg = CoreConfig { durable: true, ..CoreConfig::default() };
        let mut worker = Worker::new(0, Arc::new(Node::new(workers, 7)), Arc::new(cfg));
        let record = SessionRecord {
            client: "c".into(),
            expiry_s: u32::MAX,
            username: None,
            mount: None,
            left_at_ms: Some(1),
        };
        let session = StoredSession {
            session: SessionNo(1),
            record,
            subscriptions: vec![StoredSubscription { filter: "a/+".into(), options: 1, id: 0 }],
            received: Vec::new(),
            flights: Vec::new(),
            waiting: Vec::new(),
        };
        worker.restore(1, session, 1);
        worker
    }

    /// Filters are most of what an idle session costs: each stands in one table.
    #[test]
    fn a_lasting_subscription_stands_in_one_table_and_is_routed_to() {
        for (workers, own, shared) in [(1, 1, 0), (2, 0, 1)] {
            let mut worker = restored(workers);
            assert_eq!((worker.routing.subs.len(), worker.node.interest.len()), (own, shared));
            let version = worker.node.interest.version();
            let at = worker.routing.add("a/b", version);
            let route = worker.routing.get(at);
            assert_eq!((route.targets.len(), route.lasting.len(), route.peers), (1, 0, 0));
            worker.remove_subscriptions(0);
            assert_eq!((worker.routing.subs.len(), worker.node.interest.len()), (0, 0));
        }
    }

    #[test]
    fn a_worker_is_asked_as_long_as_one_of_its_clients_wants_a_filter() {
        let mut worker = restored(2);
        let options = SubscribeOptions::default();
        let target = |client| crate::route::Target::new(client, options, 0);
        let interest = Arc::clone(&worker.node);
        let peers = || {
            let mut peers = 0;
            let scratch = &mut crate::topics::MatchScratch::default();
            interest.interest.matches("a/b", scratch, |it| peers |= it.peers);
            peers
        };
        let other = |client| crate::interest::Lasting {
            worker: 0,
            session: SessionNo(u64::from(client)),
            target: target(client),
        };
        interest.interest.set_peer(0, "a/+", false, 5, Some(other(5)));
        worker.remove_subscriptions(0);
        assert_eq!(peers(), 1);
        interest.interest.set_peer(0, "a/+", false, 5, None);
        assert_eq!(peers(), 0);
    }
}
