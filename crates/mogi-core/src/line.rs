//! Messages in line for a client, in order, with as little memory touched for each as there can be.
//!
//! ```text
//!  slots:  [ own ][ common ][ own ][ shared ] …           eight bytes per message
//!             │       │                └──► shared: the next Delivery, of which there is more
//!             │       └──► common: the next Message       many receivers have the same message
//!             ▼
//!  ring:   | message | message | message | …              this client's alone, one after the other
//! ```
//! A message with one receiver goes into the client's ring: no allocation, and reading it back runs
//! through memory in order. Where the packet it came in says all there is, it is that packet, which
//! is copied in and out in one piece. A message with many is held once. Where a slot has no room
//! for what is to be known of a message, such as its number in the store, that stands beside it.

use crate::client::Way;
use crate::inflight::Delivery;
use crate::message::{Message, MessageView, STORED_HEAD, put_stored, view_stored};
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
    /// Messages others have as well, of which their slots say all there is.
    common: VecDeque<Message>,
    /// The messages of all other slots that have none in the ring.
    shared: VecDeque<Delivery>,
    /// Apart, as most queues of a large broker are empty.
    ring: Option<Box<Ring>>,
    /// The groups messages in the ring came through.
    groups: Vec<Through>,
}

/// What is to be known of a message besides itself.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Bytes in the ring; [`COMMON`]: it is the next of `common`; 0: it is the next of `shared`,
    /// and what follows means nothing.
    own_len: u32,
    /// Of those bytes, how many are not the message's weight.
    head_len: u8,
    /// The place of its group in `groups`, counted from 1; 0: it came through none.
    group: u8,
    qos: QoS,
    retain: bool,
}

/// The length of a message that is not in the ring but in `common`.
const COMMON: u32 = u32::MAX;

impl Slot {
    /// The weight of a message in the ring.
    #[inline]
    const fn weight(self) -> u32 {
        self.own_len.saturating_sub(self.head_len as u32)
    }

    /// The message of which these are the bytes in the ring.
    #[inline]
    fn view(self, bytes: &[u8]) -> MessageView<'_> {
        match MessageView::of_packet(bytes, usize::from(self.head_len)) {
            Some(view) => view,
            None => view_stored(bytes),
        }
    }

    /// How a message that nobody keeps gets to its client; then its group counts no more.
    #[inline]
    const fn way(self) -> Way<'static> {
        let entry = EntryNo::NONE;
        Way { qos: self.qos, retain: self.retain, ids: &Ids::None, group: None, entry }
    }
}

/// What is to be known of the first in line before it is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Front {
    pub(crate) qos: QoS,
    pub(crate) weight: u32,
    pub(crate) kind: Kind,
}

/// How the first in line is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is read in the ring, and forgotten: [`Line::pop_own`].
    Own,
    /// Others have it as well, and it is forgotten here: [`Line::pop_common`].
    Common,
    /// There is more to it, or it is to be kept until it is acknowledged: [`Line::pop_whole`].
    Whole,
}

/// A message on its way out of the ring: it is read where it is.
#[derive(Debug)]
pub(crate) struct Own {
    ring: Box<Ring>,
    start: usize,
    slot: Slot,
}

impl Own {
    /// The message.
    #[inline]
    pub(crate) fn view(&self) -> MessageView<'_> {
        self.slot.view(self.ring.bytes(self.start..self.start + self.slot.own_len as usize))
    }

    /// How it gets to its client.
    #[inline]
    pub(crate) const fn way(&self) -> Way<'static> {
        self.slot.way()
    }
}

/// Places whose room an empty line keeps.
const KEPT_PLACES: usize = 64;

/// Groups a line knows; messages of others are not in the ring. It knows too many only where a
/// group's members change often while messages wait.
const GROUPS: usize = 16;

impl Line {
    /// Nobody waits.
    pub(crate) const EMPTY: Self = Self {
        slots: VecDeque::new(),
        common: VecDeque::new(),
        shared: VecDeque::new(),
        ring: None,
        groups: Vec::new(),
    };

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The oldest message: whether it is to be kept until it is acknowledged (`lasting`, or for
    /// another member of its group) as well.
    #[inline]
    pub(crate) fn front(&self, lasting: bool) -> Option<Front> {
        let slot = self.slots.front()?;
        let kept = slot.qos != QoS::AtMostOnce && (lasting || slot.group != 0);
        let (weight, kind) = match slot.own_len {
            0 => {
                let Delivery { qos, weight, .. } = *self.shared.front()?;
                return Some(Front { qos, weight, kind: Kind::Whole });
            }
            COMMON => (self.common.front()?.weight() as u32, Kind::Common),
            _ => (slot.weight(), Kind::Own),
        };
        let kind = if kept { Kind::Whole } else { kind };
        Some(Front { qos: slot.qos, weight, kind })
    }

    /// Adds a message of which there is more to know than a slot says; it is in `delivery`.
    pub(crate) fn push_shared(&mut self, delivery: Delivery) {
        let (qos, retain) = (QoS::AtMostOnce, false);
        self.slots.push_back(Slot { own_len: 0, head_len: 0, group: 0, qos, retain });
        self.shared.push_back(delivery);
    }

    /// Adds a message that others have as well, if [`Self::is_plain`]; its weight.
    pub(crate) fn push_common(&mut self, way: &Way<'_>, message: Message) -> u32 {
        debug_assert!(Self::is_plain(way) && way.group.is_none());
        let (qos, retain, weight) = (way.qos, way.retain, message.weight() as u32);
        self.slots.push_back(Slot { own_len: COMMON, head_len: 0, group: 0, qos, retain });
        self.common.push_back(message);
        weight
    }

    /// Whether a slot has room for all there is to know, but for the group.
    pub(crate) fn is_plain(way: &Way<'_>) -> bool {
        way.entry == EntryNo::NONE && *way.ids == Ids::None
    }

    /// Adds a message nobody else has, if [`Self::is_plain`] and the ring can have it: its weight.
    /// `lasting`: its session outlives the connection.
    pub(crate) fn push_own(
        &mut self,
        way: &Way<'_>,
        view: &MessageView<'_>,
        lasting: bool,
    ) -> Option<u32> {
        debug_assert!(Self::is_plain(way));
        let group = self.place_of(way.group)?;
        let ring = self.ring.get_or_insert_default();
        // What is to be kept in flight becomes a message in one copy.
        let brief = !lasting && group == 0;
        let (own_len, head_len) = match view.packet().filter(|_| brief) {
            Some((packet, head_len)) => {
                ring.room_for(packet.len()).extend_from_slice(packet);
                (packet.len(), head_len)
            }
            None => {
                put_stored(view, ring.room_for(STORED_HEAD + view.weight()));
                (STORED_HEAD + view.weight(), STORED_HEAD)
            }
        };
        let (own_len, head_len) = (own_len as u32, head_len as u8);
        let slot = Slot { own_len, head_len, group, qos: way.qos, retain: way.retain };
        self.slots.push_back(slot);
        Some(slot.weight())
    }

    /// Takes the oldest message, with all there is to know of it.
    pub(crate) fn pop_whole(&mut self) -> Option<Delivery> {
        let slot = self.slots.pop_front()?;
        let delivery = self.take(slot);
        self.tidy();
        delivery
    }

    /// Takes the oldest message, which is in the ring; to be put back.
    #[inline]
    pub(crate) fn pop_own(&mut self) -> Option<Own> {
        let slot = self.slots.pop_front()?;
        let mut ring = self.ring.take()?;
        let start = ring.pop(slot.own_len as usize);
        Some(Own { ring, start, slot })
    }

    /// Takes back what [`Self::pop_own`] gave, before anything else is pushed or popped.
    #[inline]
    pub(crate) fn put_back(&mut self, own: Own) {
        debug_assert!(self.ring.is_none());
        self.ring = Some(own.ring);
        self.tidy();
    }

    /// Takes the oldest message, which is a common one, and how it gets to its client.
    #[inline]
    pub(crate) fn pop_common(&mut self) -> Option<(Message, Way<'static>)> {
        let slot = self.slots.pop_front()?;
        let message = self.common.pop_front()?;
        self.tidy();
        Some((message, slot.way()))
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
                COMMON => Some((None, EntryNo::NONE)),
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
            } else if slot.own_len == COMMON {
                self.common.extend(old.common.pop_front());
            } else if let Some(ring) = &mut old.ring {
                let start = ring.pop(len);
                let room = self.ring.get_or_insert_default().room_for(len);
                room.extend_from_slice(ring.bytes(start..start + len));
            }
            self.slots.push_back(slot);
        }
        self.groups = old.groups;
        taken
    }

    /// The messages of which there is more to know, oldest first.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Delivery> {
        self.shared.iter()
    }

    /// The same, to be changed.
    pub(crate) fn shared_mut(&mut self) -> impl Iterator<Item = &mut Delivery> {
        self.shared.iter_mut()
    }

    /// Whether there is some other message.
    pub(crate) fn has_plain(&self) -> bool {
        self.slots.len() > self.shared.len()
    }

    /// Whether some message came through a group.
    pub(crate) fn has_grouped(&self) -> bool {
        !self.groups.is_empty() || self.shared.iter().any(|delivery| delivery.group.is_some())
    }

    /// The message of a slot that was the first.
    fn take(&mut self, slot: Slot) -> Option<Delivery> {
        let message = match slot.own_len {
            0 => return self.shared.pop_front(),
            COMMON => self.common.pop_front()?,
            len => {
                let ring = self.ring.as_mut()?;
                let start = ring.pop(len as usize);
                let bytes = ring.bytes(start..start + len as usize);
                match MessageView::of_packet(bytes, usize::from(slot.head_len)) {
                    Some(view) => Message::new(&view, &mut Vec::new()),
                    None => Message::from_stored(bytes),
                }
            }
        };
        Some(Delivery {
            weight: message.weight() as u32,
            message: Some(message),
            qos: slot.qos,
            retain: slot.retain,
            ids: Ids::None,
            group: self.group(slot.group).cloned(),
            entry: EntryNo::NONE,
        })
    }

    /// Gives memory back when nobody is left.
    #[inline]
    fn tidy(&mut self) {
        if self.slots.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.ring = None;
        self.groups.clear();
        if self.slots.capacity() > KEPT_PLACES {
            self.slots = VecDeque::new();
        }
        if self.common.capacity() > KEPT_PLACES {
            self.common = VecDeque::new();
        }
        if self.shared.capacity() > KEPT_PLACES {
            self.shared = VecDeque::new();
        }
    }

    fn group(&self, place: u8) -> Option<&Through> {
        self.groups.get(usize::from(place).checked_sub(1)?)
    }

    /// A group's place in `groups`; `None`: there is no more room for it.
    fn place_of(&mut self, group: Option<&Through>) -> Option<u8> {
        let Some(group) = group else {
            return Some(0);
        };
        let known = self.groups.iter().position(|it| it.is(group));
        if known.is_none() && self.groups.len() < GROUPS {
            self.groups.push(group.clone());
            return Some(self.groups.len() as u8);
        }
        known.map(|at| at as u8 + 1)
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

    /// Takes the first `len` bytes, which were written in one piece, and says where they are; they
    /// stay there until the next are taken.
    #[inline]
    fn pop(&mut self, len: usize) -> usize {
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
        start
    }

    /// What [`Self::pop`] took.
    #[inline]
    fn bytes(&self, at: Range<usize>) -> &[u8] {
        self.chunks.front().and_then(|first| first.get(at)).unwrap_or_default()
    }
}
