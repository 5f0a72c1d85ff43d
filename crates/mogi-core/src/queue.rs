//! Messages that wait for their client, or for room in flight.
//!
//! ```text
//!  entries:  [ own ][ shared ][ own ][ own ] …            one small entry per message, in order
//!               │       └──► Message                      many receivers have the same one
//!               ▼
//!  ring:     | message | message | message | …            this client's alone, one after the other
//! ```
//! A message with one receiver goes into the client's ring: no allocation, and reading it back runs
//! through memory in order. A message with many is held once and shared.

use crate::inflight::Delivery;
use crate::message::{Message, MessageView, put_stored, stored_len};
use crate::paging::Paged;
use crate::seldom::Spare;
use crate::store::EntryNo;
use crate::tally::Tally;
use crate::turn::Turn;
use mogi_codec::QoS;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A client's queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    /// Apart, as most queues of a large broker are empty.
    ring: Option<Box<Ring>>,
    bytes: Tally,
    /// Retained messages of a new subscription among them. They are exempt from the queue's
    /// limits, being kept elsewhere anyway, and live messages line up behind them.
    backlog: usize,
    /// QoS 0 messages among them: later ones line up behind them.
    qos0: usize,
    /// What of it is in the store only.
    pub(crate) paged: Option<Box<Paged>>,
    /// The number of the last question to the store; answers to others come too late.
    pub(crate) question: u32,
    /// Messages of groups that are still to come from the store, and how many answers that takes.
    pub(crate) grouped: (BTreeSet<EntryNo>, u32),
    /// Its length, for those who choose among members of a shared group; others have none.
    watched: Option<Arc<AtomicU32>>,
}

#[derive(Debug)]
struct Entry {
    delivery: Delivery,
    /// Bytes in the ring; 0: the message is shared and in `delivery`.
    own_len: u32,
}

impl Spare for Queue {
    /// What its bytes count in.
    type Seed = Arc<AtomicU64>;

    fn nothing() -> &'static Self {
        static NOTHING: Queue = Queue {
            entries: VecDeque::new(),
            ring: None,
            bytes: Tally::NONE,
            backlog: 0,
            qos0: 0,
            paged: None,
            question: 0,
            grouped: (BTreeSet::new(), 0),
            watched: None,
        };
        &NOTHING
    }

    fn make(sum: &Arc<AtomicU64>) -> Self {
        Self { bytes: Tally::of(sum), ..Self::default() }
    }

    fn is_spare(&self) -> bool {
        // An answer to a question may still come, and is to be told from that to another.
        let asked = self.question != 0 || self.grouped.1 != 0;
        self.is_empty() && !asked && self.watched.is_none()
    }
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.paged.is_none()
    }

    /// Messages in memory.
    pub(crate) fn in_memory(&self) -> usize {
        self.entries.len()
    }

    /// Whether some of it is in the store only.
    pub(crate) const fn is_paged(&self) -> bool {
        self.paged.is_some()
    }

    fn paged_len(&self) -> usize {
        self.paged.as_ref().map_or(0, |paged| paged.len())
    }

    /// A count of the messages that wait, kept from now on. Whoever sends one here from another
    /// worker counts it in; [`Self::arrived`] counts it out again.
    pub(crate) fn watched(&mut self) -> Arc<AtomicU32> {
        let waiting = self.entries.len() + self.paged_len();
        let count = || Arc::new(AtomicU32::new(waiting as u32));
        Arc::clone(self.watched.get_or_insert_with(count))
    }

    /// A message that was counted by its sender is here, and counted as what it became.
    pub(crate) fn arrived(&self) {
        self.count_less(1);
    }

    pub(crate) fn count_more(&self, messages: usize) {
        if let Some(watched) = &self.watched {
            watched.fetch_add(messages as u32, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_less(&self, messages: usize) {
        if let Some(watched) = &self.watched {
            watched.fetch_sub(messages as u32, Ordering::Relaxed);
        }
    }

    /// Messages that count against the limits.
    pub(crate) fn counted(&self) -> usize {
        self.entries.len() - self.backlog + self.paged_len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get() + self.paged.as_ref().map_or(0, |paged| paged.bytes())
    }

    /// Whether no more of it is to be in memory, if the store has it as well.
    pub(crate) fn is_long(&self, turn: &Turn) -> bool {
        self.paged.is_some()
            || self.entries.len() >= turn.cfg.queue_window_messages
            || self.bytes.get() >= turn.cfg.queue_window_bytes
    }

    pub(crate) const fn has_backlog(&self) -> bool {
        self.backlog > 0
    }

    /// Whether a QoS 0 message may be sent past the queue without overtaking another
    /// ([MQTT-4.6.0-6]: topics are ordered for each QoS by itself).
    #[inline]
    pub(crate) fn lets_qos0_pass(&self, turn: &Turn) -> bool {
        self.qos0 == 0 && !(turn.cfg.queue_qos0_messages && self.is_paged())
    }

    /// QoS and weight of the oldest message.
    pub(crate) fn front(&self) -> Option<(QoS, usize)> {
        let entry = self.entries.front()?;
        Some((entry.delivery.qos, entry.delivery.weight as usize))
    }

    /// Adds a message that others have as well; it is in `delivery`.
    pub(crate) fn push_shared(&mut self, delivery: Delivery) {
        debug_assert!(delivery.message.is_some());
        self.push_entry(delivery, 0);
    }

    /// Adds a message nobody else has; `delivery` is without it.
    pub(crate) fn push_own(&mut self, delivery: Delivery, view: &MessageView<'_>) {
        debug_assert!(delivery.message.is_none() && delivery.group.is_none());
        let len = stored_len(view);
        put_stored(view, self.ring.get_or_insert_default().room_for(len));
        self.push_entry(delivery, len as u32);
    }

    /// Adds a retained message that answers a SUBSCRIBE.
    pub(crate) fn push_backlog(&mut self, mut delivery: Delivery) {
        delivery.weight = 0;
        self.backlog += 1;
        self.push_entry(delivery, 0);
    }

    /// Takes the oldest message: as a shared one in the delivery, or as bytes in `stored`.
    pub(crate) fn pop(&mut self, stored: &mut Vec<u8>) -> Option<Delivery> {
        let Entry { delivery, own_len } = self.entries.pop_front()?;
        self.forget(&delivery);
        self.count_less(1);
        stored.clear();
        if own_len > 0
            && let Some(ring) = &mut self.ring
        {
            ring.pop(own_len as usize, stored);
        }
        if self.entries.is_empty() {
            self.ring = None;
            if self.entries.capacity() > KEPT_ENTRIES {
                self.entries = VecDeque::new();
            }
        }
        Some(delivery)
    }

    /// Takes out the deliveries of shared groups for which `take` says so.
    pub(crate) fn drain_groups(
        &mut self,
        mut take: impl FnMut(&Delivery) -> bool,
    ) -> Vec<Delivery> {
        let mut taken = Vec::new();
        for entry in std::mem::take(&mut self.entries) {
            // Messages of groups are never in the ring, so the ring stays in order.
            if entry.delivery.group.is_some() && take(&entry.delivery) {
                self.forget(&entry.delivery);
                taken.push(entry.delivery);
            } else {
                self.entries.push_back(entry);
            }
        }
        self.count_less(taken.len());
        taken
    }

    /// Takes out what the store has and may be fetched again.
    pub(crate) fn take_kept(&mut self) -> Vec<Delivery> {
        let mut taken = Vec::new();
        for entry in std::mem::take(&mut self.entries) {
            // What the store has is shared with it, so the ring stays in order.
            let kept = entry.delivery.entry != EntryNo::NONE && entry.own_len == 0;
            if kept && entry.delivery.group.is_none() {
                self.forget(&entry.delivery);
                taken.push(entry.delivery);
            } else {
                self.entries.push_back(entry);
            }
        }
        self.count_less(taken.len());
        taken
    }

    /// The client is gone: the backlog becomes part of the queue as far as `limit` allows (0: any
    /// number), QoS 0 only if `qos0` waits. With `share` no message stays in the ring, so that the
    /// store can have it. How many messages were dropped for the limit.
    pub(crate) fn settle(&mut self, limit: usize, qos0: bool, share: bool) -> u64 {
        if self.backlog == 0 && qos0 && !(share && self.has_own()) {
            return 0;
        }
        self.count_less(self.entries.len());
        let (watched, paged) = (std::mem::take(&mut self.watched), self.paged.take());
        let (question, grouped) = (self.question, std::mem::take(&mut self.grouped));
        let bytes = self.bytes.another();
        let kept = Self { watched, paged, question, grouped, bytes, ..Self::default() };
        let mut old = std::mem::replace(self, kept);
        let mut stored = Vec::new();
        let mut dropped = 0;
        while let Some(mut delivery) = old.pop(&mut stored) {
            if delivery.qos == QoS::AtMostOnce && !qos0 {
                continue;
            }
            let backlog = delivery.weight == 0;
            if backlog && limit != 0 && self.entries.len() >= limit {
                dropped += 1;
                continue;
            }
            let message = match delivery.message.take() {
                Some(message) => message,
                None => Message::from_stored(&stored),
            };
            delivery.weight = message.weight().max(1) as u32;
            delivery.message = Some(message);
            self.push_shared(delivery);
        }
        dropped
    }

    fn has_own(&self) -> bool {
        self.entries.iter().any(|entry| entry.own_len > 0)
    }

    /// The numbers of the messages in memory that the store knows.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = EntryNo> {
        let numbers = self.entries.iter().map(|entry| entry.delivery.entry);
        numbers.filter(|entry| *entry != EntryNo::NONE)
    }

    /// Calls `visit` with the shared messages the store does not know.
    pub(crate) fn for_each_unkept(&mut self, mut visit: impl FnMut(&mut Delivery)) {
        for Entry { delivery, .. } in &mut self.entries {
            if delivery.entry == EntryNo::NONE {
                visit(delivery);
            }
        }
    }

    fn push_entry(&mut self, delivery: Delivery, own_len: u32) {
        self.bytes.add(u64::from(delivery.weight));
        self.qos0 += usize::from(delivery.qos == QoS::AtMostOnce);
        self.entries.push_back(Entry { delivery, own_len });
        self.count_more(1);
    }

    fn forget(&mut self, delivery: &Delivery) {
        // A weight of 0 marks the backlog: every message has a topic.
        if delivery.weight == 0 {
            self.backlog -= 1;
        }
        self.bytes.subtract(u64::from(delivery.weight));
        self.qos0 -= usize::from(delivery.qos == QoS::AtMostOnce);
    }
}

/// Entries whose room an empty queue keeps.
const KEPT_ENTRIES: usize = 64;

/// Bytes in and out, in order, in pieces that grow with the traffic.
#[derive(Debug, Default)]
struct Ring {
    chunks: VecDeque<Vec<u8>>,
    /// How much of the first chunk is gone.
    start: usize,
    /// A chunk that was emptied, for the next that is needed.
    spare: Vec<u8>,
}

const FIRST_CHUNK: usize = 512;
const LARGEST_CHUNK: usize = 16 * 1024;

impl Ring {
    /// A buffer that `len` bytes are appended to.
    fn room_for(&mut self, len: usize) -> &mut Vec<u8> {
        let fits = self.chunks.back().is_some_and(|chunk| chunk.capacity() - chunk.len() >= len);
        if !fits {
            let grown = self.chunks.back().map_or(FIRST_CHUNK, |last| last.capacity() * 2);
            let mut chunk = std::mem::take(&mut self.spare);
            chunk.clear();
            chunk.reserve_exact(grown.min(LARGEST_CHUNK).max(len));
            self.chunks.push_back(chunk);
        }
        let last = self.chunks.len() - 1;
        &mut self.chunks[last]
    }

    /// Moves the first `len` bytes to `out`. They were written in one piece.
    fn pop(&mut self, len: usize, out: &mut Vec<u8>) {
        if self.chunks.front().is_some_and(|first| self.start == first.len())
            && let Some(empty) = self.chunks.pop_front()
        {
            self.start = 0;
            if empty.capacity() <= LARGEST_CHUNK {
                self.spare = empty;
            }
        }
        if let Some(bytes) =
            self.chunks.front().and_then(|first| first.get(self.start..self.start + len))
        {
            out.extend_from_slice(bytes);
            self.start += len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::view_stored;
    use crate::route::Ids;

    fn delivery(message: Option<Message>) -> Delivery {
        let qos = QoS::AtLeastOnce;
        let (ids, entry) = (Ids::None, EntryNo::NONE);
        Delivery { message, qos, retain: false, ids, group: None, weight: 5, entry }
    }

    #[test]
    fn own_and_shared_messages_come_out_in_order() {
        let mut queue = Queue::default();
        let mut stored = Vec::new();
        let mut expected = VecDeque::new();
        let mut state = 1u32;
        for round in 0..20_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 30 != 0 || queue.is_empty() {
                let payload = round.to_string().repeat(1 + (state >> 16) as usize % 200);
                let payload = payload.as_bytes().to_vec();
                let view = MessageView::internal("t", &payload, QoS::AtLeastOnce, false);
                if state & 1 == 0 {
                    queue.push_own(delivery(None), &view);
                } else {
                    queue.push_shared(delivery(Some(Message::new(&view, &mut Vec::new()))));
                }
                expected.push_back(payload);
            } else {
                let delivery = queue.pop(&mut stored).expect("not empty");
                let payload = match &delivery.message {
                    Some(message) => message.payload().to_vec(),
                    None => view_stored(&stored).payload.to_vec(),
                };
                assert_eq!(Some(payload), expected.pop_front());
            }
            assert_eq!(queue.counted(), expected.len());
            assert_eq!(queue.bytes(), 5 * expected.len() as u64);
        }
    }
}
