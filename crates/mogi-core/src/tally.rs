//! Bytes that one owner keeps, counted in the sum of all of them as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A part of a sum; its share leaves the sum with it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    own: u64,
    sum: Option<Arc<AtomicU64>>,
}

impl Tally {
    /// Nothing, of no sum.
    pub(crate) const NONE: Self = Self { own: 0, sum: None };

    /// Nothing yet, of `sum`.
    pub(crate) fn of(sum: &Arc<AtomicU64>) -> Self {
        Self { own: 0, sum: Some(Arc::clone(sum)) }
    }

    /// Another part of the same sum.
    pub(crate) fn another(&self) -> Self {
        Self { own: 0, sum: self.sum.clone() }
    }

    #[inline]
    pub(crate) const fn get(&self) -> u64 {
        self.own
    }

    pub(crate) fn add(&mut self, bytes: u64) {
        self.own += bytes;
        if let Some(sum) = &self.sum {
            sum.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn subtract(&mut self, bytes: u64) {
        self.own -= bytes;
        if let Some(sum) = &self.sum {
            sum.fetch_sub(bytes, Ordering::Relaxed);
        }
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
}
