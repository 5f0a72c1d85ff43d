//! Wills: kept with the client, published when its connection ends without a good reason
//! (sections 3.1.2.5, 3.1.3.2).
//!
//! The store knows the will of every connected client, whether its session lasts or not: a broker
//! that crashes leaves devices behind that nobody would report as gone. A will is published and its
//! record ended in one batch, so that it is published once.

use crate::authority::Access;
use crate::end::Ending;
use crate::event::LogKind;
use crate::message::{Message, MessageView, NEVER};
use crate::publish::is_the_brokers;
use crate::session::Will;
use crate::store::{StoreOp, StoredWill};
use crate::timers::Due;
use crate::worker::Worker;
use std::sync::Arc;

impl Worker {
    /// The client has this will from now on, and no other.
    pub(crate) fn set_will(&mut self, key: u32, will: Option<Box<Will>>) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.session.will = will;
        self.record_will(key);
    }

    /// Tells the store what the client's will is now, if any.
    pub(crate) fn record_will(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let stored = std::mem::replace(&mut client.session.will_stored, false);
        let id = &client.id;
        if let Some(changed) = self.claiming.get_mut(id) {
            *changed = true;
        }
        let Some(will) = client.session.will.as_ref().filter(|will| !is_too_long(will)) else {
            if stored {
                self.turn.record(|| StoreOp::WillEnd { client: Arc::clone(id) });
            }
            return;
        };
        client.session.will_stored = true;
        let due_at_ms = will.due_at_ms;
        // CONNACK promises the will, whether the session lasts or not.
        self.turn.durable(|| {
            let message = Message::new(&will_view(will, NEVER), &mut Vec::new());
            let (expiry_s, delay_s) = (will.expiry_s, will.delay_s);
            let will = StoredWill { message, expiry_s, delay_s, due_at_ms };
            StoreOp::WillSet { client: Arc::clone(id), will: Arc::new(will) }
        });
    }

    /// Publishes all wills because the broker stops, delayed ones at once, while those who get
    /// them are still connected.
    pub fn publish_wills(&mut self, now_ms: u64) {
        self.turn.now_ms = now_ms;
        for key in self.keys() {
            self.publish_will_now(key);
        }
    }

    /// Publishes the will now, later, or never ([MQTT-3.1.2-8]).
    pub(crate) fn decide_will(&mut self, key: u32, ending: Ending) {
        let now_ms = self.turn.now_ms;
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(will) = &mut client.session.will else {
            return;
        };
        let session_ends = !client.session.expiry.outlives_connection()
            || matches!(ending, Ending::TakenOver { clean_start: true });
        if !session_ends && will.delay_s > 0 {
            if ending == (Ending::TakenOver { clean_start: false }) {
                // The new connection is there before the delay has passed ([MQTT-3.1.3-9]).
                self.set_will(key, None);
                return;
            }
            let at_ms = now_ms + u64::from(will.delay_s) * 1000;
            will.due_at_ms = Some(at_ms);
            let generation = client.generation;
            self.timers.add(at_ms, key, generation, Due::Will);
            self.record_will(key);
            return;
        }
        self.publish_will_now(key);
    }

    pub(crate) fn check_will(&mut self, key: u32, generation: u32) {
        let now_ms = self.turn.now_ms;
        let Some(client) = self.clients.current(key, generation) else {
            return;
        };
        let Some(at_ms) = client.session.will.as_ref().and_then(|will| will.due_at_ms) else {
            return;
        };
        if client.link.is_some() {
            return;
        }
        if at_ms > now_ms {
            self.timers.add(at_ms, key, generation, Due::Will);
        } else {
            self.publish_will_now(key);
        }
    }

    /// Whether the client may publish its will. It is asked when the client comes, so that the
    /// store has no will its owner has no right to, and when the will is published.
    pub(crate) fn may_will(&mut self, key: u32, will: &Will) -> bool {
        let Some(client) = self.clients.get_mut(key) else {
            return true;
        };
        let allowed = client.may(&self.turn, Access::Write, will.topic.as_bytes());
        if !allowed {
            let id = &client.id;
            self.turn.log(LogKind::Debug, || format!("Denied will of {id} ('{}')", will.topic));
        }
        allowed
    }

    /// Publishes the client's will, if it has one.
    pub(crate) fn publish_will_now(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let stored =
            std::mem::take(&mut client.session.will_stored).then(|| Arc::clone(&client.id));
        if let Some(will) = client.session.will.take() {
            self.publish_will(Some(key), stored, &will);
        }
    }

    /// Publishes a will; `client` is whose it is, if it is still there, `stored` whose the one is
    /// that is in the store.
    pub(crate) fn publish_will(
        &mut self,
        client: Option<u32>,
        stored: Option<Arc<str>>,
        will: &Will,
    ) {
        let first = self.turn.ops.len();
        if let Some(id) = &stored {
            if let Some(changed) = self.claiming.get_mut(id) {
                *changed = true;
            }
            self.turn.record(|| StoreOp::WillTaken { client: Arc::clone(id), follows: 0 });
        }
        // What only the broker may say is not said by a will (attack P27).
        let denied = client.is_some_and(|key| !self.may_will(key, will));
        if is_the_brokers(will.topic.as_bytes()) || denied || is_too_long(will) {
            self.turn.stats.publish_refused += 1;
            return;
        }
        let now_ms = self.turn.now_ms;
        let expires_at_ms = will.expiry_s.map_or(NEVER, |s| now_ms + u64::from(s) * 1000);
        let view = will_view(will, expires_at_ms);
        match stored.filter(|_| self.node.cluster.is_some() && self.turn.cfg.durable) {
            // The client may have come to another node, which publishes it.
            Some(id) => self.publish_once_taken(client, id, &view),
            None => self.publish_from(client, &view),
        }
        self.turn.follow(first);
    }
}

/// A mount point before it can make a topic too long for any packet ([MQTT-4.7.3-3]).
fn is_too_long(will: &Will) -> bool {
    will.topic.len() > usize::from(u16::MAX)
}

/// A will as the message it becomes.
fn will_view(will: &Will, expires_at_ms: u64) -> MessageView<'_> {
    MessageView {
        qos: will.qos,
        retain: will.retain,
        topic: will.topic.as_bytes(),
        properties: &will.properties,
        payload: &will.payload,
        expires_at_ms,
        frame: None,
    }
}
