//! Waiting for all workers.
//!
//! When a session has moved, its new home reads what waits for it once nobody writes to the old one
//! any more. A message that was routed just before the news came may still be on its way into the
//! store. So the news is confirmed only when every worker has ended its turn, and what it decided
//! in it is durable.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Passed by every worker once.
pub(crate) struct Barrier {
    left: AtomicUsize,
    then: Mutex<Option<Then>>,
}

type Then = Box<dyn FnOnce() + Send>;

impl Barrier {
    /// `then` is called when that many workers have passed, by the last of them.
    pub(crate) fn new(workers: usize, then: Then) -> Self {
        Self { left: AtomicUsize::new(workers), then: Mutex::new(Some(then)) }
    }

    /// A worker passes it.
    pub(crate) fn pass(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let then = self.then.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(then) = then {
            then();
        }
    }
}

impl std::fmt::Debug for Barrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Barrier").field("left", &self.left).finish_non_exhaustive()
    }
}
