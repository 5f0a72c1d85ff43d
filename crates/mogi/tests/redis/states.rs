//! What Redis may be in other than well, and back: full, another password. Nothing is acknowledged
//! that is not stored, and everything goes on by itself.

use super::cluster::{LONG, Servers, lasting, patient, sooner_or_later};
use crate::support::{Out, eventually};
use mogi_codec::PacketKind;
use std::time::Duration;

const LARGE: usize = 100_000;

#[test]
fn a_full_redis_takes_acknowledgements_and_goes_on_when_they_made_room() {
    let servers = Servers::start(&["--single"]);
    let broker = servers.setup("queue_window_bytes 67108864\n").start();
    let mut slow = lasting(&broker, "slow");
    slow.subscribe("t", 1);
    let used = servers.cli(&["info", "memory"]);
    let used = used.lines().find_map(|line| line.strip_prefix("used_memory:"));
    let used: usize = used.and_then(|it| it.trim().parse().ok()).expect("a number");
    servers.cli(&["config", "set", "maxmemory", &(used + 5_000_000).to_string()]);
    let mut publisher = patient(&broker, "p");
    let all = std::thread::spawn(move || {
        for number in 0..100u8 {
            publisher.publish(Out::new("t", vec![number; LARGE]).qos(1));
        }
    });
    sooner_or_later("a full Redis", || broker.log().contains("OOM"));
    assert!(!all.is_finished(), "it cannot hold all of them");
    for number in 0..100u8 {
        let message = slow.expect_publish();
        assert!(message.payload == vec![number; LARGE], "not {number}");
        slow.complete(&message);
    }
    all.join().expect("all were acknowledged");
    eventually("an empty queue", || servers.cli(&["xlen", "queue:{slow}"]) == "0");
    broker.expect_log("works again");
}

#[test]
fn another_password_stops_acknowledgements_until_it_is_the_old_one_again() {
    let servers = Servers::start(&["--single", "--password", "one"]);
    let store = format!("persistence_store redis://:one@127.0.0.1:{}\n", servers.port);
    let broker = crate::support::Broker::setup().conf("user root\n").own(&store).start();
    let mut sleeper = lasting(&broker, "sleeper");
    sleeper.subscribe("t", 1);
    sleeper.disconnect();
    let mut publisher = patient(&broker, "p");
    publisher.publish(Out::new("t", "before").qos(1));
    let as_one = ["--no-auth-warning", "-a", "one"];
    servers.cli(&[&as_one[..], &["config", "set", "requirepass", "two"]].concat());
    let as_two = ["--no-auth-warning", "-a", "two"];
    servers.cli(&[&as_two[..], &["client", "kill", "type", "normal"]].concat());
    let packet_id = publisher.send_publish(Out::new("t", "during").qos(1));
    broker.expect_log("WRONGPASS");
    publisher.stream().set_read_timeout(Some(Duration::from_secs(1))).expect("set");
    assert!(publisher.stream().peek(&mut [0]).is_err(), "acknowledged and not stored");
    publisher.stream().set_read_timeout(Some(LONG)).expect("set");
    servers.cli(&[&as_two[..], &["config", "set", "requirepass", "one"]].concat());
    publisher.expect_ack(PacketKind::Puback, packet_id, 0);
    assert!(!broker.log().contains("redis://:one"), "the log tells the password");
    let mut sleeper = lasting(&broker, "sleeper");
    sleeper.receive("t", "before");
    sleeper.receive("t", "during");
}
