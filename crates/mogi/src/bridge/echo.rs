//! Messages that come back because the other broker does not know that this is a bridge.
//!
//! To a broker that knows neither bridges nor 5.0 the bridge is a client that gets what it
//! publishes, where it is subscribed to that. So what was sent is remembered for a while, as a
//! hash, and the first message that looks the same is taken for it. If it was another one with the
//! same topic and payload, the echo itself comes later: nobody can tell the two apart.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// Messages that were sent, and have not come back.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    hash: RandomState,
    /// How many messages with that hash.
    sent: HashMap<u64, u32>,
    /// In the order they were sent: until when they may come back.
    order: VecDeque<(u64, u64)>,
}

/// How long a message may take to come back.
const PATIENCE_MS: u64 = 30_000;
/// Messages that are remembered; of more the oldest are forgotten.
const MOST: usize = 65_536;

impl Echoes {
    /// A message was sent that will come back.
    pub(super) fn sent(&mut self, now_ms: u64, topic: &str, payload: &[u8]) {
        self.forget(now_ms);
        if self.order.len() == MOST {
            self.forget_oldest();
        }
        let hash = self.hash.hash_one((topic, payload));
        *self.sent.entry(hash).or_default() += 1;
        self.order.push_back((now_ms + PATIENCE_MS, hash));
    }

    /// Whether this is one of them; then it has come back.
    pub(super) fn is_one(&mut self, now_ms: u64, topic: &str, payload: &[u8]) -> bool {
        self.forget(now_ms);
        if self.sent.is_empty() {
            return false;
        }
        let hash = self.hash.hash_one((topic, payload));
        if !self.sent.contains_key(&hash) {
            return false;
        }
        self.take(hash);
        // The oldest of its kind; mostly it is the very first.
        if let Some(at) = self.order.iter().position(|(_, other)| *other == hash) {
            self.order.remove(at);
        }
        true
    }

    fn forget(&mut self, now_ms: u64) {
        while self.order.front().is_some_and(|(until_ms, _)| *until_ms <= now_ms) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, hash)) = self.order.pop_front() {
            self.take(hash);
        }
    }

    fn take(&mut self, hash: u64) {
        if let Some(count) = self.sent.get_mut(&hash) {
            *count -= 1;
            if *count == 0 {
                self.sent.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_comes_back_once() {
        let mut echoes = Echoes::default();
        assert!(!echoes.is_one(0, "a", b"x"));
        echoes.sent(0, "a", b"x");
        echoes.sent(0, "a", b"x");
        echoes.sent(0, "b", b"x");
        assert!(!echoes.is_one(1, "a", b"y"));
        assert!(echoes.is_one(1, "a", b"x") && echoes.is_one(1, "b", b"x"));
        assert!(echoes.is_one(1, "a", b"x") && !echoes.is_one(1, "a", b"x"));
        assert!(echoes.sent.is_empty() && echoes.order.is_empty());
    }

    #[test]
    fn what_does_not_come_back_is_forgotten() {
        let mut echoes = Echoes::default();
        echoes.sent(0, "a", b"x");
        assert!(!echoes.is_one(PATIENCE_MS, "a", b"x"));
        for at in 0..=MOST {
            echoes.sent(at as u64 / 10_000, "a", &at.to_be_bytes());
        }
        assert_eq!((echoes.order.len(), echoes.sent.len()), (MOST, MOST));
        assert!(!echoes.is_one(7, "a", &0usize.to_be_bytes()));
    }
}
