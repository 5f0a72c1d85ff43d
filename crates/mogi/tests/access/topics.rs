//! What clients may do with topics, by `acl_file`.

use super::{login, passwords, subscribe_code};
use crate::support::{Broker, Client, Dial, Out, V5, V311};

const ACL: &str = "\
topic read open/#
user ann
topic readwrite ann/#
topic deny ann/secret
topic write shared/in
user bob
topic read #
topic read $SYS/#
pattern write up/%u/%c
pattern read down/%c/#
";

fn start(conf: &str, own: &str) -> Broker {
    let conf = format!(
        "password_file {{dir}}/pw\nacl_file {{dir}}/acl\nallow_anonymous true\nlog_type all\n{conf}"
    );
    let names = ["ann", "bob", "x#", "a/b"];
    let users = passwords(&names.map(|name| (name, "pw")));
    Broker::setup().conf(&conf).own(own).file("pw", &users).file("acl", ACL).start()
}

fn client(broker: &Broker, id: &str, user: &str) -> Client {
    broker.connect(&login(V5, id, user, "pw"))
}

#[test]
fn a_denied_publish_is_told_in_5_0_and_only_dropped_in_3_x() {
    let broker = start("", "");
    let mut bob = client(&broker, "b", "bob");
    bob.subscribe("#", 1);
    let mut ann = client(&broker, "c", "ann");
    for (topic, qos, code) in [
        ("ann/x", 1, 0),
        ("ann/secret", 1, 0x87),
        ("ann/secret", 2, 0x87),
        ("other", 1, 0x87),
        ("other", 2, 0x87),
        ("up/ann/c", 1, 0),
        ("up/ann/d", 1, 0x87),
        ("up/bob/c", 1, 0x87),
        ("$CONTROL/dynamic-security/v1", 1, 0x87),
    ] {
        assert_eq!(ann.publish_code(Out::new(topic, "x").qos(qos)), code, "{topic}");
        if code == 0 {
            bob.receive(topic, "x");
        }
    }
    broker.expect_log("Denied PUBLISH from c (d0, q1, r0, m2, 'ann/secret', ... (1 bytes))");
    let mut old = broker.connect(&login(V311, "o", "ann", "pw"));
    for qos in 0..=2 {
        old.publish(Out::new("other", "x").qos(qos));
    }
    old.publish(Out::new("ann/y", "last"));
    bob.expect_message("ann/y", "last");
}

/// L03, L04: everything may be subscribed to, and what may not be read does not come, live or
/// retained.
#[test]
fn only_what_may_be_read_is_delivered() {
    let broker = start("", "");
    let mut ann = client(&broker, "c", "ann");
    ann.publish(Out::new("ann/kept", "r").qos(1).retain());
    ann.publish(Out::new("shared/in", "r").qos(1).retain());
    let mut nobody = broker.client(V5, "n");
    for filter in ["#", "+/+", "ann/kept", "$share/g/#"] {
        assert_eq!(subscribe_code(&mut nobody, filter), 1, "{filter}");
    }
    ann.publish(Out::new("ann/live", "x").qos(1));
    nobody.expect_nothing();
    // A message of its own comes back only as far as the client may read it.
    ann.subscribe("#", 0);
    ann.expect_message("ann/kept", "r");
    ann.publish(Out::new("shared/in", "x").qos(1));
    ann.expect_nothing();
}

#[test]
fn a_shared_group_passes_over_members_who_may_not_read() {
    let broker = start("", "worker_threads 1\n");
    let mut nobody = broker.client(V5, "n");
    let mut bob = client(&broker, "b", "bob");
    nobody.subscribe("$share/g/#", 1);
    bob.subscribe("$share/g/#", 1);
    let mut ann = client(&broker, "c", "ann");
    for number in 0..6 {
        ann.publish(Out::new("ann/x", format!("{number}")).qos(1));
        bob.receive("ann/x", format!("{number}"));
    }
    nobody.expect_nothing();
}

/// L02, CVE-2017-7650
#[test]
fn names_with_wildcards_reach_nothing_by_patterns() {
    let broker = start("", "");
    let mut wild = client(&broker, "c", "x#");
    assert_eq!(wild.publish_code(Out::new("up/ann/c", "x").qos(1)), 0x87);
    let mut slash = client(&broker, "c", "a/b");
    assert_eq!(slash.publish_code(Out::new("up/a/b/c", "x").qos(1)), 0x87);
}

/// L05
#[test]
fn a_will_nobody_may_publish_is_not_published() {
    let broker = start("", "");
    let mut bob = client(&broker, "b", "bob");
    bob.subscribe("#", 1);
    for (id, topic) in [("w1", "other"), ("w2", "ann/will")] {
        let dial = login(V5, id, "ann", "pw").will(topic, "gone");
        broker.connect(&dial).abort();
    }
    bob.expect_message("ann/will", "gone");
    bob.expect_nothing();
}

#[test]
fn strict_mode_refuses_what_may_not_be_read() {
    let broker = start("", "acl_strict true\n");
    let mut ann = client(&broker, "c", "ann");
    for (filter, code) in [
        ("ann/#", 1),
        ("#", 0x87),
        ("ann/secret", 0x87),
        ("down/c/x", 1),
        ("down/+/x", 0x87),
        ("$share/g/ann/#", 1),
        ("$share/g/#", 0x87),
    ] {
        assert_eq!(subscribe_code(&mut ann, filter), code, "{filter}");
    }
    broker.expect_log("\t# (denied)");
    let mut old = broker.connect(&login(V311, "o", "ann", "pw"));
    assert_eq!(subscribe_code(&mut old, "#"), 0x80);
}

/// Rules are about the topics of the broker, as in Mosquitto.
#[test]
fn rules_stand_behind_the_mount_point() {
    let broker = start("mount_point ann/\n", "");
    let mut ann = client(&broker, "c", "ann");
    assert_eq!(ann.publish_code(Out::new("x", "x").qos(1)), 0x10);
    assert_eq!(ann.publish_code(Out::new("secret", "x").qos(1)), 0x87);
    ann.subscribe("#", 1);
    ann.publish(Out::new("x", "y").qos(1));
    ann.receive("x", "y");
}

/// CVE-2018-12546
#[test]
fn a_retained_message_is_checked_against_its_publisher_if_asked_for() {
    for (conf, comes) in [("check_retain_source true\n", false), ("", true)] {
        let broker = start(conf, "");
        let mut ann = client(&broker, "c", "ann");
        ann.publish(Out::new("ann/kept", "r").qos(1).retain());
        let changed = "user bob\ntopic read #\n";
        std::fs::write(broker.dir().join("acl"), changed).expect("written");
        broker.signal(nix::sys::signal::Signal::SIGHUP);
        let denied = |ann: &mut Client| ann.publish_code(Out::new("ann/x", "x").qos(1)) == 0x87;
        crate::support::eventually("changed rights", || denied(&mut ann));
        let mut bob = client(&broker, "b", "bob");
        bob.subscribe("ann/#", 0);
        match comes {
            true => drop(bob.expect_message("ann/kept", "r")),
            false => bob.expect_nothing(),
        }
    }
}

#[test]
fn an_anonymous_client_has_the_lines_above_all_users() {
    let broker = start("", "");
    let mut nobody = broker.connect(&Dial::new(V5, "n"));
    nobody.subscribe("open/#", 0);
    assert_eq!(nobody.publish_code(Out::new("open/x", "x").qos(1)), 0x87);
}
