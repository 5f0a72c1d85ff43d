//! A client that comes back to a node where something of an earlier stay is left.

use super::{carry_out, exactly_once, node, two_sessions, will_set, will_taken};
use crate::clock::now_ms;
use crate::committer::Answer;
use crate::conformance::session_set;
use crate::keeper::Keeper;
use crate::ops::{Cause, SessionNo, StoreOp};
use crate::redis::keys::Tag;
use crate::redis::lanes::Lanes;
use crate::redis::testing::Server;
use crate::redis::wire::Request;
use crate::redis::{Committer, RedisStore};
use crate::store::Store;
use mogi_core::Wait;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

fn received(packet_id: u16) -> Vec<StoreOp> {
    vec![StoreOp::Received { session: SessionNo(1), packet_id, follows: 0 }]
}

/// A node that has claimed `client-1`, which has a will.
fn with_will(server: &Server) -> (RedisStore, Lanes, Arc<str>) {
    let (mut store, mut lanes) = two_sessions(server);
    store.commit(&[&[will_set("client-1")]]).expect("written");
    let client: Arc<str> = "client-1".into();
    let claimed = store.claim(&client).expect("it is claimed");
    lanes.directory.claimed(&client, claimed.epoch, Some(SessionNo(1)));
    (store, lanes, client)
}

/// Waits for an answer that is the one.
fn wait_for(answers: &Receiver<Answer>, is_it: impl Fn(&Answer) -> bool) {
    while !is_it(&answers.recv_timeout(Duration::from_secs(20)).expect("an answer")) {}
}

/// Who had it meanwhile has changed it since: a packet id nobody else knows would be one the
/// session is restored without, and entries would end that it is to have.
#[test]
fn what_is_left_of_an_earlier_stay_changes_nothing_under_a_later_claim() {
    let server = Server::start(&[]);
    let mut store = node(&server, "a");
    store.commit(&[&[session_set(1)]]).expect("written");
    let (sender, answers) = channel();
    let on_answer = Box::new(move |_, answer| drop(sender.send(answer)));
    let a = Committer::start(store, on_answer, Box::new(|_| {})).expect("it starts");
    let client: Arc<str> = "client-1".into();
    let claimed = |answer: &Answer| matches!(answer, Answer::Claimed { .. });
    a.claim(0, 1, Arc::clone(&client));
    wait_for(&answers, claimed);
    a.settle(Arc::clone(&client));
    a.submit(0, 1, received(8), Wait::ForThis);
    wait_for(&answers, |answer| matches!(answer, Answer::Stored { turn: 1 }));
    node(&server, "b").claim(&client).expect("it is claimed");
    // It comes back, and its worker does not know yet that it was away.
    a.claim(0, 2, Arc::clone(&client));
    a.submit(0, 2, received(9), Wait::ForThis);
    wait_for(&answers, claimed);
    a.submit(0, 3, received(10), Wait::ForThis);
    a.settle(Arc::clone(&client));
    a.submit(0, 4, received(11), Wait::ForThis);
    wait_for(&answers, |answer| matches!(answer, Answer::Stored { turn: 4 }));
    assert_eq!(server.cli(&["HKEYS", "recv:{client-1}"]), "8\n11\n");
}

/// A will of an earlier stay is published, but a queue cannot be reached: the one of this stay does
/// not wait for that, for as long as it stands in the store every claim finds it, and publishes it.
#[test]
fn mqtt_3_1_2_8_a_will_does_not_wait_for_that_of_an_earlier_stay() {
    let server = Server::start(&[]);
    let (mut a, mut lanes, client) = with_will(&server);
    lanes.submit(0, 4, vec![will_taken(1), exactly_once(2, 20)], Wait::ForThis, 1);
    carry_out(&mut lanes, &a, 1);
    let stuck = lanes.next(now_ms()).expect("the message");
    let mut b = node(&server, "b");
    let theirs = b.claim(&client).expect("it is claimed");
    assert_eq!(theirs.will, None, "it is published");
    b.commit(&[&[will_set("client-1")]]).expect("written");
    // It is here again.
    let ours = a.claim(&client).expect("it is claimed");
    assert!(ours.will.is_some());
    lanes.drop_stay(Tag::of(&client).slot, &client);
    lanes.directory.claimed(&client, ours.epoch, Some(SessionNo(1)));
    lanes.submit(0, 5, vec![will_taken(1), exactly_once(2, 21)], Wait::ForThis, 1);
    carry_out(&mut lanes, &a, 1);
    let is_taken = || server.cli(&["HEXISTS", "will:{client-1}", "published"]) == "1\n";
    assert!(is_taken());
    // What was stuck says nothing of what is on its way now.
    let replies = a.link.call(vec![Request::new(stuck.slot, stuck.commands)]).expect("a reply");
    assert_eq!(lanes.returned(stuck.slot, &replies[0].values, now_ms()), Ok(None));
    let next = lanes.next(now_ms()).expect("the message");
    assert_eq!(next.slot, stuck.slot);
    lanes.settle();
    carry_out(&mut lanes, &a, 9);
    assert!(is_taken());
}

/// The will of the next connection waits for that of the one before, and both are of an earlier
/// stay: whoever had the client since publishes what there is.
#[test]
fn mqtt_3_1_2_8_no_message_of_a_will_is_left_of_an_earlier_stay() {
    let server = Server::start(&[]);
    let (mut a, mut lanes, client) = with_will(&server);
    lanes.submit(0, 4, vec![will_taken(1), exactly_once(2, 20)], Wait::ForThis, 1);
    let next = vec![will_set("client-1"), will_taken(1), exactly_once(2, 21)];
    lanes.submit(0, 5, next, Wait::ForThis, 1);
    node(&server, "b").claim(&client).expect("it is claimed");
    let ours = a.claim(&client).expect("it is claimed");
    assert!(ours.will.is_some());
    lanes.drop_stay(Tag::of(&client).slot, &client);
    lanes.directory.claimed(&client, ours.epoch, Some(SessionNo(1)));
    carry_out(&mut lanes, &a, 9);
    assert_eq!(server.cli(&["XLEN", "queue:{client-2}"]), "0\n");
    assert_eq!(server.cli(&["HEXISTS", "will:{client-1}", "published"]), "0\n");
}

/// A claim that went by what waits would find the will of the next connection, which is about to be
/// published, and have it published again.
#[test]
fn mqtt_3_1_2_8_a_will_that_waits_is_taken_before_a_claim() {
    let server = Server::start(&[]);
    let (a, mut lanes, client) = with_will(&server);
    assert!(!lanes.holds_will(&client));
    lanes.submit(0, 4, vec![will_taken(1), exactly_once(2, 20)], Wait::ForThis, 1);
    assert!(!lanes.holds_will(&client), "it goes out at once");
    let next = vec![will_set("client-1"), will_taken(1), exactly_once(2, 21)];
    lanes.submit(0, 5, next, Wait::ForThis, 1);
    assert!(lanes.holds_will(&client));
    carry_out(&mut lanes, &a, 9);
    assert!(!lanes.holds_will(&client));
    assert_eq!(server.cli(&["XLEN", "queue:{client-2}"]), "2\n");
}

/// This node has claimed the client once more while it took the will, and is refused: then nobody
/// gets it, for it is still there.
#[test]
fn mqtt_3_1_2_8_a_will_that_was_not_taken_is_not_published() {
    let server = Server::start(&[]);
    let (mut a, mut lanes, client) = with_will(&server);
    lanes.submit(0, 4, vec![will_taken(1), exactly_once(2, 20)], Wait::ForThis, 1);
    let taking = lanes.next(now_ms()).expect("the will");
    let again = a.claim(&client).expect("it is claimed");
    lanes.directory.claimed(&client, again.epoch, Some(SessionNo(1)));
    let replies = a.link.call(vec![Request::new(taking.slot, taking.commands)]).expect("a reply");
    assert_eq!(lanes.returned(taking.slot, &replies[0].values, now_ms()), Ok(None));
    carry_out(&mut lanes, &a, 9);
    let refused: Vec<_> = lanes.refused.iter().map(|(.., cause)| cause.clone()).collect();
    assert_eq!(refused, [Cause::Will(client)]);
    assert_eq!(server.cli(&["XLEN", "queue:{client-2}"]), "0\n");
}

/// Another node has the session by now: what comes for it is still to be written down.
#[test]
fn a_session_whose_end_is_refused_lives_on() {
    let server = Server::start(&[]);
    let (mut a, mut lanes) = two_sessions(&server);
    let client: Arc<str> = "client-1".into();
    let claimed = a.claim(&client).expect("it is claimed");
    lanes.directory.claimed(&client, claimed.epoch, Some(SessionNo(1)));
    node(&server, "b").claim(&client).expect("it is claimed");
    lanes.submit(0, 4, vec![StoreOp::SessionEnd { session: SessionNo(1) }], Wait::ForThis, 1);
    carry_out(&mut lanes, &a, 9);
    lanes.submit(0, 5, vec![exactly_once(1, 20)], Wait::ForThis, 1);
    carry_out(&mut lanes, &a, 9);
    assert_eq!(server.cli(&["XLEN", "queue:{client-1}"]), "1\n");
}
