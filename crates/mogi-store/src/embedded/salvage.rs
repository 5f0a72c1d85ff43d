//! Copies what can be read of a damaged store into a new one.
//!
//! Where a block of a table is damaged, a walk ends. Each keyspace is walked from both ends, so
//! that one damaged block loses what is in it and not what is behind it.

use super::engine::Engine;
use crate::error::StoreError;
use fjall::{Guard, Keyspace, KvPair};

/// Records copied in one batch.
const STEP: usize = 1000;

/// The keyspaces, and what is in them, for people.
const KEYSPACES: [(&str, &str); 4] = [
    ("state", "sessions and wills"),
    ("queue", "messages for clients"),
    ("bodies", "messages for several clients"),
    ("retained", "retained messages"),
];

/// Copies all keyspaces; what is in those that could not be read to their end.
pub(super) fn copy(from: &Engine, to: &Engine) -> Result<Vec<&'static str>, StoreError> {
    let mut broken = Vec::new();
    for (name, what) in KEYSPACES {
        let (source, target) = (from.keyspace(name), to.keyspace(name));
        let (mut damaged, mut end) = (false, None);
        let mut forward = source.iter().map_while(|guard| {
            let pair = readable(from, guard);
            match &pair {
                Some((key, _)) => end = Some(key.clone()),
                None => damaged = true,
            }
            pair
        });
        copy_pairs(to, target, &mut forward)?;
        if damaged {
            broken.push(what);
            let behind = |(key, _): &KvPair| end.as_ref().is_none_or(|end| key > end);
            let back = source.iter().rev().map_while(|guard| readable(from, guard));
            copy_pairs(to, target, &mut back.take_while(behind))?;
        }
    }
    to.sync()?;
    Ok(broken)
}

fn readable(from: &Engine, guard: Guard) -> Option<KvPair> {
    from.read(|| guard.into_inner()).ok()
}

fn copy_pairs(
    to: &Engine,
    target: &Keyspace,
    pairs: &mut dyn Iterator<Item = KvPair>,
) -> Result<(), StoreError> {
    loop {
        let mut batch = to.batch(0);
        pairs.take(STEP).for_each(|(key, value)| batch.insert(target, key, value));
        if batch.is_empty() {
            return Ok(());
        }
        to.commit(batch)?;
    }
}
