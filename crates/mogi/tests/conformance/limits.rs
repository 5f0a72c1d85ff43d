//! The limits and switches of mosquitto.conf(5), and what happens at them.

use super::scene::{Witnesses, each, start, start_with};
use super::wire::{expect_ended, hex};
use crate::support::{
    Client, Dial, Id, Message, Out, PacketKind, V5, V31, V311, VERSIONS, other_broker,
};
use std::collections::BTreeSet;

/// Publishes the numbers below `count` at QoS 1.
#[track_caller]
fn publish_numbers(sender: &mut Client, topic: &str, count: u32) {
    for at in 0..count {
        sender.publish(Out::new(topic, at.to_string()).qos(1));
    }
}

/// What a client gets and acknowledges until nothing comes any more.
#[track_caller]
fn numbers(client: &mut Client, fence: &mut Client) -> Vec<u32> {
    let messages = all_messages(client, fence);
    let numbers = messages.iter().map(|message| message.text().parse());
    numbers.collect::<Result<_, _>>().expect("numbers")
}

/// What a client gets and acknowledges until nothing comes any more.
#[track_caller]
fn all_messages(client: &mut Client, fence: &mut Client) -> Vec<Message> {
    client.subscribe("fence", 0);
    let mut messages = Vec::new();
    // Acknowledged, everything that waits comes; a fence behind each answer shows when it ends.
    loop {
        fence.publish(Out::new("fence", ""));
        let before = messages.len();
        loop {
            let message = client.expect_publish();
            if message.topic == "fence" {
                break;
            }
            client.complete(&message);
            messages.push(message);
        }
        client.ping();
        if messages.len() == before {
            client.unsubscribe(&["fence"]);
            return messages;
        }
    }
}

/// Twenty in flight; the rest comes as they are acknowledged, in any order; QoS 0 passes.
#[test]
fn max_inflight_messages_is_the_window() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut receiver = s.client("receiver");
        receiver.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        publish_numbers(&mut sender, &topic, 30);
        let ids: Vec<u16> =
            (0..20).map(|at| receiver.expect_message(&topic, at.to_string()).packet_id).collect();
        receiver.expect_nothing_from(&mut sender);
        sender.publish(Out::new(&topic, "passes"));
        receiver.expect_message(&topic, "passes");
        for (at, next) in [(0, 20), (2, 21), (19, 22), (1, 23)] {
            receiver.puback(ids[at]);
            receiver.expect_message(&topic, next.to_string());
            receiver.expect_nothing();
        }
    });
}

/// What does not fit into the queue of an absent client is dropped, newest first, counted and
/// logged; the publisher has done its part.
#[test]
fn max_queued_messages_bounds_what_waits() {
    for (conf, kept) in
        [("", 1000), ("max_queued_messages 10", 10), ("max_queued_messages 0", 1100)]
    {
        let broker = start(&format!("sys_interval 1\n{conf}"));
        for version in [V311, V5] {
            let dial = Dial::persistent(version, &format!("sleeper{version:?}"));
            let mut sleeper = broker.connect(&dial);
            sleeper.subscribe("t", 1);
            sleeper.disconnect();
            let mut sender = broker.client(V5, "sender");
            let mut witnesses = Witnesses::new(&broker, "last");
            publish_numbers(&mut sender, "t", 1100);
            sender.publish(Out::new("last", ""));
            witnesses.expect("last", "");
            let mut sleeper = broker.connect(&dial);
            let expected: Vec<u32> = (0..kept).collect();
            assert_eq!(numbers(&mut sleeper, &mut sender), expected, "{conf}");
            sleeper.unsubscribe(&["t"]);
            let lost =
                format!("Outgoing messages are being dropped for client {}.", dial.client_id);
            assert_eq!(broker.log().matches(&lost).count(), usize::from(kept < 1100));
        }
        let mut client = broker.client(V5, "watcher");
        client.subscribe("$SYS/broker/publish/messages/dropped", 0);
        let wanted = (2 * (1100 - kept)).to_string();
        while client.expect_publish().text() != wanted {}
    }
}

/// The same for a client that is connected and does not acknowledge: what is in flight does not
/// count against the queue.
#[test]
fn a_connected_client_that_does_not_acknowledge_has_window_and_queue() {
    each(&[V311, V5], "max_queued_messages 10\nmax_inflight_messages 3", |s| {
        let topic = s.topic("t");
        let mut receiver = s.client("receiver");
        receiver.subscribe(&topic, 1);
        let mut sender = s.client("sender");
        let mut witnesses = Witnesses::new(s.broker, "last");
        publish_numbers(&mut sender, &topic, 40);
        sender.publish(Out::new("last", ""));
        witnesses.expect("last", "");
        // Mosquitto has room for another window.
        let room = if other_broker() { 16 } else { 13 };
        let expected: Vec<u32> = (0..room).collect();
        assert_eq!(numbers(&mut receiver, &mut sender), expected);
        publish_numbers(&mut sender, &topic, 5);
        assert_eq!(numbers(&mut receiver, &mut sender), [0, 1, 2, 3, 4]);
    });
}

/// Bytes count as well; the first message always flies.
#[test]
fn max_queued_bytes_and_max_inflight_bytes() {
    let payload = "x".repeat(100);
    let cases = [
        ("max_inflight_bytes 1000", 8..=10, 60..=60),
        ("max_inflight_bytes 50", 1..=1, 60..=60),
        ("max_queued_bytes 1000", 20..=20, 27..=30),
    ];
    for (conf, first, all) in cases {
        if other_broker() && conf.starts_with("max_queued_bytes") {
            continue; // Its QoS 0 messages are dropped as well.
        }
        let broker = start(conf);
        let mut receiver = broker.client(V311, "receiver");
        receiver.subscribe("t", 1);
        let mut sender = broker.client(V311, "sender");
        for _ in 0..60 {
            sender.publish(Out::new("t", &payload).qos(1));
        }
        receiver.subscribe("fence", 0);
        sender.publish(Out::new("fence", ""));
        let mut flying = Vec::new();
        let mut message = receiver.expect_publish();
        while message.topic != "fence" {
            flying.push(message);
            message = receiver.expect_publish();
        }
        assert!(first.contains(&flying.len()), "{conf}: {}", flying.len());
        let mut count = flying.len();
        for message in flying {
            receiver.complete(&message);
        }
        count += all_messages(&mut receiver, &mut sender).len();
        assert!(all.contains(&count), "{conf}: {count}");
    }
}

/// QoS 0 messages wait for nobody, unless told to.
#[test]
fn queue_qos0_messages() {
    for (conf, kept) in [("", 0), ("queue_qos0_messages true", 30)] {
        let broker = start(conf);
        for (version, qos) in [(V31, 0), (V311, 0), (V311, 1), (V5, 2)] {
            let dial = Dial::persistent(version, &format!("s{version:?}{qos}"));
            let mut sleeper = broker.connect(&dial);
            sleeper.subscribe("t", qos);
            sleeper.disconnect();
            let mut sender = broker.client(V5, "sender");
            let mut witnesses = Witnesses::new(&broker, "t");
            for at in 0..30 {
                sender.publish(Out::new("t", at.to_string()));
                witnesses.expect("t", &at.to_string());
            }
            let mut sleeper = broker.connect(&dial);
            let expected: Vec<u32> = (0..kept).collect();
            assert_eq!(numbers(&mut sleeper, &mut sender), expected);
            sleeper.unsubscribe(&["t"]);
        }
    }
}

/// Messages are delivered at the subscription's QoS, also when published with less.
#[test]
fn upgrade_outgoing_qos() {
    each(&VERSIONS, "upgrade_outgoing_qos true", |s| {
        let topic = s.topic("t");
        let mut sender = s.client("sender");
        for wanted in 0..=2 {
            let mut receiver = s.client("receiver");
            receiver.subscribe(&topic, wanted);
            for published in 0..=2 {
                sender.publish(Out::new(&topic, "x").qos(published));
                assert_eq!(receiver.receive(&topic, "x").qos, wanted);
            }
            sender.publish(Out::new(&topic, "kept").retain());
            receiver.receive(&topic, "kept");
            receiver.subscribe(&topic, wanted);
            assert_eq!(receiver.receive(&topic, "kept").qos, wanted);
            sender.publish(Out::new(&topic, "").qos(1).retain());
        }
    });
}

/// A larger payload is not taken. 3.x publishers cannot be told.
///
/// 5.0: MQTT-3.4.2-1, MQTT-3.5.2-1. 3.1.1: MQTT-3.3.5-2.
#[test]
fn mqtt_3_4_2_1_message_size_limit_refuses_large_payloads() {
    // Mosquitto says 0x95 in 5.0, which PUBACK and PUBREC do not have.
    let versions = if other_broker() { &VERSIONS[..2] } else { &VERSIONS };
    each(versions, "message_size_limit 10", |s| {
        let topic = s.topic("t");
        let mut receiver = s.client("receiver");
        receiver.subscribe(&topic, 0);
        let mut sender = s.client("sender");
        let code = if s.v5() { 0x83 } else { 0 };
        for qos in 0..=2 {
            let large = Out::new(&topic, "x".repeat(11)).qos(qos);
            let told = sender.publish_code(large);
            assert_eq!(told, if qos == 0 { 0 } else { code });
            sender.publish(Out::new(&topic, "x".repeat(10)).qos(qos));
            receiver.expect_message(&topic, "x".repeat(10));
        }
        receiver.expect_nothing_from(&mut sender);
    });
}

/// 5.0: MQTT-3.2.2-9, MQTT-3.2.2-10, MQTT-3.2.2-12. 3.1.1: MQTT-3.2.2-6.
#[test]
fn mqtt_3_2_2_10_max_qos_limits_publishers_and_grants_less() {
    for limit in [0, 1] {
        let broker = start(&format!("listener {{port}} 127.0.0.1\nmax_qos {limit}"));
        for version in VERSIONS {
            let mut client = broker.client(version, "client");
            let ack = client.subscribe_with(&[("t", 2), ("u", 0)], &Default::default());
            assert_eq!(ack.codes(), [limit, 0]);
            client.publish(Out::new("t", "x").qos(limit));
            assert_eq!(client.receive("t", "x").qos, limit);
            for qos in limit + 1..=2 {
                let mut client = broker.client(version, "high");
                client.send_publish(Out::new("t", "x").qos(qos));
                client.expect_ended(0x9B);
                let will = Dial::new(version, "will").will("w", "x").will_qos(qos);
                let mut client = broker.dial(&will);
                if version == V5 {
                    client.expect_bytes(&hex(&format!("20 05 00 9b 02 24 {limit:02x}")));
                }
                client.expect_closed();
            }
        }
    }
}

/// 5.0: MQTT-3.2.2-13. 3.1.1: MQTT-3.2.2-6.
#[test]
fn mqtt_3_2_2_13_retain_available_false_refuses_retained_messages() {
    let broker = start("retain_available false");
    for version in VERSIONS {
        for qos in 0..=2 {
            let mut client = broker.client(version, "keeper");
            client.send_publish(Out::new("t", "x").qos(qos).retain());
            client.expect_ended(0x9A);
        }
        let will = Dial::new(version, "will").will("w", "x").will_retain();
        let mut client = broker.dial(&will);
        if version == V5 {
            client.expect_bytes(&hex("20 03 00 9a 00"));
        }
        client.expect_closed();
        broker.client(version, "ordinary").publish(Out::new("t", "x").qos(1));
    }
}

/// More QoS 2 messages at once than the receive maximum: a 3.x publisher cannot know it, and
/// loses nothing. Attack E24.
///
/// 3.1.1: MQTT-4.3.3-2.
#[test]
fn mqtt_4_3_3_2_a_3_x_publisher_may_have_any_number_in_flight() {
    if other_broker() {
        return; // Mosquitto acknowledges them all and delivers twenty.
    }
    each(&[V31, V311], "max_inflight_messages 20\nmax_queued_messages 0", |s| {
        let topic = s.topic("t");
        let mut receiver = s.client("receiver");
        receiver.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        let mut bytes = Vec::new();
        for id in 1..=400_u16 {
            let out = Out::new(&topic, (id - 1).to_string()).qos(2).id(id);
            bytes.extend_from_slice(&out.bytes(s.version));
        }
        sender.send(&bytes);
        for id in 1..=400 {
            sender.expect_ack(PacketKind::Pubrec, id, 0);
        }
        for id in 1..=400 {
            sender.pubrel(id);
        }
        for id in 1..=400 {
            sender.expect_ack(PacketKind::Pubcomp, id, 0);
        }
        let mut fence = s.client("fence");
        let expected: Vec<u32> = (0..400).collect();
        assert_eq!(numbers(&mut receiver, &mut fence), expected);
    });
}

/// A 5.0 publisher knows it: some excess is borne without loss, then it is told. Attack Q15.
///
/// 5.0: MQTT-3.3.4-7, MQTT-3.14.2-1, MQTT-4.3.3-8.
#[test]
fn mqtt_3_3_4_7_exceeding_the_receive_maximum_ends_in_0x93() {
    if other_broker() {
        return; // Mosquitto answers 0x97 to every second one.
    }
    let broker = start_with("max_inflight_messages 5", "receive_maximum_tolerance 3\n");
    let mut receiver = broker.client(V5, "receiver");
    receiver.subscribe("t", 2);
    let mut sender = broker.client(V5, "sender");
    for id in 1..=15 {
        sender.send_publish(Out::new("t", id.to_string()).qos(2).id(id));
        sender.expect_ack(PacketKind::Pubrec, id, 0);
    }
    sender.send_publish(Out::new("t", "16").qos(2).id(16));
    sender.expect_disconnect(0x93);
    // What was acknowledged was taken.
    let mut fence = broker.client(V311, "fence");
    let expected: Vec<u32> = (1..=15).collect();
    assert_eq!(numbers(&mut receiver, &mut fence), expected);
    // A repeat is no more than what it repeats. Attack Q14.
    let mut sender = broker.client(V5, "sender");
    let same = Out::new("t", "99").qos(2).id(7).bytes(V5);
    sender.send(&same.repeat(2000));
    for _ in 0..2000 {
        sender.expect_ack(PacketKind::Pubrec, 7, 0);
    }
    assert_eq!(numbers(&mut receiver, &mut fence), [99]);
}

/// All 65,535 ids of a 3.1.1 publisher without PUBREL. Attack Q16.
#[test]
fn every_packet_id_may_wait_for_its_release() {
    if other_broker() {
        return;
    }
    let broker = start("");
    let mut sender = broker.client(V311, "sender");
    for ids in (1..=u16::MAX).collect::<Vec<_>>().chunks(1000) {
        let packets = ids.iter().map(|&id| Out::new("t", "x").qos(2).id(id).bytes(V311));
        sender.send(&packets.flatten().collect::<Vec<u8>>());
        for &id in ids {
            sender.expect_ack(PacketKind::Pubrec, id, 0);
        }
    }
    sender.send_publish(Out::new("t", "x").qos(2).id(9));
    sender.expect_ack(PacketKind::Pubrec, 9, 0);
    sender.pubrel(9);
    sender.expect_ack(PacketKind::Pubcomp, 9, 0);
}

/// Mosquitto's topics below `$SYS/broker/`, but for those of the load.
const SYS: [&str; 28] = [
    "version",
    "uptime",
    "clients/total",
    "clients/disconnected",
    "clients/inactive",
    "clients/connected",
    "clients/active",
    "clients/expired",
    "messages/stored",
    "messages/received",
    "messages/sent",
    "store/messages/count",
    "store/messages/bytes",
    "subscriptions/count",
    "shared_subscriptions/count",
    "retained messages/count",
    "heap/current",
    "heap/maximum",
    "bytes/received",
    "bytes/sent",
    "publish/bytes/received",
    "publish/bytes/sent",
    "publish/messages/dropped",
    "publish/messages/received",
    "publish/messages/sent",
    "packet/out/count",
    "packet/out/bytes",
    "connections/socket/count",
];

/// Below `$SYS/broker/load/`, each over three spans.
const LOADS: [&str; 9] = [
    "messages/received",
    "messages/sent",
    "publish/dropped",
    "publish/received",
    "publish/sent",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];

/// The names of Mosquitto's tree are there, retained, with values of its form.
#[test]
fn sys_topics_have_mosquittos_names() {
    let broker = start("sys_interval 1");
    let mut client = broker.client(V5, "watcher");
    client.subscribe("$SYS/#", 2);
    let mut wanted: BTreeSet<String> = SYS.map(|name| format!("$SYS/broker/{name}")).into();
    for load in LOADS {
        for span in ["1min", "5min", "15min"] {
            wanted.insert(format!("$SYS/broker/load/{load}/{span}"));
        }
    }
    while !wanted.is_empty() {
        let message = client.expect_publish();
        client.complete(&message);
        wanted.remove(&message.topic);
        let text = message.text();
        let form = match message.topic.trim_start_matches("$SYS/broker/") {
            "version" => text.contains("version"),
            "uptime" => text.ends_with(" seconds"),
            load if load.starts_with("load/") => text.parse::<f64>().is_ok() && text.contains('.'),
            _ => text.parse::<u64>().is_ok(),
        };
        assert!(form, "{}: {text}", message.topic);
    }
    // They go on.
    while client.expect_publish().topic != "$SYS/broker/uptime" {}
    let mut late = broker.client(V311, "late");
    late.subscribe("$SYS/broker/uptime", 0);
    assert!(late.expect_publish().retain);
}

/// Attack Q05 to Q24 in one: whatever a client does wrong, its session is its own affair.
#[test]
fn a_client_that_breaks_rules_keeps_its_session() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("t");
        let mut client = s.connect(&s.persistent("clumsy"));
        client.subscribe(&topic, 1);
        client.send(&[0, 0]);
        expect_ended("kind 0", &mut client, &[0x81, 0x82]);
        s.client("sender").publish(Out::new(&topic, "waiting").qos(1));
        let mut client = s.connect(&s.persistent("clumsy"));
        let message = client.receive(&topic, "waiting");
        assert!(!message.props.has(Id::TopicAlias));
    });
}
