//! When to look at a client again.
//!
//! Deadlines are hints: what is due is decided by the client's own fields when the time comes, so a
//! deadline that moved needs no removal here, and one entry serves a connection for a whole keep
//! alive however many packets come in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Why a client is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// Its connection may have been silent for too long.
    KeepAlive,
    /// Its will may be due.
    Will,
    /// Its session may have expired.
    SessionEnd,
    /// Its connection may have been stuck for too long.
    SendTimeout,
}

/// An entry: time, client key and generation, reason.
pub(crate) type Entry = (u64, u32, u32, Due);

/// The timers of a worker.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
}

impl Timers {
    /// Asks for a look at `at_ms`, rounded up to half a second so that many fall together.
    pub(crate) fn add(&mut self, at_ms: u64, client: u32, generation: u32, due: Due) {
        let at_ms = at_ms.checked_next_multiple_of(500).unwrap_or(at_ms);
        self.heap.push(Reverse((at_ms, client, generation, due)));
    }

    /// When the next look is due.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.0)
    }

    /// Takes an entry whose time has come.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<Entry> {
        if self.next_ms()? > now_ms {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
