//! The committer's thread: what waits for what.

use super::{carry_out, exactly_once, node, taken};
use crate::committer::Answer;
use crate::conformance::{enqueued, message, session_set};
use crate::keeper::Keeper;
use crate::ops::{Cause, SessionNo, StoreOp};
use crate::redis::Committer;
use crate::redis::lanes::Lanes;
use crate::redis::store::Undone;
use crate::redis::testing::Server;
use crate::store::Store;
use mogi_core::Wait;
use std::sync::mpsc::{Receiver, channel};

/// Whoever is told of a session may write something down for it at once.
#[test]
fn a_session_counts_from_the_moment_it_was_told_of() {
    let server = Server::start(&[]);
    let (mut a, b) = (node(&server, "a"), node(&server, "b"));
    let (busy, is_busy) = channel();
    let (go_on, goes_on) = channel::<()>();
    let (stored, is_stored) = channel();
    let on_answer = move |_, answer| match answer {
        Answer::Claimed { .. } => {
            busy.send(()).expect("the test waits");
            goes_on.recv().expect("the test goes on");
        }
        Answer::Stored { turn } => stored.send(turn).expect("the test waits"),
        _ => {}
    };
    let committer = Committer::start(b, Box::new(on_answer), Box::new(|_| {}));
    let committer = committer.expect("it starts");
    a.claim(&"client-7".into()).expect("it is claimed");
    a.commit(&[&[session_set(7)]]).expect("it is written");
    // What follows comes to its thread all at once.
    committer.claim(0, 0, "other".into());
    is_busy.recv().expect("it is claimed");
    committer.learn(SessionNo(7), "client-7".into());
    let batch = vec![enqueued(7, 5, &message("t", b"x"))];
    committer.submit(0, 1, batch, Wait::ForThis);
    go_on.send(()).expect("it waits");
    assert_eq!(is_stored.recv(), Ok(1));
    assert_eq!(server.cli(&["XLEN", "queue:{client-7}"]).trim(), "1");
}

/// A broker that stops while a client comes has nobody who takes note of that claim.
#[test]
fn a_claim_nobody_took_note_of_holds_nothing_up_at_the_end() {
    let server = Server::start(&[]);
    let (committer, is_claimed) = claiming(&server, "a");
    committer.claim(0, 0, "client-7".into());
    is_claimed.recv().expect("it is claimed");
    committer.submit(0, 1, vec![session_set(7)], Wait::Nobody);
    committer.close().expect("all is written");
    assert_eq!(server.cli(&["HGET", "session:{client-7}", "no"]).trim(), "7");
}

/// A committer, and the tokens of the claims it has answered.
fn claiming(server: &Server, name: &str) -> (Committer, Receiver<u64>) {
    let (claimed, is_claimed) = channel();
    let on_answer = move |_, answer| {
        if let Answer::Claimed { token, .. } = answer {
            claimed.send(token).expect("the test waits");
        }
    };
    let committer = Committer::start(node(server, name), Box::new(on_answer), Box::new(|_| {}));
    (committer.expect("it starts"), is_claimed)
}

/// What the owner before left undone may be for queues on several Redis nodes. One that does not
/// answer holds up the claims whose messages are for it, and no others.
#[test]
fn a_claim_waits_for_what_was_left_undone_of_its_own() {
    let server = Server::start(&[]);
    let mut before = node(&server, "before");
    before.commit(&[&[1, 2, 3, 4].map(session_set)]).expect("written");
    let mut lanes = Lanes::new(super::directory(&server));
    for number in 1..=4 {
        lanes.directory.learn(SessionNo(number), &format!("client-{number}").into());
    }
    for publisher in [1, 2] {
        before.claim(&format!("client-{publisher}").into()).expect("it is claimed");
        let batch = vec![taken(publisher, 9, 1), exactly_once(publisher + 2, 50 + publisher)];
        lanes.submit(0, publisher, batch, Wait::ForThis, 1);
    }
    carry_out(&mut lanes, &before, 2);
    let (committer, is_claimed) = claiming(&server, "b");
    let claim = |number: u64| committer.claim(0, number, format!("client-{number}").into());
    // Until somebody takes note of this claim nothing goes to its queue.
    claim(3);
    assert_eq!(is_claimed.recv(), Ok(3));
    claim(1);
    claim(2);
    assert_eq!(is_claimed.recv(), Ok(2));
    claim(5);
    assert_eq!(is_claimed.recv(), Ok(5), "not 1, which was asked for before");
    let queue = |number| server.cli(&["XLEN", &format!("queue:{{client-{number}}}")]);
    assert_eq!([queue(3).trim(), queue(4).trim()], ["0", "1"]);
    committer.settle("client-3".into());
    assert_eq!(is_claimed.recv(), Ok(1));
    assert_eq!(queue(3).trim(), "1");
}

/// Its publisher came to another broker while one that starts was about to do what it had left
/// undone: what became of the packet id there counts, or a new message with it would be taken for
/// a repeat.
#[test]
fn mqtt_4_3_3_10_what_a_start_does_late_brings_no_packet_id_back() {
    let server = Server::start(&[]);
    let (mut store, mut lanes) = super::two_sessions(&server);
    let client: std::sync::Arc<str> = "client-1".into();
    let ours = store.claim(&client).expect("it is claimed");
    lanes.directory.claimed(&client, ours.epoch, Some(SessionNo(1)));
    lanes.submit(0, 1, vec![taken(1, 9, 1), exactly_once(2, 20)], Wait::ForThis, 1);
    carry_out(&mut lanes, &store, 1);
    drop(lanes);
    // This is what the start has read.
    let left = server.cli(&["HGET", "recv:{client-1}", "9"]);
    assert!(left.starts_with("J1"), "{left}");
    let parts = vec![(Some("client-2".into()), exactly_once(2, 20))];
    // The publisher is with another broker, which has done it, and released the packet id.
    let mut other = node(&server, "b");
    other.claim(&client).expect("it is claimed");
    other
        .commit(&[&[StoreOp::ReceivedEnd { session: SessionNo(1), packet_id: 9 }]])
        .expect("it is");
    assert_eq!(server.cli(&["HLEN", "recv:{client-1}"]), "0\n");
    let (session, epoch, cause) = (SessionNo(1), ours.epoch, Cause::PacketId(9));
    store.roll_forward(&Undone { client, session, epoch, cause, parts }).expect("it does");
    assert_eq!(server.cli(&["HLEN", "recv:{client-1}"]), "0\n");
    assert_eq!(server.cli(&["XLEN", "queue:{client-2}"]), "1\n");
}
