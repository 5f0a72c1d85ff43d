//! Messages in flight to a client, in the order they were sent.
//!
//! ```text
//!  front                                      back
//!  [ 7 PUBLISH q1 ][ 8 PUBREL ][ 9 PUBLISH q2 ] ──► next id 10
//!    oldest, resent first                newest
//! ```
//! Ids are given out in rising order, so an entry is found by its distance from the front. One that
//! is acknowledged out of order leaves a gap behind, which goes when the entries around it do, so
//! that no order of acknowledgements is dearer than another. Only an id that stayed
//! unacknowledged for a whole round of 65,535 breaks the order, and then an index helps.

use crate::client::Way;
use crate::message::Message;
use crate::route::Ids;
use crate::seldom::Spare;
use crate::shared::Through;
use crate::store::EntryNo;
use mogi_codec::{PacketKind, QoS};
use std::collections::{BTreeMap, VecDeque};

/// Where the exchange of a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// PUBLISH sent, waiting for PUBACK (QoS 1) or PUBREC (QoS 2).
    Published,
    /// PUBREL sent, waiting for PUBCOMP.
    Released,
    /// It is over, and the flight holds its place only.
    Over,
}

/// A message on its way to one client, in its queue or in flight.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// `None` where it can never be sent again: the session ends with its connection.
    pub(crate) message: Option<Message>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: Ids,
    /// The shared group it came through: another member may get it if this client leaves.
    pub(crate) group: Option<Through>,
    /// Topic, properties and payload, in bytes.
    pub(crate) weight: u32,
    /// Its number in the store; [`EntryNo::NONE`] where the store does not know it.
    pub(crate) entry: EntryNo,
}

/// Messages in flight at the most, whatever the client allows: three quarters of the ids, so that
/// the next free one is never far.
pub(crate) const MAX_FLIGHTS: usize = 49_152;

/// Gaps that are left alone.
const GAPS: usize = 64;

/// What an acknowledgement asks for of a message in flight. Little, as each of a subscriber's
/// acknowledgements goes through it, and all of it is to be in the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) packet_id: u16,
    pub(crate) stage: Stage,
    pub(crate) qos: QoS,
    weight: u32,
}

impl Delivery {
    /// How it gets to its client.
    pub(crate) const fn way(&self) -> Way<'_> {
        Way {
            qos: self.qos,
            retain: self.retain,
            ids: &self.ids,
            group: self.group.as_ref(),
            entry: self.entry,
        }
    }
}

impl Flight {
    /// A flight whose PUBLISH leaves now.
    pub(crate) const fn new(packet_id: u16, qos: QoS, weight: u32) -> Self {
        Self { packet_id, stage: Stage::Published, qos, weight }
    }

    /// The acknowledgement it waits for (section 4.3).
    pub(crate) const fn awaits(&self) -> PacketKind {
        match (self.stage, self.qos) {
            (Stage::Published, QoS::ExactlyOnce) => PacketKind::Pubrec,
            (Stage::Published, _) => PacketKind::Puback,
            (Stage::Released | Stage::Over, _) => PacketKind::Pubcomp,
        }
    }

    fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }
}

/// The messages in flight to one client.
#[derive(Debug, Default)]
pub(crate) struct Inflight {
    /// In the order they were sent. The first and the last are no gaps.
    flights: VecDeque<Flight>,
    /// What else is known of each, place by place: of those that may be sent again, given to
    /// another, or are in the store. Empty as long as there are none of them.
    kept: VecDeque<Option<Delivery>>,
    /// Those that are no gaps.
    live: usize,
    /// The place from which on none was sent on the connection there is now.
    sent: usize,
    /// Those before it that are no gaps.
    sent_live: usize,
    last_id: u16,
    bytes: u64,
    /// The number of the first flight, for `index`.
    first: u32,
    /// The number of each id's flight, while ids are not in order.
    index: Option<BTreeMap<u16, u32>>,
}

impl Inflight {
    /// Nothing in flight.
    const EMPTY: Self = Self {
        flights: VecDeque::new(),
        kept: VecDeque::new(),
        live: 0,
        sent: 0,
        sent_live: 0,
        last_id: 0,
        bytes: 0,
        first: 0,
        index: None,
    };
}

impl Spare for Inflight {
    type Seed = ();

    fn nothing() -> &'static Self {
        static NOTHING: Inflight = Inflight::EMPTY;
        &NOTHING
    }

    fn make((): &()) -> Self {
        Self::EMPTY
    }

    fn is_spare(&self) -> bool {
        self.flights.is_empty()
    }
}

impl Inflight {
    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts a message in flight with a free packet id, and says with which; `None` when
    /// [`MAX_FLIGHTS`] are in use ([MQTT-2.2.1-4]).
    #[inline]
    pub(crate) fn put(&mut self, qos: QoS, weight: u32) -> Option<u16> {
        if self.live >= MAX_FLIGHTS {
            return None;
        }
        debug_assert!(self.all_sent());
        self.last_id = next_id(self.last_id);
        if self.index.is_some() || self.in_range(self.last_id) {
            // The oldest is a whole round behind: ids may be in use, and are in order no more.
            self.skip_used_ids();
        }
        let packet_id = self.last_id;
        self.bytes += u64::from(weight);
        self.flights.push_back(Flight { packet_id, stage: Stage::Published, qos, weight });
        if !self.kept.is_empty() {
            self.kept.push_back(None);
        }
        self.live += 1;
        self.sent += 1;
        self.sent_live += 1;
        Some(packet_id)
    }

    /// Goes on to the next id that is free, of which the index is to know.
    fn skip_used_ids(&mut self) {
        while self.find(self.last_id).is_some() {
            self.last_id = next_id(self.last_id);
        }
        if self.index.is_none() && self.in_range(self.last_id) {
            self.build_index();
        }
        if let Some(index) = &mut self.index {
            index.insert(self.last_id, self.first.wrapping_add(self.flights.len() as u32));
        }
    }

    /// Keeps what else there is to know of the message that was put in flight last.
    pub(crate) fn keep(&mut self, delivery: Delivery) {
        self.kept.resize_with(self.flights.len(), || None);
        if let Some(last) = self.kept.back_mut() {
            *last = Some(delivery);
        }
    }

    /// Puts the flights of a store in place, in the order they are to be sent again. Ids that
    /// stand twice or are none are left out.
    pub(crate) fn restore(&mut self, flights: Vec<(Flight, Delivery)>) {
        let mut known = BTreeMap::new();
        for (flight, delivery) in flights {
            let number = self.flights.len() as u32;
            if flight.packet_id != 0 && known.insert(flight.packet_id, number).is_none() {
                self.bytes += u64::from(flight.weight);
                self.last_id = flight.packet_id;
                self.flights.push_back(flight);
                self.kept.push_back(Some(delivery));
            }
        }
        self.live = self.flights.len();
        // Their order is that of their entries, which need not be that of their ids.
        self.index = (!known.is_empty()).then_some(known);
    }

    /// Whether nothing is left over from an earlier connection.
    pub(crate) fn all_sent(&self) -> bool {
        self.sent == self.flights.len()
    }

    /// A new connection: everything has to be sent again.
    pub(crate) const fn restart(&mut self) {
        (self.sent, self.sent_live) = (0, 0);
    }

    /// The next flight to be sent again, and what was kept of it, while fewer than `limit` are in
    /// flight.
    pub(crate) fn next_unsent(&mut self, limit: usize) -> Option<(Flight, Option<&Delivery>)> {
        if self.sent_live >= limit {
            return None;
        }
        while self.flights.get(self.sent)?.is_over() {
            self.sent += 1;
        }
        let at = self.sent;
        let flight = *self.flights.get(at)?;
        self.sent += 1;
        self.sent_live += 1;
        Some((flight, self.delivery(at)))
    }

    /// All flights of which something was kept, oldest first.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&Flight, &Delivery)> {
        let all = self.flights.iter().zip(&self.kept);
        let live = all.filter(|(flight, _)| !flight.is_over());
        live.filter_map(|(flight, kept)| Some((flight, kept.as_ref()?)))
    }

    /// The flight with that id, and its place, which is good until one is put in or ends.
    #[inline]
    pub(crate) fn find(&self, packet_id: u16) -> Option<(usize, Flight)> {
        let front = self.flights.front()?.packet_id;
        let near = usize::from(distance(front, packet_id));
        match self.flights.get(near) {
            // Mostly no id is left out.
            Some(&flight) if flight.packet_id == packet_id && !flight.is_over() => {
                Some((near, flight))
            }
            _ => {
                let at = self.search(front, packet_id)?;
                Some((at, *self.flights.get(at)?))
            }
        }
    }

    /// The client has the message at that place, which need not be kept any longer; its number in
    /// the store.
    pub(crate) fn arrived(&mut self, at: usize) -> EntryNo {
        if let Some(flight) = self.flights.get_mut(at) {
            flight.stage = Stage::Released;
        }
        let Some(Some(kept)) = self.kept.get_mut(at) else {
            return EntryNo::NONE;
        };
        kept.message = None;
        kept.entry
    }

    /// Ends the flight at that place; its number in the store.
    pub(crate) fn end(&mut self, at: usize) -> EntryNo {
        let Some(flight) = self.flights.get_mut(at).filter(|flight| !flight.is_over()) else {
            return EntryNo::NONE;
        };
        flight.stage = Stage::Over;
        self.bytes -= u64::from(flight.weight);
        if let Some(index) = &mut self.index {
            index.remove(&flight.packet_id);
        }
        let kept = self.kept.get_mut(at).and_then(Option::take);
        let entry = kept.map_or(EntryNo::NONE, |kept| kept.entry);
        self.live -= 1;
        self.sent_live -= usize::from(at < self.sent);
        self.trim();
        if self.flights.len() > 2 * self.live + GAPS {
            self.drain_where(|_, _| false);
        }
        entry
    }

    /// Takes out what was kept of all flights for which `take` says so, and closes the gaps.
    pub(crate) fn drain_where(
        &mut self,
        mut take: impl FnMut(&Flight, &Delivery) -> bool,
    ) -> Vec<Delivery> {
        let mut taken = Vec::new();
        let mut flights = VecDeque::with_capacity(self.live);
        let mut kept = VecDeque::with_capacity(self.kept.len().min(self.live));
        let (mut sent, mut bytes) = (0, 0);
        for (at, flight) in self.flights.drain(..).enumerate() {
            let mut of_it = self.kept.get_mut(at).map(Option::take);
            if flight.is_over() {
                continue;
            }
            let one = of_it.as_mut().and_then(|one| one.take_if(|one| take(&flight, one)));
            if let Some(one) = one {
                taken.push(one);
                continue;
            }
            sent += usize::from(at < self.sent);
            bytes += u64::from(flight.weight);
            flights.push_back(flight);
            kept.extend(of_it);
        }
        (self.flights, self.kept, self.bytes) = (flights, kept, bytes);
        self.live = self.flights.len();
        (self.sent, self.sent_live) = (sent, sent);
        if self.index.take().is_some() && !self.flights.is_empty() {
            self.build_index();
        }
        taken
    }

    /// What was kept of the flight at that place.
    fn delivery(&self, at: usize) -> Option<&Delivery> {
        self.kept.get(at)?.as_ref()
    }

    /// Removes gaps from both ends.
    fn trim(&mut self) {
        while self.flights.front().is_some_and(Flight::is_over) {
            self.flights.pop_front();
            self.kept.pop_front();
            self.first = self.first.wrapping_add(1);
            self.sent = self.sent.saturating_sub(1);
        }
        while self.flights.back().is_some_and(Flight::is_over) {
            self.flights.pop_back();
            self.kept.truncate(self.flights.len());
        }
        self.sent = self.sent.min(self.flights.len());
        if self.flights.is_empty() {
            self.index = None;
        }
    }

    fn build_index(&mut self) {
        let numbers = self.flights.iter().zip(0u32..);
        let live = numbers.filter(|(flight, _)| !flight.is_over());
        let index = live.map(|(flight, at)| (flight.packet_id, self.first.wrapping_add(at)));
        self.index = Some(index.collect());
    }

    /// Whether the id lies between the first and the last.
    fn in_range(&self, packet_id: u16) -> bool {
        match (self.flights.front(), self.flights.back()) {
            (Some(first), Some(last)) => {
                let first = first.packet_id;
                distance(first, packet_id) <= distance(first, last.packet_id)
            }
            _ => false,
        }
    }

    fn search(&self, front: u16, packet_id: u16) -> Option<usize> {
        if let Some(index) = &self.index {
            let number = index.get(&packet_id)?;
            return Some(number.wrapping_sub(self.first) as usize);
        }
        self.flights
            .binary_search_by_key(&distance(front, packet_id), |flight| {
                distance(front, flight.packet_id)
            })
            .ok()
            .filter(|&at| !self.flights[at].is_over())
    }
}

const fn next_id(last: u16) -> u16 {
    if last == u16::MAX { 1 } else { last + 1 }
}

/// How many ids after `from` comes `to`, 0 being no id.
const fn distance(from: u16, to: u16) -> u16 {
    if to >= from { to - from } else { (u16::MAX - from) + to }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(entry: EntryNo) -> Delivery {
        Delivery {
            message: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: Ids::None,
            group: None,
            weight: 3,
            entry,
        }
    }

    fn put(inflight: &mut Inflight) -> Option<u16> {
        inflight.put(QoS::AtLeastOnce, 3)
    }

    /// Ends the flight with that id, if there is one.
    fn end(inflight: &mut Inflight, packet_id: u16) -> Option<EntryNo> {
        let (at, flight) = inflight.find(packet_id)?;
        assert_eq!(flight.packet_id, packet_id);
        Some(inflight.end(at))
    }

    #[test]
    fn ids_are_never_in_use_twice_even_around_a_stuck_one() {
        let mut inflight = Inflight::default();
        let stuck = put(&mut inflight).expect("free");
        assert_eq!(stuck, 1);
        for _ in 0..200_000 {
            let id = put(&mut inflight).expect("free");
            assert!(id != 0 && id != stuck);
            assert!(end(&mut inflight, id).is_some());
        }
        assert_eq!(inflight.len(), 1);
        assert_eq!(inflight.bytes(), 3);
    }

    #[test]
    fn as_many_as_are_allowed_and_no_more() {
        let mut inflight = Inflight::default();
        for _ in 0..MAX_FLIGHTS {
            assert!(put(&mut inflight).is_some());
        }
        assert!(put(&mut inflight).is_none());
        for id in (1..=MAX_FLIGHTS as u16).rev() {
            assert!(end(&mut inflight, id).is_some(), "id {id}");
        }
        assert_eq!((inflight.len(), inflight.bytes()), (0, 0));
    }

    #[test]
    fn any_order_of_acknowledgements_is_like_a_list() {
        let mut inflight = Inflight::default();
        // Id, number in the store, whether it was sent on this connection.
        let mut list: Vec<(u16, EntryNo, bool)> = Vec::new();
        let mut state = 7u64;
        let mut below = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % end
        };
        let mut rounds = 0;
        for step in 0..400_000 {
            let pushing =
                list.is_empty() || below(100) < if step / 5000 % 2 == 0 { 60 } else { 40 };
            if pushing && inflight.all_sent() {
                let id = put(&mut inflight).expect("free");
                // For a while nothing is kept of any, then of some.
                let kept = step / 20_000 % 2 == 0 && below(3) == 0;
                let kept = kept.then(|| delivery(EntryNo(step)));
                let entry = kept.as_ref().map_or(EntryNo::NONE, |kept| kept.entry);
                kept.into_iter().for_each(|kept| inflight.keep(kept));
                assert!(list.iter().all(|&(other, ..)| other != id));
                rounds += usize::from(id == 1);
                list.push((id, entry, true));
            } else if !list.is_empty() {
                // Mostly any of the newer ones, so that some stay for rounds.
                let at = match below(20) {
                    0 => below(list.len()),
                    _ => list.len() - 1 - below(list.len().min(30)),
                };
                let (id, entry, _) = list.remove(at);
                assert_eq!(end(&mut inflight, id), Some(entry));
                assert!(inflight.find(id).is_none());
            }
            if below(2000) == 0 {
                inflight.restart();
                list.iter_mut().for_each(|(.., sent)| *sent = false);
            }
            if !inflight.all_sent() {
                let expected = list.iter_mut().find(|(.., sent)| !sent).expect("one is unsent");
                expected.2 = true;
                let (flight, kept) = inflight.next_unsent(usize::MAX).expect("one is unsent");
                let entry = kept.map_or(EntryNo::NONE, |kept| kept.entry);
                assert_eq!((flight.packet_id, entry), (expected.0, expected.1));
            }
            assert_eq!(inflight.len(), list.len());
            assert_eq!(inflight.all_sent(), list.iter().all(|&(.., sent)| sent));
            assert!(inflight.flights.len() <= 2 * inflight.live + GAPS);
        }
        assert!(rounds > 2, "ids were used again");
        let ids: Vec<u16> = inflight.flights.iter().map(|flight| flight.packet_id).collect();
        assert!(list.iter().all(|(id, ..)| ids.contains(id)));
        let numbers = list.iter().map(|&(_, entry, _)| entry);
        let expected: Vec<EntryNo> = numbers.filter(|&entry| entry != EntryNo::NONE).collect();
        assert!(inflight.kept().map(|(_, kept)| kept.entry).eq(expected.iter().copied()));
        let drained = inflight.drain_where(|_, kept| kept.entry != EntryNo::NONE);
        assert!(drained.iter().map(|kept| kept.entry).eq(expected));
        let left = list.iter().filter(|(_, entry, _)| *entry == EntryNo::NONE);
        assert!(inflight.flights.iter().map(|flight| flight.packet_id).eq(left.map(|it| it.0)));
        assert_eq!(inflight.bytes(), 3 * inflight.len() as u64);
    }
}
