//! Who published what is retained, when it has gone, and the broker has been started anew
//! (`check_retain_source`, CVE-2018-12546).

use super::{login, passwords};
use crate::support::broker::Setup;
use crate::support::broker::free_port;
use crate::support::{Broker, Client, Message, Out, PacketKind, V5, eventually};
use nix::sys::signal::Signal;
use std::net::SocketAddr;

const BEFORE: &str = "pattern read #\nuser ann\ntopic readwrite #\nuser cid\ntopic readwrite #\n";
/// Ann may not publish any more.
const AFTER: &str = "pattern read #\nuser cid\ntopic readwrite #\n";

/// What the log says of it.
const RELOADED: &str = "Config reloaded.";

fn setup(conf: &str) -> Setup {
    let users = passwords(&["ann", "cid", "bob"].map(|name| (name, "pw")));
    Broker::setup()
        .conf(conf)
        .args(&["--data-dir", "{dir}/data"])
        .file("pw", &users)
        .file("acl", BEFORE)
        .file("second", BEFORE)
}

/// Starts the broker anew, and takes the publisher's rights in this file away.
fn restarted(broker: &mut Broker, file: &str) {
    broker.stop();
    broker.restart();
    reload(broker, file, AFTER);
}

fn reload(broker: &Broker, file: &str, text: &str) {
    std::fs::write(broker.dir().join(file), text).expect("written");
    let before = broker.log().matches(RELOADED).count();
    broker.signal(Signal::SIGHUP);
    eventually("another configuration", || broker.log().matches(RELOADED).count() > before);
}

/// What of these topics a new subscriber gets.
fn retained(broker: &Broker, topics: &[&str]) -> Vec<String> {
    let mut bob = broker.connect(&login(V5, "b", "bob", "pw"));
    let mut found = Vec::new();
    for topic in topics {
        bob.subscribe(topic, 1);
        bob.send(&[0xC0, 0]);
        loop {
            let frame = bob.recv();
            if frame.kind() == PacketKind::Pingresp {
                break;
            }
            let message = Message::of(&frame);
            bob.complete(&message);
            found.push(message.topic);
        }
    }
    found
}

fn publish(client: &mut Client, topic: &str, qos: u8) {
    client.publish(Out::new(topic, "x").qos(qos).retain());
}

#[test]
fn the_publisher_of_a_retained_message_is_known_after_a_restart() {
    let conf = "user root\npassword_file {dir}/pw\nacl_file {dir}/acl\ncheck_retain_source true\n";
    let mut broker = setup(conf).start();
    let topics = ["ann/0", "ann/1", "ann/2", "cid/1"];
    let mut ann = broker.connect(&login(V5, "a", "ann", "pw"));
    (0..3).for_each(|qos| publish(&mut ann, topics[usize::from(qos)], qos));
    publish(&mut broker.connect(&login(V5, "c", "cid", "pw")), "cid/1", 1);
    assert_eq!(retained(&broker, &topics), topics);
    restarted(&mut broker, "acl");
    assert_eq!(retained(&broker, &topics), ["cid/1"]);
}

/// Who switches it on has his reasons: it counts for what is there as well.
#[test]
fn publishers_are_known_from_before_it_was_asked_for() {
    let conf = "user root\npassword_file {dir}/pw\nacl_file {dir}/acl\n";
    let mut broker = setup(conf).start();
    publish(&mut broker.connect(&login(V5, "a", "ann", "pw")), "ann/1", 1);
    restarted(&mut broker, "acl");
    assert_eq!(retained(&broker, &["ann/1"]), ["ann/1"]);
    let before = std::fs::read_to_string(broker.dir().join("mosquitto.conf")).expect("read");
    reload(&broker, "mosquitto.conf", &format!("{before}\ncheck_retain_source true\n"));
    assert!(retained(&broker, &["ann/1"]).is_empty());
}

/// Rights are those of the listener a message came through.
#[test]
fn publishers_are_known_by_their_listener_after_a_restart() {
    let second = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let conf = format!(
        "per_listener_settings true\ncheck_retain_source true\nlistener {{port}} 127.0.0.1\n\
         password_file {{dir}}/pw\nacl_file {{dir}}/acl\nlistener {} 127.0.0.1\n\
         allow_anonymous false\n\
         password_file {{dir}}/pw\nacl_file {{dir}}/second\nuser root\n",
        second.port()
    );
    let mut broker = setup(&conf).start();
    publish(&mut broker.connect(&login(V5, "a", "ann", "pw")), "first", 1);
    let mut other = Client::open(second, V5);
    other.send(&login(V5, "a2", "ann", "pw").bytes());
    other.expect_connected();
    publish(&mut other, "second", 1);
    restarted(&mut broker, "second");
    assert_eq!(retained(&broker, &["first", "second"]), ["first"]);
}
