//! The thread that owns a store, and group commit.
//!
//! Workers submit their batches and go on. While one group is on its way to the disk, the next one
//! gathers; so the more there is to do, the more changes share one fsync.
//! ```text
//!  worker 0 ─┐                     ┌─ compact ─ commit ─┐
//!  worker 1 ─┼─► pending ──group──►│                    ├─► Stored{turn} to each worker
//!  worker 2 ─┘                     └─ fetches ──────────┘   Fetched to those who asked
//! ```

pub(crate) mod compact;
mod run;
mod status;
#[cfg(test)]
mod tests;

pub use status::{Notice, Status};

use crate::error::{ErrorKind, StoreError};
use crate::ops::{Batch, Cause, EntryNo, SessionNo, StoreOp, StoredDelivery, StoredSession};
use crate::store::{Store, Usage};
use mogi_core::Wait;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// What a change costs in memory besides its message, in bytes.
const OP_BYTES: u64 = 64;

/// How long changes nobody waits for may wait for others: most of those that say a message was
/// delivered make up for one that says it was enqueued.
pub(crate) const LAZY: Duration = Duration::from_millis(50);

/// Bytes of changes from which on they wait no longer.
pub(crate) const LAZY_BYTES: u64 = 4 << 20;

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was submitted up to this turn is durable.
    Stored {
        /// The turn.
        turn: u64,
    },
    /// What was submitted with this turn is durable, though something before is not. Only stores of
    /// which parts may fail tell this.
    StoredOne {
        /// The turn.
        turn: u64,
    },
    /// Messages that were asked for. What is missing is not there any more.
    Fetched {
        /// As it was given with the question.
        token: u64,
        /// The session.
        session: SessionNo,
        /// Its messages, by rising number.
        entries: Vec<(EntryNo, StoredDelivery)>,
    },
    /// A client id that was claimed. Only stores that nodes share tell this, and the next.
    Claimed {
        /// As it was given with the question.
        token: u64,
        /// What there is of the client.
        claimed: Box<crate::redis::Claimed>,
    },
    /// A session as the store has it, where several nodes share it.
    Read {
        /// As it was given with the question.
        token: u64,
        /// The session, with what waits by its numbers.
        session: Option<Box<StoredSession>>,
    },
    /// Another node has claimed a session: a change of that turn which others follow from was
    /// refused, and they were not written. It is told before the turn is.
    NotStored {
        /// The turn.
        turn: u64,
        /// The session.
        session: SessionNo,
        /// What was refused.
        cause: Cause,
    },
    /// Another node has claimed the client id: what was changed here was refused, and the client
    /// is to be dropped. The worker it is told to is `u16::MAX`: whoever owns the client id.
    Fenced {
        /// The session; [`SessionNo::NONE`] where only a will was changed.
        session: SessionNo,
        /// The client id.
        client: Arc<str>,
        /// The epoch it was changed under.
        epoch: u64,
    },
}

/// Where answers go: the worker, and what it is told. It is called on the committer's thread.
pub type OnAnswer = Box<dyn Fn(u16, Answer) + Send>;

/// Where notices go.
pub type OnNotice = Box<dyn Fn(Notice) + Send>;

/// Makes batches durable on a thread of its own.
pub struct Committer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    pending: Mutex<Pending>,
    wake: Condvar,
    /// Bytes and changes submitted and not yet durable.
    bytes: AtomicU64,
    ops: AtomicU64,
    status: Mutex<(Status, Usage)>,
}

/// What the thread has not taken yet. The caller bounds it: see [`Committer::pending_bytes`].
#[derive(Default)]
struct Pending {
    batches: Vec<Batch>,
    /// The last turn of each worker that submitted something.
    turns: Vec<(u16, u64)>,
    fetches: Vec<Fetch>,
    bytes: u64,
    ops: u64,
    /// Since when there are batches.
    since: Option<Instant>,
    /// Who waits for them.
    wait: Wait,
    sleeping: bool,
    closing: bool,
}

struct Fetch {
    worker: u16,
    token: u64,
    session: SessionNo,
    entries: Vec<EntryNo>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(
        store: Box<dyn Store>,
        on_answer: OnAnswer,
        on_notice: OnNotice,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            wake: Condvar::new(),
            bytes: AtomicU64::new(0),
            ops: AtomicU64::new(0),
            status: Mutex::default(),
        });
        let of_thread = shared.clone();
        let thread = Builder::new()
            .name("store".to_owned())
            .spawn(move || run::Runner::new(of_thread, store, on_answer, on_notice).run())
            .map_err(|error| StoreError::io(Path::new("store"), "start a thread", &error))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Hands over the changes of a worker's turn. Turns of one worker rise. If somebody waits for
    /// them, the answer is [`Answer::Stored`] for this turn or a later one of the worker. Else
    /// there is none, and the changes may wait a little for others.
    pub fn submit(&self, worker: u16, turn: u64, batch: Batch, wait: Wait) {
        let (bytes, ops) = (batch.iter().map(bytes_of).sum(), batch.len() as u64);
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.ops.fetch_add(ops, Ordering::Relaxed);
        self.push(|pending| {
            if !batch.is_empty() {
                pending.batches.push(batch);
            }
            pending.bytes += bytes;
            pending.ops += ops;
            let first = pending.since.is_none();
            if first {
                pending.since = Some(Instant::now());
            }
            if wait == Wait::Nobody {
                // The thread has to look once, to know when these are due.
                return first || pending.bytes >= LAZY_BYTES;
            }
            pending.wait = pending.wait.max(wait);
            match pending.turns.iter_mut().find(|(known, _)| *known == worker) {
                Some((_, last)) => *last = turn,
                None => pending.turns.push((worker, turn)),
            }
            true
        });
    }

    /// Asks for messages. The answer sees all that was submitted before, by any worker.
    pub fn fetch(&self, worker: u16, token: u64, session: SessionNo, entries: Vec<EntryNo>) {
        let fetch = Fetch { worker, token, session, entries };
        self.push(|pending| {
            pending.fetches.push(fetch);
            true
        });
    }

    /// About how many bytes of changes are not durable yet. Who accepts messages stops doing so
    /// where this gets too much.
    pub fn pending_bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        let status = self.shared.status().0.clone();
        let pending_ops = self.shared.ops.load(Ordering::Relaxed);
        Status { pending_ops, pending_bytes: self.pending_bytes(), ..status }
    }

    /// What the store holds, as of some seconds ago at most while there is work.
    pub fn usage(&self) -> Usage {
        self.shared.status().1
    }

    /// Commits what is pending, closes the store and ends the thread. If the store does not take
    /// it, gives up after some seconds.
    ///
    /// # Errors
    /// If something could not be made durable.
    pub fn close(&self) -> Result<(), StoreError> {
        self.end();
        match self.shared.ops.load(Ordering::Relaxed) {
            0 => Ok(()),
            ops => {
                let error = self.shared.status().0.last_error.clone();
                let unknown = || StoreError::new(ErrorKind::Io, Path::new("store"), "it ended");
                let mut error = error.unwrap_or_else(unknown);
                error.what = format!("{ops} changes were not made durable: {}", error.what);
                Err(error)
            }
        }
    }

    fn end(&self) {
        self.push(|pending| {
            pending.closing = true;
            true
        });
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // If it panicked, what it did not commit is still counted.
            let _ = thread.join();
        }
    }

    /// Adds something; `add` says whether the thread is to look at it.
    fn push(&self, add: impl FnOnce(&mut Pending) -> bool) {
        let mut pending = self.shared.pending();
        let wake = add(&mut pending) && std::mem::take(&mut pending.sleeping);
        drop(pending);
        if wake {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> MutexGuard<'_, (Status, Usage)> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    const fn is_empty(&self) -> bool {
        self.since.is_none() && self.fetches.is_empty()
    }

    /// How long what is there may wait; zero: somebody waits for it.
    fn patience(&self) -> Option<Duration> {
        let urgent = self.closing || !self.fetches.is_empty();
        let urgent = urgent || !matches!(self.wait, Wait::Nobody);
        if urgent || self.bytes >= LAZY_BYTES {
            return Some(Duration::ZERO);
        }
        self.since.map(|since| LAZY.saturating_sub(since.elapsed()))
    }
}

pub(crate) fn bytes_of(op: &StoreOp) -> u64 {
    let len = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    let bytes = match op {
        StoreOp::Enqueued { delivery, .. } => delivery.message.weight(),
        StoreOp::Retained { message, .. } => message.weight(),
        StoreOp::RetainedEnd { topic, .. } => topic.len(),
        StoreOp::WillSet { client, will } => client.len() + will.message.weight(),
        StoreOp::WillEnd { client } | StoreOp::WillTaken { client, .. } => client.len(),
        StoreOp::SessionSet { record, .. } => {
            record.client.len() + len(&record.username) + len(&record.mount)
        }
        StoreOp::SubscriptionSet { subscription, .. } => subscription.filter.len(),
        StoreOp::SubscriptionEnd { filter, .. } => filter.len(),
        StoreOp::SessionEnd { .. }
        | StoreOp::Assigned { .. }
        | StoreOp::Released { .. }
        | StoreOp::Delivered { .. }
        | StoreOp::HandedOver { .. }
        | StoreOp::Received { .. }
        | StoreOp::ReceivedEnd { .. } => 0,
    };
    OP_BYTES + bytes as u64
}
