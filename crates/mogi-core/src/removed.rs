//! Which retained messages were removed lately: what another node sent before must not bring them
//! back.

use crate::map::Map;
use foldhash::fast::FixedState;
use std::collections::VecDeque;
use std::sync::Arc;

/// Removals that are remembered.
const MAX: usize = 16 * 1024;

/// Topics whose retained message was removed lately, with the removals' versions.
#[derive(Debug)]
pub(crate) struct Removed {
    /// Oldest first.
    order: VecDeque<(Arc<str>, u64)>,
    /// The last removal of each topic.
    last: Map<Arc<str>, u64>,
}

impl Removed {
    pub(crate) const fn new(seed: u64) -> Self {
        let last = Map::with_hasher(FixedState::with_seed(seed));
        Self { order: VecDeque::new(), last }
    }

    /// A topic's message was removed; the oldest removal is forgotten for it if there are many.
    pub(crate) fn note(&mut self, topic: &str, version: u64) {
        if self.is_known(topic, version) {
            return;
        }
        if self.order.len() >= MAX
            && let Some((oldest, version)) = self.order.pop_front()
            && self.last.get(&oldest) == Some(&version)
        {
            self.last.remove(&oldest);
        }
        let topic: Arc<str> = topic.into();
        self.order.push_back((Arc::clone(&topic), version));
        self.last.insert(topic, version);
    }

    /// Whether the topic's message was removed as of this version, or a later one.
    pub(crate) fn is_known(&self, topic: &str, version: u64) -> bool {
        self.last.get(topic).is_some_and(|last| *last >= version)
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.order.iter().map(|(topic, version)| (&**topic, *version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_removals_are_known() {
        let mut removed = Removed::new(7);
        for version in 1..=MAX as u64 + 1 {
            removed.note(&format!("t/{version}"), version);
        }
        removed.note("t/5", 3);
        assert!(!removed.is_known("t/1", 1), "too many came behind it");
        assert!(removed.is_known("t/2", 2) && removed.is_known("t/2", 1));
        assert!(!removed.is_known("t/2", 3));
        assert_eq!(removed.iter().next(), Some(("t/2", 2)));
        assert_eq!((removed.order.len(), removed.last.len()), (MAX, MAX));
    }

    #[test]
    fn a_topic_that_is_removed_again_is_known_as_long_as_the_last_time() {
        let mut removed = Removed::new(7);
        removed.note("t", 1);
        removed.note("t", 2);
        for version in 3..=MAX as u64 + 1 {
            removed.note("u", version);
        }
        assert!(removed.is_known("t", 2));
        removed.note("u", MAX as u64 + 2);
        assert!(!removed.is_known("t", 1));
    }
}
