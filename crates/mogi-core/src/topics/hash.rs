//! Hashing with a secret seed: the texts of levels are chosen by strangers.
//!
//! foldhash's `FixedState` keeps one of its two seeds public. Here both come from the seed, so
//! nobody can prepare texts that fall into one bucket without knowing it.

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use std::hash::Hasher;

/// Hash functions of one tree.
pub(super) struct Seeded {
    seed: u64,
    shared: SharedSeed,
}

impl Seeded {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, shared: SharedSeed::from_u64(seed.rotate_left(32)) }
    }

    /// The hash of a level's text.
    #[inline]
    pub(super) fn text(&self, level: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(level);
        hasher.finish()
    }

    /// The hash of the edge from node `parent` along `symbol`.
    #[inline]
    pub(super) fn edge(&self, parent: u32, symbol: u32) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write_u64(u64::from(parent) << 32 | u64::from(symbol));
        hasher.finish()
    }
}
