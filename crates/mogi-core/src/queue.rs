//! A client's queue: messages that wait for their client, or for room in flight, and what is to be
//! known of them as a whole.

use crate::client::Way;
use crate::inflight::Delivery;
use crate::line::{Front, Line, Own};
use crate::message::{Message, MessageView};
use crate::paging::Paged;
use crate::seldom::Spare;
use crate::shared::Group;
use crate::store::EntryNo;
use crate::tally::Tally;
use crate::turn::Turn;
use mogi_codec::QoS;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// A client's queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    line: Line,
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
    watched: Option<Watched>,
}

/// A count that others look at. They hear of changes when some have come together: each message
/// would take its cache line from them, and they would take it back with each of theirs.
#[derive(Debug)]
struct Watched {
    told: Arc<AtomicI32>,
    /// By how much it is wrong.
    untold: i32,
}

/// From this many on they are told. Few against those from which on a member of a group is behind.
const TOLD: u32 = 8;

impl Watched {
    #[inline]
    fn add(&mut self, messages: i32) {
        self.untold += messages;
        if self.untold.unsigned_abs() >= TOLD {
            self.told.fetch_add(std::mem::take(&mut self.untold), Ordering::Relaxed);
        }
    }
}

impl Spare for Queue {
    /// What its bytes count in.
    type Seed = Arc<AtomicU64>;

    fn nothing() -> &'static Self {
        static NOTHING: Queue = Queue {
            line: Line::EMPTY,
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
        self.line.is_empty() && self.paged.is_none()
    }

    /// Messages in memory.
    pub(crate) fn in_memory(&self) -> usize {
        self.line.len()
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
    pub(crate) fn watched(&mut self) -> Arc<AtomicI32> {
        let waiting = self.line.len() + self.paged_len();
        let count = || Watched { told: Arc::new(AtomicI32::new(waiting as i32)), untold: 0 };
        Arc::clone(&self.watched.get_or_insert_with(count).told)
    }

    /// A message that was counted by its sender is here, and counted as what it became.
    pub(crate) fn arrived(&mut self) {
        self.count_less(1);
    }

    pub(crate) fn count_more(&mut self, messages: usize) {
        if let Some(watched) = &mut self.watched {
            watched.add(messages as i32);
        }
    }

    pub(crate) fn count_less(&mut self, messages: usize) {
        if let Some(watched) = &mut self.watched {
            watched.add(-(messages as i32));
        }
    }

    /// Messages that count against the limits.
    pub(crate) fn counted(&self) -> usize {
        self.line.len() - self.backlog + self.paged_len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get() + self.paged.as_ref().map_or(0, |paged| paged.bytes())
    }

    /// Whether no more of it is to be in memory, if the store has it as well.
    pub(crate) fn is_long(&self, turn: &Turn) -> bool {
        self.paged.is_some()
            || self.line.len() >= turn.cfg.queue_window_messages
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

    /// The oldest message; `lasting`: its session outlives the connection.
    #[inline]
    pub(crate) fn front(&self, lasting: bool) -> Option<Front> {
        self.line.front(lasting)
    }

    /// Adds a message of which there is more to know; it is in `delivery`.
    pub(crate) fn push_shared(&mut self, delivery: Delivery) {
        debug_assert!(delivery.message.is_some());
        self.count_in(delivery.qos, delivery.weight);
        self.line.push_shared(delivery);
    }

    /// Adds a message that others have as well, of which [`Line::is_plain`] and no group is known.
    pub(crate) fn push_common(&mut self, way: &Way<'_>, message: Message) {
        let weight = self.line.push_common(way, message);
        self.count_in(way.qos, weight);
    }

    /// Adds a message nobody else has, of which [`Line::is_plain`]; whether that was possible.
    /// `lasting`: its session outlives the connection.
    pub(crate) fn push_own(
        &mut self,
        way: &Way<'_>,
        view: &MessageView<'_>,
        lasting: bool,
    ) -> bool {
        let weight = self.line.push_own(way, view, lasting);
        if let Some(weight) = weight {
            self.count_in(way.qos, weight);
        }
        weight.is_some()
    }

    /// Adds a retained message that answers a SUBSCRIBE.
    pub(crate) fn push_backlog(&mut self, mut delivery: Delivery) {
        delivery.weight = 0;
        self.backlog += 1;
        self.push_shared(delivery);
    }

    /// Takes the oldest message as [`Line::pop_whole`].
    pub(crate) fn pop_whole(&mut self) -> Option<Delivery> {
        let delivery = self.line.pop_whole()?;
        self.forget(delivery.qos, delivery.weight);
        self.count_less(1);
        Some(delivery)
    }

    /// Takes the oldest message, which is `front`, as [`Line::pop_own`].
    #[inline]
    pub(crate) fn pop_own(&mut self, front: Front) -> Option<Own> {
        self.forget(front.qos, front.weight);
        self.count_less(1);
        self.line.pop_own()
    }

    /// Takes back what [`Self::pop_own`] gave, before anything else is done with the queue.
    #[inline]
    pub(crate) fn put_back(&mut self, own: Own) {
        self.line.put_back(own);
    }

    /// Takes the oldest message, which is `front`, as [`Line::pop_common`].
    #[inline]
    pub(crate) fn pop_common(&mut self, front: Front) -> Option<(Message, Way<'static>)> {
        self.forget(front.qos, front.weight);
        self.count_less(1);
        self.line.pop_common()
    }

    /// Takes out the deliveries of shared groups for which `take` says so.
    pub(crate) fn drain_groups(&mut self, mut take: impl FnMut(&Group) -> bool) -> Vec<Delivery> {
        match self.line.has_grouped() {
            true => self.extract(|group, _| group.is_some_and(&mut take)),
            false => Vec::new(),
        }
    }

    /// Takes out what the store has and may be fetched again.
    pub(crate) fn take_kept(&mut self) -> Vec<Delivery> {
        self.extract(|group, entry| group.is_none() && entry != EntryNo::NONE)
    }

    fn extract(&mut self, take: impl FnMut(Option<&Group>, EntryNo) -> bool) -> Vec<Delivery> {
        let taken = self.line.extract(take);
        for delivery in &taken {
            self.forget(delivery.qos, delivery.weight);
        }
        self.count_less(taken.len());
        taken
    }

    /// The client is gone: the backlog becomes part of the queue as far as `limit` allows (0: any
    /// number), QoS 0 only if `qos0` waits. With `share` there is a delivery for each, so that the
    /// store can have it. How many messages were dropped for the limit.
    pub(crate) fn settle(&mut self, limit: usize, qos0: bool, share: bool) -> u64 {
        if self.backlog == 0 && qos0 && !(share && self.line.has_plain()) {
            return 0;
        }
        self.count_less(self.line.len());
        let (watched, paged) = (std::mem::take(&mut self.watched), self.paged.take());
        let (question, grouped) = (self.question, std::mem::take(&mut self.grouped));
        let bytes = self.bytes.another();
        let kept = Self { watched, paged, question, grouped, bytes, ..Self::default() };
        let mut old = std::mem::replace(self, kept);
        let mut dropped = 0;
        while let Some(mut delivery) = old.pop_whole() {
            let Some(message) = delivery.message.take() else {
                continue;
            };
            if delivery.qos == QoS::AtMostOnce && !qos0 {
                continue;
            }
            let backlog = delivery.weight == 0;
            if backlog && limit != 0 && self.line.len() >= limit {
                dropped += 1;
                continue;
            }
            delivery.weight = message.weight().max(1) as u32;
            delivery.message = Some(message);
            self.push_shared(delivery);
        }
        dropped
    }

    /// The numbers of the messages in memory that the store knows.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = EntryNo> {
        let numbers = self.line.shared().map(|delivery| delivery.entry);
        numbers.filter(|entry| *entry != EntryNo::NONE)
    }

    /// Calls `visit` with the shared messages the store does not know.
    pub(crate) fn for_each_unkept(&mut self, visit: impl FnMut(&mut Delivery)) {
        self.line.shared_mut().filter(|delivery| delivery.entry == EntryNo::NONE).for_each(visit);
    }

    fn count_in(&mut self, qos: QoS, weight: u32) {
        self.bytes.add(u64::from(weight));
        self.qos0 += usize::from(qos == QoS::AtMostOnce);
        self.count_more(1);
    }

    fn forget(&mut self, qos: QoS, weight: u32) {
        // A weight of 0 marks the backlog: every message has a topic.
        if weight == 0 {
            self.backlog -= 1;
        }
        self.bytes.subtract(u64::from(weight));
        self.qos0 -= usize::from(qos == QoS::AtMostOnce);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Kind;
    use crate::message::{Frame, NEVER};
    use crate::route::Ids;
    use crate::shared::Through;
    use mogi_codec::{Properties, Publish, Version};
    use std::collections::VecDeque;

    fn shared_delivery(message: Message) -> Delivery {
        let qos = QoS::AtLeastOnce;
        let (ids, entry, weight) = (Ids::None, EntryNo::NONE, message.weight() as u32);
        let message = Some(message);
        Delivery { message, qos, retain: false, ids, group: None, weight, entry }
    }

    /// Takes the oldest message out: its payload, and whether it is whole.
    fn pop(queue: &mut Queue, lasting: bool) -> (Vec<u8>, bool) {
        let front = queue.front(lasting).expect("not empty");
        match front.kind {
            Kind::Whole => (payload(&queue.pop_whole().expect("there")), true),
            Kind::Common => {
                let (message, way) = queue.pop_common(front).expect("there");
                assert_eq!(way.qos, front.qos);
                (message.payload().to_vec(), false)
            }
            Kind::Own => {
                let own = queue.pop_own(front).expect("there");
                assert_eq!(own.way().qos, front.qos);
                let text = own.view().payload.to_vec();
                queue.put_back(own);
                (text, false)
            }
        }
    }

    fn payload(delivery: &Delivery) -> Vec<u8> {
        delivery.message.as_ref().expect("it is whole").payload().to_vec()
    }

    /// A PUBLISH of MQTT 3.1.1.
    struct Packet {
        bytes: Vec<u8>,
        payload_len: usize,
    }

    fn packet(payload: &[u8]) -> Packet {
        let publish = Publish {
            dup: true,
            qos: QoS::AtLeastOnce,
            retain: true,
            topic: "t",
            packet_id: 0x0102,
            properties: Properties::default(),
            payload,
        };
        let mut bytes = Vec::new();
        publish.encode(Version::V311, &mut bytes);
        Packet { bytes, payload_len: payload.len() }
    }

    impl Packet {
        fn view(&self) -> MessageView<'_> {
            let (head, payload) = self.bytes.split_at(self.bytes.len() - self.payload_len);
            let packet_id_at = head.len() - 2;
            let frame = Some(Frame { bytes: &self.bytes, packet_id_at, v5: false });
            MessageView { frame, ..MessageView::internal("t", payload, QoS::AtLeastOnce, true) }
        }
    }

    fn way(group: Option<&Through>) -> Way<'_> {
        let (qos, entry) = (QoS::AtLeastOnce, EntryNo::NONE);
        Way { qos, retain: false, ids: &Ids::None, group, entry }
    }

    fn next(state: &mut u32) -> u32 {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *state >> 16
    }

    /// Adds a message with that payload: the client's own, one of a group, a common one, or one of
    /// which there is more to know.
    fn push(queue: &mut Queue, payload: &[u8], group: &Through, kind: u32) {
        let view = MessageView::internal("t", payload, QoS::AtLeastOnce, false);
        match kind {
            0 => assert!(queue.push_own(&way(None), &packet(payload).view(), false)),
            1 => assert!(queue.push_own(&way(Some(group)), &view, false)),
            2 => queue.push_common(&way(None), Message::new(&view, &mut Vec::new())),
            _ => {
                let mut delivery = shared_delivery(Message::new(&view, &mut Vec::new()));
                delivery.group = (kind == 3).then(|| group.clone());
                queue.push_shared(delivery);
            }
        }
    }

    #[test]
    fn own_and_shared_messages_come_out_in_order() {
        let group = Through::new(&Arc::new(Group::empty("g", "t")));
        let mut queue = Queue::default();
        let mut expected = VecDeque::new();
        let mut state = 1u32;
        for round in 0..20_000u32 {
            let random = next(&mut state);
            if !random.is_multiple_of(4) || queue.is_empty() {
                let payload = round.to_string().repeat(1 + random as usize % 200).into_bytes();
                push(&mut queue, &payload, &group, random / 4 % 5);
                expected.push_back(payload);
            } else {
                assert_eq!(Some(pop(&mut queue, false).0), expected.pop_front());
            }
            assert_eq!(queue.counted(), expected.len());
        }
        let bytes: usize = expected.iter().map(|payload| 1 + payload.len()).sum();
        assert_eq!(queue.bytes(), bytes as u64);
    }

    /// Whatever its length takes in the packet's header.
    #[test]
    fn a_packet_comes_out_as_it_came() {
        for len in [0, 1, 120, 122, 123, 200, 16_377, 16_378, 20_000] {
            let mut queue = Queue::default();
            let packet = packet(&vec![7; len]);
            assert!(queue.push_own(&way(None), &packet.view(), false));
            let front = queue.front(false).expect("not empty");
            assert_eq!((front.weight as usize, queue.bytes() as usize), (1 + len, 1 + len));
            let own = queue.pop_own(front).expect("there");
            let view = own.view();
            assert_eq!((view.topic, view.payload.len(), view.qos), (&b"t"[..], len, front.qos));
            assert!(view.retain && view.properties.is_empty() && view.expires_at_ms == NEVER);
            let frame = view.frame.expect("it was one");
            assert_eq!(
                (frame.bytes, frame.packet_id_at),
                (&packet.bytes[..], packet.bytes.len() - len - 2)
            );
            queue.put_back(own);
            // For a session that lasts it is put together anew.
            assert!(queue.push_own(&way(None), &packet.view(), false));
            let message = queue.pop_whole().and_then(|delivery| delivery.message).expect("whole");
            assert_eq!((message.topic(), message.payload().len()), ("t", len));
            assert_eq!((message.qos(), queue.bytes()), (QoS::AtLeastOnce, 0));
        }
    }

    #[test]
    fn messages_of_groups_are_taken_out_and_the_others_stay_in_order() {
        let groups = ["one", "other"].map(|name| Through::new(&Arc::new(Group::empty(name, "t"))));
        let mut queue = Queue::default();
        let (mut stays, mut goes) = (Vec::new(), Vec::new());
        let mut state = 7u32;
        for round in 0..500u32 {
            let random = next(&mut state);
            let (kind, which) = (random % 5, random as usize / 5 % 2);
            let payload = round.to_string().into_bytes();
            push(&mut queue, &payload, &groups[which], kind);
            let grouped = kind % 2 == 1;
            if grouped && which == 0 { &mut goes } else { &mut stays }.push(payload);
        }
        let taken = queue.drain_groups(|group| group.name() == "one");
        let taken: Vec<_> = taken.iter().map(payload).collect();
        assert_eq!(taken, goes);
        for payload in stays {
            let whole = true; // A lasting session keeps what it is sent.
            assert_eq!(pop(&mut queue, true), (payload, whole));
        }
        assert!(queue.is_empty() && queue.bytes() == 0);
    }

    /// The store is to have each of them.
    #[test]
    fn nothing_stays_in_brief_when_the_client_is_gone() {
        let group = Through::new(&Arc::new(Group::empty("g", "t")));
        let mut queue = Queue::default();
        for kind in [0, 2, 1, 4, 2, 0, 3] {
            push(&mut queue, kind.to_string().as_bytes(), &group, kind);
        }
        assert_eq!(queue.settle(0, true, true), 0);
        let mut kept = Vec::new();
        queue.for_each_unkept(|delivery| kept.push(payload(delivery)));
        assert_eq!(kept.concat(), b"0214203");
        assert_eq!((queue.counted(), queue.bytes()), (7, 14));
    }

    #[test]
    fn a_group_whose_members_change_all_the_time_does_not_grow_a_table() {
        let mut queue = Queue::default();
        let view = MessageView::internal("t", b"x", QoS::AtLeastOnce, false);
        let fits = (0..100).filter(|_| {
            let group = Through::new(&Arc::new(Group::empty("g", "t")));
            queue.push_own(&way(Some(&group)), &view, false)
        });
        assert_eq!(fits.count(), 16);
    }

    #[test]
    fn others_know_about_how_many_wait() {
        let group = Through::new(&Arc::new(Group::empty("g", "t")));
        let mut queue = Queue::default();
        let watched = queue.watched();
        let mut state = 3u32;
        for _ in 0..5000 {
            let more = next(&mut state) % 100 < if queue.in_memory() > 200 { 40 } else { 60 };
            match more {
                true => push(&mut queue, b"x", &group, 1),
                false => drop(pop(&mut queue, false)),
            }
            let wrong = watched.load(Ordering::Relaxed).abs_diff(queue.in_memory() as i32);
            assert!(wrong < TOLD, "{wrong}");
        }
    }
}
