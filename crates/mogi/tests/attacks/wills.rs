//! Wills that ask for too much, and keep alives.

use super::raw::{connect, text};
use super::siege::Siege;
use crate::support::{Dial, Id, Out, V5, V311, VERSIONS};

#[test]
fn p23_a_will_delay_beyond_the_session() {
    Siege::new(32).run(|broker| {
        let mut heir = broker.client(V5, "heir");
        heir.subscribe("p23", 0);
        let dial =
            Dial::new(V5, "p23").resume().session_expiry(1).will("p23", "gone").will_delay(1000);
        broker.connect(&dial).abort();
        // The session's end is the will's time ([MQTT-3.1.2-8]).
        heir.expect_message("p23", "gone");
        for _ in 0..20 {
            broker.connect(&dial).abort();
        }
        // Each but the last came back in time; its will died with it or was sent by its end, and
        // one more comes when the session is over.
        heir.expect_message("p23", "gone");
        heir.ping();
    });
}

#[test]
fn p24_three_hundred_large_wills() {
    let siege = Siege::new(64).alone();
    siege.run(|broker| {
        let mut heir = broker.client(V311, "heir");
        heir.subscribe("p24/+", 1);
        let payload = vec![b'w'; 65_535];
        let clients: Vec<_> = (0..300)
            .map(|n| {
                let dial = Dial::new(V311, &format!("p24-{n}"))
                    .will(&format!("p24/{n}"), &payload)
                    .will_qos(1);
                broker.connect(&dial)
            })
            .collect();
        for client in clients {
            client.abort();
        }
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 300 {
            let message = heir.expect_publish();
            heir.complete(&message);
            assert_eq!(message.payload.len(), payload.len());
            assert!(seen.insert(message.topic), "a will came twice");
        }
    });
}

#[test]
fn p25_a_silent_client() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let mut heir = broker.client(version, "heir");
            heir.subscribe("p25", 1);
            let dial = Dial::new(version, "p25").keep_alive(1).will("p25", "silent");
            let mut client = broker.connect(&dial);
            heir.expect_message("p25", "silent");
            client.expect_ended(0x8D);
        }
    });
}

#[test]
fn p26_wills_to_no_topic() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let no_properties: &[u8] = if version.is_v5() { &[0] } else { &[] };
            for topic in ["", "#", "a/+/b", "a/#", "+"] {
                let fields = [&text("p26"), no_properties, &text(topic), &text("m")];
                let mut client = broker.open(version);
                client.send(&connect(version, 0x06, &[], &fields));
                if version.is_v5() {
                    client.expect_connack(0x90);
                }
                client.expect_closed();
            }
        }
    });
}

#[test]
fn p27_a_will_cannot_speak_for_the_broker() {
    Siege::new(32).run(|broker| {
        let topics = ["$SYS", "$SYS/broker/version", "$SYS/x", "$share/g/t"];
        let mut heir = broker.client(V5, "heir");
        for topic in ["$SYS/x", "$SYS", "p27"] {
            heir.subscribe(topic, 2);
        }
        for topic in topics {
            for version in VERSIONS {
                let dial =
                    Dial::new(version, "p27").will(topic, "forged").will_qos(2).will_retain();
                let mut client = broker.dial(&dial);
                // Refused at once is as good.
                if client.next().is_some_and(|frame| frame.code() == 0) {
                    client.abort();
                }
            }
        }
        // A will that may be published shows that the others would have come by now.
        let dial = Dial::new(V5, "p27").will("p27", "true").will_qos(2);
        broker.connect(&dial).abort();
        heir.receive("p27", "true");
        let mut late = broker.client(V5, "late");
        late.subscribe("$SYS/#", 2);
        late.subscribe("$share/g/t", 0);
        late.send(&[0xC0, 0]);
        loop {
            let frame = late.recv();
            if frame.kind() == crate::support::PacketKind::Pingresp {
                break;
            }
            let message = crate::support::Message::of(&frame);
            assert_ne!(message.text(), "forged", "{}", message.topic);
            late.complete(&message);
        }
    });
}

#[test]
fn x01_a_will_with_every_property_arrives_whole() {
    Siege::new(32).run(|broker| {
        let mut heir = broker.client(V5, "heir");
        heir.subscribe("x01", 1);
        let long = "p".repeat(20_000);
        let dial = Dial::new(V5, "x01")
            .will("x01", "m")
            .will_str(Id::ContentType, &long)
            .will_user("k", &long);
        broker.connect(&dial).abort();
        let message = heir.expect_message("x01", "m");
        assert_eq!(message.props.str(Id::ContentType), Some(&*long));
        let mut other = broker.client(V311, "other");
        other.publish(Out::new("x01", "ordinary"));
        heir.expect_message("x01", "ordinary");
    });
}
