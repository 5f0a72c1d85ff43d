//! Topic names and topic filters as trees: who wants a topic, and which topics a filter names.
//!
//! ```text
//!  Trie<T>          filter → T   asked with a topic    subscriptions of a worker, interest table
//!  RetainedTree<V>  topic → V    asked with a filter   retained messages
//!      └── both ──► Levels ──► Symbols                 a node per level, a number per level's text
//! ```
//! Names and filters come here validated (section 4.7). Texts that are not do no harm: they are
//! split at every `/` like the others, and what follows a `#` is ignored.

mod chunks;
mod hash;
mod levels;
mod retained;
mod symbols;
mod trie;

#[cfg(test)]
mod costs;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod properties;

pub use retained::RetainedTree;
pub use trie::{MatchScratch, Trie};
