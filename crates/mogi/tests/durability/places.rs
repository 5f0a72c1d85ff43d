//! Where the state is: other brokers there, folders one may not write to, how it is synced.

use super::scene::{TOLD, begin, resume, setup, sleeper, start, stop};
use crate::support::{Broker, Out, V5, V311};
use std::fs;
use std::os::unix::fs::MetadataExt;

#[test]
fn a_second_broker_on_the_same_folder_does_not_start() {
    let broker = start("");
    let data = broker.dir().join("data");
    let conf = format!(
        "user root\npersistence true\npersistence_location {}/\n",
        data.to_str().expect("a path in UTF-8")
    );
    let (status, log) = Broker::setup().conf(&conf).run();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("has it open"), "{log}");
    assert!(log.contains(data.to_str().expect("a path in UTF-8")), "{log}");
    begin(&broker, V311, "client").disconnect();
}

/// A file where the folder should be: root, too, cannot make one there.
#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let conf = "user root\npersistence true\npersistence_location {dir}/file/\n";
    let (status, log) = Broker::setup().conf(conf).file("file", "in the way").run();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("/file/mogi-store"), "{log}");
}

/// `/proc` is read-only for everybody.
#[test]
fn a_read_only_folder_is_named() {
    let conf = "user root\npersistence true\npersistence_location /proc/self/\n";
    let (status, log) = Broker::setup().conf(conf).run();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("/proc/self/mogi-store"), "{log}");
}

#[test]
fn the_command_line_names_the_folder_too() {
    let args = ["--data-dir", "{dir}/elsewhere"];
    let mut broker = Broker::setup().conf("user root\n").args(&args).start();
    begin(&broker, V5, "client").subscribe("t", 1);
    assert!(broker.dir().join("elsewhere/mogi-store").is_dir());
    broker.kill();
    broker.restart();
    resume(&broker, V5, "client");
}

#[test]
fn a_stop_keeps_everything_whatever_the_sync() {
    for sync in ["always", "interval 100", "off"] {
        for (version, qos) in TOLD.into_iter().zip([1, 2]) {
            let mut broker = setup("", &format!("persistence_sync {sync}\n")).start();
            sleeper(&broker, version, "sleeper", "t", 2);
            let mut sender = broker.client(version, "sender");
            for n in 0..20 {
                sender.publish(Out::new("t", n.to_string()).qos(qos).retain());
            }
            stop(&mut broker);
            let mut client = resume(&broker, version, "sleeper");
            for n in 0..20 {
                client.receive("t", n.to_string());
            }
            client.expect_nothing();
            let mut reader = broker.client(version, "reader");
            reader.subscribe("t", 0);
            reader.expect_message("t", "19");
        }
    }
}

/// Nothing of an ended session, or of a message that was taken, stays for ever.
#[test]
fn a_folder_does_not_grow_with_what_is_gone() {
    let mut broker = start("max_queued_messages 0\n");
    let payload = vec![b'x'; 20_000];
    for round in 0..60 {
        sleeper(&broker, V5, "sleeper", "t", 1);
        let mut sender = broker.client(V5, "sender");
        for _ in 0..200 {
            sender.publish(Out::new("t", &payload).qos(1));
        }
        if round % 3 == 0 {
            stop(&mut broker);
        }
        broker.client(V5, "sleeper").disconnect();
    }
    stop(&mut broker);
    // 240 MB went through; two journals of 64 MB may be there, and tables that are yet to be
    // merged. All of it would be more than 300.
    let bytes = size(&broker.dir().join("data"));
    assert!(bytes < 250 << 20, "{bytes} bytes");
}

fn size(dir: &std::path::Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size(&entry.path()),
        // What is allocated: a journal has its whole length from the beginning.
        Ok(data) => data.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(size).sum()
}
