//! Numbers for sessions, entries and versions of retained messages.
//!
//! A broker of its own counts. Brokers that share a store take their numbers from a hybrid clock,
//! so that no two of them give the same and later ones are greater:
//! ```text
//!  | 42 bits  milliseconds since 1970 | 8 bits  the node's slot | 14 bits  count within them |
//! ```
//! A number seen from elsewhere moves the clock on, so what follows from it is greater than it,
//! however wrong this machine's clock is.

use std::sync::atomic::{AtomicU64, Ordering};

const SLOT_SHIFT: u32 = 14;
const MS_SHIFT: u32 = 22;
const COUNT_MAX: u64 = (1 << SLOT_SHIFT) - 1;

/// Gives numbers, each greater than all before.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    last: AtomicU64,
    /// The node's slot, if there are several nodes.
    slot: Option<u8>,
}

impl Numbers {
    pub(crate) const fn new(slot: Option<u8>) -> Self {
        Self { last: AtomicU64::new(0), slot }
    }

    /// The next number at that time.
    #[inline]
    pub(crate) fn next(&self, now_ms: u64) -> u64 {
        let Some(slot) = self.slot else {
            return self.last.fetch_add(1, Ordering::Relaxed) + 1;
        };
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let next = after(last, now_ms, slot);
            let relaxed = Ordering::Relaxed;
            match self.last.compare_exchange_weak(last, next, relaxed, relaxed) {
                Ok(_) => return next,
                Err(now) => last = now,
            }
        }
    }

    /// Whether another node gave that number.
    pub(crate) const fn is_foreign(&self, number: u64) -> bool {
        match self.slot {
            Some(slot) => (number >> SLOT_SHIFT) as u8 != slot,
            None => false,
        }
    }

    /// From now on numbers are greater than that one.
    pub(crate) fn continue_from(&self, number: u64) {
        self.last.fetch_max(number, Ordering::Relaxed);
    }
}

/// The first number of `slot` that is greater than `last`, and not before `now_ms`.
const fn after(last: u64, now_ms: u64, slot: u8) -> u64 {
    let now = first_of(now_ms, slot);
    if now > last {
        return now;
    }
    let (ms, count) = (last >> MS_SHIFT, last & COUNT_MAX);
    let of_slot = (last >> SLOT_SHIFT) as u8;
    if of_slot == slot && count < COUNT_MAX {
        return last + 1;
    }
    let here = first_of(ms, slot);
    if here > last { here } else { first_of(ms + 1, slot) }
}

/// The smallest number of that time, of nodes of a cluster.
pub(crate) const fn numbers_at(now_ms: u64) -> u64 {
    first_of(now_ms, 0)
}

/// The epoch of a claim which the store gave at that time, among those of connections that needed
/// none, which are numbers: it is the last of its millisecond. 0 stays 0.
pub(crate) const fn claim_at(ms: u64) -> u64 {
    if ms == 0 { 0 } else { (ms << MS_SHIFT) | ((1 << MS_SHIFT) - 1) }
}

const fn first_of(ms: u64, slot: u8) -> u64 {
    (ms << MS_SHIFT) | ((slot as u64) << SLOT_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_of_its_own_counts() {
        let numbers = Numbers::new(None);
        numbers.continue_from(41);
        assert_eq!([numbers.next(7), numbers.next(9)], [42, 43]);
    }

    #[test]
    fn numbers_of_several_nodes_rise_and_differ() {
        let nodes: Vec<Numbers> = (0..3).map(|slot| Numbers::new(Some(slot))).collect();
        let mut all = std::collections::BTreeSet::new();
        let mut state = 1u64;
        let mut last = [0; 3];
        for step in 0..100_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 40) as usize % 3;
            // One clock stands still for a while, and overflows its count.
            let number = nodes[at].next(if at == 0 { 1_000 } else { 1_000 + step / 64 });
            assert!(number > last[at] && all.insert(number));
            last[at] = number;
            if state >> 61 == 0 {
                nodes[(at + 1) % 3].continue_from(number);
                last[(at + 1) % 3] = last[(at + 1) % 3].max(number);
            }
        }
    }
}
