//! fjall, opened as we need it, and its errors in our words.

use super::journal::{self, Torn};
use super::options::EmbeddedOptions;
use super::place::Place;
use crate::error::{ErrorKind, StoreError};
use fjall::config::PartitioningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// An open database and its keyspaces. Dropping it closes it.
pub(super) struct Engine {
    pub(super) state: Keyspace,
    pub(super) queue: Keyspace,
    pub(super) bodies: Keyspace,
    pub(super) retained: Keyspace,
    db: Database,
    path: PathBuf,
}

impl Engine {
    /// Opens what is there, or starts anew. `torn` learns what was cut off from the journals.
    pub(super) fn open(
        place: &Place,
        options: &EmbeddedOptions,
        torn: &mut Torn,
    ) -> Result<Self, StoreError> {
        journal::mend(place, options.on_damage, torn)?;
        if !place.data().exists() {
            // What fjall was killed while making it does not open again: it gets its name when it
            // is whole.
            drop(Self::open_at(place.begin_first_data()?, options)?);
            place.finish_first_data()?;
        }
        Self::open_at(place.data(), options)
    }

    /// Opens what is at this path.
    pub(super) fn open_at(path: PathBuf, options: &EmbeddedOptions) -> Result<Self, StoreError> {
        guarded(&path, || {
            let db = Database::builder(&path)
                .cache_size(options.cache_bytes)
                .worker_threads(options.threads.max(1))
                .max_journaling_size(options.journal_bytes.max(64 << 20))
                .manual_journal_persist(true)
                .open()?;
            let keyspace = |name: &str| db.keyspace(name, || keyspace_options(options));
            Ok(Self {
                state: keyspace("state")?,
                queue: keyspace("queue")?,
                bodies: keyspace("bodies")?,
                retained: keyspace("retained")?,
                path: path.clone(),
                db,
            })
        })
    }

    /// An empty batch, which is handed to the operating system only, until [`Self::sync`].
    pub(super) fn batch(&self, capacity: usize) -> OwnedWriteBatch {
        let batch = OwnedWriteBatch::with_capacity(self.db.clone(), capacity);
        batch.durability(Some(PersistMode::Buffer))
    }

    pub(super) fn commit(&self, batch: OwnedWriteBatch) -> Result<(), StoreError> {
        guarded(&self.path, || batch.commit())
    }

    /// Syncs what was committed.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        guarded(&self.path, || self.db.persist(PersistMode::SyncAll))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn keyspace(&self, name: &str) -> &Keyspace {
        match name {
            "queue" => &self.queue,
            "bodies" => &self.bodies,
            "retained" => &self.retained,
            _ => &self.state,
        }
    }

    /// Runs something that reads.
    pub(super) fn read<T>(&self, read: impl FnOnce() -> fjall::Result<T>) -> Result<T, StoreError> {
        guarded(&self.path, read)
    }
}

fn keyspace_options(options: &EmbeddedOptions) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .manual_journal_persist(true)
        .max_memtable_size(options.memtable_bytes)
        // The filter of a large table is larger than what a small cache takes, and would be read
        // from disk for every look into it; its parts are not.
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
}

/// Runs a piece of fjall; it panics over some kinds of damage.
pub(super) fn guarded<T>(
    path: &Path,
    run: impl FnOnce() -> fjall::Result<T>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(in_our_words(path, &error)),
        Err(_) => {
            let what = "the storage engine gave up over what stands there";
            Err(StoreError::new(ErrorKind::Damaged, path, what))
        }
    }
}

fn in_our_words(path: &Path, error: &fjall::Error) -> StoreError {
    let error_of = |kind, what: String| StoreError::new(kind, path, what);
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            let kind = match error.kind() {
                // A file that has to be there, or has to be longer.
                io::ErrorKind::NotFound
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::InvalidData => ErrorKind::Damaged,
                _ => crate::error::io_kind(error),
            };
            error_of(kind, format!("the storage engine reports: {error}"))
        }
        fjall::Error::Locked => error_of(ErrorKind::Locked, "another process has it open".into()),
        fjall::Error::InvalidVersion(Some(version)) if *version as u8 > 3 => {
            error_of(ErrorKind::TooNew, "a later storage engine wrote it".into())
        }
        fjall::Error::Poisoned => {
            let what = "an earlier write failed, and the storage engine refuses more";
            error_of(ErrorKind::Io, what.into())
        }
        error => error_of(ErrorKind::Damaged, format!("the storage engine reports: {error:?}")),
    }
}
