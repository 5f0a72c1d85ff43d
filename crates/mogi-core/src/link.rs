//! The connected half of a client: what ends with the connection.

use crate::encode::Alias;
use crate::map::Map;
use crate::output::Output;
use foldhash::fast::FixedState;
use mogi_codec::{QoS, Version};
use std::collections::VecDeque;
use std::sync::Arc;

/// A connection that got past its CONNECT.
#[derive(Debug)]
pub(crate) struct Link {
    /// The socket, as its owner calls it.
    pub(crate) token: u32,
    pub(crate) version: Version,
    /// Whether the client said that it is a bridge (bit 0x80 of the protocol level).
    pub(crate) bridge: bool,
    /// Whether it is this broker's own end of a bridge.
    pub(crate) own: bool,
    /// Whether CONNACK has left. Until then nothing else may ([MQTT-3.2.0-1]).
    pub(crate) open: bool,
    /// In the turn's list of those with output.
    pub(crate) dirty: bool,
    /// The socket takes no more just now.
    pub(crate) blocked: bool,
    /// Since when, without a byte leaving.
    pub(crate) blocked_since_ms: u64,
    pub(crate) out: Output,
    /// PUBLISH packets in `out`, for the queue limit of QoS 0.
    pub(crate) out_messages: usize,
    /// The last packet while the store was behind changed durable state, though its answer may
    /// wait for nothing.
    pub(crate) writes: bool,
    /// Acknowledgements that wait for a ticket, oldest first: turn and packets.
    pub(crate) held: VecDeque<(u64, Vec<u8>)>,
    /// One and a half keep alives ([MQTT-3.1.2-22]); 0: never.
    pub(crate) idle_limit_ms: u64,
    pub(crate) last_received_ms: u64,
    /// QoS 1 and 2 messages the client takes at once.
    pub(crate) send_maximum: usize,
    /// The largest packet the client takes.
    pub(crate) max_packet_size: usize,
    pub(crate) aliases_in: AliasesIn,
    pub(crate) aliases_out: Option<Box<AliasesOut>>,
    pub(crate) max_qos: QoS,
    /// Whether the client wants reason strings ([MQTT-3.1.2-29]).
    pub(crate) problem_information: bool,
    /// Prefix of every topic and filter of this client.
    pub(crate) mount: Option<Arc<str>>,
    /// `IP:PORT` for the log.
    pub(crate) address: Box<str>,
    /// What the client logged in with.
    pub(crate) login: u64,
    /// When its login ends.
    pub(crate) until_ms: Option<u64>,
    /// The method of its AUTH packets.
    pub(crate) method: Option<Box<str>>,
    /// It authenticates anew.
    pub(crate) exchanging: bool,
    /// Somebody is asked about its next packet.
    pub(crate) asking: bool,
}

impl Link {
    /// Bytes of output and of held acknowledgements.
    pub(crate) fn pending(&self) -> usize {
        self.out.len() + self.held.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }
}

/// Topic aliases the client made; they end with the connection ([MQTT-3.3.2-7]).
#[derive(Debug)]
pub(crate) struct AliasesIn {
    maximum: u16,
    topics: Vec<Option<Arc<str>>>,
}

impl AliasesIn {
    pub(crate) const fn new(maximum: u16) -> Self {
        Self { maximum, topics: Vec::new() }
    }

    /// Whether the client may use that number ([MQTT-3.3.2-9]).
    pub(crate) const fn allows(&self, alias: u16) -> bool {
        alias != 0 && alias <= self.maximum
    }

    pub(crate) fn get(&self, alias: u16) -> Option<Arc<str>> {
        self.topics.get(usize::from(alias))?.clone()
    }

    pub(crate) fn set(&mut self, alias: u16, topic: &str) {
        let at = usize::from(alias);
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        if self.topics[at].as_deref() != Some(topic) {
            self.topics[at] = Some(topic.into());
        }
    }
}

/// Topic aliases the broker made for the client: the first topics get them
/// ([MQTT-3.1.2-26], `max_topic_alias_broker`).
#[derive(Debug)]
pub(crate) struct AliasesOut {
    maximum: u16,
    numbers: Map<Box<[u8]>, u16>,
}

impl AliasesOut {
    pub(crate) fn new(maximum: u16, hash: FixedState) -> Self {
        Self { maximum, numbers: Map::with_hasher(hash) }
    }

    /// The alias to send `topic` with, if it has one or may get one; `room`: whether the packet may
    /// become longer by it.
    pub(crate) fn get(&mut self, topic: &[u8], room: bool) -> Option<Alias> {
        // Even a known alias is longer than the shortest topics.
        if !room && topic.len() < Alias::BYTES_MAX {
            return None;
        }
        if let Some(&number) = self.numbers.get(topic) {
            return Some(Alias { number, known: true });
        }
        if !room || self.numbers.len() >= usize::from(self.maximum) {
            return None;
        }
        let number = self.numbers.len() as u16 + 1;
        self.numbers.insert(topic.into(), number);
        Some(Alias { number, known: false })
    }
}
