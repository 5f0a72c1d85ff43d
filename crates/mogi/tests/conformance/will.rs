//! Will messages: sent or not, when, and as what (3.1.2.5, 3.1.3.2, 3.14.4).

use super::scene::{Scene, each, start};
use super::wire::hex;
use crate::support::{Client, Dial, Id, Out, Reason, V5, V311, VERSIONS, other_broker};
use std::time::{Duration, Instant};

/// How a connection ends: what it is called, and how it is done.
type End = (&'static str, fn(Client));

/// 3.1.1: MQTT-3.1.2-8, MQTT-3.1.2-9, MQTT-3.1.2-10. 5.0: MQTT-3.1.2-7, MQTT-3.1.2-8,
/// MQTT-3.1.2-10.
#[test]
fn mqtt_3_1_2_8_the_will_is_published_however_the_connection_ends() {
    let ends: [End; 4] = [
        ("close", drop),
        ("reset", Client::abort),
        ("protocol error", |mut client| {
            client.send(&[0, 0]);
            client.drain();
        }),
        ("half close", |mut client| {
            client.half_close();
            client.drain();
        }),
    ];
    each(&VERSIONS, "", |s| {
        let topic = s.topic("will");
        let mut heir = s.client("heir");
        heir.subscribe(&s.topic("#"), 2);
        for (how, end) in ends {
            for qos in 0..=2 {
                let dial = s.dial("aunt").will(&topic, how).will_qos(qos);
                end(s.connect(&dial));
                let message = heir.receive(&topic, how);
                assert_eq!((message.qos, message.retain, message.dup), (qos, false, false));
            }
        }
        // Each will once.
        heir.expect_nothing();
    });
}

/// 3.1.1: MQTT-3.1.2-10, MQTT-3.1.2-12, MQTT-3.14.4-3. 5.0: MQTT-3.1.2-8, MQTT-3.1.2-10,
/// MQTT-3.14.4-3.
#[test]
fn mqtt_3_14_4_3_disconnect_discards_the_will() {
    each(&VERSIONS, "", |s| {
        let mut heir = s.client("heir");
        heir.subscribe(&s.topic("#"), 0);
        s.connect(&s.dial("aunt").will(&s.topic("will"), "x")).disconnect();
        s.connect(&s.persistent("uncle").will(&s.topic("will"), "x")).disconnect();
        // Without a will there is nothing to publish.
        s.client("poor").abort();
        // The next connection has no will, so the discarded one does not come back either.
        s.client("aunt").abort();
        s.connect(&s.persistent("uncle")).abort();
        heir.expect_nothing_from(&mut s.client("fence"));
    });
}

/// In 5.0 only 0x00 discards it.
///
/// 5.0: MQTT-3.1.2-8, MQTT-3.1.2-10, MQTT-3.14.4-3.
#[test]
fn mqtt_3_1_2_8_disconnect_with_another_reason_publishes_the_will() {
    each(&[V5], "", |s| {
        let topic = s.topic("will");
        let mut heir = s.client("heir");
        heir.subscribe(&topic, 0);
        let mut reasons = vec![Reason::DisconnectWithWill];
        if !other_broker() {
            // Mosquitto discards it with these.
            reasons.extend([Reason::UnspecifiedError, Reason::QuotaExceeded]);
        }
        for reason in reasons {
            let dial = s.dial("aunt").will(&topic, format!("{reason:?}"));
            s.connect(&dial).disconnect_with(reason);
            heir.expect_message(&topic, format!("{reason:?}"));
        }
    });
}

/// 3.1.1: MQTT-3.1.2-16, MQTT-3.1.2-17. 5.0: MQTT-3.1.2-14, MQTT-3.1.2-15.
#[test]
fn mqtt_3_1_2_17_the_will_is_retained_if_so_asked() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("will");
        let mut heir = s.client("heir");
        heir.subscribe(&topic, 1);
        let die = |heir: &mut Client, text: &str, retain: bool| {
            let dial = s.dial("aunt").will(&topic, text).will_qos(1);
            drop(s.connect(&if retain { dial.will_retain() } else { dial }));
            assert!(!heir.receive(&topic, text).retain);
        };
        die(&mut heir, "passing", false);
        let mut late = s.client("late");
        late.subscribe(&topic, 1);
        late.expect_nothing();
        die(&mut heir, "lasting", true);
        assert!(!late.receive(&topic, "lasting").retain);
        late.subscribe(&topic, 1);
        let kept = late.receive(&topic, "lasting");
        assert_eq!((kept.retain, kept.qos), (true, 1));
        // An empty one deletes, as any retained message does.
        die(&mut heir, "", true);
        late.receive(&topic, "");
        late.subscribe(&topic, 1);
        late.expect_nothing();
    });
}

/// 5.0: MQTT-3.1.3-10, MQTT-3.1.2-7, MQTT-3.3.2-15, MQTT-3.3.2-16, MQTT-3.3.2-18.
#[test]
fn mqtt_3_1_3_10_the_wills_properties_are_those_of_its_message() {
    each(&[V5], "", |s| {
        let topic = s.topic("will");
        let mut heir = s.client("heir");
        heir.subscribe(&topic, 2);
        let dial = s
            .dial("aunt")
            .will(&topic, "all of it")
            .will_qos(2)
            .will_user("z", "1")
            .will_int(Id::PayloadFormatIndicator, 1)
            .will_user("a", "2")
            .will_str(Id::ContentType, "text")
            .will_str(Id::ResponseTopic, "thanks")
            .will_int(Id::MessageExpiryInterval, 3600)
            .will_user("z", "3");
        s.connect(&dial).abort();
        let props = heir.receive(&topic, "all of it").props;
        assert_eq!(props.users(), [("z", "1"), ("a", "2"), ("z", "3")]);
        assert_eq!(props.int(Id::PayloadFormatIndicator), Some(1));
        assert_eq!(props.str(Id::ContentType), Some("text"));
        assert_eq!(props.str(Id::ResponseTopic), Some("thanks"));
        let left = props.int(Id::MessageExpiryInterval).expect("an expiry");
        assert!((3590..=3600).contains(&left));
        assert!(!props.has(Id::WillDelayInterval));
    });
}

/// A will waits for its delay or for the session's end, whichever comes first.
///
/// 5.0: MQTT-3.1.2-8, MQTT-3.1.3-9.
#[test]
fn mqtt_3_1_2_8_a_delayed_will_waits_for_the_delay_or_the_sessions_end() {
    let broker = start("");
    let dial = |name: &str, delay, expiry| {
        let dial = Dial::new(V5, name).will(&format!("will/{name}"), name).will_delay(delay);
        dial.session_expiry(expiry)
    };
    let mut heir = broker.client(V5, "heir");
    heir.subscribe("will/#", 1);
    let began = Instant::now();
    // Delay and expiry in seconds, and when the will comes.
    let cases = [
        ("no delay", 0, 100, 0),
        ("delay", 1, 100, 1),
        ("expiry", 100, 2, 2),
        ("never", 100, 100, 100),
        ("same", 3, 3, 3),
    ];
    for (name, delay, expiry, _) in cases {
        broker.connect(&dial(name, delay, expiry)).abort();
        // DISCONNECT 0x04 is no difference.
        let name = format!("{name}, said goodbye");
        broker.connect(&dial(&name, delay, expiry)).disconnect_with(Reason::DisconnectWithWill);
    }
    // These come back in time: before the delay has passed, and cleanly or not.
    let back = dial("back", 3, 100);
    broker.connect(&back).abort();
    let resumed = back.resume();
    broker.connect(&resumed).disconnect();
    for (name, _, _, due) in cases.iter().filter(|case| case.3 < 100) {
        let mut wills: Vec<String> = Vec::new();
        for _ in 0..2 {
            let message = heir.expect_publish();
            heir.complete(&message);
            wills.push(message.text());
        }
        wills.sort();
        assert_eq!(wills, [(*name).to_owned(), format!("{name}, said goodbye")]);
        // Mosquitto counts in whole seconds.
        let early = began.elapsed() < Duration::from_secs(*due);
        assert!(!early || other_broker(), "{name} came early");
    }
    // Once published, a will does not come again.
    for (name, ..) in cases.iter().filter(|case| case.3 < 100) {
        broker.connect(&Dial::persistent(V5, name)).disconnect();
    }
    heir.expect_nothing_from(&mut broker.client(V5, "fence"));
}

/// Without a session beyond the connection the delay is none: the session ends at once.
///
/// 5.0: MQTT-3.1.2-8.
#[test]
fn mqtt_3_1_2_8_a_session_that_ends_at_once_publishes_its_will_at_once() {
    if other_broker() {
        return; // Mosquitto waits for the delay.
    }
    each(&[V5], "", |s| {
        let topic = s.topic("will");
        let mut heir = s.client("heir");
        heir.subscribe(&topic, 0);
        s.connect(&s.dial("aunt").will(&topic, "now").will_delay(3600)).abort();
        heir.expect_message(&topic, "now");
        // The same where DISCONNECT takes the expiry away.
        let dial = s.dial("aunt").session_expiry(100).will(&topic, "now").will_delay(3600);
        let mut client = s.connect(&dial);
        client.send(&hex("e0 07 04 05 11 00000000"));
        client.expect_closed();
        heir.expect_message(&topic, "now");
    });
}

/// A will is its client's message: no-local, `$SYS`, limits and aliases apply as to others.
/// Attack P27.
#[test]
fn a_will_cannot_say_what_its_client_could_not() {
    each(&VERSIONS, "", |s| {
        let mut witness = s.client("witness");
        witness.subscribe("$SYS/fake/#", 0);
        witness.subscribe("$share/x/y", 0);
        for topic in ["$SYS/fake/will", "$share/x/y"] {
            let dial = s.dial("liar").will(topic, "lie").will_qos(2).will_retain();
            let mut client = s.broker.dial(&dial);
            // Refused at once, or never heard.
            client.next();
            client.abort();
        }
        let mut fence = s.client("fence");
        let dial = s.dial("honest").will("$honest/will", "truth");
        witness.subscribe("$honest/will", 0);
        s.connect(&dial).abort();
        witness.expect_message("$honest/will", "truth");
        witness.expect_nothing_from(&mut fence);
        witness.subscribe("$SYS/fake/will", 0);
        witness.expect_nothing();
    });
}

/// Its own client's session gets it, if it is subscribed and waits.
#[test]
fn a_will_may_reach_its_own_client_on_return() {
    each(&VERSIONS, "", |s| {
        let topic = s.topic("will");
        let dial = s.persistent("self").will(&topic, "mine").will_qos(1);
        let mut client = s.connect(&dial);
        client.subscribe(&topic, 1);
        client.abort();
        let mut probe = s.client("probe");
        probe.ping();
        let mut client = wait_for_disconnect(s, "self");
        client.receive(&topic, "mine");
        client.expect_nothing();
    });
}

/// Comes back as `name` once the broker has noticed that its connection is gone.
fn wait_for_disconnect(s: &Scene<'_>, name: &str) -> Client {
    let line = format!("Client {} [", s.id(name));
    s.broker.expect_log(&line);
    s.connect(&s.persistent(name))
}

/// SIGTERM: all wills, delayed ones at once, then 5.0 clients are told.
///
/// 5.0: MQTT-3.14.2-1.
#[test]
fn mqtt_3_14_2_1_a_stopping_broker_publishes_wills_and_says_so() {
    let mut broker = start("");
    let mut heirs = VERSIONS.map(|version| broker.client(version, &format!("heir{version:?}")));
    for heir in &mut heirs {
        heir.subscribe("will/#", 0);
    }
    let mut dying = Vec::new();
    for version in VERSIONS {
        let id = format!("aunt{version:?}");
        dying.push(broker.connect(&Dial::new(version, &id).will("will/live", "x")));
    }
    let delayed = Dial::new(V5, "delayed").session_expiry(100).will("will/delayed", "x");
    broker.connect(&delayed.will_delay(50)).abort();
    broker.expect_log("Client delayed [");
    assert!(broker.stop().success());
    for heir in &mut heirs {
        let mut topics: Vec<String> = (0..4).map(|_| heir.expect_publish().topic).collect();
        topics.sort();
        assert_eq!(topics, ["will/delayed", "will/live", "will/live", "will/live"]);
    }
    for (heir, version) in heirs.iter_mut().zip(VERSIONS) {
        if version == V5 && !other_broker() {
            heir.expect_disconnect(0x8B);
        } else {
            heir.expect_closed();
        }
    }
}

/// 300 wills of 64 KiB at once. Attack P24.
#[test]
fn many_large_wills_are_all_published() {
    let broker = start("max_inflight_messages 0");
    let mut heir = broker.client(V311, "heir");
    heir.subscribe("will/#", 1);
    let payload = "w".repeat(60_000);
    let clients: Vec<Client> = (0..100)
        .map(|at| {
            let dial = Dial::new(V5, &format!("c{at}"));
            broker.connect(&dial.will(&format!("will/{at}"), &payload).will_qos(1))
        })
        .collect();
    clients.into_iter().for_each(Client::abort);
    let mut topics = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let message = heir.expect_publish();
        assert_eq!(message.payload.len(), payload.len());
        heir.complete(&message);
        topics.insert(message.topic);
    }
    assert_eq!(topics.len(), 100);
    broker.client(V5, "after").publish(Out::new("x", "y").qos(1));
}
