//! How the committer is doing, for `$SYS`, metrics and the log.

use crate::error::StoreError;
use std::time::SystemTime;

/// Something to tell people, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The store does not take changes: acknowledgements wait until it does.
    Failing {
        /// Why.
        error: StoreError,
    },
    /// A part of the store does not take changes: acknowledgements of what is kept there wait.
    Partly {
        /// Which, and why.
        error: StoreError,
    },
    /// Something to know that nobody has to wait for, such as that one part works again.
    Said {
        /// In words, without a full stop.
        what: String,
    },
    /// It does again.
    Recovered {
        /// How long it did not, in milliseconds.
        after_ms: u64,
    },
    /// Its thread ended although changes were pending.
    Lost {
        /// Changes that were not made durable, and not acknowledged.
        ops: u64,
        /// Why.
        error: StoreError,
    },
}

/// What was done so far, and how it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Groups that were committed. Those of which nothing was left are not counted.
    pub commits: u64,
    /// Changes that were written.
    pub ops_written: u64,
    /// Changes that were not, as later ones of their group made them void.
    pub ops_compacted: u64,
    /// Messages read back.
    pub fetched: u64,
    /// The last thing that went wrong, ever.
    pub last_error: Option<StoreError>,
    /// Since when nothing can be committed.
    pub failing_since: Option<SystemTime>,
    /// Changes that wait.
    pub pending_ops: u64,
    /// About how many bytes they are.
    pub pending_bytes: u64,
}
