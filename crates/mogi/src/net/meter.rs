//! How fast clients publish: token buckets per client, user and listener, all opt-in.
//!
//! Whoever has used up what a second gives is not read until there is some again. So nothing is
//! lost and nobody else waits; its own network tells a client to slow down.

use crate::net::shared::Shared;
use mogi_core::Allowance;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What may be published in a second; 0: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) messages: u32,
    pub(crate) bytes: u32,
}

/// By whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    /// One connection (`max_publish_rate_per_client`, `max_publish_bytes_per_client`).
    pub(crate) client: Rate,
    /// All connections with one user name (`max_publish_rate_per_user`, …).
    pub(crate) user: Rate,
    /// All connections of one listener (`max_publish_rate_per_listener`, …).
    pub(crate) listener: Rate,
}

impl Rates {
    /// Whether anything is limited.
    pub(crate) fn limit_something(&self) -> bool {
        *self != Self::default()
    }
}

/// What is left, in thousandths.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    messages: i64,
    bytes: i64,
    /// When it was filled last; 0: never, and then it is full.
    at_ms: u64,
}

impl Bucket {
    /// What may be published now.
    fn left(&mut self, rate: Rate, now_ms: u64) -> Allowance {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms).min(FULL_MS) as i64;
        self.at_ms = now_ms;
        let fill = |left: &mut i64, rate: u32| {
            *left = (*left + elapsed_ms * i64::from(rate)).min(i64::from(rate) * 1000);
            (*left).max(0) as u64
        };
        let messages = fill(&mut self.messages, rate.messages) / 1000;
        let bytes = fill(&mut self.bytes, rate.bytes).div_ceil(1000);
        Allowance {
            messages: if rate.messages == 0 { u32::MAX } else { messages as u32 },
            bytes: if rate.bytes == 0 { u64::MAX } else { bytes },
        }
    }

    fn take(&mut self, rate: Rate, used: Allowance) {
        if rate.messages != 0 {
            self.messages -= i64::from(used.messages) * 1000;
        }
        if rate.bytes != 0 {
            self.bytes -= used.bytes.min(MAX_PACKET_BYTES) as i64 * 1000;
        }
    }

    /// Milliseconds until something may be published.
    fn wait_ms(&self, rate: Rate) -> u64 {
        let wait = |lacking: i64, rate: u32| match rate {
            0 => 0,
            rate => (lacking.max(0) as u64).div_ceil(u64::from(rate)),
        };
        wait(1000 - self.messages, rate.messages).max(wait(1 - self.bytes, rate.bytes))
    }
}

/// More than a bucket that owes the largest packet needs to be full again at any rate; bounds what
/// is reckoned with.
const FULL_MS: u64 = 1 << 32;
/// The largest packet there is (section 2.1.4).
const MAX_PACKET_BYTES: u64 = 256 << 20;

/// A bucket several connections take from.
pub(crate) type Common = Arc<Mutex<Bucket>>;

/// The buckets a connection takes from.
#[derive(Debug)]
pub(crate) struct Meter {
    own: Bucket,
    user: Option<Common>,
    listener: Common,
}

impl Meter {
    /// That of a connection that came in by `listener`; `None`: nobody limits it.
    pub(crate) fn new(shared: &Shared, listener: u16, user: Option<&str>) -> Option<Self> {
        let listener = Arc::clone(&shared.listeners.get(usize::from(listener))?.bucket);
        let user = user.map(|user| shared.users.bucket(user));
        Some(Self { own: Bucket::default(), user, listener })
    }

    /// What may be published now.
    pub(crate) fn left(&mut self, rates: &Rates, now_ms: u64) -> Allowance {
        let common = |bucket: &Common, rate| lock(bucket).left(rate, now_ms);
        let left = self.own.left(rates.client, now_ms);
        let left = least(left, common(&self.listener, rates.listener));
        match &self.user {
            Some(user) => least(left, common(user, rates.user)),
            None => left,
        }
    }

    /// So much was published.
    pub(crate) fn take(&mut self, rates: &Rates, used: Allowance) {
        self.own.take(rates.client, used);
        lock(&self.listener).take(rates.listener, used);
        if let Some(user) = &self.user {
            lock(user).take(rates.user, used);
        }
    }

    /// Milliseconds until something may be published, at least 1.
    pub(crate) fn wait_ms(&self, rates: &Rates) -> u64 {
        let user = self.user.as_ref().map_or(0, |user| lock(user).wait_ms(rates.user));
        let listener = lock(&self.listener).wait_ms(rates.listener);
        self.own.wait_ms(rates.client).max(user).max(listener).max(1)
    }
}

fn least(one: Allowance, other: Allowance) -> Allowance {
    let messages = one.messages.min(other.messages);
    Allowance { messages, bytes: one.bytes.min(other.bytes) }
}

fn lock(bucket: &Common) -> std::sync::MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The buckets of users that are connected.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<HashMap<Box<str>, Weak<Mutex<Bucket>>>>);

/// Users from which on those who are gone are looked for.
const MANY_USERS: usize = 64;

impl Users {
    fn bucket(&self, user: &str) -> Common {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = users.get(user).and_then(Weak::upgrade) {
            return known;
        }
        if users.len() >= MANY_USERS && users.len() == users.capacity() {
            // Before the table would grow: it stays in proportion to those who are there.
            users.retain(|_, bucket| bucket.strong_count() > 0);
        }
        let bucket = Common::default();
        users.insert(user.into(), Arc::downgrade(&bucket));
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { messages: 10, bytes: 1000 };

    fn used(messages: u32, bytes: u64) -> Allowance {
        Allowance { messages, bytes }
    }

    #[test]
    fn a_second_gives_what_the_rate_says_and_no_more_is_saved() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.left(RATE, 1_700_000_000_000), used(10, 1000));
        bucket.take(RATE, used(10, 100));
        assert_eq!(bucket.wait_ms(RATE), 100);
        assert_eq!(bucket.left(RATE, 1_700_000_000_099).messages, 0);
        assert_eq!(bucket.left(RATE, 1_700_000_000_100).messages, 1);
        assert_eq!(bucket.left(RATE, 1_700_000_099_000), used(10, 1000));
    }

    #[test]
    fn what_was_too_much_is_waited_for() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.left(RATE, 5_000), used(10, 1000));
        bucket.take(RATE, used(1, 5000));
        assert_eq!(bucket.left(RATE, 5_000).bytes, 0);
        let wait_ms = bucket.wait_ms(RATE);
        assert_eq!(wait_ms, 4001);
        assert!(bucket.left(RATE, 5_000 + wait_ms).bytes > 0);
    }

    #[test]
    fn what_is_not_limited_never_waits() {
        let mut bucket = Bucket::default();
        let rate = Rate { messages: 0, bytes: 1 };
        assert_eq!(bucket.left(rate, 1).messages, u32::MAX);
        bucket.take(rate, used(1_000_000, 0));
        assert_eq!(bucket.left(rate, 1), used(u32::MAX, 1));
        assert_eq!(bucket.wait_ms(Rate::default()), 0);
    }

    #[test]
    fn users_that_are_gone_are_forgotten() {
        let users = Users::default();
        let ann = users.bucket("ann");
        for n in 0..100_000 {
            users.bucket(&n.to_string());
        }
        assert!(users.0.lock().expect("not poisoned").len() < 1000);
        assert!(Arc::ptr_eq(&ann, &users.bucket("ann")));
    }
}
