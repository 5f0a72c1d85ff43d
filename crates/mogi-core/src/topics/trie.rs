//! Topic filters and what is known of each, asked with a topic name.
//!
//! ```text
//!  a/+/temp → 1     a/# → 2     b → 3
//!
//!   root ──a──► (rest: 2) ──plus──► ( ) ──only──► (temp, value: 1)
//!      └──b──► (value: 3)
//! ```
//! Of several literal children each is an edge in the hash table of [`Levels`]. The other steps
//! need no lookup, as lookups in large tables are what a walk's time goes into: a node holds the id
//! of its only literal child, that of its `+` child, and the value of the filter that goes on with
//! `#` after it.
//!
//! **Cost of a walk.** It goes level by level, with the set of nodes that match the topic so far.
//! A node enters that set only through its one parent, and only at its one depth, so a walk looks
//! at each node at most once, however filters with `+` overlap: never more than the levels of the
//! installed filters, and never more than 2^depth. It ends when the set is empty or the topic is
//! over, so a deep topic costs what its part along installed filters costs, each level one hash of
//! its text. Nothing is recursive: filters and topics may have 32,768 levels and more.

use super::chunks::Values;
use super::levels::{Levels, NONE, ROOT, next_id, split};
use super::symbols::PLUS;
use std::fmt;

/// Ids a scratch keeps room for between two walks, 16 KiB each for two lists.
const SCRATCH_IDS: usize = 4096;

/// A value per topic filter.
pub struct Trie<T> {
    levels: Levels<Branch>,
    values: Values<T>,
}

/// What is under a node besides its own value.
#[derive(Clone, Copy)]
struct Branch {
    /// The value of the filter that goes on with `#`, or [`NONE`].
    rest: u32,
    /// The child for `+`, or [`NONE`].
    plus: u32,
    /// Its other children.
    literals: Literals,
}

/// A node's children but `+`, in 32 bits: [`ONLY`] and the id of the one there is, or how many are
/// in the edge table. Those stay there when one is left, because only the table knows which.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Literals(u32);

const ONLY: u32 = 1 << 31;

impl Default for Branch {
    fn default() -> Self {
        Self { rest: NONE, plus: NONE, literals: Literals::default() }
    }
}

/// Memory a walk works in, so that it allocates nothing: one per worker is enough.
#[derive(Debug, Default)]
pub struct MatchScratch {
    now: Vec<u32>,
    next: Vec<u32>,
    /// Nodes and levels looked at.
    #[cfg(test)]
    pub(super) looked_at: usize,
}

/// Where a filter ends.
#[derive(Clone, Copy)]
struct Place {
    node: u32,
    /// In `#`, below the node.
    rest: bool,
}

impl<T> Trie<T> {
    /// An empty trie. `seed` must not be known to those who choose the filters.
    pub fn new(seed: u64) -> Self {
        Self { levels: Levels::new(seed), values: Values::new() }
    }

    /// How many filters have a value.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no filter has one.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Calls `visit` with the value of every filter that matches `topic`: section 4.7, with
    /// [MQTT-4.7.2-1] (no filter that begins with a wildcard matches a topic that begins with `$`).
    /// `#` also matches the level before it. The order is unspecified.
    pub fn matches(&self, topic: &str, scratch: &mut MatchScratch, mut visit: impl FnMut(&T)) {
        let MatchScratch { now, next, .. } = scratch;
        now.clear();
        now.push(ROOT);
        let mut wildcards = !topic.starts_with('$');
        for level in split(topic) {
            next.clear();
            #[cfg(test)]
            {
                scratch.looked_at += 1 + now.len();
            }
            let symbol = self.levels.symbols().find(level);
            for &id in &*now {
                let Branch { rest, plus, literals } = self.levels.node(id).kin;
                if wildcards {
                    self.visit(rest, &mut visit);
                    if plus != NONE {
                        next.push(plus);
                    }
                }
                if literals.any()
                    && let Some(symbol) = symbol
                    && let Some(child) = self.literal(id, symbol)
                {
                    next.push(child);
                }
            }
            std::mem::swap(now, next);
            if now.is_empty() {
                break;
            }
            wildcards = true;
        }
        #[cfg(test)]
        {
            scratch.looked_at += now.len();
        }
        for &id in &*now {
            let node = self.levels.node(id);
            self.visit(node.value, &mut visit);
            self.visit(node.kin.rest, &mut visit);
        }
        scratch.shrink();
    }

    /// The value of `filter`.
    pub fn get(&self, filter: &str) -> Option<&T> {
        self.values.get(self.key(self.find(filter)?) as usize)
    }

    /// The value of `filter`, to change it.
    pub fn get_mut(&mut self, filter: &str) -> Option<&mut T> {
        let key = self.key(self.find(filter)?);
        self.values.get_mut(key as usize)
    }

    /// The value of `filter`, which becomes `make()` if it has none.
    pub fn entry_or_insert_with(&mut self, filter: &str, make: impl FnOnce() -> T) -> &mut T {
        let place = self.find_or_add(filter);
        let before = self.key(place);
        let (key, value) = self.values.get_or_insert_with(before as usize, make);
        if before == NONE {
            let node = self.levels.node_mut(place.node);
            *(if place.rest { &mut node.kin.rest } else { &mut node.value }) = next_id(key);
        }
        value
    }

    /// Removes `filter` with its value.
    pub fn remove(&mut self, filter: &str) -> Option<T> {
        let place = self.find(filter)?;
        let key = std::mem::replace(self.key_mut(place), NONE);
        let value = self.values.remove(key as usize)?;
        self.prune(place.node);
        if self.values.is_empty() {
            self.levels.release_memory();
        }
        Some(value)
    }

    /// Calls `visit` with every filter and its value, in no particular order.
    pub fn for_each(&self, mut visit: impl FnMut(&str, &T)) {
        let (mut path, mut text) = (Vec::new(), Vec::new());
        for id in ROOT..self.levels.end() {
            let node = self.levels.node(id);
            for (key, rest) in [(node.value, false), (node.kin.rest, true)] {
                if let Some(value) = self.values.get(key as usize) {
                    self.write_filter(Place { node: id, rest }, &mut path, &mut text);
                    visit(std::str::from_utf8(&text).unwrap_or_default(), value);
                }
            }
        }
    }

    /// Bytes allocated: an estimate, without what values and levels longer than 18 bytes hold on
    /// the heap.
    pub fn memory_bytes(&self) -> usize {
        self.levels.memory_bytes() + self.values.memory_bytes()
    }

    #[inline]
    fn visit(&self, key: u32, visit: &mut impl FnMut(&T)) {
        if key != NONE
            && let Some(value) = self.values.get(key as usize)
        {
            visit(value);
        }
    }

    fn find(&self, filter: &str) -> Option<Place> {
        let mut node = ROOT;
        for level in split(filter) {
            node = match level {
                b"#" => return Some(Place { node, rest: true }),
                b"+" => Some(self.levels.node(node).kin.plus).filter(|&plus| plus != NONE)?,
                text => self.literal(node, self.levels.symbols().find(text)?)?,
            };
        }
        Some(Place { node, rest: false })
    }

    fn find_or_add(&mut self, filter: &str) -> Place {
        let mut node = ROOT;
        for level in split(filter) {
            node = match level {
                b"#" => return Place { node, rest: true },
                b"+" => self.plus_or_add(node),
                text => self.literal_or_add(node, text),
            };
        }
        Place { node, rest: false }
    }

    /// The child of `node` along `symbol`.
    #[inline]
    fn literal(&self, node: u32, symbol: u32) -> Option<u32> {
        match self.levels.node(node).kin.literals.only() {
            Some(only) => Some(only).filter(|&only| self.levels.node(only).symbol() == symbol),
            None => self.levels.child(node, symbol),
        }
    }

    fn literal_or_add(&mut self, node: u32, text: &[u8]) -> u32 {
        let symbol = self.levels.symbols().find(text);
        if let Some(child) = symbol.and_then(|symbol| self.literal(node, symbol)) {
            return child;
        }
        let child = self.levels.add(node, text);
        let before = self.levels.node(node).kin.literals;
        if let Some(only) = before.only() {
            self.levels.connect(only);
        }
        if before.any() {
            self.levels.connect(child);
        }
        self.levels.node_mut(node).kin.literals = before.with(child);
        child
    }

    fn plus_or_add(&mut self, node: u32) -> u32 {
        let plus = self.levels.node(node).kin.plus;
        if plus != NONE {
            return plus;
        }
        let plus = self.levels.add_plus(node);
        self.levels.node_mut(node).kin.plus = plus;
        plus
    }

    fn key(&self, place: Place) -> u32 {
        let node = self.levels.node(place.node);
        if place.rest { node.kin.rest } else { node.value }
    }

    fn key_mut(&mut self, place: Place) -> &mut u32 {
        let node = self.levels.node_mut(place.node);
        if place.rest { &mut node.kin.rest } else { &mut node.value }
    }

    /// Removes `id` and the nodes before it, as far as nothing needs them any more.
    fn prune(&mut self, mut id: u32) {
        while id != ROOT {
            let node = self.levels.node(id);
            let Branch { rest, plus, literals } = node.kin;
            if node.value != NONE || rest != NONE || plus != NONE || literals.any() {
                return;
            }
            let (parent, symbol) = (node.parent(), node.symbol());
            let kin = &mut self.levels.node_mut(parent).kin;
            if symbol == PLUS {
                kin.plus = NONE;
            } else {
                kin.literals = kin.literals.without_one();
            }
            self.levels.remove(id);
            id = parent;
        }
    }

    /// Puts the text of the filter that ends at `place` into `text`.
    fn write_filter(&self, place: Place, path: &mut Vec<u32>, text: &mut Vec<u8>) {
        path.clear();
        text.clear();
        let mut id = place.node;
        while id != ROOT {
            let node = self.levels.node(id);
            path.push(node.symbol());
            id = node.parent();
        }
        for &symbol in path.iter().rev() {
            text.extend_from_slice(self.levels.symbols().bytes(symbol));
            text.push(b'/');
        }
        if place.rest {
            text.push(b'#');
        } else {
            text.pop();
        }
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        self.levels.counts()
    }
}

impl Literals {
    #[inline]
    const fn any(self) -> bool {
        self.0 != 0
    }

    /// The only child, if it is not in the table.
    #[inline]
    const fn only(self) -> Option<u32> {
        if self.0 & ONLY == 0 { None } else { Some(self.0 & !ONLY) }
    }

    /// One more; without any before, the only one.
    const fn with(self, child: u32) -> Self {
        match (self.any(), self.only()) {
            (false, _) => Self(ONLY | child),
            (true, Some(_)) => Self(2),
            (true, None) => Self(self.0 + 1),
        }
    }

    /// One less.
    const fn without_one(self) -> Self {
        if self.only().is_some() { Self(0) } else { Self(self.0 - 1) }
    }
}

impl<T> fmt::Debug for Trie<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trie").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl MatchScratch {
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.now.capacity() + self.next.capacity()
    }

    /// One walk among very many nodes is no reason to keep the memory.
    #[inline]
    fn shrink(&mut self) {
        for ids in [&mut self.now, &mut self.next] {
            if ids.capacity() > SCRATCH_IDS {
                ids.clear();
                ids.shrink_to(SCRATCH_IDS);
            }
        }
    }
}
