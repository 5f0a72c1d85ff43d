//! Queues longer than what of them is in memory.

use super::scene::{TOLD, crash, resume, settle, setup, sleeper, start, stop};
use crate::support::{Broker, Client, Dial, Out, PacketKind, V5, Version};

/// The least there is.
const WINDOW: &str = "queue_window_messages 10\n";

/// Publishes numbers; all are acknowledged.
#[track_caller]
fn publish(broker: &Broker, version: Version, qos: u8, numbers: std::ops::Range<u32>) {
    let mut sender = broker.client(version, "sender");
    for from in numbers.clone().step_by(50) {
        let batch = from..numbers.end.min(from + 50);
        if qos == 2 {
            batch.for_each(|n| sender.publish(Out::new("t", n.to_string()).qos(2)));
            continue;
        }
        let send = |n: u32| sender.send_publish(Out::new("t", n.to_string()).qos(1));
        let ids: Vec<u16> = batch.map(send).collect();
        for id in ids {
            assert_eq!(sender.expect(PacketKind::Puback).packet_id(), Some(id));
        }
    }
}

#[track_caller]
fn receive(client: &mut Client, numbers: std::ops::Range<u32>) {
    for n in numbers {
        client.receive("t", n.to_string());
    }
}

#[test]
fn a_long_queue_is_kept_in_order() {
    for version in TOLD {
        for qos in [1, 2] {
            let mut broker = setup("max_queued_messages 0\n", WINDOW).start();
            sleeper(&broker, version, "sleeper", "t", qos);
            publish(&broker, version, qos, 0..300);
            crash(&mut broker);
            publish(&broker, version, qos, 300..400);
            let mut client = resume(&broker, version, "sleeper");
            receive(&mut client, 0..150);
            // What comes now stands behind all of that.
            publish(&broker, version, qos, 400..450);
            receive(&mut client, 150..200);
            settle(&mut client);
            client.disconnect();
            stop(&mut broker);
            let mut client = resume(&broker, version, "sleeper");
            receive(&mut client, 200..450);
            client.expect_nothing();
        }
    }
}

/// Killed in the middle of a drain: nothing is missing, and the order is that of the queue.
#[test]
fn a_crash_during_a_drain_loses_nothing() {
    for version in TOLD {
        let mut broker = setup("max_queued_messages 0\n", WINDOW).start();
        sleeper(&broker, version, "sleeper", "t", 1);
        publish(&broker, version, 1, 0..200);
        let mut next = 0;
        for taken in [1, 17, 40, 5, 60] {
            let mut client = resume(&broker, version, "sleeper");
            // What was acknowledged and not settled may come again, never later ones first.
            let first: u32 = client.expect_publish().text().parse().expect("a number");
            assert!(first <= next, "{first} comes, {next} did not");
            drop(client);
            let mut client = resume(&broker, version, "sleeper");
            receive(&mut client, first..first + taken);
            next = next.max(first + taken);
            crash(&mut broker);
        }
        let mut client = resume(&broker, version, "sleeper");
        let first: u32 = client.expect_publish().text().parse().expect("a number");
        assert!(first <= next);
        drop(client);
        receive(&mut resume(&broker, version, "sleeper"), first..200);
    }
}

/// What is dropped is dropped by the worker of the client it was for, which the publisher's PUBACK
/// does not wait for. CONNACK of a lasting session waits for what its worker did before; of so many
/// clients each worker has some.
fn let_all_workers_write(broker: &Broker, version: Version) {
    for number in 0..16 {
        broker.connect(&Dial::persistent(version, &format!("other{number}"))).disconnect();
    }
}

#[test]
fn a_full_queue_drops_the_newest_and_stays_so() {
    for version in TOLD {
        let mut broker = setup("max_queued_messages 50\n", WINDOW).start();
        sleeper(&broker, version, "sleeper", "t", 1);
        publish(&broker, version, 1, 0..80);
        let_all_workers_write(&broker, version);
        crash(&mut broker);
        publish(&broker, version, 1, 80..90);
        let_all_workers_write(&broker, version);
        let mut client = resume(&broker, version, "sleeper");
        receive(&mut client, 0..50);
        client.expect_nothing();
        client.disconnect();
        // There is room again.
        publish(&broker, version, 1, 90..100);
        crash(&mut broker);
        let mut client = resume(&broker, version, "sleeper");
        receive(&mut client, 90..100);
        client.expect_nothing();
    }
}

#[test]
fn large_messages_are_kept_whole() {
    let mut broker = start("");
    sleeper(&broker, V5, "sleeper", "t", 1);
    let payloads: Vec<Vec<u8>> =
        [0, 1, 127, 4096, 100_000, 1_900_000].iter().map(|&len| vec![b'm'; len]).collect();
    let mut sender = broker.client(V5, "sender");
    for payload in &payloads {
        sender.publish(Out::new("t", payload).qos(1));
    }
    crash(&mut broker);
    let mut client = resume(&broker, V5, "sleeper");
    for payload in &payloads {
        let message = client.expect_publish();
        assert!(message.payload == *payload, "{} of {}", message.payload.len(), payload.len());
        client.complete(&message);
    }
}
