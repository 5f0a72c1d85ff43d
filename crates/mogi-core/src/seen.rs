//! Which texts were met before, told by their hashes: roughly, in little room.
//!
//! A bit per hash. Another text with the same bit is taken for a text met before, which costs its
//! owner a place it need not have given; so does forgetting everything once many bits are set.

/// Bits for each text that is not to be forgotten: so of new texts one in sixteen is taken for
/// another on the average.
const BITS: usize = 8;
/// Texts that are not forgotten at the least and at the most: 64 KiB to 8 MiB.
const TEXTS: std::ops::RangeInclusive<usize> = 1 << 16..=1 << 23;

/// The hashes met.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Nothing before the first text.
    bits: Vec<u64>,
    texts: usize,
    limit: usize,
}

impl Seen {
    /// None yet. As many texts as `limit` that come in turns are all known when they come again:
    /// if they were forgotten before that, hardly one would ever count as met before.
    pub(crate) fn with_limit(limit: usize) -> Self {
        let limit = limit.clamp(*TEXTS.start(), *TEXTS.end());
        Self { bits: Vec::new(), texts: 0, limit: limit.next_power_of_two() }
    }

    /// Whether a text with this hash was met before; it was from now on.
    pub(crate) fn again(&mut self, hash: u64) -> bool {
        let words = self.limit * BITS / 64;
        if self.bits.is_empty() {
            self.bits = vec![0; words];
        }
        let word = &mut self.bits[(hash >> 6) as usize % words];
        let bit = 1 << (hash % 64);
        if *word & bit != 0 {
            return true;
        }
        *word |= bit;
        self.texts += 1;
        if self.texts == self.limit {
            *self = Self::with_limit(self.limit);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    /// Hashes as good as random, the same in every run.
    fn hash(number: u64) -> u64 {
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    #[test]
    fn a_text_is_met_once_and_then_again() {
        let mut seen = Seen::with_limit(1);
        let mistaken = (0..10_000).filter(|&number| seen.again(hash(number))).count();
        assert!(mistaken < 500, "{mistaken} of 10,000 new texts");
        assert!((0..10_000).all(|number| seen.again(hash(number))));
    }

    #[test]
    fn endless_new_texts_never_fill_it() {
        let mut seen = Seen::with_limit(1);
        let mistaken = (0..1_000_000).filter(|&number| seen.again(hash(number))).count();
        assert!(mistaken < 100_000, "{mistaken} of 1,000,000 new texts");
    }

    /// However many there were before them.
    #[test]
    fn as_many_as_there_is_room_for_are_known_when_they_come_again() {
        for others in [0, 1, 50_000, 131_071] {
            let mut seen = Seen::with_limit(131_072);
            let mut known =
                |numbers: Range<u64>| numbers.filter(|&number| seen.again(hash(number))).count();
            known(0..others);
            let rounds = [0; 3].map(|_| known(200_000..300_000));
            assert_eq!(rounds[2], 100_000, "{rounds:?} after {others} others");
        }
    }
}
