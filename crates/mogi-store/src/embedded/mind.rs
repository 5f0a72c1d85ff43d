//! What the store remembers of what stands on disk, so that a commit hardly has to read.

use crate::coding::{self, Input};
use crate::ops::{EntryNo, SessionNo};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long it is remembered that a topic has no retained message any more. An older change of the
/// topic, from another worker, comes within a turn.
pub(super) const FADE_MS: u64 = 60_000;

pub(super) type Map<K, V> = HashMap<K, V, RandomState>;

/// Numbers, counts, and what is still to be removed. It is built by reading everything once.
#[derive(Debug, Default)]
pub(super) struct Mind {
    /// The sessions, and how many of their entries have a body.
    pub(super) sessions: Map<SessionNo, u32>,
    /// Entries that have a packet id.
    pub(super) flights: BTreeMap<(SessionNo, EntryNo), Flight>,
    /// Bodies, and how many entries share each.
    pub(super) bodies: Map<u64, u32>,
    /// Retained messages.
    pub(super) retained: u64,
    /// Sessions whose rest is to be removed.
    pub(super) ended: BTreeSet<SessionNo>,
    /// Where a retained message was, and when it ended; the oldest first.
    pub(super) faded: VecDeque<(u64, Box<[u8]>)>,
    pub(super) marks: Marks,
    /// The greatest number of an entry when it was opened. What is newer is written once and
    /// removed once, so that both can vanish as soon as they meet.
    pub(super) opened_at: u64,
}

/// A packet id given to an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) packet_id: u16,
    /// The client has the message.
    pub(super) released: bool,
}

/// The greatest numbers ever used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) session: u64,
    pub(super) entry: u64,
    pub(super) version: u64,
    pub(super) alive_at_ms: u64,
}

impl Mind {
    /// One more entry of the session shares the body.
    pub(super) fn share(&mut self, session: SessionNo, body: u64) {
        *self.bodies.entry(body).or_default() += 1;
        if let Some(shared) = self.sessions.get_mut(&session) {
            *shared += 1;
        }
    }

    /// One less does; whether none is left.
    pub(super) fn unshare(&mut self, session: SessionNo, body: u64) -> bool {
        if let Some(shared) = self.sessions.get_mut(&session) {
            *shared = shared.saturating_sub(1);
        }
        let Some(count) = self.bodies.get_mut(&body) else { return false };
        *count = count.saturating_sub(1);
        let last = *count == 0;
        if last {
            self.bodies.remove(&body);
        }
        last
    }

    /// Something of this session stands there, but not the session: it is removed like what ended
    /// sessions leave.
    pub(super) fn lost(&mut self, session: Option<SessionNo>) {
        self.ended.extend(session);
    }

    /// Forgets the session; what it left on disk is still to be removed.
    pub(super) fn end(&mut self, session: SessionNo) {
        self.sessions.remove(&session);
        let all = (session, EntryNo(0))..=(session, EntryNo(u64::MAX));
        let flights: Vec<_> = self.flights.range(all).map(|(key, _)| *key).collect();
        for key in flights {
            self.flights.remove(&key);
        }
        self.ended.insert(session);
    }
}

impl Marks {
    /// The greater of both.
    pub(super) fn raise(&mut self, other: &Self) {
        self.session = self.session.max(other.session);
        self.entry = self.entry.max(other.entry);
        self.version = self.version.max(other.version);
        self.alive_at_ms = self.alive_at_ms.max(other.alive_at_ms);
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for number in [self.session, self.entry, self.version, self.alive_at_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn read(mut input: Input<'_>) -> Option<Self> {
        Some(Self {
            session: input.u64()?,
            entry: input.u64()?,
            version: input.u64()?,
            alive_at_ms: input.u64()?,
        })
    }
}

/// A retained record: its version, and whether there is a message.
pub(super) fn retained_head(input: &mut Input<'_>) -> Option<(u64, bool)> {
    let version = input.u64()?;
    Some((version, input.u8()? == 1))
}

/// When a record that says that a topic has no retained message was written.
pub(super) fn faded_at(key: &[u8], record: &[u8]) -> Option<u64> {
    let mut input = coding::open(key, record)?;
    let (_, present) = retained_head(&mut input)?;
    if present { None } else { input.u64() }
}
