//! SUBSCRIBE and UNSUBSCRIBE: wrong, many, and at the same time.

use super::raw::{ends_with, packet, subscribe, text, unsubscribe};
use super::siege::{MIB, Siege};
use crate::support::{
    Broker, Client, Dial, Out, PacketKind, V5, V31, V311, VERSIONS, Version, eventually,
};
use mogi_codec::PropertyBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Sends bytes in a session, which has to end with `code`.
#[track_caller]
fn broken(broker: &Broker, version: Version, bytes: &[u8], code: u8, what: &str) {
    let mut client = broker.client(version, "broken");
    client.send(bytes);
    ends_with(&mut client, version, code, what);
}

/// A SUBSCRIBE that is answered with a refusal, and the session goes on.
#[track_caller]
fn not_granted(broker: &Broker, version: Version, filter: &str) {
    let mut client = broker.client(version, "refused");
    client.send(&subscribe(version, 7, &[], &[(filter.as_bytes(), 0)]));
    let ack = client.expect(PacketKind::Suback);
    let code = if version.is_v5() { 0x8F } else { 0x80 };
    assert_eq!((ack.packet_id(), ack.codes()), (Some(7), &[code][..]), "{filter:?}");
    client.ping();
}

#[test]
fn s01_no_filter_and_packet_id_0() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            broken(broker, version, &subscribe(version, 1, &[], &[]), 0x82, "no filter");
            broken(broker, version, &unsubscribe(version, 1, &[]), 0x82, "no filter");
            let zero = subscribe(version, 0, &[], &[(b"a", 0)]);
            broken(broker, version, &zero, 0x82, "packet id 0");
            broken(broker, version, &unsubscribe(version, 0, &[b"a"]), 0x82, "packet id 0");
            broken(broker, version, &[0x82, 0], 0x81, "nothing in it");
            broken(broker, version, &[0xA2, 1, 0], 0x81, "half an id");
            let cut = [&[0, 1][..], if version.is_v5() { &[0] } else { &[] }, &text("a")];
            broken(broker, version, &packet(0x82, &cut), 0x81, "no options");
        }
    });
}

#[test]
fn s02_subscription_options() {
    Siege::new(32).run(|broker| {
        for options in [0x03, 0x40, 0x80, 0xC0, 0xFF] {
            for version in VERSIONS {
                let bytes = subscribe(version, 1, &[], &[(b"a", options)]);
                broken(broker, version, &bytes, 0x81, "options");
            }
        }
        for options in [0x04, 0x08, 0x10] {
            for version in [V31, V311] {
                let bytes = subscribe(version, 1, &[], &[(b"a", options)]);
                broken(broker, version, &bytes, 0x81, "options of 5.0");
            }
        }
        let bytes = subscribe(V5, 1, &[], &[(b"a", 0x30)]);
        broken(broker, V5, &bytes, 0x82, "retain handling 3");
    });
}

#[test]
fn s03_filters_that_are_none() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for filter in ["", "a/#/b", "a#", "#a", "+a", "a+/b", "##", "a/##", "++", "#/", "a/+b"]
            {
                not_granted(broker, version, filter);
            }
            for filter in [&b"a\0b"[..], b"a\xFF", b"\xED\xA0\x80", b"\xC0\xAF"] {
                let bytes = subscribe(version, 1, &[], &[(filter, 0)]);
                broken(broker, version, &bytes, 0x81, "no text");
                broken(broker, version, &unsubscribe(version, 1, &[filter]), 0x81, "no text");
            }
        }
        // A bad one among good ones takes nothing from them.
        let mut client = broker.client(V5, "mixed");
        let filters: [(&[u8], u8); 3] = [(b"good", 1), (b"a/#/b", 1), (b"better", 2)];
        client.send(&subscribe(V5, 1, &[], &filters));
        assert_eq!(client.expect(PacketKind::Suback).codes(), [1, 0x8F, 2]);
        client.publish(Out::new("better", "x").qos(1));
        client.expect_message("better", "x");
    });
}

#[test]
fn s04_shared_subscriptions_that_are_none() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            for filter in [
                "$share",
                "$share/",
                "$share/g",
                "$share/g/",
                "$share//t",
                "$share/g+/t",
                "$share/#/t",
                "$share/+/t",
                "$share/g/a#",
                "$share/g/a/#/b",
            ] {
                not_granted(broker, version, filter);
            }
        }
        let bytes = subscribe(V5, 1, &[], &[(b"$share/g/t", 0x04)]);
        broken(broker, V5, &bytes, 0x82, "no-local on a shared subscription");
    });
}

#[test]
fn s05_subscription_identifiers() {
    Siege::new(32).run(|broker| {
        for (props, code, what) in [
            (&b"\x0B\0"[..], 0x82, "0"),
            (b"\x0B\x01\x0B\x02", 0x82, "two"),
            (b"\x0B\xFF\xFF\xFF\xFF\x01", 0x81, "over 28 bits"),
            (b"\x0B\xFF", 0x81, "cut short"),
        ] {
            let bytes = subscribe(V5, 1, props, &[(b"a", 0)]);
            broken(broker, V5, &bytes, code, what);
        }
    });
}

#[test]
fn s06_a_hundred_thousand_subscriptions() {
    Siege::new(160).alone().run(|broker| {
        // What is given back is used again, though the allocator keeps some of it from the system:
        // later rounds need no more than the first.
        let mut bound = broker.rss() + 64 * MIB;
        for version in VERSIONS {
            let mut client = broker.client(version, "s06");
            let filters: Vec<String> =
                (0..100_000).map(|n| format!("s06/{n}/+/temperature")).collect();
            for chunk in filters.chunks(10_000) {
                let chunk: Vec<_> = chunk.iter().map(|filter| (&**filter, 1)).collect();
                let ack = client.subscribe_with(&chunk, &PropertyBuf::new());
                assert!(ack.codes().iter().all(|&code| code == 1));
            }
            client.publish(Out::new("s06/99999/x/temperature", "x").qos(1));
            client.expect_message("s06/99999/x/temperature", "x");
            client.disconnect();
            eventually("memory comes back", || broker.rss() < bound);
            bound = bound.min(broker.rss() + 16 * MIB);
        }
    });
}

#[test]
fn s07_one_subscribe_with_thirty_thousand_filters() {
    Siege::new(64).alone().run(|broker| {
        let filters: Vec<String> = (0..30_000).map(|n| format!("s07/{n}")).collect();
        for version in VERSIONS {
            let mut client = broker.client(version, "s07");
            let list: Vec<_> = filters.iter().map(|filter| (filter.as_bytes(), 2)).collect();
            client.send(&subscribe(version, 1, &[], &list));
            let ack = client.expect(PacketKind::Suback);
            assert_eq!(ack.codes(), [2; 30_000]);
            client.publish(Out::new("s07/29999", "x").qos(1));
            client.expect_message("s07/29999", "x");
            let list: Vec<_> = filters.iter().map(|filter| filter.as_bytes()).collect();
            client.send(&unsubscribe(version, 2, &list));
            let ack = client.expect(PacketKind::Unsuback);
            assert_eq!(ack.codes(), vec![0; if version.is_v5() { 30_000 } else { 0 }]);
            client.expect_nothing();
        }
    });
}

#[test]
fn s08_the_same_filter_fifty_thousand_times() {
    Siege::new(16).alone().run(|broker| {
        let mut client = broker.client(V311, "s08");
        for n in 0..50 {
            client.send(&subscribe(V311, n + 1, &[], &[(b"s08/+", 1)]).repeat(1000));
            for _ in 0..1000 {
                client.expect(PacketKind::Suback);
            }
        }
        client.publish(Out::new("s08/x", "once").qos(1));
        client.receive("s08/x", "once");
        client.expect_nothing();
    });
}

#[test]
fn s13_subscribing_and_unsubscribing_while_others_publish() {
    Siege::new(32).alone().run(|broker| {
        let stop = AtomicBool::new(false);
        let mut constant = broker.client(V5, "constant");
        constant.subscribe("s13/#", 1);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let stop = &stop;
                scope.spawn(move || jitter(broker, thread, stop));
            }
            let mut writer = broker.client(V311, "writer");
            let end = Instant::now() + Duration::from_secs(5);
            let mut n = 0u32;
            while Instant::now() < end {
                let topic = format!("s13/{}", n % 8);
                writer.publish(Out::new(&topic, n.to_string()).qos(1));
                // A subscription nobody touches gets each message, in order.
                constant.receive(&topic, n.to_string());
                n += 1;
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

/// Subscribes and unsubscribes until told to stop; now and then on a new connection.
fn jitter(broker: &Broker, thread: usize, stop: &AtomicBool) {
    let mut round = thread;
    while !stop.load(Ordering::Relaxed) {
        let version = VERSIONS[round % 3];
        let mut client = broker.connect(&Dial::new(version, &format!("jitter-{thread}")));
        for n in 0..50 {
            let filter = ["s13/+", "s13/1", "+/2", "$share/g/s13/#"][(n + round) % 4];
            client.send(&subscribe(version, 1, &[], &[(filter.as_bytes(), 0)]));
            await_kind(&mut client, PacketKind::Suback);
            client.send(&unsubscribe(version, 2, &[filter.as_bytes()]));
            await_kind(&mut client, PacketKind::Unsuback);
        }
        round += 1;
    }
}

#[track_caller]
fn await_kind(client: &mut Client, kind: PacketKind) {
    while client.recv().kind() != kind {}
}

#[test]
fn x10_one_filter_shared_by_fifty_thousand_groups() {
    Siege::new(96).alone().run(|broker| {
        let begun = Instant::now();
        let mut client = broker.client(V5, "x10");
        let filters: Vec<String> = (0..50_000).map(|n| format!("$share/g{n}/x10")).collect();
        for chunk in filters.chunks(10_000) {
            let chunk: Vec<_> = chunk.iter().map(|filter| (&**filter, 0)).collect();
            client.subscribe_with(&chunk, &PropertyBuf::new());
        }
        // Each topic's receivers are remembered, but not without limit.
        let mut writer = broker.client(V311, "writer");
        let mut wild = broker.client(V5, "wild");
        let filters: Vec<String> = (0..20_000).map(|n| format!("$share/g{n}/x10/#")).collect();
        for chunk in filters.chunks(10_000) {
            let chunk: Vec<_> = chunk.iter().map(|filter| (&**filter, 1)).collect();
            wild.subscribe_with(&chunk, &PropertyBuf::new());
        }
        drop(wild); // Its session ends, and so do its places in the groups.
        for n in 0..200 {
            writer.publish(Out::new(&format!("x10/{n}"), "x").qos(1));
        }
        client.disconnect();
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    });
}
