//! A message is acknowledged on one side when the other side has acknowledged it, and broken
//! exchanges are taken up where they were.

use super::scene::{Server, setup_to};
use crate::support::{Broker, Client, Id, Out, PacketKind, Reason, V5, V311};

const QUIET: &str = "notifications false\n";

fn topics(lines: &str) -> String {
    format!("{QUIET}{lines}")
}

/// A new connection of the bridge with a session that is there.
#[track_caller]
fn again(server: &Server) -> Client {
    server.welcome(true)
}

#[test]
fn qos_1_is_sent_again_until_it_is_acknowledged() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), &topics("topic # out 1")).start();
    let mut client = server.welcome(false);
    broker.client(V311, "near").publish(Out::new("a", "x").qos(1));
    let first = server.next_message(&mut client);
    drop(client);
    let mut client = again(&server);
    let second = server.next_message(&mut client);
    assert_eq!((second.packet_id, second.dup, &*second.text()), (first.packet_id, true, "x"));
    client.puback(second.packet_id);
    broker.expect_log("Received PUBACK from local.there");
    drop(client);
    let mut client = again(&server);
    broker.client(V311, "near").publish(Out::new("a", "y").qos(1));
    assert_eq!(server.next_message(&mut client).text(), "y");
}

#[test]
fn qos_2_goes_on_with_pubrel() {
    for version in [V311, V5] {
        let server = Server::new(version);
        let protocol = if version == V5 { "mqttv50" } else { "mqttv311" };
        let lines = format!("bridge_protocol_version {protocol}\ntopic # out 2");
        let broker = setup_to(server.port(), &topics(&lines)).start();
        let mut client = server.welcome(false);
        broker.client(V311, "near").publish(Out::new("a", "x").qos(2));
        let message = server.next_message(&mut client);
        client.pubrec(message.packet_id);
        client.expect_ack(PacketKind::Pubrel, message.packet_id, 0);
        drop(client);
        // The message itself is not sent again.
        let mut client = again(&server);
        let frame = loop {
            let frame = client.recv();
            if !server.answer(&mut client, &frame) {
                break frame;
            }
        };
        assert_eq!(
            (frame.kind(), frame.packet_id()),
            (PacketKind::Pubrel, Some(message.packet_id))
        );
        client.pubcomp(message.packet_id);
        broker.expect_log("Received PUBCOMP from local.there");
        drop(client);
        let mut client = again(&server);
        broker.client(V311, "near").publish(Out::new("a", "y").qos(2));
        assert_eq!(server.next_message(&mut client).text(), "y");
    }
}

#[test]
fn what_comes_in_twice_is_delivered_once() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), &topics("topic # in 2")).start();
    let mut near = broker.client(V311, "near");
    near.subscribe("#", 2);
    let mut client = server.welcome(false);
    let subscribe = client.recv();
    server.answer(&mut client, &subscribe);
    client.send_publish(Out::new("a", "x").qos(2).id(7));
    client.expect_ack(PacketKind::Pubrec, 7, 0);
    near.receive("a", "x");
    drop(client);
    let mut client = again(&server);
    let subscribe = client.recv();
    server.answer(&mut client, &subscribe);
    client.send_publish(Out::new("a", "x").qos(2).id(7).dup());
    client.expect_ack(PacketKind::Pubrec, 7, 0);
    client.pubrel(7);
    client.expect_ack(PacketKind::Pubcomp, 7, 0);
    client.send_publish(Out::new("a", "next").qos(2).id(7));
    client.expect_ack(PacketKind::Pubrec, 7, 0);
    near.receive("a", "next");
}

#[test]
fn a_new_session_s_packet_ids_are_new() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), &topics("topic # in 2")).start();
    let mut near = broker.client(V311, "near");
    near.subscribe("#", 2);
    for round in 0..3 {
        // The server has forgotten the session each time, and with it the ids it had used.
        let mut client = server.welcome(false);
        let subscribe = client.recv();
        server.answer(&mut client, &subscribe);
        client.send_publish(Out::new("a", round.to_string()).qos(2).id(7));
        client.expect_ack(PacketKind::Pubrec, 7, 0);
        near.receive("a", round.to_string());
    }
}

#[test]
fn an_error_of_the_other_broker_ends_the_exchange() {
    let server = Server::new(V5);
    let lines = topics("bridge_protocol_version mqttv50\ntopic # out 2");
    let broker = setup_to(server.port(), &lines).start();
    let mut client = server.welcome(false);
    let mut near = broker.client(V311, "near");
    near.publish(Out::new("a", "one").qos(1));
    let one = server.next_message(&mut client);
    client.send_ack(PacketKind::Puback, one.packet_id, Reason::QuotaExceeded);
    near.publish(Out::new("a", "two").qos(2));
    let two = server.next_message(&mut client);
    client.send_ack(PacketKind::Pubrec, two.packet_id, Reason::NotAuthorized);
    near.publish(Out::new("a", "three").qos(2));
    assert_eq!(server.next_message(&mut client).text(), "three");
    broker.expect_log("does not take a message, and it is dropped");
}

#[test]
fn topic_aliases_are_understood_and_too_large_ones_are_not() {
    let server = Server::new(V5);
    let lines = topics("bridge_protocol_version mqttv50\ntopic # in 1 l/ r/");
    let broker = setup_to(server.port(), &lines).start();
    let mut near = broker.client(V5, "near");
    near.subscribe("#", 1);
    let mut client = server.welcome(false);
    let subscribe = client.recv();
    server.answer(&mut client, &subscribe);
    client.send_publish(Out::new("r/a", "one").int(Id::TopicAlias, 10));
    client.send_publish(Out::new("", "two").int(Id::TopicAlias, 10));
    assert!(!near.receive("l/a", "one").props.has(Id::TopicAlias));
    near.receive("l/a", "two");
    client.send_publish(Out::new("r/a", "three").int(Id::TopicAlias, 11));
    while client.next().is_some() {}
    broker.expect_log("topic alias above the maximum");
}

#[test]
fn messages_nobody_asked_for_are_acknowledged_and_dropped() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), &topics("topic a in 2")).start();
    let mut near = broker.client(V311, "near");
    near.subscribe("#", 2);
    let mut client = server.welcome(true);
    let subscribe = client.recv();
    server.answer(&mut client, &subscribe);
    client.send_publish(Out::new("old", "x").qos(1).id(5));
    client.expect_ack(PacketKind::Puback, 5, 0);
    client.send_publish(Out::new("old", "x").qos(2).id(6));
    client.expect_ack(PacketKind::Pubrec, 6, 0);
    client.pubrel(6);
    client.expect_ack(PacketKind::Pubcomp, 6, 0);
    client.send_publish(Out::new("a", "x").qos(1).id(5));
    near.receive("a", "x");
    broker.expect_log("which is none of the bridge's topics");
}

#[test]
fn what_is_too_large_for_this_broker_does_not_come_again_and_again() {
    let server = Server::new(V311);
    let lines = topics("max_packet_size 1000\ntopic # in 2");
    let broker = setup_to(server.port(), &lines).start();
    let mut near = broker.client(V311, "near");
    near.subscribe("#", 2);
    let mut client = server.welcome(false);
    let subscribe = client.recv();
    server.answer(&mut client, &subscribe);
    client.send_publish(Out::new("a", vec![b'x'; 300_000]).qos(1).id(5));
    client.send_publish(Out::new("a", "small").qos(1).id(6));
    client.expect_ack(PacketKind::Puback, 5, 0);
    near.receive("a", "small");
    broker.expect_log("dropping a message for 'a'");
}

#[test]
fn more_messages_than_this_broker_takes_at_once_wait() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), &topics("topic # in 2")).start();
    let mut near = broker.client(V311, "near");
    near.subscribe("#", 0);
    let mut client = server.welcome(false);
    let subscribe = client.recv();
    server.answer(&mut client, &subscribe);
    // Ten times as many as would end a client's connection.
    for id in 1..=2000 {
        client.send_publish(Out::new("a", id.to_string()).qos(2).id(id));
    }
    let mut done = 0;
    while done < 2000 {
        let frame = client.recv();
        match frame.kind() {
            PacketKind::Pubrec => client.pubrel(frame.packet_id().expect("an id")),
            kind => {
                assert_eq!(kind, PacketKind::Pubcomp);
                done += 1;
            }
        }
    }
    for id in 1..=2000 {
        near.receive("a", id.to_string());
    }
}

#[test]
fn a_stranger_with_the_bridge_s_id_does_not_stop_it() {
    let remote = Broker::start("");
    let broker = super::scene::bridged(&remote, "topic # both 1");
    drop(broker.client(V311, "local.there"));
    broker.expect_log("its client local.there in this broker is gone");
    super::scene::await_up(&broker, 2);
    let mut far = remote.client(V311, "far");
    far.subscribe("#", 1);
    broker.client(V311, "near").publish(Out::new("a", "x").qos(1));
    far.receive("a", "x");
}

#[test]
fn rubbish_ends_the_connection_and_nothing_else() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), &topics("topic # both 1")).start();
    for rubbish in [&b"\xff\xff\xff\xff\xff"[..], b"\x10\x00", b"\x20\x02\x00\x00"] {
        let mut client = server.welcome(false);
        client.send(rubbish);
        while client.next().is_some() {}
    }
    let mut client = server.accept();
    client.send(b"\x30\x03\x00\x01a");
    while client.next().is_some() {}
    let mut client = server.welcome(false);
    broker.client(V311, "near").publish(Out::new("a", "x").qos(1));
    assert_eq!(server.next_message(&mut client).text(), "x");
}

#[test]
fn a_broker_that_does_not_read_holds_up_nothing_but_its_own_messages() {
    let server = Server::new(V311);
    let broker = setup_to(server.port(), &topics("topic # both 1 l/ r/")).start();
    let mut client = server.welcome(false);
    let subscribe = client.recv();
    server.answer(&mut client, &subscribe);
    super::scene::await_up(&broker, 1);
    let mut near = broker.client(V311, "near");
    let load = vec![b'x'; 100_000];
    while !broker.log().contains("Outgoing messages are being dropped for client local.there.") {
        near.publish(Out::new("l/load", &load));
        near.ping();
    }
    near.subscribe("l/in", 1);
    for id in 1..=50 {
        client.send_publish(Out::new("r/in", id.to_string()).qos(1).id(id));
        near.receive("l/in", id.to_string());
    }
    near.publish(Out::new("l/kept", "x").qos(1));
    loop {
        let frame = client.recv();
        if frame.kind() == PacketKind::Publish {
            let message = crate::support::Message::of(&frame);
            if message.topic == "r/kept" {
                break;
            }
            assert_eq!(message.topic, "r/load");
        }
    }
}
