//! The clients of a worker, connected or away, by key and by id.

use crate::client::Client;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use slab::Slab;
use std::hash::BuildHasher;

/// A worker's clients.
#[derive(Debug)]
pub(crate) struct Clients {
    /// Each apart: a table of a hundred thousand that grows would be there twice.
    pub(crate) slab: Slab<Box<Client>>,
    /// Their keys, by id. The ids stand with the clients only.
    index: HashTable<u32>,
    hash: FixedState,
    pub(crate) generations: u32,
}

impl Clients {
    /// None yet. `hash` must not be known to those who choose the ids.
    pub(crate) const fn new(hash: FixedState) -> Self {
        Self { slab: Slab::new(), index: HashTable::new(), hash, generations: 0 }
    }

    /// The key of the client with that id.
    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        let same = |&key: &u32| self.get(key).is_some_and(|client| &*client.id == id);
        self.index.find(self.hash.hash_one(id), same).copied()
    }

    /// Adds a client, whose id no other has; its key.
    pub(crate) fn add(&mut self, client: Client) -> u32 {
        let hash = self.hash.hash_one(&*client.id);
        let key = self.slab.insert(Box::new(client)) as u32;
        let Self { slab, index, hash: of, .. } = self;
        // All keys in the index are those of clients; see `remove`.
        let of = |&key: &u32| slab.get(key as usize).map_or(0, |client| of.hash_one(&*client.id));
        index.insert_unique(hash, key, of);
        key
    }

    /// Takes a client out.
    pub(crate) fn remove(&mut self, key: u32) -> Option<Box<Client>> {
        let client = self.slab.try_remove(key as usize)?;
        let hash = self.hash.hash_one(&*client.id);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == key) {
            entry.remove();
        }
        Some(client)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut Client> {
        Some(&mut **self.slab.get_mut(key as usize)?)
    }

    pub(crate) fn get(&self, key: u32) -> Option<&Client> {
        Some(&**self.slab.get(key as usize)?)
    }

    /// The client with that key, if it is still the one of that generation.
    pub(crate) fn current(&mut self, key: u32, generation: u32) -> Option<&mut Client> {
        self.get_mut(key).filter(|client| client.generation == generation)
    }
}
