//! What the system takes from a broker: descriptors, and life.

use crate::support::{Broker, Client, Dial, Id, Out, V5, V31, V311, eventually, other_broker};

/// A broker whose limit of open files is `soft`, and cannot be raised above `hard`.
fn limited(soft: u32, hard: u32) -> Broker {
    let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
    Broker::setup().conf("").wrapper(&["sh", "-c", &script]).start()
}

#[test]
fn the_limit_of_open_files_is_raised() {
    if other_broker() {
        return; // Mosquitto leaves that to its service file.
    }
    let broker = limited(256, 4096);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.pid()));
    let limits = limits.expect("the broker runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    assert_eq!(soft, Some("4096"), "{limits}");
}

#[test]
fn no_descriptors_left() {
    let broker = limited(64, 64);
    let mut alice = broker.client(V5, "alice");
    alice.subscribe("a", 1);
    let mut bob = broker.client(V311, "bob");
    // The kernel takes all of them; the broker cannot.
    let crowd: Vec<Client> = (0..100).map(|_| broker.open(V5)).collect();
    eventually("the descriptors are used up", || broker.open_files() >= 63);
    for n in 0..50 {
        bob.publish(Out::new("a", n.to_string()).qos(1));
        alice.receive("a", n.to_string());
    }
    drop(crowd);
    for n in 0..30 {
        broker.client(V5, &format!("later-{n}")).ping();
    }
    bob.publish(Out::new("a", "end").qos(1));
    alice.receive("a", "end");
}

#[test]
fn sigterm_publishes_wills_and_says_goodbye() {
    let mut broker = Broker::start("");
    // On both workers, whatever the ids' hashes are.
    let mut heirs: Vec<Client> = (0..8)
        .map(|n| {
            let version = if n % 2 == 0 { V5 } else { V31 };
            let mut heir = broker.client(version, &format!("heir-{n}"));
            heir.subscribe("wills/#", 0);
            heir
        })
        .collect();
    let mut clients: Vec<Client> = (0..4)
        .map(|n| {
            let dial = Dial::new(V5, &format!("client-{n}"));
            broker.connect(&dial.will(&format!("wills/{n}"), "stopped"))
        })
        .collect();
    let later = Dial::persistent(V5, "later").will("wills/later", "stopped");
    let later = later.will_delay(600).int(Id::RequestProblemInformation, 1);
    let mut absent = broker.connect(&later);
    assert!(broker.stop().success());
    for (n, heir) in heirs.iter_mut().enumerate() {
        let mut topics: Vec<String> = (0..5).map(|_| heir.expect_publish().topic).collect();
        topics.sort();
        assert_eq!(topics, ["wills/0", "wills/1", "wills/2", "wills/3", "wills/later"]);
        if n % 2 == 0 {
            heir.expect_disconnect(0x8B);
        } else {
            heir.expect_closed();
        }
    }
    for client in clients.iter_mut().chain([&mut absent]) {
        client.expect_disconnect(0x8B);
    }
}

#[test]
fn sigterm_with_a_client_that_does_not_read() {
    let mut broker = Broker::start("");
    let mut slow = broker.client(V5, "slow");
    slow.subscribe("slow", 0);
    let mut writer = broker.client(V311, "writer");
    for _ in 0..2000 {
        writer.publish(Out::new("slow", [b'x'; 10_000]));
    }
    writer.ping();
    assert!(broker.stop().success());
}
