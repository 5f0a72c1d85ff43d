//! A client id that is connected twice: the newer connection wins (3.1.4).

use super::scene::{Scene, each, start};
use crate::support::{Client, Dial, Out, PacketKind, V5, VERSIONS, other_broker};

/// Attack E02.
///
/// 3.1.1: MQTT-3.1.4-2. 5.0: MQTT-3.1.4-3, MQTT-3.14.2-1.
#[test]
fn mqtt_3_1_4_3_the_older_connection_is_ended() {
    each(&VERSIONS, "", |s| {
        for version in VERSIONS {
            let mut old = s.client("twin");
            let mut new = s.broker.client(version, &s.id("twin"));
            // 5.0 clients are told why.
            old.expect_ended(0x8E);
            new.ping();
            new.disconnect();
        }
    });
}

/// What is in flight and what waits goes over to the new connection.
///
/// 3.1.1: MQTT-3.1.4-2, MQTT-4.4.0-1. 5.0: MQTT-3.1.4-3, MQTT-4.4.0-1.
#[test]
fn mqtt_3_1_4_3_the_session_goes_to_the_newer_connection() {
    each(&VERSIONS, "max_inflight_messages 2", |s| {
        let topic = s.topic("t");
        let mut old = s.connect(&s.persistent("twin"));
        old.subscribe(&topic, 2);
        let mut sender = s.client("sender");
        for at in 0..5 {
            sender.publish(Out::new(&topic, at.to_string()).qos(1 + at % 2));
        }
        let first = old.expect_message(&topic, "0");
        old.send_publish(Out::new(&topic, "own").qos(2).id(9));
        let mut new = s.broker.dial(&s.persistent("twin"));
        let answer = new.expect_connected();
        assert_eq!(answer.session_present(), s.version != crate::support::V31);
        let again = new.receive(&topic, "0");
        assert_eq!((again.packet_id, again.dup), (first.packet_id, true));
        assert!(new.receive(&topic, "1").dup);
        for at in 2..5 {
            assert!(!new.receive(&topic, at.to_string()).dup);
        }
        old.drain();
    });
}

/// The will of the older connection, by the specification's rules: it is published, unless the
/// new connection continues the session and the will has a delay.
struct Case {
    name: &'static str,
    /// Session expiry of the older connection; 3.x: none is a clean session.
    expiry: Option<u32>,
    delay: u32,
    /// Whether the new connection starts a session of its own.
    clean: bool,
    published: bool,
    /// Where Mosquitto does otherwise.
    differs: bool,
}

const fn case(
    name: &'static str,
    expiry: Option<u32>,
    delay: u32,
    clean: bool,
    published: bool,
) -> Case {
    let differs = false;
    Case { name, expiry, delay, clean, published, differs }
}

const fn unlike_mosquitto(case: Case) -> Case {
    Case { differs: true, ..case }
}

/// 3.1.1: MQTT-3.1.2-8, MQTT-3.1.4-2. 5.0: MQTT-3.1.2-8, MQTT-3.1.3-9, MQTT-3.1.4-3.
#[test]
fn mqtt_3_1_3_9_takeover_decides_about_the_will() {
    let three = [
        case("clean by clean", None, 0, true, true),
        unlike_mosquitto(case("persistent by persistent", Some(1), 0, false, true)),
        case("persistent by clean", Some(1), 0, true, true),
        case("clean by persistent", None, 0, false, true),
    ];
    let five = [
        case("no delay, no expiry, clean", None, 0, true, true),
        case("no delay, no expiry, resumed", None, 0, false, true),
        case("no delay, clean", Some(100), 0, true, true),
        unlike_mosquitto(case("no delay, resumed", Some(100), 0, false, true)),
        unlike_mosquitto(case("delay, no expiry, clean", None, 100, true, true)),
        unlike_mosquitto(case("delay, no expiry, resumed", None, 100, false, true)),
        unlike_mosquitto(case("delay, clean", Some(100), 100, true, true)),
        case("delay, resumed", Some(100), 100, false, false),
    ];
    each(&VERSIONS, "", |s| {
        let cases = if s.v5() { &five[..] } else { &three };
        for case in cases.iter().filter(|case| !(case.differs && other_broker())) {
            will_at_takeover(s, case);
            will_after_disconnect(s, case);
        }
    });
}

fn old_dial(s: &Scene<'_>, case: &Case) -> Dial {
    let dial = match case.expiry {
        Some(seconds) if s.v5() => s.dial("twin").session_expiry(seconds),
        Some(_) => s.persistent("twin"),
        None => s.dial("twin"),
    };
    let dial = dial.will(&s.topic("will"), case.name);
    if case.delay > 0 { dial.will_delay(case.delay) } else { dial }
}

fn new_dial(s: &Scene<'_>, case: &Case) -> Dial {
    let dial = s.persistent("twin");
    if case.clean { dial.clean() } else { dial }
}

fn will_at_takeover(s: &Scene<'_>, case: &Case) {
    s.client("twin").disconnect();
    let mut heir = s.client("heir");
    heir.subscribe(&s.topic("will"), 1);
    let mut old = s.connect(&old_dial(s, case));
    let mut new = s.connect(&new_dial(s, case));
    old.drain();
    expect_will(s, &mut heir, case, case.published);
    // The new connection has no will.
    new.ping();
    new.abort();
    heir.expect_nothing_from(&mut s.client("fence"));
}

/// The older connection is gone already when the new one comes: what had to be published at the
/// disconnect was, and a delayed will is decided by the new connection.
fn will_after_disconnect(s: &Scene<'_>, case: &Case) {
    s.client("twin").disconnect();
    let mut heir = s.client("heir");
    heir.subscribe(&s.topic("will"), 1);
    let before = s.broker.log().matches(&gone(s)).count();
    s.connect(&old_dial(s, case)).abort();
    crate::support::eventually("the disconnect", || {
        s.broker.log().matches(&gone(s)).count() > before
    });
    if case.delay == 0 {
        expect_will(s, &mut heir, case, true);
    }
    let mut new = s.connect(&new_dial(s, case));
    if case.delay > 0 {
        expect_will(s, &mut heir, case, case.published);
    }
    new.ping();
    heir.expect_nothing_from(&mut s.client("fence"));
}

/// The beginning of the log line about the end of the connection in question.
fn gone(s: &Scene<'_>) -> String {
    format!("Client {} [", s.id("twin"))
}

#[track_caller]
fn expect_will(s: &Scene<'_>, heir: &mut Client, case: &Case, published: bool) {
    if published {
        heir.expect_message(&s.topic("will"), case.name);
    } else {
        heir.expect_nothing_from(&mut s.client("fence"));
    }
}

/// Attack E01.
#[test]
fn a_storm_of_takeovers_leaves_one_connection() {
    let broker = start("");
    let address = broker.address();
    let storm = |worker: usize| {
        move || {
            for at in 0..60 {
                let version = VERSIONS[(worker + at) % 3];
                let dial = Dial::new(version, "wanted").will("will", "x");
                let mut client = Client::open(address, version);
                client.send(&dial.bytes());
                client.next();
                if at % 3 == 0 {
                    client.abort();
                }
            }
        }
    };
    let threads: Vec<_> = (0..4).map(|worker| std::thread::spawn(storm(worker))).collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    let mut last = broker.client(V5, "wanted");
    last.subscribe("t", 1);
    broker.client(V5, "sender").publish(Out::new("t", "x").qos(1));
    last.receive("t", "x");
    last.ping();
}

/// In-flight messages are sent again after a takeover though they have expired meanwhile.
///
/// 5.0: MQTT-4.3.3-7.
#[test]
fn mqtt_4_3_3_7_expired_messages_in_flight_survive_a_takeover() {
    if other_broker() {
        return; // Mosquitto drops them.
    }
    let broker = start("");
    let dial = Dial::persistent(V5, "twin");
    let mut old = broker.connect(&dial);
    old.subscribe("t", 1);
    let out = Out::new("t", "soon").qos(1);
    let out = out.int(crate::support::Id::MessageExpiryInterval, 1);
    broker.client(V5, "sender").publish(out);
    let first = old.expect_message("t", "soon");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let mut new = broker.connect(&dial);
    let again = new.receive("t", "soon");
    assert_eq!((again.packet_id, again.dup), (first.packet_id, true));
    old.expect_disconnect(0x8E);
    new.send(&[0xC0, 0]);
    new.expect(PacketKind::Pingresp);
}
