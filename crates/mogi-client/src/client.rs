//! The state machine: bytes and the time in, events and bytes out.

use crate::event::{Event, Message};
use crate::ids::PacketIds;
use crate::incoming::Incoming;
use crate::keep_alive::{Due, KeepAlive};
use crate::outgoing::{Acked, Outgoing};
use crate::trace::Trace;
use crate::{Error, Limits, Options, PublishError, PublishRequest};
use mogi_codec::{
    Ack, Connack, Connect, DecodeError, Disconnect, Header, Packet, PacketKind, Properties,
    PropertyId, Publish, QoS, Reason, Suback, SubscribeFilter, Unsuback, Will,
};
use std::collections::{BTreeMap, HashMap};

/// An MQTT client of one session, over one connection after the other.
///
/// ```text
///  connect() ── output() ─► socket        socket ─► next_event() ─► Event
///  publish(), subscribe(), …  ┘                        tick() at deadline_ms()
///  lost(): the socket is gone; connect() begins the next one and resumes
/// ```
/// `now_ms` is milliseconds of any clock that never goes back.
#[derive(Clone, Debug)]
pub struct Client {
    options: Options,
    state: State,
    client_id: String,
    limits: Limits,
    ids: PacketIds,
    outgoing: Outgoing,
    incoming: Incoming,
    /// SUBSCRIBE and UNSUBSCRIBE that are not answered; no more than there are packet ids.
    pending: BTreeMap<u16, PacketKind>,
    /// Topics the server knows by an alias; no more than there are aliases.
    aliases: HashMap<u32, String>,
    keep_alive: KeepAlive,
    /// Events that came up beside the one that was returned: messages that are done because
    /// the server has no session any more. No more than the window.
    done: Vec<u16>,
    out: Vec<u8>,
    /// Bytes at the front of `out` that are written already.
    out_written: usize,
    trace: Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No connection.
    Idle,
    /// CONNECT is sent.
    Connecting,
    Connected,
    /// The connection is to be closed; nothing more is read or sent.
    Ended,
}

impl Client {
    /// A client that is not connected.
    pub fn new(options: Options) -> Self {
        Self {
            state: State::Idle,
            client_id: options.client_id.clone(),
            limits: Limits::default(),
            ids: PacketIds::default(),
            outgoing: Outgoing::default(),
            incoming: Incoming::new(&options),
            pending: BTreeMap::new(),
            aliases: HashMap::new(),
            keep_alive: KeepAlive::default(),
            done: Vec::new(),
            out: Vec::new(),
            out_written: 0,
            trace: Trace::default(),
            options,
        }
    }

    /// Begins a connection: CONNECT goes to the output. What was in flight is sent again when
    /// the server has answered.
    pub fn connect(&mut self, now_ms: u64) {
        self.lost();
        let options = &self.options;
        let connect = Connect {
            version: options.version,
            bridge: false,
            clean_start: options.clean_start,
            keep_alive_s: options.keep_alive_s,
            properties: options.properties.as_properties(),
            client_id: &options.client_id,
            will: options.will.as_ref().map(|will| Will {
                qos: will.qos,
                retain: will.retain,
                properties: will.properties.as_properties(),
                topic: &will.topic,
                payload: &will.payload,
            }),
            username: options.username.as_deref(),
            password: options.password.as_deref(),
        };
        connect.encode(&mut self.out);
        self.trace.add(|| "sending CONNECT".to_owned());
        self.state = State::Connecting;
        self.limits = Limits::default();
        self.keep_alive = KeepAlive::new(self.options.keep_alive_s, now_ms);
    }

    /// The connection is gone. What is in flight stays, and unanswered SUBSCRIBE and UNSUBSCRIBE
    /// are forgotten.
    pub fn lost(&mut self) {
        self.state = State::Idle;
        self.out.clear();
        self.out_written = 0;
        self.pending.clear();
        self.aliases.clear();
    }

    /// Publishes a message; answers with its packet id, which [`Event::Published`] will name
    /// for QoS 1 and 2. At QoS 0 the id counts messages and is not sent.
    ///
    /// # Errors
    /// Where the message cannot be sent now, or not to this server.
    pub fn publish(
        &mut self,
        now_ms: u64,
        request: &PublishRequest<'_>,
    ) -> Result<u16, PublishError> {
        if self.state != State::Connected {
            return Err(PublishError::NotConnected);
        }
        if request.qos != QoS::AtMostOnce && self.outgoing.room() == 0 {
            return Err(PublishError::WindowFull);
        }
        self.limits.check(self.options.version, request)?;
        let packet_id = self.next_id().ok_or(PublishError::WindowFull)?;
        let whole = crate::limits::publish(request, packet_id);
        let version = self.options.version;
        self.shortened(whole).encode(version, &mut self.out);
        if request.qos != QoS::AtMostOnce {
            let mut frame = Vec::with_capacity(whole.packet_len(version));
            // Aliases end with the connection, so what may be sent again has its whole topic.
            whole.encode(version, &mut frame);
            self.outgoing.push(packet_id, request.qos, frame);
        }
        self.trace.sent_publish(false, packet_id, request);
        self.keep_alive.sent(now_ms);
        Ok(packet_id)
    }

    /// Subscribes; answers with the packet id [`Event::Subscribed`] will name. `None` without a
    /// connection, without a filter, or when all packet ids are in use.
    pub fn subscribe(
        &mut self,
        now_ms: u64,
        filters: &[SubscribeFilter<'_>],
        properties: Properties<'_>,
    ) -> Option<u16> {
        if self.state != State::Connected || filters.is_empty() {
            return None;
        }
        let packet_id = self.next_id()?;
        let (version, out) = (self.options.version, &mut self.out);
        mogi_codec::Subscribe::encode(version, packet_id, properties, filters, out);
        self.trace.sent_subscribe(packet_id, filters);
        self.pending.insert(packet_id, PacketKind::Subscribe);
        self.keep_alive.sent(now_ms);
        Some(packet_id)
    }

    /// Unsubscribes; answers with the packet id [`Event::Unsubscribed`] will name. `None` as
    /// with [`Self::subscribe`].
    pub fn unsubscribe(
        &mut self,
        now_ms: u64,
        filters: &[&str],
        properties: Properties<'_>,
    ) -> Option<u16> {
        if self.state != State::Connected || filters.is_empty() {
            return None;
        }
        let packet_id = self.next_id()?;
        let (version, out) = (self.options.version, &mut self.out);
        mogi_codec::Unsubscribe::encode(version, packet_id, properties, filters, out);
        for filter in filters {
            self.trace.add(|| format!("sending UNSUBSCRIBE (Mid: {packet_id}, Topic: {filter})"));
        }
        self.pending.insert(packet_id, PacketKind::Unsubscribe);
        self.keep_alive.sent(now_ms);
        Some(packet_id)
    }

    /// Says goodbye. Write the output and close the socket then.
    pub fn disconnect(&mut self, reason: Reason, properties: Properties<'_>) {
        if !matches!(self.state, State::Connecting | State::Connected) {
            return;
        }
        self.state = State::Ended;
        let disconnect = Disconnect { reason, properties };
        disconnect.encode(self.options.version, &mut self.out);
        self.trace.add(|| "sending DISCONNECT".to_owned());
    }

    /// Reads packets off the front of `input` until one of them is an event. `None`: more bytes
    /// are needed. Acknowledgements and what else is to be said go to the output.
    ///
    /// # Errors
    /// The connection is to be closed, after its output is written.
    pub fn next_event<'a>(
        &mut self,
        now_ms: u64,
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, Error> {
        if let Some(packet_id) = self.done.pop() {
            let (reason, properties) = (Reason::Success, Properties::default());
            return Ok(Some(Event::Published { packet_id, reason, properties }));
        }
        while matches!(self.state, State::Connecting | State::Connected) {
            let event = match self.read(now_ms, input) {
                Ok(Read::Event(event)) => event,
                Ok(Read::Nothing) => continue,
                Ok(Read::Short) => break,
                Err(error) => {
                    self.give_up(error.reason);
                    return Err(Error::Protocol(error));
                }
            };
            return Ok(Some(event));
        }
        Ok(None)
    }

    /// Lets time pass: pings where nothing was sent for as long as the keep alive lasts.
    ///
    /// # Errors
    /// The server did not answer; the connection is to be closed.
    pub fn tick(&mut self, now_ms: u64) -> Result<(), Error> {
        let due = match self.state {
            State::Idle | State::Ended => Due::Nothing,
            State::Connecting if self.keep_alive.due(now_ms) != Due::Nothing => Due::GiveUp,
            _ => self.keep_alive.due(now_ms),
        };
        match due {
            Due::Nothing => {}
            Due::Ping => {
                self.out.extend_from_slice(&[(PacketKind::Pingreq as u8) << 4, 0]);
                self.keep_alive.pinged(now_ms);
                self.trace.add(|| "sending PINGREQ".to_owned());
            }
            Due::GiveUp => {
                self.give_up(Reason::KeepAliveTimeout);
                return Err(Error::KeepAlive);
            }
        }
        Ok(())
    }

    /// `n` bytes at the front of the output were written.
    pub fn written(&mut self, n: usize) {
        self.out_written = (self.out_written + n).min(self.out.len());
        // Moved rarely, so that a large message written in many pieces is moved once or twice.
        if self.out_written * 2 >= self.out.len() {
            self.out.drain(..self.out_written);
            self.out_written = 0;
        }
    }

    /// From now on [`Self::next_trace`] has a line for each packet.
    pub fn enable_trace(&mut self) {
        self.trace.enable();
    }

    /// The next packet that was sent or received, in words.
    pub fn next_trace(&mut self) -> Option<String> {
        self.trace.pop()
    }

    /// Bytes that wait to be written.
    pub fn output(&self) -> &[u8] {
        &self.out[self.out_written..]
    }

    /// When [`Self::tick`] wants to be called.
    pub const fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::Idle | State::Ended => None,
            State::Connecting | State::Connected => self.keep_alive.deadline_ms(),
        }
    }

    /// Whether the server has accepted the connection, and neither side has ended it.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// The client identifier, which may be one that the server assigned (5.0).
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// What the server allows.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// How it connects.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Messages of QoS 1 and 2 that are not acknowledged.
    pub fn inflight(&self) -> usize {
        self.outgoing.len()
    }

    /// Messages of QoS 1 and 2 that may be published now.
    pub fn room(&self) -> usize {
        match self.state {
            State::Connected => self.outgoing.room(),
            _ => 0,
        }
    }
}

/// What one packet led to.
enum Read<'a> {
    Event(Event<'a>),
    Nothing,
    /// The packet is not complete.
    Short,
}

impl Client {
    fn read<'a>(&mut self, now_ms: u64, input: &mut &'a [u8]) -> Result<Read<'a>, DecodeError> {
        let version = self.options.version;
        let Some(header) = Header::parse(input)? else {
            return Ok(Read::Short);
        };
        // [MQTT-3.1.2-24]; checked before the packet is complete, so that it is never kept.
        let max = self.options.int(PropertyId::MaximumPacketSize);
        if max.is_some_and(|max| header.packet_len() > max as usize) {
            return Err(DecodeError::new(
                Reason::PacketTooLarge,
                "packet larger than the maximum packet size",
            ));
        }
        let Some((packet, rest)) = input.split_at_checked(header.packet_len()) else {
            return Ok(Read::Short);
        };
        *input = rest;
        let packet = Packet::decode(version, header, &packet[header.header_len..])?;
        let connack = matches!(packet, Packet::Connack(_));
        if connack != (self.state == State::Connecting) {
            return Err(DecodeError::protocol(if connack {
                "second CONNACK"
            } else {
                "packet before CONNACK"
            }));
        }
        Ok(match packet {
            Packet::Connack(connack) => Read::Event(self.on_connack(now_ms, connack)),
            Packet::Publish(publish) => self.on_publish(now_ms, publish)?,
            Packet::Puback(ack) => self.on_ack(now_ms, PacketKind::Puback, ack)?,
            Packet::Pubrec(ack) => self.on_ack(now_ms, PacketKind::Pubrec, ack)?,
            Packet::Pubcomp(ack) => self.on_ack(now_ms, PacketKind::Pubcomp, ack)?,
            Packet::Pubrel(ack) => self.on_pubrel(now_ms, ack),
            Packet::Suback(suback) => self.on_suback(suback),
            Packet::Unsuback(unsuback) => self.on_unsuback(unsuback),
            Packet::Pingresp => {
                self.keep_alive.answered();
                self.trace.add(|| "received PINGRESP".to_owned());
                Read::Nothing
            }
            Packet::Disconnect(disconnect) if version.is_v5() => self.on_disconnect(disconnect),
            _ => return Err(DecodeError::protocol("packet a server does not send")),
        })
    }

    fn on_connack<'a>(&mut self, now_ms: u64, connack: Connack<'a>) -> Event<'a> {
        let Connack { session_present, code, properties } = connack;
        if code != 0 {
            self.state = State::Ended;
            self.trace.add(|| format!("received CONNACK ({code})"));
            return Event::Refused { code, properties };
        }
        self.state = State::Connected;
        self.limits = Limits::of(properties);
        if let Some(id) = properties.str(PropertyId::AssignedClientIdentifier) {
            id.clone_into(&mut self.client_id);
        }
        self.trace.add(|| format!("received CONNACK ({code})"));
        if let Some(interval_s) = properties.int(PropertyId::ServerKeepAlive) {
            self.keep_alive.set_interval(interval_s.min(u32::from(u16::MAX)) as u16);
        }
        self.incoming.resume(session_present, &self.options);
        let window = self.limits.window(&self.options);
        self.done = self.outgoing.resume(session_present, window);
        self.pump(now_ms);
        Event::Connected { session_present, properties }
    }

    fn on_publish<'a>(
        &mut self,
        now_ms: u64,
        publish: Publish<'a>,
    ) -> Result<Read<'a>, DecodeError> {
        let topic = self.incoming.topic(&publish)?;
        self.trace.received_publish(&publish, &topic);
        let message = Message::new(topic, publish);
        let packet_id = message.packet_id;
        match message.qos {
            QoS::AtMostOnce => Ok(Read::Event(Event::Message(message))),
            QoS::AtLeastOnce => {
                self.acknowledge(now_ms, PacketKind::Puback, packet_id, Reason::Success);
                Ok(Read::Event(Event::Message(message)))
            }
            QoS::ExactlyOnce => {
                self.incoming.keep(message)?;
                self.acknowledge(now_ms, PacketKind::Pubrec, packet_id, Reason::Success);
                Ok(Read::Nothing)
            }
        }
    }

    fn on_pubrel<'a>(&mut self, now_ms: u64, ack: Ack<'a>) -> Read<'a> {
        self.trace.add(|| format!("received PUBREL (Mid: {})", ack.packet_id));
        let released = self.incoming.release(ack.packet_id);
        let reason = match released {
            Some(_) => Reason::Success,
            None => Reason::PacketIdentifierNotFound,
        };
        self.acknowledge(now_ms, PacketKind::Pubcomp, ack.packet_id, reason);
        released.map_or(Read::Nothing, |message| Read::Event(Event::Message(message)))
    }

    fn on_ack<'a>(
        &mut self,
        now_ms: u64,
        kind: PacketKind,
        ack: Ack<'a>,
    ) -> Result<Read<'a>, DecodeError> {
        let Ack { packet_id, reason, properties } = ack;
        self.trace.add(|| {
            let name = kind.name();
            match kind {
                PacketKind::Pubrec => format!("received {name} (Mid: {packet_id})"),
                _ => format!("received {name} (Mid: {packet_id}, RC:{})", reason as u8),
            }
        });
        match self.outgoing.acknowledged(kind, packet_id, reason) {
            Acked::Done => {
                self.pump(now_ms);
                Ok(Read::Event(Event::Published { packet_id, reason, properties }))
            }
            Acked::Release => {
                self.acknowledge(now_ms, PacketKind::Pubrel, packet_id, Reason::Success);
                Ok(Read::Nothing)
            }
            Acked::Unknown => {
                if kind == PacketKind::Pubrec && !reason.is_error() {
                    let reason = Reason::PacketIdentifierNotFound;
                    self.acknowledge(now_ms, PacketKind::Pubrel, packet_id, reason);
                }
                Ok(Read::Nothing)
            }
            Acked::Mismatch => {
                Err(DecodeError::protocol("acknowledgement that does not fit the message's QoS"))
            }
        }
    }

    fn on_suback<'a>(&mut self, suback: Suback<'a>) -> Read<'a> {
        let Suback { packet_id, properties, codes } = suback;
        self.trace.add(|| "received SUBACK".to_owned());
        if self.pending.remove(&packet_id) != Some(PacketKind::Subscribe) {
            return Read::Nothing;
        }
        Read::Event(Event::Subscribed { packet_id, codes, properties })
    }

    fn on_unsuback<'a>(&mut self, unsuback: Unsuback<'a>) -> Read<'a> {
        let Unsuback { packet_id, properties, codes } = unsuback;
        self.trace.add(|| "received UNSUBACK".to_owned());
        if self.pending.remove(&packet_id) != Some(PacketKind::Unsubscribe) {
            return Read::Nothing;
        }
        Read::Event(Event::Unsubscribed { packet_id, codes, properties })
    }

    fn on_disconnect<'a>(&mut self, disconnect: Disconnect<'a>) -> Read<'a> {
        let Disconnect { reason, properties } = disconnect;
        self.trace.add(|| format!("received DISCONNECT ({})", reason as u8));
        self.state = State::Ended;
        Read::Event(Event::Disconnected { reason, properties })
    }

    /// Sends what waited for the window.
    fn pump(&mut self, now_ms: u64) {
        let (trace, keep_alive) = (&mut self.trace, &mut self.keep_alive);
        let version = self.options.version;
        self.outgoing.pump(version, &mut self.out, |kind, packet_id| {
            keep_alive.sent(now_ms);
            trace.add(|| format!("sending {} (m{packet_id})", kind.name()));
        });
    }

    fn acknowledge(&mut self, now_ms: u64, kind: PacketKind, packet_id: u16, reason: Reason) {
        // 3.x has no reasons, and neither have these two lines where all is well.
        let ack = Ack::new(packet_id, reason);
        ack.encode(self.options.version, kind, &mut self.out);
        self.keep_alive.sent(now_ms);
        self.trace.add(|| match kind {
            PacketKind::Puback | PacketKind::Pubrec => {
                format!("sending {} (m{packet_id}, rc{})", kind.name(), reason as u8)
            }
            _ => format!("sending {} (m{packet_id})", kind.name()),
        });
    }

    /// Ends the connection because of the server ([MQTT-4.13.1-1]).
    fn give_up(&mut self, reason: Reason) {
        if self.state == State::Connected && self.options.version.is_v5() {
            self.disconnect(reason, Properties::default());
        }
        self.state = State::Ended;
    }

    fn next_id(&mut self) -> Option<u16> {
        let (outgoing, pending) = (&self.outgoing, &self.pending);
        self.ids.next(|id| outgoing.contains(id) || pending.contains_key(&id))
    }

    /// The PUBLISH as it goes out: without its topic where the server knows it by its alias.
    fn shortened<'a>(&mut self, mut whole: Publish<'a>) -> Publish<'a> {
        if let Some(alias) = whole.properties.int(PropertyId::TopicAlias) {
            let known = self.aliases.insert(alias, whole.topic.to_owned());
            if known.as_deref() == Some(whole.topic) {
                whole.topic = "";
            }
        }
        whole
    }
}
