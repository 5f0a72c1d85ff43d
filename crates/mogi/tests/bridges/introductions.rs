//! How a bridge introduces itself, byte for byte where others might rely on it.

use super::scene::{STATE, Server, setup_to};
use crate::support::{Frame, Id, Out, PacketKind, V5, V31, V311, eventually};
use mogi_codec::{Packet, Properties, PropertyBuf};

fn connect_of(frame: &Frame) -> mogi_codec::Connect<'_> {
    match frame.packet() {
        Packet::Connect(connect) => connect,
        other => panic!("not CONNECT: {other:?}"),
    }
}

#[test]
fn connect_is_mosquitto_s() {
    let server = Server::new(V311);
    let _broker = setup_to(server.port(), "topic # out").start();
    let expected = [
        &b"\x10\x38\x00\x04MQTT\x84\x2c\x00\x3c\x00\x05there\x00\x22"[..],
        STATE.as_bytes(),
        b"\x00\x010",
    ]
    .concat();
    let mut client = server.accept();
    assert_eq!(client.recv().bytes(), expected);
}

#[test]
fn names_and_choices_of_the_file_are_in_connect() {
    let server = Server::new(V31);
    let lines = "bridge_protocol_version mqttv31\ncleansession true\nkeepalive_interval 7\n\
                 remote_username me\nremote_password secret\nnotifications false\n\
                 try_private false\ntopic # out";
    let _broker = setup_to(server.port(), lines).start();
    let frame = server.accept().recv();
    let connect = connect_of(&frame);
    assert_eq!((connect.version, connect.bridge, connect.clean_start), (V31, false, true));
    assert_eq!((connect.keep_alive_s, connect.client_id), (7, "there"));
    assert_eq!((connect.username, connect.password), (Some("me"), Some(&b"secret"[..])));
    assert!(connect.will.is_none());
}

#[test]
fn connect_of_5_0_has_the_limits() {
    let server = Server::new(V5);
    let lines = "bridge_protocol_version mqttv50\nbridge_max_topic_alias 7\n\
                 bridge_receive_maximum 9\nbridge_session_expiry_interval 300\ntopic # out";
    let _broker = setup_to(server.port(), lines).start();
    let frame = server.accept().recv();
    assert!(!connect_of(&frame).bridge);
    let props = frame.props();
    assert_eq!(props.int(Id::TopicAliasMaximum), Some(7));
    assert_eq!(props.int(Id::ReceiveMaximum), Some(9));
    assert_eq!(props.int(Id::SessionExpiryInterval), Some(300));
    let _broker = setup_to(server.port(), "bridge_protocol_version mqttv50\ntopic # out").start();
    // A session that is to be kept is kept.
    let props = server.accept().recv().props();
    assert_eq!(props.int(Id::SessionExpiryInterval), Some(u32::MAX));
    assert_eq!(props.int(Id::ReceiveMaximum), Some(20));
}

#[test]
fn who_does_not_know_bridges_is_asked_as_a_client() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), "topic # both 1").start();
    let mut first = server.accept();
    assert!(connect_of(&first.recv()).bridge);
    server.connack(&mut first, false, 1, Properties::default());
    first.expect_closed();
    for _ in 0..2 {
        let mut next = server.accept();
        assert!(!connect_of(&next.recv()).bridge);
        server.connack(&mut next, false, 0, Properties::default());
        let message = server.next_message(&mut next);
        assert_eq!((&*message.topic, &*message.text()), (STATE, "1"));
    }
    broker.expect_log("Connection Refused: unacceptable protocol version");
}

/// As RabbitMQ does: it closes the connection of who says that it is a bridge.
#[test]
fn who_closes_the_connections_of_bridges_gets_a_client() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), "notifications false\ntopic # both 1").start();
    let attempt = |bridge: bool, welcome: bool| {
        let mut client = server.accept();
        assert_eq!(connect_of(&client.recv()).bridge, bridge);
        if welcome {
            server.connack(&mut client, false, 0, Properties::default());
        }
        client
    };
    drop(attempt(true, false));
    // Somebody is there; was that the reason?
    attempt(false, true).expect(PacketKind::Disconnect);
    drop(attempt(true, false));
    let mut client = attempt(false, true);
    broker.client(V311, "near").publish(Out::new("a", "x").qos(1));
    let message = server.next_message(&mut client);
    client.puback(message.packet_id);
    // What comes back to a client is known from before.
    let mut near = broker.client(V311, "near");
    near.subscribe("#", 1);
    client.send_publish(Out::new("a", "x").qos(1).id(1));
    client.send_publish(Out::new("a", "y").qos(1).id(2));
    client.expect_ack(PacketKind::Puback, 1, 0);
    near.receive("a", "y");
    drop(client);
    attempt(false, true);
}

#[test]
fn who_was_only_away_gets_a_bridge() {
    let server = Server::new(V311);
    let _broker = setup_to(server.port(), "notifications false\ntopic # both 1").start();
    for (bridge, welcome) in [(true, false), (false, true), (true, true), (true, true)] {
        let mut client = server.accept();
        assert_eq!(connect_of(&client.recv()).bridge, bridge);
        if welcome {
            server.connack(&mut client, false, 0, Properties::default());
        }
        if !bridge {
            client.expect(PacketKind::Disconnect);
        }
    }
}

#[test]
fn a_refusal_is_told_and_tried_again_later() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), "topic # both 1").start();
    for _ in 0..2 {
        let mut client = server.accept();
        assert!(connect_of(&client.recv()).bridge);
        server.connack(&mut client, false, 5, Properties::default());
        client.expect_closed();
    }
    broker.expect_log("Connection Refused: not authorised");
}

#[test]
fn subscriptions_are_made_and_others_cancelled() {
    for (lines, cancelled) in [("", true), ("bridge_attempt_unsubscribe false\n", false)] {
        let server = Server::new(V5);
        let lines = format!(
            "{lines}bridge_protocol_version mqttv50\nnotifications false\ntopic a/# in 1 l/ r/\n\
             topic b out 2\n"
        );
        let _broker = setup_to(server.port(), &lines).start();
        let mut client = server.welcome(true);
        let frame = client.expect(PacketKind::Subscribe);
        let Packet::Subscribe(subscribe) = frame.packet() else { unreachable!() };
        let filter = subscribe.filters().next().expect("a filter");
        assert_eq!(filter.filter, "r/a/#");
        assert_eq!(filter.options.qos as u8, 1);
        assert!(filter.options.no_local && filter.options.retain_as_published);
        assert!(server.answer(&mut client, &frame));
        if cancelled {
            let frame = client.expect(PacketKind::Unsubscribe);
            let Packet::Unsubscribe(unsubscribe) = frame.packet() else { unreachable!() };
            assert_eq!(unsubscribe.filters().collect::<Vec<_>>(), ["b"]);
        }
    }
}

#[test]
fn the_keep_alive_is_kept_and_asked_for() {
    let server = Server::new(V311);
    let lines = "keepalive_interval 5\nnotifications false\ntopic # out";
    let broker = setup_to(server.port(), lines).start();
    let mut client = server.welcome(false);
    client.expect(PacketKind::Pingreq);
    // No PINGRESP: the bridge gives this one up and comes again.
    client.expect_closed();
    let mut client = server.welcome(false);
    client.expect(PacketKind::Pingreq);
    client.send(&[0xD0, 0]);
    client.expect(PacketKind::Pingreq);
    broker.expect_log("disconnected: it does not answer.");
}

#[test]
fn a_subscription_that_is_refused_is_told() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), "notifications false\ntopic a in 1").start();
    let mut client = server.welcome(false);
    let id = client.expect(PacketKind::Subscribe).packet_id().expect("an id").to_be_bytes();
    client.send(&[0x90, 3, id[0], id[1], 0x80]);
    broker.expect_log("does not grant the subscription to 'a'");
}

#[test]
fn tcp_is_given_what_the_file_says() {
    let server = Server::new(V311);
    let lines = "bridge_bind_address 127.0.0.3\nbridge_tcp_keepalive 11 3 4\n\
                 bridge_tcp_user_timeout 5000\nnotifications false\ntopic # out";
    let _broker = setup_to(server.port(), lines).start();
    let client = server.welcome(false);
    let peer = client.stream().peer_addr().expect("a connected socket");
    assert_eq!(peer.ip().to_string(), "127.0.0.3");
    // A timer of keep alive (02) runs, whose first probe is due within eleven seconds.
    let port = format!(":{:04X} ", peer.port());
    eventually("keep alive in /proc/net/tcp", || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        table.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let ours = fields.get(1).is_some_and(|at| format!("{at} ").ends_with(&port));
            let timer = fields.get(5).and_then(|field| field.split_once(':'));
            ours && timer.is_some_and(|(kind, when)| {
                kind == "02" && u32::from_str_radix(when, 16).is_ok_and(|ticks| ticks <= 1100)
            })
        })
    });
}

#[test]
fn the_limits_of_5_0_are_kept() {
    let server = Server::new(V5);
    let lines = "bridge_protocol_version mqttv50\nnotifications false\ntopic # both 2";
    let broker = setup_to(server.port(), lines).start();
    let mut client = server.accept();
    client.expect(PacketKind::Connect);
    let mut properties = PropertyBuf::new();
    properties.int(Id::MaximumQos, 1).int(Id::RetainAvailable, 0).int(Id::MaximumPacketSize, 100);
    properties.int(Id::ReceiveMaximum, 2).int(Id::ServerKeepAlive, 1000);
    server.connack(&mut client, false, 0, properties.as_properties());
    let frame = client.expect(PacketKind::Subscribe);
    let Packet::Subscribe(subscribe) = frame.packet() else { unreachable!() };
    assert_eq!(subscribe.filters().next().map(|it| it.options.qos as u8), Some(1));
    server.answer(&mut client, &frame);
    // A retained message that comes before would come once more.
    super::scene::await_up(&broker, 1);
    let mut near = broker.client(V311, "near");
    near.publish(Out::new("a", [b'x'; 200]).qos(2));
    for at in 0..4 {
        near.publish(Out::new("a", at.to_string()).qos(2).retain());
    }
    broker.expect_log("Dropping too large outgoing PUBLISH for local.there");
    let first = client.expect_message("a", "0");
    assert_eq!((first.qos, first.retain), (1, false));
    let second = client.expect_message("a", "1");
    // No third one before one of them is acknowledged.
    client.puback(first.packet_id);
    let third = client.expect_message("a", "2");
    client.puback(second.packet_id);
    client.puback(third.packet_id);
    let fourth = client.expect_message("a", "3");
    client.puback(fourth.packet_id);
    near.publish(Out::new("a", "end").qos(2));
    client.expect_message("a", "end");
}
