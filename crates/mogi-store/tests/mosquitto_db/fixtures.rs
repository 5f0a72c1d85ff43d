//! What Mosquitto wrote is read as what it was told.

use crate::expected::{self, By};
use mogi_store::mosquitto_db::{Db, read, read_lossy, write};
use std::collections::BTreeMap;

/// Made on a day in 2026, with intervals of 3,000,000,000 seconds.
const EXPIRY_S: std::ops::Range<i64> = 4_795_000_000..4_798_000_000;

pub(crate) fn all() -> Vec<(By, &'static str, Vec<u8>)> {
    let names = ["empty", "sessions", "states", "retained", "online", "usernames", "bridge"];
    let versions = [(By::V20, "2.0.11"), (By::V21, "2.1.2")];
    let mut all = Vec::new();
    for (by, version) in versions {
        for name in names {
            let root = env!("CARGO_MANIFEST_DIR");
            let path = format!("{root}/tests/fixtures/{version}/{name}.db");
            all.push((by, name, std::fs::read(path).unwrap()));
        }
    }
    all
}

/// The same with messages in the order they were published in, as [`expected`] has them.
fn normalized(mut db: Db) -> Db {
    assert!(db.messages.iter().all(|message| message.id <= db.last_id));
    db.last_id = 0;
    db.messages.sort_by_key(|message| message.id);
    let ids = db.messages.iter().map(|message| message.id);
    let ids: BTreeMap<u64, u64> = ids.zip(1..).collect();
    for message in &mut db.messages {
        message.id = ids[&message.id];
        message.expires_s = moment(message.expires_s);
    }
    for client in &mut db.clients {
        client.session_expires_s = moment(client.session_expires_s);
        for message in &mut client.messages {
            message.message_id = ids[&message.message_id];
        }
    }
    for id in &mut db.retained {
        *id = ids[id];
    }
    db.retained.sort_unstable();
    db
}

fn moment(at_s: i64) -> i64 {
    assert!(at_s == 0 || EXPIRY_S.contains(&at_s), "{at_s}");
    at_s.min(1)
}

#[test]
fn they_are_read_as_what_was_published_and_subscribed() {
    for (by, name, bytes) in all() {
        let expected = match name {
            "empty" => expected::empty(by),
            "sessions" => expected::sessions(by),
            "states" => expected::states(by),
            "retained" => expected::retained(by),
            "online" => expected::online(by),
            "usernames" => expected::usernames(by),
            _ => expected::bridge(by),
        };
        let db = read(&bytes).unwrap_or_else(|error| panic!("{name} of {by:?}: {error}"));
        assert_eq!(normalized(db), expected, "{name} of {by:?}");
    }
}

#[test]
fn written_again_they_are_the_same_bytes() {
    for (by, name, bytes) in all() {
        let db = read(&bytes).unwrap();
        let again = write(&db).unwrap();
        assert_eq!(read(&again).unwrap(), db, "{name} of {by:?}");
        // 2.0.11's own mistake is not repeated: see `Reading::username`.
        if (by, name) != (By::V20, "usernames") {
            assert_eq!(again, bytes, "{name} of {by:?}");
        }
    }
}

#[test]
fn nothing_is_skipped_in_them() {
    for (by, name, bytes) in all() {
        let recovered = read_lossy(&bytes).unwrap();
        assert_eq!(recovered.skipped, [], "{name} of {by:?}");
        assert_eq!(recovered.skipped_count, 0);
        assert_eq!(recovered.db, read(&bytes).unwrap());
    }
}
