//! Files with something wrong, and any bytes at all.

use crate::expected;
use crate::fixtures::all;
use mogi_store::mosquitto_db::{Db, DbError, MAX_DAMAGES, read, read_lossy, write};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const HEADER_LEN: usize = 23;

/// A file with all kinds of chunks, and where each chunk begins.
fn file() -> (Vec<u8>, Vec<usize>) {
    let bytes = all().into_iter().find(|&(_, name, _)| name == "sessions").unwrap().2;
    let mut starts = Vec::new();
    let mut at = HEADER_LEN;
    while at < bytes.len() {
        starts.push(at);
        let len = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        at += 8 + len as usize;
    }
    (bytes, starts)
}

fn error(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

/// `file()` with other bytes from `at` bytes behind the start of chunk `number`.
fn changed(number: usize, at: usize, bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut file, starts) = file();
    let from = starts[number] + at;
    file[from..from + bytes.len()].copy_from_slice(bytes);
    (file, starts[number])
}

/// Where the kinds of chunks stand in `file()`: the configuration, four messages, a client with
/// nine messages of its own, a client with two, one with none, five subscriptions, one retained.
const CONFIG: usize = 0;
const MESSAGE: usize = 1;
const CLIENT: usize = 5;
const CLIENT_MESSAGE: usize = 6;
const SUBSCRIPTION: usize = 19;
const RETAINED: usize = 24;

#[test]
fn other_files_are_refused_by_name() {
    for bytes in [&b""[..], b"\x00\xb5", b"SQLite format 3\0", &file().0[..HEADER_LEN - 1]] {
        assert_eq!(read(bytes), Err(DbError::NotADatabase));
        assert_eq!(read_lossy(bytes), Err(DbError::NotADatabase));
    }
    let mut bytes = file().0;
    bytes[22] = 5;
    assert_eq!(read_lossy(&bytes), Err(DbError::Version(5)));
    assert_eq!(
        error(&bytes),
        "format version 5, which Mosquitto wrote before 2.0; start Mosquitto 2 with this file \
         and stop it again: it writes version 6, which can be read here"
    );
    bytes[22] = 7;
    assert_eq!(
        error(&bytes),
        "format version 7, which no known Mosquitto writes; 2.0 and 2.1 write version 6"
    );
}

#[test]
fn an_error_says_where_and_what() {
    let cases: [(usize, usize, &[u8], &str); 15] = [
        (CONFIG, 8 + 9, &[4], "configuration chunk: message ids of 4 bytes"),
        (CONFIG, 8 + 8, &[2], "configuration chunk: the mark of a clean shutdown is 2"),
        (MESSAGE, 8, &[0; 8], "message chunk: message id 0"),
        (MESSAGE, 8 + 16, &[0, 1, 0, 0], "message chunk: payload has 65536 bytes, and"),
        (MESSAGE, 8 + 16, &[16, 0, 0, 0], "a payload of 268435456 bytes, more than MQTT allows"),
        (MESSAGE, 8 + 24, &[0xFF, 0xFF], "message chunk: user name has 65535 bytes, and"),
        (MESSAGE, 8 + 30, &[3], "message chunk: QoS 3"),
        (CLIENT, 8 + 14, &[0, 0], "client chunk: 4 bytes more than it has fields"),
        (CLIENT_MESSAGE, 8, &[9; 8], "client message chunk: it refers to message 651"),
        (CLIENT_MESSAGE, 8 + 8, &[0, 0], "client message chunk: packet id 0 with QoS above 0"),
        (CLIENT_MESSAGE, 8 + 15, &[2], "client message chunk: direction 2"),
        (CLIENT_MESSAGE, 8 + 16, b"nine", "it refers to client \"nine\""),
        (SUBSCRIPTION, 8 + 9, &[0x40], "subscription chunk: reserved subscription option"),
        (SUBSCRIPTION, 8 + 12 + 4, b"##", "subscription chunk: filter \"###\""),
        (RETAINED, 8, &[0; 8], "retained message chunk: it refers to message 0"),
    ];
    for (number, at, bytes, what) in cases {
        let (file, start) = changed(number, at, bytes);
        let error = error(&file);
        assert!(error.starts_with(&format!("byte {start}, ")), "{error}");
        assert!(error.contains(what), "{error}: not {what}");
    }
}

#[test]
fn what_is_healthy_is_taken_and_what_is_skipped_is_listed() {
    let healthy = read(&file().0).unwrap();
    // The topic of the last message is broken, and with it go both deliveries of it.
    let (starts, message) = (file().1, MESSAGE + 3);
    let (bytes, _) = changed(message, 8 + 26, &[9, 9]);
    let recovered = read_lossy(&bytes).unwrap();
    let places: Vec<usize> = recovered.skipped.iter().map(|damage| damage.offset).collect();
    let last = &healthy.messages[3];
    let mut expected = healthy.clone();
    expected.messages.pop();
    for client in &mut expected.clients {
        client.messages.retain(|message| message.message_id != last.id);
    }
    expected.retained.retain(|&id| id != last.id);
    assert_eq!(recovered.db, expected);
    assert_eq!(places[0], starts[message]);
    assert_eq!(places.len(), recovered.skipped_count);
    assert!(places.len() > 1 && read(&bytes).is_err());
}

#[test]
fn a_subscription_that_cannot_be_read_is_the_only_one_lost() {
    let mut expected = read(&file().0).unwrap();
    let (bytes, _) = changed(SUBSCRIPTION, 8 + 8, &[3]);
    let recovered = read_lossy(&bytes).unwrap();
    expected.subscriptions.remove(0);
    assert_eq!((recovered.db, recovered.skipped_count), (expected, 1));
}

#[test]
fn a_file_cut_short_is_an_error_wherever_it_can_be_seen() {
    let (bytes, starts) = file();
    let whole = read(&bytes).unwrap();
    for len in HEADER_LEN..bytes.len() {
        let at_a_boundary = len > HEADER_LEN && starts.contains(&len);
        assert_eq!(read(&bytes[..len]).is_ok(), at_a_boundary, "{len} bytes");
        let recovered = read_lossy(&bytes[..len]).unwrap();
        assert_eq!(recovered.skipped_count == 0, at_a_boundary);
        assert!(whole.messages.starts_with(&recovered.db.messages));
        assert!(whole.subscriptions.starts_with(&recovered.db.subscriptions));
    }
    let error = error(&bytes[..bytes.len() - 3]);
    assert!(error.ends_with(
        "retained message chunk: it should have 8 bytes, and the file ends after 5: the file was \
         cut short, or the length is damaged and where the next chunk begins is unknown"
    ));
}

#[test]
fn chunks_in_a_payload_are_not_taken_for_the_files_own() {
    let client = expected::client("intruder", vec![]);
    let inner = write(&Db { clients: vec![client], ..Db::default() }).unwrap();
    let mut message = expected::message(1, expected::Q0, 0, "a", "");
    message.payload = inner[HEADER_LEN..].to_vec();
    let mut bytes = write(&Db { messages: vec![message], ..Db::default() }).unwrap();
    // The length of the chunk around it.
    bytes[HEADER_LEN + 24 + 4] = 0xFF;
    let recovered = read_lossy(&bytes).unwrap();
    assert_eq!(recovered.db.clients, []);
    assert_eq!(recovered.skipped_count, 1);
}

#[test]
fn an_unknown_chunk_is_an_error_that_can_be_skipped() {
    let (mut bytes, _) = file();
    let db = read(&bytes).unwrap();
    bytes.splice(HEADER_LEN..HEADER_LEN, [0, 0, 0, 99, 0, 0, 0, 1, 7]);
    assert_eq!(error(&bytes), "byte 23, unknown chunk: type 99, which no known Mosquitto writes");
    assert_eq!(read_lossy(&bytes).unwrap().db, db);
}

#[test]
fn the_list_of_damages_is_limited_and_their_number_is_not() {
    let mut bytes = write(&Db::default()).unwrap();
    let count = MAX_DAMAGES + 5;
    bytes.extend([0, 0, 0, 99, 0, 0, 0, 0].repeat(count));
    let recovered = read_lossy(&bytes).unwrap();
    assert_eq!((recovered.skipped.len(), recovered.skipped_count), (MAX_DAMAGES, count));
}

#[test]
fn a_claimed_length_costs_no_memory() {
    let mut bytes = write(&Db::default()).unwrap();
    bytes.extend([0, 0, 0, 2, 0xFF, 0xFF, 0xFF, 0xF0]);
    bytes.extend([0; 100]);
    assert!(error(&bytes).contains("it should have 4294967280 bytes, and the file ends after 100"));
}

/// Reads it in both ways; what is read can be written, and is then read as the same.
fn check(bytes: &[u8]) {
    let strict = read(bytes);
    let Ok(recovered) = read_lossy(bytes) else {
        assert!(strict.is_err());
        return;
    };
    assert_eq!(strict.is_ok(), recovered.skipped_count == 0);
    if let Ok(db) = strict {
        assert_eq!(db, recovered.db);
    }
    // Files say "no message yet" with any number; see `Db::last_id`.
    let again = read(&write(&recovered.db).unwrap()).unwrap();
    assert_eq!(Db { last_id: recovered.db.last_id, ..again }, recovered.db);
}

proptest! {
    #[test]
    fn any_bytes_are_a_file_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        check(&bytes);
        let mut file = write(&Db::default()).unwrap();
        file.extend(bytes);
        check(&file);
    }

    #[test]
    fn changed_files_are_files_or_errors(
        which in any::<Index>(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let files = all();
        let mut bytes = which.get(&files).2.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        check(&bytes);
    }
}
