//! A session's entries, by number.
//!
//! They come with rising numbers and go from the front, so a ring does what a tree would, at a
//! fraction of its cost. What goes from the middle leaves a hole until its turn comes, or until
//! holes are the most of it: no order of acknowledgements makes it dear.

use super::session::Entry;
use crate::ops::EntryNo;
use std::collections::VecDeque;

/// Places an empty ring keeps.
const KEPT: usize = 256;

/// Entries by rising number.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// `None`: it is gone. The first and the last are there.
    slots: VecDeque<(EntryNo, Option<Entry>)>,
    live: usize,
}

impl Entries {
    pub(super) const fn is_empty(&self) -> bool {
        self.live == 0
    }

    pub(super) fn get(&self, entry: EntryNo) -> Option<&Entry> {
        let at = self.find(entry).ok()?;
        self.slots.get(at)?.1.as_ref()
    }

    pub(super) fn get_mut(&mut self, entry: EntryNo) -> Option<&mut Entry> {
        let at = self.find(entry).ok()?;
        self.slots.get_mut(at)?.1.as_mut()
    }

    /// Puts an entry in; what was there under its number.
    pub(super) fn insert(&mut self, entry: EntryNo, state: Entry) -> Option<Entry> {
        let before = match self.find(entry) {
            Ok(at) => self.slots.get_mut(at).and_then(|slot| slot.1.replace(state)),
            Err(at) => {
                self.slots.insert(at, (entry, Some(state)));
                None
            }
        };
        self.live += usize::from(before.is_none());
        before
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, entry: EntryNo) -> Option<Entry> {
        let at = self.find(entry).ok()?;
        let state = self.slots.get_mut(at)?.1.take()?;
        self.live -= 1;
        while self.slots.front().is_some_and(|slot| slot.1.is_none()) {
            self.slots.pop_front();
        }
        while self.slots.back().is_some_and(|slot| slot.1.is_none()) {
            self.slots.pop_back();
        }
        if self.slots.len() > KEPT && self.live < self.slots.len() / 2 {
            self.slots.retain(|slot| slot.1.is_some());
        }
        if self.slots.is_empty() && self.slots.capacity() > KEPT {
            self.slots = VecDeque::new();
        }
        Some(state)
    }

    /// All of them, by rising number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EntryNo, &Entry)> {
        self.slots.iter().filter_map(|(entry, state)| Some((*entry, state.as_ref()?)))
    }

    /// Where it is, or would have to be.
    fn find(&self, entry: EntryNo) -> Result<usize, usize> {
        match (self.slots.front(), self.slots.back()) {
            (Some(first), _) if first.0 == entry => Ok(0),
            (_, Some(last)) if last.0 < entry => Err(self.slots.len()),
            _ => self.slots.binary_search_by_key(&entry, |slot| slot.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn state(packet_id: u16) -> Entry {
        Entry { delivery: None, packet_id: Some(packet_id), released: false }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_tree_would(
            steps in prop::collection::vec((0..600_u64, 0..4_u8, any::<u16>()), 0..3000)
        ) {
            let (mut entries, mut tree) = (Entries::default(), BTreeMap::new());
            for (no, what, id) in steps {
                let no = EntryNo(no);
                let id_of = |entry: Entry| entry.packet_id.unwrap_or_default();
                if what < 2 {
                    prop_assert_eq!(entries.insert(no, state(id)).map(id_of), tree.insert(no, id));
                } else {
                    prop_assert_eq!(entries.remove(no).map(id_of), tree.remove(&no));
                }
                prop_assert_eq!(entries.get(no).is_some(), tree.contains_key(&no));
            }
            let found: Vec<_> = entries.iter().map(|(no, it)| (no, it.packet_id)).collect();
            let expected: Vec<_> = tree.iter().map(|(no, id)| (*no, Some(*id))).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(entries.live, tree.len());
            prop_assert!(entries.slots.len() <= KEPT.max(2 * entries.live + 1));
        }
    }

    #[test]
    fn what_goes_from_the_back_to_the_front_leaves_nothing() {
        let mut entries = Entries::default();
        for no in 0..10_000 {
            entries.insert(EntryNo(no), state(1));
        }
        for no in (1..9_999).rev() {
            entries.remove(EntryNo(no));
        }
        assert!(entries.slots.len() <= KEPT);
        entries.remove(EntryNo(9_999));
        entries.remove(EntryNo(0));
        assert_eq!((entries.slots.len(), entries.live), (0, 0));
        assert!(entries.slots.capacity() <= KEPT);
    }
}
