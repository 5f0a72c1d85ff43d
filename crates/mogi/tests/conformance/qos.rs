//! Quality of service: what is sent again, under which id, in which order (4.3, 4.4, 4.6).

use super::scene::{each, start};
use crate::support::{Client, Id, Message, Out, PacketKind, Reason, V5, VERSIONS, other_broker};
use std::collections::BTreeMap;

/// 3.1.1: MQTT-3.3.1.-1, MQTT-4.3.2-1, MQTT-4.4.0-1. 5.0: MQTT-3.3.1-1, MQTT-4.3.2-1,
/// MQTT-4.3.2-2, MQTT-4.3.2-3, MQTT-4.4.0-1, MQTT-4.1.0-1.
#[test]
fn mqtt_4_3_2_1_qos_1_is_sent_again_with_dup_until_puback() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.connect(&s.persistent("receiver"));
        receiver.subscribe(&topic, 1);
        s.client("sender").publish(Out::new(&topic, "x").qos(1));
        let first = receiver.expect_message(&topic, "x");
        assert!(!first.dup && first.qos == 1 && first.packet_id != 0);
        for _ in 0..2 {
            drop(receiver);
            receiver = s.connect(&s.persistent("receiver"));
            let again = receiver.expect_message(&topic, "x");
            let expected = Message { dup: true, ..first.clone() };
            assert_eq!(again, expected);
        }
        receiver.puback(first.packet_id);
        receiver.expect_nothing();
        drop(receiver);
        let mut receiver = s.connect(&s.persistent("receiver"));
        receiver.expect_nothing();
    });
}

/// 3.1.1: MQTT-4.3.2-2. 5.0: MQTT-4.3.2-4, MQTT-4.3.2-5.
#[test]
fn mqtt_4_3_2_2_after_puback_the_same_id_is_a_new_message() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.client("receiver");
        receiver.subscribe(&topic, 1);
        let mut sender = s.client("sender");
        let texts = ["one", "two", "two", "three"];
        for (text, dup) in texts.iter().zip([false, false, true, true]) {
            let out = Out::new(&topic, text).qos(1).id(77);
            sender.send_publish(if dup { out.dup() } else { out });
            sender.expect_ack(PacketKind::Puback, 77, 0);
        }
        for text in texts {
            receiver.receive(&topic, text);
        }
        receiver.expect_nothing();
    });
}

/// 5.0: MQTT-4.4.0-1. 3.1.1: MQTT-4.3.2-1.
#[test]
fn mqtt_4_4_0_1_nothing_is_sent_again_while_the_connection_lasts() {
    let broker = start("");
    let mut receivers: Vec<Client> = VERSIONS
        .iter()
        .map(|&version| broker.client(version, &format!("receiver{version:?}")))
        .collect();
    for receiver in &mut receivers {
        receiver.subscribe("t", 2);
    }
    let mut sender = broker.client(V5, "sender");
    for qos in [1, 2] {
        sender.publish(Out::new("t", "x").qos(qos));
        for receiver in &mut receivers {
            let message = receiver.expect_message("t", "x");
            if qos == 2 {
                receiver.pubrec(message.packet_id);
                receiver.expect(PacketKind::Pubrel);
            }
        }
    }
    // Time is the subject: a broker that sends again after a while would do so now.
    std::thread::sleep(std::time::Duration::from_secs(3));
    for receiver in &mut receivers {
        receiver.expect_nothing();
    }
}

/// 3.1.1: MQTT-4.6.0-1, MQTT-4.4.0-1. 5.0: MQTT-4.4.0-1, MQTT-4.6.0-5.
#[test]
fn mqtt_4_6_0_1_resent_messages_keep_order_and_ids() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.connect(&s.persistent("receiver"));
        receiver.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        for at in 0..30 {
            let out = Out::new(&topic, at.to_string()).qos(1 + at % 2);
            sender.publish(out);
        }
        let first: Vec<Message> = (0..20).map(|_| receiver.expect_publish()).collect();
        receiver.expect_nothing_from(&mut sender);
        // One of them is finished, one half finished.
        receiver.puback(first[2].packet_id);
        receiver.pubrec(first[5].packet_id);
        // The message there is room for now, and PUBREL, in either order.
        let mut answers = [receiver.recv(), receiver.recv()];
        answers.sort_by_key(|frame| frame.kind() == PacketKind::Pubrel);
        assert_eq!(Message::of(&answers[0]).text(), "20");
        assert_eq!(answers[1].packet_id(), Some(first[5].packet_id));
        drop(receiver);
        let mut receiver = s.connect(&s.persistent("receiver"));
        for (at, message) in first.iter().enumerate().filter(|(at, _)| *at != 2) {
            let frame = receiver.recv();
            if at == 5 {
                assert_eq!(frame.kind(), PacketKind::Pubrel);
                assert_eq!(frame.packet_id(), Some(message.packet_id));
            } else {
                let expected = Message { dup: true, ..message.clone() };
                assert_eq!(Message::of(&frame), expected);
            }
        }
        let last = receiver.expect_message(&topic, "20");
        assert!(last.dup);
        // Then what had waited, as it is acknowledged.
        for at in [0, 4, 6, 8, 10, 12, 14, 16, 18] {
            receiver.puback(first[at].packet_id);
        }
        for at in 21..30 {
            let message = receiver.expect_message(&topic, at.to_string());
            assert!(!message.dup);
        }
    });
}

/// 3.1.1: MQTT-4.6.0-4. 5.0: MQTT-4.3.3-4.
#[test]
fn mqtt_4_6_0_4_pubrels_come_in_the_order_of_pubrecs() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.client("receiver");
        receiver.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        for _ in 0..10 {
            sender.publish(Out::new(&topic, "x").qos(2));
        }
        let mut ids: Vec<u16> = (0..10).map(|_| receiver.expect_publish().packet_id).collect();
        ids.rotate_left(3);
        for &id in &ids {
            receiver.pubrec(id);
        }
        for &id in &ids {
            receiver.expect_ack(PacketKind::Pubrel, id, 0);
        }
        for &id in &ids {
            receiver.pubcomp(id);
        }
        receiver.expect_nothing();
    });
}

/// 3.1.1: MQTT-4.6.0-5, MQTT-4.6.0-6, MQTT-4.5.0-1. 5.0: MQTT-4.6.0-5, MQTT-4.6.0-6,
/// MQTT-4.5.0-1.
#[test]
fn mqtt_4_6_0_6_messages_keep_their_order() {
    each(&VERSIONS, "max_inflight_messages 300", |s| {
        let topics = [s.topic("a"), s.topic("b")];
        let mut receivers: Vec<Client> =
            ["one", "two", "three"].map(|name| s.client(name)).into_iter().collect();
        for receiver in &mut receivers {
            receiver.subscribe(&s.topic("+"), 2);
        }
        let mut sender = s.client("sender");
        let mut bytes = Vec::new();
        for at in 0..200_u16 {
            let out = Out::new(&topics[usize::from(at) % 2], at.to_string());
            let out = out.qos((at / 2 % 3) as u8).id(at + 1);
            bytes.extend_from_slice(&out.bytes(s.version));
        }
        sender.send(&bytes);
        // Two answers to each QoS 2 message, one to each of QoS 1.
        let answers: u16 = (0..200).map(|at: u16| at / 2 % 3).sum();
        for _ in 0..answers {
            let frame = sender.recv();
            if frame.kind() == PacketKind::Pubrec {
                sender.pubrel(frame.packet_id().expect("an id"));
            }
        }
        for receiver in &mut receivers {
            let mut last = BTreeMap::new();
            for _ in 0..200 {
                let message = receiver.expect_publish();
                let at: i32 = message.text().parse().expect("a number");
                let before = last.insert((message.topic.clone(), message.qos), at);
                assert!(before < Some(at), "{at} after {before:?}");
            }
            receiver.expect_nothing();
        }
    });
}

/// The broker's own ids are never 0 and never in use twice, also after 65,535 of them.
///
/// 3.1.1: MQTT-2.3.1-1, MQTT-2.3.1-4. 5.0: MQTT-2.2.1-4, MQTT-4.3.2-1, MQTT-4.3.3-1.
#[test]
fn mqtt_2_3_1_4_packet_ids_are_not_in_use() {
    let broker = start("");
    let mut receiver = broker.client(V5, "receiver");
    receiver.subscribe("t", 2);
    let mut sender = broker.client(V5, "sender");
    sender.publish(Out::new("t", "held").qos(1));
    let held = receiver.expect_message("t", "held").packet_id;
    assert_ne!(held, 0);
    let total = 66_000_u32;
    let mut seen_all = 0;
    for start in (0..total).step_by(1000) {
        let mut bytes = Vec::new();
        for at in start..start + 1000 {
            let id = (at % 65_535 + 1) as u16;
            bytes.extend_from_slice(&Out::new("t", "x").qos(1).id(id).bytes(V5));
        }
        sender.send(&bytes);
        for _ in 0..1000 {
            let message = receiver.expect_publish();
            // Mosquitto does not look whether an id is in use.
            assert!(message.packet_id != held || other_broker());
            assert_ne!(message.packet_id, 0);
            receiver.puback(message.packet_id);
            sender.expect(PacketKind::Puback);
            seen_all += 1;
        }
    }
    assert_eq!(seen_all, total);
    receiver.expect_nothing();
}

/// A receiver that refuses a message has still acknowledged it.
///
/// 5.0: MQTT-4.4.0-2, MQTT-4.3.3-4, MQTT-4.8.2-6.
#[test]
fn mqtt_4_4_0_2_negative_acknowledgements_end_the_exchange() {
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.connect(&s.persistent("receiver"));
        receiver.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        for (qos, kind) in [(1, PacketKind::Puback), (2, PacketKind::Pubrec)] {
            sender.publish(Out::new(&topic, "no thanks").qos(qos));
            let message = receiver.expect_message(&topic, "no thanks");
            receiver.send_ack(kind, message.packet_id, Reason::QuotaExceeded);
            // No PUBREL, and not again.
            receiver.expect_nothing();
        }
        drop(receiver);
        let mut receiver = s.connect(&s.persistent("receiver"));
        receiver.expect_nothing();
    });
}

/// What was sent once does not expire any more, and its exchange is completed.
///
/// 5.0: MQTT-4.3.3-7, MQTT-4.3.3-13.
#[test]
fn mqtt_4_3_3_7_messages_in_flight_do_not_expire() {
    if other_broker() {
        return; // Mosquitto drops them.
    }
    let broker = start("");
    let dial = crate::support::Dial::persistent(V5, "receiver");
    let mut receiver = broker.connect(&dial);
    receiver.subscribe("t", 2);
    let mut sender = broker.client(V5, "sender");
    let expiring = |qos: u8| Out::new("t", "soon").qos(qos).int(Id::MessageExpiryInterval, 1);
    for qos in [2, 2, 1] {
        sender.publish(expiring(qos));
    }
    let ids: Vec<u16> = (0..3).map(|_| receiver.expect_publish().packet_id).collect();
    receiver.pubrec(ids[0]);
    receiver.expect(PacketKind::Pubrel);
    // The publisher's half: taken, not yet released.
    sender.send_publish(expiring(2).id(900));
    sender.expect(PacketKind::Pubrec);
    drop(receiver);
    std::thread::sleep(std::time::Duration::from_millis(2200));
    sender.pubrel(900);
    sender.expect_ack(PacketKind::Pubcomp, 900, 0);
    let mut receiver = broker.connect(&dial);
    receiver.expect_ack(PacketKind::Pubrel, ids[0], 0);
    receiver.pubcomp(ids[0]);
    for id in &ids[1..] {
        let message = receiver.expect_message("t", "soon");
        assert_eq!((message.packet_id, message.dup), (*id, true));
        receiver.complete(&message);
    }
}
