//! A tree with a node per topic level, in flat arrays.
//!
//! ```text
//!  nodes   id | parent | symbol | value | kin          edges: hash table of node ids,
//!          0  |   -    |   -    |   -   | ...  root    keyed by their (parent, symbol)
//!          1  |   0    | site   |   -   | ...
//!          2  |   1    | temp   |   7   | ...          (1, temp) ──hash──► 2
//! ```
//! The edge table stores nothing but the child's id, 5 bytes with hashbrown's control byte: the
//! key stands in the node, which a walk reads anyway. `kin` is what the owner of the tree needs to
//! know of a node's children; the owner keeps it right, and decides which nodes need an edge.
//!
//! Ids have 31 bits. As many nodes take more than 50 GB; what installs them (subscriptions,
//! retained messages) has limits far below.

use super::chunks::Chunks;
use super::hash::Seeded;
use super::symbols::{PLUS, Symbols};
use hashbrown::HashTable;

/// The id of the node all paths start from.
pub(super) const ROOT: u32 = 0;
/// No node, no value.
pub(super) const NONE: u32 = u32::MAX;

/// Ids are below, so that their owners have a bit to spare.
const ID_END: usize = 1 << 31;

/// One level of one or more paths.
pub(super) struct Node<K> {
    /// The node before; in a free node the next free one.
    parent: u32,
    symbol: u32,
    /// The owner's key of the value of the path that ends here, or [`NONE`].
    pub(super) value: u32,
    pub(super) kin: K,
}

impl<K> Node<K> {
    #[inline]
    pub(super) const fn parent(&self) -> u32 {
        self.parent
    }

    #[inline]
    pub(super) const fn symbol(&self) -> u32 {
        self.symbol
    }
}

/// The nodes of a tree.
pub(super) struct Levels<K> {
    nodes: Chunks<Node<K>>,
    /// The first free node, or [`NONE`].
    free: u32,
    edges: HashTable<u32>,
    symbols: Symbols,
    hash: Seeded,
}

/// The levels of a topic name or filter.
#[inline]
pub(super) fn split<T: AsRef<[u8]> + ?Sized>(text: &T) -> impl Iterator<Item = &[u8]> {
    text.as_ref().split(|&byte| byte == b'/')
}

impl<K: Default> Levels<K> {
    pub(super) fn new(seed: u64) -> Self {
        let mut nodes = Chunks::new();
        nodes.push(Node { parent: NONE, symbol: NONE, value: NONE, kin: K::default() });
        Self {
            nodes,
            free: NONE,
            edges: HashTable::new(),
            symbols: Symbols::new(seed),
            hash: Seeded::new(seed),
        }
    }

    #[inline]
    pub(super) fn node(&self, id: u32) -> &Node<K> {
        &self.nodes[id as usize]
    }

    #[inline]
    pub(super) fn node_mut(&mut self, id: u32) -> &mut Node<K> {
        &mut self.nodes[id as usize]
    }

    /// One more than the highest id in use; ids between may be free, without value.
    pub(super) fn end(&self) -> u32 {
        next_id(self.nodes.len())
    }

    #[inline]
    pub(super) const fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The child of `parent` along `symbol`, if it was connected.
    #[inline]
    pub(super) fn child(&self, parent: u32, symbol: u32) -> Option<u32> {
        let equal = |&id: &u32| {
            let node = self.node(id);
            node.parent == parent && node.symbol == symbol
        };
        self.edges.find(self.hash.edge(parent, symbol), equal).copied()
    }

    /// Adds a node under `parent`, which has none for this text.
    pub(super) fn add(&mut self, parent: u32, text: &[u8]) -> u32 {
        self.add_known(parent, text, self.symbols.find(text))
    }

    /// As [`Self::add`]; `symbol` is what [`Symbols::find`] has just said of the text.
    pub(super) fn add_known(&mut self, parent: u32, text: &[u8], symbol: Option<u32>) -> u32 {
        let symbol = self.symbols.acquire_known(text, symbol);
        self.place(parent, symbol)
    }

    /// Makes [`Self::child`] find `id`; once per node, and not for `+`.
    pub(super) fn connect(&mut self, id: u32) {
        let Self { nodes, edges, hash, .. } = self;
        let of = |&id: &u32| {
            let node = &nodes[id as usize];
            hash.edge(node.parent, node.symbol)
        };
        edges.insert_unique(of(&id), id, of);
    }

    /// Makes [`Self::child`] not find `id`, if it was connected.
    pub(super) fn disconnect(&mut self, id: u32) {
        let node = self.node(id);
        let hash = self.hash.edge(node.parent, node.symbol);
        if let Ok(entry) = self.edges.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
    }

    /// Adds a node for the level `+` under `parent`.
    pub(super) fn add_plus(&mut self, parent: u32) -> u32 {
        self.place(parent, PLUS)
    }

    /// Frees a node without children and value.
    pub(super) fn remove(&mut self, id: u32) {
        let symbol = self.node(id).symbol;
        if symbol != PLUS {
            self.disconnect(id);
            self.symbols.release(symbol);
        }
        let next = std::mem::replace(&mut self.free, id);
        *self.node_mut(id) = Node { parent: next, symbol: NONE, value: NONE, kin: K::default() };
    }

    /// Gives memory back; for owners that removed their last node.
    pub(super) fn release_memory(&mut self) {
        self.edges = HashTable::new();
        self.nodes.shorten(1);
        self.free = NONE;
        self.symbols.release_memory();
    }

    /// Bytes allocated.
    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.memory_bytes() + self.edges.allocation_size() + self.symbols.memory_bytes()
    }

    /// Nodes but the root, edges and symbols in use.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let used = |id: u32| Some(id).filter(|&id| id != NONE);
        let free = std::iter::successors(used(self.free), |&id| used(self.node(id).parent));
        let free = free.count();
        (self.nodes.len() - 1 - free, self.edges.len(), self.symbols.len())
    }

    fn place(&mut self, parent: u32, symbol: u32) -> u32 {
        let node = Node { parent, symbol, value: NONE, kin: K::default() };
        if self.free != NONE {
            let id = self.free;
            self.free = self.node(id).parent;
            *self.node_mut(id) = node;
            return id;
        }
        next_id(self.nodes.push(node))
    }
}

/// An index as id.
pub(super) fn next_id(index: usize) -> u32 {
    // Not reachable before memory runs out, see above; a wrapped id would mix up subscribers.
    assert!(index < ID_END, "more than two billion topic levels in memory");
    index as u32
}
