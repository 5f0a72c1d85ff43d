//! What an acknowledgement of the broker's promises.

use super::scene::{TOLD, begin, crash, resume, settle, sleeper, start};
use crate::support::{Broker, Client, Dial, Out, PacketKind, V5, V311, Version};

#[test]
fn puback_and_pubrec_promise_the_message_to_sessions() {
    for version in TOLD {
        let mut broker = start("");
        sleeper(&broker, version, "sleeper", "t/#", 2);
        for round in 0..5 {
            for (qos, kind) in [(1, PacketKind::Puback), (2, PacketKind::Pubrec)] {
                let mut sender = broker.client(version, "sender");
                let text = format!("{round} at {qos}");
                let id = sender.send_publish(Out::new("t/a", &text).qos(qos));
                sender.expect_ack(kind, id, 0);
                crash(&mut broker);
                let mut client = resume(&broker, version, "sleeper");
                assert_eq!(client.receive("t/a", &text).qos, qos);
                settle(&mut client);
                client.disconnect();
            }
        }
    }
}

/// Kills the broker at a step of a publisher's QoS 2 handshake; the message comes once.
#[track_caller]
fn publish_in_two_lives(version: Version, first: impl Fn(&mut Client), then: impl Fn(&mut Client)) {
    let mut broker = start("");
    sleeper(&broker, version, "sleeper", "t", 2);
    let mut sender = begin(&broker, version, "sender");
    sender.send_publish(Out::new("t", "once").qos(2).id(7));
    first(&mut sender);
    crash(&mut broker);
    let mut sender = resume(&broker, version, "sender");
    then(&mut sender);
    // The id is free again.
    sender.publish(Out::new("t", "another").qos(2).id(7));
    let mut client = resume(&broker, version, "sleeper");
    client.receive("t", "once");
    client.receive("t", "another");
    client.expect_nothing();
}

fn repeat(sender: &mut Client) {
    sender.send_publish(Out::new("t", "once").qos(2).id(7).dup());
    sender.expect_ack(PacketKind::Pubrec, 7, 0);
    release(sender);
}

fn release(sender: &mut Client) {
    sender.pubrel(7);
    assert_eq!(sender.expect(PacketKind::Pubcomp).packet_id(), Some(7));
}

#[test]
fn a_qos_2_message_repeated_after_a_crash_is_known_by_its_id() {
    for version in TOLD {
        let pubrec = |sender: &mut Client| {
            sender.expect_ack(PacketKind::Pubrec, 7, 0);
        };
        publish_in_two_lives(version, pubrec, repeat);
        publish_in_two_lives(version, |_| {}, repeat);
    }
}

#[test]
fn a_release_repeated_after_a_crash_is_answered() {
    for version in TOLD {
        let sent = |sender: &mut Client| {
            sender.expect_ack(PacketKind::Pubrec, 7, 0);
            sender.pubrel(7);
        };
        publish_in_two_lives(version, sent, release);
    }
}

#[test]
fn pubcomp_promises_that_the_id_is_free() {
    for version in TOLD {
        let done = |sender: &mut Client| {
            sender.expect_ack(PacketKind::Pubrec, 7, 0);
            release(sender);
        };
        publish_in_two_lives(version, done, |_| {});
    }
}

#[test]
fn suback_and_unsuback_promise_the_change() {
    for version in TOLD {
        let mut broker = start("");
        let mut client = begin(&broker, version, "client");
        client.subscribe("a", 1);
        crash(&mut broker);
        let mut sender = broker.client(version, "sender");
        sender.publish(Out::new("a", "1").qos(1));
        let mut client = resume(&broker, version, "client");
        client.receive("a", "1");
        client.subscribe("a", 2);
        client.subscribe("b", 2);
        client.unsubscribe(&["b"]);
        crash(&mut broker);
        let mut sender = broker.client(version, "sender");
        sender.publish(Out::new("b", "gone").qos(2));
        sender.publish(Out::new("a", "2").qos(2));
        let mut client = resume(&broker, version, "client");
        assert_eq!(client.receive("a", "2").qos, 2, "the newer QoS");
    }
}

#[test]
fn connack_promises_the_session_and_its_end() {
    for version in TOLD {
        let mut broker = start("");
        for _ in 0..5 {
            begin(&broker, version, "client");
            crash(&mut broker);
            resume(&broker, version, "client");
            broker.client(version, "client");
            crash(&mut broker);
        }
    }
}

/// 5.0: DISCONNECT may change the expiry; with 0 the session ends there.
#[test]
fn disconnect_with_an_expiry_of_0_ends_the_session() {
    let mut broker = start("");
    let mut client = begin(&broker, V5, "client");
    client.subscribe("t", 1);
    client.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]);
    client.expect_closed();
    settle(&mut broker.client(V5, "other"));
    crash(&mut broker);
    begin(&broker, V5, "client");
}

#[test]
fn a_takeover_keeps_what_the_session_had() {
    for version in TOLD {
        let mut broker = start("");
        let mut old = begin(&broker, version, "client");
        old.subscribe("t", 2);
        let mut sender = broker.client(version, "sender");
        sender.publish(Out::new("t", "in flight").qos(2));
        let id = old.expect_message("t", "in flight").packet_id;
        let mut new = resume(&broker, version, "client");
        let again = new.expect_message("t", "in flight");
        assert_eq!((again.packet_id, again.dup), (id, true));
        new.pubrec(id);
        new.expect_ack(PacketKind::Pubrel, id, 0);
        crash(&mut broker);
        let mut client = resume(&broker, version, "client");
        client.expect_ack(PacketKind::Pubrel, id, 0);
        client.pubcomp(id);
        broker.client(version, "sender").publish(Out::new("t", "live").qos(1));
        client.receive("t", "live");
    }
}

#[test]
fn a_clean_session_is_not_there_after_a_crash() {
    for version in TOLD {
        let mut broker = start("");
        let mut client = broker.client(version, "brief");
        client.subscribe("t", 1);
        crash(&mut broker);
        // Nobody is subscribed any more; 5.0 tells the publisher.
        let code = broker.client(V5, "sender").publish_code(Out::new("t", "missed").qos(1));
        assert_eq!(code, 0x10);
        begin(&broker, version, "brief");
    }
}

#[test]
fn without_persistence_nothing_is_kept_and_the_log_says_so() {
    let mut broker = Broker::start("");
    broker.expect_log("in memory");
    begin(&broker, V311, "client").subscribe("t", 1);
    crash(&mut broker);
    let mut client = broker.dial(&Dial::persistent(V311, "client"));
    assert!(!client.expect_connected().session_present());
}
