//! Running the tool, and a store to run it on.

use crate::support::{Broker, Dial, Id, Out, V5, V311};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A broker that keeps its state below its folder.
pub(crate) fn broker() -> Broker {
    // Where rights are limited, it is kept who published what is retained.
    Broker::setup()
        .conf("sys_interval 1\nacl_file {dir}/acl\n")
        .file("acl", "pattern readwrite #\npattern read $SYS/#\n")
        .args(&["--data-dir", "{dir}/data"])
        .start()
}

pub(crate) fn data(broker: &Broker) -> PathBuf {
    broker.dir().join("data")
}

/// Runs `mogi store` with these arguments and `--data-dir DIR`.
pub(crate) fn store(dir: &Path, args: &[&str]) -> Output {
    let dir = dir.to_str().expect("a path");
    tool(&[args, &["--data-dir", dir]].concat())
}

/// Runs `mogi store` with these arguments.
pub(crate) fn tool(args: &[&str]) -> Output {
    command(args).output().expect("the tool runs")
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mogi"));
    command.arg("store").args(args);
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines of an export behind the first, without times that differ from one start to the next.
pub(crate) fn export(dir: &Path) -> Vec<String> {
    lines(&store(dir, &["export"]))
}

/// The same of what an export has printed.
pub(crate) fn lines(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let mut lines = printed.lines();
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with(r#"{"type":"store""#), "{first}");
    let mut lines: Vec<_> = lines.map(|line| without(line, "away_since_ms")).collect();
    // Retained messages have no order.
    lines.sort_by_key(|line| line.starts_with(r#"{"type":"retained""#).then(|| line.clone()));
    lines
}

/// A line without this number.
fn without(line: &str, name: &str) -> String {
    let Some((before, rest)) = line.split_once(&format!(",\"{name}\":")) else {
        return line.to_owned();
    };
    before.to_owned() + rest.trim_start_matches(|c: char| c.is_ascii_digit())
}

/// A session with a message in flight of each kind and others waiting, retained messages, a will.
pub(crate) fn fill(broker: &Broker) {
    let mut alice =
        broker.connect(&Dial::persistent(V5, "alice").username("al").int(Id::ReceiveMaximum, 3));
    alice.subscribe("a/#", 2);
    let mut bob = broker.connect(&Dial::new(V5, "bob").username("robert"));
    for (number, qos) in [(1, 1), (2, 2), (3, 2), (4, 1), (5, 2)] {
        bob.publish(Out::new("a/b", format!("message {number}")).qos(qos));
    }
    for number in 1..=3 {
        let message = alice.expect_message("a/b", format!("message {number}"));
        if number == 3 {
            // The client has it, and says no more.
            alice.pubrec(message.packet_id);
            alice.expect(crate::support::PacketKind::Pubrel);
        }
    }
    alice.abort();
    broker.expect_log("alice");
    let mut carol = broker.connect(&Dial::persistent(V311, "carol"));
    carol.subscribe("c", 1);
    carol.disconnect();
    let large = Out::new("a/large", "x".repeat(1000)).qos(1).retain();
    bob.publish(large.str(Id::ContentType, "text").user("name", "value"));
    bob.publish(Out::new("kept", [0xFF, 0x00]).qos(1).retain());
    bob.publish(Out::new("c", "for carol").qos(1).int(Id::MessageExpiryInterval, 4_000_000));
    bob.disconnect();
}

/// All files below the folder, with their contents, but for the lock.
pub(crate) fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.push((path.clone(), Vec::new()));
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).expect("a file");
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}
