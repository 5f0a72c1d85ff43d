//! Packets as they leave the broker: in the right order, and not before what they say is true.

use crate::client::{Ask, Client};
use crate::trace::note;
use crate::world::{LONG_TURN_MS, World};
use mogi_codec::{Ack, Packet, PacketKind, Publish, QoS, Reason, Suback, Unsuback, Version};
use std::collections::BTreeMap;

/// What is known of the sending side of one connection.
#[derive(Debug)]
pub(crate) struct Monitor {
    client: usize,
    version: Version,
    expiry_s: u32,
    packet_limit: Option<usize>,
    buffer: Vec<u8>,
    greeted: bool,
    finished: bool,
    /// Packet id → message its client sent last with it on this connection.
    pub(crate) published: BTreeMap<u16, u32>,
    pub(crate) asks: BTreeMap<u16, Ask>,
}

impl Monitor {
    pub(crate) const fn new(number: usize, client: &Client) -> Self {
        Self {
            client: number,
            version: client.version,
            expiry_s: client.expiry_s,
            packet_limit: client.packet_limit,
            buffer: Vec::new(),
            greeted: false,
            finished: false,
            published: BTreeMap::new(),
            asks: BTreeMap::new(),
        }
    }
}

impl World {
    /// Looks at every packet that is complete now.
    pub(crate) fn watch(&mut self, token: u32, bytes: &[u8]) {
        let monitor = self.monitors.get_mut(&token).expect("watched from the start");
        monitor.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut monitor.buffer);
        let version = monitor.version;
        let mut at = 0;
        while let Some((packet, len)) =
            Packet::parse(version, &buffer[at..]).expect("the broker sends good packets")
        {
            self.leaves(token, &packet, len);
            at += len;
        }
        if let Some(monitor) = self.monitors.get_mut(&token) {
            monitor.buffer = buffer[at..].to_vec();
        }
    }

    fn leaves(&mut self, token: u32, packet: &Packet<'_>, len: usize) {
        let monitor = self.monitors.get_mut(&token).expect("watched from the start");
        assert!(!monitor.finished, "{token}: {packet:?} after DISCONNECT");
        let connack = matches!(packet, Packet::Connack(_));
        assert_eq!(connack, !monitor.greeted, "{token}: CONNACK comes first, once: {packet:?}");
        monitor.greeted = true;
        monitor.finished = matches!(packet, Packet::Disconnect(_));
        let client = monitor.client;
        if let Some(limit) = monitor.packet_limit {
            assert!(len <= limit, "{len} bytes for client {client}, which takes {limit}");
        }
        let version = monitor.version;
        note(|| format!("  leaves {token}: {}", brief(packet)));
        if let Packet::Connack(connack) = packet
            && let Some(present) = self.wills.present[&token]
            && version != Version::V31
        {
            assert_eq!(connack.session_present, present, "session present for {token}");
        }
        if let Packet::Publish(publish) = packet
            && let Some(id) = crate::message::id_of(publish.payload)
        {
            self.oracle.left.insert((client, id));
            self.check_expiry(token, publish, id);
        }
        if connack {
            self.wills.greeted(token);
        }
        if let Packet::Suback(suback) = packet {
            self.note_subscribed(token, suback);
        }
        if let Packet::Puback(ack) | Packet::Pubrec(ack) = packet {
            self.note_taken(token, ack);
        }
        if !self.plan.core.durable {
            return;
        }
        match packet {
            Packet::Connack(_) => self.connack_leaves(token),
            Packet::Puback(ack) => self.puback_leaves(token, ack),
            Packet::Pubrec(ack) => {
                self.puback_leaves(token, ack);
                self.pubrec_leaves(token, ack);
            }
            Packet::Pubcomp(ack) => self.pubcomp_leaves(token, ack),
            Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                let kept = self.kept_flight(token, publish.packet_id);
                let id = publish.packet_id;
                assert_ne!(kept, Some(false), "{token}: PUBLISH before its id {id} is durable");
            }
            Packet::Pubrel(ack) => {
                let kept = self.kept_flight(token, ack.packet_id);
                let id = ack.packet_id;
                assert_ne!(kept, Some(true), "{token}: PUBREL before {id} is known to be there");
            }
            Packet::Suback(suback) => self.suback_leaves(token, suback),
            Packet::Unsuback(unsuback) => self.unsuback_leaves(token, unsuback),
            _ => {}
        }
    }

    fn note_taken(&mut self, token: u32, ack: &Ack<'_>) {
        if let Some(message) = self.monitors[&token].published.get(&ack.packet_id) {
            let now = self.oracle.clock;
            let message = &mut self.oracle.messages[*message as usize];
            message.taken_ms.get_or_insert(self.broker.now_ms);
            // Its client may never see it: the promise is made all the same.
            message.acked_at.get_or_insert(now);
        }
    }

    /// As of messages.
    fn note_subscribed(&mut self, token: u32, suback: &Suback<'_>) {
        let monitor = &self.monitors[&token];
        let Some(Ask::Subscribe(filters, at)) = monitor.asks.get(&suback.packet_id) else {
            panic!("{token}: SUBACK nobody asked for");
        };
        let now = self.oracle.clock;
        for sub in &mut self.oracle.subjects[monitor.client].subs {
            if sub.asked_at == *at && filters.iter().any(|(filter, _)| *filter == sub.filter) {
                sub.acked_at.get_or_insert(now);
            }
        }
    }

    /// [MQTT-3.3.2-5], where no time passes within turns and no socket is stuck.
    fn check_expiry(&self, token: u32, publish: &Publish<'_>, id: u32) {
        let message = &self.oracle.messages[id as usize];
        if let (Some(expiry_s), Some(taken_ms)) = (message.expiry_s, message.taken_ms)
            && !publish.dup
            && self.plan.narrow == 0
            && self.plan.pace_ms > LONG_TURN_MS
            && message.sends == 1
        {
            let last_ms = taken_ms + u64::from(expiry_s) * 1000 + LONG_TURN_MS as u64;
            let begun_ms = self.begun_ms(token, publish, id).unwrap_or(self.broker.now_ms);
            assert!(begun_ms <= last_ms, "message {id} leaves after it expired");
        }
    }

    /// When the delivery of a message began that is kept back until its packet id is durable; from
    /// then on it does not expire ([MQTT-3.3.2-5]).
    fn begun_ms(&self, token: u32, publish: &Publish<'_>, id: u32) -> Option<u64> {
        if !self.plan.core.durable || publish.qos != QoS::ExactlyOnce {
            return None;
        }
        let name = &self.broker.names[self.monitors[&token].client];
        let (session, kept) = self.broker.ledger.held.session_of(name)?;
        if kept.record.expiry_s == 0 {
            return Some(0); // It stands behind others, and the store knows nothing of it.
        }
        self.broker.ledger.begun_ms.get(&(session, id)).copied()
    }

    /// The session's name if it is one that outlives its connection.
    fn lasting(&self, token: u32) -> Option<(&Monitor, String)> {
        let monitor = &self.monitors[&token];
        let name = self.clients[monitor.client].name.clone();
        (monitor.expiry_s > 0).then_some((monitor, name))
    }

    fn connack_leaves(&self, token: u32) {
        if let Some((_, name)) = self.lasting(token) {
            let kept = self.broker.ledger.held.session_of(&name).is_some();
            assert!(kept, "{token}: CONNACK before the session of {name} is durable");
        }
    }

    fn puback_leaves(&self, token: u32, ack: &Ack<'_>) {
        let monitor = &self.monitors[&token];
        let message = monitor.published.get(&ack.packet_id);
        let message = *message.expect("an acknowledgement of something sent");
        if !self.plan.tight && !ack.reason.is_error() {
            let message = &self.oracle.messages[message as usize];
            self.oracle.check_durable(message, &self.broker.ledger, &self.broker.names);
        }
    }

    /// Whether the store has a message with that packet id for a session that lasts.
    fn kept_flight(&self, token: u32, packet_id: u16) -> Option<bool> {
        let (_, name) = self.lasting(token)?;
        let (_, kept) = self.broker.ledger.held.session_of(&name)?;
        Some(kept.entries.values().any(|entry| entry.is_published(packet_id)))
    }

    fn pubrec_leaves(&self, token: u32, ack: &Ack<'_>) {
        if let Some((_, name)) = self.lasting(token) {
            let kept = self.broker.ledger.has_received(&name, ack.packet_id);
            assert!(kept, "{token}: PUBREC before {} of {name} is durable", ack.packet_id);
        }
    }

    fn pubcomp_leaves(&self, token: u32, ack: &Ack<'_>) {
        if let Some((_, name)) = self.lasting(token) {
            let kept = self.broker.ledger.has_received(&name, ack.packet_id);
            assert!(!kept, "{token}: PUBCOMP before {} of {name} is released", ack.packet_id);
        }
    }

    fn suback_leaves(&self, token: u32, suback: &Suback<'_>) {
        let Some((monitor, name)) = self.lasting(token) else {
            return;
        };
        let Some(Ask::Subscribe(filters, at)) = monitor.asks.get(&suback.packet_id) else {
            panic!("{token}: SUBACK nobody asked for");
        };
        for (filter, options) in filters {
            let kept = self.broker.ledger.subscription(&name, filter);
            let fine = kept == Some(options.encode()) || self.changed_since(token, filter, *at);
            assert!(fine, "{token}: SUBACK before {filter} of {name} is durable");
        }
    }

    fn unsuback_leaves(&self, token: u32, unsuback: &Unsuback<'_>) {
        let Some((monitor, name)) = self.lasting(token) else {
            return;
        };
        let Some(Ask::Unsubscribe(filters, at)) = monitor.asks.get(&unsuback.packet_id) else {
            panic!("{token}: UNSUBACK nobody asked for");
        };
        for filter in filters {
            let kept = self.broker.ledger.subscription(&name, filter);
            let fine = kept.is_none() || self.changed_since(token, filter, *at);
            assert!(fine, "{token}: UNSUBACK before the end of {filter} of {name} is durable");
        }
    }

    /// Whether the client asked again for something with this filter.
    fn changed_since(&self, token: u32, filter: &str, at: u64) -> bool {
        self.monitors[&token].asks.values().any(|ask| match ask {
            Ask::Subscribe(filters, later) => {
                *later > at && filters.iter().any(|(other, _)| other == filter)
            }
            Ask::Unsubscribe(filters, later) => {
                *later > at && filters.iter().any(|other| other == filter)
            }
        })
    }
}

/// A packet in few words.
pub(crate) fn brief(packet: &Packet<'_>) -> String {
    let ack = |kind: PacketKind, ack: &Ack<'_>| {
        let reason = match ack.reason {
            Reason::Success => String::new(),
            reason => format!(" ({})", reason.text()),
        };
        format!("{} {}{reason}", kind.name(), ack.packet_id)
    };
    match packet {
        Packet::Publish(publish) => format!(
            "PUBLISH {} '{}' {:?} message {:?}{}{}",
            publish.packet_id,
            publish.topic,
            publish.qos,
            crate::message::id_of(publish.payload),
            if publish.dup { " dup" } else { "" },
            if publish.retain { " retain" } else { "" },
        ),
        Packet::Puback(one) => ack(PacketKind::Puback, one),
        Packet::Pubrec(one) => ack(PacketKind::Pubrec, one),
        Packet::Pubrel(one) => ack(PacketKind::Pubrel, one),
        Packet::Pubcomp(one) => ack(PacketKind::Pubcomp, one),
        other => format!("{other:?}"),
    }
}
