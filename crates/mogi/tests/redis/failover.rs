//! A master of a cluster dies while messages stream to sessions of all masters.

use super::cluster::{LONG, Servers, id_on, lasting, patient, sooner_or_later};
use crate::support::{Broker, Client, Message, Out};
use mogi_codec::Packet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A publisher to one session, and what it was told.
struct Stream {
    id: String,
    acked: Arc<AtomicU32>,
    publisher: JoinHandle<u32>,
    subscriber: JoinHandle<HashMap<u32, u32>>,
}

/// One message after the other, QoS 1 and 2 in turns, until it is to stop; how many.
fn publish(mut client: Client, topic: &str, stop: &AtomicBool, acked: &AtomicU32) -> u32 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let qos = if number % 2 == 0 { 2 } else { 1 };
        client.publish(Out::new(topic, number.to_string()).qos(qos));
        acked.store(number, Ordering::Relaxed);
    }
    // QoS 1 may overtake QoS 2, so each has its own last one.
    client.publish(Out::new(topic, "end").qos(1));
    client.publish(Out::new(topic, "end").qos(2));
    client.disconnect();
    number
}

/// Takes everything up to the last ones; how often each number came.
fn receive(mut client: Client) -> HashMap<u32, u32> {
    let mut seen = HashMap::new();
    let mut ended = [false; 3];
    while !(ended[1] && ended[2]) {
        let frame = client.recv();
        let Packet::Publish(_) = frame.packet() else { continue };
        let message = Message::of(&frame);
        client.complete(&message);
        match message.text().parse::<u32>() {
            Ok(number) => *seen.entry(number).or_insert(0) += 1,
            Err(_) => ended[message.qos as usize] = true,
        }
    }
    seen
}

fn stream(broker: &Broker, master: u16, stop: &Arc<AtomicBool>) -> Stream {
    let id = id_on(master, "s");
    let topic = format!("to/{id}");
    let mut client = lasting(broker, &id);
    client.subscribe(&topic, 2);
    let subscriber = std::thread::spawn(move || receive(client));
    let acked = Arc::new(AtomicU32::new(0));
    let client = patient(broker, &format!("from-{id}"));
    let (stop, told) = (Arc::clone(stop), Arc::clone(&acked));
    let publisher = std::thread::spawn(move || publish(client, &topic, &stop, &told));
    Stream { id, acked, publisher, subscriber }
}

#[test]
fn a_master_dies_and_nothing_acknowledged_is_lost_or_repeated() {
    let servers = Servers::start(&[]);
    let broker = servers.setup("redis_wait 1 1000\n").start();
    let stop = Arc::new(AtomicBool::new(false));
    let streams: Vec<_> = (0..3).map(|master| stream(&broker, master, &stop)).collect();
    let acked = |at: usize| streams[at].acked.load(Ordering::Relaxed);
    sooner_or_later("the first messages", || (0..3).all(|at| acked(at) >= 20));
    servers.kill(0);
    broker.expect_log(&format!("Redis node 127.0.0.1:{}", servers.port));
    let (stuck, others) = (acked(0), [acked(1), acked(2)]);
    // What the dead master's slots need stands still; the others go on.
    sooner_or_later("messages of other slots", || {
        acked(1) >= others[0] + 20 && acked(2) >= others[1] + 20
    });
    assert!(acked(0) <= stuck + 1, "acknowledged without a master: {stuck}, {}", acked(0));
    // The one that takes over has a replica only when the dead one is back.
    servers.restart();
    sooner_or_later("messages of the dead master's slots", || acked(0) >= stuck + 20);
    stop.store(true, Ordering::Relaxed);
    for Stream { id, publisher, subscriber, .. } in streams {
        let sent = publisher.join().expect("it was told of all");
        let seen = subscriber.join().expect("it got all");
        let lost: Vec<_> = (1..=sent).filter(|number| !seen.contains_key(number)).collect();
        assert!(lost.is_empty(), "{id} has not got {lost:?} of {sent}");
        let twice: Vec<_> =
            seen.iter().filter(|(number, times)| **number % 2 == 0 && **times > 1).collect();
        assert!(twice.is_empty(), "{id} has got QoS 2 again: {twice:?}");
    }
    assert!(broker.log().contains("The store works again"), "{}", broker.log());
}

#[test]
fn a_cluster_that_is_down_stops_acknowledgements_until_it_is_back() {
    let servers = Servers::start(&[]);
    let broker = servers.setup("").start();
    let id = id_on(2, "s");
    let mut sleeper = lasting(&broker, &id);
    sleeper.subscribe("t", 2);
    sleeper.disconnect();
    let mut publisher = patient(&broker, "p");
    publisher.publish(Out::new("t", "before").qos(2));
    // Two of three masters, and who would take over.
    for node in [0, 1, 3, 4] {
        servers.kill(node);
    }
    sooner_or_later("the cluster to be down", || servers.is_down(2));
    let packet_id = publisher.send_publish(Out::new("t", "during").qos(1));
    broker.expect_log("CLUSTERDOWN");
    publisher.stream().set_read_timeout(Some(Duration::from_secs(2))).expect("set");
    let mut byte = [0];
    assert!(publisher.stream().peek(&mut byte).is_err(), "acknowledged and not stored");
    publisher.stream().set_read_timeout(Some(LONG)).expect("set");
    servers.restart();
    publisher.expect_ack(mogi_codec::PacketKind::Puback, packet_id, 0);
    let mut sleeper = lasting(&broker, &id);
    // QoS 1 may overtake QoS 2, which is sent when its packet id is in the store.
    let mut all: Vec<_> = (0..2).map(|_| sleeper.expect_publish()).collect();
    all.iter().for_each(|message| sleeper.complete(message));
    all.sort_by(|a, b| a.payload.cmp(&b.payload));
    assert!(all[0].payload == b"before" && all[1].payload == b"during", "{all:?}");
}
