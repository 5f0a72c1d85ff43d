//! How much of the machine's processors nobody uses, and how much of them this process does.
//!
//! A thread more is worth something only where there is a processor for it. Where there is none,
//! those that feed the broker and its own threads take turns, and messages that cross from one
//! thread to another only cost more.

use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// The shortest time over which it can be told: the system counts in hundredths of a second.
const SPAN: Duration = Duration::from_millis(100);
/// Milliseconds of one count (USER_HZ, proc_stat(5)).
const TICK_MS: u64 = 10;
/// Percent of one processor that has to be free for another thread.
const ROOM: u64 = 70;
/// Percent of one processor below which nothing is free…
const FULL: u64 = 20;
/// …and percent of one that all threads of the process get at the most where one would do as well.
const SCARCE: u64 = 140;
/// Percent of its time a busy thread gets at the most where others compete with it.
const DENIED: u64 = 75;

/// What was used up to one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Headroom {
    at: Instant,
    ticks: Option<Ticks>,
    /// Milliseconds of processor time this process has used, and the thread that watches.
    used_ms: [u64; 2],
}

/// Time of all processors since the system started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    all: u64,
    /// Of those, in which nobody ran, or somebody who lets others go first.
    free: u64,
}

/// What was free and what was used over some time, in percent of one processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// `None`: the system does not say.
    free: Option<u64>,
    own: u64,
    thread: u64,
}

impl Headroom {
    /// Begins to watch.
    pub(crate) fn watch() -> Self {
        let ticks = std::fs::read_to_string("/proc/stat").ok();
        let ticks = ticks.and_then(|text| Ticks::parse(&text));
        let clocks = [ClockId::CLOCK_PROCESS_CPUTIME_ID, ClockId::CLOCK_THREAD_CPUTIME_ID];
        Self { at: Instant::now(), ticks, used_ms: clocks.map(used_ms) }
    }

    /// What was used since; watching begins anew. `None`: it is too early to tell.
    pub(crate) fn usage(&mut self) -> Option<Usage> {
        if self.at.elapsed() < SPAN {
            return None;
        }
        let before = std::mem::replace(self, Self::watch());
        let elapsed_ms = (self.at - before.at).as_millis().max(1) as u64;
        let used =
            |at: usize| self.used_ms[at].saturating_sub(before.used_ms[at]) * 100 / elapsed_ms;
        let free =
            before.ticks.zip(self.ticks).and_then(|(from, to)| to.free_since(from, elapsed_ms));
        Some(Usage { free, own: used(0), thread: used(1) })
    }
}

impl Ticks {
    /// From the first line of `/proc/stat`.
    fn parse(text: &str) -> Option<Self> {
        let fields = text.lines().next()?.strip_prefix("cpu ")?;
        let counts: Vec<u64> = fields.split_whitespace().map_while(|it| it.parse().ok()).collect();
        // What follows is part of the first two.
        let [user, nice, system, idle, iowait, irq, softirq, steal] = *counts.first_chunk()?;
        let free = nice + idle + iowait;
        Some(Self { all: free + user + system + irq + softirq + steal, free })
    }

    /// Percent of one processor that was free; `None` where the counts stand still.
    fn free_since(self, before: Self, elapsed_ms: u64) -> Option<u64> {
        let percent = |to: u64, from: u64| to.saturating_sub(from) * TICK_MS * 100 / elapsed_ms;
        (percent(self.all, before.all) > 50).then(|| percent(self.free, before.free))
    }
}

impl Usage {
    /// Whether there is a processor for another busy thread, as far as the system says.
    pub(crate) fn has_room(self) -> bool {
        self.free.is_none_or(|free| free >= ROOM)
    }

    /// Whether a thread that is busy all the time has to share its processor: then a further one
    /// gets the process a larger share.
    pub(crate) const fn is_denied(self) -> bool {
        self.thread < DENIED
    }

    /// Whether the threads of the process take turns on what one of them could have as well.
    pub(crate) fn is_scarce(self) -> bool {
        self.free.is_some_and(|free| free < FULL) && self.own < SCARCE
    }
}

/// Milliseconds of processor time on that clock.
fn used_ms(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |used| Duration::from(used).as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 20 30 400 50 6 7 8 90 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n";

    #[test]
    fn idle_waiting_and_courteous_time_is_free() {
        assert_eq!(Ticks::parse(STAT), Some(Ticks { all: 621, free: 470 }));
        assert_eq!(Ticks::parse("cpu0 1 2 3 4 5 6 7 8"), None);
        assert_eq!(Ticks::parse("cpu  1 2 3"), None);
        assert_eq!(Ticks::parse(""), None);
    }

    const fn usage(free: Option<u64>, own: u64, thread: u64) -> Usage {
        Usage { free, own, thread }
    }

    #[test]
    fn another_thread_needs_most_of_a_processor() {
        let from = Ticks { all: 1000, free: 500 };
        let free = |ticks: u64| Ticks { all: 1040, free: 500 + ticks }.free_since(from, 200);
        assert_eq!(free(14), Some(70));
        let room = |ticks: u64| usage(free(ticks), 100, 100).has_room();
        assert!(room(14) && !room(13));
    }

    #[test]
    fn where_counts_stand_still_nobody_knows() {
        let from = Ticks { all: 1000, free: 500 };
        let free = from.free_since(from, 200);
        assert_eq!(free, None);
        assert!(usage(free, 100, 100).has_room() && !usage(free, 100, 100).is_scarce());
    }

    #[test]
    fn processors_are_scarce_where_none_is_free_and_others_have_them() {
        assert!(usage(Some(5), 133, 67).is_scarce());
        assert!(!usage(Some(5), 195, 98).is_scarce());
        assert!(!usage(Some(40), 120, 60).is_scarce());
    }

    #[test]
    fn a_busy_thread_that_gets_half_of_a_processor_is_denied_the_rest() {
        assert!(usage(Some(0), 50, 50).is_denied() && !usage(Some(0), 98, 98).is_denied());
    }

    #[test]
    fn what_this_thread_uses_is_counted() {
        let mut headroom = Headroom::watch();
        assert_eq!(headroom.usage(), None, "too early to tell");
        let mut sum = 0u64;
        while headroom.at.elapsed() < SPAN {
            sum = std::hint::black_box(sum.wrapping_mul(3).wrapping_add(1));
        }
        let usage = headroom.usage().expect("long enough");
        assert!(usage.thread > 0 && usage.own >= usage.thread, "{usage:?}");
    }
}
