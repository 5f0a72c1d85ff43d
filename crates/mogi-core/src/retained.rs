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
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The retained messages of a process.
#[derive(Debug)]
pub struct Retained {
    seed: u64,
    tree: RwLock<RetainedTree<Message>>,
    count: AtomicUsize,
    bytes: AtomicUsize,
    /// Of the last change, for the store: what workers change at the same time has an order.
    version: AtomicU64,
}

/// What became of a message that was to be retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is the topic's message now, as of this version.
    Done(u64),
    /// There is no room for another topic.
    Full,
}

impl Retained {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            tree: RwLock::new(RetainedTree::new(seed)),
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            version: AtomicU64::new(0),
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
        if limit != 0 && tree.len() >= limit && tree.get(message.view().topic).is_none() {
            return Stored::Full;
        }
        let weight = message.weight();
        let before = tree.insert_by(message, |message| message.view().topic);
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        self.forget_bytes(before.as_ref());
        self.count.store(tree.len(), Ordering::Relaxed);
        Stored::Done(self.next_version())
    }

    /// Removes the topic's message ([MQTT-3.3.1-6]); the version of that.
    pub(crate) fn remove(&self, topic: &str) -> u64 {
        let mut tree = self.write();
        let before = tree.remove(topic);
        self.forget_bytes(before.as_ref());
        self.count.store(tree.len(), Ordering::Relaxed);
        self.next_version()
    }

    /// Puts a message of the store back in its place.
    pub fn restore(&self, message: Message) {
        self.set(message, 0);
    }

    pub(crate) fn forget_all(&self) {
        let mut tree = self.write();
        *tree = RetainedTree::new(self.seed);
        self.bytes.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
    }

    pub(crate) fn continue_from(&self, version: u64) {
        self.version.fetch_max(version, Ordering::Relaxed);
    }

    /// To be called while the tree is locked.
    fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed) + 1
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

    /// Drops the messages that are too old (`retain_expiry_interval`); calls `gone` with each and
    /// the version of its end.
    pub(crate) fn purge(&self, now_ms: u64, mut gone: impl FnMut(&Message, u64)) {
        let mut tree = self.write();
        let mut gone_bytes = 0;
        tree.retain(|message| {
            if !message.expired(now_ms) {
                return true;
            }
            gone_bytes += message.weight();
            gone(message, self.next_version());
            false
        });
        self.bytes.fetch_sub(gone_bytes, Ordering::Relaxed);
        self.count.store(tree.len(), Ordering::Relaxed);
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
