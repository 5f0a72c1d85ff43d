//! Walks through a run of records, one after the other.

use super::engine::Engine;
use super::rubbish::Rubbish;
use crate::coding::{self, Input};
use crate::error::StoreError;
use fjall::{Iter, Keyspace, UserKey, UserValue};
use std::path::PathBuf;

/// A place in a sorted run of records.
pub(super) struct Cursor {
    keyspace: &'static str,
    path: PathBuf,
    iter: Iter,
    next: Option<(UserKey, UserValue)>,
}

impl Cursor {
    /// At the first record whose key begins with `prefix`.
    pub(super) fn new(
        engine: &Engine,
        name: &'static str,
        keyspace: &Keyspace,
        prefix: &[u8],
    ) -> Result<Self, StoreError> {
        let iter = engine.read(|| Ok(keyspace.prefix(prefix)))?;
        Ok(Self { keyspace: name, path: engine.path().to_owned(), iter, next: None })
    }

    /// The key of the next record.
    pub(super) fn peek(&mut self, rubbish: &mut Rubbish) -> Result<Option<&[u8]>, StoreError> {
        if self.next.is_none() {
            self.next = self.take(rubbish)?;
        }
        Ok(self.next.as_ref().map(|(key, _)| &**key))
    }

    /// The next record.
    pub(super) fn take(
        &mut self,
        rubbish: &mut Rubbish,
    ) -> Result<Option<(UserKey, UserValue)>, StoreError> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        loop {
            let iter = &mut self.iter;
            let next = super::engine::guarded(&self.path, || {
                iter.next().map(fjall::Guard::into_inner).transpose()
            })?;
            match next {
                // The marks stand in between.
                Some((key, _)) if key.len() == 1 && self.keyspace == "queue" => {}
                Some((key, record)) if coding::open(&key, &record).is_none() => {
                    rubbish.add(self.keyspace, &key, &record);
                }
                other => return Ok(other),
            }
        }
    }

    /// Reads all records that begin with `prefix`: the rest of the key, and the content. What
    /// `read` does not understand is rubbish.
    pub(super) fn each(
        &mut self,
        prefix: &[u8],
        rubbish: &mut Rubbish,
        mut read: impl FnMut(&[u8], Input<'_>) -> Option<()>,
    ) -> Result<(), StoreError> {
        while self.peek(rubbish)?.is_some_and(|key| key.starts_with(prefix)) {
            let Some((key, record)) = self.take(rubbish)? else { break };
            let input = coding::open(&key, &record);
            if input.and_then(|input| read(&key[prefix.len()..], input)).is_none() {
                rubbish.add(self.keyspace, &key, &record);
            }
        }
        Ok(())
    }
}
