//! What is to go to one node, and what it has not confirmed yet.
//!
//! ```text
//!  workers ──push──► waiting ──take──► sent, kept until PUBACK ──► confirmed
//! ```

use super::frame::{self, Kind};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Bytes that are sent before the first of them is confirmed.
const WINDOW_BYTES: usize = 16 << 20;

/// Frames to a node.
#[derive(Debug)]
pub(crate) struct LinkQueue {
    inner: Mutex<Inner>,
    /// Rings when there is something to send.
    pub(super) bell: Notify,
    /// Changes of interest the node knows of.
    known: AtomicU64,
    /// Changes of rights the node has in force.
    rights: AtomicU64,
    /// Batches of messages the node has, or will never get.
    taken: AtomicU64,
    /// Since when there is no link; `None`: there is one.
    down: Mutex<Option<Instant>>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<(Kind, Vec<u8>)>,
    sent: VecDeque<Sent>,
    waiting_bytes: usize,
    sent_bytes: usize,
    seq: u64,
    /// Something was dropped: the node is to be told.
    gap: bool,
    /// Changes of rights, and whether the node is yet to be told of one.
    rights: u64,
    untold: bool,
    dropped: u64,
    /// Somebody waits until the node has taken all messages.
    asked: bool,
    /// Batches of messages that came so far, and those of them that were sent.
    pushed: u64,
    passed_on: u64,
    /// The start of the node that all of this is for.
    incarnation: Option<u64>,
}

#[derive(Debug)]
struct Sent {
    seq: u64,
    /// As a packet.
    bytes: Vec<u8>,
    /// Changes of interest the node knows of once it has this.
    tells: Option<u64>,
    /// Changes of rights the node has in force then.
    rights: u64,
    /// Batches of messages the node has then.
    passed_on: u64,
}

impl LinkQueue {
    pub(super) fn new(limit: usize) -> Self {
        let (inner, bell) = (Mutex::default(), Notify::new());
        let down = Mutex::new(Some(Instant::now()));
        let (known, rights, taken) = Default::default();
        Self { inner, bell, known, rights, taken, down, limit }
    }

    /// Adds messages. Where too many wait they are dropped, and the node is told that there is a
    /// gap: what is in the store it will find there.
    pub(super) fn push(&self, bytes: Vec<u8>) {
        let mut inner = self.inner();
        if inner.waiting_bytes + bytes.len() > self.limit {
            inner.gap = true;
            inner.dropped += 1;
            return;
        }
        inner.waiting_bytes += bytes.len();
        inner.pushed += 1;
        let ring = inner.waiting.is_empty();
        inner.waiting.push_back((Kind::Messages, bytes));
        drop(inner);
        if ring {
            self.bell.notify_one();
        }
    }

    /// Something is in the store that no message tells of.
    pub(super) fn push_gap(&self) {
        self.inner().gap = true;
        self.bell.notify_one();
    }

    /// Rights have changed in the store: which change it is. The node hears of it before messages
    /// that wait.
    pub(super) fn push_rights(&self) -> u64 {
        let mut inner = self.inner();
        inner.rights += 1;
        inner.untold = true;
        let change = inner.rights;
        drop(inner);
        self.bell.notify_one();
        change
    }

    /// Whether the node has that change of rights in force.
    pub(super) fn has_rights(&self, change: u64) -> bool {
        self.rights.load(Ordering::Acquire) >= change
    }

    /// The next packets to write, within the window. `changes`: changes of interest to go before
    /// them, and how many the node knows of then.
    pub(super) fn take(&self, changes: Option<(Vec<u8>, u64)>, out: &mut Vec<u8>) {
        let mut inner = self.inner();
        if let Some((frame, seq)) = changes {
            inner.send(Kind::Changes, &frame, Some(seq), out);
        }
        if std::mem::take(&mut inner.gap) {
            inner.send(Kind::Gap, &[], None, out);
        }
        if std::mem::take(&mut inner.untold) {
            inner.send(Kind::Rights, &[], None, out);
        }
        while inner.sent_bytes < WINDOW_BYTES
            && let Some((kind, bytes)) = inner.waiting.pop_front()
        {
            inner.waiting_bytes -= bytes.len();
            inner.passed_on += 1;
            inner.send(kind, &bytes, None, out);
        }
        if inner.waiting.is_empty() && std::mem::take(&mut inner.asked) {
            inner.send(Kind::Ask, &[], None, out);
        }
    }

    /// The node has the frame with this packet id, and all before it; whether there is room in the
    /// window again, or it knows of more changes.
    pub(super) fn acknowledged(&self, packet_id: u16) -> bool {
        let mut inner = self.inner();
        let Some(at) = inner.sent.iter().position(|sent| frame::packet_id(sent.seq) == packet_id)
        else {
            return false;
        };
        let full = inner.sent_bytes >= WINDOW_BYTES;
        let mut tells = None;
        for sent in inner.sent.drain(..=at).collect::<Vec<_>>() {
            inner.sent_bytes -= sent.bytes.len();
            tells = sent.tells.or(tells);
            self.rights.fetch_max(sent.rights, Ordering::Release);
            self.taken.fetch_max(sent.passed_on, Ordering::Release);
        }
        if let Some(seq) = tells {
            self.known.fetch_max(seq, Ordering::Release);
        }
        if full && inner.sent_bytes < WINDOW_BYTES {
            self.bell.notify_one();
        }
        tells.is_some()
    }

    /// The node has the frame with this packet id, and all before it, and is yet to confirm it.
    pub(super) fn took(&self, packet_id: u16) {
        let inner = self.inner();
        let found = inner.sent.iter().find(|sent| frame::packet_id(sent.seq) == packet_id);
        if let Some(sent) = found {
            self.taken.fetch_max(sent.passed_on, Ordering::Release);
        }
    }

    /// Batches of messages that came so far. The node is asked to say at once when it has them.
    pub(super) fn ask(&self) -> u64 {
        let mut inner = self.inner();
        let pushed = inner.pushed;
        if !self.has_taken(pushed) {
            inner.asked = true;
            drop(inner);
            self.bell.notify_one();
        }
        pushed
    }

    /// Whether the node has the first so many batches of messages, or will never get them.
    pub(super) fn has_taken(&self, batches: u64) -> bool {
        self.taken.load(Ordering::Acquire) >= batches
    }

    /// Appends what was sent and not confirmed, to be sent again.
    pub(super) fn again(&self, out: &mut Vec<u8>) {
        self.inner().sent.iter().for_each(|sent| out.extend_from_slice(&sent.bytes));
    }

    /// From this start of the node on: if it is another one than before, nothing of before is for
    /// it. Whichever of the two links between the nodes comes first begins; what was taken in
    /// since then is for its subscribers, though there is no link to them yet.
    pub(super) fn begin(&self, incarnation: u64) {
        let mut inner = self.inner();
        if inner.incarnation != Some(incarnation) {
            let Inner { seq, dropped, rights, pushed, .. } = *inner;
            let (incarnation, passed_on) = (Some(incarnation), pushed);
            self.taken.fetch_max(pushed, Ordering::Release);
            // Between its look into the store and this it may have missed something.
            let (gap, untold) = (true, rights > 0);
            *inner = Inner {
                seq,
                dropped,
                rights,
                pushed,
                passed_on,
                untold,
                incarnation,
                gap,
                ..Inner::default()
            };
        }
    }

    /// Changes of interest the node knows of.
    pub(super) fn known(&self) -> u64 {
        self.known.load(Ordering::Acquire)
    }

    /// Whether there is a link from now on.
    pub(super) fn set_up(&self, up: bool) {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        *down = if up { None } else { Some(down.unwrap_or_else(Instant::now)) };
    }

    /// Whether there has been no link for that long.
    pub(super) fn is_lost(&self, after: Duration) -> bool {
        let down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        down.is_some_and(|since| since.elapsed() > after)
    }

    /// Bytes that wait, and batches that were dropped.
    pub(crate) fn backlog(&self) -> (usize, u64) {
        let inner = self.inner();
        (inner.waiting_bytes + inner.sent_bytes, inner.dropped)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn send(&mut self, kind: Kind, frame: &[u8], tells: Option<u64>, out: &mut Vec<u8>) {
        self.seq += 1;
        let mut bytes = Vec::with_capacity(frame.len() + 32);
        frame::put(kind, self.seq, frame, &mut bytes);
        out.extend_from_slice(&bytes);
        self.sent_bytes += bytes.len();
        let rights = if kind == Kind::Rights { self.rights } else { 0 };
        let (seq, passed_on) = (self.seq, self.passed_on);
        self.sent.push_back(Sent { seq, bytes, tells, rights, passed_on });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &LinkQueue) -> Vec<(Kind, Vec<u8>)> {
        let mut out = Vec::new();
        queue.take(None, &mut out);
        let mut kinds = Vec::new();
        let mut rest = &out[..];
        while let Some((frame::Arrived::Frame(Some(kind), _, bytes), len)) =
            frame::parse(rest).unwrap()
        {
            kinds.push((kind, bytes.to_vec()));
            rest = &rest[len..];
        }
        kinds
    }

    #[test]
    fn what_came_before_the_link_is_for_the_node_that_wanted_it() {
        let queue = LinkQueue::new(1000);
        queue.push(b"for whoever was there before".to_vec());
        queue.begin(7);
        queue.push(b"wanted".to_vec());
        queue.begin(7);
        assert_eq!(taken(&queue), [(Kind::Gap, vec![]), (Kind::Messages, b"wanted".to_vec())]);
        queue.push(b"late".to_vec());
        queue.begin(8);
        assert_eq!(taken(&queue), [(Kind::Gap, vec![])]);
    }

    /// Whoever asks wants to know of messages only, and not when changes are confirmed.
    #[test]
    fn messages_are_taken_before_they_are_confirmed() {
        let queue = LinkQueue::new(1000);
        queue.begin(7);
        let mut out = Vec::new();
        queue.take(Some((b"changes".to_vec(), 1)), &mut out);
        queue.push(b"one".to_vec());
        queue.push(b"two".to_vec());
        let both = queue.inner().pushed;
        assert!(!queue.has_taken(both));
        queue.take(None, &mut out);
        let last = |queue: &LinkQueue| frame::packet_id(queue.inner().seq);
        queue.took(last(&queue) - 1);
        assert!(queue.has_taken(both - 1) && !queue.has_taken(both));
        queue.took(last(&queue));
        assert_eq!((queue.has_taken(both), queue.known()), (true, 0));
        queue.push(b"three".to_vec());
        assert!(!queue.has_taken(queue.inner().pushed));
        queue.begin(8);
        assert!(queue.has_taken(queue.inner().pushed), "nobody waits for it any more");
    }

    /// Messages are confirmed at leisure, but for those somebody waits for.
    #[test]
    fn a_node_is_asked_behind_the_messages() {
        let queue = LinkQueue::new(1000);
        queue.begin(7);
        queue.push(b"one".to_vec());
        assert_eq!(taken(&queue), [(Kind::Gap, vec![]), (Kind::Messages, b"one".to_vec())]);
        queue.push(b"two".to_vec());
        assert_eq!(queue.ask(), 2);
        let two = (Kind::Messages, b"two".to_vec());
        assert_eq!(taken(&queue), [two, (Kind::Ask, vec![])]);
        assert_eq!(taken(&queue), []);
    }

    /// The link it was written to broke before anybody noticed.
    #[test]
    fn what_a_broken_link_took_is_sent_again() {
        let queue = LinkQueue::new(1000);
        queue.begin(7);
        queue.push(b"wanted".to_vec());
        let mut lost = Vec::new();
        queue.take(None, &mut lost);
        queue.begin(7);
        let mut again = Vec::new();
        queue.again(&mut again);
        assert_eq!(again, lost);
    }
}
