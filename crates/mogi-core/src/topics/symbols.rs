//! Numbers for the texts of topic levels, so that walking a tree compares numbers.
//!
//! ```text
//!  index: hash table of symbols          slots
//!  "temp" ──hash──► 2 ─────────────────► 0 | "+"              fixed, not in the index
//!                                        1 | free, next 3
//!                                        2 | "temp", 40 users
//! ```
//! A symbol counts its users (nodes); without any it is free for another text. Looking a text up
//! never makes a symbol, so publishing to new topics costs no memory.

use super::chunks::Chunks;
use super::hash::Seeded;
use super::levels::{NONE, next_id};
use hashbrown::HashTable;

/// The level `+` of a filter. It has no entry in the index: no topic's level is this symbol.
pub(super) const PLUS: u32 = 0;

/// Bytes of text that need no allocation of their own; what a slot of 24 bytes has room for.
const SHORT: usize = 18;

enum Slot {
    Short { len: u8, users: u32, bytes: [u8; SHORT] },
    Long { users: u32, bytes: Box<[u8]> },
    Free { next: u32 },
}

/// The symbols of one tree.
pub(super) struct Symbols {
    slots: Chunks<Slot>,
    index: HashTable<u32>,
    /// The first free slot, or [`NONE`].
    free: u32,
    hash: Seeded,
}

impl Symbols {
    pub(super) fn new(seed: u64) -> Self {
        let mut slots = Chunks::new();
        slots.push(Slot::new(b"+"));
        Self { slots, index: HashTable::new(), free: NONE, hash: Seeded::new(seed) }
    }

    /// The symbol of `level`, if a node uses it.
    #[inline]
    pub(super) fn find(&self, level: &[u8]) -> Option<u32> {
        let equal = |&symbol: &u32| self.slots[symbol as usize].bytes() == level;
        self.index.find(self.hash.text(level), equal).copied()
    }

    /// The symbol of `level`, made if there is none, with one more user.
    #[cfg(test)]
    fn acquire(&mut self, level: &[u8]) -> u32 {
        self.acquire_known(level, self.find(level))
    }

    /// The symbol of `level`, made if there is none, with one more user; `known` is what
    /// [`Self::find`] has just said of it.
    pub(super) fn acquire_known(&mut self, level: &[u8], known: Option<u32>) -> u32 {
        if let Some(symbol) = known {
            if let Some(users) = self.slots[symbol as usize].users_mut() {
                *users += 1;
            }
            return symbol;
        }
        let symbol = self.place(Slot::new(level));
        let Self { slots, index, hash, .. } = self;
        let of = |&symbol: &u32| hash.text(slots[symbol as usize].bytes());
        index.insert_unique(hash.text(level), symbol, of);
        symbol
    }

    /// Takes away one user of `symbol`; the last one's frees it. [`PLUS`] stays.
    pub(super) fn release(&mut self, symbol: u32) {
        if symbol == PLUS {
            return;
        }
        let Some(users) = self.slots[symbol as usize].users_mut() else {
            return;
        };
        *users -= 1;
        if *users > 0 {
            return;
        }
        let hash = self.hash.text(self.slots[symbol as usize].bytes());
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == symbol) {
            entry.remove();
        }
        self.slots[symbol as usize] = Slot::Free { next: self.free };
        self.free = symbol;
    }

    /// The text of `symbol`.
    pub(super) fn bytes(&self, symbol: u32) -> &[u8] {
        self.slots[symbol as usize].bytes()
    }

    /// Texts in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Gives memory back if no text is in use.
    pub(super) fn release_memory(&mut self) {
        if self.index.is_empty() {
            self.index = HashTable::new();
            self.slots.shorten(1);
            self.free = NONE;
        }
    }

    /// Bytes allocated, without the texts that are longer than a slot.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.memory_bytes() + self.index.allocation_size()
    }

    fn place(&mut self, slot: Slot) -> u32 {
        if let Some(Slot::Free { next }) = self.slots.get(self.free as usize) {
            let symbol = std::mem::replace(&mut self.free, *next);
            self.slots[symbol as usize] = slot;
            return symbol;
        }
        next_id(self.slots.push(slot))
    }
}

impl Slot {
    fn new(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..text.len()) {
            Some(short) => {
                short.copy_from_slice(text);
                Self::Short { len: text.len() as u8, users: 1, bytes }
            }
            None => Self::Long { users: 1, bytes: text.into() },
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes, .. } => &bytes[..usize::from(*len)],
            Self::Long { bytes, .. } => bytes,
            Self::Free { .. } => &[],
        }
    }

    fn users_mut(&mut self) -> Option<&mut u32> {
        match self {
            Self::Short { users, .. } | Self::Long { users, .. } => Some(users),
            Self::Free { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &[u8] = b"a level of more than eighteen bytes";

    #[test]
    fn a_text_keeps_its_symbol_while_it_has_users() {
        let mut symbols = Symbols::new(1);
        for text in [b"temp".as_slice(), b"", LONG] {
            assert_eq!(symbols.find(text), None);
            let symbol = symbols.acquire(text);
            assert_eq!(symbols.acquire(text), symbol);
            assert_eq!(symbols.bytes(symbol), text);
            symbols.release(symbol);
            assert_eq!(symbols.find(text), Some(symbol));
            symbols.release(symbol);
            assert_eq!(symbols.find(text), None);
        }
        assert_eq!(symbols.len(), 0);
    }

    #[test]
    fn freed_symbols_are_given_to_other_texts() {
        let mut symbols = Symbols::new(1);
        let (a, b) = (symbols.acquire(b"a"), symbols.acquire(LONG));
        symbols.release(a);
        symbols.release(b);
        let mut again = [symbols.acquire(b"x"), symbols.acquire(b"y")];
        again.sort_unstable();
        assert_eq!(again, [a, b]);
        assert_ne!(symbols.acquire(b"z"), a);
        assert_eq!((symbols.len(), symbols.slots.len()), (3, 4));
    }

    #[test]
    fn plus_is_no_text_of_a_topic() {
        let mut symbols = Symbols::new(1);
        assert_eq!(symbols.find(b"+"), None);
        symbols.release(PLUS);
        assert_eq!(symbols.bytes(PLUS), b"+");
    }

    #[test]
    fn a_slot_is_24_bytes() {
        assert_eq!(size_of::<Slot>(), 24);
    }
}
