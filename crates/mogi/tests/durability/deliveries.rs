//! Messages on their way to subscribers, at each step of the handshake.

use super::scene::{TOLD, begin, crash, resume, settle, start, stop};
use crate::support::{Broker, Client, Out, PacketKind, Version};

/// A subscriber that has just been sent "one", at this QoS.
#[track_caller]
fn in_flight(broker: &Broker, version: Version, qos: u8) -> (Client, u16) {
    let mut client = begin(broker, version, "client");
    client.subscribe("t", qos);
    broker.client(version, "sender").publish(Out::new("t", "one").qos(qos));
    let id = client.expect_message("t", "one").packet_id;
    (client, id)
}

#[test]
fn qos_1_unacknowledged_comes_again() {
    for version in TOLD {
        let mut broker = start("");
        let (_client, _) = in_flight(&broker, version, 1);
        crash(&mut broker);
        let mut client = resume(&broker, version, "client");
        client.receive("t", "one");
        client.expect_nothing();
    }
}

#[test]
fn qos_1_acknowledged_does_not_come_again() {
    for version in TOLD {
        let mut broker = start("");
        let (mut client, id) = in_flight(&broker, version, 1);
        client.puback(id);
        settle(&mut client);
        crash(&mut broker);
        resume(&broker, version, "client").expect_nothing();
    }
}

#[test]
fn mqtt_4_4_0_1_a_stop_keeps_ids_and_marks_duplicates() {
    for version in TOLD {
        for qos in [1, 2] {
            let mut broker = start("");
            let (_client, id) = in_flight(&broker, version, qos);
            stop(&mut broker);
            let mut client = resume(&broker, version, "client");
            let again = client.receive("t", "one");
            assert_eq!((again.packet_id, again.dup), (id, true), "QoS {qos}");
            client.expect_nothing();
        }
    }
}

#[test]
fn qos_2_unanswered_comes_again_with_its_id_and_dup() {
    for version in TOLD {
        let mut broker = start("");
        let (_client, id) = in_flight(&broker, version, 2);
        for _ in 0..2 {
            crash(&mut broker);
            let mut client = resume(&broker, version, "client");
            let again = client.expect_message("t", "one");
            assert_eq!((again.packet_id, again.dup), (id, true));
        }
        let mut client = resume(&broker, version, "client");
        client.receive("t", "one");
        client.expect_nothing();
    }
}

#[test]
fn qos_2_released_goes_on_with_pubrel() {
    for version in TOLD {
        let mut broker = start("");
        let (mut client, id) = in_flight(&broker, version, 2);
        client.pubrec(id);
        client.expect_ack(PacketKind::Pubrel, id, 0);
        crash(&mut broker);
        let mut client = resume(&broker, version, "client");
        client.expect_ack(PacketKind::Pubrel, id, 0);
        client.pubcomp(id);
        settle(&mut client);
        crash(&mut broker);
        resume(&broker, version, "client").expect_nothing();
    }
}

/// Whether the broker took PUBREC before it was killed decides what comes next; nothing else may.
#[test]
fn qos_2_killed_at_pubrec_comes_with_the_same_id_or_is_released() {
    for version in TOLD {
        let mut broker = start("");
        let (mut client, id) = in_flight(&broker, version, 2);
        client.pubrec(id);
        crash(&mut broker);
        let mut client = resume(&broker, version, "client");
        let frame = client.recv();
        assert_eq!(frame.packet_id(), Some(id));
        if frame.kind() == PacketKind::Publish {
            client.pubrec(id);
            client.expect_ack(PacketKind::Pubrel, id, 0);
        }
        client.pubcomp(id);
        client.expect_nothing();
    }
}

/// An id that is on its way is not given to another message after a crash.
#[test]
fn mqtt_2_2_1_ids_in_use_stay_in_use() {
    for version in TOLD {
        let mut broker = start("");
        let mut client = begin(&broker, version, "client");
        client.subscribe("t", 2);
        let mut sender = broker.client(version, "sender");
        let texts: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        for text in &texts {
            sender.publish(Out::new("t", text).qos(2));
        }
        let ids: Vec<u16> =
            texts.iter().map(|it| client.expect_message("t", it).packet_id).collect();
        // Three are released, in the middle; their ids are in use until PUBCOMP.
        for &id in &ids[3..6] {
            client.pubrec(id);
            client.expect_ack(PacketKind::Pubrel, id, 0);
        }
        crash(&mut broker);
        let mut sender = broker.client(version, "sender");
        sender.publish(Out::new("t", "new").qos(2));
        let mut client = resume(&broker, version, "client");
        for at in 0..10 {
            if (3..6).contains(&at) {
                client.expect_ack(PacketKind::Pubrel, ids[at], 0);
            } else {
                let again = client.expect_message("t", &texts[at]);
                assert_eq!((again.packet_id, again.dup), (ids[at], true));
            }
        }
        let new = client.expect_message("t", "new");
        assert!(!new.dup && !ids.contains(&new.packet_id), "{}", new.packet_id);
    }
}

#[test]
fn order_is_kept_over_crashes() {
    for version in TOLD {
        let mut broker = start("max_inflight_messages 5\n");
        let mut client = begin(&broker, version, "client");
        client.subscribe("t", 2);
        let mut next = 0;
        for round in 0..4 {
            let mut sender = broker.client(version, "sender");
            for n in 0..10 {
                sender.publish(Out::new("t", (round * 10 + n).to_string()).qos(2));
            }
            for _ in 0..4 {
                client.receive("t", next.to_string());
                next += 1;
            }
            settle(&mut client);
            crash(&mut broker);
            client = resume(&broker, version, "client");
        }
        for n in next..40 {
            client.receive("t", n.to_string());
        }
        client.expect_nothing();
    }
}
