//! A client's own state: what it was promised, what it owes.

use crate::rng::Rng;
use mogi_codec::{PacketKind, QoS, Version};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How far it got with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Off,
    /// CONNECT sent.
    Greeting,
    On,
}

/// A message on its way to the nodes.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) packet_id: u16,
    pub(crate) message: u32,
    pub(crate) qos: QoS,
    /// PUBREL was sent.
    pub(crate) released: bool,
}

/// A question that is owed an answer: filters, QoS (`None`: UNSUBSCRIBE), when it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) filters: Vec<(String, Option<QoS>)>,
    pub(crate) at: u64,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) version: Version,
    /// Whether its sessions outlive its connections.
    pub(crate) lasting: bool,
    /// Session expiry in seconds, where sessions last.
    pub(crate) expiry_s: u32,
    pub(crate) group: bool,
    pub(crate) site: usize,
    pub(crate) token: Option<u32>,
    pub(crate) phase: Phase,
    pub(crate) rx: Vec<u8>,
    /// Whether a session has been promised to it.
    pub(crate) known: bool,
    /// It asked for a new session, and does not know whether it has it.
    pub(crate) must_clean: bool,
    pub(crate) away_until_ms: u64,
    next_id: u16,
    pub(crate) flows: VecDeque<Flow>,
    pub(crate) questions: BTreeMap<u16, Question>,
    /// QoS 2 ids taken and not released.
    pub(crate) held: BTreeSet<u16>,
    /// Acknowledgements not sent yet.
    pub(crate) acks: VecDeque<(PacketKind, u16)>,
}

impl Client {
    pub(crate) fn new(name: String, version: Version, lasting: bool) -> Self {
        Self {
            name,
            version,
            lasting,
            expiry_s: u32::MAX,
            group: false,
            site: 0,
            token: None,
            phase: Phase::Off,
            rx: Vec::new(),
            known: false,
            must_clean: false,
            away_until_ms: 0,
            next_id: 0,
            flows: VecDeque::new(),
            questions: BTreeMap::new(),
            held: BTreeSet::new(),
            acks: VecDeque::new(),
        }
    }

    pub(crate) fn random(number: usize, rng: &mut Rng) -> Self {
        let version = *rng.pick(&[Version::V311, Version::V5]);
        let lasting = rng.percent(75);
        Self::new(format!("c{number}"), version, lasting)
    }

    /// A packet id nothing is under way with.
    pub(crate) fn free_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id % 200 + 1;
            let id = self.next_id;
            let used = self.flows.iter().any(|flow| flow.packet_id == id);
            if !used && !self.questions.contains_key(&id) {
                return id;
            }
        }
    }

    /// The connection is gone, and what belonged to it.
    pub(crate) fn reset_connection(&mut self) {
        self.token = None;
        self.phase = Phase::Off;
        self.rx.clear();
        self.questions.clear();
        self.acks.clear();
    }
}
