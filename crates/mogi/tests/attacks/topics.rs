//! Topics and filters that are deep, wide or many, and what they may cost.

use super::raw::{ends_with, pour, publish, subscribe};
use super::siege::{MIB, Siege};
use crate::support::{Client, Out, PacketKind, V5, V311, VERSIONS, eventually};
use std::time::{Duration, Instant};

/// Any depth that fits into a packet.
const ANY_DEPTH: &str = "max_topic_levels 0\n";

/// Twenty times what the checklist's slowest row needs on a busy machine: what takes longer is
/// not slow, it explodes.
const TOO_LONG: Duration = Duration::from_secs(20);

#[test]
fn q12_topics_of_65535_slashes() {
    Siege::new(64).run(|broker| {
        let slashes = "/".repeat(65_535);
        for version in VERSIONS {
            for first in [0x30, 0x31, 0x32] {
                let mut client = broker.client(version, "q12");
                client.send(&publish(version, first, slashes.as_bytes(), 1, &[]));
                ends_with(&mut client, version, 0x90, "deep topic");
            }
            let mut client = broker.client(version, "q12");
            client.send(&subscribe(version, 1, &[], &[(slashes.as_bytes(), 0)]));
            let ack = client.expect(PacketKind::Suback);
            assert_eq!(ack.codes(), [if version.is_v5() { 0x8F } else { 0x80 }]);
        }
        // What Mosquitto takes is taken.
        let mut client = broker.client(V5, "q12");
        let deepest = "/".repeat(200);
        client.subscribe(&deepest, 1);
        client.publish(Out::new(&deepest, "deep").qos(1));
        client.receive(&deepest, "deep");
    });
}

#[test]
fn q12_where_any_depth_is_allowed() {
    Siege::new(64).own(ANY_DEPTH).run(|broker| {
        let slashes = "/".repeat(65_535);
        for version in VERSIONS {
            let mut client = broker.client(version, "q12");
            client.subscribe(&slashes, 1);
            client.subscribe(&"+/".repeat(32_767), 0);
            for retain in [false, true] {
                let out = Out::new(&slashes, "deep").qos(1);
                client.publish(if retain { out.retain() } else { out });
                client.receive(&slashes, "deep");
            }
            let mut late = broker.client(version, "late");
            late.subscribe(&slashes, 0);
            assert!(late.expect_message(&slashes, "deep").retain);
            late.subscribe("/+/#", 0);
            late.expect_message(&slashes, "deep");
            client.publish(Out::new(&slashes, "").qos(1).retain());
        }
    });
}

#[test]
fn q13_a_filter_of_32767_wildcards() {
    Siege::new(64).own(ANY_DEPTH).run(|broker| {
        let filter = format!("{}#", "+/".repeat(32_767));
        let mut reader = broker.client(V5, "reader");
        reader.subscribe(&filter, 0);
        let mut client = broker.client(V311, "q13");
        let topic = vec!["a"; 32_768].join("/");
        for _ in 0..30 {
            client.publish(Out::new(&topic, "x").qos(1));
            assert_eq!(reader.expect_publish().topic.len(), topic.len());
        }
        // Neither does a retained message make the filter dear.
        client.publish(Out::new(&topic, "x").qos(1).retain());
        reader.expect_publish();
        for _ in 0..10 {
            reader.subscribe(&filter, 0);
            reader.expect_publish();
        }
    });
}

#[test]
fn s09_overlapping_wildcards() {
    Siege::new(64).alone().run(|broker| {
        let mut reader = broker.client(V311, "reader");
        let filters: Vec<String> = (0..4096u32)
            .map(|bits| {
                let level = |at: u32| if bits >> at & 1 == 0 { "a" } else { "+" };
                (0..12).map(level).collect::<Vec<_>>().join("/")
            })
            .collect();
        subscribe_all(&mut reader, &filters, 0);
        let mut client = broker.client(V5, "s09");
        let topic = ["a"; 12].join("/");
        let mut got = 0;
        for n in 0..30 {
            client.publish(Out::new(&topic, [n]).qos(1));
            // Each subscription gets its own copy, unless the queue of a slow reader is full.
            for _ in 0..4096 {
                assert_eq!(reader.expect_publish().payload, [n]);
                got += 1;
            }
        }
        assert_eq!(got, 30 * 4096);
    });
}

#[test]
fn s10_many_filters_that_nearly_match() {
    Siege::new(64).alone().run(|broker| {
        let mut reader = broker.client(V311, "reader");
        let filters: Vec<String> =
            (0..2000).map(|n| format!("{}z{n}", "a/+/".repeat(30))).collect();
        subscribe_all(&mut reader, &filters, 0);
        let begun = Instant::now();
        let mut client = broker.client(V5, "s10");
        for n in 0..200 {
            let topic = format!("{}{n}", "a/a/".repeat(30));
            client.publish(Out::new(&topic, "x").qos(1));
        }
        assert!(begun.elapsed() < TOO_LONG, "{:?}", begun.elapsed());
        reader.expect_nothing_from(&mut client);
    });
}

#[test]
fn s11_both_branches_at_every_level() {
    Siege::new(64).alone().run(|broker| {
        let mut reader = broker.client(V311, "reader");
        let mut filters = Vec::new();
        for depth in 1..=25 {
            filters.push(format!("{}x", "+/".repeat(depth)));
            filters.push(format!("{}x", "a/".repeat(depth)));
            for at in 0..depth {
                let plus_then_a = format!("{}{}x", "+/".repeat(at), "a/".repeat(depth - at));
                let a_then_plus = format!("{}{}x", "a/".repeat(at), "+/".repeat(depth - at));
                filters.extend([plus_then_a, a_then_plus]);
            }
        }
        filters.extend((0..4096u32).map(|bits| {
            let level = |at: u32| if bits >> at & 1 == 0 { "a" } else { "+" };
            format!("{}/x", (0..12).map(level).collect::<Vec<_>>().join("/"))
        }));
        subscribe_all(&mut reader, &filters, 0);
        let begun = Instant::now();
        let mut client = broker.client(V5, "s11");
        for n in 0..200 {
            client.publish(Out::new(&format!("{}y{n}", "a/".repeat(25)), "x").qos(1));
        }
        assert!(begun.elapsed() < TOO_LONG, "{:?}", begun.elapsed());
        reader.expect_nothing_from(&mut client);
    });
}

#[test]
fn s12_wildcards_do_not_reach_topics_with_a_dollar() {
    Siege::new(32).conf("sys_interval 1\n").run(|broker| {
        for version in VERSIONS {
            let mut reader = broker.client(version, "reader");
            for filter in ["+", "+/x", "+/#", "+/broker/+", "+/broker/#"] {
                reader.subscribe(filter, 0);
            }
            let mut all = broker.client(version, "all");
            all.subscribe("#", 0);
            let mut sys = broker.client(version, "sys");
            sys.subscribe("$SYS/#", 0);
            sys.expect_publish(); // There is something it could get.
            let mut client = broker.client(version, "s12");
            client.publish(Out::new("$x/x", "x").qos(1));
            client.publish(Out::new("end/x", "x").qos(1));
            for subscriber in [&mut reader, &mut all] {
                loop {
                    let message = subscriber.expect_publish();
                    assert!(!message.topic.starts_with('$'), "{}", message.topic);
                    if message.topic == "end/x" {
                        break;
                    }
                }
            }
        }
    });
}

#[test]
fn q23_twenty_thousand_retained_topics() {
    Siege::new(32).alone().run(|broker| {
        let before = broker.rss();
        let mut client = broker.client(V311, "q23");
        let each = |payload: &[u8]| {
            let packets = (0..20_000).map(|n| {
                let out = Out::new(&format!("q23/{}/{n}", n % 100), payload).retain();
                out.bytes(V311)
            });
            packets.collect::<Vec<_>>().concat()
        };
        client.send(&each(&[b'r'; 100]));
        client.ping();
        let mut reader = broker.client(V5, "reader");
        reader.subscribe("q23/#", 1);
        for _ in 0..20_000 {
            assert!(reader.expect_publish().retain);
        }
        drop(reader);
        client.send(&each(&[]));
        client.ping();
        let mut reader = broker.client(V5, "reader");
        reader.subscribe("q23/#", 1);
        reader.expect_nothing();
        drop(reader);
        eventually("memory comes back", || broker.rss() < before + 16 * MIB);
    });
}

#[test]
fn x07_new_topics_without_end() {
    // What is remembered of topics is bounded, however many and long they are.
    Siege::new(48).alone().run(|broker| {
        let mut reader = broker.client(V311, "reader");
        reader.subscribe("never", 0);
        let mut client = broker.client(V311, "x07");
        for round in 0..20 {
            let packets = (0..20_000).map(|n| {
                let topic = format!("{round}/{n}/{}", "t".repeat(200));
                publish(V311, 0x30, topic.as_bytes(), 0, &[])
            });
            client.send(&packets.collect::<Vec<_>>().concat());
            client.ping();
        }
        reader.expect_nothing();
    });
}

#[test]
fn x08_retained_messages_asked_for_without_end() {
    // One SUBSCRIBE of 100,000 filters, and 16,000 of one each, to 5,000 retained messages: what
    // waits for a client that does not read is no more than it could be sent.
    Siege::new(64).alone().run(|broker| {
        let mut client = broker.client(V311, "x08");
        let packets = (0..5000).map(|n| {
            let out = Out::new(&format!("x08/{n}"), [b'r'; 50]).retain();
            out.bytes(V311)
        });
        client.send(&packets.collect::<Vec<_>>().concat());
        client.ping();
        let asker = broker.client(V311, "asker");
        let filters = vec![(&b"x08/#"[..], 1u8); 100_000];
        let one = subscribe(V311, 1, &[], &filters);
        pour(&asker, &one, one.len(), Duration::from_secs(5));
        let each = subscribe(V311, 2, &[], &[(b"x08/#", 1)]).repeat(16_000);
        pour(&asker, &each, each.len(), Duration::from_secs(5));
        let asker = broker.client(V5, "asker-2");
        let filters = vec![(&b"x08/#"[..], 0u8); 100_000];
        let one = subscribe(V5, 1, &[], &filters);
        pour(&asker, &one, one.len(), Duration::from_secs(5));
        std::thread::sleep(Duration::from_secs(1));
        broker.client(V5, "other").ping();
    });
}

#[test]
fn x09_retained_searches_without_end() {
    // Searches that find nothing cost time only: it is not taken from others.
    Siege::new(64).alone().run(|broker| {
        let mut client = broker.client(V311, "x09");
        let packets = (0..20_000).map(|n| {
            let out = Out::new(&format!("x09/{}/{n}", n % 200), "r").retain();
            out.bytes(V311)
        });
        client.send(&packets.collect::<Vec<_>>().concat());
        client.ping();
        let mut asker = broker.client(V311, "asker");
        let filters: Vec<String> = (0..10_000).map(|n| format!("+/+/+/z{n}")).collect();
        client.publish(Out::new("x09/a/b/z9999", "found").retain());
        client.publish(Out::new("x09/a/b/z1", "found").retain());
        let begun = Instant::now();
        subscribe_all(&mut asker, &filters, 0);
        asker.expect_message("x09/a/b/z1", "found");
        asker.expect_message("x09/a/b/z9999", "found");
        assert!(begun.elapsed() < TOO_LONG, "{:?}", begun.elapsed());
    });
}

/// Subscribes to all filters, a thousand at a time.
#[track_caller]
fn subscribe_all(client: &mut Client, filters: &[String], qos: u8) {
    for chunk in filters.chunks(1000) {
        let chunk: Vec<(&str, u8)> = chunk.iter().map(|filter| (&**filter, qos)).collect();
        let ack = client.subscribe_with(&chunk, &mogi_codec::PropertyBuf::new());
        assert!(ack.codes().iter().all(|&code| code == qos));
    }
}
