//! Whether this node has just woken up: it was stopped, or its host was, for longer than others can
//! be sure of it.
//!
//! What lies in its sockets then may be long outdated: its clients may have gone to another node,
//! and have sent something else there. So nothing is read from the moment it wakes up until it has
//! renewed its lease, or knows that it was taken for dead, and lets go of its clients.
//! ```text
//!  tick … tick … (stopped) … a worker or the next tick sees the gap ─► nothing is read
//!                    the lease was renewed since, or could not be ─► all as before
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often it is noted that the node is awake.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug)]
pub(crate) struct Doze {
    /// How long the lease is, in milliseconds.
    lease_ms: u64,
    /// When the node was last seen awake, in milliseconds since 1970; 0: it has not begun.
    awake_ms: AtomicU64,
    /// Since when it is awake again, without having heard of its lease; 0: it has.
    since_ms: AtomicU64,
}

impl Doze {
    pub(super) const fn new(lease_ms: u64) -> Self {
        let (awake_ms, since_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { lease_ms, awake_ms, since_ms }
    }

    /// The node is awake; for how long it slept, if it just woke up.
    pub(super) fn tick(&self, now_ms: u64) -> Option<Duration> {
        // Earlier than for a worker, which waits for what follows from this.
        let slept_ms = self.gap(now_ms).filter(|gap| *gap > self.lease_ms / 4);
        if slept_ms.is_some() {
            // Before the gap is closed: a worker sees one of both.
            self.since_ms.store(now_ms, Ordering::SeqCst);
        }
        self.awake_ms.store(now_ms, Ordering::SeqCst);
        slept_ms.map(Duration::from_millis)
    }

    /// It was tried to renew the lease by a request of `asked_ms`; whether something waited for it.
    pub(super) fn tried(&self, asked_ms: u64) -> bool {
        let since_ms = self.since_ms.load(Ordering::SeqCst);
        let over = since_ms != 0 && asked_ms >= since_ms;
        if over {
            self.since_ms.store(0, Ordering::SeqCst);
        }
        over
    }

    /// Whether nothing is to be read.
    pub(crate) fn lasts(&self, now_ms: u64) -> bool {
        self.since_ms.load(Ordering::SeqCst) != 0
            || self.gap(now_ms).is_some_and(|gap| gap > self.lease_ms / 2)
    }

    fn gap(&self, now_ms: u64) -> Option<u64> {
        let awake_ms = self.awake_ms.load(Ordering::SeqCst);
        (awake_ms != 0).then(|| now_ms.saturating_sub(awake_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_from_the_gap_until_the_lease_was_tried() {
        let doze = Doze::new(1000);
        assert!(!doze.lasts(5000), "it has not begun");
        assert_eq!(doze.tick(5000), None);
        assert_eq!((doze.tick(5250), doze.lasts(5750)), (None, false));
        assert!(doze.lasts(5751), "a worker sees it first");
        assert_eq!(doze.tick(7000), Some(Duration::from_millis(1750)));
        assert!(doze.lasts(7000) && !doze.tried(6999) && doze.lasts(7000));
        assert!(doze.tried(7000) && !doze.lasts(7001) && !doze.tried(7001));
    }
}
