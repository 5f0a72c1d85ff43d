//! A disk that is full for a while.

use super::scene::{begin, resume, sleeper};
use crate::support::{Broker, Dial, Out, PacketKind, V5, eventually};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Runs the program on a small file system of its own. It takes a namespace, which not every
/// machine gives to everybody.
const NAMESPACE: [&str; 4] = ["unshare", "-rm", "sh", "-c"];
const MOUNT: &str =
    "mkdir -p small && mount -t tmpfs -o size=80m tmpfs small && exec \"$0\" \"$@\"";

fn may_mount() -> bool {
    let mut command = std::process::Command::new(NAMESPACE[0]);
    command.args(&NAMESPACE[1..]).arg("mount -t tmpfs -o size=1m tmpfs /mnt");
    command.output().is_ok_and(|output| output.status.success())
}

/// The small file system, seen from outside of its namespace.
fn inside(broker: &Broker, name: &str) -> PathBuf {
    let root = format!("/proc/{}/root", broker.pid());
    PathBuf::from(root + &broker.dir().join("small").join(name).display().to_string())
}

#[test]
fn a_full_disk_stops_acknowledgements_and_nothing_else() {
    if !may_mount() {
        eprintln!("not run: no user and mount namespaces here");
        return;
    }
    let wrapper = [&NAMESPACE[..], &[MOUNT]].concat();
    let conf = "user root\npersistence true\npersistence_location {dir}/small/\n\
                max_queued_messages 0\nmax_queued_bytes 0\n";
    let mut broker = Broker::setup().conf(conf).wrapper(&wrapper).start();
    sleeper(&broker, V5, "sleeper", "t", 1);
    let mut sender = begin(&broker, V5, "sender");
    sender.publish(Out::new("t", "before").qos(1));
    let filler = inside(&broker, "filler");
    // To the last byte: an error at the end is the purpose.
    let _ = fs::write(&filler, vec![1; 100 << 20]);
    let payload = vec![b'x'; 50_000];
    // What is left in files that have their place already is used up first.
    let mut sent = 0;
    while !broker.log().contains("acknowledged until it works") {
        assert!(sent < 3000, "the disk does not fill up");
        sender.send_publish(Out::new("t", &payload).qos(1));
        sent += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    // QoS 0 goes on, also from others.
    let mut other = broker.client(V5, "other");
    other.subscribe("live", 0);
    other.publish(Out::new("live", "still here"));
    other.expect_message("live", "still here");
    let errors = |log: &str| log.matches("acknowledged until it works").count();
    assert_eq!(errors(&broker.log()), 1, "said once");
    fs::remove_file(&filler).expect("room");
    broker.expect_log("The store works again");
    for _ in 0..sent {
        sender.expect(PacketKind::Puback);
    }
    sender.publish(Out::new("t", "after").qos(1));
    // The file system ends with the broker, so this one is not killed.
    let mut client = resume(&broker, V5, "sleeper");
    client.receive("t", "before");
    for _ in 0..sent {
        let message = client.expect_publish();
        assert_eq!(message.payload.len(), payload.len());
        client.complete(&message);
    }
    client.receive("t", "after");
    eventually("the end", || broker.stop().success());
}

#[test]
fn what_waits_for_a_full_disk_is_bounded() {
    if !may_mount() {
        eprintln!("not run: no user and mount namespaces here");
        return;
    }
    let wrapper = [&NAMESPACE[..], &[MOUNT]].concat();
    let conf = "user root\npersistence true\npersistence_location {dir}/small/\n\
                persistence_buffer_limit 1048576\nsys_interval 1\n";
    let mut broker = Broker::setup().conf(conf).wrapper(&wrapper).start();
    let mut other = broker.client(V5, "other");
    other.subscribe("live", 0);
    let filler = inside(&broker, "filler");
    let _ = fs::write(&filler, vec![1; 100 << 20]);
    // Messages that are retained, and answered to nobody.
    let flood = broker.client(V5, "flood");
    let payload = vec![b'x'; 50_000];
    let mut sent = 0u32;
    flood.stream().set_write_timeout(Some(Duration::from_secs(2))).expect("a time-out");
    let write = |bytes: &[u8]| flood.stream().write_all(bytes).is_ok();
    while write(&Out::new(&format!("r/{sent}"), &payload).retain().bytes(V5)) {
        sent += 1;
        assert!(sent < 20_000, "the broker reads on and on");
    }
    // QoS 0 goes on, and who would have to wait is told so.
    other.publish(Out::new("live", "still here"));
    other.expect_message("live", "still here");
    broker.dial(&Dial::persistent(V5, "lasting")).expect_connack(0x89);
    fs::remove_file(&filler).expect("room");
    broker.expect_log("The store works again");
    // What waited is written first.
    eventually("a session", || {
        broker.dial(&Dial::persistent(V5, "lasting")).expect(PacketKind::Connack).code() == 0
    });
    eventually("the end", || broker.stop().success());
}
