//! What became of the messages of one publisher on their way to one place: sequence numbers seen
//! once, twice, late, or never.
//!
//! ```text
//!   0 1 2 3 . . 6 7 . 9            next = 10
//!           └┬┘     └ missing: [4,6) [8,9)
//! ```

use std::collections::VecDeque;

/// What a sequence number says about its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next one, or one beyond a gap: everything from `from` to this one is settled.
    Forward {
        /// The number that was expected.
        from: u32,
    },
    /// Older than one that came before it, and seen for the first time.
    Late,
    /// Seen before.
    Duplicate,
}

/// Counts of one stream, or summed over many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Different messages seen.
    pub(super) distinct: u64,
    /// Messages seen again.
    pub(super) duplicated: u64,
    /// Messages that came after a later one.
    pub(super) reordered: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.distinct += other.distinct;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
    }
}

/// Gaps remembered for one stream. Where a broker loses in more places than this, a message
/// that fills a forgotten gap counts as a duplicate; what is lost stays exact.
const MAX_GAPS: usize = 65_536;

/// The sequence numbers seen of one stream. It begins with 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequence {
    next: u32,
    /// Half-open ranges below `next` that were not seen, ascending.
    missing: VecDeque<(u32, u32)>,
    tally: Tally,
}

impl Sequence {
    /// Takes note of one message.
    #[inline]
    pub(super) fn observe(&mut self, seq: u32) -> Verdict {
        if seq == self.next {
            self.next += 1;
            self.tally.distinct += 1;
            return Verdict::Forward { from: seq };
        }
        self.observe_odd(seq)
    }

    /// What was seen so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    #[cold]
    fn observe_odd(&mut self, seq: u32) -> Verdict {
        if seq > self.next {
            let from = self.next;
            if self.missing.len() == MAX_GAPS {
                self.missing.pop_front();
            }
            self.missing.push_back((from, seq));
            self.next = seq + 1;
            self.tally.distinct += 1;
            return Verdict::Forward { from };
        }
        let at = self.missing.partition_point(|&(_, end)| end <= seq);
        match self.missing.get(at).copied() {
            Some((start, end)) if start <= seq => {
                self.fill(at, start, end, seq);
                self.tally.distinct += 1;
                self.tally.reordered += 1;
                Verdict::Late
            }
            _ => {
                self.tally.duplicated += 1;
                Verdict::Duplicate
            }
        }
    }

    fn fill(&mut self, at: usize, start: u32, end: u32, seq: u32) {
        match (start == seq, end == seq + 1) {
            (true, true) => {
                self.missing.remove(at);
            }
            (true, false) => self.missing[at].0 = seq + 1,
            (false, true) => self.missing[at].1 = seq,
            (false, false) => {
                self.missing[at].1 = seq;
                self.missing.insert(at + 1, (seq + 1, end));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn tally_of(seqs: &[u32]) -> Tally {
        let mut sequence = Sequence::default();
        for &seq in seqs {
            sequence.observe(seq);
        }
        sequence.tally()
    }

    #[test]
    fn a_stream_in_order_has_nothing_to_report() {
        let expected = Tally { distinct: 4, ..Tally::default() };
        assert_eq!(tally_of(&[0, 1, 2, 3]), expected);
    }

    #[test]
    fn a_gap_counts_once_and_may_be_filled_late() {
        let tally = tally_of(&[0, 5, 3, 1, 2, 4]);
        assert_eq!((tally.distinct, tally.duplicated, tally.reordered), (6, 0, 4));
        let tally = tally_of(&[2, 3]);
        assert_eq!((tally.distinct, tally.duplicated, tally.reordered), (2, 0, 0));
    }

    #[test]
    fn what_was_seen_is_a_duplicate_also_inside_a_filled_gap() {
        let tally = tally_of(&[0, 0, 4, 2, 2, 4, 0]);
        assert_eq!((tally.distinct, tally.duplicated, tally.reordered), (3, 4, 1));
    }

    #[test]
    fn forward_names_everything_it_settles() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.observe(0), Verdict::Forward { from: 0 });
        assert_eq!(sequence.observe(7), Verdict::Forward { from: 1 });
        assert_eq!(sequence.observe(3), Verdict::Late);
        assert_eq!(sequence.observe(3), Verdict::Duplicate);
        assert_eq!(sequence.observe(8), Verdict::Forward { from: 8 });
    }

    #[test]
    fn many_gaps_keep_the_loss_exact() {
        let mut sequence = Sequence::default();
        let count = MAX_GAPS as u32 + 10;
        for i in 0..count {
            sequence.observe(2 * i);
        }
        assert_eq!(sequence.missing.len(), MAX_GAPS);
        assert_eq!(sequence.tally().distinct, u64::from(count));
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_set(seqs in proptest::collection::vec(0u32..40, 0..120)) {
            let mut seen = HashSet::new();
            let (mut duplicated, mut reordered) = (0, 0);
            for &seq in &seqs {
                let late = seen.iter().any(|&other| other > seq);
                match (seen.insert(seq), late) {
                    (false, _) => duplicated += 1,
                    (true, true) => reordered += 1,
                    (true, false) => {}
                }
            }
            let distinct = seen.len() as u64;
            let tally = tally_of(&seqs);
            proptest::prop_assert_eq!(tally, Tally { distinct, duplicated, reordered });
        }
    }
}
