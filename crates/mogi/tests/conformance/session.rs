//! Sessions: what is kept, how long, and for whom (3.1.2.4, 3.1.2.11.2, 4.1, 4.5).

use super::scene::{Witnesses, each, start};
use crate::support::{Dial, Out, PacketKind, V5, V31, V311, VERSIONS, other_broker};
use std::time::Duration;

/// 3.1.1: MQTT-3.1.2-4, MQTT-3.1.2-5, MQTT-4.1.0-1, MQTT-4.5.0-1, MQTT-3.1.4-3.
/// 5.0: MQTT-3.1.2-5, MQTT-3.1.2-6, MQTT-3.1.2-23, MQTT-4.1.0-1, MQTT-4.5.0-1.
#[test]
fn mqtt_3_1_2_4_a_session_is_resumed_with_what_came_meanwhile() {
    each(&VERSIONS, "", |s| {
        let mut client = s.broker.dial(&s.persistent("sleeper"));
        assert!(!client.expect_connected().session_present());
        client.subscribe(&s.topic("a/+"), 2);
        client.subscribe(&s.topic("b"), 1);
        client.disconnect();
        let mut sender = s.client("sender");
        // QoS 0 does not wait.
        let mut witnesses = Witnesses::new(s.broker, &s.topic("a/0"));
        sender.publish(Out::new(&s.topic("a/0"), "missed"));
        witnesses.expect(&s.topic("a/0"), "missed");
        for (at, topic) in ["a/1", "b", "a/2", "c", "a/1"].iter().enumerate() {
            let out = Out::new(&s.topic(topic), at.to_string());
            sender.publish(out.qos(1 + at as u8 % 2));
        }
        let mut client = s.broker.dial(&s.persistent("sleeper"));
        let answer = client.expect_connected();
        assert_eq!(answer.session_present(), s.version != V31);
        for (at, topic, qos) in [(0, "a/1", 1), (1, "b", 1), (2, "a/2", 1), (4, "a/1", 1)] {
            let message = client.receive(&s.topic(topic), at.to_string());
            assert_eq!((message.qos, message.dup, message.retain), (qos, false, false));
        }
        client.expect_nothing();
        // The subscriptions are still there.
        sender.publish(Out::new(&s.topic("b"), "live").qos(1));
        client.receive(&s.topic("b"), "live");
    });
}

/// 3.1.1: MQTT-3.1.2-6, MQTT-3.1.4-3, MQTT-3.1.2-7. 5.0: MQTT-3.1.2-4, MQTT-3.1.4-4.
#[test]
fn mqtt_3_1_2_6_a_clean_start_discards_everything_but_retained_messages() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut client = s.connect(&s.persistent("sleeper"));
        client.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        sender.publish(Out::new(&topic, "in flight").qos(1));
        client.expect_message(&topic, "in flight");
        client.send_publish(Out::new(&topic, "unreleased").qos(2).id(3));
        drop(client);
        sender.publish(Out::new(&topic, "queued").qos(1));
        sender.publish(Out::new(&topic, "kept").qos(1).retain());
        let mut client = s.broker.dial(&s.dial("sleeper"));
        assert!(!client.expect_connected().session_present());
        client.expect_nothing();
        sender.publish(Out::new(&topic, "live").qos(1));
        client.expect_nothing_from(&mut sender);
        // The QoS 2 id is a new one, too.
        client.publish(Out::new(&topic, "new").qos(2).id(3));
        // Retained messages belong to no session.
        client.subscribe(&topic, 1);
        client.receive(&topic, "kept");
        client.expect_nothing();
        sender.publish(Out::new(&topic, "").qos(1).retain());
    });
}

/// A clean session ends with its connection, however that ends.
///
/// 3.1.1: MQTT-3.1.2-6, MQTT-4.1.0-2. 5.0: MQTT-3.1.2-23, MQTT-4.1.0-2.
#[test]
fn mqtt_4_1_0_2_a_session_without_expiry_ends_with_the_connection() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        for abrupt in [false, true] {
            let mut client = s.client("brief");
            client.subscribe(&topic, 1);
            client.ping();
            if abrupt {
                client.abort();
                crate::support::eventually("the session's end", || {
                    let mut sender = s.broker.client(V5, &s.id("probe"));
                    sender.publish_code(Out::new(&topic, "x").qos(1)) == 0x10
                });
            } else {
                client.disconnect();
            }
            s.client("sender").publish(Out::new(&topic, "missed").qos(1));
            let mut client = s.broker.dial(&s.dial("brief").resume());
            assert!(!client.expect_connected().session_present());
            client.expect_nothing();
            client.disconnect();
            // Clean Session 0 of 3.x has made a session that stays.
            s.client("brief").disconnect();
        }
    });
}

/// Attack E25.
///
/// 5.0: MQTT-4.1.0-2, MQTT-3.1.2-23. 3.1.1: MQTT-4.1.0-1.
#[test]
fn mqtt_4_1_0_2_a_session_is_gone_when_its_expiry_has_passed() {
    let broker = start("");
    let dials = [
        ("two seconds", Dial::new(V5, "two").session_expiry(2), false),
        ("an hour", Dial::new(V5, "hour").session_expiry(3600), true),
        ("for ever", Dial::new(V5, "ever").session_expiry(u32::MAX), true),
        ("3.1.1", Dial::new(V311, "old").resume(), true),
    ];
    let mut sender = broker.client(V5, "sender");
    for (_, dial, _) in &dials {
        let mut client = broker.connect(dial);
        client.subscribe(&dial.client_id, 1);
        client.disconnect();
        let code = sender.publish_code(Out::new(&dial.client_id, "waiting").qos(1));
        assert_eq!(code, 0);
    }
    std::thread::sleep(Duration::from_millis(3500));
    for (what, dial, stays) in dials {
        let mut client = broker.dial(&dial.resume());
        let answer = client.expect_connected();
        assert_eq!(answer.session_present(), stays, "{what}");
        if stays {
            client.receive(&client_topic(what), "waiting");
        }
        client.expect_nothing();
    }
}

fn client_topic(what: &str) -> String {
    match what {
        "an hour" => "hour",
        "for ever" => "ever",
        _ => "old",
    }
    .to_owned()
}

/// The time counts from the disconnect, and a new connection stops it.
///
/// 5.0: MQTT-4.1.0-1.
#[test]
fn mqtt_4_1_0_1_a_session_does_not_expire_while_connected() {
    let broker = start("");
    let dial = |name| Dial::new(V5, name).session_expiry(2).resume();
    let [mut stays, mut returns] = ["stays", "returns"].map(|name| {
        let mut client = broker.connect(&dial(name));
        client.subscribe(name, 1);
        client
    });
    returns.disconnect();
    returns = broker.connect(&dial("returns"));
    std::thread::sleep(Duration::from_millis(3500));
    let mut sender = broker.client(V311, "sender");
    for (client, name) in [(&mut stays, "stays"), (&mut returns, "returns")] {
        sender.publish(Out::new(name, "still here").qos(1));
        client.receive(name, "still here");
    }
    stays.disconnect();
    let mut stays = broker.dial(&dial("stays"));
    assert!(stays.expect_connected().session_present());
}

/// The option caps what clients ask for; 5.0 clients are not told, as with Mosquitto.
#[test]
fn persistent_client_expiration_ends_sessions() {
    let broker = start("persistent_client_expiration 1s");
    let dials = [
        Dial::new(V5, "five").session_expiry(u32::MAX),
        Dial::new(V311, "four").resume(),
        Dial::new(V31, "three").resume(),
    ];
    for dial in &dials {
        let mut client = broker.connect(dial);
        client.subscribe("t", 1);
        client.disconnect();
    }
    broker.client(V311, "sender").publish(Out::new("t", "x").qos(1));
    std::thread::sleep(Duration::from_millis(2600));
    for dial in dials {
        let mut client = broker.dial(&dial.resume());
        assert!(!client.expect_connected().session_present());
        client.expect_nothing();
    }
}

/// A session is its id's, whatever version its client speaks today.
#[test]
fn a_session_is_resumed_by_a_client_of_another_version() {
    for order in [[V311, V5, V31], [V5, V31, V311], [V31, V311, V5]] {
        let broker = start("");
        let mut client = broker.connect(&Dial::persistent(order[0], "changing"));
        client.subscribe("t", 1);
        client.disconnect();
        let mut sender = broker.client(V5, "sender");
        for version in order {
            let text = format!("for {version:?}");
            sender.publish(Out::new("t", &text).qos(1).user("a", "b"));
            let mut client = broker.dial(&Dial::persistent(version, "changing"));
            assert_eq!(client.expect_connected().session_present(), version != V31);
            let message = client.receive("t", &text);
            assert_eq!(message.props.users().len(), usize::from(version == V5));
            client.expect_nothing();
            client.disconnect();
        }
    }
}

/// Whoever guesses an id does not get what waits for its owner.
#[test]
fn a_session_is_not_resumed_by_another_user() {
    if other_broker() {
        return; // Mosquitto hands it over.
    }
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let dial = |user| s.persistent("shared-id").username(user).password("x");
        let mut owner = s.connect(&dial("owner"));
        owner.subscribe(&topic, 1);
        owner.disconnect();
        s.client("sender").publish(Out::new(&topic, "private").qos(1));
        let mut thief = s.broker.dial(&dial("thief"));
        assert!(!thief.expect_connected().session_present());
        thief.expect_nothing();
    });
}

/// A session handed to a new connection is not ended by the old one's clean-up.
#[test]
fn the_end_of_an_old_connection_does_not_end_the_session() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut old = s.connect(&s.persistent("mover"));
        old.subscribe(&topic, 1);
        for _ in 0..5 {
            let mut new = s.connect(&s.persistent("mover"));
            old.drain();
            drop(old);
            new.ping();
            s.client("sender").publish(Out::new(&topic, "x").qos(1));
            new.receive(&topic, "x");
            old = new;
        }
    });
}

/// An acknowledgement sent just before the connection ends counts.
#[test]
fn an_acknowledgement_before_disconnect_is_not_lost() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut client = s.connect(&s.persistent("client"));
        client.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        for qos in [1, 2] {
            sender.publish(Out::new(&topic, "x").qos(qos));
            let message = client.expect_message(&topic, "x");
            if qos == 1 {
                client.puback(message.packet_id);
            } else {
                client.pubrec(message.packet_id);
                client.expect_ack(PacketKind::Pubrel, message.packet_id, 0);
                client.pubcomp(message.packet_id);
            }
            client.disconnect();
            client = s.connect(&s.persistent("client"));
            client.expect_nothing();
        }
    });
}
