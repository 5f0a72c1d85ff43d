//! Where messages stand in a queue that several brokers write to.

use super::{exactly_once, node, two_sessions};
use crate::clock::now_ms;
use crate::conformance::{delivered, enqueued, message};
use crate::ops::{EntryNo, SessionNo, StoreOp};
use crate::redis::lanes::Out;
use crate::redis::testing::Server;
use crate::redis::wire::Request;
use crate::store::Store;
use mogi_core::Wait;

/// The numbers of what waits for `client-2`.
fn waiting(server: &Server) -> Vec<u64> {
    let claimed = node(server, "reader").claim(&"client-2".into()).expect("it is claimed");
    let session = claimed.session.expect("it is there");
    session.waiting.iter().map(|it| it.entry.0).collect()
}

/// Another broker has added a message between two of one publisher. Whoever reads the queue finds
/// the second only behind the first, at every moment ([MQTT-4.6.0-5]).
#[test]
fn mqtt_4_6_0_5_no_message_is_there_before_those_it_follows() {
    let one = |entry| enqueued(2, entry, &message("t", b"x"));
    let turns: [Vec<StoreOp>; 4] = [
        vec![one(15), one(25)],
        vec![one(15), exactly_once(2, 17), one(25)],
        // What ends in the same turn is not to part them.
        vec![one(10), delivered(2, 15), one(15), one(25)],
        vec![exactly_once(2, 15), one(25)],
    ];
    let server = Server::start(&[]);
    for turn in turns {
        server.cli(&["FLUSHALL"]);
        let (mut store, mut lanes) = two_sessions(&server);
        store.commit(&[&[one(20)]]).expect("another broker writes it");
        let first = |found: &[u64]| found.iter().position(|it| *it == 15);
        let second = |found: &[u64]| found.iter().position(|it| *it == 25);
        lanes.submit(0, 1, turn.clone(), Wait::ForThis, 1);
        while let Some(Out { slot, commands, .. }) = lanes.next(now_ms()) {
            let mut next = Some(commands);
            while let Some(commands) = next {
                let replies = store.link.call(vec![Request::new(slot, commands)]).expect("a reply");
                let found = waiting(&server);
                let fits = second(&found).is_none() || first(&found) < second(&found);
                let gone = turn.iter().any(|op| matches!(op, StoreOp::Delivered { .. }));
                assert!(fits && (gone || first(&found).is_some()), "{turn:?}: {found:?}");
                next = lanes.returned(slot, &replies[0].values, now_ms()).expect("no error");
            }
        }
        assert!(second(&waiting(&server)).is_some(), "{turn:?}");
    }
}

/// Many came late, and stand together where none was looked for.
#[test]
fn a_message_behind_many_that_came_late_is_found() {
    let server = Server::start(&[]);
    let (mut store, _) = two_sessions(&server);
    let one = |entry| enqueued(2, entry, &message("t", b"x"));
    let (top, behind) = (5 << 22, 6 << 22);
    let late: Vec<u64> = (top - 200..top).collect();
    store.commit(&[&[one(top)]]).expect("another broker writes it");
    for late in &late {
        store.commit(&[&[one(*late)]]).expect("written");
    }
    store.commit(&[&[one(behind)]]).expect("written");
    for wanted in [vec![top, behind], vec![top + 1, behind], late, vec![top - 1, top, behind]] {
        let entries: Vec<EntryNo> = wanted.iter().copied().map(EntryNo).collect();
        let mut found = Vec::new();
        store.fetch(SessionNo(2), &entries, &mut found).expect("it answers");
        let found: Vec<u64> = found.iter().map(|(entry, _)| entry.0).collect();
        let there: Vec<u64> = wanted.into_iter().filter(|entry| *entry != top + 1).collect();
        assert_eq!(found, there);
    }
}

/// A single one is added late by a request of its own, and again if the answer got lost.
#[test]
fn a_message_that_comes_late_is_there_once() {
    let server = Server::start(&[]);
    let (mut store, mut lanes) = two_sessions(&server);
    let one = |entry| enqueued(2, entry, &message("t", b"x"));
    store.commit(&[&[one(20)]]).expect("another broker writes it");
    let turns = [vec![one(15)], vec![one(15), one(16)], vec![one(16)]];
    for (turn, batch) in (1..).zip(turns) {
        lanes.submit(0, turn, batch, Wait::ForThis, 1);
        super::carry_out(&mut lanes, &store, 1);
    }
    assert_eq!(waiting(&server), [15, 16, 20]);
}
