//! The end of a run: everything owed has arrived, every will is decided, nothing is left behind.

use crate::client::{Life, Phase};
use crate::message::id_of;
use crate::trace::note;
use crate::wills::Verdict;
use crate::world::World;
use mogi_codec::QoS;

impl World {
    /// Clients come back, the network is good, and all that was promised arrives.
    pub(crate) fn check_at_rest(&mut self) {
        self.settle("after the storm");
        let tokens: Vec<_> = self.clients.iter().map(|client| client.token).collect();
        let stuck = self.oracle.stuck_in_groups(&tokens);
        // What was put in flight stays with the member, even if its bytes did not leave any more.
        let absent = self.clients.iter().filter(|client| client.token.is_none());
        let broker = self.plan.core.max_inflight_messages;
        let inflight: usize = absent.map(|client| client.inflight_limit(broker)).sum();
        assert!(
            stuck.len() <= self.dropped() as usize + inflight,
            "messages wait for absent members, not for those there: {stuck:?}"
        );
        for _ in 0..5 {
            for client in 0..self.clients.len() {
                if self.clients[client].phase == Phase::Off {
                    self.reconnect(client);
                }
            }
            self.settle("clients return");
        }
        for client in 0..self.clients.len() {
            assert!(self.is_on(client), "client {client} does not get in");
            self.ping(client);
        }
        self.settle("pings");
        self.check_finished();
        self.check_retained();
        let tokens: Vec<_> = self.clients.iter().map(|client| client.token).collect();
        let missing = self.oracle.missing(&tokens);
        let kept = self.oracle.missing_retained(&tokens);
        let dropped = self.dropped() as usize;
        assert!(
            kept.len() <= dropped,
            "retained messages missing, {dropped} counted as dropped: {kept:?}"
        );
        assert!(
            missing.len() <= dropped,
            "{} deliveries missing, {dropped} counted as dropped: {:?}",
            missing.len(),
            &missing[..missing.len().min(3)]
        );
        if !self.plan.tight {
            let full: u64 = self.broker.workers.iter().map(|w| w.stats().dropped_queue_full).sum();
            assert_eq!(full, 0, "dropped without a limit");
        }
    }

    /// As before, if there is something to come back to.
    fn reconnect(&mut self, client: usize) {
        let me = &self.clients[client];
        let clean = me.must_clean;
        let v5 = me.version.is_v5();
        let expiry_s = match me.life {
            Life::Clean => 0,
            _ if clean && !v5 => 0,
            Life::Timed(seconds) => seconds,
            Life::Lasting => u32::MAX,
        };
        self.connect_as(client, clean || expiry_s == 0, expiry_s, false);
    }

    fn check_finished(&self) {
        for (number, client) in self.clients.iter().enumerate() {
            let flows = &client.flows;
            assert!(flows.is_empty(), "client {number} still waits with {flows:?}");
            assert!(client.asks.is_empty(), "client {number} still waits: {:?}", client.asks);
            assert!(client.pings.is_empty(), "client {number} waits for PINGRESP");
            if client.packet_limit.is_some() {
                continue; // What has become too large to be sent again is never finished.
            }
            let (inflight, held) = (&client.inflight, &client.held);
            assert!(inflight.is_empty(), "client {number} still has {inflight:?}");
            assert!(held.is_empty(), "client {number} was not released {held:?}");
        }
        let ledger = &self.broker.ledger;
        assert!(ledger.is_idle(), "tickets are left");
        let limited = self.clients.iter().any(|client| client.packet_limit.is_some());
        for kept in ledger.held.sessions.values().filter(|kept| kept.record.expiry_s > 0) {
            assert!(kept.received.is_empty(), "ids are left: {kept:?}");
            assert!(kept.entries.is_empty() || limited, "messages are left: {kept:?}");
        }
    }

    fn check_retained(&self) {
        let mount = self.plan.listener.mount_point.clone().unwrap_or_default();
        for topic in self.oracle.retaining.keys() {
            if self.expires(topic) {
                continue;
            }
            let kept = self.broker.node.retained.get(&format!("{mount}{topic}"));
            let kept = kept.map(|message| id_of(message.payload()).expect("a payload"));
            let choices = self.oracle.retained_choices(topic);
            assert!(choices.contains(&kept), "{topic} retains {kept:?}, not one of {choices:?}");
            if self.plan.core.durable {
                let stored = self.broker.ledger.held.retained_of(&format!("{mount}{topic}"));
                let stored = stored.map(|message| id_of(message.payload()).expect("a payload"));
                assert_eq!(stored, kept, "{topic} in the store");
            }
        }
    }

    fn expires(&self, topic: &str) -> bool {
        let mut choices = self.oracle.retained_choices(topic).into_iter().flatten();
        choices.any(|id| self.oracle.messages[id as usize].expiry_s.is_some())
    }

    /// All connections but the watcher's end, and time passes until every will is decided.
    pub(crate) fn check_wills(&mut self) {
        for client in 1..self.clients.len() {
            if self.is_on(client) {
                self.disconnect(client);
            }
        }
        self.settle("goodbyes");
        for _ in 0..60 {
            self.broker.now_ms += 1000;
            self.settle("time passes");
        }
        for (token, message, verdict) in self.wills.verdicts(self.broker.now_ms) {
            let seen = self.oracle.wills_seen.contains_key(&message);
            let client = self.oracle.messages[message as usize].publisher;
            let qos = self.oracle.messages[message as usize].qos;
            match verdict {
                // It may have left already, when the crash took that back.
                Verdict::Never if qos != QoS::ExactlyOnce && self.wills.is_revived(token) => {}
                Verdict::Never => {
                    assert!(!seen, "will {message} of {client}, {token}: must not be published");
                }
                Verdict::Once if self.may_drop(qos) => {}
                Verdict::Once => {
                    assert!(seen, "will {message} of {client}, {token}: was not published");
                }
                Verdict::AtMostOnce => {}
            }
        }
    }

    /// Whether the watcher's message may have been dropped, and counted.
    fn may_drop(&self, qos: QoS) -> bool {
        // At QoS 0 it may be lost with the watcher's connection.
        let lost = qos == QoS::AtMostOnce && self.crashes > 0;
        lost || (self.plan.tight || qos == QoS::AtMostOnce) && self.dropped() > 0
    }

    /// Everybody ends their sessions: nothing may be left.
    pub(crate) fn clean_up(&mut self) {
        for client in 1..self.clients.len() {
            self.connect_as(client, true, 0, false);
        }
        self.settle("clean connects");
        for client in 1..self.clients.len() {
            self.disconnect(client);
        }
        self.settle("clean goodbyes");
        let topics: Vec<String> = self.oracle.retaining.keys().cloned().collect();
        for topic in topics.into_iter().chain((1..=self.plan.clients).map(|at| format!("w/{at}"))) {
            self.clear_retained(&topic);
        }
        self.settle("retained messages are cleared");
        self.disconnect(0);
        if self.clients[0].life != Life::Clean {
            self.settle("watcher leaves");
            self.connect_as(0, true, 0, false);
            self.settle("watcher comes for a last time");
            self.disconnect(0);
        }
        self.settle("watcher leaves");
        self.broker.now_ms += 1_000_000;
        self.settle("timers");
        self.check_empty();
    }

    fn check_empty(&self) {
        let node = &self.broker.node;
        let sessions = node.sessions.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(sessions, 0, "sessions are left");
        assert!(node.interest.is_empty(), "{} filters are left", node.interest.len());
        assert_eq!((node.retained.len(), node.retained.bytes()), (0, 0), "retained are left");
        for (at, worker) in self.broker.workers.iter().enumerate() {
            let stats = worker.stats();
            let left = (
                stats.clients_connected,
                stats.clients_disconnected,
                stats.subscriptions,
                stats.shared_subscriptions,
            );
            assert_eq!(left, (0, 0, 0, 0), "worker {at} counts what is gone");
            assert_eq!(worker.connected().count(), 0);
            assert_eq!(worker.next_timeout_ms(), None, "worker {at} has timers left");
        }
        let held = &self.broker.ledger.held;
        assert!(held.sessions.is_empty(), "stored: {:?}", held.sessions);
        assert!(held.wills.is_empty(), "stored: {:?}", held.wills);
        assert_eq!(held.retained().next(), None, "stored");
        note(|| "nothing is left".to_owned());
    }
}
