//! State that few sessions of a large broker have at a time, at the price of a pointer.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// What stands for nothing until it is changed for the first time.
pub(crate) trait Spare: 'static {
    /// What a new one is made from.
    type Seed;

    /// One with nothing in it, which nobody changes.
    fn nothing() -> &'static Self;

    /// A new one, with nothing in it.
    fn make(seed: &Self::Seed) -> Self;

    /// Whether it is worth no more than a new one.
    fn is_spare(&self) -> bool;
}

/// A `T`, on the heap once somebody writes to it: then it is made, and stays until
/// [`Self::release`]. Whoever only takes from it asks [`Self::made`], so that nothing is made for
/// nothing.
pub(crate) struct Seldom<T: Spare> {
    made: Option<Box<T>>,
    seed: T::Seed,
}

impl<T: Spare> Seldom<T> {
    /// Nothing yet.
    pub(crate) const fn new(seed: T::Seed) -> Self {
        Self { made: None, seed }
    }

    /// What there is, if it was made.
    #[inline]
    pub(crate) fn made(&mut self) -> Option<&mut T> {
        self.made.as_deref_mut()
    }

    /// Gives its memory back if there is nothing in it.
    pub(crate) fn release(&mut self) {
        if self.made.as_ref().is_some_and(|made| made.is_spare()) {
            self.made = None;
        }
    }
}

impl<T: Spare> Deref for Seldom<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.made {
            Some(made) => made,
            None => T::nothing(),
        }
    }
}

impl<T: Spare> DerefMut for Seldom<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.made.get_or_insert_with(|| Box::new(T::make(&self.seed)))
    }
}

impl<T: Spare<Seed: Default>> Default for Seldom<T> {
    fn default() -> Self {
        Self::new(T::Seed::default())
    }
}

impl<T: Spare + fmt::Debug> fmt::Debug for Seldom<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idset::IdSet;

    #[test]
    fn it_is_made_by_the_first_change_and_released_when_nothing_is_left() {
        let mut ids: Seldom<IdSet> = Seldom::default();
        assert!(!ids.contains(7) && ids.made().is_none());
        assert!(ids.insert(7) && ids.contains(7));
        ids.release();
        assert!(ids.contains(7), "what is in it stays");
        ids.remove(7);
        ids.release();
        assert!(ids.made().is_none() && !ids.contains(7));
    }
}
