//! A file system that is full, and then is not.

use mogi_codec::QoS;
use mogi_core::Wait;
use mogi_core::store::{EntryNo, Ids, SessionNo, SessionRecord, StoreOp, StoredDelivery};
use mogi_core::{Message, MessageView};
use mogi_store::{
    Answer, Committer, EmbeddedOptions, EmbeddedStore, ErrorKind, Loaded, Notice, Store,
};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A file system of 8 MiB that only this thread and those it starts see; `None`: not permitted.
fn small_disk(dir: &Path) -> Option<()> {
    unshare(CloneFlags::CLONE_NEWNS).ok()?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).ok()?;
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some("size=8m")).ok()
}

#[test]
fn a_full_disk_stops_acknowledgements_until_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    if small_disk(dir.path()).is_none() {
        eprintln!("skipped: mounting a small file system is not permitted here");
        return;
    }
    let [ballast, rest] = ["ballast", "rest"].map(|name| dir.path().join(name));
    fs::write(&ballast, vec![1; 4 << 20]).expect("there is room for that");
    let place = dir.path().join("store");
    let store = EmbeddedStore::open(EmbeddedOptions::new(&place)).expect("a store");
    let (to_answers, answers) = channel();
    let (to_notices, notices) = channel();
    let on_answer = move |_: u16, answer| drop(to_answers.send(answer));
    let on_notice = move |notice| drop(to_notices.send(notice));
    let committer = Committer::start(Box::new(store), Box::new(on_answer), Box::new(on_notice));
    let committer = committer.expect("a thread");
    committer.submit(0, 0, vec![session_set()], Wait::ForThis);
    let (mut turn, mut stored) = (0, 0);
    let error = loop {
        turn += 1;
        assert!(turn < 5000, "the disk takes more than it has");
        committer.submit(0, turn, vec![enqueued(turn)], Wait::ForThis);
        let Ok(Notice::Failing { error }) = notices.recv_timeout(Duration::from_millis(2)) else {
            continue;
        };
        // Opening the store again frees a little, which may be enough to go on.
        for _ in 0..40 {
            fill(&rest);
            stored = last_stored(&answers, Duration::from_millis(50)).max(stored);
        }
        if notices.try_recv().is_err() {
            break error;
        }
    };
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    assert!(error.to_string().contains("make room"), "{error}");
    assert!(stored < turn, "turn {turn} did not fit");
    // More comes, and nothing of it is acknowledged.
    (turn + 1..=turn + 20)
        .for_each(|turn| committer.submit(0, turn, vec![enqueued(turn)], Wait::ForThis));
    turn += 20;
    assert_eq!(last_stored(&answers, Duration::from_secs(1)), 0, "nothing more is stored");
    assert!(committer.pending_bytes() > 0 && committer.status().failing_since.is_some());
    fs::remove_file(&ballast).expect("it is removed");
    let recovered = notices.recv_timeout(Duration::from_secs(60));
    assert!(matches!(recovered, Ok(Notice::Recovered { .. })), "{recovered:?}");
    while last_stored(&answers, Duration::from_secs(60)) < turn {}
    committer.close().expect("all is written");
    let mut store = EmbeddedStore::open(EmbeddedOptions::new(&place)).expect("a store");
    let mut waiting = Vec::new();
    let report = store.load(&mut |loaded| {
        if let Loaded::Session(session) = loaded {
            waiting.extend(session.waiting.iter().map(|it| it.entry.0));
        }
    });
    assert!(!report.expect("it loads").damage.any());
    assert_eq!(waiting, (1..=turn).collect::<Vec<_>>(), "all of them are there, once");
}

/// Takes all that is left.
fn fill(path: &Path) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.expect("a file takes no room yet");
    while file.write(&[1; 512]).is_ok() {}
}

/// The last turn that is stored before nothing comes for this long; 0: none.
fn last_stored(answers: &Receiver<Answer>, quiet: Duration) -> u64 {
    let mut last = 0;
    let first = answers.recv_timeout(quiet);
    let more = std::iter::from_fn(|| answers.recv_timeout(Duration::from_millis(50)).ok());
    for answer in first.into_iter().chain(more) {
        if let Answer::Stored { turn } = answer {
            last = turn;
        }
    }
    last
}

fn session_set() -> StoreOp {
    let record = SessionRecord {
        client: "client".into(),
        expiry_s: u32::MAX,
        username: None,
        mount: None,
        left_at_ms: None,
    };
    StoreOp::SessionSet { session: SessionNo(1), record }
}

fn enqueued(entry: u64) -> StoreOp {
    let payload = vec![entry as u8; 20_000];
    let view = MessageView::internal("t", &payload, QoS::AtLeastOnce, false);
    let delivery = StoredDelivery {
        message: Message::new(&view, &mut Vec::new()),
        qos: QoS::AtLeastOnce,
        retain: false,
        ids: Ids::None,
        group: None,
    };
    StoreOp::Enqueued { session: SessionNo(1), entry: EntryNo(entry), delivery }
}
