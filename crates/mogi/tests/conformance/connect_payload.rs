//! CONNECT: flags and payload, client ids (3.1.2, 3.1.3).

use super::scene::{each, start};
use super::wire::{connect, connect_with, expect_refused, field, hex};
use crate::support::{Dial, Id, Out, V5, V31, V311, VERSIONS, other_broker};
use std::collections::BTreeSet;

const WILL: u8 = 0b0000_0100;
const CLEAN: u8 = 0b0000_0010;

/// 3.1.1: MQTT-3.1.2-11, MQTT-3.1.2-13, MQTT-3.1.2-14, MQTT-3.1.2-15.
/// 5.0: MQTT-3.1.2-11, MQTT-3.1.2-12, MQTT-3.1.2-13.
#[test]
fn mqtt_3_1_2_11_will_flags_fit_together() {
    let broker = start("");
    for version in [V311, V5] {
        let id = field("will");
        for flags in [0b0000_1000, 0b0001_0000, 0b0001_1000, 0b0010_0000, 0b0010_1000] {
            let mut client = broker.open(version);
            client.send(&connect(version, CLEAN | flags, &id));
            expect_refused("flags without a will", &mut client);
        }
        let payload = [&id, super::wire::no_properties(version), &field("w"), &field("x")].concat();
        let mut client = broker.open(version);
        client.send(&connect(version, CLEAN | WILL | 0b0001_1000, &payload));
        expect_refused("will with QoS 3", &mut client);
        // Fields of a will without its flag are bytes to spare.
        let mut client = broker.open(version);
        client.send(&connect(version, CLEAN, &payload));
        expect_refused("will fields without the flag", &mut client);
        let mut client = broker.open(version);
        client.send(&connect(version, CLEAN | WILL, &payload));
        client.expect_connected();
    }
}

/// 3.1.1: MQTT-3.1.2-18, MQTT-3.1.2-19, MQTT-3.1.2-20, MQTT-3.1.2-21, MQTT-3.1.2-22.
/// 5.0: MQTT-3.1.2-16, MQTT-3.1.2-17, MQTT-3.1.2-18, MQTT-3.1.2-19.
#[test]
fn mqtt_3_1_2_18_user_name_and_password_are_there_if_their_flags_say_so() {
    let broker = start("");
    let (user, password) = (0b1000_0000, 0b0100_0000);
    for version in [V311, V5] {
        let fields = |names: &[&str]| -> Vec<u8> { names.iter().flat_map(field).collect() };
        let cases = [
            ("neither", 0, fields(&["id"]), true),
            ("both", user | password, fields(&["id", "user", "word"]), true),
            ("user", user, fields(&["id", "user"]), true),
            ("empty user", user, fields(&["id", ""]), true),
            // Legal in 5.0 only ([MQTT-3.1.2-22] of 3.1.1).
            ("password", password, fields(&["id", "word"]), version == V5),
            ("user, no field", user, fields(&["id"]), false),
            ("both, one field", user | password, fields(&["id", "user"]), false),
            ("no flag, a field", 0, fields(&["id", "user"]), false),
            ("user, two fields", user, fields(&["id", "user", "word"]), false),
            ("password, no field", password, fields(&["id"]), false),
        ];
        for (what, flags, payload, good) in cases {
            let mut client = broker.open(version);
            client.send(&connect(version, CLEAN | flags, &payload));
            if good {
                client.expect_connected();
            } else {
                expect_refused(&format!("{version:?} {what}"), &mut client);
            }
        }
    }
}

/// 3.1 says that the length goes before the flags: a user name that is announced may be missing.
#[test]
fn in_3_1_announced_names_may_be_missing() {
    let broker = start("");
    for (flags, payload) in [(0b1000_0000, field("a")), (0b1100_0000, field("a"))] {
        let mut client = broker.open(V31);
        client.send(&connect(V31, CLEAN | flags, &payload));
        client.expect_connected();
    }
}

/// 3.1.1: MQTT-3.1.3-4, MQTT-3.1.3-10, MQTT-3.1.3-11. 5.0: MQTT-3.1.3-4, MQTT-3.1.3-11,
/// MQTT-3.1.3-12, MQTT-1.5.4-1, MQTT-1.5.4-2.
#[test]
fn mqtt_3_1_3_4_the_strings_of_connect_are_utf_8() {
    let broker = start("");
    for version in VERSIONS {
        let none = super::wire::no_properties(version);
        for bad in [&b"\xFF"[..], b"\xED\xA0\x80", b"a\0b"] {
            let (bad, good) = (field(bad), field("a"));
            let cases = [
                ("client id", CLEAN, bad.clone()),
                ("will topic", CLEAN | WILL, [&good[..], none, &bad, &good].concat()),
                ("user name", CLEAN | 0b1000_0000, [&good[..], &bad].concat()),
            ];
            for (what, flags, payload) in cases {
                if version == V31 && what == "user name" {
                    continue; // 3.1 lets a user name be missing.
                }
                let mut client = broker.open(version);
                client.send(&connect(version, flags, &payload));
                expect_refused(&format!("{version:?} {what}"), &mut client);
            }
        }
    }
}

/// 3.1.1: MQTT-3.1.3-5. 5.0: MQTT-3.1.3-5.
#[test]
fn mqtt_3_1_3_5_ids_of_1_to_23_letters_and_digits_are_accepted() {
    let broker = start("");
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in VERSIONS {
        for start in 0..letters.len() {
            let end = letters.len().min(start + 23);
            broker.client(version, &letters[start..end]).ping();
        }
        // And longer ones, with other characters, as brokers do.
        for id in ["x".repeat(24), "ü/+#$ ".to_owned(), "y".repeat(65_535)] {
            broker.client(version, &id).ping();
        }
    }
}

/// 3.1.1: MQTT-3.1.3-6, MQTT-3.1.3-7. 5.0: MQTT-3.1.3-6, MQTT-3.1.3-7, MQTT-3.2.2-16.
#[test]
fn mqtt_3_1_3_6_clients_without_an_id_get_one_of_their_own() {
    let broker = start("");
    let mut clients: Vec<_> = (0..50).map(|_| broker.client(V311, "")).collect();
    let mut ids = BTreeSet::new();
    for at in 0..500 {
        let dial = Dial::new(V5, "");
        // Without Clean Start, too: the id is new, so is the session.
        let dial = if at % 2 == 0 { dial } else { dial.resume() };
        let mut client = broker.dial(&dial);
        let answer = client.expect_connected();
        assert!(!answer.session_present());
        let props = answer.props();
        let id = props.str(Id::AssignedClientIdentifier);
        assert!(ids.insert(id.expect("an assigned id").to_owned()), "{id:?} twice");
        clients.push(client);
    }
    // None of them took another's place.
    for client in &mut clients {
        client.ping();
    }
    // The id may be used to come back.
    let dial = Dial::new(V5, "").session_expiry(60);
    let mut client = broker.dial(&dial);
    let props = client.expect_connected().props();
    let id = props.str(Id::AssignedClientIdentifier).expect("an id");
    client.disconnect();
    let mut client = broker.dial(&Dial::persistent(V5, id));
    let answer = client.expect_connected();
    assert!(answer.session_present() && !answer.props().has(Id::AssignedClientIdentifier));
}

/// 3.1.1: MQTT-3.1.3-7, MQTT-3.1.3-8, MQTT-3.2.2-5.
#[test]
fn mqtt_3_1_3_8_no_id_and_no_clean_session_is_refused() {
    let broker = start("");
    let dials = [Dial::new(V311, "").resume(), Dial::new(V31, ""), Dial::new(V31, "").resume()];
    for dial in dials {
        let mut client = broker.dial(&dial);
        client.expect_bytes(&hex("20 02 00 02"));
        client.expect_closed();
    }
}

/// 3.1.1: MQTT-3.1.3-9. 5.0: MQTT-3.1.3-8.
#[test]
fn mqtt_3_1_3_9_refused_ids_are_told_so() {
    let broker = start("allow_zero_length_clientid false");
    for (version, codes) in [(V31, [2, 2]), (V311, [2, 2]), (V5, [0x85, 0x80])] {
        let mut client = broker.dial(&Dial::new(version, ""));
        let code = client.recv().code();
        // Mosquitto says 0x80 in 5.0, which a client cannot tell from other troubles.
        assert!(code == codes[0] || other_broker() && code == codes[1]);
        client.expect_closed();
        broker.client(version, "named").ping();
    }
}

/// 3.1.1: MQTT-3.1.3-2. 5.0: MQTT-3.1.3-2.
#[test]
fn mqtt_3_1_3_2_the_client_id_names_the_session() {
    each(&VERSIONS, "", |s| {
        for name in ["one", "two"] {
            let mut client = s.connect(&s.persistent(name));
            client.subscribe(&s.topic(name), 1);
            client.disconnect();
        }
        let mut sender = s.client("sender");
        for name in ["two", "one"] {
            sender.publish(Out::new(&s.topic(name), name).qos(1));
        }
        for name in ["one", "two"] {
            let mut client = s.connect(&s.persistent(name));
            client.receive(&s.topic(name), name);
            client.expect_nothing();
        }
    });
}

/// A will with a property that is not a will's, and one with a bad topic. Attacks P21 and P26.
#[test]
fn bad_wills_are_refused() {
    let broker = start("");
    for version in VERSIONS {
        let none = super::wire::no_properties(version);
        for topic in ["", "a/+", "#", "a/#"] {
            let payload = [&field("a"), none, &field(topic), &field("x")].concat();
            let mut client = broker.open(version);
            client.send(&connect(version, CLEAN | WILL, &payload));
            expect_refused(&format!("{version:?} {topic:?}"), &mut client);
        }
    }
    let sections = [
        "03 23 0001",        // topic alias
        "05 11 00000001",    // session expiry
        "02 01 02",          // payload format 2
        "06 08 0003 612f2b", // response topic with a wildcard
        "0a 18 00000001 18 00000001",
        "02 7f 00",
        "7f",
    ];
    for section in sections {
        let rest = [hex(section), field("w"), field("x")].concat();
        let payload = [field("a"), rest].concat();
        let mut client = broker.open(V5);
        client.send(&connect_with(V5, CLEAN | WILL, &[0], &payload));
        expect_refused(section, &mut client);
    }
}
