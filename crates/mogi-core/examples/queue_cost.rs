//! What the core alone costs per delivery where messages wait for room in flight: no sockets, no
//! kernel. Every subscriber has 20 in flight and some hundred in its queue.
//!
//! `cargo run --release -p mogi-core --example queue_cost`

mod common;

use common::connect;
use mogi_codec::{Properties, Publish, QoS, Subscribe, SubscribeFilter, Version};
use mogi_core::{CoreConfig, Next, Node, Worker};
use std::sync::Arc;
use std::time::Instant;

/// Messages in flight to one subscriber.
const WINDOW: usize = 20;
/// Messages that wait for one subscriber.
const WAITING: usize = 480;
const DELIVERIES: usize = 2_000_000;

fn main() {
    run("50 pairs", QoS::AtLeastOnce, 1, 50, 1);
    run("50 pairs of two workers", QoS::AtLeastOnce, 2, 50, 1);
    run("fan-out 100", QoS::AtLeastOnce, 1, 1, 100);
    run("fan-out 100", QoS::ExactlyOnce, 1, 1, 100);
}

/// A client, and the packet id it comes to next.
struct End {
    worker: usize,
    key: u32,
    token: u32,
    id: u16,
}

impl End {
    fn next_ids(&mut self, count: usize) -> Vec<u16> {
        let next = |id: &mut u16| {
            *id = id.checked_add(1).unwrap_or(1);
            *id
        };
        (0..count).map(|_| next(&mut self.id)).collect()
    }
}

/// Subscribers are at the last worker, publishers at the first.
fn run(name: &str, qos: QoS, count: u16, publishers: usize, each: usize) {
    let node = Arc::new(Node::new(count, 7));
    let worker = |index| Worker::new(index, Arc::clone(&node), Arc::new(CoreConfig::default()));
    let mut workers: Vec<Worker> = (0..count).map(worker).collect();
    let mut token = 0;
    let mut end = |workers: &mut [Worker], worker: usize| {
        token += 1;
        let key = connect(&mut workers[worker], token);
        drain(workers);
        End { worker, key, token, id: 0 }
    };
    let last = workers.len() - 1;
    let mut groups: Vec<(End, Vec<End>)> = Vec::new();
    for n in 0..publishers {
        let publisher = end(&mut workers, 0);
        let subscribers: Vec<End> = (0..each).map(|_| end(&mut workers, last)).collect();
        for subscriber in &subscribers {
            let mut bytes = Vec::new();
            let options = mogi_codec::SubscribeOptions { qos, ..Default::default() };
            let filter = SubscribeFilter { filter: &topic(n), options };
            Subscribe::encode(Version::V311, 1, Properties::default(), &[filter], &mut bytes);
            feed(&mut workers, subscriber, &bytes);
        }
        groups.push((publisher, subscribers));
    }
    for (n, (publisher, _)) in groups.iter_mut().enumerate() {
        publish(&mut workers, publisher, qos, &topic(n), WINDOW + WAITING);
    }
    let rounds = DELIVERIES / WINDOW / publishers / each;
    let started = Instant::now();
    for _ in 0..rounds {
        for (n, (publisher, subscribers)) in groups.iter_mut().enumerate() {
            for subscriber in subscribers {
                acknowledge(&mut workers, subscriber, qos);
            }
            publish(&mut workers, publisher, qos, &topic(n), WINDOW);
        }
    }
    let elapsed = started.elapsed();
    let deliveries = rounds * WINDOW * publishers * each;
    let first = WINDOW * publishers * each;
    assert_eq!(workers[last].stats().publish_sent, (deliveries + first) as u64);
    println!(
        "{name:23} · QoS {}: {:6.1} ns per delivery",
        qos as u8,
        elapsed.as_nanos() as f64 / deliveries as f64
    );
}

fn topic(n: usize) -> String {
    format!("bench/topic/{n:04}")
}

fn publish(workers: &mut [Worker], publisher: &mut End, qos: QoS, topic: &str, count: usize) {
    let mut input = Vec::new();
    let ids = publisher.next_ids(count);
    for &packet_id in &ids {
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id,
            properties: Properties::default(),
            payload: &[b'x'; 64],
        };
        publish.encode(Version::V311, &mut input);
    }
    feed(workers, publisher, &input);
    if qos == QoS::ExactlyOnce {
        feed(workers, publisher, &acks(0x62, &ids));
    }
}

fn acknowledge(workers: &mut [Worker], subscriber: &mut End, qos: QoS) {
    let ids = subscriber.next_ids(WINDOW);
    if qos == QoS::AtLeastOnce {
        return feed(workers, subscriber, &acks(0x40, &ids));
    }
    feed(workers, subscriber, &acks(0x50, &ids));
    feed(workers, subscriber, &acks(0x70, &ids));
}

fn acks(first: u8, ids: &[u16]) -> Vec<u8> {
    ids.iter().flat_map(|id| [first, 2, (id >> 8) as u8, *id as u8]).collect()
}

fn feed(workers: &mut [Worker], end: &End, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let received = workers[end.worker].received(0, end.key, end.token, rest);
        rest = &rest[received.consumed..];
        if received.next == Next::Flush {
            drain(workers);
        }
    }
    drain(workers);
}

/// Takes all output away, as a network that is infinitely fast would, and batches where they go.
fn drain(workers: &mut [Worker]) {
    for at in 0..workers.len() {
        common::drain(&mut workers[at]);
        for (peer, batch) in std::mem::take(&mut workers[at].effects().batches) {
            let mut done = 0;
            while done < batch.len() {
                let worker = &mut workers[usize::from(peer)];
                done += worker.peer_batch(0, &batch[done..]);
                common::drain(worker);
            }
            workers[at].recycle(batch);
        }
    }
}
