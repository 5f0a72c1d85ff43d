//! `sub`.

use crate::broker::{Broker, Reply, connack, message, publish, suback};
use crate::process::{finish, run, start};
use mogi_codec::{Packet, PacketKind, PropertyBuf, QoS, Version};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

/// Retained and fresh, empty, of every QoS, and one the broker made.
fn messages() -> Vec<Vec<u8>> {
    let version = Version::V311;
    vec![
        message("a/1", "one", true),
        message("a/2", "", true),
        message("a/3", "three", true),
        message("b/1", "fresh", false),
        publish(version, "a/1", "f2", QoS::AtLeastOnce, 5, false),
        publish(version, "a/1", "f3", QoS::ExactlyOnce, 6, false),
        message("$SYS/x", "s", false),
    ]
}

/// Runs until as many messages are printed as there are, or for a second.
fn printed(args: &str) -> (i32, String) {
    let ran = run(Broker::sending(messages()).port, args);
    (ran.code, ran.stdout)
}

#[test]
fn messages_are_printed_as_mosquittos_tool_prints_them() {
    for (args, stdout) in [
        ("sub -t # -C 7", "one\nthree\nfresh\nf2\ns\nf3\n"),
        (
            "sub -t # -C 7 -v",
            "a/1 one\na/2 (null)\na/3 three\nb/1 fresh\na/1 f2\n$SYS/x s\na/1 f3\n",
        ),
        ("sub -t # -C 7 -N", "onethreefreshf2sf3"),
        ("sub -t # -C 7 -v -N", "a/1 onea/3 threeb/1 fresha/1 f2$SYS/x sa/1 f3"),
        ("sub -t # -C 3 -F %t:%p:%r:%q:%l", "a/1:one:1:0:3\na/2::1:0:0\na/3:three:1:0:5\n"),
        ("sub -t # -C 2 -F %p -N", "one"),
        ("sub -t # -C 1 -F x -v -F %p", "one\n"),
        ("sub -t # -C 4 -R", "fresh\nf2\ns\nf3\n"),
        ("sub -t # --retained-only", "one\nthree\n"),
        ("sub -t # -C 2 -T a/+ -v", "b/1 fresh\n$SYS/x s\n"),
        ("sub -t # -C 2 -T a/1 -T b/# -v", "a/2 (null)\na/3 three\n"),
        (
            "sub -t # -w -C 4 -v",
            "\u{1b}[2J\u{1b}[1;1HBroker: localhost\n\
             \u{1b}[2;1Ha/1 one\n\u{1b}[2;1H\n\
             \u{1b}[3;1Ha/2 (null)\n\u{1b}[3;1H\n\
             \u{1b}[4;1Ha/3 three\n\u{1b}[4;1H\n\
             \u{1b}[5;1Hb/1 fresh\n\u{1b}[5;1H\n",
        ),
    ] {
        assert_eq!(printed(args), (0, stdout.to_owned()), "{args}");
    }
}

#[test]
fn messages_of_qos_2_are_printed_when_they_are_released() {
    let broker = Broker::sending(messages());
    let ran = run(broker.port, "sub -t # -C 7 -d -q 2");
    let text = "Client null sending CONNECT\n\
        Client (null) received CONNACK (0)\n\
        Client null sending SUBSCRIBE (Mid: 1, Topic: #, QoS: 2, Options: 0x00)\n\
        Client null received SUBACK\n\
        Subscribed (mid: 1): 0\n\
        Client null received PUBLISH (d0, q0, r1, m0, 'a/1', ... (3 bytes))\n\
        one\n\
        Client null received PUBLISH (d0, q0, r1, m0, 'a/2', ... (0 bytes))\n\
        Client null received PUBLISH (d0, q0, r1, m0, 'a/3', ... (5 bytes))\n\
        three\n\
        Client null received PUBLISH (d0, q0, r0, m0, 'b/1', ... (5 bytes))\n\
        fresh\n\
        Client null received PUBLISH (d0, q1, r0, m5, 'a/1', ... (2 bytes))\n\
        Client null sending PUBACK (m5, rc0)\n\
        f2\n\
        Client null received PUBLISH (d0, q2, r0, m6, 'a/1', ... (2 bytes))\n\
        Client null sending PUBREC (m6, rc0)\n\
        Client null received PUBLISH (d0, q0, r0, m0, '$SYS/x', ... (1 bytes))\n\
        s\n\
        Client null received PUBREL (Mid: 6)\n\
        Client null sending PUBCOMP (m6)\n\
        f3\n\
        Client null sending DISCONNECT\n";
    assert_eq!(ran.stdout, text);
    assert_eq!(broker.seen_of(PacketKind::Puback), ["40020005"]);
    assert_eq!(broker.seen_of(PacketKind::Pubrec), ["50020006"]);
    assert_eq!(broker.seen_of(PacketKind::Pubcomp), ["70020006"]);
}

#[test]
fn what_is_sent_is_what_mosquittos_tool_sends() {
    for (args, frames) in [
        ("sub -t a -E", &["8206000100016100"][..]),
        ("sub -t a -t b -q 1 -E", &["820a00010001610100016201"]),
        (
            "sub -t a -E -V 5 --retain-as-published -q 1 --retain-handling new",
            &["820700010000016119"],
        ),
        ("sub -t a -E -V 5 -R", &["820700010000016120"]),
        ("sub -t a -E --retain-handling never", &["8206000100016100"]),
        (
            "sub -t a -E -D subscribe user-property k v -D subscribe subscription-identifier 3",
            &["82100001092600016b0001760b0300016100"],
        ),
    ] {
        let broker = Broker::plain();
        let ran = run(broker.port, args);
        assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (0, "", ""), "{args}");
        assert_eq!(broker.seen_of(PacketKind::Subscribe), frames, "{args}");
    }
    let broker = Broker::plain();
    run(broker.port, "sub -U a -U b -E");
    let unsubscribed = broker.seen_of(PacketKind::Unsubscribe);
    assert_eq!(unsubscribed, ["a2050001000161", "a2050002000162"]);
}

#[test]
fn the_timeout_has_a_code_of_its_own() {
    let broker = Broker::plain();
    let ran = run(broker.port, "sub -t a -W 1 -V 5");
    assert_eq!((ran.code, &*ran.stderr), (27, "Timed out\n"));
    assert_eq!(broker.seen_of(PacketKind::Disconnect), ["e00104"]);
    let silent = Broker::new(|_, _| Some(Vec::new()));
    let ran = run(silent.port, "sub -t a -W 1");
    assert_eq!((ran.code, &*ran.stderr), (255, ""));
}

#[test]
fn refusals() {
    let broker = Broker::new(|_, _| Some(vec![connack(Version::V5, 138, &PropertyBuf::new())]));
    let ran = run(broker.port, "sub -t a -V 5");
    assert_eq!((ran.code, &*ran.stderr), (138, "Connection error: Banned\n"));

    let denying = |codes: &'static [u8]| {
        Broker::new(move |_, packet| match packet {
            Packet::Subscribe(subscribe) => {
                Some(vec![suback(Version::V311, subscribe.packet_id, codes)])
            }
            _ => None,
        })
    };
    let ran = run(denying(&[0x80, 0x80]).port, "sub -t a -t b");
    let text = "All subscription requests were denied.\n";
    assert_eq!((ran.code, &*ran.stderr), (0, text));
    let ran = run(denying(&[0x80, 1]).port, "sub -t a -t b -E -d");
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    assert!(ran.stdout.contains("Subscribed (mid: 1): 128, 1\n"));
}

#[test]
fn retained_messages_are_removed_before_it_ends() {
    let broker = Broker::sending(messages());
    let ran = run(broker.port, "sub -t # --remove-retained --retained-only -T a/3");
    assert_eq!((ran.code, &*ran.stdout), (0, "one\n"));
    let removed = broker.seen_of(PacketKind::Publish);
    assert_eq!(removed, ["33070003612f310002", "33070003612f320003"]);
    // As the manual has it: also those that -R does not print.
    let broker = Broker::sending(messages());
    let ran = run(broker.port, "sub -t # --remove-retained -R -C 1");
    assert_eq!((ran.code, &*ran.stdout), (0, "fresh\n"));
    assert_eq!(broker.seen_of(PacketKind::Publish).len(), 3);
}

#[test]
fn it_connects_again_and_subscribes_again() {
    let broker = Broker::new(|connection, packet| match packet {
        Packet::Subscribe(subscribe) if connection == 1 => Some(vec![
            suback(Version::V311, subscribe.packet_id, &[0]),
            Reply::Bytes(message("a", "second connection", false)),
        ]),
        Packet::Subscribe(_) => Some(vec![Reply::Close]),
        _ => None,
    });
    let ran = run(broker.port, "sub -t a -C 1");
    assert_eq!((ran.code, &*ran.stdout), (0, "second connection\n"));
    assert_eq!(broker.seen_of(PacketKind::Connect).len(), 2);
}

#[test]
fn random_samples_count_all_messages() {
    let many: Vec<_> = (0..2000).map(|_| message("a", "x", false)).collect();
    let ran = run(Broker::sending(many).port, "sub -t a -C 2000 --random-filter 50");
    let lines = ran.stdout.lines().count();
    // 13 standard deviations on either side.
    assert!((700..1300).contains(&lines), "{lines} of 2000");
}

#[test]
fn rates_take_the_place_of_messages() {
    let ran = run(Broker::sending(messages()).port, "sub -t # --message-rate -W 3");
    assert_eq!(ran.code, 27);
    let rates = ran.stdout.lines().filter_map(|line| line.strip_suffix(" msgs/s"));
    let rates: Vec<u32> = rates.filter_map(|rate| rate.parse().ok()).collect();
    assert_eq!(rates.len(), ran.stdout.lines().count(), "{}", ran.stdout);
    assert_eq!(rates.iter().sum::<u32>(), 7);
}

#[test]
fn large_messages_come_through() {
    let payload = "0123456789".repeat(300_000);
    let ran = run(Broker::sending(vec![message("a", &payload, false)]).port, "sub -t a -C 1 -N");
    assert_eq!(ran.code, 0);
    assert!(ran.stdout == payload, "{} bytes", ran.stdout.len());
}

#[test]
fn signals_end_it_with_a_goodbye() {
    let words = ["sub", "-t", "a", "-V", "5"].map(str::to_owned);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let broker = Broker::plain();
        let child = start(broker.port, &words, &[]);
        wait_for(|| broker.seen().len() == 2);
        // The answer to SUBSCRIBE is the last thing it waits for before it is at rest.
        let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
        kill(pid, signal).expect("alive");
        let ran = finish(child);
        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{signal}");
        assert_eq!(broker.seen_of(PacketKind::Disconnect), ["e00104"]);
    }
}

fn wait_for(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn it_ends_when_nobody_reads_what_it_prints() {
    let words = ["sub", "-t", "a"].map(str::to_owned);
    // More than a pipe holds, so that the tool has to notice.
    let payload = "x".repeat(10_000);
    let broker = Broker::sending(vec![message("a", &payload, false); 100]);
    let mut child = start(broker.port, &words, &[]);
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut read = [0; 1000];
    // The first bytes are the test runner's; a payload's come from the tool.
    while !read.contains(&b'x') {
        assert!(stdout.read(&mut read).expect("a pipe") > 0);
    }
    drop(stdout);
    let ran = child.wait_with_output().expect("an end");
    assert_eq!(ran.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
}
