//! CONNACK, byte for byte as Mosquitto 2.1 sends it (3.2).

use super::scene::{each, start};
use super::wire::hex;
use crate::support::{Dial, Id, Out, PacketKind, V5, V31, V311, VERSIONS, other_broker};

/// What stands in a CONNACK of 5.0 where nothing is configured.
const DEFAULT: &str = "20 0e 00 00 0b 22 000a 27 001e8480 21 0014";

/// 3.1.1: MQTT-3.1.4-4, MQTT-2.2.2-1. 5.0: MQTT-3.1.4-5, MQTT-3.2.2-1, MQTT-2.2.2-1.
#[test]
fn mqtt_3_1_4_4_success_is_connack_0() {
    let broker = start("");
    let v5 = Dial::new(V5, "a");
    let cases = [
        (Dial::new(V31, "a"), "20 02 00 00"),
        (Dial::new(V311, "a"), "20 02 00 00"),
        (Dial::new(V311, "").keep_alive(0), "20 02 00 00"),
        (v5.clone(), DEFAULT),
        (v5.clone().keep_alive(0), DEFAULT),
        (v5.clone().keep_alive(65_535), DEFAULT),
        (v5.clone().session_expiry(100), DEFAULT),
        (v5.clone().session_expiry(u32::MAX), DEFAULT),
        (v5.clone().int(Id::ReceiveMaximum, 5), DEFAULT),
        (v5.clone().int(Id::TopicAliasMaximum, 5), DEFAULT),
        (v5.clone().int(Id::MaximumPacketSize, 16), DEFAULT),
        (v5.clone().int(Id::RequestResponseInformation, 1), DEFAULT),
        (v5.clone().int(Id::RequestProblemInformation, 0), DEFAULT),
        (v5.clone().user("a", "b").user("a", "b"), DEFAULT),
        (v5.password("only"), DEFAULT),
    ];
    for (dial, answer) in cases {
        let mut client = broker.dial(&dial);
        client.expect_bytes(&hex(answer));
        client.disconnect();
    }
}

/// The order of properties, and what stands there for each option.
///
/// 5.0: MQTT-3.2.2-9, MQTT-3.2.2-1, MQTT-2.2.2-1.
#[test]
fn mqtt_3_2_2_9_limits_are_announced() {
    let cases = [
        ("max_inflight_messages 0", "20 0b 00 00 08 22 000a 27 001e8480"),
        ("max_inflight_messages 1", "20 0e 00 00 0b 22 000a 27 001e8480 21 0001"),
        ("max_inflight_messages 65535", "20 0b 00 00 08 22 000a 27 001e8480"),
        ("max_packet_size 20", "20 0e 00 00 0b 22 000a 27 00000014 21 0014"),
        ("max_packet_size 268435455", "20 0e 00 00 0b 22 000a 27 0fffffff 21 0014"),
        ("@max_qos 0", "20 10 00 00 0d 22 000a 27 001e8480 21 0014 24 00"),
        ("@max_qos 1", "20 10 00 00 0d 22 000a 27 001e8480 21 0014 24 01"),
        ("@max_qos 2", DEFAULT),
        ("retain_available false", "20 10 00 00 0d 22 000a 25 00 27 001e8480 21 0014"),
        ("@max_topic_alias 0", "20 0b 00 00 08 27 001e8480 21 0014"),
        ("@max_topic_alias 65535", "20 0e 00 00 0b 22 ffff 27 001e8480 21 0014"),
        ("@max_topic_alias_broker 0", DEFAULT),
        ("max_queued_messages 0", DEFAULT),
        ("message_size_limit 100", DEFAULT),
        ("persistent_client_expiration 1h", DEFAULT),
        ("max_keepalive 30", "20 11 00 00 0e 13 001e 22 000a 27 001e8480 21 0014"),
        (
            "@max_topic_alias 0\nmax_qos 1\nretain_available false\nmax_keepalive 10\n\
             max_inflight_messages 0\nmax_packet_size 500",
            "20 0f 00 00 0c 13 000a 25 00 27 000001f4 24 01",
        ),
    ];
    for (conf, answer) in cases {
        // Options after an @ are a listener's.
        let broker = start(&conf.replace('@', "listener {port} 127.0.0.1\n"));
        let mut client = broker.dial(&Dial::new(V5, "a").session_expiry(u32::MAX));
        client.expect_bytes(&hex(answer));
    }
}

/// 3.1.1: MQTT-3.2.2-1, MQTT-3.2.2-2, MQTT-3.2.2-3. 5.0: MQTT-3.2.2-2, MQTT-3.2.2-3.
#[test]
fn mqtt_3_2_2_1_session_present_says_whether_there_was_a_session() {
    each(&VERSIONS, "", |s| {
        let present = |clean| {
            let dial = s.persistent("sleeper");
            let mut client = s.broker.dial(&if clean { dial.clean() } else { dial });
            let answer = client.expect_connected();
            // 3.1.1's Clean Session makes a session that ends with the connection.
            client.disconnect();
            answer.session_present()
        };
        assert!(!present(false), "there was none");
        // 3.1 has no such bit.
        assert_eq!(present(false), s.version != V31, "there was one");
        assert!(!present(true), "clean");
        assert_eq!(present(false), s.v5(), "after a clean one");
    });
}

/// 3.1.1: MQTT-3.2.2-4. 5.0: MQTT-3.2.2-6.
#[test]
fn mqtt_3_2_2_4_a_refusal_says_nothing_about_the_session() {
    each(&[V311, V5], "max_keepalive 100", |s| {
        s.connect(&s.persistent("sleeper")).disconnect();
        let dial = s.persistent("sleeper");
        let (dial, answer) = if s.v5() {
            let dial = dial.str(Id::AuthenticationMethod, "m");
            (dial, "20 03 00 8c 00")
        } else {
            (dial.keep_alive(101), "20 02 00 02")
        };
        let mut client = s.broker.dial(&dial);
        let refused = client.recv();
        // Mosquitto says 1 in 3.1.1, and has lost the session by then.
        assert!(refused.bytes() == hex(answer) || other_broker());
        client.expect_closed();
        // The refusal did not harm the session.
        let mut client = s.broker.dial(&s.persistent("sleeper"));
        assert!(client.expect_connected().session_present() || other_broker());
    });
}

/// 3.1.1: MQTT-3.2.0-1. 5.0: MQTT-3.2.0-1, MQTT-3.2.0-2.
#[test]
fn mqtt_3_2_0_1_connack_comes_before_what_waited() {
    each(&VERSIONS, "", |s| {
        let mut client = s.connect(&s.persistent("sleeper"));
        client.subscribe(&s.topic("t"), 2);
        client.disconnect();
        let mut sender = s.client("sender");
        for qos in [1, 2, 1] {
            sender.publish(Out::new(&s.topic("t"), "waiting").qos(qos));
        }
        let mut client = s.broker.dial(&s.persistent("sleeper"));
        assert_eq!(client.recv().kind(), PacketKind::Connack);
        for _ in 0..3 {
            client.receive(&s.topic("t"), "waiting");
        }
        client.expect_nothing();
    });
}

/// 5.0: MQTT-3.1.2-28.
#[test]
fn mqtt_3_1_2_28_no_response_information_unless_asked_for() {
    let broker = start("");
    let dial = Dial::new(V5, "asks");
    for dial in [dial.clone(), dial.int(Id::RequestResponseInformation, 0)] {
        let answer = broker.dial(&dial).expect_connected();
        assert!(!answer.props().has(Id::ResponseInformation));
    }
}

/// A client that takes no packet of the CONNACK's size gets none.
///
/// 5.0: MQTT-3.1.2-24, MQTT-3.2.2-19, MQTT-3.2.2-20.
#[test]
fn mqtt_3_1_2_24_a_connack_larger_than_the_client_takes_is_not_sent() {
    let broker = start("");
    for size in [1, 10, 14] {
        let mut client = broker.dial(&Dial::new(V5, "small").int(Id::MaximumPacketSize, size));
        client.expect_closed();
    }
    // 16 bytes, and for clients of 5.0 never with a reason string or user properties.
    let mut client = broker.dial(&Dial::new(V5, "small").int(Id::MaximumPacketSize, 16));
    let answer = client.expect_connected();
    assert_eq!(answer.bytes().len(), 16);
    let mut client = broker.dial(&Dial::new(V5, "").int(Id::MaximumPacketSize, 30));
    client.expect_closed();
}
