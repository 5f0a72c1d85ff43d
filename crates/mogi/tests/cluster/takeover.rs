//! A client that connects to a node while it is connected to another.

use super::scene::{TOLD, begin, publish, resume, three, two};
use crate::support::{Dial, V5, V311, eventually};

#[test]
fn mqtt_3_1_4_3_the_former_connection_ends() {
    let [a, b, c] = three();
    for version in TOLD {
        let id = format!("lasting-{version:?}");
        let mut first = begin(&a, version, &id);
        let mut second = resume(&b, version, &id);
        first.expect_ended(0x8E);
        let mut third = resume(&c, version, &id);
        second.expect_ended(0x8E);
        third.subscribe("t", 1);
        publish(&a, "t", "one", 1);
        third.receive("t", "one");
        third.expect_nothing();
        third.disconnect();
    }
}

#[test]
fn mqtt_3_1_4_3_it_ends_for_brief_sessions_too() {
    let [a, b] = two();
    for version in TOLD {
        let id = format!("brief-{version:?}");
        let mut first = a.client(version, &id);
        first.subscribe("t", 1);
        let mut second = b.client(version, &id);
        first.expect_ended(0x8E);
        second.subscribe("t", 1);
        publish(&a, "t", "one", 1);
        second.receive("t", "one");
        second.expect_nothing();
        let mut third = a.client(version, &id);
        second.expect_ended(0x8E);
        third.expect_nothing();
    }
}

/// A brief session takes the place of a lasting one, and the other way round.
#[test]
fn a_client_is_in_one_place_whatever_its_session_is() {
    let [a, b] = two();
    let mut first = begin(&a, V5, "client");
    first.subscribe("t", 1);
    let mut second = b.client(V5, "client");
    first.expect_ended(0x8E);
    publish(&a, "t", "one", 1);
    second.expect_nothing();
    let mut third = begin(&a, V5, "client");
    second.expect_ended(0x8E);
    third.expect_nothing();
}

/// Of those that come at the same moment one stays.
#[test]
fn of_many_at_once_one_stays() {
    let [a, b] = two();
    begin(&a, V311, "client").disconnect();
    for round in 0..10 {
        let dial = Dial::persistent(V311, "client");
        let mut all = [a.dial(&dial), b.dial(&dial), a.dial(&dial), b.dial(&dial)];
        let mut connected = |client: &mut crate::support::Client| {
            while let Some(frame) = client.next() {
                if frame.kind() == crate::support::PacketKind::Connack {
                    client.send(&[0xC0, 0]);
                }
                if frame.kind() == crate::support::PacketKind::Pingresp {
                    return true;
                }
            }
            false
        };
        eventually("one connection", || {
            let there: Vec<bool> = all.iter_mut().map(&mut connected).collect();
            for client in &mut all {
                client.send(&[0xC0, 0]);
            }
            there.iter().filter(|it| **it).count() == 1
        });
        let _ = round;
    }
}
