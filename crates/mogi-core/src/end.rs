//! A connection ends, and what follows: the will, the session's last day (sections 3.1.2.5,
//! 3.1.2.11.2, 3.14).

use crate::client::{Client, enqueue};
use crate::cluster::change::Change;
use crate::event::{Close, LogKind};
use crate::inflight::Stage;
use crate::link::Link;
use crate::store::{EntryNo, SessionNo, StoreOp};
use crate::timers::Due;
use crate::turn::{SharedCopy, Turn};
use crate::worker::Worker;
use mogi_codec::{DecodeError, Disconnect, PropertyBuf, PropertyId, QoS, Reason};
use std::sync::Arc;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client said DISCONNECT with this reason.
    ByClient(Reason),
    /// The socket was closed by its peer.
    Closed,
    /// The socket failed.
    Failed,
    /// Another connection has the client id now.
    TakenOver {
        /// Whether it starts a new session.
        clean_start: bool,
    },
    /// The client was silent for too long.
    KeepAlive,
    /// The client did not read for too long.
    SendTimeout,
    /// The client broke a rule.
    Broken(DecodeError),
    /// A second CONNECT: closed without a DISCONNECT, as Mosquitto does ([MQTT-3.1.0-2]).
    SecondConnect,
    /// The CONNACK does not fit the client's Maximum Packet Size.
    OversizeConnack,
    /// Its rights have changed.
    Administrative,
    /// What it logged in with is valid no longer.
    LoginOver,
    /// The broker stops.
    ShuttingDown,
}

impl Ending {
    /// The DISCONNECT a 5.0 client is sent; `None`: nothing ([MQTT-3.14.2-1]).
    const fn reason(self) -> Option<Reason> {
        match self {
            Self::TakenOver { .. } => Some(Reason::SessionTakenOver),
            Self::KeepAlive => Some(Reason::KeepAliveTimeout),
            Self::Broken(error) => Some(error.reason),
            Self::ShuttingDown => Some(Reason::ServerShuttingDown),
            Self::Administrative => Some(Reason::AdministrativeAction),
            Self::LoginOver => Some(Reason::NotAuthorized),
            Self::SendTimeout => Some(Reason::UnspecifiedError),
            _ => None,
        }
    }

    /// Whether the will is dropped: only a DISCONNECT with 0x00 says so ([MQTT-3.1.2-10],
    /// [MQTT-3.14.4-3]).
    const fn drops_will(self) -> bool {
        matches!(self, Self::ByClient(Reason::Success))
    }

    /// How the log line about the disconnect ends.
    fn text(self) -> String {
        match self {
            Self::ByClient(_) => ".".to_owned(),
            Self::Closed => ": connection closed by client.".to_owned(),
            Self::Failed => ": connection lost.".to_owned(),
            Self::TakenOver { .. } => ": session taken over.".to_owned(),
            Self::KeepAlive => ": exceeded timeout.".to_owned(),
            Self::SendTimeout => ": did not read for too long (send_timeout).".to_owned(),
            Self::Broken(error) => match error.reason {
                Reason::PacketTooLarge => ": oversize packet.".to_owned(),
                reason => format!(": {} ({}).", reason.text(), error.what),
            },
            Self::SecondConnect => ": protocol error (second CONNECT).".to_owned(),
            Self::OversizeConnack => ": oversize packet.".to_owned(),
            Self::Administrative => ": administrative action.".to_owned(),
            Self::LoginOver => ": its login is over.".to_owned(),
            Self::ShuttingDown => ": broker shutting down.".to_owned(),
        }
    }
}

impl Worker {
    /// Tells that a socket is gone.
    pub fn closed(&mut self, now_ms: u64, key: u32, token: u32, ending: Ending) {
        self.turn.now_ms = now_ms;
        match self.link_mut(key, token) {
            Some(_) => self.disconnect(key, ending),
            None => self.close_left(token),
        }
    }

    /// Ends all connections because the broker stops; 5.0 clients are told.
    pub fn disconnect_all(&mut self, now_ms: u64) {
        self.turn.now_ms = now_ms;
        for key in self.keys() {
            self.disconnect(key, Ending::ShuttingDown);
        }
        // The last changes may not be made durable.
        self.reset_all();
    }

    pub(crate) fn keys(&self) -> Vec<u32> {
        self.clients.slab.iter().map(|(key, _)| key as u32).collect()
    }

    /// Ends a client's connection and decides what becomes of its session.
    pub(crate) fn disconnect(&mut self, key: u32, ending: Ending) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(link) = client.link.take() else {
            return;
        };
        self.turn.stats.clients_connected -= 1;
        let (id, epoch) = (Arc::clone(&client.id), client.session.epoch);
        let waives = ending.drops_will() && client.session.will_stored && self.turn.cfg.durable;
        self.log_disconnect(&id, &link, ending);
        let close = self.last_words(*link, ending);
        if waives {
            self.close_when_durable(close, &id, epoch);
        } else {
            self.turn.effects.closes.push(close);
        }
        if ending.drops_will() {
            self.set_will(key, None);
        }
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let outlives = client.session.expiry.outlives_connection();
        if outlives {
            self.turn.stats.clients_disconnected += 1;
            // First, so that what waited for the client goes to those who are there.
            self.set_members_online(key, false);
            self.settle(key);
        }
        self.decide_will(key, ending);
        if outlives {
            self.schedule_end(key);
            self.persist_session(key);
        } else {
            self.end_session(key);
        }
    }

    pub(crate) fn log_disconnect(&mut self, id: &str, link: &Link, ending: Ending) {
        if self.turn.cfg.connection_messages && !link.own {
            self.turn.log(LogKind::Notice, || {
                format!("Client {id} [{}] disconnected{}", link.address, ending.text())
            });
        }
    }

    /// Sends what is left and a DISCONNECT ([MQTT-4.13.1-1]), then closes the socket.
    pub(crate) fn say_goodbye(&mut self, link: Link, ending: Ending) {
        let close = self.last_words(link, ending);
        self.turn.effects.closes.push(close);
    }

    /// How a socket is closed, and what is sent before.
    fn last_words(&mut self, link: Link, ending: Ending) -> Close {
        let mut last = Vec::new();
        let mut out = link.out;
        if ending != Ending::OversizeConnack {
            if let Some(bytes) = out.as_slice()
                && !matches!(ending, Ending::Closed | Ending::Failed)
            {
                last.extend_from_slice(bytes);
            }
            // After a partly sent large payload a DISCONNECT would land in its middle.
            if let Some(reason) = ending.reason()
                && link.version.is_v5()
                && link.open
                && out.as_slice().is_some()
            {
                let mut properties = PropertyBuf::new();
                let mut reason = reason;
                if ending == Ending::ShuttingDown
                    && let Some(reference) = &self.turn.cfg.server_reference
                {
                    // Other brokers of the cluster serve on (section 4.11).
                    reason = Reason::ServerMoved;
                    properties.str(PropertyId::ServerReference, reference);
                }
                Disconnect { reason, properties: properties.as_properties() }
                    .encode(link.version, &mut last);
                self.turn.stats.packets_sent += 1;
            }
        }
        if out.is_empty() {
            let buffer = out.take_buffer();
            self.turn.pool.put(buffer);
        }
        let told = matches!(ending, Ending::ByClient(_) | Ending::Closed | Ending::Failed);
        Close { token: link.token, last, linger: !told, reset: false }
    }

    /// The connection is gone: retained messages not sent yet become ordinary queued ones, within
    /// the limits, and messages of shared groups go to members that are there.
    fn settle(&mut self, key: u32) {
        let limit = self.turn.cfg.max_queued_messages;
        let qos0 = self.turn.cfg.queue_qos0_messages;
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if let Some(queue) = client.session.queue.made() {
            let dropped = queue.settle(limit, qos0, self.turn.cfg.durable);
            self.turn.stats.dropped_queue_full += dropped;
        }
        if client.session.number != SessionNo::NONE {
            client.keep_all(&mut self.turn);
            if let Some(queue) = client.session.queue.made() {
                queue.page_out();
            }
        }
        self.hand_over_waiting(key);
        if let Some(client) = self.clients.get_mut(key) {
            client.session.release();
        }
    }

    /// Notes when the client left, and when its session ends.
    pub(crate) fn schedule_end(&mut self, key: u32) {
        let now_ms = self.turn.now_ms;
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.session.left_at_ms.get_or_insert(now_ms);
        if let Some(at_ms) = client.session.ends_at_ms() {
            let generation = client.generation;
            self.timers.add(at_ms, key, generation, Due::SessionEnd);
        }
    }

    /// Ends a session: its subscriptions, its messages, its will ([MQTT-4.1.0-2]).
    pub(crate) fn end_session(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        debug_assert!(client.link.is_none());
        let outlived = client.session.expiry.outlives_connection();
        let number = client.session.number;
        if outlived {
            self.turn.stats.clients_disconnected -= 1;
        }
        // Asked of the session, not of its expiry: that may have become 0 with the last CONNECT
        // or DISCONNECT ([MQTT-3.1.2-23], section 3.14.2.2.2).
        if number != SessionNo::NONE {
            if let Some(cluster) = &self.node.cluster {
                cluster.log().push(&Change::Gone { session: number });
            }
            self.turn.durable(|| StoreOp::SessionEnd { session: number });
            if self.turn.cfg.durable {
                self.ending.insert(Arc::clone(&client.id), self.turn.seq);
            }
        }
        self.remove_subscriptions(key);
        self.hand_over_all(key);
        // [MQTT-3.1.2-8]: the session ends, so the delay does.
        self.publish_will_now(key);
        self.forget(key);
    }

    pub(crate) fn check_session_end(&mut self, key: u32, generation: u32) {
        let incomplete = |client: &Client| client.session.queue.grouped.1 > 0;
        let at_ms = if self.clients.get(key).is_some_and(incomplete) {
            // After a start: what others of a group may get has to be in memory first.
            Some(self.turn.now_ms + 1)
        } else {
            self.end_if_over(key)
        };
        if let Some(at_ms) = at_ms {
            self.timers.add(at_ms, key, generation, Due::SessionEnd);
        }
    }

    /// Ends the session of an absent client if its time is over, else says when that is, if ever.
    pub(crate) fn end_if_over(&mut self, key: u32) -> Option<u64> {
        let client = self.clients.get(key).filter(|client| client.link.is_none())?;
        let at_ms = client.session.ends_at_ms()?;
        if at_ms > self.turn.now_ms {
            return Some(at_ms);
        }
        self.turn.stats.clients_expired += 1;
        let id = Arc::clone(&client.id);
        self.turn.log(LogKind::Notice, || format!("Expiring client {id} due to timeout."));
        self.end_session(key);
        None
    }

    /// [MQTT-3.1.2-22]; 3.1.1: [MQTT-3.1.2-24]
    pub(crate) fn check_keep_alive(&mut self, key: u32, generation: u32) {
        let now_ms = self.turn.now_ms;
        let Some(Client { link: Some(link), .. }) = self.clients.current(key, generation) else {
            return;
        };
        if link.idle_limit_ms == 0 {
            return;
        }
        let at_ms = link.last_received_ms + link.idle_limit_ms;
        // A socket nobody reads because its own output is stuck is judged by the send time-out; one
        // nobody reads because the store is behind is not its client's fault.
        let waits = link.writes || !link.held.is_empty();
        let unread = link.blocked || link.asking || self.turn.store_full && waits;
        if at_ms <= now_ms && !unread {
            self.disconnect(key, Ending::KeepAlive);
        } else {
            self.timers.add(at_ms.max(now_ms + 1), key, generation, Due::KeepAlive);
        }
    }

    pub(crate) fn check_send_timeout(&mut self, key: u32, generation: u32) {
        let now_ms = self.turn.now_ms;
        let limit_ms = self.turn.cfg.send_timeout_ms;
        let Some(Client { link: Some(link), .. }) = self.clients.current(key, generation) else {
            return;
        };
        if !link.blocked {
            return;
        }
        let at_ms = link.blocked_since_ms + limit_ms;
        if at_ms <= now_ms {
            self.disconnect(key, Ending::SendTimeout);
        } else {
            self.timers.add(at_ms, key, generation, Due::SendTimeout);
        }
    }
}

impl Client {
    /// The client is gone: what was fetched for it, or sent with an id the store need not know
    /// while it is there, is written down as well.
    fn keep_all(&mut self, turn: &mut Turn) {
        let session = self.session.number_if_lasting();
        if session == SessionNo::NONE {
            return;
        }
        if let Some(queue) = self.session.queue.made() {
            queue.for_each_unkept(|delivery| {
                let Some(message) = &delivery.message else {
                    return;
                };
                let way = delivery.way();
                let mut shared = SharedCopy::of(message.clone());
                delivery.entry = enqueue(turn, session, &message.view(), &mut shared, &way);
            });
        }
        for (flight, delivery) in self.session.inflight.kept() {
            let (entry, packet_id) = (delivery.entry, flight.packet_id);
            let unknown = flight.qos == QoS::AtLeastOnce && entry != EntryNo::NONE;
            if unknown && flight.stage == Stage::Published {
                turn.record(|| StoreOp::Assigned { session, entry, packet_id });
            }
        }
    }
}
