//! How much memory there is left (`memory_limit`).
//!
//! What counts is what the process occupies. An allocator does not give back at once what was
//! freed, so once the limit was met it is also looked at what the broker keeps: when that has
//! become clearly less, there is room within what is occupied already.

use super::sys::resident_bytes;
use crate::net::shared::Shared;
use mogi_core::{LogKind, Memory};
use std::sync::atomic::Ordering;

/// How often it is looked.
const INTERVAL_MS: u64 = 200;
/// How often it is told.
const TELL_MS: u64 = 10_000;
/// What a connection is reckoned to need.
const CONNECTION_BYTES: u64 = 16 * 1024;

/// Looks how much memory there is left.
#[derive(Debug, Default)]
pub(super) struct MemoryWatch {
    /// The most that was occupied, and what was kept then, since there was too little.
    highest: Option<(u64, u64)>,
    tell_at_ms: u64,
    look_at_ms: u64,
}

impl MemoryWatch {
    /// Looks, if it is time for that; when to look again, if there is a limit.
    pub(super) fn look(&mut self, shared: &Shared, now_ms: u64) -> Option<u64> {
        let limit = shared.tuning().memory_limit;
        if limit == 0 {
            shared.pressure.set(Memory::Enough, u64::MAX);
            self.highest = None;
            return None;
        }
        if self.look_at_ms > now_ms {
            return Some(self.look_at_ms);
        }
        self.look_at_ms = now_ms + INTERVAL_MS;
        let others = shared.connections.load(Ordering::Relaxed) as u64 * CONNECTION_BYTES;
        let messages = shared.node.kept_bytes();
        let occupied = resident_bytes();
        let memory = self.judge(limit, occupied, messages + others);
        // Much may come until the next look. What was freed is there for it in any case.
        let before = self.highest.map_or(0, |(_, kept)| kept.saturating_sub(others));
        let ceiling = match memory {
            Memory::Full => messages,
            _ => before.max(messages + limit.saturating_sub(occupied)),
        };
        shared.pressure.set(memory, ceiling);
        if memory != Memory::Enough && self.tell_at_ms <= now_ms {
            self.tell_at_ms = now_ms + TELL_MS;
            let line = format!(
                "Warning: {occupied} bytes of memory are in use, memory_limit is {limit}: new \
                 clients are refused until there are less."
            );
            shared.log.log(LogKind::Warning, &line);
        }
        Some(self.look_at_ms)
    }

    fn judge(&mut self, limit: u64, occupied: u64, kept: u64) -> Memory {
        let tight = limit - limit / 10;
        if occupied < tight {
            self.highest = None;
            return Memory::Enough;
        }
        let (most, kept_then) = self.highest.unwrap_or((0, 0));
        // What grows by more than that grows anew.
        if occupied > most + limit / 32 {
            self.highest = Some((occupied, kept));
        } else if kept > kept_then {
            self.highest = Some((most, kept));
        } else if kept < kept_then - kept_then / 5 {
            return Memory::Enough;
        }
        if occupied < limit { Memory::Tight } else { Memory::Full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_counts_even_where_it_was_not_given_back() {
        let mut watch = MemoryWatch::default();
        assert_eq!(watch.judge(1000, 800, 500), Memory::Enough);
        assert_eq!(watch.judge(1000, 950, 600), Memory::Tight);
        assert_eq!(watch.judge(1000, 1100, 700), Memory::Full);
        assert_eq!(watch.judge(1000, 1100, 650), Memory::Full);
        assert_eq!(watch.judge(1000, 1100, 500), Memory::Enough);
        assert_eq!(watch.judge(1000, 1100, 690), Memory::Full);
        assert_eq!(watch.judge(1000, 1100, 500), Memory::Enough);
        assert_eq!(watch.judge(1000, 1200, 500), Memory::Full, "something else grows");
        assert_eq!(watch.judge(1000, 899, 500), Memory::Enough);
    }
}
