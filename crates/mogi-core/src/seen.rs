//! Which texts were met before, told by their hashes: roughly, in little room.
//!
//! A bit per hash. Another text with the same bit is taken for a text met before, which costs its
//! owner a place it need not have given; so does forgetting everything once many bits are set.

/// Words of 64 bits: 64 KiB, and nothing before the first text.
const WORDS: usize = 8192;
/// Texts after which all are forgotten: an eighth of the bits, so one text in sixteen is taken for
/// another on the average.
const TEXTS: usize = WORDS * 64 / 8;

/// The hashes met.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    bits: Vec<u64>,
    texts: usize,
}

impl Seen {
    /// Whether a text with this hash was met before; it was from now on.
    pub(crate) fn again(&mut self, hash: u64) -> bool {
        if self.bits.is_empty() {
            self.bits = vec![0; WORDS];
        }
        let word = &mut self.bits[(hash >> 6) as usize % WORDS];
        let bit = 1 << (hash % 64);
        if *word & bit != 0 {
            return true;
        }
        *word |= bit;
        self.texts += 1;
        if self.texts == TEXTS {
            *self = Self::default();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as good as random, the same in every run.
    fn hash(number: u64) -> u64 {
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    #[test]
    fn a_text_is_met_once_and_then_again() {
        let mut seen = Seen::default();
        let mistaken = (0..10_000).filter(|&number| seen.again(hash(number))).count();
        assert!(mistaken < 500, "{mistaken} of 10,000 new texts");
        assert!((0..10_000).all(|number| seen.again(hash(number))));
    }

    #[test]
    fn endless_new_texts_never_fill_it() {
        let mut seen = Seen::default();
        let mistaken = (0..1_000_000).filter(|&number| seen.again(hash(number))).count();
        assert!(mistaken < 100_000, "{mistaken} of 1,000,000 new texts");
    }
}
