//! The hash map of this crate: seeded by whoever makes the worker, because topics and client ids
//! are chosen by strangers, and the core takes no randomness of its own.

use foldhash::fast::FixedState;

/// A seeded hash map.
pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, FixedState>;
