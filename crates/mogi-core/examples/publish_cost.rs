//! What the core alone costs per delivery: no sockets, no kernel, one worker.
//!
//! `cargo run --release -p mogi-core --example publish_cost`

mod common;

use common::{connect, drain};
use mogi_codec::{Properties, Publish, QoS, Subscribe, SubscribeFilter, Version};
use mogi_core::{CoreConfig, Next, Node, Worker};
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: usize = 2000;
const BATCH: usize = 500;

fn main() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for subscribers in [1, 100, 500] {
            run(qos, subscribers, 64);
        }
    }
    run(QoS::AtMostOnce, 1, 1024);
}

fn run(qos: QoS, subscribers: usize, size: usize) {
    let cfg = CoreConfig { max_inflight_messages: 0, ..CoreConfig::default() };
    let mut worker = Worker::new(0, Arc::new(Node::new(1, 7)), Arc::new(cfg));
    let publisher = connect(&mut worker, 0);
    let mut keys = Vec::new();
    for n in 0..subscribers {
        let key = connect(&mut worker, n as u32 + 1);
        let mut bytes = Vec::new();
        let options = mogi_codec::SubscribeOptions { qos, ..Default::default() };
        let filter = SubscribeFilter { filter: "bench/topic/0001", options };
        Subscribe::encode(Version::V311, 1, Properties::default(), &[filter], &mut bytes);
        worker.received(0, key, n as u32 + 1, &bytes);
        keys.push(key);
    }
    drain(&mut worker);
    let payload = vec![b'x'; size];
    let batch = (BATCH / subscribers).max(1);
    let mut input = Vec::new();
    for id in 1..=batch as u16 {
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { id };
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic: "bench/topic/0001",
            packet_id,
            properties: Properties::default(),
            payload: &payload,
        };
        publish.encode(Version::V311, &mut input);
    }
    let rounds = ROUNDS * BATCH / batch / subscribers;
    let mut next_id = vec![0u16; subscribers];
    let started = Instant::now();
    for _ in 0..rounds {
        feed(&mut worker, publisher, 0, &input);
        if qos == QoS::AtMostOnce {
            continue;
        }
        let releases: Vec<u8> = (1..=batch as u16).flat_map(|id| ack(0x62, id)).collect();
        if qos == QoS::ExactlyOnce {
            feed(&mut worker, publisher, 0, &releases);
        }
        for (n, &key) in keys.iter().enumerate() {
            let mut acks = Vec::new();
            let mut completes = Vec::new();
            for _ in 0..batch {
                next_id[n] = next_id[n].checked_add(1).unwrap_or(1);
                let first = if qos == QoS::AtLeastOnce { 0x40 } else { 0x50 };
                acks.extend(ack(first, next_id[n]));
                completes.extend(ack(0x70, next_id[n]));
            }
            feed(&mut worker, key, n as u32 + 1, &acks);
            if qos == QoS::ExactlyOnce {
                feed(&mut worker, key, n as u32 + 1, &completes);
            }
        }
    }
    let elapsed = started.elapsed();
    let deliveries = rounds * batch * subscribers;
    assert_eq!(worker.stats().publish_sent, deliveries as u64);
    println!(
        "QoS {} · {subscribers:3} subscribers · {size:4} B: {:6.1} ns per delivery",
        qos as u8,
        elapsed.as_nanos() as f64 / deliveries as f64
    );
}

fn ack(first: u8, id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [first, 2, high, low]
}

fn feed(worker: &mut Worker, key: u32, token: u32, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let received = worker.received(0, key, token, rest);
        rest = &rest[received.consumed..];
        if received.next == Next::Flush {
            drain(worker);
        }
    }
    drain(worker);
}
