//! Waiting for all workers.
//!
//! When a session has moved, its new home reads what waits for it once nobody writes to the old one
//! any more. A message that was routed just before the news came may still be on its way into the
//! store. So the news is confirmed only when every worker has ended its turn, and what it decided
//! in it is durable.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Passed by every worker once.
pub(crate) struct Barrier {
    left: AtomicUsize,
    passed: Notify,
    /// Called when all have passed it.
    tell: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Barrier {
    pub(super) fn new(workers: usize) -> Self {
        Self { left: AtomicUsize::new(workers), passed: Notify::new(), tell: None }
    }

    /// One that calls `tell` when all have passed it.
    pub(crate) fn telling(workers: usize, tell: impl Fn() + Send + Sync + 'static) -> Self {
        Self { tell: Some(Box::new(tell)), ..Self::new(workers) }
    }

    /// A worker passes it.
    pub(crate) fn pass(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.passed.notify_one();
            if let Some(tell) = &self.tell {
                tell();
            }
        }
    }

    /// Whether all have passed it.
    pub(crate) fn is_passed(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// Waits until all have.
    pub(super) async fn all_passed(&self) {
        if self.left.load(Ordering::Acquire) > 0 {
            self.passed.notified().await;
        }
    }
}

impl std::fmt::Debug for Barrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Barrier").field("left", &self.left).finish_non_exhaustive()
    }
}
