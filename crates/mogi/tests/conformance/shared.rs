//! Shared subscriptions (4.8.2).

use super::scene::{Scene, each, start};
use super::wire::subscribe;
use crate::support::{Client, Id, Message, Out, PacketKind, Reason, V5, VERSIONS, other_broker};
use mogi_codec::PropertyBuf;

/// A group of this scenario.
fn group(s: &Scene<'_>, filter: &str) -> String {
    format!("$share/g/{}", s.topic(filter))
}

/// Members that are connected with clean sessions and subscribed to `filter`.
fn members<const N: usize>(s: &Scene<'_>, filter: &str, qos: u8) -> [Client; N] {
    std::array::from_fn(|at| {
        let mut member = s.client(&format!("member{at}"));
        member.subscribe(&group(s, filter), qos);
        member
    })
}

/// Everything a client has been sent before the end of `fence`'s messages.
#[track_caller]
fn so_far(client: &mut Client, fence: &mut Client) -> Vec<Message> {
    client.subscribe("fence", 0);
    fence.publish(Out::new("fence", ""));
    let mut messages = Vec::new();
    loop {
        let message = client.expect_publish();
        if message.topic == "fence" {
            client.unsubscribe(&["fence"]);
            return messages;
        }
        messages.push(message);
    }
}

/// Attack S04.
///
/// 5.0: MQTT-4.8.2-1, MQTT-4.8.2-2.
#[test]
fn mqtt_4_8_2_1_malformed_shared_filters_are_not_granted() {
    let broker = start("");
    let mut filters = vec![
        "$share",
        "$share/",
        "$share/g",
        "$share/g/",
        "$share/g+/t",
        "$share/g#/t",
        "$share/+/t",
        "$share/#/t",
        "$share/g/a#",
        "$share/g/#/a",
    ];
    if !other_broker() {
        filters.extend(["$share//t", "$share//"]);
    }
    for version in VERSIONS {
        for filter in &filters {
            let mut client = broker.client(version, "odd");
            client.send(&subscribe(version, filter, 0));
            match client.next() {
                Some(frame) if frame.kind() == PacketKind::Suback => {
                    assert!(frame.codes()[0] >= 0x80, "{filter}: {frame:?}");
                }
                Some(frame) => assert_eq!(frame.kind(), PacketKind::Disconnect, "{filter}"),
                None => {}
            }
        }
        let mut client = broker.client(version, "even");
        for filter in
            ["$share/g/t", "$share/ /t", "$share/g/#", "$share/g/+/a", "$share/g//", "$shared/x"]
        {
            client.subscribe(filter, 1);
        }
    }
}

/// Each message goes to one member, and all members get some.
///
/// 5.0: MQTT-4.8.2-1, MQTT-3.3.2-3.
#[test]
fn mqtt_4_8_2_1_each_message_goes_to_one_member() {
    each(&VERSIONS, "", |s| {
        let mut group: [Client; 3] = members(s, "+", 1);
        let mut sender = s.client("sender");
        for at in 0..30 {
            sender.publish(Out::new(&s.topic("t"), at.to_string()).qos(at % 3));
        }
        let mut all = Vec::new();
        for member in &mut group {
            let got = so_far(member, &mut sender);
            assert!((5..=15).contains(&got.len()), "{}", got.len());
            all.extend(got.into_iter().map(|message| message.text()));
        }
        all.sort();
        let mut expected: Vec<String> = (0..30).map(|at| at.to_string()).collect();
        expected.sort();
        assert_eq!(all, expected);
    });
}

/// Groups do not share with each other, nor with ordinary subscriptions.
///
/// 5.0: MQTT-4.8.2-1.
#[test]
fn mqtt_4_8_2_1_groups_and_ordinary_subscriptions_are_independent() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut all = s.client("all");
        for filter in [format!("$share/g/{topic}"), format!("$share/h/{topic}"), topic.clone()] {
            all.subscribe(&filter, 1);
        }
        let mut other = s.client("other");
        other.subscribe(&format!("$share/i/{topic}"), 0);
        let mut sender = s.client("sender");
        sender.publish(Out::new(&topic, "x").qos(1));
        for _ in 0..3 {
            all.receive(&topic, "x");
        }
        all.expect_nothing_from(&mut sender);
        other.expect_message(&topic, "x");
        other.expect_nothing_from(&mut sender);
        // To leave a group is to leave only that.
        all.unsubscribe(&[&format!("$share/g/{topic}")]);
        sender.publish(Out::new(&topic, "y").qos(1));
        for _ in 0..2 {
            all.receive(&topic, "y");
        }
        all.expect_nothing_from(&mut sender);
    });
}

/// 5.0: MQTT-4.8.2-3.
#[test]
fn mqtt_4_8_2_3_a_member_gets_its_own_qos_and_identifier() {
    each(&VERSIONS, "", |s| {
        let filter = group(s, "t");
        let mut two: [Client; 2] = ["low", "high"].map(|name| s.client(name));
        for (member, qos) in two.iter_mut().zip([0, 2]) {
            let mut props = PropertyBuf::new();
            if s.v5() {
                props.int(Id::SubscriptionIdentifier, 10 + u32::from(qos));
            }
            member.subscribe_with(&[(&filter, qos)], &props);
        }
        let mut sender = s.client("sender");
        for _ in 0..6 {
            sender.publish(Out::new(&s.topic("t"), "x").qos(2));
        }
        for (member, qos) in two.iter_mut().zip([0, 2]) {
            let got = so_far(member, &mut sender);
            assert!(!got.is_empty());
            for message in got {
                assert_eq!(message.qos, qos);
                let id = message.props.int(Id::SubscriptionIdentifier);
                assert_eq!(id, s.v5().then_some(10 + u32::from(qos)));
            }
        }
    });
}

/// A message in flight at QoS 2 stays with its member while that has a session.
///
/// 5.0: MQTT-4.8.2-4.
#[test]
fn mqtt_4_8_2_4_qos_2_is_completed_with_the_same_member() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut first = s.connect(&s.persistent("first"));
        first.subscribe(&group(s, "t"), 2);
        let mut sender = s.client("sender");
        for _ in 0..2 {
            sender.publish(Out::new(&topic, "x").qos(2));
        }
        let [half, none] = [0, 1].map(|_| first.expect_message(&topic, "x").packet_id);
        first.pubrec(half);
        first.expect_ack(PacketKind::Pubrel, half, 0);
        let mut second = s.client("second");
        second.subscribe(&group(s, "t"), 2);
        first.abort();
        second.expect_nothing_from(&mut sender);
        let mut first = s.connect(&s.persistent("first"));
        first.expect_ack(PacketKind::Pubrel, half, 0);
        let again = first.receive(&topic, "x");
        assert_eq!((again.packet_id, again.dup), (none, true));
        first.pubcomp(half);
        first.expect_nothing();
    });
}

/// 5.0: MQTT-4.8.2-5.
#[test]
fn mqtt_4_8_2_5_qos_2_in_flight_ends_with_its_members_session() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let [mut first]: [Client; 1] = members(s, "t", 2);
        let mut sender = s.client("sender");
        for _ in 0..2 {
            sender.publish(Out::new(&topic, "x").qos(2));
        }
        let id = first.expect_message(&topic, "x").packet_id;
        first.expect_message(&topic, "x");
        first.pubrec(id);
        first.expect_ack(PacketKind::Pubrel, id, 0);
        let mut second = s.client("second");
        second.subscribe(&group(s, "t"), 2);
        first.disconnect();
        second.expect_nothing_from(&mut sender);
    });
}

/// 5.0: MQTT-4.8.2-6, MQTT-4.4.0-2.
#[test]
fn mqtt_4_8_2_6_what_a_member_refuses_goes_to_nobody_else() {
    each(&[V5], "", |s| {
        let topic = s.topic("t");
        let [mut first, mut second]: [Client; 2] = members(s, "t", 2);
        let mut sender = s.client("sender");
        let mut refused = 0;
        for at in 0..4 {
            sender.publish(Out::new(&topic, "x").qos(1 + at % 2));
            for member in [&mut first, &mut second] {
                for message in so_far(member, &mut sender) {
                    let kind = match message.qos {
                        1 => PacketKind::Puback,
                        _ => PacketKind::Pubrec,
                    };
                    member.send_ack(kind, message.packet_id, Reason::UnspecifiedError);
                    refused += 1;
                }
            }
        }
        assert_eq!(refused, 4);
        first.expect_nothing_from(&mut sender);
        second.expect_nothing_from(&mut sender);
        drop(first);
        second.expect_nothing_from(&mut sender);
    });
}

/// A member that leaves has unacknowledged messages at QoS 1, and some that wait: they go to a
/// member that is there.
#[test]
fn messages_of_a_leaving_member_go_to_another() {
    if other_broker() {
        return; // Mosquitto drops them, or keeps them for an absent member.
    }
    each(&VERSIONS, "max_inflight_messages 2", |s| {
        let topic = s.topic("t");
        for persistent in [false, true] {
            let dial = s.persistent("leaver").clean();
            let dial = if persistent && !s.v5() { s.persistent("leaver") } else { dial };
            let dial = if persistent { dial } else { s.dial("leaver") };
            let mut leaver = s.connect(&dial);
            leaver.subscribe(&group(s, "t"), 1);
            let mut sender = s.client("sender");
            for at in 0..6 {
                sender.publish(Out::new(&topic, at.to_string()).qos(1));
            }
            leaver.receive(&topic, "0");
            for at in 1..3 {
                leaver.expect_message(&topic, at.to_string());
            }
            leaver.ping(); // so that the PUBACK was seen
            let mut heir = s.client("heir");
            heir.subscribe(&group(s, "t"), 1);
            leaver.abort();
            // What a persistent member has in flight stays its own; the rest waits for nobody.
            let from = if persistent { 3 } else { 1 };
            let mut got: Vec<String> = (from..6)
                .map(|_| {
                    let message = heir.expect_publish();
                    heir.complete(&message);
                    message.text()
                })
                .collect();
            got.sort();
            let expected: Vec<String> = (from..6).map(|at| at.to_string()).collect();
            assert_eq!(got, expected);
            heir.expect_nothing_from(&mut sender);
            s.client("leaver").disconnect();
            if persistent {
                // Its session has ended now.
                for at in 1..3 {
                    heir.receive(&topic, at.to_string());
                }
            }
            heir.expect_nothing_from(&mut sender);
        }
    });
}

/// Members that are connected are chosen before absent ones; where all are absent, one keeps it.
#[test]
fn absent_members_are_passed_over() {
    if other_broker() {
        return; // Mosquitto deals to absent members as well.
    }
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut absent = s.connect(&s.persistent("absent"));
        absent.subscribe(&group(s, "t"), 1);
        let mut present = s.client("present");
        present.subscribe(&group(s, "t"), 1);
        absent.disconnect();
        let mut sender = s.client("sender");
        for at in 0..6 {
            sender.publish(Out::new(&topic, at.to_string()).qos(1));
        }
        for at in 0..6 {
            present.receive(&topic, at.to_string());
        }
        present.disconnect();
        sender.publish(Out::new(&topic, "kept").qos(1));
        let mut absent = s.connect(&s.persistent("absent"));
        absent.receive(&topic, "kept");
        absent.expect_nothing();
        // It is a member like others again.
        sender.publish(Out::new(&topic, "live").qos(1));
        absent.receive(&topic, "live");
        absent.unsubscribe(&[&group(s, "t")]);
    });
}

/// A group gets no retained messages (4.8.2, "Shared Subscriptions"), and keeps its order per
/// member.
#[test]
fn groups_get_no_retained_messages() {
    each(&VERSIONS, "", |s| {
        let mut sender = s.client("sender");
        sender.publish(Out::new(&s.topic("t"), "kept").qos(1).retain());
        let [mut member]: [Client; 1] = members(s, "#", 1);
        member.expect_nothing();
        for at in 0..50 {
            sender.publish(Out::new(&s.topic("t"), at.to_string()));
        }
        for at in 0..50 {
            member.expect_message(&s.topic("t"), at.to_string());
        }
        sender.publish(Out::new(&s.topic("t"), "").qos(1).retain());
    });
}
