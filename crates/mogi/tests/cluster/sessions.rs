//! Sessions that go from node to node.

use super::scene::{
    Site, TOLD, begin, expect_no_message, free_port, publish, resume, sleeper, three, two,
};
use crate::support::{Dial, Out, PacketKind, V5, eventually};

#[test]
fn a_queue_filled_anywhere_is_found_anywhere() {
    let [a, b, c] = three();
    for version in TOLD {
        let id = format!("{version:?}");
        sleeper(&a, version, &id, "t", 2);
        let nodes = [&a, &b, &c];
        for n in 0..30 {
            publish(nodes[n % 3], "t", &n.to_string(), 2);
        }
        let mut client = resume(&b, version, &id);
        let got: Vec<usize> = (0..30)
            .map(|_| {
                let message = client.expect_publish();
                client.complete(&message);
                String::from_utf8_lossy(&message.payload).parse().expect("a number")
            })
            .collect();
        // Each node numbers its own: what two of them take within a millisecond has no order.
        for node in 0..3 {
            let of_node: Vec<usize> = got.iter().copied().filter(|n| n % 3 == node).collect();
            assert_eq!(of_node, (node..30).step_by(3).collect::<Vec<_>>());
        }
        client.expect_nothing();
        client.disconnect();
        expect_no_message(&mut resume(&c, version, &id));
        a.connect(&Dial::new(version, &id)).disconnect();
    }
}

#[test]
fn subscriptions_go_with_their_session() {
    let [a, b] = two();
    let mut client = begin(&a, V5, "client");
    client.subscribe("t/#", 1);
    client.disconnect();
    let mut client = resume(&b, V5, "client");
    client.unsubscribe(&["t/#"]);
    client.subscribe("u/+", 2);
    client.disconnect();
    let mut client = resume(&a, V5, "client");
    publish(&b, "t/1", "not this", 1);
    publish(&b, "u/1", "this", 2);
    publish(&a, "u/2", "and this", 1);
    let mut topics = [0, 1].map(|_| {
        let message = client.expect_publish();
        client.complete(&message);
        message.topic
    });
    topics.sort();
    assert_eq!(topics, ["u/1", "u/2"]);
}

/// A message that comes while its session moves is delivered once.
#[test]
fn nothing_is_missed_or_repeated_between_nodes() {
    let [a, b, c] = three();
    begin(&a, V5, "client").subscribe("t", 2);
    let mut sender = c.client(V5, "sender");
    let mut next = 0;
    let mut sent = 0;
    for round in 0..40 {
        let node = [&b, &c, &a][round % 3];
        for _ in 0..3 {
            sender.send_publish(Out::new("t", sent.to_string()).qos(1));
            sent += 1;
        }
        let mut client = resume(node, V5, "client");
        for _ in 0..3 {
            sender.send_publish(Out::new("t", sent.to_string()).qos(1));
            sent += 1;
        }
        let until = next + 5;
        while next < until {
            let message = client.expect_publish();
            if message.text().parse::<i32>().is_ok_and(|again| again < next) {
                // Its PUBACK was on its way when the session moved.
                client.complete(&message);
                continue;
            }
            assert_eq!(message.text(), next.to_string(), "round {round}");
            client.complete(&message);
            next += 1;
        }
        client.ping();
    }
    let mut client = resume(&b, V5, "client");
    while next < sent {
        let message = client.expect_publish();
        client.complete(&message);
        if message.text().parse::<i32>().is_ok_and(|again| again < next) {
            continue;
        }
        assert_eq!(message.text(), next.to_string());
        next += 1;
    }
}

#[test]
fn qos_1_in_flight_comes_again() {
    let [a, b] = two();
    for version in TOLD {
        for cut in [false, true] {
            let id = format!("{version:?}-{cut}");
            let mut client = begin(&a, version, &id);
            client.subscribe(&id, 1);
            publish(&b, &id, "one", 1);
            client.expect_message(&id, "one");
            // Either it has gone, or it is taken over.
            let kept = if cut {
                drop(client);
                None
            } else {
                Some(client)
            };
            let mut client = resume(&b, version, &id);
            client.receive(&id, "one");
            client.expect_nothing();
            drop(kept);
        }
    }
}

#[test]
fn qos_2_to_a_subscriber_goes_on_in_each_state() {
    let [a, b] = two();
    for version in TOLD {
        let id = format!("{version:?}");
        let mut client = begin(&a, version, &id);
        client.subscribe(&id, 2);
        publish(&b, &id, "one", 2);
        let first = client.expect_message(&id, "one").packet_id;
        // Sent.
        let mut client = resume(&b, version, &id);
        let again = client.expect_message(&id, "one");
        assert_eq!((again.packet_id, again.dup), (first, true));
        client.pubrec(first);
        client.expect_ack(PacketKind::Pubrel, first, 0);
        // Released.
        let mut client = resume(&a, version, &id);
        client.expect_ack(PacketKind::Pubrel, first, 0);
        drop(client);
        let mut client = resume(&b, version, &id);
        client.expect_ack(PacketKind::Pubrel, first, 0);
        client.pubcomp(first);
        publish(&b, &id, "two", 2);
        client.receive(&id, "two");
        client.disconnect();
        let mut client = resume(&a, version, &id);
        publish(&b, &id, "three", 2);
        // PUBREL may come again: its PUBCOMP was on its way when the session moved.
        let message = loop {
            let frame = client.recv();
            match frame.kind() {
                PacketKind::Pubrel => client.pubcomp(frame.packet_id().expect("an id")),
                _ => break crate::support::Message::of(&frame),
            }
        };
        assert_eq!(message.text(), "three");
        client.complete(&message);
        client.disconnect();
    }
}

#[test]
fn qos_2_of_a_publisher_counts_once_in_each_state() {
    let [a, b] = two();
    for version in TOLD {
        let topic = format!("t/{version:?}");
        let id = format!("publisher-{version:?}");
        let mut witness = begin(&b, version, &format!("witness-{version:?}"));
        witness.subscribe(&topic, 2);
        let mut client = begin(&a, version, &id);
        client.send_publish(Out::new(&topic, "one").qos(2).id(7));
        client.expect_ack(PacketKind::Pubrec, 7, 0);
        // Received here, repeated there.
        let mut client = resume(&b, version, &id);
        client.send_publish(Out::new(&topic, "one").qos(2).id(7).dup());
        client.expect_ack(PacketKind::Pubrec, 7, 0);
        client.pubrel(7);
        // Released there; perhaps heard of, asked again here.
        let mut client = resume(&a, version, &id);
        client.pubrel(7);
        let answer = client.recv();
        assert_eq!((answer.kind(), answer.packet_id()), (PacketKind::Pubcomp, Some(7)));
        client.publish(Out::new(&topic, "two").qos(2).id(7));
        witness.receive(&topic, "one");
        witness.receive(&topic, "two");
        witness.expect_nothing();
    }
}

#[test]
fn a_clean_start_elsewhere_ends_the_session() {
    let [a, b] = two();
    let version = V5;
    let id = format!("{version:?}");
    sleeper(&a, version, &id, "t", 1);
    publish(&b, "t", "one", 1);
    let mut client = b.dial(&Dial::persistent(version, &id).clean());
    assert!(!client.expect_connected().session_present());
    publish(&a, "t", "two", 1);
    client.expect_nothing();
    client.subscribe("u", 1);
    client.disconnect();
    publish(&b, "t", "three", 1);
    publish(&b, "u", "four", 1);
    let mut client = resume(&a, version, &id);
    client.receive("u", "four");
    client.expect_nothing();
}

#[test]
fn sessions_expire_on_all_nodes() {
    let [a, b] = two();
    let dial = Dial::new(V5, "client").resume().session_expiry(1);
    let mut client = a.connect(&dial);
    client.subscribe("t", 1);
    client.disconnect();
    publish(&b, "t", "one", 1);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    eventually("the session's end", || {
        let mut client = b.dial(&Dial::new(V5, "client").resume().session_expiry(0));
        let present = client.expect_connected().session_present();
        client.disconnect();
        !present
    });
}

#[test]
fn a_node_that_starts_later_knows_the_sessions() {
    let site = Site::new("");
    let a = site.node("a");
    sleeper(&a, V5, "client", "t", 2);
    let mut online = begin(&a, V5, "online");
    online.subscribe("t", 1);
    let b = site.node("b");
    publish(&b, "t", "one", 2);
    online.receive("t", "one");
    let mut client = resume(&b, V5, "client");
    client.receive("t", "one");
    client.expect_nothing();
}

/// A claim is remembered for as long as there is a connection or a session.
#[test]
fn claims_of_clients_that_have_left_are_forgotten() {
    let site = Site::new("");
    let conf = "user root\nsys_interval 1\n";
    let a = site.setup("a", free_port(), "").conf(conf).start();
    for n in 0..300 {
        let dial = Dial::new(V5, &format!("passing-{n}")).will("gone", "x").will_qos(1);
        let client = a.connect(&dial);
        if n % 2 == 0 {
            client.disconnect();
        }
    }
    sleeper(&a, V5, "stays", "t", 1);
    // Of another second.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    let mut watcher = a.client(V5, "watcher");
    watcher.subscribe("$SYS/broker/cluster/claims", 0);
    while watcher.expect_publish().text() != "1" {}
    // It is still there, and what is not forgotten still counts.
    publish(&a, "t", "one", 1);
    resume(&a, V5, "stays").receive("t", "one");
}
