//! `kill -9` at any moment: what was acknowledged is there afterwards.
//!
//! The test runs itself as a child that commits in a loop and prints what was acknowledged.

use mogi_codec::QoS;
use mogi_core::Wait;
use mogi_core::store::{EntryNo, Ids, SessionNo, SessionRecord, StoreOp, StoredDelivery};
use mogi_core::{Message, MessageView};
use mogi_store::{Answer, Committer, EmbeddedOptions, EmbeddedStore, Loaded, Store};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DIR: &str = "MOGI_STORE_CRASH_DIR";
/// What stands before a turn in the child's output.
const STORED: &str = "stored ";
const ROUNDS: u64 = 20;

/// Messages that wait; older ones are delivered, so that tables are written and compacted.
const WINDOW: u64 = 3000;

/// A retained message follows each turn.
const TOPIC: &str = "last/turn";

#[test]
fn acknowledged_entries_survive_kill_9() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut acknowledged, mut torn) = (0, 0);
    for round in 0..ROUNDS {
        let mut child = start(dir.path());
        let lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
        let number = |line: String| line.strip_prefix(STORED)?.parse::<u64>().ok();
        let mut turns = lines.map_while(Result::ok).filter_map(number);
        // Some are killed at once, while they open the store.
        for _ in 0..round * 7 % 40 {
            acknowledged = turns.next().expect("the child goes on");
        }
        std::thread::sleep(Duration::from_micros(round * 137 % 1000));
        drop(child);
        // What it printed before it died counts too.
        acknowledged = acknowledged.max(turns.last().unwrap_or(0));
        torn += check(dir.path(), acknowledged, round);
    }
    assert!(acknowledged > 0, "the children did something");
    println!("{acknowledged} turns acknowledged, {torn} bytes were torn");
}

/// Killed when it is dropped.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it is killed");
    }
}

fn start(dir: &Path) -> Victim {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "the_child_commits", "--nocapture"]).env(DIR, dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    Victim(command.spawn().expect("a child"))
}

/// Looks whether the turns up to `acknowledged` are there, and no turn in part.
fn check(dir: &Path, acknowledged: u64, round: u64) -> u64 {
    let mut store = EmbeddedStore::open(EmbeddedOptions::new(dir)).expect("a store");
    let (mut waiting, mut version) = (Vec::new(), 0);
    let report = store.load(&mut |loaded| match loaded {
        Loaded::Session(session) => waiting.extend(session.waiting.iter().map(|it| it.entry.0)),
        Loaded::Retained { version: found, .. } => version = found,
        _ => {}
    });
    let damage = report.expect("it loads").damage;
    assert!(!damage.any(), "round {round}: {damage:?}");
    assert!(version >= acknowledged, "round {round}: {version} of {acknowledged}");
    let first = version.saturating_sub(WINDOW) * 3 + 1;
    let expected: Vec<u64> = (first..=version * 3).collect();
    assert!(waiting == expected, "round {round}: not the entries of turn {version}");
    damage.torn_bytes
}

/// Only as a child: commits turns of three messages each, and prints each turn once it is durable.
#[test]
fn the_child_commits() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mut store = EmbeddedStore::open(EmbeddedOptions {
        // Small, so that tables are written all the time.
        memtable_bytes: 256 << 10,
        ..EmbeddedOptions::new(dir)
    })
    .expect("a store");
    let begin = store.load(&mut |_| {}).expect("it loads").last_version;
    let on_answer = |_: u16, answer: Answer| {
        if let Answer::Stored { turn } = answer {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{STORED}{turn}").and_then(|()| out.flush()).expect("somebody reads");
        }
    };
    let committer = Committer::start(Box::new(store), Box::new(on_answer), Box::new(|_| {}));
    let committer = committer.expect("a thread");
    for turn in begin + 1.. {
        committer.submit(0, turn, changes(turn), Wait::ForThis);
        while committer.pending_bytes() > 100_000 {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

fn changes(turn: u64) -> Vec<StoreOp> {
    let session = SessionNo(1);
    let record = SessionRecord {
        client: "client".into(),
        expiry_s: u32::MAX,
        username: None,
        mount: None,
        left_at_ms: None,
    };
    let mut batch = vec![StoreOp::SessionSet { session, record }];
    let payload = vec![turn as u8; 200];
    let message = message("t", &payload);
    for entry in turn * 3 - 2..=turn * 3 {
        let delivery = StoredDelivery {
            message: message.clone(),
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: Ids::None,
            group: None,
        };
        batch.push(StoreOp::Enqueued { session, entry: EntryNo(entry), delivery });
    }
    if let Some(old) = turn.checked_sub(WINDOW).filter(|old| *old > 0) {
        let gone = old * 3 - 2..=old * 3;
        batch.extend(gone.map(|entry| StoreOp::Delivered { session, entry: EntryNo(entry) }));
    }
    batch.push(StoreOp::Retained { message: self::message(TOPIC, &payload), version: turn });
    batch
}

fn message(topic: &str, payload: &[u8]) -> Message {
    let view = MessageView::internal(topic, payload, QoS::AtLeastOnce, false);
    Message::new(&view, &mut Vec::new())
}
