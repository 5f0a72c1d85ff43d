//! When to look at a client again.
//!
//! Deadlines are hints: what is due is decided by the client's own fields when the time comes, so a
//! deadline that moved needs no change here, and one entry serves a connection for a whole keep
//! alive however many packets come in. A client has one entry per reason at the most: clients that
//! come and go, or get stuck again and again, leave nothing behind that adds up.

use crate::map::Map;
use foldhash::fast::FixedState;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Why a client is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Due {
    /// Its connection may have been silent for too long.
    KeepAlive,
    /// Its will may be due.
    Will,
    /// Its session may have expired.
    SessionEnd,
    /// Its connection may have been stuck for too long.
    SendTimeout,
    /// Its login may be over.
    Login,
}

impl Due {
    const ALL: [Self; 5] =
        [Self::KeepAlive, Self::Will, Self::SessionEnd, Self::SendTimeout, Self::Login];
}

/// An entry: time, client key and generation, reason.
pub(crate) type Entry = (u64, u32, u32, Due);

/// Entries that do not count any more, and are left in the heap.
const STALE: usize = 64;

/// The timers of a worker.
#[derive(Debug)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    /// When each client is looked at for each reason; what the heap says besides is stale.
    armed: Map<(u32, u32, Due), u64>,
}

impl Timers {
    pub(crate) fn new(hash: FixedState) -> Self {
        Self { heap: BinaryHeap::new(), armed: Map::with_hasher(hash) }
    }

    /// Asks for a look at `at_ms` at the latest, rounded up to half a second so that many fall
    /// together. If one is due earlier, that one has to ask again.
    pub(crate) fn add(&mut self, at_ms: u64, client: u32, generation: u32, due: Due) {
        let at_ms = at_ms.checked_next_multiple_of(500).unwrap_or(at_ms);
        let armed = self.armed.entry((client, generation, due));
        let mut earlier = false;
        armed
            .and_modify(|armed| {
                earlier = *armed <= at_ms;
                *armed = at_ms.min(*armed);
            })
            .or_insert(at_ms);
        if earlier {
            return;
        }
        self.heap.push(Reverse((at_ms, client, generation, due)));
        if self.heap.len() > 2 * self.armed.len() + STALE {
            let armed = self.armed.iter();
            let entries = armed.map(|(&(client, generation, due), &at_ms)| {
                Reverse((at_ms, client, generation, due))
            });
            self.heap = entries.collect();
        }
    }

    /// A client is gone.
    pub(crate) fn forget(&mut self, client: u32, generation: u32) {
        for due in Due::ALL {
            self.armed.remove(&(client, generation, due));
        }
    }

    /// When the next look is due.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.0)
    }

    /// Takes an entry whose time has come.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<Entry> {
        while self.next_ms()? <= now_ms {
            let Reverse(entry) = self.heap.pop()?;
            let (at_ms, client, generation, due) = entry;
            let key = (client, generation, due);
            if self.armed.get(&key) == Some(&at_ms) {
                self.armed.remove(&key);
                return Some(entry);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timers() -> Timers {
        Timers::new(FixedState::with_seed(1))
    }

    #[test]
    fn a_client_is_looked_at_once_per_reason_and_at_the_earliest_time() {
        let mut timers = timers();
        for at_ms in [5000, 3000, 4000, 3000, 9000] {
            timers.add(at_ms, 1, 1, Due::Will);
        }
        timers.add(4000, 1, 1, Due::KeepAlive);
        timers.add(4000, 2, 1, Due::Will);
        assert_eq!(timers.pop(2999), None);
        assert_eq!(timers.pop(3000), Some((3000, 1, 1, Due::Will)));
        assert_eq!(timers.pop(3999), None);
        timers.forget(2, 1);
        assert_eq!(timers.pop(u64::MAX), Some((4000, 1, 1, Due::KeepAlive)));
        assert_eq!(timers.pop(u64::MAX), None);
    }

    #[test]
    fn clients_that_come_and_go_leave_nothing_behind() {
        let mut timers = timers();
        for generation in 0..100_000 {
            timers.add(u64::MAX / 2, 7, generation, Due::KeepAlive);
            timers.add(1_000_000 - u64::from(generation), 8, 0, Due::SendTimeout);
            timers.forget(7, generation);
        }
        assert!(timers.heap.len() <= 2 + STALE, "{}", timers.heap.len());
        assert!(timers.armed.len() <= 1);
    }
}
