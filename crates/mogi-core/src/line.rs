//! Messages in line for a client, in order, with as little memory touched for each as there can be.
//!
//! ```text
//!  slots:    [ own ][ shared ][ own ][ own ] …            eight bytes per message
//!               │       └──► shared: the next Delivery     many receivers have the same message
//!               ▼
//!  ring:     | message | message | message | …            this client's alone, one after the other
//! ```
//! A message with one receiver goes into the client's ring: no allocation, and reading it back runs
//! through memory in order. A message with many is held once and shared.

use crate::client::Way;
use crate::inflight::Delivery;
use crate::message::{Message, MessageView, put_stored, stored_len, stored_weight};
use crate::route::Ids;
use crate::shared::{Group, Through};
use crate::store::EntryNo;
use mogi_codec::QoS;
use std::collections::VecDeque;
use std::ops::Range;

/// Messages that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Line {
    slots: VecDeque<Slot>,
    /// The messages of slots that have none in the ring.
    shared: VecDeque<Delivery>,
    /// Apart, as most queues of a large broker are empty.
    ring: Option<Box<Ring>>,
    /// The groups messages in the ring came through.
    groups: Vec<Through>,
}

/// What is to be known of a message besides itself.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Bytes in the ring; 0: it is the next of `shared`, and what follows means nothing.
    own_len: u32,
    /// The place of its group in `groups`, counted from 1; 0: it came through none.
    group: u16,
    qos: QoS,
    retain: bool,
}

/// A message on its way out of the ring: it is read where it is.
#[derive(Debug)]
pub(crate) struct Own {
    ring: Box<Ring>,
    at: Range<usize>,
}

impl Own {
    /// The message, as it is stored.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.ring.bytes(self.at.clone())
    }
}

/// Places whose room an empty line keeps.
const KEPT_PLACES: usize = 64;

/// Groups a line knows; messages of others are not in the ring. It knows too many only where a
/// group's members change often while messages wait.
const GROUPS: usize = 16;

impl Line {
    /// Nobody waits.
    pub(crate) const EMPTY: Self =
        Self { slots: VecDeque::new(), shared: VecDeque::new(), ring: None, groups: Vec::new() };

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// QoS and weight of the oldest message.
    pub(crate) fn front(&self) -> Option<(QoS, u32)> {
        let slot = self.slots.front()?;
        if slot.own_len == 0 {
            return self.shared.front().map(|delivery| (delivery.qos, delivery.weight));
        }
        Some((slot.qos, stored_weight(slot.own_len)))
    }

    /// Adds a message that others have as well; it is in `delivery`.
    pub(crate) fn push_shared(&mut self, delivery: Delivery) {
        self.slots.push_back(Slot { own_len: 0, group: 0, qos: QoS::AtMostOnce, retain: false });
        self.shared.push_back(delivery);
    }

    /// Adds a message nobody else has, and the store does not, if the ring can have it: its
    /// weight.
    pub(crate) fn push_own(&mut self, way: &Way<'_>, view: &MessageView<'_>) -> Option<u32> {
        debug_assert!(way.entry == EntryNo::NONE);
        if *way.ids != Ids::None {
            return None;
        }
        let group = self.place_of(way.group)?;
        let len = stored_len(view);
        put_stored(view, self.ring.get_or_insert_default().room_for(len));
        let own_len = len as u32;
        self.slots.push_back(Slot { own_len, group, qos: way.qos, retain: way.retain });
        Some(stored_weight(own_len))
    }

    /// Takes the oldest message: in the delivery if it is a shared one, or is to be kept until it
    /// is acknowledged (`lasting`, or for another member of its group); else beside it.
    pub(crate) fn pop(&mut self, lasting: bool) -> Option<(Delivery, Option<Own>)> {
        let slot = self.slots.pop_front()?;
        let kept = slot.qos != QoS::AtMostOnce && (lasting || slot.group != 0);
        if slot.own_len == 0 || kept {
            let delivery = self.take(slot)?;
            self.tidy();
            return Some((delivery, None));
        }
        let delivery = self.delivery(slot, None);
        let mut ring = self.ring.take()?;
        let at = ring.pop(slot.own_len as usize);
        self.tidy();
        Some((delivery, Some(Own { ring, at })))
    }

    /// Takes back what [`Self::pop`] gave, before anything else is pushed or popped.
    pub(crate) fn put_back(&mut self, own: Own) {
        debug_assert!(self.ring.is_none());
        if !self.slots.is_empty() {
            self.ring = Some(own.ring);
        }
    }

    /// Takes out the messages for which `take` says so, which hears of their groups and entries;
    /// all of them hold their messages.
    pub(crate) fn extract(
        &mut self,
        mut take: impl FnMut(Option<&Group>, EntryNo) -> bool,
    ) -> Vec<Delivery> {
        let mut old = std::mem::take(self);
        let mut taken = Vec::new();
        while let Some(slot) = old.slots.pop_front() {
            let known = match slot.own_len {
                0 => old.shared.front().map(|first| (first.group.as_deref(), first.entry)),
                _ => Some((old.group(slot.group).map(|group| &**group), EntryNo::NONE)),
            };
            let Some((group, entry)) = known else {
                continue;
            };
            if take(group, entry) {
                taken.extend(old.take(slot));
                continue;
            }
            let len = slot.own_len as usize;
            if len == 0 {
                self.shared.extend(old.shared.pop_front());
            } else if let Some(ring) = &mut old.ring {
                let at = ring.pop(len);
                let room = self.ring.get_or_insert_default().room_for(len);
                room.extend_from_slice(ring.bytes(at));
            }
            self.slots.push_back(slot);
        }
        self.groups = old.groups;
        taken
    }

    /// The shared messages, oldest first.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Delivery> {
        self.shared.iter()
    }

    /// The same, to be changed.
    pub(crate) fn shared_mut(&mut self) -> impl Iterator<Item = &mut Delivery> {
        self.shared.iter_mut()
    }

    /// Whether some message is in the ring.
    pub(crate) fn has_own(&self) -> bool {
        self.slots.len() > self.shared.len()
    }

    /// Whether some message came through a group.
    pub(crate) fn has_grouped(&self) -> bool {
        !self.groups.is_empty() || self.shared.iter().any(|delivery| delivery.group.is_some())
    }

    /// The message of a slot that was the first.
    fn take(&mut self, slot: Slot) -> Option<Delivery> {
        if slot.own_len == 0 {
            return self.shared.pop_front();
        }
        let ring = self.ring.as_mut()?;
        let at = ring.pop(slot.own_len as usize);
        let message = Message::from_stored(ring.bytes(at));
        Some(self.delivery(slot, Some(message)))
    }

    /// The delivery of a slot of the ring.
    fn delivery(&self, slot: Slot, message: Option<Message>) -> Delivery {
        Delivery {
            message,
            qos: slot.qos,
            retain: slot.retain,
            ids: Ids::None,
            group: self.group(slot.group).cloned(),
            weight: stored_weight(slot.own_len),
            entry: EntryNo::NONE,
        }
    }

    /// Gives memory back when nobody is left.
    fn tidy(&mut self) {
        if !self.slots.is_empty() {
            return;
        }
        self.ring = None;
        self.groups.clear();
        if self.slots.capacity() > KEPT_PLACES {
            self.slots = VecDeque::new();
        }
        if self.shared.capacity() > KEPT_PLACES {
            self.shared = VecDeque::new();
        }
    }

    fn group(&self, place: u16) -> Option<&Through> {
        self.groups.get(usize::from(place).checked_sub(1)?)
    }

    /// A group's place in `groups`; `None`: there is no more room for it.
    fn place_of(&mut self, group: Option<&Through>) -> Option<u16> {
        let Some(group) = group else {
            return Some(0);
        };
        let known = self.groups.iter().position(|it| it.is(group));
        if known.is_none() && self.groups.len() < GROUPS {
            self.groups.push(group.clone());
            return Some(self.groups.len() as u16);
        }
        known.map(|at| at as u16 + 1)
    }
}

/// Bytes in and out, in order, in pieces that grow with the traffic.
#[derive(Debug, Default)]
struct Ring {
    chunks: VecDeque<Vec<u8>>,
    /// How much of the first chunk is gone.
    start: usize,
    /// Chunks that were emptied, for the next that are needed: messages come in bursts.
    spare: Vec<Vec<u8>>,
}

/// Spare chunks at the most, and never more than there are others.
const SPARE_CHUNKS: usize = 8;
const FIRST_CHUNK: usize = 512;
const LARGEST_CHUNK: usize = 16 * 1024;

impl Ring {
    /// A buffer that `len` bytes are appended to.
    fn room_for(&mut self, len: usize) -> &mut Vec<u8> {
        let fits = self.chunks.back().is_some_and(|chunk| chunk.capacity() - chunk.len() >= len);
        if !fits {
            let grown = self.chunks.back().map_or(FIRST_CHUNK, |last| last.capacity() * 2);
            let mut chunk = self.spare.pop().unwrap_or_default();
            chunk.clear();
            chunk.reserve_exact(grown.min(LARGEST_CHUNK).max(len));
            self.chunks.push_back(chunk);
        }
        let last = self.chunks.len() - 1;
        &mut self.chunks[last]
    }

    /// Takes the first `len` bytes, which were written in one piece; they stay where they are until
    /// the next are taken.
    fn pop(&mut self, len: usize) -> Range<usize> {
        if self.chunks.front().is_some_and(|first| self.start == first.len())
            && let Some(empty) = self.chunks.pop_front()
        {
            self.start = 0;
            let spares = self.spare.len();
            if empty.capacity() <= LARGEST_CHUNK && spares < SPARE_CHUNKS.min(self.chunks.len()) {
                self.spare.push(empty);
            }
        }
        let start = self.start;
        self.start += len;
        start..self.start
    }

    /// What [`Self::pop`] took.
    fn bytes(&self, at: Range<usize>) -> &[u8] {
        self.chunks.front().and_then(|first| first.get(at)).unwrap_or_default()
    }
}
