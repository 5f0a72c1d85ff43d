//! Which messages of one publisher are still on their way: the end-to-end flow control.
//!
//! A publisher at QoS 0 hears nothing back from a broker, so how far it may run ahead is decided
//! by what has come out at the other end. Without that, a load without acknowledgements only
//! measures how a broker throws messages away.

/// The deliveries each of the newest messages still waits for, in a ring by sequence number.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    left: Box<[u32]>,
    next: u32,
    open: u32,
}

impl Flight {
    /// Room for `limit` messages on their way; what is older than the ring counts as settled.
    pub(super) fn new(limit: u32) -> Self {
        let slots = (limit.max(1) as usize).saturating_mul(4).next_power_of_two();
        Self { left: vec![0; slots].into_boxed_slice(), next: 0, open: 0 }
    }

    /// Messages with deliveries outstanding.
    #[inline]
    pub(super) fn open(&self) -> u32 {
        self.open
    }

    /// The next message leaves and will be delivered `deliveries` times; says its number.
    #[inline]
    pub(super) fn depart(&mut self, deliveries: u32) -> u32 {
        let seq = self.next;
        self.next += 1;
        let slot = self.slot(seq);
        if self.left[slot] > 0 {
            // Four windows old and never arrived: given up, or it would block for ever.
            self.open -= 1;
        }
        self.left[slot] = deliveries;
        self.open += u32::from(deliveries > 0);
        seq
    }

    /// One delivery of `seq` arrived, or will never.
    #[inline]
    pub(super) fn arrive(&mut self, seq: u32) {
        let age = self.next.wrapping_sub(seq) as usize;
        if age == 0 || age > self.left.len() {
            return;
        }
        let slot = self.slot(seq);
        match self.left[slot] {
            0 => {}
            1 => {
                self.left[slot] = 0;
                self.open -= 1;
            }
            more => self.left[slot] = more - 1,
        }
    }

    /// Gives up everything that is on its way, and says how many messages that were.
    pub(super) fn give_up(&mut self) -> u32 {
        self.left.fill(0);
        std::mem::take(&mut self.open)
    }

    /// Messages that departed.
    pub(super) fn departed(&self) -> u32 {
        self.next
    }

    fn slot(&self, seq: u32) -> usize {
        seq as usize & (self.left.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_open_until_its_last_delivery() {
        let mut flight = Flight::new(8);
        let seq = flight.depart(2);
        assert_eq!((seq, flight.open()), (0, 1));
        flight.arrive(seq);
        assert_eq!(flight.open(), 1);
        flight.arrive(seq);
        assert_eq!(flight.open(), 0);
        flight.arrive(seq);
        assert_eq!(flight.open(), 0, "one delivery too many changes nothing");
    }

    #[test]
    fn a_lost_message_frees_its_place_when_the_ring_comes_round() {
        let mut flight = Flight::new(1);
        flight.depart(1);
        for _ in 0..3 {
            let seq = flight.depart(1);
            flight.arrive(seq);
        }
        assert_eq!(flight.open(), 1);
        let seq = flight.depart(1);
        flight.arrive(seq);
        assert_eq!(flight.open(), 0);
    }

    #[test]
    fn numbers_that_never_departed_are_ignored() {
        let mut flight = Flight::new(4);
        flight.depart(1);
        flight.arrive(1);
        flight.arrive(900);
        assert_eq!(flight.open(), 1);
        assert_eq!(flight.give_up(), 1);
        assert_eq!((flight.open(), flight.departed()), (0, 1));
    }

    #[test]
    fn a_message_for_nobody_is_never_open() {
        let mut flight = Flight::new(4);
        flight.depart(0);
        assert_eq!(flight.open(), 0);
    }
}
