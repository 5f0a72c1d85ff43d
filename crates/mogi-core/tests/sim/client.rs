//! A client's own state: what it was promised, what it owes, what it may not see.

use crate::rng::Rng;
use mogi_codec::{PacketKind, QoS, SubscribeOptions, Version};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long its sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Clean,
    Timed(u32),
    Lasting,
}

/// Whether the broker has a session for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    No,
    Maybe,
    Yes,
}

/// How far it got with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Off,
    /// CONNECT sent.
    Greeting,
    On,
}

/// A message on its way to the broker.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) packet_id: u16,
    pub(crate) message: u32,
    pub(crate) qos: QoS,
    /// PUBREL was sent.
    pub(crate) released: bool,
}

/// A question the broker owes an answer to.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Subscribe(Vec<(String, SubscribeOptions)>, u64),
    Unsubscribe(Vec<String>, u64),
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) life: Life,
    /// Its connection is never lost.
    pub(crate) steady: bool,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) packet_limit: Option<usize>,
    pub(crate) alias_maximum: u16,
    pub(crate) keep_alive_s: u16,
    pub(crate) group: Option<usize>,

    /// It does not come back before this time, in milliseconds.
    pub(crate) away_until_ms: u64,
    pub(crate) token: Option<u32>,
    pub(crate) phase: Phase,
    pub(crate) rx: Vec<u8>,
    pub(crate) known: Known,
    pub(crate) must_clean: bool,
    /// What session present has to be.
    pub(crate) promise: Option<bool>,
    /// Session expiry asked for with the present connection, 0: ends with it.
    pub(crate) expiry_s: u32,

    pub(crate) broker_receive_maximum: usize,
    pub(crate) broker_aliases: usize,
    pub(crate) aliases_out: Vec<String>,
    pub(crate) aliases_in: BTreeMap<u16, String>,

    next_id: u16,
    pub(crate) flows: VecDeque<Flow>,
    /// PUBACKs and PUBRECs are due in this order.
    pub(crate) pubacks: VecDeque<u16>,
    pub(crate) pubrecs: VecDeque<u16>,
    /// QoS 0 messages no ping covers, and those each ping on its way does.
    pub(crate) unconfirmed: Vec<u32>,
    pub(crate) pings: VecDeque<Vec<u32>>,
    pub(crate) asks: BTreeMap<u16, Ask>,

    /// Packet id → message the broker may not reuse it for another.
    pub(crate) inflight: BTreeMap<u16, (u32, QoS)>,
    /// Those that were sent on this connection.
    pub(crate) open: BTreeSet<u16>,
    /// QoS 2 ids taken and not released.
    pub(crate) held: BTreeSet<u16>,
    /// Ids the broker has used in this session.
    pub(crate) used: BTreeSet<u16>,
    /// The broker has crashed under the connection, or since the last one.
    pub(crate) broker_crashed: bool,
    /// Acknowledgements not sent yet.
    pub(crate) acks: VecDeque<(PacketKind, u16)>,
}

impl Client {
    pub(crate) fn new(number: usize, version: Version, life: Life) -> Self {
        Self {
            name: format!("c{number}"),
            version,
            life,
            steady: false,
            receive_maximum: None,
            packet_limit: None,
            alias_maximum: 0,
            keep_alive_s: 0,
            group: None,
            away_until_ms: 0,
            token: None,
            phase: Phase::Off,
            rx: Vec::new(),
            known: Known::No,
            must_clean: false,
            promise: None,
            expiry_s: 0,
            broker_receive_maximum: 0,
            broker_aliases: 0,
            aliases_out: Vec::new(),
            aliases_in: BTreeMap::new(),
            next_id: 0,
            flows: VecDeque::new(),
            pubacks: VecDeque::new(),
            pubrecs: VecDeque::new(),
            unconfirmed: Vec::new(),
            pings: VecDeque::new(),
            asks: BTreeMap::new(),
            inflight: BTreeMap::new(),
            open: BTreeSet::new(),
            held: BTreeSet::new(),
            used: BTreeSet::new(),
            broker_crashed: false,
            acks: VecDeque::new(),
        }
    }

    pub(crate) fn random(number: usize, plan: &crate::plan::Plan, rng: &mut Rng) -> Self {
        let version = *rng.pick(plan.versions);
        let v5 = version.is_v5();
        let life = match rng.below(10) {
            0..=5 => Life::Lasting,
            6..=7 if v5 => Life::Timed(rng.range(1, 20) as u32),
            _ => Life::Clean,
        };
        let mut client = Self::new(number, version, life);
        if v5 && rng.percent(50) {
            client.receive_maximum = Some(*rng.pick(&[1, 2, 3, 10, 65_535]));
        }
        if v5 && plan.packet_limit && rng.percent(40) {
            client.packet_limit = Some(rng.range(100, 400));
        }
        if v5 && plan.aliases {
            client.alias_maximum = rng.below(4) as u16;
        }
        if plan.keep_alive && rng.percent(50) {
            client.keep_alive_s = rng.range(1, 5) as u16;
        }
        if plan.groups > 0 && rng.percent(60 + plan.groups * 4) {
            client.group = Some(rng.below(2));
        }
        client
    }

    /// The most QoS 1 and 2 messages the broker may have in flight to it.
    pub(crate) fn inflight_limit(&self, broker: u16) -> usize {
        usize::from(self.receive_maximum.unwrap_or(broker))
    }

    /// A packet id nothing is under way with.
    pub(crate) fn free_id(&mut self, rng: &mut Rng) -> u16 {
        if rng.percent(50) {
            // The lowest, so that ids come again as soon as they may.
            self.next_id = 0;
        }
        loop {
            self.next_id = self.next_id % 200 + 1;
            let id = self.next_id;
            let used = self.flows.iter().any(|flow| flow.packet_id == id);
            if !used && !self.asks.contains_key(&id) {
                return id;
            }
        }
    }

    /// The connection is gone, and what belonged to it.
    pub(crate) fn reset_connection(&mut self) {
        self.token = None;
        self.phase = Phase::Off;
        self.rx.clear();
        self.aliases_out.clear();
        self.aliases_in.clear();
        self.pubacks.clear();
        self.pubrecs.clear();
        self.unconfirmed.clear();
        self.pings.clear();
        self.asks.clear();
        self.open.clear();
        self.acks.clear();
        if std::mem::take(&mut self.broker_crashed) {
            // The store knows packet ids of QoS 1 only where their clients were away.
            self.inflight.retain(|_, (_, qos)| *qos == QoS::ExactlyOnce);
        }
    }

    /// The session is a new one: nothing is left of the other.
    pub(crate) fn reset_session(&mut self) {
        self.inflight.clear();
        self.held.clear();
        self.used.clear();
        // What is sent anew at QoS 2 could come twice; at QoS 1 it may.
        self.flows.retain(|flow| flow.qos == QoS::AtLeastOnce);
    }
}
