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
        let mut errors = 0;
        copy_pairs(to, target, &mut readable(from, source.iter(), &mut errors))?;
        if errors > 0 {
            broken.push(what);
            // A table is left at its damaged block, the others go on: so keys come out of order,
            // and from behind come those the way from the front did not come to.
            copy_pairs(to, target, &mut readable(from, source.iter().rev(), &mut 0))?;
        }
    }
    to.sync()?;
    Ok(broken)
}

/// Errors after which nothing more is expected from that side.
const ERRORS: usize = 1000;

/// What can be read; what cannot is counted.
fn readable<'a>(
    from: &'a Engine,
    guards: impl Iterator<Item = Guard> + 'a,
    errors: &'a mut usize,
) -> impl Iterator<Item = KvPair> + 'a {
    let read = guards.map(|guard| from.read(|| guard.into_inner()).ok());
    let until_hopeless = read.take_while(move |pair| {
        *errors += usize::from(pair.is_none());
        *errors <= ERRORS
    });
    until_hopeless.flatten()
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
