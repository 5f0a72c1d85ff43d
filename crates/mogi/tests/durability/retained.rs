//! Retained messages.

use super::scene::{TOLD, crash, start, stop};
use crate::support::{Broker, Out, V5, Version};

/// What a new subscriber gets.
#[track_caller]
fn expect(broker: &Broker, version: Version, topic: &str, payload: Option<&str>) {
    let mut reader = broker.client(version, "reader");
    reader.subscribe(topic, 1);
    if let Some(payload) = payload {
        assert!(reader.receive(topic, payload).retain);
    }
    reader.expect_nothing();
}

#[test]
fn an_acknowledged_change_of_a_retained_message_stays() {
    for version in TOLD {
        for qos in [1, 2] {
            let mut broker = start("");
            for (at, text) in ["first", "second", "", "third"].into_iter().enumerate() {
                let mut sender = broker.client(version, "sender");
                sender.publish(Out::new("r/t", text).qos(qos).retain());
                // The last of them survives a stop as well.
                if at == 3 {
                    stop(&mut broker)
                } else {
                    crash(&mut broker)
                }
                expect(&broker, version, "r/t", Some(text).filter(|text| !text.is_empty()));
            }
        }
    }
}

#[test]
fn properties_of_a_retained_message_stay() {
    let mut broker = start("");
    let mut sender = broker.client(V5, "sender");
    let out = Out::new("r", "text").qos(1).retain().user("colour", "blue");
    sender.publish(out.str(crate::support::Id::ContentType, "text/plain"));
    crash(&mut broker);
    let mut reader = broker.client(V5, "reader");
    reader.subscribe("r", 1);
    let message = reader.receive("r", "text");
    assert_eq!(message.props.users(), [("colour", "blue")]);
    assert_eq!(message.props.str(crate::support::Id::ContentType), Some("text/plain"));
}

#[test]
fn many_retained_messages_stay() {
    let mut broker = start("");
    let mut sender = broker.client(V5, "sender");
    let ids: Vec<u16> = (0..500)
        .map(|n| sender.send_publish(Out::new(&format!("r/{n}"), n.to_string()).qos(1).retain()))
        .collect();
    for id in ids {
        sender.expect_ack(crate::support::PacketKind::Puback, id, 0x10);
    }
    crash(&mut broker);
    let mut reader = broker.client(V5, "reader");
    reader.subscribe("r/+", 0);
    let mut found: Vec<String> = (0..500).map(|_| reader.expect_publish().text()).collect();
    found.sort_by_key(|text| text.parse::<u32>().ok());
    let all: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    assert_eq!(found, all);
    reader.expect_nothing();
}
