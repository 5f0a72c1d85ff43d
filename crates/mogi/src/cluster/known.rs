//! The other nodes: where they are, what was taken from each, and which starts of them are dead.

use super::incoming::Taken;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Dead nodes that are known by name.
const BURIED: usize = 256;

/// The other nodes, by id.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) places: Mutex<BTreeMap<String, Place>>,
    /// Which start of a node was taken for dead last.
    dead: Mutex<BTreeMap<String, u64>>,
    /// Rings when a node has told everything.
    pub(super) heard: Notify,
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) peer: u16,
    /// Where it says it is reached.
    pub(super) address: String,
    pub(super) taken: Arc<Mutex<Taken>>,
    /// Whether it has told everything.
    pub(super) heard: bool,
}

impl Known {
    /// The place of a node, and what was taken from it.
    pub(super) fn place(&self, node: &str) -> Option<(u16, Arc<Mutex<Taken>>)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(node).map(|place| (place.peer, Arc::clone(&place.taken)))
    }

    /// Where a node says it is reached.
    pub(super) fn address(&self, node: &str) -> Option<String> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(node).map(|place| place.address.clone())
    }

    /// Whether that start of a node was taken for dead: others have its sessions, and what it has
    /// yet to say was said of them before.
    pub(super) fn is_dead(&self, node: &str, start: u64) -> bool {
        let dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.get(node) == Some(&start)
    }

    /// The node at that place is taken for dead, as of the start it was heard of last.
    pub(super) fn bury(&self, node: &str) {
        let Some((_, taken)) = self.place(node) else {
            return;
        };
        let start = taken.lock().unwrap_or_else(PoisonError::into_inner).incarnation;
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        if dead.len() >= BURIED {
            // Where nodes have another name with every start, none of these comes back.
            dead.clear();
        }
        dead.insert(node.to_owned(), start);
    }

    /// The node at that place has told everything it has to tell at a start.
    pub(super) fn heard_all_of(&self, peer: u16) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.values_mut().find(|place| place.peer == peer) {
            place.heard = true;
        }
        drop(places);
        self.heard.notify_one();
    }

    /// The nodes that have told everything.
    pub(super) fn all_heard(&self) -> BTreeSet<String> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = places.iter().filter(|(_, place)| place.heard);
        heard.map(|(node, _)| node.clone()).collect()
    }

    pub(super) fn heard_all(&self) -> bool {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.values().all(|place| place.heard)
    }
}
