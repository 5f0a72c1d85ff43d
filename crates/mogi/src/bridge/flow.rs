//! Packets on their way from one broker to the other.
//!
//! A message is acknowledged to its sender only when its receiver has acknowledged it, under the
//! same packet id. So a bridge remembers nothing that a crash could take away: what the receiver
//! has not acknowledged the sender's session still has.

use mogi_codec::QoS;
use std::collections::{HashMap, VecDeque};

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Whether the receiver is there.
    open: bool,
    /// QoS 1 and 2 messages the receiver takes at once.
    limit: usize,
    /// Messages the receiver has not acknowledged; never more than `limit`.
    flights: HashMap<u16, Flight>,
    /// What has to wait. At [`Flow::is_full`] whoever feeds it stops, or goes on with messages of
    /// QoS 1 and 2 only, of which there are never more than in flight at their sender.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Packet ids that other packets of the connection have.
    reserved: Vec<u16>,
}

/// The QoS of a message, and the one it is sent with because the receiver knows no higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) qos: QoS,
    pub(crate) sent: QoS,
}

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    /// Its packet id, if it has to be acknowledged.
    flight: Option<(u16, Flight)>,
    message: bool,
}

/// Bytes that may wait.
const FULL_BYTES: usize = 4 << 20;

impl Flow {
    /// The receiver is there, and takes so many messages at once.
    pub(crate) fn open(&mut self, limit: u16, out: &mut Vec<u8>) {
        self.open = true;
        self.limit = usize::from(limit.max(1));
        self.pump(out);
    }

    /// The receiver is gone, or the sender, who will repeat what was not acknowledged. Only
    /// messages of QoS 0 that wait are kept, if so wished: nobody repeats them.
    pub(crate) fn close(&mut self, keep_qos0: bool) {
        self.open = false;
        self.flights.clear();
        self.reserved.clear();
        self.held.retain(|held| keep_qos0 && held.message && held.flight.is_none());
        self.held_bytes = self.held.iter().map(|held| held.bytes.len()).sum();
    }

    /// Takes a message; `flight` if it has to be acknowledged.
    pub(crate) fn message(
        &mut self,
        bytes: Vec<u8>,
        flight: Option<(u16, Flight)>,
        out: &mut Vec<u8>,
    ) {
        if self.held.is_empty() && self.admits(flight) {
            return self.send(&bytes, flight, out);
        }
        self.hold(Held { bytes, flight, message: true });
    }

    /// Takes another packet.
    pub(crate) fn packet(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.open {
            return out.extend_from_slice(bytes);
        }
        self.hold(Held { bytes: bytes.to_vec(), flight: None, message: false });
    }

    /// The receiver has acknowledged a message for good.
    pub(crate) fn done(&mut self, packet_id: u16, out: &mut Vec<u8>) -> Option<Flight> {
        let flight = self.flights.remove(&packet_id);
        self.pump(out);
        flight
    }

    /// A message that is not acknowledged.
    pub(crate) fn flight(&self, packet_id: u16) -> Option<Flight> {
        self.flights.get(&packet_id).copied()
    }

    /// No message is sent with this packet id.
    pub(crate) fn reserve(&mut self, packet_id: u16) {
        self.reserved.push(packet_id);
    }

    /// The packet id is free again.
    pub(crate) fn release(&mut self, packet_id: u16, out: &mut Vec<u8>) {
        self.reserved.retain(|&other| other != packet_id);
        self.pump(out);
    }

    /// Messages that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.held.iter().filter(|held| held.message).count()
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.flights.is_empty()
    }

    /// Whether so much waits that no more is to be read from the sender.
    pub(crate) const fn is_full(&self) -> bool {
        self.held_bytes >= FULL_BYTES
    }

    fn admits(&self, flight: Option<(u16, Flight)>) -> bool {
        let admits = |(packet_id, _): (u16, Flight)| {
            self.flights.len() < self.limit && !self.reserved.contains(&packet_id)
        };
        self.open && flight.is_none_or(admits)
    }

    fn send(&mut self, bytes: &[u8], flight: Option<(u16, Flight)>, out: &mut Vec<u8>) {
        if let Some((packet_id, flight)) = flight {
            self.flights.insert(packet_id, flight);
        }
        out.extend_from_slice(bytes);
    }

    fn hold(&mut self, held: Held) {
        self.held_bytes += held.bytes.len();
        self.held.push_back(held);
    }

    fn pump(&mut self, out: &mut Vec<u8>) {
        while self.open
            && let Some(front) = self.held.front()
            && self.admits(front.flight)
            && let Some(held) = self.held.pop_front()
        {
            self.held_bytes -= held.bytes.len();
            self.send(&held.bytes, held.flight, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(packet_id: u16) -> Option<(u16, Flight)> {
        let qos = QoS::AtLeastOnce;
        Some((packet_id, Flight { qos, sent: qos }))
    }

    #[test]
    fn the_receiver_gets_no_more_than_it_takes_at_once() {
        let (mut flow, mut out) = (Flow::default(), Vec::new());
        flow.open(2, &mut out);
        for id in 1..=4 {
            flow.message(vec![id as u8], flight(id), &mut out);
        }
        flow.message(vec![0], None, &mut out);
        assert_eq!((&*out, flow.waiting()), (&[1, 2][..], 3));
        assert!(flow.done(2, &mut out).is_some());
        assert!(flow.done(9, &mut out).is_none());
        assert_eq!(out, [1, 2, 3]);
        assert!(flow.done(1, &mut out).is_some());
        assert_eq!(out, [1, 2, 3, 4, 0]);
        assert!(flow.done(3, &mut out).is_some() && !flow.is_idle());
        assert!(flow.done(4, &mut out).is_some() && flow.is_idle());
    }

    #[test]
    fn without_a_receiver_everything_waits_in_order() {
        let (mut flow, mut out) = (Flow::default(), Vec::new());
        flow.message(vec![1], flight(1), &mut out);
        flow.packet(&[2], &mut out);
        flow.message(vec![3], None, &mut out);
        assert!(out.is_empty());
        assert_eq!(flow.waiting(), 2);
        flow.open(9, &mut out);
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn nobody_repeats_messages_of_qos_0() {
        let (mut flow, mut out) = (Flow::default(), Vec::new());
        flow.message(vec![1], flight(1), &mut out);
        flow.packet(&[2], &mut out);
        flow.message(vec![3], None, &mut out);
        flow.close(true);
        assert_eq!((flow.waiting(), flow.held_bytes), (1, 1));
        flow.close(false);
        assert_eq!((flow.waiting(), flow.held_bytes), (0, 0));
    }

    #[test]
    fn a_packet_id_in_use_is_waited_for() {
        let (mut flow, mut out) = (Flow::default(), Vec::new());
        flow.open(9, &mut out);
        flow.reserve(7);
        flow.message(vec![7], flight(7), &mut out);
        flow.message(vec![8], flight(8), &mut out);
        assert!(out.is_empty());
        flow.release(7, &mut out);
        assert_eq!(out, [7, 8]);
    }

    #[test]
    fn it_says_when_it_is_full() {
        let (mut flow, mut out) = (Flow::default(), Vec::new());
        flow.message(vec![0; FULL_BYTES - 1], None, &mut out);
        assert!(!flow.is_full());
        flow.message(vec![0], None, &mut out);
        assert!(flow.is_full());
    }
}
