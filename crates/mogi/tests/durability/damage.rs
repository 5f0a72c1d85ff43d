//! Files that are not as they were written.

use super::scene::{begin, resume, setup, sleeper};
use crate::support::{Broker, Out, V5};
use std::fs;
use std::path::{Path, PathBuf};

/// A broker that holds something, killed.
#[track_caller]
fn killed(own: &str) -> Broker {
    let mut broker = setup("", own).start();
    sleeper(&broker, V5, "sleeper", "t", 1);
    let mut sender = broker.client(V5, "sender");
    for n in 0..200 {
        sender.publish(Out::new("t", format!("{n} {}", "x".repeat(1000))).qos(1).retain());
    }
    broker.kill();
    broker
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

/// Turns bits over in the middle of the largest file: the journal.
#[track_caller]
fn damage(broker: &Broker) {
    let files = files(&broker.dir().join("data"));
    let written = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0)
    };
    let journal = files.iter().max_by_key(|path| written(path)).expect("there are files");
    let mut bytes = fs::read(journal).expect("it can be read");
    let middle = written(journal) / 2;
    bytes[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(journal, bytes).expect("it can be written");
}

#[test]
fn damage_is_told_and_the_rest_is_served() {
    let mut broker = killed("persistence_on_damage continue\n");
    damage(&broker);
    broker.restart();
    broker.expect_log("damaged");
    broker.expect_log("was kept in");
    // What came before the damage is there.
    let mut client = resume(&broker, V5, "sleeper");
    assert!(client.expect_publish().text().starts_with("0 "));
    // And it works.
    begin(&broker, V5, "other").subscribe("u", 1);
    broker.kill();
    broker.restart();
    resume(&broker, V5, "other");
}

#[test]
fn damage_stops_the_start_where_that_is_wanted() {
    let mut broker = killed("persistence_on_damage stop\n");
    damage(&broker);
    let (status, log) = again(&mut broker);
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("damage"), "{log}");
    // Nothing was touched: it does not start the next time either.
    assert_eq!(again(&mut broker).0, Some(1));
}

/// Starts the program with the broker's files, and waits for its end.
#[track_caller]
fn again(broker: &mut Broker) -> (Option<i32>, String) {
    let log = broker.dir().join("log-again");
    let file = fs::File::create(&log).expect("a log");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_mogi"))
        .arg("-c")
        .arg(broker.dir().join("mosquitto.conf"))
        .stdout(file.try_clone().expect("a log"))
        .stderr(file)
        .spawn()
        .expect("mogi runs");
    let mut ended = None;
    for _ in 0..500 {
        ended = child.try_wait().expect("a child");
        if ended.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // One that runs, and should not, is not left behind.
    let _ = child.kill();
    let _ = child.wait();
    let code = ended.and_then(|status| status.code());
    (code, fs::read_to_string(log).unwrap_or_default())
}

/// A power failure leaves the last batch half written: that is no damage.
#[test]
fn a_torn_end_is_no_damage() {
    let mut broker = killed("persistence_on_damage stop\n");
    let journals = files(&broker.dir().join("data"));
    let journal = journals.iter().max_by_key(|path| {
        fs::read(path).map_or(0, |bytes| bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0))
    });
    let journal = journal.expect("there are files");
    let mut bytes = fs::read(journal).expect("it can be read");
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0);
    bytes[end - 100..].fill(0);
    fs::write(journal, bytes).expect("it can be written");
    broker.restart();
    let mut client = resume(&broker, V5, "sleeper");
    assert!(client.expect_publish().text().starts_with("0 "));
}
