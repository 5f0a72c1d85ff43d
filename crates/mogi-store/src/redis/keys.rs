//! Where things stand in Redis.
//!
//! Everything of a session has its client id in braces, the hash tag of Redis Cluster: so it lies
//! in one slot and can change as one. What belongs to no client stands in one hash per slot, whose
//! tag is a short text of that slot; so everything there is can be listed by asking for 16,384
//! names, without `SCAN`.
//! ```text
//!  session:{C} subs:{C} queue:{C} inflight:{C} recv:{C} late:{C} msg:{C}:<packet id> will:{C}
//!  retained:<topic>   retained-meta:{t} retained-gone:{t}:<time>   sessions:{t} wills:{t}
//!  once:{t}:<time>    node:{N} nodes marks:{N}    migrating    dynsec
//!  bridge:<name> bridge-job:<hash>
//! ```

use super::duty::DutyKey;
use super::wire::{SLOTS, slot_of};
use crate::ops::{Cause, EntryNo};
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

/// Marks and traces are kept in keys of this many milliseconds each, which expire as a whole.
const PERIOD_MS: u64 = 120_000;

/// Names keys.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Arc<str>,
}

/// A client id as it stands in keys, and its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The id, escaped, in braces.
    text: Arc<str>,
    /// The slot of everything of this client.
    pub slot: u16,
}

impl Tag {
    /// The tag of a client id: `%`, `{` and `}` become `%25`, `%7B` and `%7D`; no id at all
    /// becomes `%`, because an empty tag is none.
    pub fn of(client: &str) -> Self {
        let mut text = String::with_capacity(client.len() + 2);
        text.push('{');
        if client.is_empty() {
            text.push('%');
        }
        if !client.contains(['%', '{', '}']) {
            text.push_str(client);
            text.push('}');
            return Self { slot: slot_of(text.as_bytes()), text: text.into() };
        }
        for letter in client.chars() {
            match letter {
                '%' => text.push_str("%25"),
                '{' => text.push_str("%7B"),
                '}' => text.push_str("%7D"),
                other => text.push(other),
            }
        }
        text.push('}');
        Self { slot: slot_of(text.as_bytes()), text: text.into() }
    }
}

/// What is kept of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Hash: what is known of the session, and who owns it.
    Session,
    /// Hash: its subscriptions.
    Subs,
    /// Stream: messages that wait.
    Queue,
    /// Hash: packet ids of entries in flight.
    Inflight,
    /// Hash: QoS 2 packet ids received.
    Recv,
    /// Hash: where entries stand that came behind greater ones.
    Late,
    /// Hash: the will.
    Will,
}

impl Of {
    const fn name(self) -> &'static str {
        match self {
            Self::Session => "session:",
            Self::Subs => "subs:",
            Self::Queue => "queue:",
            Self::Inflight => "inflight:",
            Self::Recv => "recv:",
            Self::Late => "late:",
            Self::Will => "will:",
        }
    }
}

/// What is kept per slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// Hash: sessions by client id.
    Sessions,
    /// Hash: clients that have a will.
    Wills,
    /// Hash: what is known of retained messages.
    RetainedMeta,
}

impl Keys {
    /// Keys that begin with `prefix` (`redis_prefix`); it must hold no braces.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A key of a client.
    pub fn of(&self, tag: &Tag, what: Of) -> String {
        [&self.prefix, what.name(), &tag.text].concat()
    }

    /// What the keys of a client's messages in flight begin with; the packet id follows.
    pub fn flights(&self, tag: &Tag) -> String {
        [&self.prefix, "msg:", &tag.text, ":"].concat()
    }

    /// The key of a topic's retained message.
    pub fn retained(&self, topic: &str) -> String {
        [&self.prefix, "retained:", topic].concat()
    }

    /// A key of a slot.
    pub fn per(&self, slot: u16, what: Per) -> String {
        let name = match what {
            Per::Sessions => "sessions:{",
            Per::Wills => "wills:{",
            Per::RetainedMeta => "retained-meta:{",
        };
        [&self.prefix, name, slot_tag(slot), "}"].concat()
    }

    /// Where a slot keeps traces of retained messages that ended: now, and before.
    pub(super) fn gone(&self, slot: u16, now_ms: u64) -> [String; 2] {
        self.timed("retained-gone", slot, now_ms)
    }

    /// Where a slot keeps marks of what is done but once: now, and before.
    pub(super) fn once(&self, slot: u16, now_ms: u64) -> [String; 2] {
        self.timed("once", slot, now_ms)
    }

    fn timed(&self, name: &str, slot: u16, now_ms: u64) -> [String; 2] {
        let period = now_ms / PERIOD_MS;
        let prefix = &self.prefix;
        let key = |period| format!("{prefix}{name}:{{{}}}:{period}", slot_tag(slot));
        [key(period), key(period.saturating_sub(1))]
    }

    /// The lease of a node: it lives as long as the key does.
    pub fn node(&self, node: &str) -> String {
        format!("{}node:{}", self.prefix, Tag::of(node).text)
    }

    /// Who has a node number.
    pub fn node_slot(&self, slot: u8) -> String {
        format!("{}node-slot:{slot}", self.prefix)
    }

    /// Who carries a bridge.
    pub fn duty(&self, duty: DutyKey<'_>) -> String {
        match duty {
            DutyKey::Name(name) => format!("{}bridge:{name}", self.prefix),
            DutyKey::Job(job) => format!("{}bridge-job:{job}", self.prefix),
        }
    }

    /// All nodes that were there lately.
    pub fn nodes(&self) -> String {
        format!("{}nodes", self.prefix)
    }

    /// Where the state comes from that is being written by `mogi store migrate`.
    pub fn migrating(&self) -> String {
        format!("{}migrating", self.prefix)
    }

    /// What is known of users and rights that change while brokers run.
    pub fn dynsec(&self) -> String {
        format!("{}dynsec", self.prefix)
    }

    /// The greatest numbers a node has used, and when it was last seen to write.
    pub fn marks(&self, node: &str) -> String {
        format!("{}marks:{}", self.prefix, Tag::of(node).text)
    }
}

/// Bits of an entry's number that are the part of its stream id behind the dash.
const REST_BITS: u32 = 22;

/// The stream id of an entry: its number, of which the lower 22 bits stand behind the dash. So
/// numbers that begin with milliseconds since 1970 look like ids Redis gives itself.
pub fn entry_id(entry: EntryNo) -> String {
    let mut id = String::with_capacity(24);
    // Writing to a string does not fail.
    let _ = write!(id, "{}-{}", entry.0 >> REST_BITS, entry.0 & ((1 << REST_BITS) - 1));
    id
}

/// The field of `will:{C}` for the message of a will that is taken.
pub(super) const PUBLISHED: &str = "published";

/// What stands before the id of an entry in `recv:{C}`.
const HANDED: &str = "to:";

/// The field for what follows from something: of `recv:{C}`, or of `will:{C}` where it is a will.
pub(super) fn field_of(cause: &Cause) -> String {
    match cause {
        Cause::PacketId(packet_id) => packet_id.to_string(),
        Cause::Entry(entry) => format!("{HANDED}{}", entry_id(*entry)),
        Cause::Will(_) => PUBLISHED.to_owned(),
    }
}

/// What a field of `recv:{C}` stands for.
pub(super) fn cause_of(field: &[u8]) -> Option<Cause> {
    match field.strip_prefix(HANDED.as_bytes()) {
        Some(id) => entry_of(id).map(Cause::Entry),
        None => std::str::from_utf8(field).ok()?.parse().ok().map(Cause::PacketId),
    }
}

/// The number of the entry with this id; `None` for ids no number has.
pub fn entry_of(id: &[u8]) -> Option<EntryNo> {
    let (ms, rest) = parts_of(id)?;
    (rest < 1 << REST_BITS).then_some(EntryNo((ms << REST_BITS) | rest))
}

/// The greatest number whose id does not come behind this one, which may be that of a late entry;
/// `None` for ids that are none of ours.
pub fn entries_up_to(id: &[u8]) -> Option<EntryNo> {
    let (ms, rest) = parts_of(id)?;
    Some(EntryNo((ms << REST_BITS) | rest.min((1 << REST_BITS) - 1)))
}

fn parts_of(id: &[u8]) -> Option<(u64, u64)> {
    let (ms, rest) = std::str::from_utf8(id).ok()?.split_once('-')?;
    let (ms, rest): (u64, u64) = (ms.parse().ok()?, rest.parse().ok()?);
    (ms < 1 << (64 - REST_BITS)).then_some((ms, rest))
}

/// The shortest text of digits and small letters that hashes to the slot, the first of those.
pub fn slot_tag(slot: u16) -> &'static str {
    static TAGS: OnceLock<Vec<Box<str>>> = OnceLock::new();
    let tags = TAGS.get_or_init(|| {
        let mut tags: Vec<Option<Box<str>>> = vec![None; usize::from(SLOTS)];
        let mut left = tags.len();
        let mut number = 0u32;
        while left > 0 {
            let text = base_36(number);
            let place = &mut tags[usize::from(slot_of(text.as_bytes()))];
            if place.is_none() {
                *place = Some(text.into());
                left -= 1;
            }
            number += 1;
        }
        tags.into_iter().flatten().collect()
    });
    tags.get(usize::from(slot)).map_or("", |tag| tag)
}

fn base_36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
        number -= 1;
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_a_client_lies_in_one_slot() {
        let keys = Keys::new("p:");
        for client in ["clientA", "", "a{b}c", "100%", "}{", "ü/x", "{}"] {
            let tag = Tag::of(client);
            for what in [Of::Session, Of::Subs, Of::Queue, Of::Inflight, Of::Recv, Of::Will] {
                assert_eq!(slot_of(keys.of(&tag, what).as_bytes()), tag.slot, "{client}");
            }
            assert_eq!(slot_of((keys.flights(&tag) + "17").as_bytes()), tag.slot, "{client}");
            assert_eq!(slot_of(keys.per(tag.slot, Per::Sessions).as_bytes()), tag.slot);
        }
        assert_eq!(Keys::new("").of(&Tag::of("clientA"), Of::Queue), "queue:{clientA}");
    }

    #[test]
    fn ids_are_told_apart() {
        let ids = ["", "%", "{", "}", "%7B", "%25", "{}", "a"];
        for one in ids {
            for other in ids {
                assert_eq!(Tag::of(one) == Tag::of(other), one == other, "{one} {other}");
            }
        }
    }

    #[test]
    fn each_slot_has_a_short_tag() {
        for slot in 0..SLOTS {
            let tag = slot_tag(slot);
            assert_eq!(slot_of(tag.as_bytes()), slot);
            assert!(tag.len() <= 4, "{tag}");
        }
        // They are in stores of others: they must stay.
        let known = [0, 1, 5061, 12182, 16383].map(slot_tag);
        assert_eq!(known, PINNED);
    }

    const PINNED: [&str; 5] = ["1bz", "emj", "bar", "foo", "hia"];

    #[test]
    fn numbers_are_stream_ids() {
        for number in [1, 7, 1 << 22, (1 << 22) + 5, 1 << 50, u64::MAX] {
            assert_eq!(entry_of(entry_id(EntryNo(number)).as_bytes()), Some(EntryNo(number)));
        }
        assert_eq!(entry_id(EntryNo((1_763_722_000_123 << 22) | 42)), "1763722000123-42");
        assert_eq!(entry_of(b"5-4194304"), None, "that of an entry that came late");
        assert_eq!(entry_of(b"x"), None);
    }
}
