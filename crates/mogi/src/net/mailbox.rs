//! Mailboxes: batches, sockets and orders for a worker, swapped out whole, never held.

use crate::access::{Judge, Refusal, Welcome};
use crate::cluster::Barrier;
use crate::net::layered::Layered;
use crate::net::stream::{Peer, Stream};
use mio::Waker;
use mogi_core::cluster::roster::Eviction;
use mogi_core::store::{StoredDelivery, StoredSession};
use mogi_core::{BridgeEnd, Cause, CoreConfig, EntryNo, Pass, Rights, SessionNo};
use mogi_store::redis::Claimed;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of batches a mailbox holds before those who fill it stop reading sockets until it is
/// emptied (`peer_buffer_limit`).
pub(crate) const FULL_BYTES: usize = 8 << 20;

/// Something for a worker.
pub(crate) enum Mail {
    /// Messages of another worker.
    Batch { from: u16, bytes: Vec<u8> },
    /// A connection whose client id this worker owns.
    Arrival(Box<Moved>),
    /// The changes of all turns up to this one are durable.
    Stored { turn: u64 },
    /// Messages of the store, and which question they answer.
    Fetched { token: u64, entries: Vec<(EntryNo, StoredDelivery)> },
    /// The changes of that turn are durable, though others before it may not be.
    StoredOne { turn: u64 },
    /// The store refuses the packet id of a QoS 2 message: another node has the publisher.
    NotStored { turn: u64, session: SessionNo, cause: Cause },
    /// The store refuses changes of the client's session, or of its will, under that epoch: another
    /// node has it.
    Fenced(Arc<str>, SessionNo, u64),
    /// Other nodes know of more changes of interest than they did.
    Told,
    /// Nothing more comes for the client's session, which is on its way here, by what the workers
    /// knew before.
    Passed { client: Arc<str> },
    /// To be passed when everything decided so far is in the store.
    Barrier(Arc<Barrier>),
    /// A client is to leave: it is connected elsewhere, or its session lives there.
    Evict(Eviction),
    /// This node was taken for dead: its sessions are not its own any more.
    Disown,
    /// Something may have got lost on its way from another node: the store has it.
    CatchUp,
    /// The same for one client.
    CatchUpOne { client: Arc<str> },
    /// The node the client was connected to is gone, and this one looks after its will.
    AdoptWill { client: Arc<str> },
    /// The client's session is nowhere, and this node looks after it.
    Adopt { client: Arc<str> },
    /// A client id was claimed.
    Claimed { token: u64, claimed: Box<Claimed> },
    /// A session as the store has it.
    Read { token: u64, session: Option<Box<StoredSession>> },
    /// A message of the broker's own that is to be retained: topic and payload.
    Publish { topic: String, payload: Vec<u8> },
    /// A login was looked at: whose, and what it comes in with, or why it may not.
    Verified { place: u32, serial: u64, login: Box<Result<Welcome, Refusal>> },
    /// Somebody has said what a client may do; it is read on.
    Answered { place: u32, key: u32, generation: u32 },
    /// All retained messages of the store are there.
    RetainedLoaded,
    /// Limits and choices that count from now on.
    Config(Arc<CoreConfig>),
    /// Rules have changed: those that count now, and what becomes of sessions, once that is said.
    Rights(Box<(Rights, Option<Judge>)>),
    /// The answer to a request on `$CONTROL/`.
    Tell { key: u32, generation: u32, topic: String, payload: Vec<u8> },
    /// `$SYS` wants to know what is kept.
    Measure,
    /// The broker stops, first part: wills are published while their receivers are still there.
    PublishWills,
    /// The broker stops, second part: everybody is disconnected and the worker ends.
    Stop,
}

/// A connection on its way to the worker that owns its client id.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) stream: Stream,
    pub(crate) layered: Option<Box<Layered>>,
    pub(crate) peer: Peer,
    pub(crate) listener: u16,
    /// The address among whose connections it is counted.
    pub(crate) counted: Option<IpAddr>,
    pub(crate) hello: Hello,
}

/// How a connection has introduced itself.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    /// `IP:PORT` of the peer, for the log.
    pub(crate) address: String,
    pub(crate) client_id: String,
    /// Whether the broker made the client id.
    pub(crate) assigned: bool,
    /// What it comes in with.
    pub(crate) pass: Pass,
    /// The CONNECT packet, and what came behind it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) connect_len: usize,
    /// Whether it is this broker's own end of a bridge.
    pub(crate) bridge: Option<BridgeEnd>,
}

/// A worker's mailbox.
pub(crate) struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    batch_bytes: AtomicUsize,
    /// Whether its owner was woken and has not looked yet.
    rung: AtomicBool,
    /// Whether its owner's loop is run by the thread that runs all of them together.
    together: AtomicBool,
    /// Workers that wait for room, one bit each.
    waiting: AtomicU64,
    waker: Waker,
}

impl Mailbox {
    pub(crate) const fn new(waker: Waker) -> Self {
        Self {
            mail: Mutex::new(Vec::new()),
            batch_bytes: AtomicUsize::new(0),
            rung: AtomicBool::new(false),
            together: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
            waker,
        }
    }

    /// Puts something in and rings. `together`: see [`Self::ring`].
    pub(crate) fn send(&self, mail: Mail, together: bool) {
        if let Mail::Batch { bytes, .. } = &mail {
            self.batch_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        }
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        self.ring(together);
    }

    /// Wakes the owner unless it is awake on account of this mailbox, or is run by the very thread
    /// that rings (`together`), which looks by itself.
    pub(crate) fn ring(&self, together: bool) {
        let rung = self.rung.swap(true, Ordering::AcqRel);
        if rung || together && self.together.load(Ordering::Acquire) {
            return;
        }
        // It fails only when the owner's poll is gone, and then nobody is there to wake.
        let _ = self.waker.wake();
    }

    /// Wakes the owner in any case.
    pub(crate) fn wake(&self) {
        let _ = self.waker.wake();
    }

    /// Whether something was put in since the owner looked last.
    pub(crate) fn has_mail(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Says whether the owner's loop is run together with others. Whoever changes that looks into
    /// the mailbox afterwards.
    pub(crate) fn set_together(&self, together: bool) {
        self.together.store(together, Ordering::Release);
    }

    /// Takes everything out, in the order it came, by swapping with `empty`.
    pub(crate) fn take(&self, empty: &mut Vec<Mail>) {
        debug_assert!(empty.is_empty());
        self.rung.store(false, Ordering::Release);
        std::mem::swap(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner), empty);
    }

    /// Tells that batches of so many bytes were dealt with; the workers to wake because they
    /// waited for that.
    pub(crate) fn dealt_with(&self, bytes: usize) -> u64 {
        let before = self.batch_bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before - bytes <= FULL_BYTES / 2 { self.waiting.swap(0, Ordering::AcqRel) } else { 0 }
    }

    /// Whether another node's messages may come in.
    pub(crate) fn has_room(&self) -> bool {
        self.batch_bytes.load(Ordering::Acquire) <= FULL_BYTES
    }

    /// Whether worker `sender` has to wait for room; it is woken when there is some.
    pub(crate) fn is_full(&self, sender: u16) -> bool {
        if self.batch_bytes.load(Ordering::Acquire) <= FULL_BYTES {
            return false;
        }
        self.waiting.fetch_or(1 << sender, Ordering::AcqRel);
        // Emptied in between? Then nobody would wake us.
        self.batch_bytes.load(Ordering::Acquire) > FULL_BYTES
    }
}
