//! Topic aliases, message expiry, maximum packet size, receive maximum of 5.0 (3.1.2.11, 3.3.2.3,
//! 4.9).

use super::scene::{each, start};
use super::wire::{expect_ended, field, packet};
use crate::support::{Client, Dial, Id, Message, Out, PacketKind, V5, V311, other_broker};
use mogi_codec::PropertyBuf;
use std::time::Duration;

/// A PUBLISH with this alias.
fn aliased(topic: &str, alias: u32) -> Out {
    Out::new(topic, "x").qos(1).int(Id::TopicAlias, alias)
}

/// 5.0: MQTT-3.3.2-8, MQTT-3.3.2-12.
#[test]
fn mqtt_3_3_2_12_aliases_up_to_the_maximum_are_accepted() {
    each(&[V5], "", |s| {
        let mut receiver = s.client("receiver");
        receiver.subscribe(&s.topic("#"), 1);
        let mut sender = s.client("sender");
        for alias in [1, 10] {
            let name = s.topic(&format!("a{alias}"));
            sender.publish(aliased(&name, alias));
            sender.publish(aliased("", alias));
            for _ in 0..2 {
                let message = receiver.receive(&name, "x");
                assert!(!message.props.has(Id::TopicAlias));
            }
        }
        // Made anew, an alias means the new topic.
        sender.publish(aliased(&s.topic("other"), 1));
        sender.publish(aliased("", 1));
        sender.publish(aliased("", 10));
        for name in ["other", "other", "a10"] {
            receiver.receive(&s.topic(name), "x");
        }
    });
}

/// Attack Q07.
///
/// 5.0: MQTT-3.3.2-8, MQTT-4.13.1-1, MQTT-3.14.2-1.
#[test]
fn mqtt_3_3_2_8_aliases_that_cannot_be_end_the_connection() {
    let broker = start("");
    let cases: [(&str, Vec<Out>, &[u8]); 4] = [
        ("alias 0", vec![aliased("t", 0)], &[0x82, 0x94]),
        ("alias 11", vec![aliased("t", 11)], &[0x94]),
        ("unknown", vec![aliased("", 3)], &[0x82]),
        ("another is known", vec![aliased("t", 2), aliased("", 3)], &[0x82]),
    ];
    for (what, outs, codes) in cases {
        let mut client = broker.client(V5, "odd");
        let (last, first) = outs.split_last().expect("one at least");
        for out in first {
            client.publish(out.clone());
        }
        client.send_publish(last.clone());
        expect_ended(what, &mut client, codes);
    }
    let broker = start("listener {port} 127.0.0.1\nmax_topic_alias 0");
    let mut client = broker.client(V5, "odd");
    client.send_publish(aliased("t", 1));
    client.expect_disconnect(0x94);
}

/// Attack Q09.
///
/// 5.0: MQTT-3.3.2-7.
#[test]
fn mqtt_3_3_2_7_aliases_end_with_the_connection() {
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        let receiver_dial = s.persistent("receiver").int(Id::TopicAliasMaximum, 10);
        let mut receiver = s.connect(&receiver_dial);
        receiver.subscribe(&topic, 1);
        let mut sender = s.connect(&s.persistent("sender"));
        sender.publish(aliased(&topic, 1));
        assert_eq!(receiver.expect_publish().topic, topic);
        drop(sender);
        let mut sender = s.connect(&s.persistent("sender"));
        sender.send_publish(aliased("", 1));
        sender.expect_disconnect(0x82);
        // The broker's aliases, too: what it sends again has its topic.
        drop(receiver);
        let mut receiver = s.connect(&receiver_dial);
        assert_eq!(receiver.expect_publish().topic, topic);
    });
}

/// Resolves the aliases of received messages.
struct Aliases {
    maximum: u32,
    topics: Vec<(u32, String)>,
}

impl Aliases {
    /// The message's topic.
    #[track_caller]
    fn topic(&mut self, message: &Message) -> String {
        let Some(alias) = message.props.int(Id::TopicAlias) else {
            assert!(!message.topic.is_empty());
            return message.topic.clone();
        };
        assert!(alias >= 1 && alias <= self.maximum, "alias {alias}");
        if message.topic.is_empty() {
            let known = self.topics.iter().rev().find(|known| known.0 == alias);
            known.expect("an alias that was made").1.clone()
        } else {
            self.topics.push((alias, message.topic.clone()));
            message.topic.clone()
        }
    }
}

/// 5.0: MQTT-3.1.2-26, MQTT-3.1.2-27, MQTT-3.3.2-8, MQTT-3.3.2-11.
#[test]
fn mqtt_3_1_2_26_the_brokers_aliases_are_within_the_clients_maximum() {
    each(&[V5], "", |s| {
        for maximum in [0, 1, 2, 5, 10, 100, 65_535] {
            let mut dial = s.dial("receiver");
            if maximum > 0 {
                dial = dial.int(Id::TopicAliasMaximum, maximum);
            }
            let mut receiver = s.connect(&dial);
            receiver.subscribe(&s.topic("#"), 1);
            let mut aliases = Aliases { maximum, topics: Vec::new() };
            let mut sender = s.client("sender");
            for at in 0..40 {
                let topic =
                    s.topic(&format!("topic/{}", [0, 1, 2, 0, 3, 7, 9, 11, 12, 0][at % 10]));
                sender.publish(Out::new(&topic, "x").qos(at as u8 % 3));
                let message = receiver.expect_publish();
                assert_eq!(aliases.topic(&message), topic);
                receiver.complete(&message);
            }
            // As many as it may, up to its own limit of ten, are used.
            let made: std::collections::BTreeSet<_> =
                aliases.topics.iter().map(|it| it.0).collect();
            assert_eq!(made.len(), maximum.min(8) as usize, "{made:?}");
        }
    });
}

/// Retained and queued messages go through the same aliases.
///
/// 5.0: MQTT-3.1.2-26, MQTT-3.3.2-11.
#[test]
fn mqtt_3_3_2_11_stored_messages_use_aliases_of_their_connection() {
    each(&[V5], "", |s| {
        let dial = s.persistent("receiver").int(Id::TopicAliasMaximum, 2);
        let mut receiver = s.connect(&dial);
        receiver.subscribe(&s.topic("+"), 1);
        receiver.disconnect();
        let mut sender = s.client("sender");
        for name in ["a", "b", "c", "a", "b", "c"] {
            sender.publish(Out::new(&s.topic(name), "x").qos(1));
        }
        sender.publish(Out::new(&s.topic("b"), "kept").qos(1).retain());
        let mut receiver = s.connect(&dial);
        let mut aliases = Aliases { maximum: 2, topics: Vec::new() };
        for name in ["a", "b", "c", "a", "b", "c", "b"] {
            let message = receiver.expect_publish();
            receiver.complete(&message);
            assert_eq!(aliases.topic(&message), s.topic(name));
        }
        receiver.subscribe(&s.topic("b"), 1);
        let message = receiver.expect_publish();
        receiver.complete(&message);
        assert_eq!(aliases.topic(&message), s.topic("b"));
        sender.publish(Out::new(&s.topic("b"), "").qos(1).retain());
    });
}

/// Attack Q08, smaller: what an alias meant before is not kept.
#[test]
fn aliases_made_anew_do_not_grow() {
    let broker = start("");
    let mut sender = broker.client(V5, "sender");
    let mut before = 0;
    for round in 0..300 {
        let topic = format!("{round}/{}", "x".repeat(60_000));
        sender.publish(Out::new(&topic, "x").qos(1).int(Id::TopicAlias, 1 + round % 10));
        if round == 100 {
            before = broker.rss();
        }
    }
    // 200 more topics are 12 MB; the ten that are in use were there already.
    assert!(broker.rss() < before + (32 << 20));
}

/// Attack Q24.
///
/// 5.0: MQTT-3.3.2-5, MQTT-3.3.2-6.
#[test]
fn mqtt_3_3_2_5_messages_expire_while_they_wait() {
    let broker = start("");
    let mut sleepers = [(V5, "five"), (V311, "four")].map(|(version, id)| {
        let dial = Dial::persistent(version, id);
        let mut client = broker.connect(&dial);
        client.subscribe("t", 1);
        (client, dial)
    });
    let mut sender = broker.client(V5, "sender");
    let send = |sender: &mut Client, text: &str, seconds: Option<u32>| {
        let out = Out::new("t", text).qos(1);
        sender.publish(match seconds {
            Some(seconds) => out.int(Id::MessageExpiryInterval, seconds),
            None => out,
        });
    };
    // To those who are there the whole time is told.
    send(&mut sender, "live", Some(100));
    for (client, _) in &mut sleepers {
        let message = client.receive("t", "live");
        let five = message.props.int(Id::MessageExpiryInterval);
        assert!(five.is_none() || (95..=100).contains(&five.unwrap()));
    }
    let dials = sleepers.map(|(client, dial)| {
        client.disconnect();
        dial
    });
    send(&mut sender, "brief", Some(1));
    send(&mut sender, "long", Some(100));
    send(&mut sender, "ever", None);
    send(&mut sender, "longest", Some(u32::MAX));
    std::thread::sleep(Duration::from_millis(2500));
    for dial in dials {
        let mut client = broker.connect(&dial);
        for (text, least, most) in
            [("long", 90, 98), ("ever", 0, 0), ("longest", u32::MAX - 9, u32::MAX - 2)]
        {
            let message = client.receive("t", text);
            if let Some(left) = message.props.int(Id::MessageExpiryInterval) {
                assert!((least..=most).contains(&left), "{text}: {left}");
            } else {
                // Mosquitto forgets the longest.
                let forgotten = other_broker() && text == "longest";
                assert!(dial.version == V311 || text == "ever" || forgotten);
            }
        }
        client.expect_nothing();
    }
}

/// 5.0: MQTT-3.1.2-24, MQTT-3.1.2-25. Attack E11.
#[test]
fn mqtt_3_1_2_24_packets_larger_than_the_client_takes_are_dropped() {
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        let dial = s.persistent("small").int(Id::MaximumPacketSize, 60);
        let mut client = s.connect(&dial);
        client.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        let overhead = |qos: u8| 2 + 2 + topic.len() + if qos > 0 { 2 } else { 0 } + 1;
        for qos in 0..=2 {
            let fits = "f".repeat(60 - overhead(qos));
            for _ in 0..3 {
                sender.publish(Out::new(&topic, "x".repeat(61)).qos(qos));
            }
            sender.publish(Out::new(&topic, &fits).qos(qos));
            client.receive(&topic, &fits);
        }
        // Dropped is done: nothing is in flight, nothing comes later.
        client.expect_nothing();
        client.disconnect();
        sender.publish(Out::new(&topic, "x".repeat(61)).qos(1));
        sender.publish(Out::new(&topic, "y").qos(1));
        sender.publish(Out::new(&topic, "r".repeat(61)).qos(1).retain());
        let mut client = s.connect(&dial);
        client.receive(&topic, "y");
        client.subscribe(&topic, 1);
        client.expect_nothing();
        sender.publish(Out::new(&topic, "").qos(1).retain());
    });
}

/// What properties and identifiers add counts, too.
///
/// 5.0: MQTT-3.1.2-24.
#[test]
fn mqtt_3_1_2_24_the_whole_packet_is_measured() {
    if other_broker() {
        return; // Mosquitto leaves the length bytes out.
    }
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        let mut client = s.connect(&s.dial("small").int(Id::MaximumPacketSize, 60));
        let mut props = PropertyBuf::new();
        props.int(Id::SubscriptionIdentifier, 268_435_455);
        client.subscribe_with(&[(&topic, 1)], &props);
        let mut sender = s.client("sender");
        let without = 2 + 2 + topic.len() + 2 + 1 + 5;
        for len in 0..60 {
            let out = Out::new(&topic, "x".repeat(len)).qos(1);
            sender.publish(out);
            if without + len <= 60 {
                let message = client.expect_publish();
                client.complete(&message);
                assert_eq!(message.payload.len(), len);
            }
        }
        client.expect_nothing_from(&mut sender);
    });
}

/// Too large for the broker.
///
/// 5.0: MQTT-4.13.1-1, MQTT-3.14.2-1. 3.1.1: MQTT-4.8.0-1.
#[test]
fn mqtt_4_13_1_1_packets_larger_than_the_broker_takes_end_the_connection() {
    let broker = start("max_packet_size 100");
    let mut healthy = broker.client(V311, "healthy");
    healthy.subscribe("t", 0);
    for version in crate::support::VERSIONS {
        let mut client = broker.client(version, "large");
        let fill = 100 - 2 - Out::new("t", "").bytes(version).len() + 2;
        client.publish(Out::new("t", "x".repeat(fill)));
        healthy.expect_message("t", "x".repeat(fill));
        // The header alone is enough to know.
        let body = [field("t"), vec![b'x'; 300]].concat();
        client.send(&packet(0x30, body)[..5]);
        client.expect_ended(0x95);
    }
    healthy.expect_nothing();
}

/// Attack E10.
///
/// 5.0: MQTT-3.3.4-9, MQTT-3.3.4-10, MQTT-4.9.0-1, MQTT-4.9.0-2, MQTT-4.9.0-3.
#[test]
fn mqtt_4_9_0_1_the_receive_maximum_limits_what_is_in_flight() {
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        for maximum in [1, 3, 50] {
            let dial = s.persistent("receiver").clean();
            let mut receiver = s.connect(&dial.int(Id::ReceiveMaximum, maximum));
            receiver.subscribe(&topic, 2);
            let mut sender = s.client("sender");
            for at in 0..60 {
                sender.publish(Out::new(&topic, at.to_string()).qos(1 + at % 2));
            }
            let mut flying: Vec<Message> =
                (0..maximum).map(|_| receiver.expect_publish()).collect();
            receiver.expect_nothing_from(&mut sender);
            // Everything else goes on: QoS 0, PINGREQ, SUBSCRIBE.
            sender.publish(Out::new(&topic, "at once"));
            receiver.receive(&topic, "at once");
            receiver.subscribe(&s.topic("other"), 0);
            receiver.ping();
            // PUBREC does not make room, PUBCOMP does.
            for next in maximum..60 {
                let done = flying.remove(0);
                if done.qos == 2 {
                    receiver.pubrec(done.packet_id);
                    receiver.expect_ack(PacketKind::Pubrel, done.packet_id, 0);
                    receiver.expect_nothing();
                    receiver.pubcomp(done.packet_id);
                } else {
                    receiver.puback(done.packet_id);
                }
                flying.push(receiver.expect_message(&topic, next.to_string()));
                receiver.expect_nothing();
            }
        }
    });
}

/// A client that comes back with a smaller receive maximum is sent no more than that again.
///
/// 5.0: MQTT-3.3.4-9.
#[test]
fn mqtt_3_3_4_9_a_smaller_receive_maximum_holds_after_a_resume() {
    if other_broker() {
        return; // Mosquitto sends everything again.
    }
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.connect(&s.persistent("receiver"));
        receiver.subscribe(&topic, 1);
        let mut sender = s.client("sender");
        for at in 0..10 {
            sender.publish(Out::new(&topic, at.to_string()).qos(1));
            receiver.expect_message(&topic, at.to_string());
        }
        drop(receiver);
        let mut receiver = s.connect(&s.persistent("receiver").int(Id::ReceiveMaximum, 3));
        let mut flying: Vec<Message> = (0..3).map(|_| receiver.expect_publish()).collect();
        receiver.expect_nothing();
        for at in 3..10 {
            receiver.puback(flying.remove(0).packet_id);
            let message = receiver.expect_message(&topic, at.to_string());
            assert!(message.dup);
            flying.push(message);
            receiver.expect_nothing();
        }
    });
}
