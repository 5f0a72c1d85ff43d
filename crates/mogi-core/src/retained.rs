//! Retained messages, one tree for all workers of a process.
//!
//! It is the one structure besides the interest table that workers share, and only messages with
//! RETAIN touch it. One tree, because a part per worker could answer a SUBSCRIBE only across
//! threads, and an answer that crosses a newer live message on its way would leave the subscriber
//! with the older value. With one tree the rule is short: a publisher's worker stores first and
//! routes afterwards, a subscriber's worker makes its interest known first and reads afterwards.
//! So a subscriber gets the value live, or from the tree, or both, and never misses it.

use crate::authority::{Rights, Source};
use crate::message::Message;
use crate::numbers::{Numbers, numbers_at};
use crate::removed::Removed;
use crate::topics::RetainedTree;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The retained messages of a process.
#[derive(Debug)]
pub struct Retained {
    seed: u64,
    kept: RwLock<Tree>,
    count: AtomicUsize,
    bytes: AtomicUsize,
    /// Those of them that are the broker's own (`$SYS`), which count against no limit.
    own_bytes: AtomicUsize,
    /// Of those bytes the payloads'.
    payload_bytes: AtomicUsize,
    /// For the store and for other nodes: what workers change at the same time has an order.
    versions: Numbers,
    /// Whether other nodes change retained messages as well.
    clustered: bool,
    /// Whether more of them are on their way from the store.
    loading: AtomicBool,
}

/// What is behind the lock.
#[derive(Debug)]
struct Tree {
    topics: RetainedTree<Kept>,
    /// Where there are other nodes, or more is on its way from the store.
    removed: Removed,
}

/// A retained message and its version.
#[derive(Clone, Debug)]
struct Kept {
    message: Message,
    version: u64,
    /// Who published it, where that matters and is known (`check_retain_source`).
    source: Option<Arc<Source>>,
}

/// How much may be retained; 0: any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    /// Topics (`max_retained_messages`).
    pub(crate) messages: usize,
    /// Bytes (`max_retained_bytes`).
    pub(crate) bytes: usize,
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
    /// `slot`: the node's, if others may use its store; `clustered`: some do.
    pub(crate) fn new(seed: u64, slot: Option<u8>, clustered: bool) -> Self {
        let topics = RetainedTree::new(seed);
        Self {
            seed,
            kept: RwLock::new(Tree { topics, removed: Removed::new(seed) }),
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            own_bytes: AtomicUsize::new(0),
            payload_bytes: AtomicUsize::new(0),
            versions: Numbers::new(slot),
            clustered,
            loading: AtomicBool::new(false),
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

    /// Bytes of payloads kept.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of topics, properties and payloads of messages that are not the broker's own.
    fn clients_bytes(&self) -> usize {
        self.bytes().saturating_sub(self.own_bytes.load(Ordering::Relaxed))
    }

    /// Says whether more of them are on their way from the store. While they are, no SUBSCRIBE is
    /// answered with what is there already, but for the subscription itself.
    pub fn set_loading(&self, loading: bool) {
        let mut tree = self.write();
        self.loading.store(loading, Ordering::Release);
        if !self.remembers() {
            tree.removed = Removed::new(self.seed);
        }
    }

    /// Whether more of them are on their way from the store.
    pub(crate) fn is_loading(&self) -> bool {
        self.loading.load(Ordering::Acquire)
    }

    /// Keeps `message` for its topic in place of the one before ([MQTT-3.3.1-5]), if there is room.
    pub(crate) fn set(
        &self,
        now_ms: u64,
        message: Message,
        room: Room,
        source: Option<Arc<Source>>,
    ) -> Stored {
        let mut tree = self.write();
        if !self.has_room(&tree, room, message.view().topic, message.weight()) {
            return Stored::Full;
        }
        let version = self.versions.next(now_ms);
        self.put(&mut tree, Kept { message, version, source });
        Stored::Done(version)
    }

    /// A version for a change that is made later, and whether there will be room for it: as in
    /// [`Self::set`] of a message of that weight.
    pub(crate) fn promise(&self, now_ms: u64, topic: &[u8], weight: usize, room: Room) -> Stored {
        let tree = self.read();
        if !self.has_room(&tree, room, topic, weight) {
            return Stored::Full;
        }
        Stored::Done(self.versions.next(now_ms))
    }

    /// Removes the topic's message ([MQTT-3.3.1-6]); the version of that.
    pub(crate) fn remove(&self, now_ms: u64, topic: &str) -> u64 {
        let mut tree = self.write();
        let version = self.versions.next(now_ms);
        self.take(&mut tree, topic, version);
        version
    }

    /// Puts a message of the store, or of another node, in its place, unless there is a newer one,
    /// or a newer removal; whether it is there now.
    pub fn restore(&self, message: Message, version: u64) -> bool {
        let source = message.author().map(|author| Arc::new(Source::of_author(&author)));
        self.restore_from(message.unsigned(), version, source)
    }

    /// The same of a message whose source is known.
    pub(crate) fn restore_from(
        &self,
        message: Message,
        version: u64,
        source: Option<Arc<Source>>,
    ) -> bool {
        let mut tree = self.write();
        self.versions.continue_from(version);
        if tree.is_newer(message.topic(), version) {
            return false;
        }
        self.put(&mut tree, Kept { message, version, source });
        true
    }

    /// The topic's message was removed, as of that version: by another node, or in the store.
    pub fn remove_as_of(&self, topic: &str, version: u64) {
        let mut tree = self.write();
        self.versions.continue_from(version);
        if !tree.is_newer(topic, version) {
            self.take(&mut tree, topic, version);
        }
    }

    /// Removes what is older than that time, in milliseconds since 1970, and not among those that
    /// were `seen` in the store: it was removed there. For a node that hears of it too late for
    /// traces.
    pub fn remove_unseen(&self, before_ms: u64, seen: impl Fn(&str) -> bool) {
        let mut stale = Vec::new();
        let before = numbers_at(before_ms);
        self.read().topics.for_each(|kept| {
            let topic = kept.message.topic();
            if kept.version < before && !kept_own(&kept.message) && !seen(topic) {
                stale.push((topic.to_owned(), kept.version));
            }
        });
        for (topic, version) in stale {
            // Unless it was set anew meanwhile.
            self.remove_as_of(&topic, version + 1);
        }
    }

    /// Calls `visit` with everything that changed since that version, as far as it is remembered:
    /// the message, with who published it where that is known, or the topic that has none any more.
    pub fn changed_since(
        &self,
        since: u64,
        rights: &Rights,
        mut visit: impl FnMut(Result<&Message, &str>, u64),
    ) {
        let tree = self.read();
        tree.removed
            .iter()
            .filter(|(_, version)| *version >= since)
            .for_each(|(topic, version)| visit(Err(topic), version));
        tree.topics.for_each(|Kept { message, version, source }| {
            if *version < since {
                return;
            }
            match source {
                Some(source) => visit(Ok(&source.sign(message, rights)), *version),
                None => visit(Ok(message), *version),
            }
        });
    }

    /// Whether the topic's message may be one of that weight.
    fn has_room(&self, tree: &Tree, room: Room, topic: &[u8], weight: usize) -> bool {
        if room.messages == 0 && room.bytes == 0 {
            return true;
        }
        let before = tree.topics.get(topic);
        let new = before.is_none();
        let gone = before.map_or(0, |kept| kept.message.weight());
        let messages = room.messages == 0 || !new || tree.topics.len() < room.messages;
        // One that is no larger than the one before may always take its place.
        let bytes = room.bytes == 0
            || !new && weight <= gone
            || (self.clients_bytes() + weight).saturating_sub(gone) <= room.bytes;
        messages && bytes
    }

    fn put(&self, tree: &mut Tree, kept: Kept) {
        let weight = kept.message.weight();
        let own = kept_own(&kept.message);
        let payload = kept.message.payload().len();
        let before = tree.topics.insert_by(kept, |kept| kept.message.view().topic);
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        self.payload_bytes.fetch_add(payload, Ordering::Relaxed);
        if own {
            self.own_bytes.fetch_add(weight, Ordering::Relaxed);
        }
        self.forget_bytes(before.as_ref());
        self.count.store(tree.topics.len(), Ordering::Relaxed);
    }

    fn take(&self, tree: &mut Tree, topic: &str, version: u64) {
        let before = tree.topics.remove(topic);
        self.forget_bytes(before.as_ref());
        self.count.store(tree.topics.len(), Ordering::Relaxed);
        if self.remembers() {
            tree.removed.note(topic, version);
        }
    }

    pub(crate) fn forget_all(&self) {
        let mut tree = self.write();
        let (topics, removed) = (RetainedTree::new(self.seed), Removed::new(self.seed));
        *tree = Tree { topics, removed };
        self.bytes.store(0, Ordering::Relaxed);
        self.own_bytes.store(0, Ordering::Relaxed);
        self.payload_bytes.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
    }

    pub(crate) fn continue_from(&self, version: u64) {
        self.versions.continue_from(version);
    }

    /// The topic's message.
    pub fn get(&self, topic: &str) -> Option<Message> {
        self.read().topics.get(topic).map(|kept| kept.message.clone())
    }

    /// Calls `visit` with every message whose topic matches `filter`.
    pub fn matching(&self, filter: &str, mut visit: impl FnMut(&Message)) {
        self.matching_from(filter, |message, _| visit(message));
    }

    /// The same with who published them, where that is known.
    pub(crate) fn matching_from(
        &self,
        filter: &str,
        mut visit: impl FnMut(&Message, Option<&Source>),
    ) {
        self.read().topics.for_each_match(filter, |kept| {
            visit(&kept.message, kept.source.as_deref());
            ControlFlow::Continue(())
        });
    }

    /// Drops the messages that are too old (`retain_expiry_interval`); calls `gone` with each and
    /// the version of its end.
    pub(crate) fn purge(&self, now_ms: u64, mut gone: impl FnMut(&Message, u64)) {
        let mut tree = self.write();
        let Tree { topics, removed } = &mut *tree;
        let (mut gone_bytes, mut gone_payload) = (0, 0);
        topics.retain(|Kept { message, .. }| {
            if !message.expired(now_ms) {
                return true;
            }
            gone_bytes += message.weight();
            gone_payload += message.payload().len();
            let version = self.versions.next(now_ms);
            if self.remembers() {
                removed.note(message.topic(), version);
            }
            gone(message, version);
            false
        });
        self.bytes.fetch_sub(gone_bytes, Ordering::Relaxed);
        self.payload_bytes.fetch_sub(gone_payload, Ordering::Relaxed);
        self.count.store(topics.len(), Ordering::Relaxed);
    }

    /// Whether removals are remembered: what was sent, or read, before could bring messages back.
    fn remembers(&self) -> bool {
        self.clustered || self.is_loading()
    }

    fn forget_bytes(&self, kept: Option<&Kept>) {
        if let Some(kept) = kept {
            self.bytes.fetch_sub(kept.message.weight(), Ordering::Relaxed);
            self.payload_bytes.fetch_sub(kept.message.payload().len(), Ordering::Relaxed);
            if kept_own(&kept.message) {
                self.own_bytes.fetch_sub(kept.message.weight(), Ordering::Relaxed);
            }
        }
    }

    // Poisoning: see `Interest`.
    fn read(&self) -> RwLockReadGuard<'_, Tree> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tree> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is one of the broker's own. They never expire.
fn kept_own(message: &Message) -> bool {
    message.topic().starts_with("$SYS/")
}

impl Tree {
    /// Whether something is known of the topic that is newer than that version, or the same.
    fn is_newer(&self, topic: &str, version: u64) -> bool {
        match self.topics.get(topic) {
            Some(kept) => kept.version >= version,
            None => self.removed.is_known(topic, version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::author::Author;
    use crate::message::{MessageView, NEVER};
    use mogi_codec::QoS;

    #[test]
    fn what_is_removed_while_the_store_is_read_stays_away() {
        let retained = Retained::new(1, Some(0), false);
        retained.set_loading(true);
        let version = retained.remove(5, "t");
        assert!(!retained.restore(message("t"), version - 1), "it was read before");
        assert!(retained.restore(message("u"), version - 1));
        retained.set_loading(false);
        assert!(retained.read().removed.iter().next().is_none(), "nobody else needs to know");
    }

    fn message(topic: &str) -> Message {
        let view = MessageView {
            qos: QoS::AtLeastOnce,
            retain: true,
            topic: topic.as_bytes(),
            properties: &[],
            payload: b"x",
            expires_at_ms: NEVER,
            frame: None,
        };
        Message::new(&view, &mut Vec::new())
    }

    #[test]
    fn other_nodes_are_told_who_published_what_changed() {
        let retained = Retained::new(1, Some(0), true);
        let author = Author { client_id: "ann", username: Some("a"), port: 7 };
        retained.restore(message("known").signed(&author), 5);
        retained.restore(message("unknown"), 6);
        retained.restore(message("before"), 3);
        let mut told = Vec::new();
        retained.changed_since(5, &Rights::default(), |change, version| {
            let message = change.expect("no removal");
            let author = message.author().map(|author| (author.client_id.to_owned(), author.port));
            told.push((message.topic().to_owned(), version, author));
        });
        told.sort();
        let known = ("known".to_owned(), 5, Some(("ann".to_owned(), 7)));
        assert_eq!(told, [known, ("unknown".to_owned(), 6, None)]);
    }

    #[test]
    fn what_the_store_has_not_is_gone_if_it_is_old() {
        let retained = Retained::new(1, Some(0), true);
        let at = |ms| numbers_at(ms);
        for (topic, ms) in [("seen", 1), ("gone", 2), ("late", 10), ("$SYS/own", 3)] {
            retained.restore(message(topic), at(ms));
        }
        retained.remove_unseen(10, |topic| topic == "seen");
        let mut left = Vec::new();
        retained.changed_since(0, &Rights::default(), |change, _| {
            left.extend(change.map(|message| message.topic().to_owned()));
        });
        left.sort();
        assert_eq!(left, ["$SYS/own", "late", "seen"]);
        // What was sent before does not bring it back.
        assert!(!retained.restore(message("gone"), at(2)));
    }
}
