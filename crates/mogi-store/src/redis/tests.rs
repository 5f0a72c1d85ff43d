//! The suite of all stores, claims, and what a person sees.

mod committing;
mod handing;
mod places;
mod starting;
mod stays;

use super::directory::Directory;
use super::lanes::{Lanes, Out};
use super::testing::Server;
use super::wire::{Address, Options, Request};
use super::{RedisOptions, RedisStore};
use crate::clock::now_ms;
use crate::committer::Answer;
use crate::conformance::{
    self, Open, assigned, delivery, enqueued, message, received, session_set,
};
use crate::ops::{Cause, EntryNo, SessionNo, StoreOp, StoredWill};
use crate::store::{Loaded, Store};
use mogi_codec::QoS;
use mogi_core::{MessageView, Wait};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn it_conforms_on_one_server() {
    let server = Server::start(&[]);
    conformance::run(&mut |open| {
        if open == Open::Empty {
            server.cli(&["FLUSHALL"]);
        }
        Box::new(RedisStore::open(&server.options()).expect("it opens"))
    });
}

/// A cluster of three masters and three replicas that ends with the test.
struct ClusterDir(tempfile::TempDir, u16);

impl ClusterDir {
    fn start(port: u16) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let this = Self(dir, port);
        assert!(this.run("start", &["--port", &port.to_string()]), "the cluster starts");
        this
    }

    fn run(&self, verb: &str, more: &[&str]) -> bool {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local-cluster");
        let mut command = Command::new(script);
        command.arg(verb).arg(self.0.path()).args(more);
        command.stdout(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn options(&self) -> RedisOptions {
        let seed = |at| Address { host: "127.0.0.1".to_owned(), port: self.1 + at };
        RedisOptions::new(Options::new((0..6).map(seed).collect()))
    }

    fn flush(&self) {
        for at in 0..6 {
            let port = (self.1 + at).to_string();
            // Replicas refuse, and follow.
            let output = Command::new("redis-cli").args(["-p", &port, "FLUSHALL"]).output();
            assert!(output.is_ok());
        }
    }
}

/// The first of enough free ports; where to begin is another one in each process.
fn free_ports() -> u16 {
    let bases = (0..100).map(|at| 17_100 + ((std::process::id() + at * 7) % 100) as u16 * 25);
    let free = |base: &u16| {
        let ports = (*base..*base + 6).chain(*base + 50..*base + 56);
        let held: Vec<_> =
            ports.map(|port| std::net::TcpListener::bind(("127.0.0.1", port))).collect();
        held.iter().all(Result::is_ok)
    };
    bases.into_iter().find(free).expect("free ports")
}

impl Drop for ClusterDir {
    fn drop(&mut self) {
        self.run("stop", &[]);
    }
}

#[test]
fn it_conforms_on_a_cluster() {
    let cluster = ClusterDir::start(free_ports());
    conformance::run(&mut |open| {
        if open == Open::Empty {
            cluster.flush();
        }
        Box::new(RedisStore::open(&cluster.options()).expect("it opens"))
    });
}

fn node(server: &Server, node: &str) -> RedisStore {
    let options = RedisOptions { node: node.to_owned(), ..server.options() };
    let mut store = RedisStore::open(&options).expect("it opens");
    store.load(&mut |_| {}).expect("it loads");
    store
}

#[test]
fn a_claim_raises_the_epoch_and_keeps_the_owner_before_out() {
    let server = Server::start(&[]);
    let client: Arc<str> = "client-7".into();
    let (mut a, mut b) = (node(&server, "a"), node(&server, "b"));
    let first = a.claim(&client).expect("it is claimed");
    assert_eq!((first.session.is_none(), first.old_owner), (true, None));
    let small = message("t", b"x");
    let will = StoredWill { message: small.clone(), expiry_s: None, delay_s: 5, due_at_ms: None };
    let will_set = StoreOp::WillSet { client: client.clone(), will: Arc::new(will.clone()) };
    let batch = [
        session_set(7),
        enqueued(7, 1, &small),
        enqueued(7, 2, &small),
        assigned(7, 1, 10),
        received(7, 3),
        will_set.clone(),
    ];
    a.commit(&[&batch]).expect("it is written");
    let second = b.claim(&client).expect("it is claimed");
    assert!(second.epoch > first.epoch);
    assert_eq!(second.old_owner.as_deref(), Some("a"));
    assert_eq!(second.will, Some(will));
    let session = second.session.expect("it has a session");
    assert_eq!(session.session, SessionNo(7));
    assert_eq!(session.received, [3]);
    assert_eq!(session.waiting[0].entry, EntryNo(2));
    assert_eq!(session.flights[0].delivery, Some(delivery(&small)));
    // What the owner before changes is refused; a message it took for the session is not.
    let late = [conformance::delivered(7, 2), will_set, received(7, 4), enqueued(7, 5, &small)];
    a.commit(&[&late]).expect("it is answered");
    let third = b.claim(&client).expect("it is claimed");
    assert_eq!(third.old_owner.as_deref(), Some("b"));
    let session = third.session.expect("it has a session");
    assert_eq!(session.received, [3]);
    let waiting: Vec<u64> = session.waiting.iter().map(|it| it.entry.0).collect();
    assert_eq!(waiting, [2, 5]);
    // Who has not the last claim ends nothing.
    assert_eq!(b.end_if_owner(&client, second.epoch).expect("an answer"), None);
    assert_eq!(b.end_if_owner(&client, third.epoch).expect("an answer"), Some(true));
    assert_eq!(b.end_if_owner(&client, third.epoch).expect("an answer"), Some(false));
    assert!(b.claim(&client).expect("it is claimed").session.is_none());
}

#[test]
fn nodes_are_seen_as_long_as_their_lease_holds() {
    let server = Server::start(&[]);
    let (a, b) = (node(&server, "a").nodes(), node(&server, "b").nodes());
    a.renew("10.0.0.1:1884", 7, Duration::from_secs(60)).expect("it is told");
    b.renew("10.0.0.2:1884", 8, Duration::from_millis(1)).expect("it is told");
    std::thread::sleep(Duration::from_millis(20));
    let seen = a.all().expect("they are listed");
    let seen: Vec<_> = seen.iter().map(|it| (&*it.node, &*it.address, it.alive)).collect();
    assert_eq!(seen, [("a", "10.0.0.1:1884", true), ("b", "10.0.0.2:1884", false)]);
    // Only a lease that has ended makes dead, and its node is told.
    assert!(!b.declare_dead("a").expect("an answer"));
    assert!(a.declare_dead("b").expect("an answer"));
    assert!(a.all().expect("they are listed").iter().any(|it| it.node == "b" && it.dead));
    let long = Duration::from_secs(60);
    assert!(!b.renew("10.0.0.2:1884", 9, long).expect("it is told"));
    assert!(b.renew("10.0.0.2:1884", 9, long).expect("it is told"));
    a.leave().expect("it is told");
    assert_eq!(b.all().expect("they are listed").len(), 1);
}

/// A lease that holds is ended by who has seen its node end, and by nobody who saw an earlier start
/// of it end.
#[test]
fn a_node_that_was_seen_to_end_has_no_lease() {
    let server = Server::start(&[]);
    let (a, b) = (node(&server, "a").nodes(), node(&server, "b").nodes());
    let (at, long) = ("10.0.0.2:1884", Duration::from_secs(60));
    b.renew(at, 8, long).expect("it is told");
    assert!(!a.declare_ended("b", at, 7).expect("an answer"));
    assert!(!a.declare_ended("b", "10.0.0.3:1884", 8).expect("an answer"));
    assert!(b.renew(at, 8, long).expect("it is told"));
    assert!(a.declare_ended("b", at, 8).expect("an answer"));
    assert!(a.declare_ended("b", at, 8).expect("an answer"), "another one was faster");
    assert!(a.all().expect("they are listed").iter().any(|it| it.node == "b" && it.dead));
    assert!(!b.renew(at, 9, long).expect("it is told"));
    b.leave().expect("it is told");
    assert!(!a.declare_ended("b", at, 9).expect("an answer"), "it has left");
}

/// What `docs/redis.md` shows is what there is.
#[test]
fn the_examples_of_the_documentation_are_true() {
    let server = Server::start(&[]);
    let mut store = node(&server, "mogi");
    store.commit(&[&example()]).expect("it is written");
    let dynsec = super::Document::dynsec(&server.options()).expect("a document");
    let seen = dynsec.read().expect("there is none");
    let text = br#"{"changeIndex":0,"clients":[]}"#;
    dynsec.replace(&seen, "a-name-of-its-own", text).expect("it is written");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/redis.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, rest) = page.split_once("<!-- run -->\n```\n").expect("examples");
    let (examples, _) = rest.split_once("```").expect("their end");
    for example in examples.split("> ").filter(|example| !example.is_empty()) {
        let (command, expected) = example.split_once('\n').expect("a command and its output");
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(server.cli(&words), expected, "{command}");
    }
}

fn example() -> Vec<StoreOp> {
    use crate::ops::{SessionRecord, StoredSubscription};
    let session = SessionNo(1);
    let record = SessionRecord {
        client: "clientA".into(),
        expiry_s: 3600,
        username: Some("anna".into()),
        mount: None,
        left_at_ms: Some(1_763_700_000_000),
    };
    let subscribed = |filter: &str, options| StoreOp::SubscriptionSet {
        session,
        subscription: StoredSubscription { filter: filter.into(), options, id: 0 },
    };
    let with = |qos, expires_at_ms, topic: &str, payload: &[u8]| {
        let mut view = MessageView::internal(topic, payload, qos, false);
        view.expires_at_ms = expires_at_ms;
        let message = conformance::view_of(&view);
        crate::ops::StoredDelivery { qos, ..delivery(&message) }
    };
    let queued = |entry, delivery| StoreOp::Enqueued { session, entry: EntryNo(entry), delivery };
    let never = mogi_core::message::NEVER;
    let will = StoredWill {
        message: message("status/clientA", b"gone"),
        expiry_s: None,
        delay_s: 0,
        due_at_ms: None,
    };
    vec![
        StoreOp::SessionSet { session, record },
        subscribed("sensors/#", 2),
        subscribed("alarms", 1),
        queued(1, with(QoS::ExactlyOnce, never, "sensors/temp", b"21.5")),
        assigned(1, 1, 1),
        queued(2, with(QoS::AtLeastOnce, never, "sensors/temp", b"21.7")),
        queued(3, with(QoS::AtLeastOnce, 1_763_800_000_000, "alarms", b"door open")),
        received(1, 7),
        conformance::retained_set("sensors/temp", b"21.7", 1),
        StoreOp::WillSet { client: "clientA".into(), will: Arc::new(will) },
    ]
}

/// Takes as many requests as there are, up to `count`; the rest is lost, as in a crash.
fn carry_out(lanes: &mut Lanes, store: &RedisStore, count: usize) -> Vec<(u16, Answer)> {
    for _ in 0..count {
        let Some(Out { slot, mut commands, .. }) = lanes.next(now_ms()) else { break };
        loop {
            let replies = store.link.call(vec![Request::new(slot, commands)]).expect("a reply");
            match lanes.returned(slot, &replies[0].values, now_ms()).expect("no error") {
                Some(more) => commands = more,
                None => break,
            }
        }
    }
    let mut answers = Vec::new();
    lanes.answers(&mut answers);
    answers
}

fn exactly_once(session: u64, entry: u64) -> StoreOp {
    let view = MessageView::internal("t", b"once", QoS::ExactlyOnce, false);
    let delivery = crate::ops::StoredDelivery {
        qos: QoS::ExactlyOnce,
        ..delivery(&conformance::view_of(&view))
    };
    StoreOp::Enqueued { session: SessionNo(session), entry: EntryNo(entry), delivery }
}

fn taken(session: u64, packet_id: u16, follows: u32) -> StoreOp {
    StoreOp::Received { session: SessionNo(session), packet_id, follows }
}

#[test]
fn a_message_does_not_wait_for_the_packet_id_of_another() {
    let server = Server::start(&[]);
    let mut store = node(&server, "a");
    store.commit(&[&[session_set(1), session_set(2), session_set(3)]]).expect("written");
    let mut lanes = Lanes::new(directory(&server));
    for number in 1..=3 {
        lanes.directory.learn(SessionNo(number), &format!("client-{number}").into());
    }
    // The last one is of a publisher whose session does not last.
    let batch = vec![taken(1, 9, 1), exactly_once(2, 20), exactly_once(3, 30)];
    lanes.submit(0, 4, batch, Wait::ForThis, 1);
    let first: Vec<u16> = std::iter::from_fn(|| lanes.next(now_ms())).map(|out| out.slot).collect();
    let mut slot = |op| lanes.directory.route(&op).expect("known");
    assert_eq!(first, [slot(taken(1, 9, 0)), slot(exactly_once(3, 30))]);
}

/// [MQTT-4.3.3-10]: whatever moment a broker ends at, a QoS 2 message is either known with its
/// packet id and reaches all queues, once, or it is in none.
#[test]
fn mqtt_4_3_3_10_a_message_of_several_slots_is_there_as_a_whole_and_once() {
    let server = Server::start(&[]);
    for crash_after in 0..5 {
        server.cli(&["FLUSHALL"]);
        let mut store = node(&server, "a");
        store.commit(&[&[session_set(1), session_set(2), session_set(3)]]).expect("written");
        let mut lanes = Lanes::new(directory(&server));
        for number in 1..=3 {
            lanes.directory.learn(SessionNo(number), &format!("client-{number}").into());
        }
        let batch = vec![taken(1, 9, 2), exactly_once(2, 20), exactly_once(3, 30)];
        lanes.submit(0, 4, batch, Wait::ForThis, 1);
        let answers = carry_out(&mut lanes, &store, crash_after);
        // The packet id, two queues.
        assert_eq!(!answers.is_empty(), crash_after >= 3, "{crash_after}");
        drop(lanes);
        for _ in 0..2 {
            let mut found = Vec::new();
            let mut after = RedisStore::open(&server.options()).expect("it opens");
            let visit = &mut |loaded| {
                if let Loaded::Session(session) = loaded {
                    found.push((session.received.len(), session.waiting.len()));
                }
            };
            after.load(visit).expect("it loads");
            let whole = [(1, 0), (0, 1), (0, 1)];
            let nothing = [(0, 0); 3];
            assert_eq!(found, if crash_after == 0 { nothing } else { whole }, "{crash_after}");
        }
    }
}

/// [MQTT-4.6.0-5]: what a publisher's broker left undone is done in the order the messages came.
#[test]
fn mqtt_4_6_0_5_what_was_left_undone_is_done_in_order() {
    let server = Server::start(&[]);
    let (store, mut lanes) = two_sessions(&server);
    for entry in (20..30).rev() {
        let batch = vec![taken(1, entry as u16, 1), exactly_once(2, entry)];
        lanes.submit(0, entry, batch, Wait::ForThis, 1);
    }
    carry_out(&mut lanes, &store, 1);
    drop(lanes);
    assert_eq!(found_later(&server), (0, vec![0, 10]));
    assert_eq!(server.cli(&["XLEN", "queue:{client-2}"]), "10\n");
    assert_eq!(server.cli(&["EXISTS", "late:{client-2}"]), "0\n");
}

/// The end of a retained message that a broker left undone is known to nobody: whoever does it says
/// so.
#[test]
fn what_was_left_undone_of_retained_messages_is_told() {
    let server = Server::start(&[]);
    let (mut store, mut lanes) = two_sessions(&server);
    store.commit(&[&[conformance::retained_set("r", b"old", 7)]]).expect("written");
    let end = StoreOp::RetainedEnd { topic: "r".into(), version: 8 };
    lanes.submit(0, 4, vec![taken(1, 9, 1), end.clone()], Wait::ForThis, 1);
    carry_out(&mut lanes, &store, 1);
    drop(lanes);
    let mut told = Vec::new();
    let mut after = RedisStore::open(&server.options()).expect("it opens");
    let visit = &mut |loaded| match loaded {
        Loaded::Redone(op) => told.push(op),
        Loaded::Retained { .. } => panic!("it has ended"),
        _ => {}
    };
    after.load(visit).expect("it loads");
    assert_eq!(told, [end]);
}

/// Lanes that know sessions 1 and 2 of `client-1` and `client-2`, which are in the store.
fn two_sessions(server: &Server) -> (RedisStore, Lanes) {
    let mut store = node(server, "a");
    store.commit(&[&[session_set(1), session_set(2)]]).expect("written");
    (store, lanes_of_two(server))
}

fn lanes_of_two(server: &Server) -> Lanes {
    let mut lanes = Lanes::new(directory(server));
    lanes.directory.learn(SessionNo(1), &"client-1".into());
    lanes.directory.learn(SessionNo(2), &"client-2".into());
    lanes
}

/// What a broker that starts finds: wills, and by session how much waits.
fn found_later(server: &Server) -> (usize, Vec<usize>) {
    let (mut wills, mut waiting) = (0, Vec::new());
    let mut after = RedisStore::open(&server.options()).expect("it opens");
    let report = after.load(&mut |loaded| match loaded {
        Loaded::Session(session) => waiting.push(session.waiting.len()),
        Loaded::Will { .. } => wills += 1,
        _ => {}
    });
    assert_eq!(report.expect("it loads").damage.records, 0);
    (wills, waiting)
}

fn will_set(client: &str) -> StoreOp {
    let will =
        StoredWill { message: message("w", b"gone"), expiry_s: None, delay_s: 0, due_at_ms: None };
    StoreOp::WillSet { client: client.into(), will: Arc::new(will) }
}

fn will_taken(follows: u32) -> StoreOp {
    StoreOp::WillTaken { client: "client-1".into(), follows }
}

const fn handed_over(entry: u64, follows: u32) -> StoreOp {
    StoreOp::HandedOver { session: SessionNo(1), entry: EntryNo(entry), follows }
}

/// [MQTT-3.1.2-8]: whatever moment a broker ends at, a will is there, or its message is, once.
#[test]
fn mqtt_3_1_2_8_a_will_is_published_as_a_whole_and_once() {
    let server = Server::start(&[]);
    for crash_after in 0..4 {
        server.cli(&["FLUSHALL"]);
        let (mut store, mut lanes) = two_sessions(&server);
        store.commit(&[&[will_set("client-1")]]).expect("written");
        // The next will of the same client comes when this one has gone its way.
        let batch = vec![will_taken(1), exactly_once(2, 20), will_set("client-1")];
        lanes.submit(0, 4, batch, Wait::ForThis, 1);
        let answers = carry_out(&mut lanes, &store, crash_after);
        assert_eq!(!answers.is_empty(), crash_after >= 3, "{crash_after}");
        drop(lanes);
        for _ in 0..2 {
            let expected = match crash_after {
                0 => (1, vec![0, 0]),
                1 | 2 => (0, vec![0, 1]),
                _ => (1, vec![0, 1]),
            };
            assert_eq!(found_later(&server), expected, "{crash_after}");
        }
    }
    assert_eq!(server.cli(&["HEXISTS", "will:{client-1}", "published"]), "0\n");
}

/// Whoever takes a will that is published already publishes nothing.
#[test]
fn mqtt_3_1_2_8_a_will_is_taken_once() {
    let server = Server::start(&[]);
    for (follows, requests) in [(1, 1), (1, 9), (0, 1), (0, 9)] {
        server.cli(&["FLUSHALL"]);
        let (mut store, mut lanes) = two_sessions(&server);
        store.commit(&[&[will_set("client-1")]]).expect("written");
        let batch = [will_taken(follows), exactly_once(2, 20)];
        lanes.submit(0, 4, batch[..=follows as usize].to_vec(), Wait::ForThis, 1);
        carry_out(&mut lanes, &store, requests);
        let mut later = lanes_of_two(&server);
        later.submit(0, 4, vec![will_taken(1), exactly_once(2, 21)], Wait::ForThis, 1);
        carry_out(&mut later, &store, 9);
        let refused: Vec<_> = later.refused.iter().map(|(.., cause)| cause.clone()).collect();
        assert_eq!(refused, [Cause::Will("client-1".into())], "{follows} {requests}");
        drop((lanes, later));
        assert_eq!(found_later(&server), (0, vec![0, follows as usize]), "{follows} {requests}");
        assert_eq!(server.cli(&["EXISTS", "will:{client-1}"]).trim(), "0", "{follows} {requests}");
    }
}

/// Another node has the client by now, with its will, and its messages of a group.
#[test]
fn what_another_node_has_is_not_given_away() {
    let server = Server::start(&[]);
    let (mut a, mut lanes) = two_sessions(&server);
    a.commit(&[&[exactly_once(1, 10), will_set("client-1")]]).expect("written");
    let client: Arc<str> = "client-1".into();
    let ours = a.claim(&client).expect("it is claimed");
    lanes.directory.claimed(&client, ours.epoch, Some(SessionNo(1)));
    let theirs = node(&server, "b").claim(&client).expect("it is claimed");
    assert!(theirs.will.is_some());
    let batch = vec![handed_over(10, 1), exactly_once(2, 20), will_taken(1), exactly_once(2, 21)];
    lanes.submit(0, 4, batch, Wait::ForThis, 1);
    carry_out(&mut lanes, &a, 9);
    let refused: Vec<_> = lanes.refused.iter().map(|(.., cause)| cause.clone()).collect();
    assert_eq!(refused, [Cause::Entry(EntryNo(10)), Cause::Will(client)]);
    assert_eq!(found_later(&server), (1, vec![1, 0]));
}

/// What a subscriber acknowledges while a slot's request is out is never written.
#[test]
fn what_makes_up_for_itself_is_not_written() {
    let server = Server::start(&[]);
    let mut store = node(&server, "a");
    store.commit(&[&[session_set(1)]]).expect("written");
    let mut lanes = Lanes::new(directory(&server));
    lanes.directory.learn(SessionNo(1), &"client-1".into());
    let small = message("t", b"x");
    lanes.submit(0, 1, vec![enqueued(1, 1, &small)], Wait::ForThis, 1);
    let Out { slot, commands, .. } = lanes.next(now_ms()).expect("a request");
    lanes.submit(0, 2, vec![enqueued(1, 2, &small)], Wait::ForThis, 1);
    lanes.submit(0, 3, vec![conformance::delivered(1, 2)], Wait::Nobody, 1);
    assert!(lanes.next(now_ms()).is_none(), "one request of a slot at a time");
    let replies = store.link.call(vec![Request::new(slot, commands)]).expect("a reply");
    assert_eq!(lanes.returned(slot, &replies[0].values, now_ms()), Ok(None));
    assert!(lanes.next(now_ms()).is_none(), "nothing is left to be written");
    let mut answers = Vec::new();
    lanes.answers(&mut answers);
    assert_eq!(answers, [(0, Answer::Stored { turn: 2 })]);
    assert_eq!(lanes.counts.compacted, 2);
    store.load(&mut |_| {}).expect("it loads");
    assert_eq!(server.cli(&["XLEN", "queue:{client-1}"]), "1\n");
}

/// While a request does not get on, what was delivered before is still taken out.
#[test]
fn what_gives_memory_back_overtakes_what_is_stuck() {
    let server = Server::start(&[]);
    let mut lanes = Lanes::new(directory(&server));
    lanes.directory.learn(SessionNo(1), &"client-1".into());
    let small = message("t", b"x");
    lanes.submit(0, 1, vec![enqueued(1, 2, &small)], Wait::ForThis, 1);
    let stuck = lanes.next(1000).expect("a request");
    assert!(!stuck.frees);
    let ends = vec![conformance::delivered(1, 1), conformance::delivered(1, 2)];
    lanes.submit(0, 2, ends, Wait::Nobody, 1);
    assert!(lanes.next(1900).is_none(), "it may still get on");
    lanes.look_at_stuck(1900);
    assert!(lanes.next(1900).is_none(), "it still may");
    lanes.look_at_stuck(2000);
    let out = lanes.next(2000).expect("what frees");
    let text = format!("{:?}", out.commands);
    assert!(out.frees && text.contains("0-1") && !text.contains("0-2"), "{text}");
    assert!(lanes.next(9000).is_none(), "one at a time");
}

fn directory(server: &Server) -> Directory {
    Directory::new(server.options().keys())
}

/// What follows from a packet id when a broker starts again may be retained: it knows of that.
#[test]
fn what_is_retained_belatedly_is_known() {
    let server = Server::start(&[]);
    let mut store = node(&server, "a");
    store.commit(&[&[session_set(1)]]).expect("written");
    let mut lanes = Lanes::new(directory(&server));
    lanes.directory.learn(SessionNo(1), &"client-1".into());
    let view = MessageView::internal("t", b"once", QoS::ExactlyOnce, true);
    let retained = StoreOp::Retained { message: conformance::view_of(&view), version: 5 };
    lanes.submit(0, 4, vec![taken(1, 9, 1), retained], Wait::ForThis, 1);
    carry_out(&mut lanes, &store, 1);
    assert_eq!(server.cli(&["GET", "retained:t"]).trim(), "", "it crashes before");
    let mut found = Vec::new();
    let visit = &mut |loaded| {
        if let Loaded::Retained { version, .. } = loaded {
            found.push(version);
        }
    };
    RedisStore::open(&server.options()).expect("it opens").load(visit).expect("it loads");
    assert_eq!(found, [5]);
}

/// Another broker may have what ended lately, and must not bring it back.
#[test]
fn what_ended_lately_is_told() {
    let server = Server::start(&[]);
    let mut store = node(&server, "a");
    let end = StoreOp::RetainedEnd { topic: "r/1".into(), version: 8 };
    let set = |topic, version| conformance::retained_set(topic, b"x", version);
    store.commit(&[&[set("r/1", 6), set("r/2", 7), end]]).expect("written");
    let (mut there, mut ended) = (Vec::new(), Vec::new());
    let visit = &mut |loaded| match loaded {
        Loaded::Retained { version, .. } => there.push(version),
        Loaded::RetainedEnd { topic, version } => ended.push((topic, version)),
        _ => {}
    };
    RedisStore::open(&server.options()).expect("it opens").load(visit).expect("it loads");
    assert_eq!((there, ended), (vec![7], vec![("r/1".into(), 8)]));
}
