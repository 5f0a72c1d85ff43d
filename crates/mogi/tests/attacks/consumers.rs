//! Clients that do not read, or read little.

use super::raw::{pour, subscribe};
use super::siege::Siege;
use crate::support::{
    Broker, Client, Dial, Id, Message, Out, PacketKind, V5, V311, VERSIONS, Version,
};
use std::time::{Duration, Instant};

/// How long a flood that is not taken goes on trying.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long a publisher may be busy with somebody else's slowness: the floods here take a second.
const NOT_FOR_LONG: Duration = Duration::from_secs(20);

fn slow(broker: &Broker, dial: &Dial, qos: u8) -> Client {
    let mut client = broker.connect(dial);
    client.subscribe("slow", qos);
    client
}

/// Publishes `mib` MiB in messages of 10 KiB; returns when the broker has taken them all.
fn publish_mib(broker: &Broker, version: Version, qos: u8, mib: usize) {
    let begun = Instant::now();
    let mut writer = broker.client(version, "writer");
    let out = Out::new("slow", [b'x'; 10 * 1024 - 20]).qos(qos);
    for _ in 0..mib {
        let packets = (0..100).map(|_| match qos {
            0 => out.clone().bytes(version),
            _ => out.clone().id(writer.next_id()).bytes(version),
        });
        let packets: Vec<u8> = packets.collect::<Vec<_>>().concat();
        writer.send(&packets);
        if qos > 0 {
            for _ in 0..100 {
                writer.expect(PacketKind::Puback);
            }
        }
    }
    writer.ping();
    assert!(begun.elapsed() < NOT_FOR_LONG, "{:?}", begun.elapsed());
}

#[test]
fn e05_qos_0_to_a_client_that_never_reads() {
    Siege::new(64).alone().run(|broker| {
        let mut client = slow(broker, &Dial::new(V311, "e05"), 0);
        publish_mib(broker, V5, 0, 80);
        // It is still a client: what it gets is whole, and from the beginning.
        let mut count = 0;
        client.send(&[0xC0, 0]);
        loop {
            let frame = client.recv();
            if frame.kind() == PacketKind::Pingresp {
                break;
            }
            assert_eq!(frame.kind(), PacketKind::Publish);
            assert_eq!(Message::of(&frame).payload.len(), 10 * 1024 - 20);
            count += 1;
        }
        assert!((100..8000).contains(&count), "{count} messages");
    });
}

#[test]
fn e06_qos_1_to_a_client_that_never_reads() {
    Siege::new(40).alone().run(|broker| {
        let _client = slow(broker, &Dial::new(V311, "e06"), 1);
        publish_mib(broker, V311, 1, 40);
    });
}

#[test]
fn e06_qos_1_to_a_client_that_takes_65535_at_once() {
    Siege::new(64).alone().run(|broker| {
        let dial = Dial::new(V5, "e06").int(Id::ReceiveMaximum, 65_535);
        let _client = slow(broker, &dial, 1);
        publish_mib(broker, V5, 1, 120);
    });
}

#[test]
fn x12_a_client_that_never_reads_is_disconnected() {
    let siege = Siege::new(64).own("send_timeout 1\n").alone();
    siege.run(|broker| {
        let before = broker.open_files();
        let dial = Dial::new(V311, "x12").will("heir", "stuck");
        let _client = slow(broker, &dial, 0);
        let mut heir = broker.client(V5, "heir");
        heir.subscribe("heir", 0);
        publish_mib(broker, V311, 0, 30);
        heir.expect_message("heir", "stuck");
        drop(heir);
        crate::support::eventually("the connection's end", || broker.open_files() <= before);
        broker.expect_log("x12");
    });
}

#[test]
fn e07_pingreq_flood() {
    Siege::new(48).alone().run(|broker| {
        for version in [V311, V5] {
            let client = broker.client(version, "e07");
            let chunk = [0xC0, 0].repeat(32 * 1024);
            let taken = pour(&client, &chunk, 24_000_000, PATIENCE);
            // Not all of it can be on its way: whoever does not read is not read.
            assert!(taken < 24_000_000, "{taken} bytes were taken");
        }
    });
}

#[test]
fn e08_puback_flood() {
    Siege::new(48).alone().run(|broker| {
        for version in [V311, V5] {
            let client = broker.client(version, "e08");
            let packet = Out::new("e08", "x").qos(1).id(1).bytes(version);
            let chunk = packet.repeat(8 * 1024);
            let total = packet.len() * 3_000_000;
            let taken = pour(&client, &chunk, total, PATIENCE);
            assert!(taken < total, "all of it was taken");
        }
    });
}

#[test]
fn e09_retained_messages_amplified() {
    Siege::new(64).alone().run(|broker| {
        let mut writer = broker.client(V311, "writer");
        writer.publish(Out::new("e09", vec![b'r'; 1 << 20]).qos(1).retain());
        for (n, version) in VERSIONS.into_iter().enumerate() {
            let mut client = broker.client(version, &format!("e09-{n}"));
            let ask = subscribe(version, 1, &[], &[(b"e09", 0)]);
            pour(&client, &ask.repeat(60), ask.len() * 60, PATIENCE);
            // Each SUBSCRIBE is answered when the client reads at last, and the message comes
            // after the last of them that found it not on its way.
            client.send(&[0xC0, 0]);
            let (mut acks, mut messages) = (0, 0);
            loop {
                let frame = client.recv();
                match frame.kind() {
                    PacketKind::Suback => acks += 1,
                    PacketKind::Pingresp => break,
                    _ => messages += usize::from(frame.bytes().len() > 1 << 20),
                }
            }
            assert_eq!(acks, 60);
            assert!((1..=60).contains(&messages), "{messages}");
        }
    });
}

#[test]
fn e10_receive_maximum_1() {
    Siege::new(32).run(|broker| {
        for qos in [1, 2] {
            let dial = Dial::new(V5, "e10").int(Id::ReceiveMaximum, 1);
            let mut client = slow(broker, &dial, qos);
            let mut writer = broker.client(V5, "writer");
            for n in 0..50u8 {
                writer.publish(Out::new("slow", [n]).qos(qos));
            }
            for n in 0..50u8 {
                let message = client.expect_publish();
                assert_eq!(message.payload, [n]);
                client.expect_nothing();
                client.complete(&message);
            }
        }
    });
}

#[test]
fn e11_maximum_packet_size_60() {
    Siege::new(32).run(|broker| {
        for qos in 0..3 {
            let dial = Dial::new(V5, "e11").int(Id::MaximumPacketSize, 60);
            let mut client = slow(broker, &dial, qos);
            let mut writer = broker.client(V5, "writer");
            for len in 0..100 {
                writer.publish(Out::new("slow", vec![b'x'; len]).qos(qos));
                writer.publish(Out::new("slow", vec![b'y'; len]).qos(qos).retain());
            }
            let fixed = 2 + 2 + 4 + 1 + if qos == 0 { 0 } else { 2 };
            for len in 0..=60 - fixed {
                for letter in [b'x', b'y'] {
                    let frame = client.recv();
                    assert!(frame.bytes().len() <= 60, "{} bytes", frame.bytes().len());
                    let message = Message::of(&frame);
                    assert_eq!(message.payload, vec![letter; len]);
                    client.complete(&message);
                }
            }
            client.expect_nothing();
            // What is retained is too large as well; asking for it does no harm.
            client.subscribe("slow", qos);
            client.expect_nothing();
            // Neither is an answer that does not fit: no reason string where there is no room.
            let id = client.next_id();
            let filters: Vec<(&[u8], u8)> = vec![(b"a/#/b", 0); 50];
            client.send(&subscribe(V5, id, &[], &filters));
            assert!(client.expect(PacketKind::Suback).bytes().len() <= 60);
        }
    });
}

#[test]
fn x13_a_flood_for_ten_thousand_groups() {
    // One client's 26,000 tiny packets in one read, each for 10,000 shared groups of another that
    // reads nothing: seconds of work, most of it dropping. The others have their turn in between.
    Siege::new(64).alone().run(|broker| {
        let mut slow = broker.client(V311, "slow");
        let filters: Vec<String> = (0..10_000).map(|n| format!("$share/g{n}/a")).collect();
        let filters: Vec<_> = filters.iter().map(|filter| (&**filter, 0)).collect();
        slow.subscribe_with(&filters, &mogi_codec::PropertyBuf::new());
        let mut writer = broker.client(V311, "writer");
        writer.send(&b"\x30\x03\0\x01a".repeat(26_000));
        std::thread::sleep(Duration::from_secs(3));
        writer.abort();
        slow.abort();
    });
}
