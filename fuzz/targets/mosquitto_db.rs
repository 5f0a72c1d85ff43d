//! Whatever bytes come as a `mosquitto.db`, they are a file or an error; and what was read, in
//! whole or in part, can be written and is then read as the same.
//!
//! Input: a file. One that does not begin as it should gets a header, so that its chunks are
//! looked at.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mogi_store::mosquitto_db::{Db, read, read_lossy, write};

/// Magic, checksum and version.
const HEADER: &[u8] = b"\0\xb5\0mosquitto db\0\0\0\0\0\0\0\x06";

fuzz_target!(|input: &[u8]| {
    check(input);
    check(&[HEADER, input].concat());
});

fn check(file: &[u8]) {
    let strict = read(file);
    let Ok(recovered) = read_lossy(file) else {
        assert!(strict.is_err());
        return;
    };
    assert_eq!(strict.is_ok(), recovered.skipped_count == 0);
    let db = recovered.db;
    if let Ok(strict) = strict {
        assert_eq!(strict, db);
    }
    let bytes = write(&db).expect("what was read can be written");
    let again = read(&bytes).expect("what was written can be read");
    // Writing raises the last id to the highest there is.
    assert!(again.last_id >= db.last_id);
    assert_eq!(Db { last_id: db.last_id, ..again }, db);
}
