//! A client connects: sessions found or made, taken over, resumed (sections 3.1.4, 4.1).

use crate::client::Client;
use crate::config::ListenerConfig;
use crate::end::Ending;
use crate::event::LogKind;
use crate::handshake::{Refused, decode};
use crate::held::hold;
use crate::inflight::MAX_FLIGHTS;
use crate::link::{AliasesIn, AliasesOut, Link};
use crate::memory::Memory;
use crate::message::put_forwarded;
use crate::output::Output;
use crate::pass::Pass;
use crate::session::{Expiry, Session, Will};
use crate::store::{SessionNo, SessionRecord, StoreOp};
use crate::timers::Due;
use crate::worker::Worker;
use mogi_codec::{
    Connack, Connect, MAX_REMAINING_LENGTH, PropertyBuf, PropertyId, Reason, Version,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An admitted client at the worker that owns its id.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// The socket, as its owner calls it.
    pub token: u32,
    /// The whole CONNECT packet.
    pub packet: &'a [u8],
    /// The client id; the packet's own or one the broker made.
    pub client_id: &'a str,
    /// Whether the broker made it.
    pub assigned: bool,
    /// `IP:PORT` of the peer.
    pub address: &'a str,
    /// What its listener asks for.
    pub listener: &'a ListenerConfig,
    /// The epoch of its claim; 0: it needed none.
    pub epoch: u64,
    /// Whether it is this broker's own end of a bridge.
    pub bridge: Option<BridgeEnd>,
    /// What it came in with.
    pub pass: Pass,
}

/// The broker's own end of one of its bridges (`connection` of mosquitto.conf(5)).
///
/// It is a client like others, but no stranger: it needs no room among the clients, it may leave
/// its output for as long as the other broker is slow, and the bridge itself logs what becomes of
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeEnd {
    /// The other broker has no session any more, so it begins its packet ids anew: those that are
    /// remembered here would swallow new messages ([MQTT-4.3.3-10]).
    pub forget_received: bool,
}

impl Worker {
    /// Connects a client to its session; its key from now on.
    ///
    /// # Errors
    /// There is no room, or the packet does not decode: the socket is to be closed.
    pub fn connect(&mut self, now_ms: u64, arrival: &Arrival<'_>) -> Result<u32, Refused> {
        self.turn.now_ms = now_ms;
        self.turn.gated = false;
        let connect = decode(arrival.packet)?;
        if arrival.bridge.is_none() {
            self.check_room(&connect, arrival.client_id)?;
        }
        let key = self.find_or_make(&connect, arrival);
        let (key, present) = match key {
            Found::Old(key) => (key, true),
            Found::New(key) => (key, false),
        };
        let link = self.make_link(&connect, arrival);
        let idle_limit_ms = link.idle_limit_ms;
        let will = make_will(&connect, link.mount.as_deref());
        let mut generation = 0;
        if let Some(client) = self.clients.get_mut(key) {
            generation = client.generation;
            if let Some(inflight) = client.session.inflight.made() {
                inflight.restart();
            }
            client.session.table = arrival.listener.rights;
            client.session.grant = arrival.pass.grant.clone();
            client.session.gate = None;
            client.link = Some(Box::new(link));
        }
        if arrival.bridge.is_some_and(|bridge| bridge.forget_received) {
            self.forget_received(key);
        }
        let will = will.filter(|will| self.may_will(key, will));
        self.set_will(key, will);
        if present {
            self.check_subscriptions(key);
        }
        if idle_limit_ms != 0 {
            self.timers.add(now_ms + idle_limit_ms, key, generation, Due::KeepAlive);
        }
        if let Some(at_ms) = arrival.pass.until_ms {
            self.timers.add(at_ms, key, generation, Due::Login);
        }
        if arrival.bridge.is_none() {
            self.log_connect(&connect, arrival);
        }
        if !arrival.assigned {
            // Nobody else has an id that was just made.
            self.announce(key, arrival.epoch);
        }
        self.set_members_online(key, true);
        self.turn.stats.connects += 1;
        self.turn.stats.clients_connected += 1;
        self.turn.stats.packets_received += 1;
        self.turn.stats.bytes_received += arrival.packet.len() as u64;
        // Last, as a CONNACK too large for the client ends the connection at once.
        self.greet(key, &connect, arrival, present);
        Ok(key)
    }

    /// A new session needs room: `global_max_clients`, `persistence_buffer_limit`, `memory_limit`
    /// ([MQTT-3.2.2-7]).
    fn check_room(&mut self, connect: &Connect<'_>, client_id: &str) -> Result<(), Refused> {
        if self.turn.store_full && (lasts(connect) || connect.will.is_some()) {
            // Its answer would wait for the store, and what it says would be one thing more that
            // waits.
            let why = "the store is behind";
            return Err(Refused::with_connack(connect.version, Reason::ServerBusy, why));
        }
        if self.turn.memory != Memory::Enough {
            self.turn.stats.memory_refused += 1;
            let why = "memory_limit reached";
            return Err(Refused::with_connack(connect.version, Reason::ServerBusy, why));
        }
        let Some(limit) = self.turn.cfg.global_max_clients else {
            return Ok(());
        };
        let known = self.clients.find(client_id).is_some();
        if known || self.node.sessions.load(Ordering::Relaxed) < limit {
            return Ok(());
        }
        self.turn.stats.sessions_refused += 1;
        Err(Refused::with_connack(
            connect.version,
            Reason::ServerBusy,
            "global_max_clients reached",
        ))
    }

    /// Ends the connection the client id has, if it has one, and finds or makes its session.
    fn find_or_make(&mut self, connect: &Connect<'_>, arrival: &Arrival<'_>) -> Found {
        let expiry = session_expiry(connect).capped(self.turn.cfg.persistent_client_expiration_s);
        if let Some(key) = self.clients.find(arrival.client_id) {
            // Nobody may have looked at the clock yet ([MQTT-3.1.2-8], [MQTT-3.1.2-23]).
            if let Some(generation) = self.clients.get(key).map(|client| client.generation) {
                self.check_will(key, generation);
            }
            self.end_if_over(key);
        }
        if let Some(key) = self.clients.find(arrival.client_id) {
            self.take_over(key, connect.clean_start);
            // Taking over ends a session that was not to outlive its connection.
            if self.clients.find(arrival.client_id) == Some(key) {
                let client = self.clients.get_mut(key);
                let mount = arrival.listener.mount_point.as_deref();
                let resumes = !connect.clean_start
                    && client.as_ref().is_some_and(|client| {
                        client.session.username.as_deref() == connect.username
                            && client.session.mount.as_deref() == mount
                    });
                if resumes && let Some(client) = client {
                    client.session.expiry = expiry;
                    client.session.left_at_ms = None;
                    self.turn.stats.clients_disconnected -= 1;
                    self.persist_session(key);
                    self.refresh_interest(key);
                    return Found::Old(key);
                }
                // [MQTT-3.1.2-4]: discarded. So is a session of another user: whoever guesses an
                // id must not get the messages that wait for its owner. And one of another mount
                // point, whose subscriptions and messages are of another space of topics.
                self.end_session(key);
                // Nothing that is published anywhere after the CONNACK is to be for it.
                self.turn.answer_when_told(&self.node);
            }
        }
        self.clients.generations = self.clients.generations.wrapping_add(1);
        let username = connect.username.map(Arc::from);
        let mount = arrival.listener.mount_point.as_deref().map(Arc::from);
        let key = self.clients.add(Client {
            id: arrival.client_id.into(),
            generation: self.clients.generations,
            link: None,
            session: Session::new(expiry, username, mount, &self.node.queued),
        });
        self.node.sessions.fetch_add(1, Ordering::Relaxed);
        self.persist_session(key);
        Found::New(key)
    }

    /// Disconnects the connection a client id has because there is a new one
    /// ([MQTT-3.1.4-3]; 3.1.1: [MQTT-3.1.4-2]).
    fn take_over(&mut self, key: u32, clean_start: bool) {
        let connected = self.clients.get(key).is_some_and(|client| client.link.is_some());
        if connected {
            self.disconnect(key, Ending::TakenOver { clean_start });
        } else if !clean_start {
            // [MQTT-3.1.3-9]: back in time, so the will is not published.
            self.set_will(key, None);
        }
    }

    fn make_link(&self, connect: &Connect<'_>, arrival: &Arrival<'_>) -> Link {
        let cfg = &self.turn.cfg;
        let listener = arrival.listener;
        let int = |id| connect.properties.int(id);
        let own_limit = match cfg.max_inflight_messages {
            0 => u16::MAX,
            limit => limit,
        };
        let peer_limit = int(PropertyId::ReceiveMaximum).map(|limit| limit as usize);
        let packet_limit = MAX_REMAINING_LENGTH as usize + 5;
        let keep_alive_s = match server_keep_alive(connect, cfg.max_keepalive_s) {
            Some(limit) => limit,
            None => connect.keep_alive_s,
        };
        let aliases = int(PropertyId::TopicAliasMaximum)
            .unwrap_or(0)
            .min(u32::from(listener.max_topic_alias_broker)) as u16;
        Link {
            token: arrival.token,
            version: connect.version,
            bridge: connect.bridge,
            own: arrival.bridge.is_some(),
            open: true,
            dirty: false,
            blocked: false,
            blocked_since_ms: self.turn.now_ms,
            out: Output::default(),
            out_messages: 0,
            writes: false,
            held: VecDeque::new(),
            idle_limit_ms: u64::from(keep_alive_s) * 1500,
            last_received_ms: self.turn.now_ms,
            // As in Mosquitto, what a 5.0 client asks for replaces the broker's own limit.
            send_maximum: peer_limit.unwrap_or_else(|| usize::from(own_limit)).min(MAX_FLIGHTS),
            max_packet_size: int(PropertyId::MaximumPacketSize)
                .map_or(packet_limit, |limit| (limit as usize).min(packet_limit)),
            aliases_in: AliasesIn::new(listener.max_topic_alias),
            aliases_out: (aliases > 0)
                .then(|| Box::new(AliasesOut::new(aliases, self.node.hash()))),
            max_qos: listener.max_qos,
            problem_information: int(PropertyId::RequestProblemInformation) != Some(0),
            mount: listener.mount_point.as_deref().map(Arc::from),
            address: arrival.address.into(),
            login: arrival.pass.login,
            until_ms: arrival.pass.until_ms,
            method: arrival.pass.enhanced.as_ref().map(|enhanced| enhanced.method.clone()),
            exchanging: false,
            asking: false,
        }
    }

    /// Sends CONNACK, then what waited for the client ([MQTT-3.2.0-1]).
    fn greet(&mut self, key: u32, connect: &Connect<'_>, arrival: &Arrival<'_>, present: bool) {
        let properties = self.connack_properties(connect, arrival);
        let turn = &mut self.turn;
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(link) = &mut client.link else { return };
        let mut answer = Vec::new();
        Connack { session_present: present, code: 0, properties: properties.as_properties() }
            .encode(connect.version, &mut answer);
        let fits = answer.len() <= link.max_packet_size;
        let ending = self.ending.get(&client.id).copied();
        link.open = !turn.gated && ending.is_none();
        turn.log(LogKind::Debug, || {
            format!("Sending CONNACK to {} ({}, 0)", client.id, u8::from(present))
        });
        // An answer that changes nothing waits for the end of the session before all the same: it
        // says that there is none any more.
        let until = if turn.gated { Some(turn.seq) } else { ending };
        if until.is_some() {
            turn.stats.packets_sent += 1;
            hold(link, key, turn, until, |out| out.extend_from_slice(&answer));
        } else {
            client.ack(key, turn, |_, out| out.extend_from_slice(&answer));
        }
        client.pump(key, turn);
        if !fits {
            // What cannot be said within the client's limit ends the connection.
            self.disconnect(key, Ending::OversizeConnack);
        }
    }

    /// The limits, as Mosquitto 2.1 announces them and in its order.
    fn connack_properties(&self, connect: &Connect<'_>, arrival: &Arrival<'_>) -> PropertyBuf {
        let cfg = &self.turn.cfg;
        let mut properties = PropertyBuf::new();
        if connect.version != Version::V5 {
            return properties;
        }
        if let Some(keep_alive) = server_keep_alive(connect, cfg.max_keepalive_s) {
            properties.int(PropertyId::ServerKeepAlive, u32::from(keep_alive));
        }
        if arrival.listener.max_topic_alias > 0 {
            let maximum = u32::from(arrival.listener.max_topic_alias);
            properties.int(PropertyId::TopicAliasMaximum, maximum);
        }
        if arrival.assigned {
            properties.str(PropertyId::AssignedClientIdentifier, arrival.client_id);
        }
        if !cfg.retain_available {
            properties.int(PropertyId::RetainAvailable, 0);
        }
        if cfg.max_packet_size > 0 {
            properties.int(PropertyId::MaximumPacketSize, cfg.max_packet_size);
        }
        if !matches!(cfg.max_inflight_messages, 0 | u16::MAX) {
            let maximum = u32::from(cfg.max_inflight_messages);
            properties.int(PropertyId::ReceiveMaximum, maximum);
        }
        if arrival.listener.max_qos < mogi_codec::QoS::ExactlyOnce {
            properties.int(PropertyId::MaximumQos, arrival.listener.max_qos as u32);
        }
        if let Some(enhanced) = &arrival.pass.enhanced {
            // [MQTT-4.12.0-5], and what the last step of the method has to say.
            properties.str(PropertyId::AuthenticationMethod, &enhanced.method);
            if !enhanced.data.is_empty() {
                properties.bytes(PropertyId::AuthenticationData, &enhanced.data);
            }
        }
        properties
    }

    /// Forgets the QoS 2 packet ids of a publisher that has forgotten them itself.
    fn forget_received(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let received = std::mem::take(&mut client.session.received);
        let session = client.session.number_if_lasting();
        if session == SessionNo::NONE {
            return;
        }
        for packet_id in received.iter() {
            self.turn.durable(|| StoreOp::ReceivedEnd { session, packet_id });
        }
    }

    /// Notes the session in the store.
    pub(crate) fn persist_session(&mut self, key: u32) {
        if !self.turn.cfg.durable {
            return;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let known = client.session.number != SessionNo::NONE;
        let expiry_s = match client.session.expiry {
            Expiry::AtDisconnect if !known => return,
            // The store is to know that it ends now with its connection.
            Expiry::AtDisconnect => 0,
            Expiry::After(expiry_s) => expiry_s,
            Expiry::Never => u32::MAX,
        };
        if !known {
            client.session.number = self.node.next_session(self.turn.now_ms);
        }
        let session = client.session.number;
        let record = SessionRecord {
            client: Arc::clone(&client.id),
            expiry_s,
            username: client.session.username.clone(),
            mount: client.session.mount.clone(),
            left_at_ms: client.session.left_at_ms,
        };
        self.turn.durable(|| StoreOp::SessionSet { session, record });
    }

    fn log_connect(&mut self, connect: &Connect<'_>, arrival: &Arrival<'_>) {
        if self.turn.cfg.connection_messages {
            self.turn.log(LogKind::Notice, || {
                let kind = if connect.bridge { "bridge" } else { "client" };
                let user = connect.username.map_or(String::new(), |name| format!(", u'{name}'"));
                format!(
                    "New {kind} connected from {} as {} (p{}, c{}, k{}{user}).",
                    arrival.address,
                    arrival.client_id,
                    connect.version as u8,
                    u8::from(connect.clean_start),
                    connect.keep_alive_s
                )
            });
        }
        self.turn.log(LogKind::Debug, || match connect.will {
            None => "No will message specified.".to_owned(),
            Some(will) => format!(
                "Will message specified ({} bytes) (r{}, q{}).\n\t{}",
                will.payload.len(),
                u8::from(will.retain),
                will.qos as u8,
                will.topic
            ),
        });
    }
}

enum Found {
    Old(u32),
    New(u32),
}

/// Whether the CONNECT asks for a session that outlives its connection, or for what there is of
/// one.
pub(crate) fn lasts(connect: &Connect<'_>) -> bool {
    !connect.clean_start || session_expiry(connect).outlives_connection()
}

/// 5.0 says it in a property; for 3.x Clean Session 0 means for ever ([MQTT-3.1.2-4] of 3.1.1).
fn session_expiry(connect: &Connect<'_>) -> Expiry {
    match connect.version {
        Version::V5 => {
            Expiry::from_s(connect.properties.int(PropertyId::SessionExpiryInterval).unwrap_or(0))
        }
        _ if connect.clean_start => Expiry::AtDisconnect,
        _ => Expiry::Never,
    }
}

/// The keep alive a 5.0 client is told to use instead of its own ([MQTT-3.2.2-21]).
fn server_keep_alive(connect: &Connect<'_>, limit_s: u16) -> Option<u16> {
    let exceeds = connect.keep_alive_s == 0 || connect.keep_alive_s > limit_s;
    (limit_s != 0 && connect.version.is_v5() && exceeds).then_some(limit_s)
}

fn make_will(connect: &Connect<'_>, mount: Option<&str>) -> Option<Box<Will>> {
    let will = connect.will?;
    let mut properties = Vec::new();
    put_forwarded(will.properties, &mut properties);
    Some(Box::new(Will {
        topic: format!("{}{}", mount.unwrap_or_default(), will.topic),
        payload: will.payload.to_vec(),
        qos: will.qos,
        retain: will.retain,
        properties,
        expiry_s: will.properties.int(PropertyId::MessageExpiryInterval),
        delay_s: will.properties.int(PropertyId::WillDelayInterval).unwrap_or(0),
        due_at_ms: None,
    }))
}
