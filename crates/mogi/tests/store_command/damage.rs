//! What is damaged, and what is not there.

use crate::tool::{broker, data, files, fill, store, text};
use std::fs;
use std::path::Path;

#[test]
fn a_damaged_journal_is_found_and_left_alone() {
    let mut broker = broker();
    fill(&broker);
    // What is in the log gets to the tables, and so into their journal.
    broker.stop();
    broker.restart();
    let mut zoe = broker.client(crate::support::V5, "zoe");
    zoe.publish(crate::support::Out::new("more", "of it").qos(1).retain());
    broker.stop();
    let dir = data(&broker);
    let path = dir.join("mogi-store/data/0.jnl");
    let mut bytes = fs::read(&path).expect("a journal");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty");
    // In the middle: there are whole batches behind it.
    bytes[end / 2] ^= 0xFF;
    fs::write(&path, bytes).expect("it is written");
    let before = files(&dir);
    let output = store(&dir, &["verify"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the journal 0.jnl is damaged at byte"), "{said}");
    assert!(said.contains("What to do"), "{said}");
    assert!(files(&dir) == before, "the files differ");
    let output = store(&dir, &["verify", "--json"]);
    assert!(text(&output.stdout).contains(r#""healthy": false"#));
    assert_eq!(store(&dir, &["inspect"]).status.code(), Some(1));
    // The rest can still be exported, and the exit code says that it is not all.
    let output = store(&dir, &["export"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is damaged"), "{output:?}");
    assert!(text(&output.stdout).contains(r#""type":"store""#));
}

#[test]
fn a_damaged_table_is_found_and_the_rest_is_read() {
    let dir = broker().dir().with_extension("table");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../mogi-store/tests/fixtures/store-v1");
    copy(Path::new(fixture), &dir.join("mogi-store"));
    let output = store(&dir, &["verify"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // The keyspace of the retained messages was made last.
    let path = dir.join("mogi-store/data/keyspaces/4/tables/0");
    let mut bytes = fs::read(&path).expect("a table");
    bytes[40] ^= 0xFF;
    fs::write(&path, bytes).expect("it is written");
    let output = store(&dir, &["verify"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a table is damaged (retained messages)"), "{said}");
    assert!(said.contains("2 sessions, 6 messages for them, 0 retained messages"), "{said}");
    fs::remove_dir_all(&dir).expect("it is removed");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

#[test]
fn what_is_not_there_is_not_made() {
    let dir = broker().dir().to_owned();
    let output = store(&dir.join("nowhere"), &["inspect"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there is no store here"), "{output:?}");
    assert!(!dir.exists());
}

#[test]
fn wrong_options_are_named() {
    let output = store("x".as_ref(), &["repair"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("no command 'repair'"), "{output:?}");
    let output = store("x".as_ref(), &["export", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("--mosquitto-db FILE"));
}
