//! QoS 2, step by step, with the connection lost at each (4.3.3).

use super::scene::{Scene, each};
use crate::support::{Client, Frame, Out, PacketKind, V5, VERSIONS, other_broker};

/// Receiver's side: the broker sends PUBLISH until PUBREC, then PUBREL until PUBCOMP, always under
/// one id; never PUBLISH again after PUBREL.
///
/// 3.1.1: MQTT-4.3.3-1, MQTT-4.4.0-1, MQTT-4.1.0-1. 5.0: MQTT-4.3.3-1, MQTT-4.3.3-2,
/// MQTT-4.3.3-3, MQTT-4.3.3-4, MQTT-4.3.3-5, MQTT-4.3.3-6, MQTT-4.4.0-1.
#[test]
fn mqtt_4_3_3_1_a_qos_2_receiver_that_reconnects_at_every_step() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.connect(&s.persistent("receiver"));
        receiver.subscribe(&topic, 2);
        s.client("sender").publish(Out::new(&topic, "once").qos(2));
        let first = receiver.expect_message(&topic, "once");
        assert!(!first.dup);
        let id = first.packet_id;
        let again = |receiver: Client| {
            drop(receiver);
            s.connect(&s.persistent("receiver"))
        };
        // Before PUBREC: the message again.
        for _ in 0..2 {
            receiver = again(receiver);
            let message = receiver.expect_message(&topic, "once");
            assert_eq!((message.dup, message.packet_id), (true, id));
        }
        // PUBREC arrives, PUBREL is lost.
        receiver.pubrec(id);
        receiver.expect_ack(PacketKind::Pubrel, id, 0);
        for _ in 0..2 {
            receiver = again(receiver);
            receiver.expect_ack(PacketKind::Pubrel, id, 0);
        }
        // PUBREC is sent twice, as by a client that missed the PUBREL.
        receiver.pubrec(id);
        receiver.expect_ack(PacketKind::Pubrel, id, 0);
        receiver.expect_nothing();
        receiver.pubcomp(id);
        receiver.expect_nothing();
        receiver = again(receiver);
        receiver.expect_nothing();
    });
}

/// Publisher's side: the connection is lost before PUBREC comes, before PUBREL is sent, before
/// PUBCOMP comes; everything is repeated, and the message delivered once.
///
/// 3.1.1: MQTT-4.3.3-2, MQTT-4.1.0-1. 5.0: MQTT-4.3.3-8, MQTT-4.3.3-10, MQTT-4.3.3-11,
/// MQTT-4.3.3-12.
#[test]
fn mqtt_4_3_3_2_a_qos_2_publisher_that_reconnects_at_every_step() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.client("receiver");
        receiver.subscribe(&topic, 2);
        let out = |text| Out::new(&topic, text).qos(2).id(9);
        let again = |sender: Client| {
            drop(sender);
            s.connect(&s.persistent("sender"))
        };
        let mut sender = s.connect(&s.persistent("sender"));
        for text in ["first", "second"] {
            sender.send_publish(out(text));
            sender.expect_ack(PacketKind::Pubrec, 9, 0);
            for _ in 0..2 {
                sender = again(sender);
                sender.send_publish(out(text).dup());
                sender.expect_ack(PacketKind::Pubrec, 9, 0);
            }
            if !other_broker() {
                // Mosquitto closes the connection here.
                sender.send_publish(out(text).dup());
                sender.expect_ack(PacketKind::Pubrec, 9, 0);
            }
            sender.pubrel(9);
            sender.expect_ack(PacketKind::Pubcomp, 9, 0);
            sender = again(sender);
            sender.pubrel(9);
            assert_eq!(sender.expect(PacketKind::Pubcomp).packet_id(), Some(9));
            receiver.receive(&topic, text);
            receiver.expect_nothing_from(&mut sender);
        }
    });
}

/// Within one connection: each packet twice.
///
/// 3.1.1: MQTT-4.3.3-2. 5.0: MQTT-4.3.3-10, MQTT-4.3.3-12.
#[test]
fn mqtt_4_3_3_10_every_packet_twice_delivers_once() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.client("receiver");
        receiver.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        for id in [1, 1, 2] {
            for dup in [false, true] {
                let out = Out::new(&topic, "once").qos(2).id(id);
                sender.send_publish(if dup { out.dup() } else { out });
                sender.expect_ack(PacketKind::Pubrec, id, 0);
            }
            for _ in 0..2 {
                sender.pubrel(id);
                assert_eq!(sender.expect(PacketKind::Pubcomp).packet_id(), Some(id));
            }
            let message = receiver.expect_message(&topic, "once");
            for _ in 0..2 {
                receiver.pubrec(message.packet_id);
                receiver.expect_ack(PacketKind::Pubrel, message.packet_id, 0);
            }
            for _ in 0..2 {
                receiver.pubcomp(message.packet_id);
            }
            receiver.expect_nothing_from(&mut sender);
        }
    });
}

/// A refused QoS 2 message is over with its PUBREC.
///
/// 5.0: MQTT-4.3.3-9.
#[test]
fn mqtt_4_3_3_9_after_a_negative_pubrec_the_id_is_new() {
    each(&[V5], "", |s| {
        let mut receiver = s.client("receiver");
        receiver.subscribe(&s.topic("t"), 2);
        let mut sender = s.client("sender");
        sender.send_publish(Out::new("$SYS/no", "x").qos(2).id(5));
        sender.expect_ack(PacketKind::Pubrec, 5, 0x87);
        sender.send_publish(Out::new(&s.topic("t"), "yes").qos(2).id(5));
        sender.expect_ack(PacketKind::Pubrec, 5, 0);
        sender.pubrel(5);
        sender.expect_ack(PacketKind::Pubcomp, 5, 0);
        receiver.receive(&s.topic("t"), "yes");
        receiver.expect_nothing();
    });
}

/// Two exchanges at once, in every order their packets may take.
///
/// 3.1.1: MQTT-2.3.1-6, MQTT-4.3.3-1. 5.0: MQTT-2.2.1-5.
#[test]
fn mqtt_2_2_1_5_interleaved_exchanges_do_not_mix() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.client("receiver");
        receiver.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        let mut deliver = |receiver: &mut Client, text| {
            sender.publish(Out::new(&topic, text).qos(2));
            receiver.expect_message(&topic, text).packet_id
        };
        let (one, two) = (deliver(&mut receiver, "1"), deliver(&mut receiver, "2"));
        receiver.pubrec(two);
        receiver.expect_ack(PacketKind::Pubrel, two, 0);
        receiver.pubrec(one);
        receiver.expect_ack(PacketKind::Pubrel, one, 0);
        receiver.pubcomp(one);
        let three = deliver(&mut receiver, "3");
        assert!(three != one && three != two);
        receiver.pubcomp(two);
        receiver.pubrec(three);
        receiver.expect_ack(PacketKind::Pubrel, three, 0);
        receiver.pubcomp(three);
        receiver.expect_nothing();
    });
}

/// Attack E18: no growth, no duplicate.
#[test]
fn a_receiver_that_never_completes_gets_its_pubrel_every_time() {
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.connect(&s.persistent("receiver"));
        receiver.subscribe(&topic, 2);
        s.client("sender").publish(Out::new(&topic, "x").qos(2));
        let id = receiver.expect_message(&topic, "x").packet_id;
        receiver.pubrec(id);
        for _ in 0..30 {
            receiver.expect_ack(PacketKind::Pubrel, id, 0);
            receiver.expect_nothing();
            drop(receiver);
            receiver = s.connect(&s.persistent("receiver"));
        }
    });
}

/// Messages that come while their receiver is being resumed keep their order behind those that
/// waited.
#[test]
fn order_holds_when_a_session_is_resumed_while_messages_arrive() {
    each(&VERSIONS, "max_queued_messages 0", resume_under_traffic);
}

fn resume_under_traffic(s: &Scene<'_>) {
    let topic = s.topic("t");
    let mut receiver = s.connect(&s.persistent("receiver"));
    receiver.subscribe(&topic, 1);
    let mut sender = s.client("sender");
    let sending = std::thread::spawn({
        let topic = topic.clone();
        move || {
            for at in 0..300 {
                sender.publish(Out::new(&topic, at.to_string()).qos(1));
            }
        }
    });
    let mut next = 0;
    while next < 300 {
        // A few messages, then a new connection.
        for _ in 0..20 {
            let frame: Frame = receiver.recv();
            let message = crate::support::Message::of(&frame);
            let at: i32 = message.text().parse().expect("a number");
            assert!(at == next || message.dup && at < next, "{at} instead of {next}");
            receiver.puback(message.packet_id);
            next = next.max(at + 1);
            if next == 300 {
                break;
            }
        }
        drop(receiver);
        receiver = s.connect(&s.persistent("receiver"));
    }
    sending.join().expect("the sender");
}
