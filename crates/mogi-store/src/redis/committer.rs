//! Makes the batches of workers durable in Redis.
//!
//! It has the face of [`crate::committer::Committer`], and no part of a turn waits for slots of
//! others: a turn is done when all its parts are, and workers are told of each.
//! ```text
//!  worker 0 ─┐             ┌─ lanes: a request at a time and slot ─► wire ─► Redis nodes
//!  worker 1 ─┼─► pending ─►│                                          │
//!  worker 2 ─┘             └─ answers ◄──────── replies ◄─────────────┘
//! ```

use super::runner::Runner;
use super::store::RedisStore;
use super::{Claimed, Nodes};
use crate::committer::{Answer, LAZY, LAZY_BYTES, OnNotice, Status, bytes_of};
use crate::error::{ErrorKind, StoreError};
use crate::keeper::Keeper;
use crate::ops::{Batch, EntryNo, SessionNo};
use crate::store::Usage;
use mogi_core::Wait;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Where answers go: the worker, and what it is told. It is called on the committer's thread.
pub use crate::committer::OnAnswer;

/// Makes batches durable in Redis on a thread of its own.
pub struct Committer {
    shared: Arc<Shared>,
    nodes: Nodes,
    place: String,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
pub(super) struct Shared {
    pending: Mutex<Pending>,
    pub(super) wake: Condvar,
    /// Bytes and changes submitted and not yet durable.
    pub(super) bytes: AtomicU64,
    pub(super) ops: AtomicU64,
    /// Client ids this node has claimed and not released.
    pub(super) claims: AtomicU64,
    status: Mutex<(Status, Usage)>,
}

/// What the thread has not taken yet.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) turns: Vec<Submitted>,
    pub(super) questions: Vec<Question>,
    /// Clients this node has nothing to do with any more.
    pub(super) releases: Vec<Arc<str>>,
    pub(super) replies: Vec<(Whose, super::wire::Outcome)>,
    bytes: u64,
    /// Since when there are turns, and who waits for them.
    since: Option<Instant>,
    wait: Wait,
    pub(super) sleeping: bool,
    pub(super) closing: bool,
}

pub(super) struct Submitted {
    pub(super) worker: u16,
    pub(super) turn: u64,
    pub(super) batch: Batch,
    pub(super) wait: Wait,
    pub(super) bytes: u64,
}

pub(super) enum Question {
    Fetch {
        worker: u16,
        token: u64,
        session: SessionNo,
        entries: Vec<EntryNo>,
    },
    Claim {
        worker: u16,
        token: u64,
        client: Arc<str>,
    },
    Read {
        worker: u16,
        token: u64,
        client: Arc<str>,
    },
    /// Behind so many of the turns it is taken with.
    Settle {
        client: Arc<str>,
        behind: usize,
    },
    Learn {
        session: SessionNo,
        client: Arc<str>,
    },
    Forget {
        session: SessionNo,
    },
}

impl Question {
    /// Whether it is to be dealt with before that one of the turns it was taken with.
    pub(super) const fn is_before(&self, turn: usize) -> bool {
        match self {
            Self::Settle { behind, .. } => *behind <= turn,
            _ => false,
        }
    }
}

/// What a reply is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    Lane(u16),
    Freeing(u16),
    Search(u64),
    Claim(u64),
    Marks,
}

impl Committer {
    /// Starts the thread, with a store that was loaded.
    ///
    /// # Errors
    /// If the operating system gives no thread, or Redis does not answer.
    pub fn start(
        store: RedisStore,
        on_answer: OnAnswer,
        on_notice: OnNotice,
    ) -> Result<Self, StoreError> {
        let status = Mutex::new((Status::default(), store.usage));
        let shared = Arc::new(Shared { status, ..Shared::default() });
        store.write_marks(true)?;
        let nodes = store.nodes();
        let place = store.place().to_owned();
        let of_thread = Arc::clone(&shared);
        let thread = Builder::new()
            .name("store".to_owned())
            .spawn(move || Runner::new(of_thread, store, on_answer, on_notice).run())
            .map_err(|error| StoreError::io(Path::new("store"), "start a thread", &error))?;
        Ok(Self { shared, nodes, place, thread: Mutex::new(Some(thread)) })
    }

    /// Asks for a client id: this node is its owner from the answer on, [`Answer::Claimed`].
    /// Changes submitted before are carried out before; those of this session that come later are
    /// made under this claim.
    pub fn claim(&self, worker: u16, token: u64, client: Arc<str>) {
        self.ask(Question::Claim { worker, token, client });
    }

    /// The worker has a claim's answer, and what it had changed until then was submitted: unless
    /// the client was here before, it counts for nothing. What is submitted from now on is changed
    /// under the claim. Until this is called, changes of that slot wait.
    pub fn settle(&self, client: Arc<str>) {
        self.shared.push(|pending| {
            let behind = pending.turns.len();
            pending.questions.push(Question::Settle { client, behind });
            true
        });
    }

    /// Asks for what the store has of a client's session, the messages that wait by their numbers;
    /// [`Answer::Read`]. It sees all changes submitted before.
    pub fn read(&self, worker: u16, token: u64, client: Arc<str>) {
        self.ask(Question::Read { worker, token, client });
    }

    /// This node has nothing to do with the client id any more: its connection ended, and it has no
    /// session. What was handed over before is still written under its claim.
    pub fn release(&self, client: Arc<str>) {
        self.shared.push(|pending| {
            pending.releases.push(client);
            // There is time until the next changes.
            false
        });
    }

    /// How many client ids this node has claimed and not released.
    pub fn claims(&self) -> u64 {
        self.shared.claims.load(Ordering::Relaxed)
    }

    /// A session of another node, for which messages may be enqueued here.
    pub fn learn(&self, session: SessionNo, client: Arc<str>) {
        self.ask(Question::Learn { session, client });
    }

    /// A session of another node is no more: what is enqueued for it here counts for nothing.
    pub fn forget(&self, session: SessionNo) {
        self.ask(Question::Forget { session });
    }

    /// The nodes that use this store; its calls block.
    pub const fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Where it is, without login.
    pub fn place(&self) -> &str {
        &self.place
    }

    fn ask(&self, question: Question) {
        self.shared.push(|pending| {
            pending.questions.push(question);
            true
        });
    }

    fn end(&self) {
        self.shared.push(|pending| {
            pending.closing = true;
            true
        });
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // If it panicked, what it did not commit is still counted.
            let _ = thread.join();
        }
    }
}

impl Keeper for Committer {
    fn submit(&self, worker: u16, turn: u64, batch: Batch, wait: Wait) {
        let (bytes, ops) = (batch.iter().map(bytes_of).sum(), batch.len() as u64);
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.ops.fetch_add(ops, Ordering::Relaxed);
        self.shared.push(|pending| {
            pending.turns.push(Submitted { worker, turn, batch, wait, bytes });
            pending.bytes += bytes;
            let first = pending.since.is_none();
            if first {
                pending.since = Some(Instant::now());
            }
            pending.wait = pending.wait.max(wait);
            // Of the first the thread has to know when it is due.
            wait != Wait::Nobody || first || pending.bytes >= LAZY_BYTES
        });
    }

    fn fetch(&self, worker: u16, token: u64, session: SessionNo, entries: Vec<EntryNo>) {
        self.ask(Question::Fetch { worker, token, session, entries });
    }

    fn pending_bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    fn status(&self) -> Status {
        let status = self.shared.status().0.clone();
        let pending_ops = self.shared.ops.load(Ordering::Relaxed);
        Status { pending_ops, pending_bytes: self.pending_bytes(), ..status }
    }

    fn usage(&self) -> Usage {
        self.shared.status().1
    }

    fn close(&self) -> Result<(), StoreError> {
        self.end();
        match self.shared.ops.load(Ordering::Relaxed) {
            0 => Ok(()),
            ops => {
                let error = self.shared.status().0.last_error.clone();
                let unknown = || {
                    let place = Path::new(&self.place);
                    StoreError::new(ErrorKind::Unreachable, place, "it did not answer in time")
                };
                let mut error = error.unwrap_or_else(unknown);
                error.what = format!("{ops} changes were not made durable: {}", error.what);
                Err(error)
            }
        }
    }

    fn cluster(&self) -> Option<&Self> {
        Some(self)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> MutexGuard<'_, (Status, Usage)> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds something; `add` says whether the thread is to look at it.
    pub(super) fn push(&self, add: impl FnOnce(&mut Pending) -> bool) {
        let mut pending = self.pending();
        let wake = add(&mut pending) && std::mem::take(&mut pending.sleeping);
        drop(pending);
        if wake {
            self.wake.notify_one();
        }
    }
}

impl Pending {
    /// How long turns may wait; zero: somebody waits for them.
    pub(super) fn patience(&self) -> Option<Duration> {
        let since = self.since?;
        if self.closing || self.wait != Wait::Nobody || self.bytes >= LAZY_BYTES {
            return Some(Duration::ZERO);
        }
        Some(LAZY.saturating_sub(since.elapsed()))
    }

    /// Whether something else is there.
    pub(super) const fn has_news(&self) -> bool {
        !self.questions.is_empty() || !self.replies.is_empty()
    }

    /// Takes what is due. What nobody waits for stays; but not if somebody asks.
    pub(super) fn take_due(&mut self) -> Self {
        let due = !self.questions.is_empty() || self.patience() == Some(Duration::ZERO);
        let mut taken = Self {
            questions: std::mem::take(&mut self.questions),
            replies: std::mem::take(&mut self.replies),
            closing: self.closing,
            ..Self::default()
        };
        if due {
            taken.turns = std::mem::take(&mut self.turns);
            taken.releases = std::mem::take(&mut self.releases);
            (self.bytes, self.since, self.wait) = (0, None, Wait::Nobody);
        }
        taken
    }
}

/// A claim's answer.
pub(super) fn claimed(token: u64, claimed: Claimed) -> Answer {
    Answer::Claimed { token, claimed: Box::new(claimed) }
}
