//! Where each record stands.
//!
//! ```text
//!  keyspace state     's' session                     who it is
//!                     'e' session                     it has ended, and its rest is being removed
//!                     'f' session  filter             a subscription
//!                     'r' session  packet id          a QoS 2 packet id of its publisher's side
//!                     'p' session  entry              a packet id assigned to an entry
//!                     'w' client id                   a will
//!                     CHECKPOINT                      up to where the log is in the tables
//!  keyspace queue     session  entry                  a message on its way to a session
//!                     MARKS                           the greatest numbers used, and when
//!  keyspace bodies    number of its first entry       a message that several entries share
//!  keyspace retained  topic                           its retained message, or since when none
//! ```
//! Queues, bodies and retained messages come and go in different ways; apart from each other, the
//! compaction of one does not rewrite the others.

use crate::ops::{EntryNo, SessionNo};
use xxhash_rust::xxh3::xxh3_128_with_seed;

pub(super) const SESSION: u8 = b's';
pub(super) const ENDED: u8 = b'e';
pub(super) const SUBSCRIPTION: u8 = b'f';
pub(super) const RECEIVED: u8 = b'r';
pub(super) const FLIGHT: u8 = b'p';
pub(super) const WILL: u8 = b'w';

/// The key of the marks, in the keyspace of the queues. No entry has so short a key.
pub(super) const MARKS: [u8; 1] = [0];

/// The key of the checkpoint, in the keyspace of the state. No other key there is so short.
pub(super) const CHECKPOINT: [u8; 1] = [b'c'];

/// Texts up to this length stand in keys as they are. Longer ones, which no store can have as keys,
/// end in a hash.
const TEXT_MAX: usize = 1024;

/// `kind`, session.
pub(super) fn of_session(kind: u8, session: SessionNo) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&session.0.to_be_bytes());
    key
}

/// RECEIVED, session, packet id.
pub(super) fn received(session: SessionNo, packet_id: u16) -> [u8; 11] {
    let mut key = [0; 11];
    key[..9].copy_from_slice(&of_session(RECEIVED, session));
    key[9..].copy_from_slice(&packet_id.to_be_bytes());
    key
}

/// FLIGHT, session, entry.
pub(super) fn flight(session: SessionNo, entry: EntryNo) -> [u8; 17] {
    let mut key = [FLIGHT; 17];
    key[1..].copy_from_slice(&queue(session, entry));
    key
}

/// Session, entry.
pub(super) fn queue(session: SessionNo, entry: EntryNo) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&session.0.to_be_bytes());
    key[8..].copy_from_slice(&entry.0.to_be_bytes());
    key
}

/// The session and the entry of [`queue`]'s key.
pub(super) fn split_queue(key: &[u8]) -> Option<(SessionNo, EntryNo)> {
    let (session, entry) = key.split_first_chunk::<8>()?;
    let entry: [u8; 8] = entry.try_into().ok()?;
    Some((SessionNo(u64::from_be_bytes(*session)), EntryNo(u64::from_be_bytes(entry))))
}

/// The session in a key of [`of_session`] and longer ones.
pub(super) fn session_in(key: &[u8]) -> Option<SessionNo> {
    let number = key.get(1..)?.first_chunk::<8>()?;
    Some(SessionNo(u64::from_be_bytes(*number)))
}

/// Puts `prefix` and a text into `out`. `seed` is the store's own: who does not know it cannot make
/// two long texts that have one key.
pub(super) fn put_text(prefix: &[u8], text: &str, seed: u64, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(prefix);
    let bytes = text.as_bytes();
    match bytes.split_at_checked(TEXT_MAX) {
        None => out.extend_from_slice(bytes),
        Some((head, _)) => {
            out.extend_from_slice(head);
            // No text has this byte.
            out.push(0xFF);
            out.extend_from_slice(&xxh3_128_with_seed(bytes, seed).to_be_bytes());
        }
    }
}

/// What stands there, for people.
pub(super) fn in_words(keyspace: &str, key: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let session = || session_in(key).map_or(0, |session| session.0);
    match (keyspace, key) {
        ("retained", _) => format!("the retained message of topic '{}'", text(key)),
        ("bodies", _) => {
            let number = key.try_into().map_or(0, u64::from_be_bytes);
            format!("message body {number}")
        }
        ("queue", _) if key == MARKS => "the record of the numbers in use".to_owned(),
        ("queue", _) => match split_queue(key) {
            Some((session, entry)) => format!("message {} of session {}", entry.0, session.0),
            None => "a message".to_owned(),
        },
        (_, key) if key == CHECKPOINT => "the record of the checkpoint".to_owned(),
        (_, [SESSION, ..]) => format!("the record of session {}", session()),
        (_, [ENDED, ..]) => format!("the record of the end of session {}", session()),
        (_, [SUBSCRIPTION, ..]) => {
            let filter = text(key.get(9..).unwrap_or_default());
            format!("subscription '{filter}' of session {}", session())
        }
        (_, [RECEIVED, ..]) => format!("a received packet id of session {}", session()),
        (_, [FLIGHT, ..]) => match split_queue(&key[1..]) {
            Some((session, entry)) => {
                format!("the packet id of message {} of session {}", entry.0, session.0)
            }
            None => "a packet id".to_owned(),
        },
        (_, [WILL, rest @ ..]) => format!("the will of client '{}'", text(rest)),
        _ => "a record".to_owned(),
    }
}
