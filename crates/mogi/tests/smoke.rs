//! The shortest way through a broker, in every version of MQTT. If these fail, look here first.

mod support;

use support::{Broker, Dial, Id, Out, V5, VERSIONS, other_broker};

#[test]
fn a_message_goes_from_one_client_to_another() {
    let broker = Broker::start("");
    for version in VERSIONS {
        let mut alice = broker.client(version, "alice");
        let mut bob = broker.client(version, "bob");
        alice.subscribe("greetings/+", 2);
        for qos in 0..=2 {
            bob.publish(Out::new("greetings/all", "hello").qos(qos));
            let message = alice.receive("greetings/all", "hello");
            assert_eq!((message.qos, message.retain, message.dup), (qos, false, false));
        }
        alice.unsubscribe(&["greetings/+"]);
        bob.publish(Out::new("greetings/all", "anybody?"));
        alice.expect_nothing_from(&mut bob);
        alice.ping();
        alice.disconnect();
        bob.disconnect();
    }
}

#[test]
fn clients_of_different_versions_talk_to_each_other() {
    let broker = Broker::start("");
    let mut clients: Vec<_> = VERSIONS
        .iter()
        .map(|&version| broker.client(version, &format!("client-{version:?}")))
        .collect();
    for client in &mut clients {
        client.subscribe("all", 1);
    }
    for sender in 0..clients.len() {
        clients[sender].publish(Out::new("all", [sender as u8]).qos(1));
        for client in &mut clients {
            client.receive("all", [sender as u8]);
        }
    }
}

#[test]
fn a_session_outlives_its_connection() {
    let broker = Broker::start("");
    for version in VERSIONS {
        let dial = Dial::persistent(version, "sleeper");
        let mut sleeper = broker.dial(&dial.clone().clean());
        sleeper.expect_connected();
        drop(sleeper);
        let mut sleeper = broker.connect(&dial);
        sleeper.subscribe("news", 1);
        sleeper.disconnect();
        broker.client(version, "paper").publish(Out::new("news", "extra").qos(1));
        let mut sleeper = broker.dial(&dial);
        let connack = sleeper.expect_connected();
        assert_eq!(connack.session_present(), version != support::V31);
        sleeper.receive("news", "extra");
    }
}

#[test]
fn a_will_is_sent_for_a_client_that_vanishes() {
    let broker = Broker::start("");
    for version in VERSIONS {
        let mut heir = broker.client(version, "heir");
        heir.subscribe("will", 1);
        let dial = Dial::new(version, "aunt").will("will", "all of it").will_qos(1);
        broker.connect(&dial).abort();
        heir.receive("will", "all of it");
        broker.connect(&dial).disconnect();
        heir.expect_nothing();
    }
}

#[test]
fn properties_reach_the_subscriber() {
    let broker = Broker::start("");
    let mut alice = broker.client(V5, "alice");
    let mut bob = broker.client(V5, "bob");
    alice.subscribe("a", 0);
    bob.publish(Out::new("a", "b").str(Id::ContentType, "text/plain").user("k", "v"));
    let message = alice.expect_message("a", "b");
    assert_eq!(message.props.str(Id::ContentType), Some("text/plain"));
    assert_eq!(message.props.users(), [("k", "v")]);
}

#[test]
fn clients_of_different_workers_talk_to_each_other() {
    let broker = Broker::setup().conf("").own("worker_threads 2\n").start();
    // Enough of them that some are on each worker, whatever the client ids' hashes are.
    let mut clients: Vec<_> = (0..16).map(|n| broker.client(V5, &format!("client-{n}"))).collect();
    for client in &mut clients {
        client.subscribe("all", 2);
    }
    for sender in 0..clients.len() {
        clients[sender].publish(Out::new("all", [sender as u8]).qos(2));
        for client in &mut clients {
            client.receive("all", [sender as u8]);
        }
    }
}

#[test]
fn the_broker_stops_when_asked_and_starts_again() {
    let mut broker = Broker::start("");
    broker.client(V5, "before").ping();
    assert!(broker.rss() > 0 && broker.open_files() > 3);
    assert!(broker.stop().success());
    broker.restart();
    broker.client(V5, "after").ping();
    let status = broker.stop();
    assert!(status.success(), "{status}");
    assert!(broker.log().contains("terminating"), "{}", broker.log());
}

#[test]
fn a_configuration_that_is_wrong_ends_the_start() {
    let (status, log) = Broker::setup().conf("no_such_option true\n").run();
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(log.contains("no_such_option"), "{log}");
    if !other_broker() {
        assert!(log.contains("mosquitto.conf:3"), "{log}");
    }
}
