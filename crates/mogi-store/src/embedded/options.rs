//! How a store on the local disk is opened.

use std::path::PathBuf;
use std::time::Duration;

/// When what was committed is synced to the device (`persistence_sync`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before [`commit`](crate::Store::commit) returns: it survives a power failure.
    Always,
    /// So often. `commit` hands it to the operating system: it survives the end of the process.
    Interval(Duration),
    /// When the operating system likes.
    Off,
}

impl Sync {
    /// How long something written may wait to be synced that nobody waits for.
    pub(super) const fn every(self) -> Option<Duration> {
        match self {
            Self::Always => Some(Duration::from_secs(1)),
            Self::Interval(every) => Some(every),
            Self::Off => None,
        }
    }
}

/// What is done when a store cannot be read (`persistence_on_damage`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// It is renamed, and what can be read of it goes on.
    SetAside,
    /// The start fails.
    Stop,
}

/// Where the store is, and how it behaves. The sizes of the default are those of a small broker.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The directory. It is made if it is not there.
    pub dir: PathBuf,
    /// When data is synced.
    pub sync: Sync,
    /// What to do about damage.
    pub on_damage: OnDamage,
    /// Bytes of memory for blocks that were read.
    pub cache_bytes: u64,
    /// Bytes of new data in memory per keyspace before it is written to a table. A store keeps the
    /// value it was made with.
    pub memtable_bytes: u64,
    /// Bytes of the log before what counts of it is written to tables, or to another file if it is
    /// little. There are two files of this length.
    pub log_bytes: u64,
    /// Bytes of memory for what stands in the log only, before it is written to tables.
    pub young_bytes: usize,
    /// How long something may stand in the log only. What ended is removed from disk after that.
    pub young_max: Duration,
    /// Bytes of journals on disk before tables are written to get rid of them, from 64 MiB.
    pub journal_bytes: u64,
    /// Messages from this weight on, in bytes, are stored once for all sessions of a commit that
    /// get them.
    pub share_from_bytes: usize,
    /// Threads that write and compact tables: more than there are keyspaces. fjall 3.1's threads
    /// queue work for each other and block while that queue is full; one of them has to be free
    /// to empty it, and each keyspace may keep one waiting.
    pub threads: usize,
}

impl EmbeddedOptions {
    /// The defaults of a small broker, in this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            sync: Sync::Always,
            on_damage: OnDamage::SetAside,
            cache_bytes: 4 << 20,
            memtable_bytes: 8 << 20,
            log_bytes: 16 << 20,
            young_bytes: 32 << 20,
            young_max: Duration::from_secs(60),
            journal_bytes: 64 << 20,
            share_from_bytes: 256,
            threads: 5,
        }
    }
}
