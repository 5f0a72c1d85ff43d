//! A client as the specification wants it: what is not acknowledged is sent again with DUP and the
//! same packet id, and QoS 2 packet ids are remembered, over all connections.

use super::dice::Dice;
use super::ledger::Ledger;
use super::link::{Arrival, Inward, Link};
use mogi_codec::{
    Connect, Disconnect, PacketKind, Properties, PropertyBuf, PropertyId, Publish, QoS, Reason,
    Subscribe, SubscribeFilter, SubscribeOptions, Unsubscribe, Version, Will,
};
use std::collections::{HashMap, VecDeque};

/// Longer than any run.
const SESSION_EXPIRY_S: u32 = 86_400;

/// Longer than a broker hangs.
const HAUNTS_MS: u64 = 10_000;

/// Packet ids are taken from so few that they are used again soon.
const IDS: u64 = 40;

/// What a client needs of its surroundings.
pub(super) struct Context<'a> {
    pub(super) port: u16,
    /// The broker was not killed, as far as we know.
    pub(super) up: bool,
    pub(super) dice: &'a mut Dice,
    pub(super) ledger: &'a mut Ledger,
}

/// A client and its session.
pub(super) struct Client {
    pub(super) name: String,
    version: Version,
    /// Its session outlives its connections.
    persistent: bool,
    link: Option<Link>,
    pub(super) online: bool,
    /// It has been told of a session of its own.
    known: bool,
    retry_ms: u64,
    /// Where it connected to last, and when.
    pub(super) port: u16,
    pub(super) since_ms: u64,
    /// It does not connect.
    pub(super) away: bool,
    /// DISCONNECT was sent.
    leaving: bool,
    /// Until then a broker may wake up that finds a CONNECT which was given up, and take it for the
    /// last one.
    haunted_ms: u64,
    /// Messages of its own that are not done, in their order.
    pub(super) outgoing: VecDeque<Outgoing>,
    /// QoS 2 packet ids it has taken, and the message of each.
    taken: HashMap<u16, String>,
    /// Acknowledgements that are to be sent later, for one that is slow.
    later: VecDeque<(u64, PacketKind, u16)>,
    pub(super) slow_ms: u64,
    pub(super) subscriptions: Vec<Subscription>,
    /// Where in the ledger its messages go.
    receiver: Option<usize>,
    pub(super) testament: Option<Testament>,
    will: Option<usize>,
    next_control: u16,
}

/// A message on its way to the broker.
pub(super) struct Outgoing {
    id: u16,
    stream: usize,
    seq: usize,
    payload: Vec<u8>,
    /// PUBREC came.
    released: bool,
}

/// A subscription, or the wish for one.
pub(super) struct Subscription {
    pub(super) filter: String,
    pub(super) qos: u8,
    pub(super) wanted: bool,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Off,
    /// SUBSCRIBE was sent: packet id, number in the ledger.
    Asked(u16, usize),
    On(usize),
    /// UNSUBSCRIBE was sent.
    Leaving(u16, usize),
}

/// What a will client's wills are like.
#[derive(Clone, Copy)]
pub(super) struct Testament {
    pub(super) qos: u8,
    pub(super) delay_s: u32,
}

impl Client {
    pub(super) fn new(name: &str, version: Version, persistent: bool) -> Self {
        Self {
            name: name.to_owned(),
            version,
            persistent,
            link: None,
            online: false,
            known: false,
            retry_ms: 0,
            port: 0,
            since_ms: 0,
            away: false,
            leaving: false,
            haunted_ms: 0,
            outgoing: VecDeque::new(),
            taken: HashMap::new(),
            later: VecDeque::new(),
            slow_ms: 0,
            subscriptions: Vec::new(),
            receiver: None,
            testament: None,
            will: None,
            next_control: 1000,
        }
    }

    /// With these subscriptions, whose messages `receiver` in the ledger gets.
    pub(super) fn subscribed(mut self, receiver: usize, filters: &[(&str, u8)]) -> Self {
        self.receiver = Some(receiver);
        let subscription = |&(filter, qos): &(&str, u8)| Subscription {
            filter: filter.to_owned(),
            qos,
            wanted: true,
            state: State::Off,
        };
        self.subscriptions = filters.iter().map(subscription).collect();
        self
    }

    /// Does what there is to do; whether there was anything.
    pub(super) fn step(&mut self, cx: &mut Context<'_>) -> bool {
        if self.link.is_none() {
            return self.connect(cx);
        }
        self.acknowledge_late(cx);
        if self.online {
            self.change_subscriptions(cx);
        }
        let moved = self.link.as_mut().is_some_and(Link::pump);
        while let Some(inward) = self.link.as_mut().and_then(Link::next) {
            self.take(cx, inward);
        }
        if self.link.as_ref().is_some_and(|link| link.ended) {
            self.lost(cx);
        }
        moved
    }

    /// Publishes the next message of a stream.
    pub(super) fn publish(&mut self, cx: &mut Context<'_>, stream: usize, padding: usize) {
        let retain = cx.ledger.streams[stream].retain;
        let clears = retain && cx.dice.one_in(4);
        let seq = cx.ledger.sent(stream, clears);
        let mut payload = Vec::new();
        if !clears {
            payload.extend_from_slice(format!("{stream} {seq} ").as_bytes());
            payload.resize(payload.len() + padding, b'x');
        }
        let in_use = |id: u16| self.outgoing.iter().any(|outgoing| outgoing.id == id);
        let start = cx.dice.below(IDS) as u16;
        let ids = (0..IDS as u16).map(|step| 1 + (start + step) % IDS as u16);
        let id = { ids }.find(|&id| !in_use(id)).unwrap_or(IDS as u16 + 1);
        self.outgoing.push_back(Outgoing { id, stream, seq, payload, released: false });
        self.send(cx.ledger, self.outgoing.len() - 1, false);
    }

    /// Closes the connection; with DISCONNECT if `clean`.
    pub(super) fn leave(&mut self, cx: &mut Context<'_>, clean: bool) {
        let (true, Some(link)) = (clean && self.online, &mut self.link) else {
            return self.lost(cx);
        };
        let (reason, properties) = (Reason::Success, Properties::default());
        Disconnect { reason, properties }.encode(self.version, &mut link.output);
        self.leaving = true;
        if let Some(will) = self.will {
            cx.ledger.will_waived(will, false);
        }
    }

    /// Whether it has a connection, or waits for one to be answered.
    pub(super) const fn has_link(&self) -> bool {
        self.link.is_some()
    }

    /// Whether all of its subscriptions are as wanted.
    pub(super) fn is_settled(&self) -> bool {
        let settled = |it: &Subscription| it.wanted == matches!(it.state, State::On(_));
        self.online && self.outgoing.is_empty() && self.subscriptions.iter().all(settled)
    }

    fn connect(&mut self, cx: &mut Context<'_>) -> bool {
        if self.away || cx.ledger.now_ms < self.retry_ms {
            return false;
        }
        self.retry_ms = cx.ledger.now_ms + cx.dice.between(1, 25);
        let Some(mut link) = Link::open(cx.port, self.version) else {
            return false;
        };
        (self.port, self.since_ms) = (cx.port, cx.ledger.now_ms);
        let mut properties = PropertyBuf::new();
        if self.version.is_v5() && self.persistent {
            properties.int(PropertyId::SessionExpiryInterval, SESSION_EXPIRY_S);
        }
        let mut of_will = PropertyBuf::new();
        let mut payload = String::new();
        let topic = format!("w/{}", self.name);
        if let Some(Testament { qos, delay_s }) = self.testament {
            let haunted = cx.ledger.now_ms < self.haunted_ms;
            let number = cx.ledger.will(&self.name, qos, u64::from(delay_s) * 1000, haunted);
            self.will = Some(number);
            payload = number.to_string();
            if delay_s > 0 {
                of_will.int(PropertyId::WillDelayInterval, delay_s);
            }
        }
        let will = self.testament.map(|testament| Will {
            qos: quality(testament.qos),
            retain: false,
            properties: of_will.as_properties(),
            topic: &topic,
            payload: payload.as_bytes(),
        });
        let connect = Connect {
            version: self.version,
            bridge: false,
            clean_start: !self.persistent,
            keep_alive_s: 600,
            properties: properties.as_properties(),
            client_id: &self.name,
            will,
            username: None,
            password: None,
        };
        connect.encode(&mut link.output);
        self.link = Some(link);
        true
    }

    /// The connection has ended, or ends now.
    fn lost(&mut self, cx: &mut Context<'_>) {
        let Some(link) = self.link.take() else {
            return;
        };
        if !self.online && !link.ended {
            self.haunted_ms = cx.ledger.now_ms + HAUNTS_MS;
            cx.ledger.note(format!("{} gives up a CONNECT to {}", self.name, self.port));
        }
        if let Some(will) = self.will.take() {
            let answered = link.closed && cx.up && cx.ledger.now_ms > self.haunted_ms;
            match self.leaving {
                true => cx.ledger.will_waived(will, answered),
                false => cx.ledger.will_lost(will),
            }
        }
        if self.online {
            cx.ledger.note(format!("{} offline", self.name));
        }
        self.online = false;
        self.leaving = false;
        self.later.clear();
        self.retry_ms = cx.ledger.now_ms + cx.dice.below(20);
    }

    fn take(&mut self, cx: &mut Context<'_>, inward: Inward) {
        match inward {
            Inward::Connack { present, code: 0 } => self.connected(cx, present),
            Inward::Connack { code, .. } => self.odd(cx, &format!("CONNACK with {code}")),
            Inward::Publish(arrival) => self.take_message(cx, arrival),
            Inward::Ack { kind: PacketKind::Pubrel, id, .. } => {
                self.taken.remove(&id);
                self.acknowledge(cx, PacketKind::Pubcomp, id);
            }
            Inward::Ack { kind, id, failed } => self.take_ack(cx, kind, id, failed),
            Inward::Suback { id, failed } => {
                if failed {
                    self.odd(cx, "SUBACK refuses");
                }
                self.take_control(cx, id);
            }
            Inward::Unsuback { id } => self.take_control(cx, id),
            Inward::Odd(what) => self.odd(cx, &what),
            Inward::Other => {}
        }
    }

    fn connected(&mut self, cx: &mut Context<'_>, present: bool) {
        self.online = true;
        let (name, ledger) = (&self.name, &mut *cx.ledger);
        let port = self.port;
        ledger.note(format!("{name} online at {port}, session present {present}"));
        if let Some(will) = self.will {
            ledger.will_accepted(will);
        }
        if self.known && !present {
            ledger.tally.missing_sessions += 1;
            ledger.case(&format!("{name}: no session any more"), |_| String::new());
        }
        self.known = self.persistent;
        if !present {
            self.taken.clear();
            // What the broker had taken is its own; the rest is new to it.
            self.outgoing.retain(|outgoing| !outgoing.released);
        }
        for at in 0..self.subscriptions.len() {
            let state = &mut self.subscriptions[at].state;
            match (*state, present) {
                (State::Leaving(_, window), false) => {
                    ledger.left(self.receiver.unwrap_or(0), window);
                    *state = State::Off;
                }
                (State::On(window), false) => *state = State::Asked(0, window),
                _ => {}
            }
            self.send_control(at);
        }
        for at in 0..self.outgoing.len() {
            self.send(cx.ledger, at, present);
        }
    }

    /// Sends a message, or PUBREL where that is due.
    fn send(&mut self, ledger: &mut Ledger, at: usize, dup: bool) {
        let (Some(link), outgoing) = (&mut self.link, &self.outgoing[at]) else {
            return;
        };
        if outgoing.released {
            return link.ack(PacketKind::Pubrel, outgoing.id);
        }
        if dup {
            ledger.resent(outgoing.stream, outgoing.seq);
        }
        let stream = &ledger.streams[outgoing.stream];
        let publish = Publish {
            dup,
            qos: quality(stream.qos),
            retain: stream.retain,
            topic: &stream.topic,
            packet_id: outgoing.id,
            properties: Properties::default(),
            payload: &outgoing.payload,
        };
        publish.encode(self.version, &mut link.output);
    }

    fn take_ack(&mut self, cx: &mut Context<'_>, kind: PacketKind, id: u16, failed: bool) {
        let Some(at) = self.outgoing.iter().position(|outgoing| outgoing.id == id) else {
            return self.odd(cx, &format!("{} for id {id}, which is not in use", kind.name()));
        };
        let Outgoing { stream, seq, released, .. } = self.outgoing[at];
        if failed && kind != PacketKind::Pubcomp {
            cx.ledger.tally.refused += 1;
            self.outgoing.remove(at);
            return;
        }
        match (kind, cx.ledger.streams[stream].qos) {
            (PacketKind::Puback, 1) => {
                cx.ledger.acked(stream, seq);
                self.outgoing.remove(at);
            }
            (PacketKind::Pubrec, 2) => {
                cx.ledger.acked(stream, seq);
                self.outgoing[at].released = true;
                self.send(cx.ledger, at, false);
            }
            (PacketKind::Pubcomp, 2) if released => {
                self.outgoing.remove(at);
            }
            _ => self.odd(cx, &format!("{} for id {id} does not fit", kind.name())),
        }
    }

    fn take_message(&mut self, cx: &mut Context<'_>, arrival: Arrival) {
        let Arrival { dup, qos, topic, id, payload } = arrival;
        let text = String::from_utf8_lossy(&payload);
        let mut words = text.split(' ').map(str::parse::<usize>);
        let numbers = (words.next().and_then(Result::ok), words.next().and_then(Result::ok));
        if qos == 2 {
            let what = format!("{topic} {}", text.chars().take(20).collect::<String>());
            let before = self.taken.insert(id, what.clone());
            let again = before.is_some();
            if let Some(before) = before.filter(|before| *before != what) {
                self.odd(cx, &format!("id {id}, not released: {before} is now {what}"));
            }
            self.acknowledge(cx, PacketKind::Pubrec, id);
            if again {
                return;
            }
        }
        if qos == 1 {
            self.acknowledge(cx, PacketKind::Puback, id);
        }
        match (numbers, self.receiver) {
            ((Some(will), _), _) if topic.starts_with("w/") => {
                cx.ledger.will_came(will, (self.port, id))
            }
            ((Some(stream), Some(seq)), Some(receiver)) => {
                let how = (&*self.name, id, dup, qos);
                cx.ledger.arrived(receiver, (stream, seq), how);
            }
            _ => self.odd(cx, &format!("unknown message for {topic}: {text}")),
        }
    }

    fn acknowledge(&mut self, cx: &mut Context<'_>, kind: PacketKind, id: u16) {
        if self.slow_ms > 0 {
            let due_ms = cx.ledger.now_ms + cx.dice.below(self.slow_ms);
            let last_ms = self.later.back().map_or(0, |later| later.0);
            self.later.push_back((due_ms.max(last_ms), kind, id));
        } else if let Some(link) = &mut self.link {
            link.ack(kind, id);
        }
    }

    fn acknowledge_late(&mut self, cx: &Context<'_>) {
        let Some(link) = &mut self.link else {
            return;
        };
        while let Some(&(due_ms, kind, id)) = self.later.front()
            && due_ms <= cx.ledger.now_ms
        {
            link.ack(kind, id);
            self.later.pop_front();
        }
    }

    fn change_subscriptions(&mut self, cx: &mut Context<'_>) {
        let Some(receiver) = self.receiver else {
            return;
        };
        for at in 0..self.subscriptions.len() {
            let id = self.next_control;
            let this = &mut self.subscriptions[at];
            match (this.wanted, this.state) {
                (true, State::Off) => {
                    let window = cx.ledger.asked(receiver, &this.filter, this.qos);
                    this.state = State::Asked(id, window);
                }
                (false, State::On(window)) => {
                    cx.ledger.leaving(receiver, window);
                    this.state = State::Leaving(id, window);
                }
                _ => continue,
            }
            self.send_control(at);
        }
    }

    /// Sends SUBSCRIBE or UNSUBSCRIBE where that is due.
    fn send_control(&mut self, at: usize) {
        let (Some(link), this) = (&mut self.link, &mut self.subscriptions[at]) else {
            return;
        };
        let (version, none, out) = (self.version, Properties::default(), &mut link.output);
        let id = self.next_control;
        match &mut this.state {
            State::Asked(known, _) => {
                let options =
                    SubscribeOptions { qos: quality(this.qos), ..SubscribeOptions::default() };
                let filter = SubscribeFilter { filter: &this.filter, options };
                *known = id;
                Subscribe::encode(version, id, none, &[filter], out);
            }
            State::Leaving(known, _) => {
                *known = id;
                Unsubscribe::encode(version, id, none, &[&*this.filter], out);
            }
            State::Off | State::On(_) => return,
        }
        self.next_control = if id > 60_000 { 1000 } else { id + 1 };
    }

    fn take_control(&mut self, cx: &mut Context<'_>, id: u16) {
        let receiver = self.receiver.unwrap_or(0);
        for this in &mut self.subscriptions {
            match this.state {
                State::Asked(asked, window) if asked == id => {
                    cx.ledger.granted(receiver, window);
                    this.state = State::On(window);
                }
                State::Leaving(asked, window) if asked == id => {
                    cx.ledger.left(receiver, window);
                    this.state = State::Off;
                }
                _ => {}
            }
        }
    }

    fn odd(&self, cx: &mut Context<'_>, what: &str) {
        cx.ledger.tally.odd += 1;
        cx.ledger.case(&format!("{}: {what}", self.name), |_| String::new());
    }
}

fn quality(qos: u8) -> QoS {
    QoS::from_u8(qos).unwrap_or_default()
}
