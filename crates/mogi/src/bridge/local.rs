//! This broker's side: the bridge's session here, and what this broker sends.

use super::flow::Flight;
use super::hello;
use super::machine::{Machine, State};
use super::plan::StartType;
use mogi_codec::{
    Ack, DecodeError, Header, Packet, PacketKind, Properties, PropertyId, Publish, QoS, Reason,
    RetainHandling, Version,
};
use mogi_core::LogKind;

/// What is known of the connection to this broker.
#[derive(Debug, Default)]
pub(super) struct Local {
    state: Presence,
    /// Bytes to be sent.
    pub(super) out: Vec<u8>,
    /// Subscriptions that are not confirmed.
    unconfirmed: usize,
    /// Whether the session has the bridge's subscriptions.
    known: bool,
    /// Whether the session was made with this process, and there was no connection to the other
    /// broker since.
    fresh: bool,
    drop_logged: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Presence {
    #[default]
    Away,
    Connecting,
    Connected,
}

impl Local {
    /// Whether there is a connection.
    pub(super) fn is_there(&self) -> bool {
        self.state != Presence::Away
    }

    /// Whether there is a session with the bridge's subscriptions.
    pub(super) const fn is_known(&self) -> bool {
        self.known
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self) {
        self.state = Presence::Away;
        self.out.clear();
    }
}

impl Machine {
    /// Begins a connection: CONNECT, and the packets that follow it.
    pub(super) fn begin_local(&mut self) -> (Vec<u8>, Vec<u8>) {
        self.local.state = Presence::Connecting;
        self.local.out.clear();
        let mut rest = Vec::new();
        let filters: Vec<(String, QoS)> = self
            .plan
            .topics
            .local_filters()
            .map(|(filter, qos)| (filter.to_owned(), qos))
            .collect();
        self.local.unconfirmed = filters.len();
        for (at, (filter, qos)) in filters.into_iter().enumerate() {
            let packet_id = (at % usize::from(u16::MAX)) as u16 + 1;
            let handling = self.retained(qos);
            rest.extend(hello::subscribe(Version::V5, packet_id, &filter, qos, handling));
            let id = &self.plan.local.client_id;
            let line = format!("Bridge {id} doing local SUBSCRIBE on topic {filter}");
            self.log(LogKind::Debug, line);
        }
        if matches!(self.state, State::Up { .. }) {
            self.local.fresh = false;
        }
        (hello::local_connect(&self.plan), rest)
    }

    /// Which retained messages are wanted. Of QoS 0 there is no queue, so each connection to the
    /// other broker begins with them. Others have been sent or are in the queue, unless the
    /// subscription is new or the other broker has forgotten the bridge.
    fn retained(&self, qos: QoS) -> RetainHandling {
        let up = matches!(self.state, State::Up { .. });
        match qos {
            QoS::AtMostOnce if up || self.plan.local.clean => RetainHandling::Send,
            QoS::AtMostOnce => RetainHandling::DoNotSend,
            _ if up && !self.remote.resumed && !self.local.fresh => RetainHandling::Send,
            _ => RetainHandling::SendIfNew,
        }
    }

    /// Takes the complete packets off the front of what this broker has sent; how many bytes they
    /// were.
    pub(crate) fn local_bytes(&mut self, now_ms: u64, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while self.local.is_there() && !rest.is_empty() {
            match self.local_packet(now_ms, &mut rest) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.local_lost(now_ms, error.what);
                    break;
                }
            }
        }
        if self.remote.out.is_empty() {
            self.check_threshold()
        } else {
            self.remote.sent(now_ms)
        }
        bytes.len() - rest.len()
    }

    /// Answers a PUBLISH or PUBREL of this broker.
    pub(super) fn answer_local(&mut self, kind: PacketKind, packet_id: u16, reason: Reason) {
        if self.local.is_there() {
            Ack::new(packet_id, reason).encode(Version::V5, kind, &mut self.local.out);
        }
    }

    fn local_packet(&mut self, now_ms: u64, rest: &mut &[u8]) -> Result<bool, DecodeError> {
        let Some(header) = Header::parse(rest)? else {
            return Ok(false);
        };
        let Some((packet, behind)) = rest.split_at_checked(header.packet_len()) else {
            return Ok(false);
        };
        *rest = behind;
        match Packet::decode(Version::V5, header, &packet[header.header_len..])? {
            Packet::Connack(connack) if connack.code == 0 => {
                self.local.state = Presence::Connected;
                self.local.fresh |= !self.local.known
                    && !connack.session_present
                    && !matches!(self.state, State::Up { .. });
                let limit = connack.properties.int(PropertyId::ReceiveMaximum);
                let limit = limit.unwrap_or(0xFFFF) as u16;
                self.incoming.open(limit, &mut self.local.out);
                if self.local.unconfirmed == 0 {
                    self.local.known = true;
                    self.local_is_ready();
                }
            }
            Packet::Connack(connack) => {
                let reason = Reason::from_u8(connack.code).map_or("refused", Reason::text);
                self.local_lost(now_ms, reason);
            }
            Packet::Publish(publish) => self.on_local_publish(now_ms, publish),
            Packet::Puback(ack) => {
                self.incoming.done(ack.packet_id, &mut self.local.out);
                self.answer_remote(PacketKind::Puback, ack.packet_id, ack.reason);
            }
            Packet::Pubrec(ack) => {
                if ack.reason.is_error() {
                    self.incoming.done(ack.packet_id, &mut self.local.out);
                }
                self.answer_remote(PacketKind::Pubrec, ack.packet_id, ack.reason);
            }
            Packet::Pubcomp(ack) => {
                self.incoming.done(ack.packet_id, &mut self.local.out);
                self.answer_remote(PacketKind::Pubcomp, ack.packet_id, ack.reason);
            }
            Packet::Pubrel(ack) => self.on_local_pubrel(ack),
            Packet::Suback(suback) => self.on_local_suback(suback.codes),
            Packet::Disconnect(disconnect) => {
                self.local_lost(now_ms, disconnect.reason.text());
            }
            _ => return Err(DecodeError::protocol("packet that no server sends")),
        }
        Ok(true)
    }

    fn on_local_suback(&mut self, codes: &[u8]) {
        if let Some(&code) = codes.iter().find(|&&code| code >= 0x80) {
            let why = Reason::from_u8(code).map_or("refused", Reason::text);
            let line = format!("Bridge {}: a local topic is refused: {why}.", self.plan.name);
            self.log(LogKind::Warning, line);
        }
        self.local.unconfirmed = self.local.unconfirmed.saturating_sub(1);
        if self.local.unconfirmed == 0 {
            self.local.known = true;
            self.local_is_ready();
        }
    }

    /// A message of this broker.
    fn on_local_publish(&mut self, now_ms: u64, publish: Publish<'_>) {
        if !matches!(self.state, State::Up { .. })
            && publish.qos != QoS::AtMostOnce
            && !self.plan.local.clean
        {
            // The session repeats it when the other broker is there; until then it is counted.
            if self.plan.start == StartType::Lazy {
                let flight = Flight { qos: publish.qos, sent: publish.qos };
                self.outgoing.message(
                    Vec::new(),
                    Some((publish.packet_id, flight)),
                    &mut Vec::new(),
                );
            }
            return;
        }
        self.active_ms = now_ms;
        let own = self.plan.notify.as_ref().is_some_and(|notify| notify.topic == publish.topic);
        let topic = if own { None } else { self.plan.topics.to_remote(publish.topic) };
        let Some(topic) = topic else {
            return self.drop_local(&publish);
        };
        let sent = publish.qos.min(self.remote.max_qos);
        if publish.qos == QoS::AtMostOnce && (self.congested || self.outgoing.is_full()) {
            return self.log_slow();
        }
        let v5 = self.remote.version.is_v5();
        let message = Publish {
            qos: sent,
            retain: publish.retain && self.remote.retain && self.plan.remote.outgoing_retain,
            topic: &topic,
            // A session that has just begun has seen nothing before.
            dup: publish.dup && sent != QoS::AtMostOnce && self.remote.resumed,
            properties: if v5 { publish.properties } else { Properties::default() },
            ..publish
        };
        let len = message.packet_len(self.remote.version);
        let limit = self.remote.max_packet_size as usize;
        if limit > 0 && len > limit {
            self.log_dropped(&topic, len);
            return self.drop_local(&publish);
        }
        let mut bytes = Vec::with_capacity(len);
        message.encode(self.remote.version, &mut bytes);
        let comes_back = !self.remote.is_private() && !v5 && !publish.dup;
        if comes_back && self.plan.topics.to_local(&topic).is_some() {
            self.echoes.sent(now_ms, &topic, publish.payload);
        }
        let flight = Flight { qos: publish.qos, sent };
        let flight = (sent != QoS::AtMostOnce).then_some((publish.packet_id, flight));
        self.outgoing.message(bytes, flight, &mut self.remote.out);
        if sent == QoS::AtMostOnce {
            self.acknowledge_local(&publish, Reason::Success);
        }
    }

    /// A message that does not go to the other broker: an error ends the exchange at once.
    fn drop_local(&mut self, publish: &Publish<'_>) {
        self.acknowledge_local(publish, Reason::ImplementationSpecificError);
    }

    fn acknowledge_local(&mut self, publish: &Publish<'_>, reason: Reason) {
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.answer_local(PacketKind::Puback, publish.packet_id, reason),
            QoS::ExactlyOnce => self.answer_local(PacketKind::Pubrec, publish.packet_id, reason),
        }
    }

    fn on_local_pubrel(&mut self, ack: Ack<'_>) {
        let packet_id = ack.packet_id;
        if !matches!(self.state, State::Up { .. }) {
            return; // It is repeated when the other broker is there.
        }
        // Where the other broker knows no QoS 2, it has the message since its PUBACK.
        if self.remote.max_qos < QoS::ExactlyOnce && self.outgoing.flight(packet_id).is_none() {
            return self.answer_local(PacketKind::Pubcomp, packet_id, Reason::Success);
        }
        let mut bytes = Vec::new();
        ack.encode(self.remote.version, PacketKind::Pubrel, &mut bytes);
        self.outgoing.packet(&bytes, &mut self.remote.out);
    }

    fn log_slow(&mut self) {
        if !std::mem::replace(&mut self.remote.slow_logged, true) {
            let id = &self.plan.local.client_id;
            let line = format!("Outgoing messages are being dropped for client {id}.");
            self.log(LogKind::Notice, line);
        }
    }

    fn log_dropped(&mut self, topic: &str, bytes: usize) {
        let id = &self.plan.local.client_id;
        let line = format!("Dropping too large outgoing PUBLISH for {id} ({bytes} bytes)");
        self.log(LogKind::Notice, line);
        if std::mem::replace(&mut self.local.drop_logged, true) {
            return;
        }
        let (name, place, limit) = (&self.plan.name, self.place(), self.remote.max_packet_size);
        let line = format!(
            "Bridge {name}: {place} takes packets of at most {limit} bytes; the message for \
             '{topic}' has {bytes}. Larger ones are dropped."
        );
        self.log(LogKind::Warning, line);
    }
}
