//! How fast clients publish: who has published as much as it may is not read for a while. Nothing
//! is lost, and nobody else waits.

use crate::support::{Broker, Client, Dial, Out, V5, V311};
use std::time::{Duration, Instant};

fn broker(own: &str) -> Broker {
    Broker::setup().conf("user root\nsys_interval 1\n").own(own).start()
}

/// Sends so many messages at once, and how long it takes until the last one is acknowledged.
fn burst(client: &mut Client, count: usize, payload: usize) -> Duration {
    let begun = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(client.send_publish(Out::new("t", vec![b'x'; payload]).qos(1)));
    }
    for id in ids {
        assert_eq!(client.recv().packet_id(), Some(id));
    }
    begun.elapsed()
}

/// Time enough for a rate to be right within what clocks and machines do; it can only be longer.
fn slow(took: Duration, at_least_ms: u64) {
    assert!(took >= Duration::from_millis(at_least_ms), "it took {took:?}");
}

#[test]
fn a_client_publishes_no_faster_than_it_may_and_loses_nothing() {
    let broker = broker("max_publish_rate_per_client 10\n");
    let mut slowed = broker.client(V5, "slowed");
    let mut watcher = broker.client(V311, "watcher");
    watcher.subscribe("t", 0);
    watcher.subscribe("$SYS/broker/limits/publish/throttled", 0);
    // What a second gives may come at once; the other ten take a second.
    slow(burst(&mut slowed, 20, 10), 900);
    let mut messages = 0;
    let mut told = false;
    while messages < 20 || !told {
        match &*watcher.expect_publish().topic {
            "t" => messages += 1,
            _ => told = true,
        }
    }
    // It is read again as before, and anything else than PUBLISH is not held up.
    slowed.ping();
}

#[test]
fn nobody_else_waits() {
    let broker = broker("max_publish_rate_per_client 5\nworker_threads 1\n");
    let mut slowed = broker.client(V311, "slowed");
    for n in 0..50 {
        slowed.send_publish(Out::new("t", n.to_string()));
    }
    // The other one has all it needs while the first one waits for ten seconds.
    let begun = Instant::now();
    let mut other = broker.client(V311, "other");
    for _ in 0..5 {
        other.publish(Out::new("t", "x").qos(1));
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn bytes_count_as_well() {
    let broker = broker("max_publish_bytes_per_client 10000\n");
    let mut client = broker.client(V5, "client");
    // 10 KB at once, and 10 KB more.
    slow(burst(&mut client, 20, 1000), 900);
    // A message larger than what a second gives passes, and is paid for by the next one.
    slow(burst(&mut client, 2, 25_000), 1400);
}

#[test]
fn connections_of_a_user_and_of_a_listener_share() {
    for own in ["max_publish_rate_per_user 10\n", "max_publish_rate_per_listener 10\n"] {
        let broker = broker(own);
        let dial = |id| Dial::new(V311, id).username("ann");
        let mut both: Vec<Client> = ["a", "b"].map(|id| broker.connect(&dial(id))).into();
        let begun = Instant::now();
        for client in &mut both {
            for _ in 0..10 {
                client.send_publish(Out::new("t", "x").qos(1));
            }
        }
        for client in &mut both {
            for id in 1..=10 {
                assert_eq!(client.recv().packet_id(), Some(id));
            }
        }
        slow(begun.elapsed(), 900);
    }
}

/// Who is held up need not say that it is alive: nobody would hear it.
#[test]
fn who_is_held_up_is_not_taken_for_dead() {
    let broker = broker("max_publish_rate_per_client 1\n");
    let mut client = broker.connect(&Dial::new(V311, "client").keep_alive(1));
    for _ in 0..4 {
        client.send_publish(Out::new("t", "x").qos(1));
    }
    client.send(&[0xC0, 0]);
    for id in 1..=4 {
        assert_eq!(client.recv().packet_id(), Some(id));
    }
    assert_eq!(client.recv().bytes(), [0xD0, 0]);
}

#[test]
fn rates_change_while_clients_wait() {
    let broker = Broker::setup().conf("user root\nmax_publish_rate_per_client 1\n").start();
    let mut client = broker.client(V311, "client");
    let ids: Vec<u16> = (0..500).map(|_| client.send_publish(Out::new("t", "x").qos(1))).collect();
    crate::change(&broker, "max_publish_rate_per_client 1\n", "");
    for id in ids {
        assert_eq!(client.recv().packet_id(), Some(id));
    }
}
