//! What is damaged, and what is not there.

use crate::tool::{broker, data, files, fill, store, text};
use std::fs;

#[test]
fn a_damaged_journal_is_found_and_left_alone() {
    let mut broker = broker();
    fill(&broker);
    broker.kill();
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
    // The rest can still be exported, and the exit code says that it is not all.
    let output = store(&dir, &["export"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is damaged"), "{output:?}");
    assert!(text(&output.stdout).contains(r#""type":"store""#));
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
