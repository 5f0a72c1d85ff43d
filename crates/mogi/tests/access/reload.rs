//! Changed files, at SIGHUP.

use super::{login, passwords};
use crate::support::{Broker, Client, Dial, Out, V5, eventually};
use nix::sys::signal::Signal;
use std::fs;

fn broker() -> Broker {
    let conf = "password_file {dir}/pw\nacl_file {dir}/acl\nallow_anonymous false\nlog_type all\n";
    let users = passwords(&[("ann", "secret"), ("bob", "other")]);
    let acl = "pattern readwrite #\n";
    Broker::setup().conf(conf).file("pw", &users).file("acl", acl).start()
}

fn write(broker: &Broker, name: &str, text: &str) {
    fs::write(broker.dir().join(name), text).expect("written");
}

#[test]
fn who_could_not_log_in_any_more_is_disconnected() {
    let broker = broker();
    let mut ann = broker.connect(&login(V5, "a", "ann", "secret"));
    let mut bob = broker.connect(&login(V5, "b", "bob", "other"));
    write(&broker, "pw", &passwords(&[("ann", "changed"), ("bob", "other")]));
    broker.signal(Signal::SIGHUP);
    ann.expect_disconnect(0x98);
    ann.expect_closed();
    bob.ping();
    broker.expect_log("disconnected: administrative action.");
    broker.dial(&login(V5, "a", "ann", "secret")).expect_connack(0x87);
    broker.connect(&login(V5, "a", "ann", "changed")).ping();
}

#[test]
fn changed_rights_apply_to_clients_that_are_there() {
    let broker = broker();
    let mut ann = broker.connect(&login(V5, "a", "ann", "secret"));
    let mut bob = broker.connect(&login(V5, "b", "bob", "other"));
    bob.subscribe("#", 1);
    ann.publish(Out::new("x", "1").qos(1));
    bob.receive("x", "1");
    write(&broker, "acl", "user bob\ntopic read y\n");
    broker.signal(Signal::SIGHUP);
    let refused = |ann: &mut Client| ann.publish_code(Out::new("x", "2").qos(1)) == 0x87;
    eventually("changed rights", || refused(&mut ann));
    // What came through while the files were read goes with the connection.
    bob.disconnect();
    let mut bob = broker.connect(&login(V5, "b", "bob", "other"));
    bob.subscribe("#", 1);
    write(&broker, "acl", "user ann\ntopic write y\ntopic write x\nuser bob\ntopic read y\n");
    broker.signal(Signal::SIGHUP);
    eventually("changed rights", || !refused(&mut ann));
    ann.publish(Out::new("y", "3").qos(1));
    bob.receive("y", "3");
}

/// CVE-2017-7652: what cannot be read leaves what is in force alone.
#[test]
fn a_broken_file_changes_nothing() {
    let broker = broker();
    let mut ann = broker.connect(&login(V5, "a", "ann", "secret"));
    for (name, text) in [("acl", "nonsense\n"), ("pw", "ann:plain\n")] {
        let before = fs::read_to_string(broker.dir().join(name)).expect("read");
        write(&broker, name, text);
        broker.signal(Signal::SIGHUP);
        broker.expect_log(&format!("{name}:1:"));
        broker.expect_log("Error: The configuration stays as it was.");
        write(&broker, name, &before);
        ann.publish(Out::new("x", "1").qos(1));
    }
    fs::remove_file(broker.dir().join("pw")).expect("removed");
    broker.signal(Signal::SIGHUP);
    broker.expect_log("Unable to open pwfile");
    broker.connect(&login(V5, "a2", "ann", "secret")).ping();
}

/// A message that waits is not delivered to a client that may not read it any more.
#[test]
fn what_waits_is_judged_when_it_is_sent() {
    let broker = broker();
    let dial = |id| Dial::persistent(V5, id).username("bob").password("other");
    let mut bob = broker.connect(&dial("b"));
    bob.subscribe("#", 1);
    bob.disconnect();
    let mut ann = broker.connect(&login(V5, "a", "ann", "secret"));
    ann.publish(Out::new("x", "1").qos(1));
    ann.publish(Out::new("y", "2").qos(1));
    write(&broker, "acl", "user bob\ntopic read y\n");
    broker.signal(Signal::SIGHUP);
    let refused = |ann: &mut Client| ann.publish_code(Out::new("z", "x").qos(1)) == 0x87;
    eventually("changed rights", || refused(&mut ann));
    let mut bob = broker.connect(&dial("b").resume());
    bob.receive("y", "2");
    bob.expect_nothing();
}
