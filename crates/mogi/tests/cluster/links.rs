//! Links that come late.

use super::retained::retained;
use super::scene::{Site, TOLD, ask_redis, begin, free_port, linked, publish, resume, two};
use crate::support::{Broker, Client, Dial, Message, Out, V5};
use mogi_codec::Reason;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// A way to a node that can be blocked.
struct Gate {
    address: SocketAddr,
    port: u16,
    opened: Arc<AtomicBool>,
}

impl Gate {
    fn new(open: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("cannot bind a port");
        let address = listener.local_addr().expect("it is bound");
        let (port, opened) = (free_port(), Arc::new(AtomicBool::new(open)));
        let is_open = Arc::clone(&opened);
        spawn(move || {
            for near in listener.incoming() {
                while !is_open.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(5));
                }
                let far = TcpStream::connect(("127.0.0.1", port));
                // The node may not run, or run again later.
                let (Ok(near), Ok(far)) = (near, far) else { continue };
                let pair = |it: &TcpStream| it.try_clone().expect("a copy of a socket");
                let (near_too, far_too) = (pair(&near), pair(&far));
                spawn(move || pass_on(&far_too, &near_too));
                spawn(move || pass_on(&near, &far));
            }
        });
        Self { address, port, opened }
    }

    /// A node behind it.
    #[track_caller]
    fn node(&self, site: &Site, name: &str) -> Broker {
        site.node_with(name, self.port, &format!("cluster_advertise {}", self.address))
    }

    /// Opens it, or blocks those who come from now on.
    fn set(&self, open: bool) {
        self.opened.store(open, Ordering::Relaxed);
    }
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// The node with the subscribers is linked to the one with the publisher, which so knows of them;
/// the other way there is no link yet.
#[test]
fn messages_wait_for_a_link_that_comes_late() {
    for version in TOLD {
        let site = Site::new("");
        let gate = Gate::new(false);
        let a = gate.node(&site, "a");
        // It does not wait for what the other has to tell.
        a.expect_log(concat!(env!("CARGO_PKG_VERSION"), " running"));
        let b = site.node("b");
        let mut lasting = begin(&a, version, "lasting");
        let mut brief = a.client(version, "brief");
        let mut sender = b.client(version, "sender");
        for qos in 0..=2 {
            lasting.subscribe(&format!("t/{qos}"), qos);
            brief.subscribe(&format!("t/{qos}"), qos);
            sender.publish(Out::new(&format!("t/{qos}"), "hello").qos(qos));
        }
        gate.set(true);
        for client in [&mut lasting, &mut brief] {
            // In any order: those of the store may be found there first.
            let mut got = BTreeSet::new();
            while got.len() < 3 {
                let message = Message::of(&client.recv());
                client.complete(&message);
                got.insert((message.topic.clone(), message.qos));
            }
            let all = (0..=2).map(|qos| (format!("t/{qos}"), qos));
            assert_eq!(got, all.collect());
        }
    }
}

/// A node that was taken for dead does not know who came to the others meanwhile. It lets nobody in
/// before they have told: what was published there would be lost for those.
#[test]
fn a_node_that_hung_hears_the_others_before_it_serves() {
    let site = Site::new("");
    let gate = Gate::new(true);
    let a = gate.node(&site, "a");
    let b = site.node("b");
    linked(&a, &b);
    a.signal(Signal::SIGSTOP);
    b.expect_log("node a is gone");
    let mut lasting = begin(&b, V5, "lasting");
    lasting.subscribe("t", 1);
    let mut brief = b.client(V5, "brief");
    brief.subscribe("t", 1);
    gate.set(false);
    a.signal(Signal::SIGCONT);
    a.expect_log("taken for dead");
    let mut sender = a.dial(&Dial::new(V5, "sender"));
    if !is_answered(&sender) {
        gate.set(true);
    }
    sender.expect_connected();
    sender.publish(Out::new("t", "one").qos(1));
    gate.set(true);
    lasting.receive("t", "one");
    brief.receive("t", "one");
}

/// A node dies before it could tell one that has just read the store what has changed since: that
/// one looks again.
#[test]
fn a_node_that_died_untold_left_its_sessions_in_the_store() {
    let site = Site::new("");
    let gate = Gate::new(false);
    let mut a = site.node("a");
    a.expect_log(concat!(env!("CARGO_PKG_VERSION"), " running"));
    let b = gate.node(&site, "b");
    a.expect_log("node b at");
    b.expect_log("Restored 0 sessions");
    let mut client = begin(&a, V5, "client");
    // Whoever lives and cannot be reached is waited for until a lease has ended.
    client.subscribe("t", 1);
    a.kill();
    b.expect_log("node a is gone");
    publish(&b, "t", "one", 1);
    let mut client = resume(&b, V5, "client");
    client.receive("t", "one");
}

/// The same of a retained message that it removed: nobody brings it back.
#[test]
fn a_node_that_died_untold_left_no_retained_message_behind() {
    let site = Site::new("");
    let gate = Gate::new(false);
    let mut a = site.node("a");
    let mut sender = a.client(V5, "sender");
    sender.publish(Out::new("r/gone", "x").qos(1).retain());
    sender.publish(Out::new("r/stays", "x").qos(1).retain());
    let b = gate.node(&site, "b");
    a.expect_log("node b at");
    b.expect_log("Restored 0 sessions");
    sender.publish(Out::new("r/gone", "").qos(1).retain());
    a.kill();
    b.expect_log("node a is gone");
    let stays = [("r/stays".to_owned(), "x".to_owned())];
    assert_eq!(retained(&b, "r/#"), stays);
    gate.set(true);
    let c = site.node("c");
    linked(&b, &c);
    assert_eq!(retained(&c, "r/#"), stays);
}

/// Each waits for the other node, which confirms at any moment.
#[test]
fn many_subscriptions_one_after_another_are_all_answered() {
    let [a, b] = two();
    linked(&a, &b);
    for _ in 0..2000 {
        a.client(V5, "client").subscribe("t", 1);
    }
}

/// It hung, and has not heard yet that it was taken for dead. What it has to send again has reached
/// its receivers meanwhile, by way of the store.
#[test]
fn a_start_that_was_taken_for_dead_is_not_heard() {
    let (site, port) = (Site::new(""), free_port());
    let b = site.node_with("b", port, "");
    let (lease, nodes) = (site.key("node:{z}"), site.key("nodes"));
    let alive = format!("SET {lease} alive PX 60000");
    redis(&format!("HSET {nodes} z \"seen=9999999999999 address=127.0.0.1:9\""));
    redis(&alive);
    assert_eq!(hello(port, "7"), Reason::Success as u8);
    redis(&format!("SET {lease} dead PX 60000"));
    b.expect_log("node z is gone");
    redis(&alive);
    assert_eq!(hello(port, "7"), Reason::SessionTakenOver as u8);
    b.expect_log("node z was taken for dead");
    assert_eq!(hello(port, "8"), Reason::Success as u8);
}

/// One command that is carried out.
#[track_caller]
fn redis(command: &str) {
    let answer = ask_redis(command);
    assert!(answer.starts_with(['+', ':']), "{command}: {answer}");
}

/// The reason code of a node for whoever says to be that start of node z.
fn hello(port: u16, start: &str) -> u8 {
    let hello = Dial::new(V5, "z").user("mogi-link", "1").user("cluster", "mogi");
    let hello = hello.user("incarnation", start).bytes();
    let mut link = TcpStream::connect(("127.0.0.1", port)).expect("a listener");
    link.write_all(&hello).expect("sent");
    let mut connack = [0; 4];
    link.read_exact(&mut connack).expect("CONNACK");
    connack[3]
}

/// Whether anything comes within a second.
pub(super) fn is_answered(client: &Client) -> bool {
    let stream = client.stream();
    let usual = stream.read_timeout().expect("a socket");
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket");
    let answered = stream.peek(&mut [0]).is_ok();
    stream.set_read_timeout(usual).expect("a socket");
    answered
}
