//! What workers hand their changes to, whatever store is behind it.

use crate::committer::{Committer, Status};
use crate::error::StoreError;
use crate::ops::{Batch, EntryNo, SessionNo};
use crate::store::Usage;
use mogi_core::Wait;

/// Makes batches durable on a thread of its own, and tells the workers.
pub trait Keeper: Send + Sync {
    /// Hands over the changes of a worker's turn. Turns of one worker rise. If somebody waits for
    /// them, there is an answer for this turn or a later one of the worker. Else there need be
    /// none, and the changes may wait a little for others.
    fn submit(&self, worker: u16, turn: u64, batch: Batch, wait: Wait);

    /// Asks for messages. The answer sees all that was submitted before, by any worker.
    fn fetch(&self, worker: u16, token: u64, session: SessionNo, entries: Vec<EntryNo>);

    /// About how many bytes of changes are not durable yet. Who accepts messages stops doing so
    /// where this gets too much.
    fn pending_bytes(&self) -> u64;

    /// How it is doing.
    fn status(&self) -> Status;

    /// What the store holds, as of some seconds ago at most while there is work.
    fn usage(&self) -> Usage;

    /// Commits what is pending, closes the store and ends the thread. If the store does not take
    /// it, gives up after some seconds.
    ///
    /// # Errors
    /// If something could not be made durable.
    fn close(&self) -> Result<(), StoreError>;

    /// The store that several nodes share, if it is one.
    fn cluster(&self) -> Option<&crate::redis::Committer> {
        None
    }
}

impl Keeper for Committer {
    fn submit(&self, worker: u16, turn: u64, batch: Batch, wait: Wait) {
        Self::submit(self, worker, turn, batch, wait);
    }

    fn fetch(&self, worker: u16, token: u64, session: SessionNo, entries: Vec<EntryNo>) {
        Self::fetch(self, worker, token, session, entries);
    }

    fn pending_bytes(&self) -> u64 {
        Self::pending_bytes(self)
    }

    fn status(&self) -> Status {
        Self::status(self)
    }

    fn usage(&self) -> Usage {
        Self::usage(self)
    }

    fn close(&self) -> Result<(), StoreError> {
        Self::close(self)
    }
}
