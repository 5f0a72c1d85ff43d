//! What the workers of one process share: interest, retained messages, and a few counts.

use crate::interest::Interest;
use crate::retained::Retained;
use crate::store::{EntryNo, SessionNo};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The shared part of a broker process.
#[derive(Debug)]
pub struct Node {
    /// Which worker wants what.
    pub interest: Interest,
    /// The retained messages.
    pub retained: Retained,
    /// Sessions of all workers, connected or not.
    pub sessions: AtomicUsize,
    /// The last number given to a session, and to an entry.
    last_session: AtomicU64,
    last_entry: AtomicU64,
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
            last_session: AtomicU64::new(0),
            last_entry: AtomicU64::new(0),
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

    /// Forgets everything that was restored so far, because it is about to come again.
    pub fn forget_all(&self) {
        self.interest.forget_all();
        self.retained.forget_all();
        self.sessions.store(0, Ordering::Relaxed);
    }

    /// Continues the numbers of a store: none of those up to these is given again.
    pub fn continue_from(&self, session: SessionNo, entry: EntryNo, retained_version: u64) {
        self.last_session.fetch_max(session.0, Ordering::Relaxed);
        self.last_entry.fetch_max(entry.0, Ordering::Relaxed);
        self.retained.continue_from(retained_version);
    }

    /// A number for a session.
    pub(crate) fn next_session(&self) -> SessionNo {
        SessionNo(self.last_session.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A number for an entry.
    pub(crate) fn next_entry(&self) -> EntryNo {
        EntryNo(self.last_entry.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn hash(&self) -> FixedState {
        self.hash.clone()
    }
}
