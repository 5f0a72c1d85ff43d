//! What stands for a received QoS 2 packet id until its message is in all queues.
//!
//! The queues lie in other slots than the publisher's session, so they cannot change as one. So the
//! packet id is written with what is to follow from it, and whoever takes the session over before
//! all of that is done does the rest; each part counts but once. A publisher that comes back is
//! either told that its message is known, and then it reaches everybody, or it is not, and then it
//! has reached nobody.
//! ```text
//!  | J | 1 | then per part: kind, length, content … |
//! ```

use crate::coding::{self, Input};
use crate::ops::{EntryNo, SessionNo, StoreOp};
use mogi_core::Message;
use std::sync::Arc;

/// What stands where nothing follows.
pub(super) const NOTHING: &str = "J1";

const HEAD: &[u8] = NOTHING.as_bytes();
const ENQUEUED: u8 = b'Q';
const RETAINED: u8 = b'T';
const RETAINED_END: u8 = b'U';

/// Changes that follow; those of a session with its client id.
pub(super) type Parts = Vec<(Option<Arc<str>>, StoreOp)>;

/// The first number of what follows. Whoever does what was left undone begins with the smallest:
/// that is the order in which the messages came, and a Redis hash keeps none.
pub(super) fn first_number(parts: &Parts) -> u64 {
    let numbers = parts.iter().filter_map(|(_, op)| match op {
        StoreOp::Enqueued { entry, .. } => Some(entry.0),
        StoreOp::Retained { version, .. } | StoreOp::RetainedEnd { version, .. } => Some(*version),
        _ => None,
    });
    numbers.min().unwrap_or(0)
}

/// Parts as they stand in Redis. Changes of other kinds are left out.
pub(super) fn encode<'a>(parts: impl Iterator<Item = (Option<&'a str>, &'a StoreOp)>) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    let mut content = Vec::new();
    for (client, op) in parts {
        content.clear();
        let kind = match op {
            StoreOp::Enqueued { session, entry, delivery } => {
                put_text(client.unwrap_or_default(), &mut content);
                content.extend_from_slice(&session.0.to_le_bytes());
                content.extend_from_slice(&entry.0.to_le_bytes());
                coding::put_entry(delivery, None, &mut content);
                ENQUEUED
            }
            StoreOp::Retained { message, version } => {
                content.extend_from_slice(&version.to_le_bytes());
                content.extend_from_slice(message.as_bytes());
                RETAINED
            }
            StoreOp::RetainedEnd { topic, version } => {
                content.extend_from_slice(&version.to_le_bytes());
                put_text(topic, &mut content);
                RETAINED_END
            }
            _ => continue,
        };
        out.push(kind);
        out.extend_from_slice(&(content.len() as u32).to_le_bytes());
        out.extend_from_slice(&content);
    }
    out
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// What [`encode`] wrote; `None` if that is something else.
pub(super) fn read(bytes: &[u8]) -> Option<Parts> {
    let mut rest = bytes.strip_prefix(HEAD)?;
    let mut parts = Parts::new();
    while let [kind, a, b, c, d, tail @ ..] = rest {
        let len = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let (content, next) = tail.split_at_checked(len)?;
        parts.push(part(*kind, Input::new(content))?);
        rest = next;
    }
    rest.is_empty().then_some(parts)
}

fn part(kind: u8, mut content: Input<'_>) -> Option<(Option<Arc<str>>, StoreOp)> {
    match kind {
        ENQUEUED => {
            let client = content.text()?;
            let (session, entry) = (SessionNo(content.u64()?), EntryNo(content.u64()?));
            let delivery = coding::entry(content)?.delivery(|_| None)?;
            Some((Some(client), StoreOp::Enqueued { session, entry, delivery }))
        }
        RETAINED => {
            let version = content.u64()?;
            let message = Message::from_bytes(content.rest())?;
            Some((None, StoreOp::Retained { message, version }))
        }
        RETAINED_END => {
            let version = content.u64()?;
            Some((None, StoreOp::RetainedEnd { topic: content.text()?, version }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{enqueued, message, retained_set};

    #[test]
    fn parts_come_back() {
        let ops = [
            enqueued(1, 2, &message("t", b"x")),
            retained_set("r", b"y", 7),
            StoreOp::RetainedEnd { topic: "r".into(), version: 8 },
        ];
        let clients = [Some("ü"), None, None];
        let bytes = encode(clients.into_iter().zip(&ops));
        let found = read(&bytes).expect("it can be read");
        let expected: Parts = clients.into_iter().map(|id| id.map(Arc::from)).zip(ops).collect();
        assert_eq!(found, expected);
        for len in 0..bytes.len() {
            // A part may end where a piece ends; then what is left is missing.
            assert_ne!(read(&bytes[..len]), Some(expected.clone()));
        }
        assert_eq!(read(b"received"), None);
    }
}
