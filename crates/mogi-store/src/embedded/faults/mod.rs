//! Disks that fail, and what the store makes of it.

mod disk;
mod tests;

use crate::error::{ErrorKind, StoreError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Makes the engine's part of a checkpoint fail.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    commit: AtomicBool,
    sync: AtomicBool,
    /// Checkpoints that were synced.
    synced: AtomicU64,
}

impl Trouble {
    /// The next checkpoint fails before anything of it is written.
    fn fail_commit(&self) {
        self.0.commit.store(true, Ordering::Relaxed);
    }

    /// The next checkpoint is written, and cannot be synced.
    fn fail_sync(&self) {
        self.0.sync.store(true, Ordering::Relaxed);
    }

    pub(super) fn synced(&self) {
        self.0.synced.fetch_add(1, Ordering::Relaxed);
    }

    fn checkpoints(&self) -> u64 {
        self.0.synced.load(Ordering::Relaxed)
    }

    pub(super) fn before_commit(&self) -> Result<(), StoreError> {
        Self::check(&self.0.commit)
    }

    pub(super) fn before_sync(&self) -> Result<(), StoreError> {
        Self::check(&self.0.sync)
    }

    fn check(flag: &AtomicBool) -> Result<(), StoreError> {
        match flag.swap(false, Ordering::Relaxed) {
            true => Err(StoreError::new(ErrorKind::Io, Path::new("data"), "the test says so")),
            false => Ok(()),
        }
    }
}
