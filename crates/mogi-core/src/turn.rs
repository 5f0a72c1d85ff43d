//! The turn in progress: what everything that happens in it shares.

use crate::authority::Rights;
use crate::config::CoreConfig;
use crate::event::{Effects, LogKind, Wait};
use crate::memory::Memory;
use crate::message::{Message, MessageView};
use crate::node::Node;
use crate::output::BufferPool;
use crate::peer::PeerEntry;
use crate::receive::Allowance;
use crate::stats::Stats;
use crate::store::{Batch, StoreOp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bytes appended to connections after which a turn writes them out before it reads on: few enough
/// to stay in the cache…
pub(crate) const SLICE_BYTES: usize = 256 * 1024;

/// …but so many for each connection that has something to write, as a write costs what copying as
/// much does…
pub(crate) const SLICE_BYTES_EACH: usize = 16 * 1024;

/// …and no more than that for all of them.
pub(crate) const SLICE_BYTES_MAX: usize = 8 << 20;

/// Bytes pending on one connection after which the turn writes before it reads on.
pub(crate) const FLUSH_BYTES: usize = 256 * 1024;

/// The state of a turn.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) cfg: Arc<CoreConfig>,
    pub(crate) node: Arc<Node>,
    pub(crate) rights: Rights,
    pub(crate) now_ms: u64,
    /// Counts turns with changes of durable state.
    pub(crate) seq: u64,
    pub(crate) stats: Stats,
    pub(crate) pool: BufferPool,
    pub(crate) effects: Effects,
    pub(crate) ops: Batch,
    /// Whether the packet at hand changed durable state.
    pub(crate) gated: bool,
    /// Where entries for lasting sessions of other workers are put together.
    pub(crate) entries: Vec<PeerEntry>,
    /// The store is behind: those who wait for it are not read.
    pub(crate) store_full: bool,
    /// How much memory there is left.
    pub(crate) memory: Memory,
    /// How much clients may publish until somebody looks again.
    pub(crate) allowance: Allowance,
    /// How much they have since.
    pub(crate) published: Allowance,
    /// What is held back until changes are durable.
    pub(crate) wait: Wait,
    /// Clients with acknowledgements that wait.
    pub(crate) holders: Vec<u32>,
    /// A queue of the client at hand may go on: it is looked at once, after all its packets.
    pub(crate) pump_due: bool,
    /// Turns whose changes are durable.
    pub(crate) done: Done,
    /// How many changes of interest other nodes have to know of before this turn is answered; 0:
    /// none.
    pub(crate) told: u64,
    /// Where messages are put together.
    pub(crate) scratch: Vec<u8>,
    /// Bytes appended since the last flush.
    pub(crate) appended: usize,
    /// Whether some connection has to be written to before anything else is read.
    pub(crate) flush: bool,
}

impl Turn {
    pub(crate) fn new(cfg: Arc<CoreConfig>, node: Arc<Node>) -> Self {
        Self {
            cfg,
            node,
            rights: Rights::default(),
            now_ms: 0,
            seq: 1,
            stats: Stats::default(),
            pool: BufferPool::default(),
            effects: Effects::default(),
            ops: Batch::new(),
            gated: false,
            entries: Vec::new(),
            store_full: false,
            memory: Memory::default(),
            allowance: Allowance::default(),
            published: Allowance { messages: 0, bytes: 0 },
            wait: Wait::Nobody,
            holders: Vec::new(),
            pump_due: false,
            done: Done::default(),
            told: 0,
            scratch: Vec::new(),
            appended: 0,
            flush: false,
        }
    }

    /// Whether the turn has to write before it reads on.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.flush || self.appended >= SLICE_BYTES && self.appended >= self.slice()
    }

    /// Bytes of a slice that goes to as many connections as this one.
    fn slice(&self) -> usize {
        (self.effects.dirty.len() * SLICE_BYTES_EACH).min(SLICE_BYTES_MAX)
    }

    /// What is answered now waits until all other nodes know of the changes of interest so far.
    pub(crate) fn answer_when_told(&mut self, node: &Node) {
        if let Some(cluster) = &node.cluster {
            self.gated = true;
            self.told = cluster.log().seq();
        }
    }

    /// Notes a change of durable state; the packet that caused it is answered once it is durable.
    #[inline]
    pub(crate) fn durable(&mut self, op: impl FnOnce() -> StoreOp) {
        if self.cfg.durable {
            self.ops.push(op());
            self.gated = true;
        }
    }

    /// If the change at `first` is one that others follow from: all changes since then did.
    #[inline]
    pub(crate) fn follow(&mut self, first: usize) {
        let since = self.ops.len().saturating_sub(first + 1);
        if let Some(
            StoreOp::Received { follows, .. }
            | StoreOp::HandedOver { follows, .. }
            | StoreOp::WillTaken { follows, .. },
        ) = self.ops.get_mut(first)
        {
            *follows = since as u32;
        }
    }

    /// Notes a change of durable state that nobody waits for.
    #[inline]
    pub(crate) fn record(&mut self, op: impl FnOnce() -> StoreOp) {
        if self.cfg.durable {
            self.ops.push(op());
        }
    }

    /// Whether lines of that kind are wanted.
    #[inline]
    pub(crate) fn logs(&self, kind: LogKind) -> bool {
        self.cfg.log_mask & kind as u32 != 0
    }

    /// Logs a line if its kind is wanted.
    #[inline]
    pub(crate) fn log(&mut self, kind: LogKind, line: impl FnOnce() -> String) {
        if self.logs(kind) {
            self.effects.logs.push((kind, line()));
        }
    }
}

/// Which turns are durable: all up to one, and some behind it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    up_to: u64,
    beyond: BTreeSet<u64>,
}

impl Done {
    pub(crate) fn up_to(&mut self, turn: u64) {
        self.up_to = self.up_to.max(turn);
        while self.beyond.first().is_some_and(|first| *first <= self.up_to) {
            self.beyond.pop_first();
        }
    }

    pub(crate) fn one(&mut self, turn: u64) {
        if turn > self.up_to {
            self.beyond.insert(turn);
        }
    }

    pub(crate) fn contains(&self, turn: u64) -> bool {
        turn <= self.up_to || self.beyond.contains(&turn)
    }
}

/// The shareable copy of a message, made when the first receiver needs it.
#[derive(Debug, Default)]
pub(crate) struct SharedCopy {
    message: Option<Message>,
    /// Whether the message has but one receiver, which rather has it in its own queue.
    pub(crate) unshared: bool,
}

impl SharedCopy {
    pub(crate) const fn of(message: Message) -> Self {
        Self { message: Some(message), unshared: false }
    }

    /// A copy for a message with so many receivers here.
    pub(crate) const fn for_receivers(count: usize) -> Self {
        Self { message: None, unshared: count == 1 }
    }

    pub(crate) fn get(&mut self, view: &MessageView<'_>, scratch: &mut Vec<u8>) -> Message {
        self.message.get_or_insert_with(|| Message::new(view, scratch)).clone()
    }

    /// Whether the copy was made already.
    pub(crate) const fn is_made(&self) -> bool {
        self.message.is_some()
    }
}
