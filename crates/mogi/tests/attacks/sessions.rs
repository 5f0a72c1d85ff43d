//! Sessions that are filled and left behind, and exchanges that are never completed.

use super::siege::{MIB, Siege};
use crate::support::{Dial, Out, PacketKind, V5, V311, VERSIONS, eventually};

#[test]
fn q14_one_packet_id_twenty_thousand_times() {
    Siege::new(24).alone().run(|broker| {
        for version in [V311, V5] {
            let mut reader = broker.client(version, "reader");
            reader.subscribe("q14", 0);
            let mut client = broker.client(version, "q14");
            let out = Out::new("q14", [b'x'; 1024]).qos(2).id(7);
            let first = out.bytes(version);
            let again = out.dup().bytes(version);
            client.send(&first);
            for _ in 0..100 {
                client.send(&again.repeat(200));
                for _ in 0..200 {
                    assert_eq!(client.expect(PacketKind::Pubrec).packet_id(), Some(7));
                }
            }
            assert_eq!(client.expect(PacketKind::Pubrec).packet_id(), Some(7));
            assert_eq!(reader.expect_publish().payload.len(), 1024);
            reader.expect_nothing();
        }
    });
}

#[test]
fn q15_beyond_the_receive_maximum() {
    Siege::new(16).run(|broker| {
        let mut client = broker.client(V5, "q15");
        let packets = (1..=3000u16).map(|id| {
            let out = Out::new("q15", [b'x'; 1024]).qos(2).id(id);
            out.bytes(V5)
        });
        client.send(&packets.collect::<Vec<_>>().concat());
        let mut taken = 0;
        let code = loop {
            let frame = client.recv();
            match frame.kind() {
                PacketKind::Pubrec => taken += 1,
                _ => break frame.code(),
            }
        };
        assert_eq!(code, 0x93);
        // Tolerated up to a multiple of the 20 that were announced; nothing dropped until then.
        assert_eq!(taken, 200);
        client.expect_closed();
    });
}

#[test]
fn q16_every_packet_id_without_pubrel() {
    Siege::new(64).alone().run(|broker| {
        let mut reader = broker.client(V311, "reader");
        reader.subscribe("q16", 0);
        let mut client = broker.client(V311, "q16");
        for chunk in (1..=u16::MAX).collect::<Vec<_>>().chunks(5000) {
            let packets = chunk.iter().map(|&id| Out::new("q16", b"x").qos(2).id(id).bytes(V311));
            client.send(&packets.collect::<Vec<_>>().concat());
            for &id in chunk {
                client.expect_ack(PacketKind::Pubrec, id, 0);
                reader.expect_publish();
            }
        }
        for chunk in (1..=u16::MAX).collect::<Vec<_>>().chunks(5000) {
            for &id in chunk {
                client.pubrel(id);
            }
            for &id in chunk {
                client.expect_ack(PacketKind::Pubcomp, id, 0);
            }
        }
        reader.expect_nothing();
    });
}

#[test]
fn e03_a_queue_for_somebody_who_is_away() {
    Siege::new(40).alone().run(|broker| {
        for version in [V311, V5] {
            let dial = Dial::persistent(version, "e03");
            let mut absent = broker.connect(&dial);
            absent.subscribe("e03", 1);
            absent.abort();
            // Clients on all workers: a message they all have got has passed every worker, and so
            // have those its publisher sent before, for which room was or was not then.
            let mut witnesses: Vec<_> =
                (0..16).map(|n| broker.client(version, &format!("witness-{n}"))).collect();
            witnesses.iter_mut().for_each(|witness| witness.subscribe("last", 0));
            let mut client = broker.client(version, "writer");
            for n in 0..6000u32 {
                let mut payload = vec![b'x'; 10 * 1024];
                payload[..4].copy_from_slice(&n.to_be_bytes());
                client.publish(Out::new("e03", payload).qos(1));
            }
            client.publish(Out::new("last", "x"));
            for witness in &mut witnesses {
                witness.expect_publish();
            }
            let mut back = broker.dial(&dial);
            assert!(back.expect_connected().session_present());
            // The oldest 1,000 are there: the newest were dropped, as Mosquitto drops them.
            for n in 0..1000u32 {
                let message = back.expect_publish();
                assert_eq!(message.payload[..4], n.to_be_bytes());
                back.complete(&message);
            }
            back.expect_nothing();
            broker.connect(&dial.clean()).disconnect();
        }
    });
}

#[test]
fn e04_three_thousand_sessions_left_behind() {
    Siege::new(32).alone().run(|broker| {
        let before = broker.rss();
        let dial = |n: usize| Dial::persistent(V311, &format!("e04-{n}"));
        for n in 0..3000 {
            let mut client = broker.connect(&dial(n));
            client.subscribe(&format!("e04/{n}"), 1);
        }
        let mut writer = broker.client(V5, "writer");
        writer.publish(Out::new("e04/2999", "kept").qos(1));
        let mut last = broker.dial(&dial(2999));
        assert!(last.expect_connected().session_present());
        last.receive("e04/2999", "kept");
        drop(last);
        for n in 0..3000 {
            let mut client = broker.dial(&dial(n).clean());
            assert!(!client.expect_connected().session_present());
            client.disconnect();
        }
        assert_eq!(writer.publish_code(Out::new("e04/1", "x").qos(1)), 0x10);
        eventually("memory comes back", || broker.rss() < before + 16 * MIB);
    });
}

#[test]
fn e18_a_receiver_that_never_completes() {
    Siege::new(12).run(|broker| {
        for version in VERSIONS {
            let dial = Dial::persistent(version, "e18");
            let mut client = broker.connect(&dial);
            client.subscribe("e18", 2);
            let mut writer = broker.client(version, "writer");
            writer.publish(Out::new("e18", "once").qos(2));
            let id = client.expect_message("e18", "once").packet_id;
            client.pubrec(id);
            client.expect_ack(PacketKind::Pubrel, id, 0);
            for _ in 0..30 {
                client.abort();
                client = broker.dial(&dial);
                client.expect_connected();
                // The message is the receiver's by now: PUBREL again, never PUBLISH.
                client.expect_ack(PacketKind::Pubrel, id, 0);
                client.pubrec(id);
                client.expect_ack(PacketKind::Pubrel, id, 0);
                client.expect_nothing();
            }
            client.pubcomp(id);
            client.disconnect();
            let mut client = broker.connect(&dial);
            client.expect_nothing();
            drop(client);
            broker.connect(&dial.clone().clean()).disconnect();
        }
    });
}

#[test]
fn e24_four_hundred_qos_2_messages_at_once() {
    Siege::new(16).run(|broker| {
        let mut reader = broker.client(V311, "reader");
        reader.subscribe("e24", 2);
        let mut client = broker.client(V311, "e24");
        let packets = (1..=400u16).map(|id| {
            let out = Out::new("e24", id.to_be_bytes()).qos(2).id(id);
            out.bytes(V311)
        });
        client.send(&packets.collect::<Vec<_>>().concat());
        for id in 1..=400 {
            client.expect_ack(PacketKind::Pubrec, id, 0);
        }
        for id in 1..=400 {
            client.pubrel(id);
            client.expect_ack(PacketKind::Pubcomp, id, 0);
        }
        // What was completed is delivered, all of it and in order.
        for id in 1..=400u16 {
            let message = reader.expect_publish();
            assert_eq!(message.payload, id.to_be_bytes());
            reader.complete(&message);
        }
        reader.expect_nothing();
    });
}

#[test]
fn x11_acknowledgements_from_the_middle() {
    // 45,000 messages in flight, acknowledged in the dearest order, and ids nobody knows among
    // them: each costs the same.
    Siege::new(96).alone().run(|broker| {
        let receive_maximum = crate::support::Id::ReceiveMaximum;
        let dial = Dial::new(V5, "x11").int(receive_maximum, 65_535);
        let mut client = broker.connect(&dial);
        client.subscribe("x11", 1);
        let mut writer = broker.client(V311, "writer");
        let mut id = 0u16;
        for _ in 0..45 {
            let packets = (0..1000).map(|_| {
                id += 1;
                Out::new("x11", "x").qos(1).id(id).bytes(V311)
            });
            writer.send(&packets.collect::<Vec<_>>().concat());
            for _ in 0..1000 {
                writer.expect(PacketKind::Puback);
                client.expect(PacketKind::Publish);
            }
        }
        let puback = |id: u16| {
            let [high, low] = id.to_be_bytes();
            [0x40, 2, high, low]
        };
        let unknown: Vec<u8> = (45_001..=50_000).flat_map(puback).collect();
        let from_the_middle: Vec<u8> =
            (1..=22_500u16).flat_map(|n| [22_501 - n, 22_500 + n]).flat_map(puback).collect();
        for _ in 0..100 {
            client.send(&unknown);
        }
        client.send(&from_the_middle);
        client.expect_nothing();
        // All of them are free again.
        writer.publish(Out::new("x11", "last").qos(1));
        client.receive("x11", "last");
    });
}
