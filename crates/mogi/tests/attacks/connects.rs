//! Connections in numbers: refused, idle, reset, taken over.

use super::raw::{connect, pour, text};
use super::siege::{MIB, Siege};
use crate::support::{Broker, Client, Dial, Out, V5, V31, V311, VERSIONS, eventually};
use std::time::Duration;

#[test]
fn p21_refused_connects_leak_nothing() {
    Siege::new(6).run(|broker| {
        let bad = b"\x18\0\0\0\x01\x18\0\0\0\x01"; // will delay, twice
        let will = [&[bad.len() as u8][..], bad, &text("w"), &text([b'm'; 5000])].concat();
        let bytes = connect(V5, 0x06, &[], &[&text("p21"), &will]);
        for _ in 0..1500 {
            let mut client = broker.open(V5);
            client.send(&bytes);
            client.expect_connack(0x82);
            client.expect_closed();
        }
    });
}

#[test]
fn p22_whole_sessions_leak_nothing() {
    Siege::new(6).run(|broker| {
        for n in 0..1500 {
            let version = VERSIONS[n % 3];
            let mut client = broker.client(version, &format!("p22-{n}"));
            client.subscribe("p22/+", 1);
            client.publish(Out::new("p22/x", [b'x'; 1000]).qos(1));
            client.receive("p22/x", [b'x'; 1000]);
            client.disconnect();
        }
    });
}

#[test]
fn x02_a_session_picked_up_again_and_again_leaks_nothing() {
    // Long times, so that nothing is over before the test is: what is kept for later must not
    // add up.
    Siege::new(6).run(|broker| {
        let dial = Dial::persistent(V5, "x02")
            .keep_alive(60_000)
            .will("x02", [b'w'; 1000])
            .will_delay(3000);
        for _ in 0..4000 {
            let mut client = broker.dial(&dial);
            client.expect_connected();
        }
        let clean = Dial::new(V311, "x02-clean").keep_alive(60_000);
        for _ in 0..4000 {
            let mut client = broker.dial(&clean);
            client.expect_connected();
        }
    });
}

#[test]
fn p28_idle_connections_that_are_reset() {
    Siege::new(24).run(|broker| {
        let before = broker.open_files();
        let clients: Vec<_> = (0..600)
            .map(|n| match n % 3 {
                0 => broker.open(V311),
                1 => broker.client(V5, &format!("p28-{n}")),
                _ => broker.connect(&Dial::persistent(V311, &format!("p28-{n}"))),
            })
            .collect();
        assert!(broker.open_files() >= before + 400);
        clients.into_iter().for_each(Client::abort);
        eventually("all descriptors come back", || broker.open_files() <= before);
    });
}

#[test]
fn e01_takeover_storm() {
    Siege::new(24).run(|broker| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for n in 0..150 {
                        let dial = match (n + thread) % 3 {
                            0 => Dial::new(V5, "e01"),
                            1 => Dial::persistent(V311, "e01"),
                            _ => Dial::persistent(V5, "e01").will("e01/will", "m"),
                        };
                        // Another thread may take over before the CONNACK is read.
                        let mut client = broker.dial(&dial);
                        let _ = client.next();
                    }
                });
            }
        });
        let mut last = broker.client(V5, "e01");
        last.subscribe("e01", 1);
        last.publish(Out::new("e01", "works").qos(1));
        last.receive("e01", "works");
    });
}

#[test]
fn e02_the_old_connection_is_told() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for newer in VERSIONS {
                let mut old = broker.client(version, "e02");
                let mut new = broker.client(newer, "e02");
                old.expect_ended(0x8E);
                new.ping();
            }
        }
    });
}

#[test]
fn e14_resets_in_the_middle_of_a_publish() {
    Siege::new(16).run(|broker| {
        let bytes = Out::new("e14", [b'x'; 10_000]).qos(1).id(1).bytes(V311);
        for n in 0..1000 {
            let mut client = broker.client(V311, &format!("e14-{n}"));
            client.send(&bytes[..1 + n * 7 % (bytes.len() - 1)]);
            client.abort();
        }
    });
}

#[test]
fn e19_fields_as_long_as_they_can_be() {
    Siege::new(16).run(|broker| {
        let long = "i".repeat(65_535);
        for version in [V31, V311, V5] {
            let mut client = broker.client(version, &long);
            client.ping();
            client.disconnect();
            let dial = Dial::new(version, "e19").username(&long);
            broker.connect(&dial).ping();
            // All three together are more than a CONNECT may have.
            let dial = Dial::new(version, &long).username(&long).password(&long);
            let mut client = broker.dial(&dial);
            if client.next().is_none_or(|frame| frame.code() != 0) {
                client.expect_closed();
            }
        }
    });
}

#[test]
fn e20_connection_flood() {
    Siege::new(32).run(|broker| {
        let clients: Vec<Client> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    scope.spawn(move || {
                        (0..50)
                            .map(|n| broker.client(V5, &format!("e20-{thread}-{n}")))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let clients = threads.into_iter().map(|thread| thread.join());
            clients.flat_map(|clients| clients.expect("connected")).collect()
        });
        for mut client in clients {
            client.ping();
        }
    });
}

#[test]
fn x03_half_a_large_connect_from_many() {
    let siege = Siege::new(64).own("connect_timeout 2\n");
    siege.run(|broker| {
        let bytes = connect(V5, 2, &[], &[&text([b'i'; 65_000]), &[0; 30_000]]);
        let clients: Vec<_> = (0..300)
            .map(|_| {
                let client = broker.open(V5);
                let half = &bytes[..90_000];
                pour(&client, half, half.len(), Duration::from_secs(5));
                client
            })
            .collect();
        for mut client in clients {
            client.expect_closed();
        }
        given_back(broker, 64);
    });
}

/// Memory is no more than `mib` above a broker's that has done nothing yet.
fn given_back(broker: &Broker, mib: u64) {
    const FRESH: u64 = 16 * MIB;
    eventually("memory comes back", || broker.rss() <= FRESH + mib * MIB);
}
