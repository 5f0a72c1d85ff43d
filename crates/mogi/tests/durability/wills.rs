//! Wills of clients that the broker's end cut off.

use super::scene::{TOLD, begin, crash, resume, start};
use crate::support::{Broker, Dial, PacketKind, V5, Version, eventually};

/// A witness whose messages outlive crashes.
#[track_caller]
fn witness(broker: &Broker, version: Version) {
    let mut witness = begin(broker, version, "witness");
    witness.subscribe("will/#", 2);
    witness.disconnect();
}

#[test]
fn a_crash_publishes_the_wills_of_all_clients_once() {
    for version in TOLD {
        let mut broker = start("");
        witness(&broker, version);
        let brief = Dial::new(version, "brief").will("will/brief", "gone").will_qos(2);
        let kept = Dial::persistent(version, "kept").will("will/kept", "gone").will_qos(2);
        let clients = [broker.connect(&brief), broker.connect(&kept)];
        crash(&mut broker);
        drop(clients);
        // That its client comes back at once does not take the will away.
        resume(&broker, version, "kept");
        crash(&mut broker);
        let mut witness = resume(&broker, version, "witness");
        let mut topics = [0, 1].map(|_| {
            let message = witness.expect_publish();
            witness.complete(&message);
            message.topic
        });
        topics.sort();
        assert_eq!(topics, ["will/brief", "will/kept"]);
        witness.expect_nothing();
    }
}

/// A session that ends with its connection is not told of in CONNACK; its will is.
#[test]
fn mqtt_3_1_2_8_connack_promises_the_will() {
    for version in TOLD {
        let mut broker = start("");
        witness(&broker, version);
        for round in 0..5 {
            let dial = Dial::new(version, "brief").will("will/brief", round.to_string());
            let _client = broker.connect(&dial.will_qos(2));
            crash(&mut broker);
            let mut witness = resume(&broker, version, "witness");
            witness.receive("will/brief", round.to_string());
            witness.disconnect();
        }
    }
}

/// DISCONNECT has no acknowledgement; that the broker closes the connection is one.
#[test]
fn mqtt_3_1_2_10_a_will_is_waived_for_good_when_the_broker_has_closed() {
    for version in TOLD {
        let mut broker = start("");
        witness(&broker, version);
        for round in 0..10 {
            let dial = match round % 2 {
                0 => Dial::new(version, "brief"),
                _ => Dial::persistent(version, "kept"),
            };
            let client = broker.connect(&dial.will("will/none", "gone").will_qos(2));
            // It waits until the broker closes.
            client.disconnect();
            broker.kill();
            broker.restart();
        }
        resume(&broker, version, "witness").expect_nothing();
    }
}

#[test]
fn a_retained_will_is_there_after_a_crash() {
    for version in TOLD {
        let mut broker = start("");
        let dial = Dial::new(version, "brief").will("status", "offline").will_qos(1);
        let _client = broker.connect(&dial.will_retain());
        crash(&mut broker);
        // Other workers may serve before it is published.
        eventually("the retained will", || {
            let mut reader = broker.client(V5, "reader");
            reader.subscribe("status", 1);
            reader.send(&[0xC0, 0]);
            reader.recv().kind() == PacketKind::Publish
        });
    }
}

/// A stop is no reason to keep silent either, and it says so once.
#[test]
fn a_stop_publishes_wills_once() {
    for version in TOLD {
        let mut broker = start("");
        witness(&broker, version);
        let dial = Dial::persistent(version, "kept").will("will/kept", "gone").will_qos(2);
        let _client = broker.connect(&dial);
        assert!(broker.stop().success());
        broker.restart();
        let mut witness = resume(&broker, version, "witness");
        witness.receive("will/kept", "gone");
        witness.expect_nothing();
    }
}
