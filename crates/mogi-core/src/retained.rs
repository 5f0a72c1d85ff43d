//! Retained messages, one tree for all workers of a process.
//!
//! It is the one structure besides the interest table that workers share, and only messages with
//! RETAIN touch it. One tree, because a part per worker could answer a SUBSCRIBE only across
//! threads, and an answer that crosses a newer live message on its way would leave the subscriber
//! with the older value. With one tree the rule is short: a publisher's worker stores first and
//! routes afterwards, a subscriber's worker makes its interest known first and reads afterwards.
//! So a subscriber gets the value live, or from the tree, or both, and never misses it.

use crate::message::Message;
use crate::topics::RetainedTree;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The retained messages of a process.
#[derive(Debug)]
pub struct Retained {
    tree: RwLock<RetainedTree<Message>>,
    count: AtomicUsize,
    bytes: AtomicUsize,
}

/// What became of a message that was to be retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is the topic's message now, or the topic has none any more.
    Done,
    /// There is no room for another topic.
    Full,
}

impl Retained {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            tree: RwLock::new(RetainedTree::new(seed)),
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of topics, properties and payloads kept.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Keeps `message` for its topic in place of the one before ([MQTT-3.3.1-5]). `limit` is the
    /// number of topics there may be, 0: any.
    pub(crate) fn set(&self, message: Message, limit: usize) -> Stored {
        let mut tree = self.write();
        if limit != 0 && tree.len() >= limit && tree.get(message.topic()).is_none() {
            return Stored::Full;
        }
        let weight = message.weight();
        let topic = message.clone();
        let before = tree.insert(topic.topic(), message);
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        self.forget_bytes(before.as_ref());
        self.count.store(tree.len(), Ordering::Relaxed);
        Stored::Done
    }

    /// Removes the topic's message ([MQTT-3.3.1-6]).
    pub(crate) fn remove(&self, topic: &str) {
        let mut tree = self.write();
        let before = tree.remove(topic);
        self.forget_bytes(before.as_ref());
        self.count.store(tree.len(), Ordering::Relaxed);
    }

    /// The topic's message.
    pub fn get(&self, topic: &str) -> Option<Message> {
        self.read().get(topic).cloned()
    }

    /// Calls `visit` with every message whose topic matches `filter`.
    pub fn matching(&self, filter: &str, mut visit: impl FnMut(&Message)) {
        self.read().for_each_match(filter, |message| {
            visit(message);
            ControlFlow::Continue(())
        });
    }

    /// Drops the messages that are too old; how many they were (`retain_expiry_interval`).
    pub fn purge(&self, now_ms: u64) -> usize {
        let mut tree = self.write();
        let before = tree.len();
        let mut gone_bytes = 0;
        tree.retain(|message| {
            let keep = !message.expired(now_ms);
            gone_bytes += if keep { 0 } else { message.weight() };
            keep
        });
        self.bytes.fetch_sub(gone_bytes, Ordering::Relaxed);
        self.count.store(tree.len(), Ordering::Relaxed);
        before - tree.len()
    }

    fn forget_bytes(&self, message: Option<&Message>) {
        if let Some(message) = message {
            self.bytes.fetch_sub(message.weight(), Ordering::Relaxed);
        }
    }

    // Poisoning: see `Interest`.
    fn read(&self) -> RwLockReadGuard<'_, RetainedTree<Message>> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, RetainedTree<Message>> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }
}
