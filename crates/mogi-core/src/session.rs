//! What a broker remembers of a client: subscriptions, messages on their way, the will.

use crate::authority::{Gate, NO_TABLE};
use crate::idset::IdSet;
use crate::inflight::Inflight;
use crate::paging::Missing;
use crate::pass::Grant;
use crate::queue::Queue;
use crate::seldom::Seldom;
use crate::store::{EntryNo, SessionNo, StoredWaiting};
use crate::subscriptions::Subscriptions;
use mogi_codec::QoS;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// How long a session outlives its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Not at all.
    AtDisconnect,
    /// That many seconds, at least one.
    After(u32),
    /// For ever: 0xFFFFFFFF, or Clean Session 0 of 3.x.
    Never,
}

impl Expiry {
    /// From the property's value (section 3.1.2.11.2).
    pub(crate) const fn from_s(seconds: u32) -> Self {
        match seconds {
            0 => Self::AtDisconnect,
            u32::MAX => Self::Never,
            seconds => Self::After(seconds),
        }
    }

    /// With `persistent_client_expiration` as the upper limit.
    pub(crate) fn capped(self, limit_s: Option<u32>) -> Self {
        match (self, limit_s) {
            (Self::AtDisconnect, _) | (_, None) => self,
            (Self::Never, Some(limit)) => Self::from_s(limit),
            (Self::After(seconds), Some(limit)) => Self::from_s(seconds.min(limit)),
        }
    }

    pub(crate) fn outlives_connection(self) -> bool {
        self != Self::AtDisconnect
    }
}

/// A will message.
#[derive(Debug)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// As they are forwarded.
    pub(crate) properties: Vec<u8>,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) delay_s: u32,
    /// When it is due, once the connection is gone.
    pub(crate) due_at_ms: Option<u64>,
}

/// The state of a client, connected or not ([MQTT-4.1.0-1]).
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) expiry: Expiry,
    pub(crate) username: Option<Arc<str>>,
    /// What stands before its topics and filters in the broker (`mount_point`). The session belongs
    /// there: subscriptions are found by it after the connection is gone.
    pub(crate) mount: Option<Arc<str>>,
    /// Which table of rights counts for it.
    pub(crate) table: u16,
    /// Rights of its own, from its last login; not kept over a restart.
    pub(crate) grant: Option<Arc<dyn Grant>>,
    /// What it was told about its rights.
    pub(crate) gate: Option<Box<Gate>>,
    /// Its number in the store; [`SessionNo::NONE`]: the store does not know it.
    pub(crate) number: SessionNo,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) inflight: Seldom<Inflight>,
    /// QoS 2 packet ids received and not yet released ([MQTT-4.3.3-10]).
    pub(crate) received: Seldom<IdSet>,
    pub(crate) queue: Seldom<Queue>,
    /// Filters whose retained messages are to be fetched, see [`crate::replay`]; `None`: no more.
    #[expect(clippy::box_collection, reason = "nearly all sessions have none: 8 bytes, not 32")]
    pub(crate) replays: Option<Box<VecDeque<Arc<str>>>>,
    pub(crate) will: Option<Box<Will>>,
    /// Whether the store has a will of the client.
    pub(crate) will_stored: bool,
    /// Since when the connection is gone.
    pub(crate) left_at_ms: Option<u64>,
    /// Whether "messages are being dropped" was logged already.
    pub(crate) drop_logged: bool,
    /// Among several nodes: rises when it moves, or its client connects.
    pub(crate) epoch: u64,
    /// Entries with smaller numbers may be of before it came here from another node; 0: it did not.
    pub(crate) since: u64,
    /// What is to be known while its waiting entries are read from the store, and for a while
    /// after.
    pub(crate) catching: Option<Box<Catching>>,
}

/// So that an entry that is read from the store and comes from another node as well comes once.
#[derive(Debug, Default)]
pub(crate) struct Catching {
    /// Entries that ended since the reading began; `None`: it is over.
    pub(crate) ended: Option<BTreeSet<EntryNo>>,
    /// Entries that were read, and may yet come from another node.
    pub(crate) caught: BTreeSet<EntryNo>,
}

impl Session {
    /// An empty one; its queue counts in `queued`.
    pub(crate) fn new(
        expiry: Expiry,
        username: Option<Arc<str>>,
        mount: Option<Arc<str>>,
        queued: &Arc<AtomicU64>,
    ) -> Self {
        Self {
            expiry,
            username,
            mount,
            table: NO_TABLE,
            grant: None,
            gate: None,
            number: SessionNo::NONE,
            subscriptions: Subscriptions::default(),
            inflight: Seldom::default(),
            received: Seldom::default(),
            queue: Seldom::new(Arc::clone(queued)),
            replays: None,
            will: None,
            will_stored: false,
            left_at_ms: None,
            drop_logged: false,
            epoch: 0,
            since: 0,
            catching: None,
        }
    }

    /// When the session ends; only that of an absent client does.
    pub(crate) fn ends_at_ms(&self) -> Option<u64> {
        match self.expiry {
            Expiry::After(seconds) => Some(self.left_at_ms? + u64::from(seconds) * 1000),
            Expiry::AtDisconnect | Expiry::Never => None,
        }
    }

    /// Its client has left: what it may have needed there goes, as far as it is empty.
    pub(crate) fn release(&mut self) {
        self.inflight.release();
        self.received.release();
        self.queue.release();
    }

    /// Notes from now on which entries end.
    pub(crate) fn watch_entries(&mut self) {
        self.catching.get_or_insert_default().ended = Some(BTreeSet::new());
    }

    /// Whether it is noted which entries end.
    pub(crate) fn watches_entries(&self) -> bool {
        self.catching.as_ref().is_some_and(|catching| catching.ended.is_some())
    }

    /// Whether a message that was written down as `entry` elsewhere waits for what is being read
    /// from the store: something before it may have got lost on its way here ([MQTT-4.6.0-5]).
    #[inline]
    pub(crate) fn holds_back(&self, entry: EntryNo) -> bool {
        entry != EntryNo::NONE && self.watches_entries()
    }

    /// Notes the end of an entry.
    #[inline]
    pub(crate) fn entry_ended(&mut self, entry: EntryNo) {
        if let Some(catching) = &mut self.catching
            && let Some(ended) = &mut catching.ended
        {
            ended.insert(entry);
        }
    }

    /// Whether that entry, which comes from another node, is here already.
    pub(crate) fn has_caught(&mut self, entry: EntryNo) -> bool {
        let caught = self.catching.as_mut().map(|catching| &mut catching.caught);
        entry != EntryNo::NONE && caught.is_some_and(|caught| caught.remove(&entry))
    }

    /// Those of `waiting` that are neither known here, nor have ended while the store is read.
    pub(crate) fn missing(&mut self, waiting: Vec<StoredWaiting>) -> Missing {
        let flights = self.inflight.kept();
        let mut known: BTreeSet<EntryNo> = flights.map(|(_, kept)| kept.entry).collect();
        let ended = self.catching.iter().filter_map(|catching| catching.ended.as_ref());
        known.extend(ended.flatten());
        self.queue.missing(&known, waiting)
    }

    /// Its number in the store while it outlives its connection.
    pub(crate) fn number_if_lasting(&self) -> SessionNo {
        if self.expiry.outlives_connection() { self.number } else { SessionNo::NONE }
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_more(&self) -> bool {
        !self.queue.is_empty() || !self.inflight.all_sent() || self.replays.is_some()
    }
}
