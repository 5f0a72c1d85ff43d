//! Mailboxes: batches, sockets and orders for a worker, swapped out whole, never held.

use crate::access::{Judge, Refusal};
use mio::Waker;
use mio::net::TcpStream;
use mogi_core::store::StoredDelivery;
use mogi_core::{EntryNo, Rights};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

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
    /// A password was checked: whose, and what the client logged in with, or why it may not.
    Verified { place: u32, serial: u64, login: Result<u64, Refusal> },
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
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: u16,
    pub(crate) address: String,
    pub(crate) client_id: String,
    pub(crate) assigned: bool,
    pub(crate) login: u64,
    /// The CONNECT packet, and what came behind it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) connect_len: usize,
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
