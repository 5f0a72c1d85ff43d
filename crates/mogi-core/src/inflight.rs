//! Messages in flight to a client, in the order they were sent.
//!
//! ```text
//!  front                                      back
//!  [ 7 PUBLISH q1 ][ 8 PUBREL ][ 9 PUBLISH q2 ] ──► next id 10
//!    oldest, resent first                newest
//! ```
//! Ids are given out in rising order, so an entry is found by its distance from the front; only
//! an id that stayed unacknowledged for a whole round of 65,535 breaks that, and then a scan helps.

use crate::message::Message;
use crate::route::Ids;
use crate::shared::Group;
use mogi_codec::QoS;
use std::collections::VecDeque;
use std::sync::Arc;

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
    pub(crate) group: Option<Arc<Group>>,
    /// Topic, properties and payload, in bytes.
    pub(crate) weight: u32,
}

/// A delivery with its packet identifier.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) packet_id: u16,
    pub(crate) stage: Stage,
    pub(crate) delivery: Delivery,
}

/// The messages in flight to one client.
#[derive(Debug, Default)]
pub(crate) struct Inflight {
    flights: VecDeque<Flight>,
    /// How many of them, from the front, were sent on the connection there is now.
    sent: usize,
    last_id: u16,
    bytes: u64,
}

impl Inflight {
    pub(crate) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a free packet id and puts the delivery in flight; `None` when all ids are in use
    /// ([MQTT-2.2.1-4]).
    pub(crate) fn push(&mut self, delivery: Delivery) -> Option<u16> {
        let packet_id = self.free_id()?;
        self.bytes += u64::from(delivery.weight);
        debug_assert!(self.all_sent());
        self.flights.push_back(Flight {
            packet_id,
            stage: Stage::Published,
            delivery,
        });
        self.sent += 1;
        Some(packet_id)
    }

    /// Whether nothing is left over from an earlier connection.
    pub(crate) fn all_sent(&self) -> bool {
        self.sent == self.flights.len()
    }

    /// A new connection: everything has to be sent again.
    pub(crate) fn restart(&mut self) {
        self.sent = 0;
    }

    /// The next flight to be sent again, while fewer than `limit` are in flight.
    pub(crate) fn next_unsent(&mut self, limit: usize) -> Option<&Flight> {
        if self.sent >= limit {
            return None;
        }
        let flight = self.flights.get(self.sent)?;
        self.sent += 1;
        Some(flight)
    }

    /// The flight with that id.
    pub(crate) fn get_mut(&mut self, packet_id: u16) -> Option<&mut Flight> {
        let at = self.position(packet_id)?;
        self.flights.get_mut(at)
    }

    /// Ends the flight with that id.
    pub(crate) fn remove(&mut self, packet_id: u16) -> Option<Flight> {
        let at = self.position(packet_id)?;
        let flight = self.flights.remove(at)?;
        self.sent -= usize::from(at < self.sent);
        self.bytes -= u64::from(flight.delivery.weight);
        Some(flight)
    }

    /// Takes out all flights for which `take` says so.
    pub(crate) fn drain_where(&mut self, mut take: impl FnMut(&Flight) -> bool) -> Vec<Flight> {
        let mut taken = Vec::new();
        let mut kept = VecDeque::with_capacity(self.flights.len());
        let mut sent = 0;
        for (at, flight) in self.flights.drain(..).enumerate() {
            let take = take(&flight);
            sent += usize::from(!take && at < self.sent);
            if take {
                self.bytes -= u64::from(flight.delivery.weight);
                taken.push(flight);
            } else {
                kept.push_back(flight);
            }
        }
        self.flights = kept;
        self.sent = sent;
        taken
    }

    fn free_id(&mut self) -> Option<u16> {
        if self.flights.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            // Only where the oldest is a whole round behind can an id still be in use.
            let oldest = self.flights.front().map(|flight| flight.packet_id);
            let crowded = oldest
                .is_some_and(|oldest| distance(oldest, self.last_id) < self.flights.len() as u16);
            if !crowded || self.position(self.last_id).is_none() {
                return Some(self.last_id);
            }
        }
    }

    fn position(&self, packet_id: u16) -> Option<usize> {
        let front = self.flights.front()?.packet_id;
        if front == packet_id {
            return Some(0);
        }
        let at = self
            .flights
            .binary_search_by_key(&distance(front, packet_id), |flight| {
                distance(front, flight.packet_id)
            })
            .ok()
            .filter(|&at| self.flights[at].packet_id == packet_id);
        at.or_else(|| {
            self.flights
                .iter()
                .position(|flight| flight.packet_id == packet_id)
        })
    }
}

/// How many ids after `from` comes `to`, 0 being no id.
const fn distance(from: u16, to: u16) -> u16 {
    if to >= from {
        to - from
    } else {
        (u16::MAX - from) + to
    }
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
        }
    }

    #[test]
    fn ids_are_never_in_use_twice_even_around_a_stuck_one() {
        let mut inflight = Inflight::default();
        let stuck = inflight.push(delivery()).expect("free");
        assert_eq!(stuck, 1);
        for _ in 0..200_000 {
            let id = inflight.push(delivery()).expect("free");
            assert!(id != 0 && id != stuck);
            assert!(inflight.remove(id).is_some());
        }
        assert_eq!(inflight.len(), 1);
        assert_eq!(inflight.bytes(), 3);
    }

    #[test]
    fn all_ids_can_be_in_flight_and_no_more() {
        let mut inflight = Inflight::default();
        for _ in 0..65_535 {
            assert!(inflight.push(delivery()).is_some());
        }
        assert!(inflight.push(delivery()).is_none());
        for id in (1..=u16::MAX).rev() {
            assert!(inflight.remove(id).is_some(), "id {id}");
        }
        assert_eq!((inflight.len(), inflight.bytes()), (0, 0));
    }
}
