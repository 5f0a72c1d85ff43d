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
use mogi_codec::QoS;
use std::collections::{BTreeMap, VecDeque};

/// Where the exchange of a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// PUBLISH sent, waiting for PUBACK (QoS 1) or PUBREC (QoS 2).
    Published,
    /// PUBREL sent, waiting for PUBCOMP.
    Released,
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

/// A delivery with its packet identifier.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) packet_id: u16,
    pub(crate) stage: Stage,
    pub(crate) delivery: Delivery,
    /// It has ended, and holds the place only.
    gap: bool,
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
    /// The flight, now that it is one.
    pub(crate) fn live(self) -> Self {
        Self { gap: false, ..self }
    }

    pub(crate) const fn gap(packet_id: u16) -> Self {
        Self {
            packet_id,
            stage: Stage::Released,
            delivery: Delivery {
                message: None,
                qos: QoS::AtMostOnce,
                retain: false,
                ids: Ids::None,
                group: None,
                weight: 0,
                entry: EntryNo::NONE,
            },
            gap: true,
        }
    }
}

/// The messages in flight to one client.
#[derive(Debug, Default)]
pub(crate) struct Inflight {
    /// In the order they were sent. The first and the last are no gaps.
    flights: VecDeque<Flight>,
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

    /// Takes a free packet id; `None` when [`MAX_FLIGHTS`] are in use ([MQTT-2.2.1-4]).
    pub(crate) fn take_id(&mut self) -> Option<u16> {
        if self.live >= MAX_FLIGHTS {
            return None;
        }
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            // Only where the oldest is a whole round behind can an id still be in use.
            let may_be_used = self.index.is_some() || self.in_range(self.last_id);
            if !may_be_used || self.position(self.last_id).is_none() {
                return Some(self.last_id);
            }
        }
    }

    /// Puts a delivery in flight with an id of [`Self::take_id`].
    pub(crate) fn push(&mut self, packet_id: u16, delivery: Delivery) {
        self.bytes += u64::from(delivery.weight);
        debug_assert!(self.all_sent());
        if self.index.is_none() && self.in_range(packet_id) {
            self.build_index();
        }
        if let Some(index) = &mut self.index {
            index.insert(packet_id, self.first.wrapping_add(self.flights.len() as u32));
        }
        self.flights.push_back(Flight { packet_id, stage: Stage::Published, delivery, gap: false });
        self.live += 1;
        self.sent += 1;
        self.sent_live += 1;
    }

    /// Puts the flights of a store in place, in the order they are to be sent again. Ids that
    /// stand twice or are none are left out.
    pub(crate) fn restore(&mut self, flights: Vec<Flight>) {
        let mut known = BTreeMap::new();
        for flight in flights {
            let number = self.flights.len() as u32;
            if flight.packet_id != 0 && known.insert(flight.packet_id, number).is_none() {
                self.bytes += u64::from(flight.delivery.weight);
                self.last_id = flight.packet_id;
                self.flights.push_back(flight);
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

    /// The next flight to be sent again, while fewer than `limit` are in flight.
    pub(crate) fn next_unsent(&mut self, limit: usize) -> Option<&Flight> {
        if self.sent_live >= limit {
            return None;
        }
        while self.flights.get(self.sent)?.gap {
            self.sent += 1;
        }
        let flight = self.flights.get(self.sent)?;
        self.sent += 1;
        self.sent_live += 1;
        Some(flight)
    }

    /// All flights, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.flights.iter().filter(|flight| !flight.gap)
    }

    /// The flight with that id.
    pub(crate) fn get_mut(&mut self, packet_id: u16) -> Option<&mut Flight> {
        let at = self.position(packet_id)?;
        self.flights.get_mut(at)
    }

    /// Ends the flight with that id.
    pub(crate) fn remove(&mut self, packet_id: u16) -> Option<Flight> {
        let at = self.position(packet_id)?;
        self.sent_live -= usize::from(at < self.sent);
        let flight = match at {
            // Mostly it is the oldest.
            0 => self.pop_front()?,
            _ => std::mem::replace(self.flights.get_mut(at)?, Flight::gap(packet_id)),
        };
        self.bytes -= u64::from(flight.delivery.weight);
        self.live -= 1;
        if let Some(index) = &mut self.index {
            index.remove(&packet_id);
        }
        self.trim();
        if self.flights.len() > 2 * self.live + GAPS {
            drop(self.drain_where(|_| false));
        }
        Some(flight)
    }

    /// Takes out all flights for which `take` says so, and closes the gaps.
    pub(crate) fn drain_where(&mut self, mut take: impl FnMut(&Flight) -> bool) -> Vec<Flight> {
        let mut taken = Vec::new();
        let mut kept = VecDeque::with_capacity(self.live);
        let mut sent = 0;
        for (at, flight) in self.flights.drain(..).enumerate() {
            if flight.gap {
                continue;
            }
            if take(&flight) {
                self.bytes -= u64::from(flight.delivery.weight);
                taken.push(flight);
            } else {
                sent += usize::from(at < self.sent);
                kept.push_back(flight);
            }
        }
        self.flights = kept;
        self.live = self.flights.len();
        (self.sent, self.sent_live) = (sent, sent);
        if self.index.take().is_some() && !self.flights.is_empty() {
            self.build_index();
        }
        taken
    }

    /// Removes gaps from both ends.
    fn trim(&mut self) {
        while self.flights.front().is_some_and(|flight| flight.gap) {
            self.pop_front();
        }
        while self.flights.back().is_some_and(|flight| flight.gap) {
            self.flights.pop_back();
        }
        self.sent = self.sent.min(self.flights.len());
        if self.flights.is_empty() {
            self.index = None;
        }
    }

    fn pop_front(&mut self) -> Option<Flight> {
        let flight = self.flights.pop_front()?;
        self.first = self.first.wrapping_add(1);
        self.sent = self.sent.saturating_sub(1);
        Some(flight)
    }

    fn build_index(&mut self) {
        let numbers = self.flights.iter().zip(0u32..);
        let live = numbers.filter(|(flight, _)| !flight.gap);
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

    #[inline]
    fn position(&self, packet_id: u16) -> Option<usize> {
        let front = self.flights.front()?.packet_id;
        if front == packet_id {
            return Some(0);
        }
        if let Some(index) = &self.index {
            let number = index.get(&packet_id)?;
            return Some(number.wrapping_sub(self.first) as usize);
        }
        self.flights
            .binary_search_by_key(&distance(front, packet_id), |flight| {
                distance(front, flight.packet_id)
            })
            .ok()
            .filter(|&at| !self.flights[at].gap)
    }
}

/// How many ids after `from` comes `to`, 0 being no id.
const fn distance(from: u16, to: u16) -> u16 {
    if to >= from { to - from } else { (u16::MAX - from) + to }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        Delivery {
            message: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: Ids::None,
            group: None,
            weight: 3,
            entry: EntryNo::NONE,
        }
    }

    fn put(inflight: &mut Inflight) -> Option<u16> {
        let id = inflight.take_id()?;
        inflight.push(id, delivery());
        Some(id)
    }

    #[test]
    fn ids_are_never_in_use_twice_even_around_a_stuck_one() {
        let mut inflight = Inflight::default();
        let stuck = put(&mut inflight).expect("free");
        assert_eq!(stuck, 1);
        for _ in 0..200_000 {
            let id = put(&mut inflight).expect("free");
            assert!(id != 0 && id != stuck);
            assert!(inflight.remove(id).is_some());
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
            assert!(inflight.remove(id).is_some(), "id {id}");
        }
        assert_eq!((inflight.len(), inflight.bytes()), (0, 0));
    }

    #[test]
    fn any_order_of_acknowledgements_is_like_a_list() {
        let mut inflight = Inflight::default();
        let mut list: Vec<(u16, bool)> = Vec::new();
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
                assert!(list.iter().all(|&(other, _)| other != id));
                rounds += usize::from(id == 1);
                list.push((id, true));
            } else if !list.is_empty() {
                // Mostly any of the newer ones, so that some stay for rounds.
                let at = match below(20) {
                    0 => below(list.len()),
                    _ => list.len() - 1 - below(list.len().min(30)),
                };
                let (id, _) = list.remove(at);
                assert_eq!(inflight.remove(id).map(|flight| flight.packet_id), Some(id));
                assert!(inflight.remove(id).is_none());
            }
            if below(2000) == 0 {
                inflight.restart();
                list.iter_mut().for_each(|(_, sent)| *sent = false);
            }
            if !inflight.all_sent() {
                let next = inflight.next_unsent(usize::MAX).map(|flight| flight.packet_id);
                let expected = list.iter_mut().find(|(_, sent)| !sent).expect("one is unsent");
                expected.1 = true;
                assert_eq!(next, Some(expected.0));
            }
            assert_eq!(inflight.len(), list.len());
            assert_eq!(inflight.all_sent(), list.iter().all(|&(_, sent)| sent));
            assert!(inflight.flights.len() <= 2 * inflight.live + GAPS);
        }
        assert!(rounds > 2, "ids were used again");
        let order: Vec<u16> = list.iter().map(|&(id, _)| id).collect();
        let drained = inflight.drain_where(|_| true);
        let drained: Vec<u16> = drained.iter().map(|flight| flight.packet_id).collect();
        assert_eq!(drained, order);
    }
}
