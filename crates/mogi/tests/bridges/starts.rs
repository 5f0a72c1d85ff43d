//! When a bridge connects: `start_type`, `threshold`, `idle_timeout`.

use super::scene::{STATE, Server, setup_to};
use crate::support::{Out, PacketKind, V311, eventually};
use mogi_codec::Properties;

#[test]
fn a_lazy_bridge_comes_when_enough_waits_and_rests_when_nothing_does() {
    for session in ["", "cleansession true\n"] {
        let server = Server::new(V311);
        let lines = format!("{session}start_type lazy\nthreshold 3\nidle_timeout 1\ntopic # out 1");
        let broker = setup_to(server.port(), &lines).start();
        eventually("the local subscription", || broker.log().contains("Sending SUBACK to local."));
        let mut near = broker.client(V311, "near");
        for round in 0..2 {
            near.publish(Out::new("a", "1").qos(1));
            near.publish(Out::new("a", "2"));
            let connects = |count| broker.log().matches("step 1").count() == count;
            near.ping();
            assert!(connects(round), "{}", broker.log());
            near.publish(Out::new("a", "3").qos(1));
            let mut client = server.welcome(round > 0);
            let mut got = Vec::new();
            while got.len() < 4 {
                let message = server.next_message(&mut client);
                if message.qos == 1 {
                    client.puback(message.packet_id);
                }
                got.push(message.text());
            }
            got.sort_unstable();
            assert_eq!(got, ["1", "1", "2", "3"], "the state and three messages");
            let message = server.next_message(&mut client);
            assert_eq!((&*message.topic, &*message.text()), (STATE, "0"));
            client.expect(PacketKind::Disconnect);
            client.expect_closed();
            broker.expect_log("Bridge b rests ('idle_timeout').");
            let subacks = || broker.log().matches("Sending SUBACK to local.").count();
            let opened = if session.is_empty() { 2 * round + 3 } else { round + 2 };
            eventually("it to wait again", || subacks() >= opened);
        }
    }
}

#[test]
fn a_bridge_that_starts_once_does_not_come_again() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), "start_type once\ntopic # out 1").start();
    let mut client = server.accept();
    client.expect(PacketKind::Connect);
    server.connack(&mut client, false, 0, Properties::default());
    drop(client);
    broker.expect_log("Bridge b has ended ('start_type once').");
    assert_eq!(broker.log().matches("step 1").count(), 1);
}

#[test]
fn the_wait_between_attempts_is_the_file_s() {
    let port = Server::new(V311).port();
    let conf = super::scene::bridge_to(port, "topic # out").replace("timeout 1\n", "timeout 2 3\n");
    let broker = setup_to(port, "").conf(&conf).start();
    eventually("a third attempt", || broker.log().matches("step 1").count() >= 3);
    let log = broker.log();
    let times: Vec<u64> = log
        .lines()
        .filter(|line| line.contains("step 1"))
        .filter_map(|line| line.split(':').next()?.parse().ok())
        .collect();
    assert!(times.windows(2).all(|two| two[1] - two[0] >= 1), "{times:?}");
}
