//! What the workers of one process share: interest, retained messages, and a few counts.

use crate::interest::Interest;
use crate::retained::Retained;
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::sync::atomic::AtomicUsize;

/// The shared part of a broker process.
#[derive(Debug)]
pub struct Node {
    /// Which worker wants what.
    pub interest: Interest,
    /// The retained messages.
    pub retained: Retained,
    /// Sessions of all workers, connected or not.
    pub sessions: AtomicUsize,
    workers: u16,
    seed: u64,
    hash: FixedState,
}

impl Node {
    /// A node of that many workers, 1 to [`MAX_PEERS`](crate::interest::MAX_PEERS). `seed` makes
    /// hash tables unpredictable to those who choose topics and client ids.
    pub fn new(workers: u16, seed: u64) -> Self {
        debug_assert!((1..=crate::interest::MAX_PEERS as u16).contains(&workers));
        Self {
            interest: Interest::new(seed),
            retained: Retained::new(seed),
            sessions: AtomicUsize::new(0),
            workers: workers.max(1),
            seed,
            hash: FixedState::with_seed(seed),
        }
    }

    /// The worker that owns a client id.
    pub fn owner(&self, client_id: &str) -> u16 {
        if self.workers == 1 {
            return 0;
        }
        (self.hash.hash_one(client_id.as_bytes()) % u64::from(self.workers)) as u16
    }

    /// How many workers there are.
    pub const fn workers(&self) -> u16 {
        self.workers
    }

    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn hash(&self) -> FixedState {
        self.hash.clone()
    }
}
