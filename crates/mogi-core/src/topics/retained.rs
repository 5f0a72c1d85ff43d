//! Topic names and what is kept for each, asked with a topic filter.
//!
//! ```text
//!  a/x, a/y, b            first ▼
//!                     root ───► (a) ──next──► (b)
//!                         first ▼
//!                              (x) ──next──► (y)      prev: back, and from the first to the last
//! ```
//! A literal level of a filter is a lookup in the edge table of [`Levels`], or a look at the only
//! child: children are in that table while they have siblings. `+` and `#` go along the siblings,
//! in the order in which they came.
//!
//! **Cost of a search.** It follows the links of the tree itself, down, across and up, so it needs
//! no stack (topics may have 65,536 levels) and meets each node once on the way down and once on
//! the way up: never more than the tree's nodes no deeper than the filter, and one hash per level
//! where the filter is literal. A filter with a level no topic has costs the look at its levels.

use super::chunks::Values;
use super::levels::{Levels, NONE, ROOT, next_id, split};
use super::symbols::Symbols;
use std::fmt;
use std::ops::ControlFlow;

/// A value per topic name.
pub struct RetainedTree<V> {
    levels: Levels<Links>,
    values: Values<V>,
}

/// A node's place among its parent's children.
#[derive(Clone, Copy)]
struct Links {
    /// The first child, or [`NONE`].
    first: u32,
    /// The sibling after it, or [`NONE`].
    next: u32,
    /// The sibling before it; of the first one the last, so that appending needs no search.
    prev: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { first: NONE, next: NONE, prev: NONE }
    }
}

/// A filter, ready to be followed.
struct Search {
    /// Its levels before `#`.
    steps: Vec<Step>,
    /// Whether it ends in `#`.
    rest: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Every child.
    Any,
    /// The child along this symbol.
    Literal(u32),
    /// No child: the filter is over.
    End,
}

impl<V> RetainedTree<V> {
    /// An empty tree. `seed` must not be known to those who choose the topics.
    pub fn new(seed: u64) -> Self {
        Self { levels: Levels::new(seed), values: Values::new() }
    }

    /// How many topics have a value.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no topic has one.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of `topic`.
    pub fn get(&self, topic: &(impl AsRef<[u8]> + ?Sized)) -> Option<&V> {
        self.values.get(self.levels.node(self.find(topic)?).value as usize)
    }

    /// Makes `value` the value of `topic`; the one before.
    pub fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        let id = self.make(topic.as_bytes());
        self.put(id, value)
    }

    /// Makes `value` the value of the topic that `topic` says it has; the one before.
    pub fn insert_by(
        &mut self,
        value: V,
        topic: impl for<'a> FnOnce(&'a V) -> &'a [u8],
    ) -> Option<V> {
        let id = self.make(topic(&value));
        self.put(id, value)
    }

    /// The node of `topic`, which the caller gives a value.
    fn make(&mut self, topic: &[u8]) -> u32 {
        let mut id = ROOT;
        for level in split(topic) {
            let symbol = self.levels.symbols().find(level);
            id = match symbol.and_then(|symbol| self.child(id, symbol)) {
                Some(child) => child,
                None => self.append(id, level, symbol),
            };
        }
        id
    }

    fn put(&mut self, id: u32, value: V) -> Option<V> {
        let key = self.levels.node(id).value;
        if let Some(old) = self.values.get_mut(key as usize) {
            return Some(std::mem::replace(old, value));
        }
        self.levels.node_mut(id).value = next_id(self.values.insert(value));
        None
    }

    /// Removes `topic` with its value.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        let id = self.find(topic)?;
        let value = self.take(id)?;
        self.release_memory_if_empty();
        Some(value)
    }

    /// Calls `visit` with the value of every topic that matches `filter` (section 4.7, with
    /// [MQTT-4.7.2-1]: no filter that begins with a wildcard matches a topic that begins with
    /// `$`), until it breaks. Topics under one level come in the order in which they were added.
    pub fn for_each_match(&self, filter: &str, mut visit: impl FnMut(&V) -> ControlFlow<()>) {
        let Some(search) = Search::new(filter, self.levels.symbols()) else {
            return;
        };
        let (mut id, mut depth) = (ROOT, 0);
        loop {
            if search.ends_at(depth)
                && let Some(value) = self.values.get(self.levels.node(id).value as usize)
                && visit(value).is_break()
            {
                return;
            }
            match self.after(id, depth, &search) {
                Some(next) => (id, depth) = next,
                None => return,
            }
        }
    }

    /// Calls `visit` with every value.
    pub fn for_each(&self, visit: impl FnMut(&V)) {
        self.values.iter().for_each(visit);
    }

    /// Removes every value for which `keep` returns false.
    pub fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        for id in ROOT..self.levels.end() {
            let value = self.values.get(self.levels.node(id).value as usize);
            if value.is_some_and(|value| !keep(value)) {
                drop(self.take(id));
            }
        }
        self.release_memory_if_empty();
    }

    /// Bytes allocated: an estimate, without what values and levels longer than 18 bytes hold on
    /// the heap.
    pub fn memory_bytes(&self) -> usize {
        self.levels.memory_bytes() + self.values.memory_bytes()
    }

    fn find(&self, topic: &(impl AsRef<[u8]> + ?Sized)) -> Option<u32> {
        split(topic).try_fold(ROOT, |id, level| self.child_called(id, level))
    }

    /// The child of `id` along `symbol`.
    #[inline]
    fn child(&self, id: u32, symbol: u32) -> Option<u32> {
        let first = self.levels.node(id).kin.first;
        if first == NONE {
            return None;
        }
        let node = self.levels.node(first);
        if node.kin.next == NONE {
            return Some(first).filter(|_| node.symbol() == symbol);
        }
        self.levels.child(id, symbol)
    }

    fn child_called(&self, id: u32, level: &[u8]) -> Option<u32> {
        self.child(id, self.levels.symbols().find(level)?)
    }

    fn only_child(&self, id: u32) -> Option<u32> {
        let first = self.levels.node(id).kin.first;
        Some(first).filter(|&first| first != NONE && self.levels.node(first).kin.next == NONE)
    }

    /// The node a search looks at after `id`, `depth` levels below the root.
    fn after(&self, mut id: u32, mut depth: usize, search: &Search) -> Option<(u32, usize)> {
        let down = match search.step(depth) {
            Step::Any => self.or_later(self.levels.node(id).kin.first, depth),
            Step::Literal(symbol) => self.child(id, symbol),
            Step::End => None,
        };
        if let Some(child) = down {
            return Some((child, depth + 1));
        }
        while depth > 0 {
            let node = self.levels.node(id);
            if search.step(depth - 1) == Step::Any
                && let Some(sibling) = self.or_later(node.kin.next, depth - 1)
            {
                return Some((sibling, depth));
            }
            (id, depth) = (node.parent(), depth - 1);
        }
        None
    }

    /// `id`, or the first sibling after it that a wildcard at level `depth` may match.
    fn or_later(&self, mut id: u32, depth: usize) -> Option<u32> {
        while id != NONE {
            let node = self.levels.node(id);
            if depth > 0 || !self.levels.symbols().bytes(node.symbol()).starts_with(b"$") {
                return Some(id);
            }
            id = node.kin.next;
        }
        None
    }

    /// Adds a child at the end of `parent`'s; `symbol` is the level's, if it has one.
    fn append(&mut self, parent: u32, level: &[u8], symbol: Option<u32>) -> u32 {
        let id = self.levels.add_known(parent, level, symbol);
        if let Some(only) = self.only_child(parent) {
            self.levels.connect(only);
        }
        let first = self.levels.node(parent).kin.first;
        if first == NONE {
            self.levels.node_mut(parent).kin.first = id;
            self.levels.node_mut(id).kin.prev = id;
            return id;
        }
        let last = std::mem::replace(&mut self.levels.node_mut(first).kin.prev, id);
        self.levels.node_mut(last).kin.next = id;
        self.levels.node_mut(id).kin.prev = last;
        self.levels.connect(id);
        id
    }

    /// Takes `id` out of its parent's children.
    fn unlink(&mut self, parent: u32, id: u32) {
        let Links { next, prev, .. } = self.levels.node(id).kin;
        let first = self.levels.node(parent).kin.first;
        if first == id {
            self.levels.node_mut(parent).kin.first = next;
        } else {
            self.levels.node_mut(prev).kin.next = next;
        }
        // Without one after it, `id` was the last, which the first one points to.
        let after = if next == NONE { first } else { next };
        if after != id {
            self.levels.node_mut(after).kin.prev = prev;
        }
        if let Some(only) = self.only_child(parent) {
            self.levels.disconnect(only);
        }
    }

    /// Removes the value of node `id`, and the nodes nothing needs any more.
    fn take(&mut self, mut id: u32) -> Option<V> {
        let key = std::mem::replace(&mut self.levels.node_mut(id).value, NONE);
        let value = self.values.remove(key as usize)?;
        while id != ROOT {
            let node = self.levels.node(id);
            if node.value != NONE || node.kin.first != NONE {
                break;
            }
            let parent = node.parent();
            self.unlink(parent, id);
            self.levels.remove(id);
            id = parent;
        }
        Some(value)
    }

    fn release_memory_if_empty(&mut self) {
        if self.values.is_empty() {
            self.levels.release_memory();
        }
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        self.levels.counts()
    }
}

impl<V> fmt::Debug for RetainedTree<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetainedTree").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Search {
    /// `None` where a level of the filter is one of no topic.
    fn new(filter: &str, symbols: &Symbols) -> Option<Self> {
        let mut steps = Vec::new();
        for level in split(filter) {
            match level {
                b"#" => return Some(Self { steps, rest: true }),
                b"+" => steps.push(Step::Any),
                text => steps.push(Step::Literal(symbols.find(text)?)),
            }
        }
        Some(Self { steps, rest: false })
    }

    /// How the filter goes on after `depth` levels.
    fn step(&self, depth: usize) -> Step {
        match self.steps.get(depth) {
            Some(step) => *step,
            None if self.rest => Step::Any,
            None => Step::End,
        }
    }

    /// Whether it matches topics of `depth` levels, so far as they were followed.
    const fn ends_at(&self, depth: usize) -> bool {
        depth == self.steps.len() || self.rest && depth > self.steps.len()
    }
}
