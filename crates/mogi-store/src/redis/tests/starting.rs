//! A broker starts: what it reads before it serves, and what meanwhile.

use super::node;
use crate::conformance::{enqueued, message, retained_set, session_set};
use crate::redis::testing::Server;
use crate::store::{Loaded, Progress, Store};

/// Sessions come without retained messages, but with how many there are, and a version that all of
/// them are older than, whichever node wrote it.
#[test]
fn sessions_and_retained_messages_are_read_apart() {
    let server = Server::start(&[]);
    let mut writer = node(&server, "writer");
    let retained = (1..=300).map(|number| retained_set(&format!("r/{number}"), b"x", number));
    let mut ops: Vec<_> = retained.collect();
    ops.extend([session_set(1), session_set(2), enqueued(2, 7, &message("t", b"x"))]);
    writer.commit(&[&ops]).expect("written");
    writer.nodes().renew("writer:1", 1, std::time::Duration::from_secs(60)).expect("it is known");

    let mut reader = node(&server, "reader");
    let mut waiting = Vec::new();
    let report = reader.load_sessions(&mut |loaded, _| match loaded {
        Loaded::Session(session) => waiting.push(session.waiting.len()),
        Loaded::Retained { .. } => panic!("not yet"),
        _ => {}
    });
    let report = report.expect("read");
    assert_eq!(report.loaded, Progress { sessions: 2, entries: 1, retained: 0 });
    assert_eq!((waiting, report.last_version), (vec![0, 1], 300));
    assert_eq!(reader.usage().retained, 300);

    let mut versions = Vec::new();
    let report = reader.nodes().look().load_retained(&mut |loaded| match loaded {
        Loaded::Retained { version, .. } => versions.push(version),
        Loaded::Session(_) => panic!("they were read"),
        _ => {}
    });
    assert_eq!(report.expect("read").loaded.retained, 300);
    versions.sort_unstable();
    assert_eq!(versions, (1..=300).collect::<Vec<_>>());
}
