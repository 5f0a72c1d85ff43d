//! What every backend does.

use crate::error::StoreError;
use crate::ops::{EntryNo, SessionNo, StoreOp, StoredDelivery, StoredSession, StoredWill};
use mogi_core::Message;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Keeps durable state. Calls block; one thread uses it.
///
/// A session has to be set ([`StoreOp::SessionSet`]) before anything else of it counts.
pub trait Store: Send {
    /// Takes all batches in as one: after a crash all of them are there, or none. Their order is
    /// that of the slice. [`Self::fetch`] sees them from now on; what they say is promised to
    /// nobody before [`Self::sync`].
    ///
    /// # Errors
    /// The same call may be made again; until it succeeds, no other batches should be written.
    fn write(&mut self, batches: &[&[StoreOp]]) -> Result<(), StoreError>;

    /// Makes everything that was written as durable as the store was told to make it.
    ///
    /// # Errors
    /// Nothing is promised then, and what was written may be gone: it is to be written again.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Writes and syncs.
    ///
    /// # Errors
    /// As of these two. The same call may be made again.
    fn commit(&mut self, batches: &[&[StoreOp]]) -> Result<(), StoreError> {
        self.write(batches)?;
        self.sync()
    }

    /// Gives everything back, once, at a start. Sessions come by rising numbers, their flights and
    /// waiting messages by the entries' numbers.
    ///
    /// # Errors
    /// If it cannot be read at all. Single damaged records are skipped and counted.
    fn load(&mut self, visit: &mut dyn FnMut(Loaded)) -> Result<LoadReport, StoreError>;

    /// Appends the session's messages with these numbers to `out`, by rising number. Those that are
    /// not there are left out.
    ///
    /// # Errors
    /// If the store cannot be read; `out` may have some of them then.
    fn fetch(
        &mut self,
        session: SessionNo,
        entries: &[EntryNo],
        out: &mut Vec<(EntryNo, StoredDelivery)>,
    ) -> Result<(), StoreError>;

    /// What it holds.
    fn usage(&self) -> Usage;

    /// Housekeeping in small steps: removes what ended sessions left, syncs what is due. To be
    /// called now and then while there is nothing else to do, and at once again while it returns
    /// `true`.
    ///
    /// # Errors
    /// As of [`Self::commit`].
    fn tick(&mut self) -> Result<bool, StoreError>;

    /// When there will be housekeeping to do though nothing is committed; `None`: never. So an idle
    /// broker sleeps.
    fn next_tick(&self) -> Option<Duration> {
        None
    }
}

/// Something a store gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// First of all: when it last committed, in milliseconds since 1970 and at most half a second
    /// too early; `None`: never.
    Alive {
        /// That time.
        at_ms: Option<u64>,
    },
    /// A session.
    Session(StoredSession),
    /// The retained message of its topic.
    Retained {
        /// The message.
        message: Message,
        /// Its version.
        version: u64,
    },
    /// A client's will.
    Will {
        /// The client id.
        client: Arc<str>,
        /// The will.
        will: StoredWill,
    },
    /// A retained message that ended lately, where several brokers share a store: another one may
    /// have it yet.
    RetainedEnd {
        /// Its topic.
        topic: Arc<str>,
        /// The version of its end.
        version: u64,
    },
    /// A retained message, or the end of one, that followed from what was taken and was left undone
    /// when the broker ended: it is done now, and other brokers have not heard of it.
    Redone(StoreOp),
    /// Damage was found and repaired on the way: what was given so far does not count, and
    /// everything comes once more.
    Anew,
    /// Loading takes a while: how far it is, about once a second.
    Progress(Progress),
}

/// How much was loaded so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Sessions.
    pub sessions: u64,
    /// Messages that wait for their clients or are on their way to them.
    pub entries: u64,
    /// Retained messages.
    pub retained: u64,
}

/// What was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Counts of what is there.
    pub loaded: Progress,
    /// Subscriptions of all sessions.
    pub subscriptions: u64,
    /// Wills.
    pub wills: u64,
    /// The greatest session number ever used; 0: none.
    pub last_session: SessionNo,
    /// The greatest entry number ever used; 0: none.
    pub last_entry: EntryNo,
    /// The greatest version of a retained message ever used; 0: none.
    pub last_version: u64,
    /// When it last committed, in milliseconds since 1970 and at most half a second too early;
    /// `None`: never.
    pub alive_at_ms: Option<u64>,
    /// What was damaged.
    pub damage: Damage,
}

/// What could not be read, and where it was put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Records that were skipped.
    pub records: u64,
    /// Bytes at the end of a journal that are no whole batch. After a power failure that is no
    /// damage: nothing in them was acknowledged (unless `sync` is not `Always`).
    pub torn_bytes: u64,
    /// Bytes in a journal behind a damaged batch, which are lost with it.
    pub lost_journal_bytes: u64,
    /// Files and folders that hold what was set aside.
    pub set_aside: Vec<PathBuf>,
    /// The whole store could not be opened, and a new one was started.
    pub started_anew: bool,
    /// What was found, for people; no more than a hundred of it.
    pub found: Vec<String>,
}

/// Findings that are put into words.
const FOUND_MAX: usize = 100;

impl Damage {
    /// Whether something that had been acknowledged may be missing.
    pub fn any(&self) -> bool {
        self.records > 0 || self.lost_journal_bytes > 0 || self.started_anew
    }

    /// Takes down one more finding.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.found.len() < FOUND_MAX {
            self.found.push(what());
        }
    }
}

/// What a store holds, as far as it is cheap to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk, as the file system counts them.
    pub disk_bytes: u64,
    /// Sessions.
    pub sessions: u64,
    /// Retained messages.
    pub retained: u64,
    /// Entries with a packet id.
    pub flights: u64,
    /// Messages stored once for several entries.
    pub bodies: u64,
    /// Ended sessions whose messages are not removed yet.
    pub ending: u64,
}
