//! Strings, topic names and topic filters (1.5.3 and 1.5.4, 4.7).

use super::scene::{each, start};
use super::wire::{expect_ended, publish, publish_properties, subscribe, unsubscribe};
use crate::support::{Client, Id, Message, Out, PacketKind, V5, V311, VERSIONS, Version};
use mogi_codec::PropertyBuf;

/// Malformed packet, protocol error, topic filter invalid, topic name invalid: what a string or
/// topic that cannot be is answered with.
const BAD_STRING: &[u8] = &[0x81, 0x82, 0x8F, 0x90];

/// 3.1.1: MQTT-1.5.3-1, MQTT-3.3.2-1, MQTT-3.8.3-1, MQTT-3.10.3-1, MQTT-4.8.0-1.
/// 5.0: MQTT-1.5.4-1, MQTT-3.3.2-1, MQTT-3.8.3-1, MQTT-3.10.3-1, MQTT-4.13.1-1.
#[test]
fn mqtt_1_5_3_1_ill_formed_utf_8_ends_the_connection_and_no_other() {
    let broker = start("");
    let mut healthy = broker.client(V5, "healthy");
    let bad: [&[u8]; 6] = [
        b"\xFF",             // no UTF-8 at all
        b"a\xC3",            // cut short
        b"\xED\xA0\x80",     // a surrogate, U+D800
        b"\xED\xBF\xBF",     // a surrogate, U+DFFF
        b"\xC0\xAF",         // longer than need be
        b"\xF4\x90\x80\x80", // beyond U+10FFFF
    ];
    for version in VERSIONS {
        for text in bad {
            let packets = [
                publish(version, 0, text),
                publish(version, 0b0010, text),
                subscribe(version, text, 0),
                unsubscribe(version, text),
            ];
            for packet in packets {
                let mut client = broker.client(version, "ill");
                client.send(&packet);
                expect_ended(&format!("{packet:02x?}"), &mut client, BAD_STRING);
                healthy.ping();
            }
        }
    }
}

/// 5.0: MQTT-1.5.7-1, MQTT-3.3.2-13, MQTT-3.3.2-19.
#[test]
fn mqtt_1_5_7_1_strings_in_properties_are_utf_8() {
    let broker = start("");
    let bad: [&[u8]; 6] = [
        b"\x26\0\x01\xFF\0\x01a",  // user property, its name
        b"\x26\0\x01a\0\x01\xFF",  // its value
        b"\x26\0\x01a\0\x01\0",    // U+0000
        b"\x08\0\x01\xFF",         // response topic
        b"\x03\0\x01\xFF",         // content type
        b"\x03\0\x03\xED\xA0\x80", // content type with a surrogate
    ];
    for properties in bad {
        let mut client = broker.client(V5, "ill");
        client.send(&publish_properties(properties));
        expect_ended(&format!("{properties:02x?}"), &mut client, BAD_STRING);
    }
}

/// 3.1.1: MQTT-1.5.3-2, MQTT-4.7.3-2. 5.0: MQTT-1.5.4-2, MQTT-4.7.3-2.
#[test]
fn mqtt_1_5_3_2_no_string_holds_u_0000() {
    let broker = start("");
    for version in VERSIONS {
        for text in ["\0", "a\0b", "a/\0"] {
            let packets = [
                publish(version, 0, text),
                subscribe(version, text, 0),
                unsubscribe(version, text),
            ];
            for packet in packets {
                let mut client = broker.client(version, "nul");
                client.send(&packet);
                expect_ended(&format!("{packet:02x?}"), &mut client, BAD_STRING);
            }
        }
    }
}

/// 3.1.1: MQTT-1.5.3-3. 5.0: MQTT-1.5.4-3.
#[test]
fn mqtt_1_5_3_3_u_feff_is_a_character_like_others() {
    each(&VERSIONS, "", |s| {
        let mut receiver = s.client("receiver");
        let mut sender = s.client("sender");
        let (with, without) = (s.topic("\u{FEFF}x\u{FEFF}y"), s.topic("xy"));
        receiver.subscribe(&with, 0);
        sender.publish(Out::new(&without, "without"));
        sender.publish(Out::new(&with, "with"));
        receiver.expect_message(&with, "with");
        if s.v5() {
            let out = Out::new(&with, "").user("\u{FEFF}name", "\u{FEFF}");
            sender.publish(out);
            let message = receiver.expect_publish();
            assert_eq!(message.props.users(), [("\u{FEFF}name", "\u{FEFF}")]);
        }
    });
    // At the very beginning of a topic, where a byte order mark would stand.
    let broker = start("");
    for version in VERSIONS {
        let mut client = broker.client(version, "bom");
        client.subscribe("\u{FEFF}", 0);
        client.publish(Out::new("\u{FEFF}", "mark"));
        client.expect_message("\u{FEFF}", "mark");
    }
}

/// 3.1.1: MQTT-3.3.2-2, MQTT-4.7.1-1. 5.0: MQTT-3.3.2-2, MQTT-4.7.0-1.
#[test]
fn mqtt_4_7_1_1_topic_names_have_no_wildcards() {
    let broker = start("");
    let mut everything = broker.client(V311, "everything");
    everything.subscribe("#", 0);
    for version in VERSIONS {
        for topic in ["#", "+", "a/#", "a/+/b", "a+", "a#b"] {
            for flags in [0, 0b0001, 0b0010, 0b0100] {
                let mut client = broker.client(version, "wild");
                client.send(&publish(version, flags, topic));
                expect_ended(topic, &mut client, BAD_STRING);
            }
        }
    }
    everything.expect_nothing_from(&mut broker.client(V5, "fence"));
}

/// Filters with a wildcard where none may be are never granted: the client is told with a failure
/// code or loses its connection.
///
/// 3.1.1: MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.3-1. 5.0: MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.3-1.
#[test]
fn mqtt_4_7_1_2_misplaced_wildcards_are_not_granted() {
    let broker = start("");
    let mut sender = broker.client(V5, "sender");
    for version in VERSIONS {
        for filter in ["a/#/b", "#/a", "a#", "#a", "##", "a+", "+a", "a/b+", "a/+b/c", "++", ""] {
            let mut client = broker.client(version, "wild");
            client.send(&subscribe(version, filter, 0));
            if let Some(frame) = client.next() {
                if frame.kind() == PacketKind::Suback {
                    assert!(frame.codes()[0] >= 0x80, "{filter:?}: {frame:?}");
                } else {
                    assert_eq!(frame.kind(), PacketKind::Disconnect, "{filter:?}");
                    assert!(BAD_STRING.contains(&frame.code()), "{filter:?}: {frame:?}");
                }
            }
        }
    }
    for filter in ["#", "+", "+/+", "a/#", "/+", "+/", "/#", "a/+/b", "//", "+/+/#"] {
        broker.client(V311, "tame").subscribe(filter, 0);
    }
    sender.ping();
}

/// 3.1.1: MQTT-4.7.3-1. 5.0: MQTT-4.7.3-1.
#[test]
fn mqtt_4_7_3_1_topics_have_at_least_one_character() {
    let broker = start("");
    for version in VERSIONS {
        for flags in [0, 0b0001, 0b0010, 0b0100] {
            let mut client = broker.client(version, "empty");
            client.send(&publish(version, flags, ""));
            expect_ended("PUBLISH", &mut client, BAD_STRING);
        }
        let mut client = broker.client(version, "short");
        for topic in ["/", " ", "a"] {
            client.subscribe(topic, 1);
            client.publish(Out::new(topic, "short").qos(1));
            client.receive(topic, "short");
        }
    }
}

/// 3.1.1: MQTT-4.7.3-3. 5.0: MQTT-4.7.3-3.
#[test]
fn mqtt_4_7_3_3_topics_may_have_65535_bytes() {
    each(&VERSIONS, "", |s| {
        let prefix = s.topic("");
        let topic = format!("{prefix}{}", "x".repeat(65_535 - prefix.len()));
        let mut receiver = s.client("receiver");
        let mut sender = s.client("sender");
        receiver.subscribe(&topic, 1);
        sender.publish(Out::new(&topic, "long").qos(1));
        receiver.receive(&topic, "long");
        assert_eq!(receiver.unsubscribe(&[&topic]).packet_id(), Some(2));
    });
}

/// 3.1.1: MQTT-4.7.2-1. 5.0: MQTT-4.7.2-1.
#[test]
fn mqtt_4_7_2_1_leading_wildcards_do_not_match_dollar_topics() {
    each(&VERSIONS, "sys_interval 1", |s| {
        let mut receiver = s.client("receiver");
        let mut sender = s.client("sender");
        for filter in ["#", "+", "+/#", "+/broker/#", "+/x", "/#", "+/+/+"] {
            receiver.subscribe(filter, 0);
        }
        for topic in ["$x", "$x/x", "$SY", "$data/broker/x"] {
            sender.publish(Out::new(topic, "dollar"));
        }
        sender.ping();
        // Of the topics there are, retained and live ones of $SYS among them, none came.
        receiver.subscribe("$x/+", 0);
        sender.publish(Out::new("$x/x", "asked for"));
        receiver.expect_message("$x/x", "asked for");
        // Only a $ at the very beginning is special.
        sender.publish(Out::new("a$", "ordinary"));
        receiver.expect_message("a$", "ordinary");
    });
}

/// 3.1.1: MQTT-4.7.3-4. 5.0: MQTT-4.7.3-4.
#[test]
fn mqtt_4_7_3_4_topics_are_compared_byte_for_byte() {
    each(&VERSIONS, "", |s| {
        let names = [
            "a",
            "A",
            "a/",
            "/a",
            "a//b",
            "a/b",
            "a/ b",
            "ä",
            "a\u{308}",
            "Ä",
            "ﬁ",
            "fi",
            "%61",
            "a\u{200D}",
        ];
        let mut receiver = s.client("receiver");
        let mut sender = s.client("sender");
        for name in names {
            let own = s.topic(name);
            receiver.subscribe(&own, 0);
            for other in names {
                sender.publish(Out::new(&s.topic(other), other));
            }
            receiver.expect_message(&own, name);
            receiver.expect_nothing_from(&mut sender);
            receiver.unsubscribe(&[&own]);
        }
    });
}

/// What is delivered matches a filter of the receiver, and everything that matches is delivered:
/// compared with a matcher that works on lists of levels.
///
/// 3.1.1: MQTT-3.3.2-3. 5.0: MQTT-3.3.2-3, MQTT-3.3.4-3, MQTT-3.3.4-5.
#[test]
fn mqtt_3_3_2_3_delivered_topics_match_the_filter() {
    let levels = ["a", "b", "", "+", "$c"];
    let mut filters = vec!["#".to_owned()];
    for x in levels {
        filters.extend([x.to_owned(), format!("{x}/#")]);
        for y in levels {
            filters.extend([format!("{x}/{y}"), format!("{x}/{y}/#"), format!("{x}/{y}/a")]);
        }
    }
    filters.retain(|filter| !filter.is_empty());
    let topics = filters.iter().filter(|name| !name.contains(['+', '#']));
    let broker = start("");
    let mut receiver = broker.client(V5, "receiver");
    let mut sender = broker.client(V311, "sender");
    for (filter, id) in filters.iter().zip(1..) {
        let mut props = PropertyBuf::new();
        props.int(Id::SubscriptionIdentifier, id);
        assert_eq!(receiver.subscribe_with(&[(filter, 0)], &props).codes(), [0]);
    }
    for topic in topics {
        let wanted: Vec<&str> =
            filters.iter().map(String::as_str).filter(|filter| matches(filter, topic)).collect();
        sender.publish(Out::new(topic, "x"));
        let mut got: Vec<&str> =
            (0..wanted.len()).map(|_| matched_filter(&mut receiver, topic, &filters)).collect();
        got.sort_by_key(|filter| filters.iter().position(|other| other == filter));
        assert_eq!(got, wanted, "{topic:?}");
    }
    receiver.expect_nothing();
}

/// The next message has `topic`; the filter whose subscription identifier it carries.
fn matched_filter<'a>(receiver: &mut Client, topic: &str, filters: &'a [String]) -> &'a str {
    let message: Message = receiver.expect_message(topic, "x");
    let id = message.props.int(Id::SubscriptionIdentifier);
    &filters[id.expect("a subscription identifier") as usize - 1]
}

/// The specification's rules, word for word.
fn matches(filter: &str, topic: &str) -> bool {
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    if topic[0].starts_with('$') && ["+", "#"].contains(&filter[0]) {
        return false;
    }
    let (fixed, rest) = match filter.split_last() {
        Some((&"#", fixed)) => (fixed, true),
        _ => (&filter[..], false),
    };
    let levels_fit = if rest { topic.len() >= fixed.len() } else { topic.len() == fixed.len() };
    let same = |(wanted, level): (&&str, &&str)| *wanted == "+" || wanted == level;
    levels_fit && fixed.iter().zip(&topic).all(same)
}

/// Deep topics cost their length and nothing else; more than `max_topic_levels` are refused.
/// Attacks Q12 and Q13.
#[test]
fn topics_deeper_than_200_levels_are_refused() {
    let broker = start("");
    let mut healthy = broker.client(V311, "healthy");
    healthy.subscribe("#", 0);
    let slashes = |count| "/".repeat(count);
    for version in [V311, V5] {
        let mut client = broker.client(version, "deep");
        client.subscribe(&slashes(200), 0);
        client.publish(Out::new(&slashes(200), "deep"));
        client.expect_message(&slashes(200), "deep");
        healthy.expect_message(&slashes(200), "deep");
        for topic in [slashes(201), slashes(65_535)] {
            refused_topic(&mut broker.client(version, "deeper"), version, &topic);
        }
        let filter = "+/".repeat(32_767);
        let mut client = broker.client(version, "deeper");
        client.send(&subscribe(version, &filter, 0));
        if let Some(frame) = client.next()
            && frame.kind() == PacketKind::Suback
        {
            assert!(frame.codes()[0] >= 0x80);
        }
        healthy.ping();
    }
    healthy.expect_nothing();
}

/// The message is not taken: the connection ends, or a 5.0 client is told.
fn refused_topic(client: &mut Client, version: Version, topic: &str) {
    client.send(&publish(version, 0b0010, topic));
    match client.next() {
        Some(frame) if frame.kind() == PacketKind::Puback => assert!(frame.code() >= 0x80),
        Some(frame) => assert_eq!(frame.kind(), PacketKind::Disconnect, "{frame:?}"),
        None => {}
    }
}
