//! Packets as they leave the broker: in the right order, and not before what they say is true.

use crate::client::{Ask, Client};
use crate::trace::note;
use crate::world::{LONG_TURN_MS, World};
use mogi_codec::{Ack, Packet, PacketKind, Reason, Suback, Unsuback, Version};
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
            self.check_expiry(publish.dup, id);
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
            Packet::Suback(suback) => self.suback_leaves(token, suback),
            Packet::Unsuback(unsuback) => self.unsuback_leaves(token, unsuback),
            _ => {}
        }
    }

    fn note_taken(&mut self, token: u32, ack: &Ack<'_>) {
        if let Some(message) = self.monitors[&token].published.get(&ack.packet_id) {
            let message = &mut self.oracle.messages[*message as usize];
            message.taken_ms.get_or_insert(self.broker.now_ms);
        }
    }

    /// [MQTT-3.3.2-5], where no time passes within turns and no socket is stuck.
    fn check_expiry(&self, dup: bool, id: u32) {
        let message = &self.oracle.messages[id as usize];
        if let (Some(expiry_s), Some(taken_ms)) = (message.expiry_s, message.taken_ms)
            && !dup
            && self.plan.narrow == 0
            && self.plan.pace_ms > LONG_TURN_MS
            && message.sends == 1
        {
            let last_ms = taken_ms + u64::from(expiry_s) * 1000 + LONG_TURN_MS as u64;
            assert!(self.broker.now_ms <= last_ms, "message {id} leaves after it expired");
        }
    }

    /// The session's name if it is one that outlives its connection.
    fn lasting(&self, token: u32) -> Option<(&Monitor, String)> {
        let monitor = &self.monitors[&token];
        let name = self.clients[monitor.client].name.clone();
        (monitor.expiry_s > 0).then_some((monitor, name))
    }

    fn connack_leaves(&self, token: u32) {
        if let Some((_, name)) = self.lasting(token) {
            let kept = self.broker.ledger.sessions.contains(&name);
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

    fn pubrec_leaves(&self, token: u32, ack: &Ack<'_>) {
        if let Some((_, name)) = self.lasting(token) {
            let key = (name, ack.packet_id);
            let kept = self.broker.ledger.received.contains(&key);
            assert!(kept, "{token}: PUBREC before {key:?} is durable");
        }
    }

    fn pubcomp_leaves(&self, token: u32, ack: &Ack<'_>) {
        if let Some((_, name)) = self.lasting(token) {
            let key = (name, ack.packet_id);
            let kept = self.broker.ledger.received.contains(&key);
            assert!(!kept, "{token}: PUBCOMP before the release of {key:?} is durable");
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
            let kept = self.broker.ledger.subscriptions.get(&(name.clone(), filter.clone()));
            let fine = kept == Some(&options.encode()) || self.changed_since(token, filter, *at);
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
            let key = (name.clone(), filter.clone());
            let kept = self.broker.ledger.subscriptions.contains_key(&key);
            let fine = !kept || self.changed_since(token, filter, *at);
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
