//! The suite of all stores, claims, and what a person sees.

use super::testing::Server;
use super::wire::{Address, Options};
use super::{RedisOptions, RedisStore};
use crate::conformance::{
    self, Open, assigned, delivery, enqueued, message, received, session_set,
};
use crate::ops::{EntryNo, SessionNo, StoreOp, StoredWill};
use crate::store::Store;
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

impl Drop for ClusterDir {
    fn drop(&mut self) {
        self.run("stop", &[]);
    }
}

#[test]
fn it_conforms_on_a_cluster() {
    let cluster = ClusterDir::start(17_400);
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
    a.lease("10.0.0.1:1884", Duration::from_secs(60)).expect("it is told");
    b.lease("10.0.0.2:1884", Duration::from_millis(1)).expect("it is told");
    std::thread::sleep(Duration::from_millis(20));
    let seen = a.all().expect("they are listed");
    let seen: Vec<_> = seen.iter().map(|it| (&*it.node, &*it.address, it.alive)).collect();
    assert_eq!(seen, [("a", "10.0.0.1:1884", true), ("b", "10.0.0.2:1884", false)]);
    a.leave().expect("it is told");
    assert_eq!(b.all().expect("they are listed").len(), 1);
}
