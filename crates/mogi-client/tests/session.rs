//! The client's side of the protocol, packet by packet, without sockets.

mod support;

use mogi_client::{Client, Error, Event, Options, PublishError, PublishRequest, WillMessage};
use mogi_codec::{
    Ack, Connack, Packet, PacketKind, Properties, PropertyBuf, PropertyId, Publish, QoS, Reason,
    SubscribeFilter, SubscribeOptions, Version,
};
use support::{connected, events, feed, request, sent, sent_kinds, text};

#[test]
fn connect_says_what_the_options_say() {
    let mut properties = PropertyBuf::new();
    properties.int(PropertyId::SessionExpiryInterval, 7);
    let mut client = Client::new(Options {
        username: Some("user".to_owned()),
        password: Some(b"pw".to_vec()),
        will: Some(WillMessage {
            topic: "gone".to_owned(),
            payload: b"bye".to_vec(),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: PropertyBuf::new(),
        }),
        properties,
        ..Options::new(Version::V5, "me".to_owned())
    });
    client.connect(0);
    let out = client.output().to_vec();
    let Ok(Some((Packet::Connect(connect), _))) = Packet::parse(Version::V5, &out) else {
        panic!("no CONNECT: {out:?}");
    };
    assert_eq!((connect.client_id, connect.keep_alive_s), ("me", 60));
    assert_eq!(connect.username, Some("user"));
    assert_eq!(connect.password, Some(&b"pw"[..]));
    let expiry = connect.properties.int(PropertyId::SessionExpiryInterval);
    assert_eq!(expiry, Some(7));
    let will = connect.will.expect("a will");
    assert_eq!((will.topic, will.payload), ("gone", &b"bye"[..]));
    assert_eq!((will.qos, will.retain), (QoS::AtLeastOnce, true));
}

#[test]
fn refusals_name_the_code_and_end_the_connection() {
    for (version, code) in [(Version::V31, 5), (Version::V311, 4), (Version::V5, 0x87)] {
        let mut client = Client::new(Options::new(version, String::new()));
        client.connect(0);
        let mut bytes = Vec::new();
        let refusal = Connack { session_present: false, code, properties: Properties::default() };
        refusal.encode(version, &mut bytes);
        assert_eq!(feed(&mut client, &bytes), [format!("Refused {code}")]);
        assert!(!client.is_connected());
        let publish = request("a", b"", QoS::AtMostOnce);
        assert_eq!(client.publish(0, &publish), Err(PublishError::NotConnected));
    }
}

#[test]
fn mqtt_3_2_2_22_a_second_connack_breaks_the_protocol() {
    let mut client = connected(Version::V5, &PropertyBuf::new());
    let mut bytes = Vec::new();
    support::connack(Version::V5, false, &PropertyBuf::new(), &mut bytes);
    let error = client.next_event(0, &mut &bytes[..]).expect_err("an error");
    assert!(matches!(error, Error::Protocol(it) if it.reason == Reason::ProtocolError));
    assert_eq!(client.output(), [0xE0, 1, 0x82], "DISCONNECT 0x82");
    assert!(!client.is_connected());
}

#[test]
fn packets_may_come_in_pieces() {
    let mut client = connected(Version::V311, &PropertyBuf::new());
    let mut bytes = Vec::new();
    support::publish("a/b", b"hello", QoS::AtMostOnce, 0, false, Version::V311, &mut bytes);
    for end in 0..bytes.len() {
        let mut part = &bytes[..end];
        assert_eq!(client.next_event(0, &mut part), Ok(None));
        assert_eq!(part.len(), end, "nothing of an incomplete packet is taken");
    }
    assert_eq!(feed(&mut client, &bytes), ["Message a/b hello"]);
}

#[test]
fn mqtt_4_3_2_qos_1_goes_both_ways() {
    let mut client = connected(Version::V5, &PropertyBuf::new());
    let id = client.publish(0, &request("a", b"x", QoS::AtLeastOnce));
    assert_eq!(id, Ok(1));
    assert_eq!(sent_kinds(&mut client, Version::V5), ["PUBLISH 1"]);
    let mut bytes = Vec::new();
    let ack = Ack::new(1, Reason::NoMatchingSubscribers);
    ack.encode(Version::V5, PacketKind::Puback, &mut bytes);
    assert_eq!(feed(&mut client, &bytes), ["Published 1 0x10"]);
    assert_eq!(client.inflight(), 0);

    let mut bytes = Vec::new();
    support::publish("t", b"in", QoS::AtLeastOnce, 9, false, Version::V5, &mut bytes);
    assert_eq!(feed(&mut client, &bytes), ["Message t in"]);
    assert_eq!(sent_kinds(&mut client, Version::V5), ["PUBACK 9"]);
}

#[test]
fn mqtt_4_3_3_qos_2_goes_both_ways() {
    let mut client = connected(Version::V311, &PropertyBuf::new());
    let version = Version::V311;
    client.publish(0, &request("a", b"x", QoS::ExactlyOnce)).expect("connected");
    sent(&mut client);
    let ack = |kind, id| {
        let mut bytes = Vec::new();
        Ack::new(id, Reason::Success).encode(version, kind, &mut bytes);
        bytes
    };
    assert!(feed(&mut client, &ack(PacketKind::Pubrec, 1)).is_empty());
    assert_eq!(sent_kinds(&mut client, version), ["PUBREL 1"]);
    assert!(feed(&mut client, &ack(PacketKind::Pubrec, 1)).is_empty());
    assert_eq!(sent_kinds(&mut client, version), ["PUBREL 1"]);
    let done = feed(&mut client, &ack(PacketKind::Pubcomp, 1));
    assert_eq!(done, ["Published 1 0x00"]);

    let mut bytes = Vec::new();
    support::publish("t", b"in", QoS::ExactlyOnce, 9, false, version, &mut bytes);
    support::publish("t", b"in", QoS::ExactlyOnce, 9, true, version, &mut bytes);
    assert!(feed(&mut client, &bytes).is_empty(), "not before PUBREL");
    assert_eq!(sent_kinds(&mut client, version), ["PUBREC 9", "PUBREC 9"]);
    let release = ack(PacketKind::Pubrel, 9);
    assert_eq!(feed(&mut client, &release), ["Message t in"]);
    assert!(feed(&mut client, &release).is_empty(), "once");
    assert_eq!(sent_kinds(&mut client, version), ["PUBCOMP 9", "PUBCOMP 9"]);
}

#[test]
fn mqtt_3_3_4_9_the_window_is_the_smaller_of_both_sides() {
    let mut properties = PropertyBuf::new();
    properties.int(PropertyId::ReceiveMaximum, 2);
    let mut client = connected(Version::V5, &properties);
    let publish = request("a", b"", QoS::AtLeastOnce);
    assert_eq!(client.publish(0, &publish), Ok(1));
    assert_eq!((client.room(), client.inflight()), (1, 1));
    assert_eq!(client.publish(0, &publish), Ok(2));
    assert_eq!(client.publish(0, &publish), Err(PublishError::WindowFull));
    let qos_0 = request("a", b"", QoS::AtMostOnce);
    assert_eq!(client.publish(0, &qos_0), Ok(3), "QoS 0 needs no window");
}

#[test]
fn what_the_server_does_not_take_is_refused_before_it_is_sent() {
    let mut properties = PropertyBuf::new();
    properties
        .int(PropertyId::MaximumQos, 1)
        .int(PropertyId::RetainAvailable, 0)
        .int(PropertyId::MaximumPacketSize, 30)
        .int(PropertyId::TopicAliasMaximum, 2);
    let mut client = connected(Version::V5, &properties);
    sent(&mut client);
    let mut alias = PropertyBuf::new();
    alias.int(PropertyId::TopicAlias, 3);
    let plain = request("a", b"", QoS::AtMostOnce);
    let cases = [
        (
            request("a", b"", QoS::ExactlyOnce),
            PublishError::QosNotSupported { max: QoS::AtLeastOnce },
        ),
        (PublishRequest { retain: true, ..plain }, PublishError::RetainNotAvailable),
        (
            request("a", &[0; 30], QoS::AtMostOnce),
            PublishError::PacketTooLarge { len: 36, max: 30 },
        ),
        (
            PublishRequest { properties: alias.as_properties(), ..plain },
            PublishError::TopicAliasInvalid { max: 2 },
        ),
    ];
    for (publish, error) in cases {
        assert_eq!(client.publish(0, &publish), Err(error));
    }
    assert!(client.output().is_empty());
}

#[test]
fn mqtt_3_3_2_7_topic_aliases_save_the_topic_and_end_with_the_connection() {
    let mut limits = PropertyBuf::new();
    limits.int(PropertyId::TopicAliasMaximum, 5);
    let mut client = connected(Version::V5, &limits);
    sent(&mut client);
    let mut alias = PropertyBuf::new();
    alias.int(PropertyId::TopicAlias, 3);
    let publish = PublishRequest {
        properties: alias.as_properties(),
        ..request("long/topic", b"", QoS::AtLeastOnce)
    };
    let topic_of = |bytes: &[u8]| match Packet::parse(Version::V5, bytes) {
        Ok(Some((Packet::Publish(publish), _))) => publish.topic.to_owned(),
        other => panic!("{other:?}"),
    };
    let mut topics = Vec::new();
    for _ in 0..2 {
        client.publish(0, &publish).expect("connected");
        topics.push(topic_of(&sent(&mut client)));
    }
    assert_eq!(topics, ["long/topic", ""]);
    client.lost();
    client.connect(0);
    sent(&mut client);
    let mut bytes = Vec::new();
    support::connack(Version::V5, true, &limits, &mut bytes);
    feed(&mut client, &bytes);
    let again = sent(&mut client);
    let second = &again[again.len() / 2..];
    assert_eq!(topic_of(&again), "long/topic");
    assert_eq!(topic_of(second), "long/topic", "sent again in full");
}

#[test]
fn topic_aliases_of_the_server_are_resolved() {
    let mut options = Options::new(Version::V5, String::new());
    options.properties.int(PropertyId::TopicAliasMaximum, 2);
    let mut client = support::connect(options, &PropertyBuf::new());
    let publish = |topic, alias| {
        let mut properties = PropertyBuf::new();
        properties.int(PropertyId::TopicAlias, alias);
        let mut bytes = Vec::new();
        Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: 0,
            properties: properties.as_properties(),
            payload: b"x",
        }
        .encode(Version::V5, &mut bytes);
        bytes
    };
    let mut bytes = publish("one", 1);
    bytes.extend(publish("two", 2));
    bytes.extend(publish("", 1));
    bytes.extend(publish("", 2));
    let told = feed(&mut client, &bytes);
    assert_eq!(told, ["Message one x", "Message two x", "Message one x", "Message two x"]);
    let third = publish("three", 3);
    let error = client.next_event(0, &mut &third[..]);
    let reason = Reason::TopicAliasInvalid;
    assert!(matches!(error, Err(Error::Protocol(it)) if it.reason == reason));
}

#[test]
fn mqtt_4_4_0_1_what_is_in_flight_is_sent_again_in_order() {
    let version = Version::V311;
    let mut client = connected(version, &PropertyBuf::new());
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce] {
        client.publish(0, &request("a", b"", qos)).expect("connected");
    }
    let mut bytes = Vec::new();
    Ack::new(2, Reason::Success).encode(version, PacketKind::Pubrec, &mut bytes);
    feed(&mut client, &bytes);
    client.lost();
    assert_eq!(client.inflight(), 3);

    client.connect(0);
    sent(&mut client);
    let mut bytes = Vec::new();
    support::connack(version, true, &PropertyBuf::new(), &mut bytes);
    feed(&mut client, &bytes);
    let again = sent_kinds(&mut client, version);
    assert_eq!(again, ["PUBLISH 1 dup", "PUBREL 2", "PUBLISH 3 dup"]);

    // A server without the session has taken message 2 over and never seen 1 and 3.
    client.lost();
    client.connect(0);
    sent(&mut client);
    let mut bytes = Vec::new();
    support::connack(version, false, &PropertyBuf::new(), &mut bytes);
    let told = feed(&mut client, &bytes);
    assert_eq!(told, ["Connected false", "Published 2 0x00"]);
    let again = sent_kinds(&mut client, version);
    assert_eq!(again, ["PUBLISH 1", "PUBLISH 3"]);
}

#[test]
fn a_smaller_window_after_a_reconnect_is_kept() {
    let mut client = connected(Version::V5, &PropertyBuf::new());
    for _ in 0..3 {
        let publish = request("a", b"", QoS::AtLeastOnce);
        client.publish(0, &publish).expect("connected");
    }
    client.lost();
    client.connect(0);
    sent(&mut client);
    let mut limits = PropertyBuf::new();
    limits.int(PropertyId::ReceiveMaximum, 1);
    let mut bytes = Vec::new();
    support::connack(Version::V5, true, &limits, &mut bytes);
    feed(&mut client, &bytes);
    assert_eq!(sent_kinds(&mut client, Version::V5), ["PUBLISH 1 dup"]);
    let mut bytes = Vec::new();
    Ack::new(1, Reason::Success).encode(Version::V5, PacketKind::Puback, &mut bytes);
    feed(&mut client, &bytes);
    assert_eq!(sent_kinds(&mut client, Version::V5), ["PUBLISH 2 dup"]);
    assert_eq!(client.room(), 0);
}

#[test]
fn subscriptions_are_answered_by_id() {
    let mut client = connected(Version::V311, &PropertyBuf::new());
    let filter = |filter| SubscribeFilter { filter, options: SubscribeOptions::default() };
    let none = Properties::default();
    assert_eq!(client.subscribe(0, &[], none), None, "[MQTT-3.8.3-2]");
    let filters = [filter("a"), filter("b/#")];
    assert_eq!(client.subscribe(0, &filters, none), Some(1));
    assert_eq!(client.unsubscribe(0, &["c"], none), Some(2));
    let bytes = [0x90, 4, 0, 1, 0, 0x80, 0xB0, 2, 0, 2, 0x90, 3, 0, 7, 0];
    let told = feed(&mut client, &bytes);
    assert_eq!(told, ["Subscribed 1 [0, 128]", "Unsubscribed 2 []"]);
}

#[test]
fn mqtt_3_1_2_23_pings_after_silence_and_gives_up_without_an_answer() {
    let mut client = connected(Version::V311, &PropertyBuf::new());
    sent(&mut client);
    assert_eq!(client.deadline_ms(), Some(60_000));
    assert_eq!(client.tick(59_999), Ok(()));
    assert!(client.output().is_empty());
    assert_eq!(client.tick(60_000), Ok(()));
    assert_eq!(sent(&mut client), [0xC0, 0]);
    feed(&mut client, &[0xD0, 0]);
    assert_eq!(client.deadline_ms(), Some(120_000));
    assert_eq!(client.tick(120_000), Ok(()));
    assert_eq!(client.tick(179_999), Ok(()));
    assert_eq!(client.tick(180_000), Err(Error::KeepAlive));
    assert_eq!(client.deadline_ms(), None);
}

#[test]
fn mqtt_3_1_2_21_the_server_may_set_the_keep_alive() {
    let mut properties = PropertyBuf::new();
    properties.int(PropertyId::ServerKeepAlive, 5);
    let client = connected(Version::V5, &properties);
    assert_eq!(client.deadline_ms(), Some(5_000));
}

#[test]
fn a_server_that_never_answers_connect_is_given_up() {
    let mut client = Client::new(Options::new(Version::V311, String::new()));
    client.connect(1_000);
    assert_eq!(client.tick(60_999), Ok(()));
    assert_eq!(client.tick(61_000), Err(Error::KeepAlive));
}

#[test]
fn mqtt_3_1_2_24_packets_above_the_maximum_are_not_even_waited_for() {
    let mut options = Options::new(Version::V5, String::new());
    options.properties.int(PropertyId::MaximumPacketSize, 20);
    let mut client = support::connect(options, &PropertyBuf::new());
    // The first bytes of a packet of 200 MB.
    let error = client.next_event(0, &mut &[0x30, 0x80, 0x84, 0xAF, 0x5F][..]);
    let reason = Reason::PacketTooLarge;
    assert!(matches!(error, Err(Error::Protocol(it)) if it.reason == reason));
}

#[test]
fn mqtt_3_3_4_9_too_many_unreleased_messages_end_the_connection() {
    let mut options = Options::new(Version::V5, String::new());
    options.properties.int(PropertyId::ReceiveMaximum, 2);
    let mut client = support::connect(options, &PropertyBuf::new());
    let mut bytes = Vec::new();
    for id in 1..=3 {
        support::publish("t", b"", QoS::ExactlyOnce, id, false, Version::V5, &mut bytes);
    }
    let error = client.next_event(0, &mut &bytes[..]);
    let reason = Reason::ReceiveMaximumExceeded;
    assert!(matches!(error, Err(Error::Protocol(it)) if it.reason == reason));
}

#[test]
fn the_server_may_say_goodbye() {
    let mut client = connected(Version::V5, &PropertyBuf::new());
    let told = feed(&mut client, &[0xE0, 1, 0x8B]);
    assert_eq!(told, ["Disconnected 0x8B"]);
    assert!(!client.is_connected());
    assert!(feed(&mut client, &[0xD0, 0]).is_empty(), "nothing after it");
}

#[test]
fn the_trace_names_every_packet() {
    let mut client = Client::new(Options::new(Version::V311, String::new()));
    client.enable_trace();
    client.connect(0);
    feed(&mut client, &[0x20, 2, 0, 0]);
    let publish = request("a", b"x", QoS::AtLeastOnce);
    client.publish(0, &publish).expect("connected");
    feed(&mut client, &[0x40, 2, 0, 1]);
    client.disconnect(Reason::Success, Properties::default());
    let lines: Vec<_> = std::iter::from_fn(|| client.next_trace()).collect();
    assert_eq!(
        lines,
        [
            "sending CONNECT",
            "received CONNACK (0)",
            "sending PUBLISH (d0, q1, r0, m1, 'a', ... (1 bytes))",
            "received PUBACK (Mid: 1, RC:0)",
            "sending DISCONNECT",
        ]
    );
}

#[test]
fn messages_outlive_the_bytes_they_came_in() {
    let mut client = connected(Version::V5, &PropertyBuf::new());
    let owned = {
        let mut properties = PropertyBuf::new();
        properties.user("k", "v");
        let mut bytes = Vec::new();
        Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: true,
            topic: "t",
            packet_id: 0,
            properties: properties.as_properties(),
            payload: b"p",
        }
        .encode(Version::V5, &mut bytes);
        match events(&mut client, &mut &bytes[..]).pop() {
            Some(Event::Message(message)) => message.into_owned(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(text(&Event::Message(owned.clone())), "Message t p");
    assert!(owned.retain);
    assert!(owned.properties().has(PropertyId::UserProperty));
}
