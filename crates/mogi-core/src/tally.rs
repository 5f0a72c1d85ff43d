//! Bytes that one owner keeps, counted in the sum of all of them as well.
//!
//! All workers count in one sum, and each change of it takes its cache line from the others. So the
//! sum hears of changes only from a sixteenth of what it knows on: of short queues at once, of
//! long ones every few messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A part of a sum; its share leaves the sum with it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    own: u64,
    /// What the sum knows of it.
    told: u64,
    sum: Option<Arc<AtomicU64>>,
}

/// The part of what the sum knows that it may be wrong by.
const PRECISION: u64 = 16;

impl Tally {
    /// Nothing, of no sum.
    pub(crate) const NONE: Self = Self { own: 0, told: 0, sum: None };

    /// Nothing yet, of `sum`.
    pub(crate) fn of(sum: &Arc<AtomicU64>) -> Self {
        Self { own: 0, told: 0, sum: Some(Arc::clone(sum)) }
    }

    /// Another part of the same sum.
    pub(crate) fn another(&self) -> Self {
        Self { own: 0, told: 0, sum: self.sum.clone() }
    }

    #[inline]
    pub(crate) const fn get(&self) -> u64 {
        self.own
    }

    pub(crate) fn add(&mut self, bytes: u64) {
        self.own += bytes;
        self.tell();
    }

    pub(crate) fn subtract(&mut self, bytes: u64) {
        self.own -= bytes;
        self.tell();
    }

    #[inline]
    fn tell(&mut self) {
        let (own, told) = (self.own, self.told);
        if own.abs_diff(told) <= told / PRECISION {
            return;
        }
        if let Some(sum) = &self.sum {
            // It wraps, so that less is more as well.
            sum.fetch_add(own.wrapping_sub(told), Ordering::Relaxed);
        }
        self.told = own;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.subtract(self.own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_what_is_left() {
        let sum = Arc::new(AtomicU64::new(0));
        let mut one = Tally::of(&sum);
        one.add(10);
        let mut other = one.another();
        other.add(5);
        one.subtract(3);
        assert_eq!((one.get(), other.get(), sum.load(Ordering::Relaxed)), (7, 5, 12));
        drop(one);
        assert_eq!(sum.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn the_sum_is_never_far_off() {
        let sum = Arc::new(AtomicU64::new(0));
        let mut tally = Tally::of(&sum);
        let is_near = |own: u64| sum.load(Ordering::Relaxed).abs_diff(own) <= own / 15;
        for own in 1..=10_000 {
            tally.add(1);
            assert!(is_near(own), "{own}");
        }
        for own in (0..10_000).rev() {
            tally.subtract(1);
            assert!(is_near(own), "{own}");
        }
        drop(tally);
        assert_eq!(sum.load(Ordering::Relaxed), 0);
    }
}
