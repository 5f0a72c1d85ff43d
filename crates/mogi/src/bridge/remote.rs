//! The other broker's side: its session with the bridge, and its packets.

use super::flow::Flight;
use super::hello;
use super::keep_alive::{Due, KeepAlive};
use super::machine::{Machine, State};
use super::plan::BridgePlan;
use mogi_codec::{
    Ack, Connack, DecodeError, Header, Packet, PacketKind, PropertyId, Publish, QoS, Reason,
    RetainHandling, Version,
};
use mogi_core::LogKind;
use std::collections::{BTreeMap, HashMap};

/// What is known of the connection to the other broker.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) version: Version,
    private: Private,
    /// Bytes to be sent.
    pub(super) out: Vec<u8>,
    /// What the other broker takes.
    pub(super) max_qos: QoS,
    pub(super) retain: bool,
    /// Bytes of the largest packet; 0: any.
    pub(super) max_packet_size: u32,
    receive_maximum: u16,
    /// Whether it had a session.
    pub(super) resumed: bool,
    keep_alive: KeepAlive,
    /// Topics it knows by an alias; no more than `bridge_max_topic_alias`.
    aliases: HashMap<u16, String>,
    /// The bridge's own packets that are not answered; no more than it has topics.
    pending: BTreeMap<u16, Own>,
    /// The packet id of the next one: from the end, as this broker begins at the other.
    next_id: u16,
    /// Bytes of a packet that is too large, yet to be read away.
    skip: usize,
    /// Whether a message it should not have sent was logged already.
    stray_logged: bool,
    /// Whether it was logged that it is too slow.
    pub(super) slow_logged: bool,
    /// Whether a message it has not taken was logged already.
    pub(super) refusal_logged: bool,
}

/// Whether to say that this is a bridge (`try_private`). Who does not know bridges refuses them, or
/// closes the connection, as brokers also do that are about to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Private {
    Yes,
    /// The connection was closed. A client tries whether anybody is there.
    Doubted,
    /// A client was let in. A bridge tries once more, in case that had another reason.
    Again,
    No,
}

/// One of the bridge's own packets.
#[derive(Debug)]
enum Own {
    State,
    Subscribe(String),
    Unsubscribe,
}

impl Remote {
    pub(super) fn new(plan: &BridgePlan) -> Self {
        Self {
            version: plan.remote.version,
            private: if plan.remote.private { Private::Yes } else { Private::No },
            out: Vec::new(),
            max_qos: QoS::ExactlyOnce,
            retain: true,
            max_packet_size: plan.remote.max_packet_size,
            receive_maximum: u16::MAX,
            resumed: false,
            keep_alive: KeepAlive::default(),
            aliases: HashMap::new(),
            pending: BTreeMap::new(),
            next_id: u16::MAX,
            skip: 0,
            stray_logged: false,
            slow_logged: false,
            refusal_logged: false,
        }
    }

    /// Begins a connection with CONNECT.
    pub(super) fn begin(&mut self, plan: &BridgePlan, now_ms: u64) {
        *self = Self { private: self.private, ..Self::new(plan) };
        self.keep_alive = KeepAlive::new(plan.remote.keep_alive_s, now_ms);
        self.out = hello::remote_connect(plan, self.is_private());
    }

    /// The connection has ended; what is still to be sent may be.
    pub(super) fn ended(&mut self) {
        self.pending.clear();
        self.aliases.clear();
        self.skip = 0;
    }

    /// Whether the other broker was told that this is a bridge.
    pub(super) const fn is_private(&self) -> bool {
        matches!(self.private, Private::Yes | Private::Again) && !self.version.is_v5()
    }

    /// The connection was closed instead of CONNACK; whether another attempt at once does better.
    pub(super) const fn closed_early(&mut self) -> bool {
        if self.version.is_v5() {
            return false;
        }
        let before = self.private;
        self.private = match before {
            Private::Yes => Private::Doubted,
            Private::Doubted => Private::Yes,
            Private::Again | Private::No => Private::No,
        };
        matches!(before, Private::Again)
    }

    /// Messages it takes at once.
    pub(super) const fn receive_maximum(&self) -> u16 {
        self.receive_maximum
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.keep_alive.deadline_ms()
    }

    /// Pings where it is time.
    ///
    /// # Errors
    /// The other broker is not there any more.
    pub(super) fn tick(&mut self, now_ms: u64) -> Result<(), ()> {
        match self.keep_alive.due(now_ms) {
            Due::Nothing => {}
            Due::Ping => {
                self.out.extend_from_slice(&[(PacketKind::Pingreq as u8) << 4, 0]);
                self.keep_alive.pinged(now_ms);
            }
            Due::GiveUp => return Err(()),
        }
        Ok(())
    }

    /// Something was sent.
    pub(super) const fn sent(&mut self, now_ms: u64) {
        self.keep_alive.sent(now_ms);
    }

    /// A packet id for one of the bridge's own packets.
    fn own_id(&mut self, own: Own) -> u16 {
        let packet_id = self.next_id;
        self.next_id = self.next_id.checked_sub(1).filter(|&id| id > 0).unwrap_or(u16::MAX);
        self.pending.insert(packet_id, own);
        packet_id
    }
}

impl Machine {
    /// Takes the complete packets off the front of what the other broker has sent; how many bytes
    /// they were.
    pub(crate) fn remote_bytes(&mut self, now_ms: u64, bytes: &[u8]) -> usize {
        self.remote.keep_alive.heard(now_ms);
        let mut rest = bytes;
        while matches!(self.state, State::Joining { .. } | State::Up { .. }) && !rest.is_empty() {
            let skipped = self.remote.skip.min(rest.len());
            self.remote.skip -= skipped;
            rest = &rest[skipped..];
            match self.remote_packet(now_ms, &mut rest) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let text = error.reason.text();
                    self.remote_lost(now_ms, &format!("{text} ({})", error.what));
                    break;
                }
            }
        }
        bytes.len() - rest.len()
    }

    /// Subscribes in the other broker and tells it that the bridge is there.
    pub(super) fn introduce(&mut self) {
        let version = self.remote.version;
        if hello::notify_remote(&self.plan).is_some() {
            let packet_id = self.own_id(Own::State);
            let state = hello::state(&self.plan, packet_id, hello::UP);
            self.remote.out.extend(state.unwrap_or_default());
        }
        let id = self.plan.local.client_id.clone();
        let filters: Vec<(String, QoS)> = self
            .plan
            .topics
            .remote_filters()
            .map(|(filter, qos)| (filter.to_owned(), qos.min(self.remote.max_qos)))
            .collect();
        for (filter, qos) in filters {
            let packet_id = self.own_id(Own::Subscribe(filter.clone()));
            let packet = hello::subscribe(version, packet_id, &filter, qos, RetainHandling::Send);
            self.remote.out.extend(packet);
            let (qos, options) = (qos as u8, if version.is_v5() { 0x0c } else { 0 });
            self.log(
                LogKind::Debug,
                format!(
                    "Bridge {id} sending SUBSCRIBE (Mid: {packet_id}, Topic: {filter}, \
                     QoS: {qos}, Options: 0x{options:02x})"
                ),
            );
        }
        // Without a session there is nothing to be cancelled.
        if !self.plan.remote.unsubscribe || !self.remote.resumed {
            return;
        }
        let leftovers: Vec<String> =
            self.plan.topics.remote_leftovers().map(str::to_owned).collect();
        for filter in leftovers {
            let packet_id = self.own_id(Own::Unsubscribe);
            self.remote.out.extend(hello::unsubscribe(version, packet_id, &filter));
            let line =
                format!("Bridge {id} sending UNSUBSCRIBE (Mid: {packet_id}, Topic: {filter})");
            self.log(LogKind::Debug, line);
        }
    }

    /// The last words: DISCONNECT keeps the will from being published, so the state is.
    pub(super) fn say_goodbye(&mut self) {
        let packet_id = self.remote.next_id;
        if let Some(state) = hello::state(&self.plan, packet_id, hello::DOWN) {
            self.remote.out.extend(state);
        }
        self.say_disconnect();
    }

    /// Ends the connection without the will.
    pub(super) fn say_disconnect(&mut self) {
        let disconnect = mogi_codec::Disconnect {
            reason: Reason::Success,
            properties: mogi_codec::Properties::default(),
        };
        disconnect.encode(self.remote.version, &mut self.remote.out);
    }

    /// Answers a PUBLISH or PUBREL of the other broker.
    pub(super) fn answer_remote(&mut self, kind: PacketKind, packet_id: u16, reason: Reason) {
        let version = self.remote.version;
        Ack::new(packet_id, reason).encode(version, kind, &mut self.remote.out);
    }

    fn own_id(&mut self, own: Own) -> u16 {
        let packet_id = self.remote.own_id(own);
        self.outgoing.reserve(packet_id);
        packet_id
    }

    /// Takes one packet off the front of `rest`; `false`: it is not complete.
    fn remote_packet(&mut self, now_ms: u64, rest: &mut &[u8]) -> Result<bool, DecodeError> {
        let Some(header) = Header::parse(rest)? else {
            return Ok(false);
        };
        let limit = self.plan.remote.max_packet_size_in as usize;
        if limit > 0 && header.packet_len() > limit {
            return self.skip(header, rest);
        }
        let Some((packet, behind)) = rest.split_at_checked(header.packet_len()) else {
            return Ok(false);
        };
        let version = self.remote.version;
        let packet = Packet::decode(version, header, &packet[header.header_len..])?;
        *rest = behind;
        if matches!(packet, Packet::Connack(_)) != matches!(self.state, State::Joining { .. }) {
            return Err(DecodeError::protocol("CONNACK out of place"));
        }
        match packet {
            Packet::Connack(connack) => self.on_connack(now_ms, connack),
            Packet::Publish(publish) => self.on_remote_publish(now_ms, publish)?,
            Packet::Pubrel(ack) => {
                let mut bytes = Vec::new();
                ack.encode(Version::V5, PacketKind::Pubrel, &mut bytes);
                self.incoming.packet(&bytes, &mut self.local.out);
            }
            Packet::Puback(ack) => self.on_puback(ack),
            Packet::Pubrec(ack) => self.on_pubrec(ack),
            Packet::Pubcomp(ack) => {
                self.outgoing.done(ack.packet_id, &mut self.remote.out);
                self.answer_local(PacketKind::Pubcomp, ack.packet_id, ack.reason);
            }
            Packet::Suback(suback) => self.on_suback(suback.packet_id, suback.codes),
            Packet::Unsuback(unsuback) => {
                self.log_answer("UNSUBACK");
                self.own_done(unsuback.packet_id);
            }
            Packet::Pingresp => {}
            Packet::Disconnect(disconnect) if version.is_v5() => {
                let why = format!("the other broker says: {}", disconnect.reason.text());
                self.remote_lost(now_ms, &why);
            }
            _ => return Err(DecodeError::protocol("packet that no server sends")),
        }
        Ok(true)
    }

    fn on_connack(&mut self, now_ms: u64, connack: Connack<'_>) {
        let line = format!("Received CONNACK on connection {}.", self.plan.local.client_id);
        self.log(LogKind::Debug, line);
        let Connack { session_present, code, properties } = connack;
        if code != 0 {
            let text = refusal(self.remote.version, code);
            // [MQTT-3.1.2-2] of 3.1.1: the protocol level is what it does not accept.
            let again = code == 1 && self.remote.is_private();
            if again {
                self.remote.private = Private::No;
            }
            return self.refused(now_ms, &text, again);
        }
        if self.remote.private == Private::Doubted {
            self.remote.private = Private::Again;
            return self.once_more();
        }
        if self.remote.private == Private::Again {
            self.remote.private = Private::Yes;
        }
        let remote = &mut self.remote;
        let int = |id| properties.int(id);
        let at_most = |own: u32, theirs: Option<u32>| match (own, theirs) {
            (0, theirs) => theirs.unwrap_or(0),
            (own, theirs) => own.min(theirs.unwrap_or(u32::MAX)),
        };
        remote.max_qos = int(PropertyId::MaximumQos)
            .and_then(|qos| QoS::from_u8(qos as u8))
            .unwrap_or(QoS::ExactlyOnce);
        remote.retain = int(PropertyId::RetainAvailable) != Some(0);
        remote.max_packet_size =
            at_most(self.plan.remote.max_packet_size, int(PropertyId::MaximumPacketSize));
        remote.receive_maximum = int(PropertyId::ReceiveMaximum).unwrap_or(0xFFFF) as u16;
        if let Some(interval_s) = int(PropertyId::ServerKeepAlive) {
            remote.keep_alive.set_interval(interval_s as u16);
        }
        // 3.1 does not tell; with a lasting session there is one as a rule.
        let present = match remote.version {
            Version::V31 => !self.plan.remote.clean,
            _ => session_present,
        };
        self.remote.resumed = present;
        self.joined(now_ms, !present);
    }

    /// A message of the other broker.
    fn on_remote_publish(&mut self, now_ms: u64, publish: Publish<'_>) -> Result<(), DecodeError> {
        self.active_ms = now_ms;
        let topic = self.remote_topic(&publish)?;
        if self.echoes.is_one(now_ms, &topic, publish.payload) {
            self.drop_remote(publish.qos, publish.packet_id);
            return Ok(());
        }
        let Some(topic) = self.plan.topics.to_local(&topic) else {
            self.log_stray(&topic);
            self.drop_remote(publish.qos, publish.packet_id);
            return Ok(());
        };
        let mut properties = mogi_codec::PropertyBuf::new();
        // Those that mean something on one connection only are left out.
        for property in publish.properties.iter() {
            let own = [PropertyId::TopicAlias, PropertyId::SubscriptionIdentifier];
            if !own.contains(&property.id) {
                properties.push(property);
            }
        }
        let message = Publish { topic: &topic, properties: properties.as_properties(), ..publish };
        let limit = self.plan.remote.max_packet_size_in as usize;
        if limit > 0 && message.packet_len(Version::V5) > limit {
            self.log_too_large(&topic, message.packet_len(Version::V5));
            self.drop_remote(publish.qos, publish.packet_id);
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(message.packet_len(Version::V5));
        message.encode(Version::V5, &mut bytes);
        let flight = (publish.qos != QoS::AtMostOnce)
            .then_some((publish.packet_id, Flight { qos: publish.qos, sent: publish.qos }));
        self.incoming.message(bytes, flight, &mut self.local.out);
        Ok(())
    }

    /// The message's topic, with its alias resolved ([MQTT-3.3.2-9] to [MQTT-3.3.2-12]).
    fn remote_topic(&mut self, publish: &Publish<'_>) -> Result<String, DecodeError> {
        let alias = publish.properties.int(PropertyId::TopicAlias).map(|alias| alias as u16);
        match alias {
            Some(alias) if alias == 0 || alias > self.plan.remote.topic_alias_maximum => {
                let what = "topic alias above the maximum";
                Err(DecodeError::new(Reason::TopicAliasInvalid, what))
            }
            Some(alias) if publish.topic.is_empty() => {
                let known = self.remote.aliases.get(&alias).cloned();
                known.ok_or(DecodeError::protocol("topic alias was never set"))
            }
            Some(alias) => {
                self.remote.aliases.insert(alias, publish.topic.to_owned());
                Ok(publish.topic.to_owned())
            }
            None if publish.topic.is_empty() => {
                Err(DecodeError::protocol("PUBLISH with neither topic nor topic alias"))
            }
            None => Ok(publish.topic.to_owned()),
        }
    }

    /// Acknowledges a message that goes nowhere.
    fn drop_remote(&mut self, qos: QoS, packet_id: u16) {
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                self.answer_remote(PacketKind::Puback, packet_id, Reason::Success);
            }
            QoS::ExactlyOnce => {
                self.answer_remote(PacketKind::Pubrec, packet_id, Reason::Success);
            }
        }
    }

    /// A packet larger than this broker takes: a message is acknowledged and read away, so that
    /// it is not sent again and again. `false`: too little of it is there.
    fn skip(&mut self, header: Header, rest: &[u8]) -> Result<bool, DecodeError> {
        let too_large = DecodeError::new(Reason::PacketTooLarge, "larger than max_packet_size");
        if header.kind != PacketKind::Publish || self.remote.version.is_v5() {
            // It was told the limit ([MQTT-3.1.2-24]).
            return Err(too_large);
        }
        let Some(body) = rest.get(header.header_len..) else {
            return Ok(false);
        };
        let [high, low, behind @ ..] = body else {
            return Ok(false);
        };
        let topic_len = usize::from(u16::from_be_bytes([*high, *low]));
        let Some([high, low]) = behind.get(topic_len..topic_len + 2) else {
            return Ok(false);
        };
        let packet_id = u16::from_be_bytes([*high, *low]);
        let topic = String::from_utf8_lossy(&behind[..topic_len]).into_owned();
        self.log_too_large(&topic, header.packet_len());
        let qos = QoS::from_u8(rest[0] >> 1 & 0b11).ok_or(too_large)?;
        self.drop_remote(qos, packet_id);
        self.remote.skip = header.packet_len();
        Ok(true)
    }

    fn on_puback(&mut self, ack: Ack<'_>) {
        if let Some(Own::State) = self.remote.pending.get(&ack.packet_id) {
            return self.own_done(ack.packet_id);
        }
        self.log_refusal(ack.reason);
        let flight = self.outgoing.done(ack.packet_id, &mut self.remote.out);
        // It was sent with a lower QoS than this broker has it with.
        let twice = flight.is_some_and(|flight| flight.qos == QoS::ExactlyOnce);
        let kind = if twice { PacketKind::Pubrec } else { PacketKind::Puback };
        self.answer_local(kind, ack.packet_id, ack.reason);
    }

    fn on_pubrec(&mut self, ack: Ack<'_>) {
        if ack.reason.is_error() {
            self.log_refusal(ack.reason);
            self.outgoing.done(ack.packet_id, &mut self.remote.out);
        }
        self.answer_local(PacketKind::Pubrec, ack.packet_id, ack.reason);
    }

    fn on_suback(&mut self, packet_id: u16, codes: &[u8]) {
        self.log_answer("SUBACK");
        if let Some(Own::Subscribe(filter)) = self.remote.pending.get(&packet_id)
            && let Some(&code) = codes.first()
            && code >= 0x80
        {
            let why = Reason::from_u8(code).map_or("refused", Reason::text);
            let (name, place) = (&self.plan.name, self.place());
            let line = format!(
                "Bridge {name}: {place} does not grant the subscription to '{filter}': {why}."
            );
            self.log(LogKind::Warning, line);
        }
        self.own_done(packet_id);
    }

    fn own_done(&mut self, packet_id: u16) {
        if self.remote.pending.remove(&packet_id).is_some() {
            self.outgoing.release(packet_id, &mut self.remote.out);
        }
    }

    fn log_answer(&mut self, what: &str) {
        let line = format!("Received {what} from {}", self.plan.local.client_id);
        self.log(LogKind::Debug, line);
    }

    fn log_stray(&mut self, topic: &str) {
        if std::mem::replace(&mut self.remote.stray_logged, true) {
            return;
        }
        let (name, place) = (&self.plan.name, self.place());
        let line = format!(
            "Bridge {name}: {place} sends '{topic}', which is none of the bridge's topics, and \
             such messages are dropped. A subscription of an earlier configuration? 'cleansession \
             true' for one connection ends it."
        );
        self.log(LogKind::Warning, line);
    }

    fn log_too_large(&mut self, topic: &str, bytes: usize) {
        let (name, limit) = (&self.plan.name, self.plan.remote.max_packet_size_in);
        let line = format!(
            "Bridge {name}: dropping a message for '{topic}' of {bytes} bytes, as max_packet_size \
             is {limit}."
        );
        self.log(LogKind::Warning, line);
    }

    fn log_refusal(&mut self, reason: Reason) {
        if !reason.is_error() || std::mem::replace(&mut self.remote.refusal_logged, true) {
            return;
        }
        let (name, place, why) = (&self.plan.name, self.place(), reason.text());
        let line =
            format!("Bridge {name}: {place} does not take a message, and it is dropped: {why}.");
        self.log(LogKind::Warning, line);
    }
}

/// What a refusing CONNACK says.
fn refusal(version: Version, code: u8) -> String {
    let v3 = [
        "",
        "unacceptable protocol version",
        "identifier rejected",
        "broker unavailable",
        "bad user name or password",
        "not authorised",
    ];
    // Who does not know 5.0 answers in the words of 3.1.1.
    match v3.get(usize::from(code)) {
        Some(text) => (*text).to_owned(),
        None if version.is_v5() => {
            Reason::from_u8(code).map_or_else(|| format!("{code}"), |it| it.text().to_owned())
        }
        None => format!("unknown reason {code}"),
    }
}
