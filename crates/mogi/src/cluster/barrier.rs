//! Waiting for all workers.
//!
//! When a session has moved, its new home reads what waits for it once nobody writes to the old one
//! any more. A message that was routed just before the news came may still be on its way into the
//! store. So the news is confirmed only when every worker has ended its turn, and what it decided
//! in it is durable.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Passed by every worker once.
#[derive(Debug)]
pub(crate) struct Barrier {
    left: AtomicUsize,
    passed: Notify,
}

impl Barrier {
    pub(super) fn new(workers: usize) -> Self {
        Self { left: AtomicUsize::new(workers), passed: Notify::new() }
    }

    /// A worker passes it.
    pub(crate) fn pass(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.passed.notify_one();
        }
    }

    /// Waits until all have.
    pub(super) async fn all_passed(&self) {
        if self.left.load(Ordering::Acquire) > 0 {
            self.passed.notified().await;
        }
    }
}
