//! An array in pieces.
//!
//! One that grows as a whole is copied each time, and leaves holes behind that the allocator keeps:
//! of a broker that had just read 300,000 filters a sixth of the memory was such holes. Here what
//! is there stays where it is, and no more than a piece is empty.

use std::ops::{Index, IndexMut};

/// Items in a piece; a power of two.
const PIECE: usize = 1 << SHIFT;
const SHIFT: u32 = 10;

/// Items by index.
pub(super) struct Chunks<T> {
    /// All but the last are full.
    pieces: Vec<Vec<T>>,
}

impl<T> Chunks<T> {
    pub(super) const fn new() -> Self {
        Self { pieces: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    /// Appends an item; its index.
    pub(super) fn push(&mut self, item: T) -> usize {
        let at = self.len();
        if at.is_multiple_of(PIECE) {
            // A small tree is to stay small; the pieces of a large one are made whole.
            let room = if at == 0 { 1 } else { PIECE };
            self.pieces.reserve_exact(if at == 0 { 1 } else { self.pieces.len() });
            self.pieces.push(Vec::with_capacity(room));
        }
        if let Some(last) = self.pieces.last_mut() {
            if last.len() == last.capacity() {
                last.reserve_exact(last.len().min(PIECE - last.len()).max(1));
            }
            last.push(item);
        }
        at
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.pieces.get(at >> SHIFT)?.get(at % PIECE)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.pieces.get_mut(at >> SHIFT)?.get_mut(at % PIECE)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    /// Forgets all but the first `len`, at most a piece, and gives back what they took.
    pub(super) fn shorten(&mut self, len: usize) {
        self.pieces.truncate(1);
        if let Some(first) = self.pieces.first_mut() {
            first.truncate(len);
            first.shrink_to_fit();
        }
        self.pieces.retain(|piece| !piece.is_empty());
        self.pieces.shrink_to_fit();
    }

    /// Bytes allocated.
    pub(super) fn memory_bytes(&self) -> usize {
        let items: usize = self.pieces.iter().map(Vec::capacity).sum();
        items * size_of::<T>() + self.pieces.capacity() * size_of::<Vec<T>>()
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.pieces[at >> SHIFT][at % PIECE]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pieces[at >> SHIFT][at % PIECE]
    }
}

/// Values by key, which stay where they are until they are removed.
pub(super) struct Values<T> {
    places: Chunks<Place<T>>,
    /// The first free place, or [`END`].
    free: u32,
    len: usize,
}

enum Place<T> {
    Used(T),
    /// The next free one, or [`END`].
    Free(u32),
}

const END: u32 = u32::MAX;

impl<T> Values<T> {
    pub(super) const fn new() -> Self {
        Self { places: Chunks::new(), free: END, len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a value; its key.
    pub(super) fn insert(&mut self, value: T) -> usize {
        self.len += 1;
        let at = self.free as usize;
        let Some(place) = self.places.get_mut(at) else {
            return self.places.push(Place::Used(value));
        };
        if let Place::Free(next) = std::mem::replace(place, Place::Used(value)) {
            self.free = next;
        }
        at
    }

    /// The value of this key; if there is none a new one, with its key.
    pub(super) fn get_or_insert_with(
        &mut self,
        key: usize,
        make: impl FnOnce() -> T,
    ) -> (usize, &mut T) {
        let key = if self.get(key).is_some() { key } else { self.insert(make()) };
        match &mut self.places[key] {
            Place::Used(value) => (key, value),
            Place::Free(_) => unreachable!("it has a value, or was just given one"),
        }
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, key: usize) -> Option<T> {
        let place = self.places.get_mut(key).filter(|place| matches!(place, Place::Used(_)))?;
        let Place::Used(value) = std::mem::replace(place, Place::Free(self.free)) else {
            return None;
        };
        self.len -= 1;
        // Keys are ids of 31 bits, see [`super::levels`].
        self.free = key as u32;
        if self.len == 0 {
            *self = Self::new();
        }
        Some(value)
    }

    #[inline]
    pub(super) fn get(&self, key: usize) -> Option<&T> {
        match self.places.get(key)? {
            Place::Used(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        match self.places.get_mut(key)? {
            Place::Used(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    /// All of them, by rising key.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| match place {
            Place::Used(value) => Some(value),
            Place::Free(_) => None,
        })
    }

    /// Bytes allocated.
    pub(super) fn memory_bytes(&self) -> usize {
        self.places.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn values_come_and_go_and_keep_their_keys() {
        let (mut values, mut table) = (Values::new(), BTreeMap::new());
        let mut state = 7u32;
        for round in 0..60_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // It grows to some pieces, then shrinks to nothing.
            let grows = (state >> 16) % 10 < if round < 30_000 { 7 } else { 2 };
            if grows {
                assert!(table.insert(values.insert(round), round).is_none());
            } else if let Some(key) = table.keys().nth((state >> 8) as usize % 50).copied() {
                assert_eq!(values.remove(key), table.remove(&key));
                assert_eq!((values.remove(key), values.get(key)), (None, None));
            }
            assert_eq!(values.len(), table.len());
        }
        assert!(values.iter().eq(table.values()));
        for (key, value) in table {
            assert_eq!(values.get_mut(key).copied(), Some(value));
            assert_eq!(values.remove(key), Some(value));
        }
        assert_eq!((values.len(), values.memory_bytes()), (0, 0));
    }

    #[test]
    fn few_items_take_little_and_many_leave_no_more_than_a_piece_empty() {
        let mut chunks = Chunks::new();
        for (len, most) in [(1, 1), (3000, 3000 + PIECE), (100_000, 100_000 + PIECE)] {
            while chunks.len() < len {
                chunks.push(0u64);
            }
            let items = chunks.pieces.iter().map(Vec::capacity).sum::<usize>();
            assert!(items <= most, "{items} for {len}");
        }
        chunks.shorten(1);
        assert_eq!((chunks.len(), chunks.iter().count()), (1, 1));
        assert!(chunks.memory_bytes() < 100);
    }
}
