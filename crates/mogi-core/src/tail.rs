//! The part of a long queue that is only in the store: the numbers of its entries, in order.
//!
//! ```text
//!  ◄── out   front: numbers that came back      packed: a run of differences,     in ──►
//!            from memory when the client left   one or two bytes each
//! ```
//! So a million messages for an absent client take a megabyte or two.

use crate::store::EntryNo;
use std::collections::VecDeque;

/// Numbers of entries, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    front: VecDeque<EntryNo>,
    packed: Packed,
    /// Topic, properties and payload of all of them, as far as they are known.
    bytes: u64,
}

impl Tail {
    pub(crate) fn len(&self) -> usize {
        self.front.len() + self.packed.len
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the newest.
    pub(crate) fn push_back(&mut self, entry: EntryNo, weight: u32) {
        self.bytes += u64::from(weight);
        self.packed.push(entry.0);
    }

    /// Adds one that is older than all others.
    pub(crate) fn push_front(&mut self, entry: EntryNo) {
        self.front.push_front(entry);
    }

    /// All numbers; afterwards they are as they were.
    pub(crate) fn numbers(&mut self) -> Vec<EntryNo> {
        let mut numbers = Vec::with_capacity(self.len());
        while let Some(entry) = self.pop() {
            numbers.push(entry);
        }
        numbers.iter().for_each(|entry| self.packed.push(entry.0));
        numbers
    }

    /// Adds some, in their places by number, with their weights.
    pub(crate) fn merge(&mut self, entries: Vec<(EntryNo, u32)>) {
        let mut numbers = Vec::with_capacity(self.len() + entries.len());
        while let Some(entry) = self.pop() {
            numbers.push(entry);
        }
        for (entry, weight) in entries {
            self.bytes += u64::from(weight);
            numbers.push(entry);
        }
        numbers.sort_unstable();
        numbers.iter().for_each(|entry| self.packed.push(entry.0));
    }

    /// Takes the oldest. Its weight is told with [`Self::forget_bytes`] once it is known.
    pub(crate) fn pop(&mut self) -> Option<EntryNo> {
        self.front.pop_front().or_else(|| self.packed.pop().map(EntryNo))
    }

    /// Counts the weight of one that is older than all others in.
    pub(crate) const fn add_bytes(&mut self, weight: u32) {
        self.bytes += weight as u64;
    }

    /// Counts the weight of one that was taken out.
    pub(crate) const fn forget_bytes(&mut self, weight: u32) {
        self.bytes = self.bytes.saturating_sub(weight as u64);
    }

    /// Nothing is left, here or on its way from here: what lost entries weighed is forgotten.
    pub(crate) const fn settle_bytes(&mut self) {
        self.bytes = 0;
    }
}

/// Bytes of differences in one piece.
const PIECE_BYTES: usize = 1024;

/// Numbers as differences to the one before.
#[derive(Debug, Default)]
struct Packed {
    pieces: VecDeque<Vec<u8>>,
    /// How much of the first piece is gone.
    start: usize,
    len: usize,
    last_in: u64,
    last_out: u64,
}

impl Packed {
    fn push(&mut self, number: u64) {
        // Entries of several workers may come a little out of order.
        let difference = number.wrapping_sub(self.last_in) as i64;
        self.last_in = number;
        self.len += 1;
        let mut rest = ((difference << 1) ^ (difference >> 63)) as u64;
        if self.pieces.back().is_none_or(|piece| piece.len() >= PIECE_BYTES) {
            self.pieces.push_back(Vec::new());
        }
        let Some(piece) = self.pieces.back_mut() else {
            return;
        };
        while rest >= 0x80 {
            piece.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        piece.push(rest as u8);
    }

    fn pop(&mut self) -> Option<u64> {
        let piece = self.pieces.front()?;
        let (mut zigzag, mut shift) = (0u64, 0);
        for &byte in piece.get(self.start..)? {
            self.start += 1;
            zigzag |= u64::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        if self.start == piece.len() {
            self.pieces.pop_front();
            self.start = 0;
        }
        self.len -= 1;
        let difference = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        self.last_out = self.last_out.wrapping_add(difference as u64);
        Some(self.last_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_out_as_they_went_in() {
        let mut tail = Tail::default();
        let mut list = VecDeque::new();
        let mut state = 1u64;
        for _ in 0..100_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match state >> 61 {
                0 => {
                    tail.push_front(EntryNo(state));
                    list.push_front(state);
                }
                1..=4 => {
                    let number = if state & 1 == 0 { state } else { list.len() as u64 };
                    tail.push_back(EntryNo(number), 1);
                    list.push_back(number);
                }
                _ => assert_eq!(tail.pop(), list.pop_front().map(EntryNo)),
            }
            assert_eq!(tail.len(), list.len());
        }
    }

    #[test]
    fn what_is_merged_takes_its_place() {
        let mut tail = Tail::default();
        for number in [2, 5, 9] {
            tail.push_back(EntryNo(number), 1);
        }
        tail.push_front(EntryNo(1));
        tail.merge(vec![(EntryNo(10), 4), (EntryNo(3), 4)]);
        assert_eq!(tail.bytes(), 11);
        let all = [1, 2, 3, 5, 9, 10].map(EntryNo);
        assert_eq!(tail.numbers(), all);
        assert_eq!(std::iter::from_fn(|| tail.pop()).collect::<Vec<_>>(), all);
    }

    #[test]
    fn a_million_neighbours_take_a_megabyte() {
        let mut tail = Tail::default();
        for number in 1..=1_000_000 {
            tail.push_back(EntryNo(5_000_000_000 + number), 0);
        }
        let bytes: usize = tail.packed.pieces.iter().map(Vec::capacity).sum();
        assert!(bytes < 2_200_000, "{bytes}");
    }
}
