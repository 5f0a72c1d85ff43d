//! Topic aliases (5.0).

use super::raw::{ends_with, publish};
use super::siege::Siege;
use crate::support::{Dial, Id, Out, PacketKind, V5, V311};

#[test]
fn q07_aliases_that_are_wrong() {
    Siege::new(32).run(|broker| {
        for (topic, props, codes, what) in [
            (&b"a"[..], &b"\x23\0\0"[..], &[0x82, 0x94][..], "alias 0"),
            (b"a", b"\x23\0\x0B", &[0x94], "above the maximum"),
            (b"a", b"\x23\xFF\xFF", &[0x94], "far above the maximum"),
            (b"", b"\x23\0\x03", &[0x82], "never set"),
            (b"a", b"\x23\0\x01\x23\0\x01", &[0x82], "twice"),
            (b"a/#", b"\x23\0\x01", &[0x90], "of a wildcard"),
            (b"\xFF", b"\x23\0\x01", &[0x81], "of no text"),
        ] {
            for first in [0x30, 0x32, 0x34] {
                let mut client = broker.client(V5, "q07");
                client.send(&publish(V5, first, topic, 1, props));
                let code = client.next().map(|frame| frame.code());
                let code = code.unwrap_or_else(|| panic!("no DISCONNECT: {what}"));
                assert!(codes.contains(&code), "{what}: 0x{code:02X}");
                client.expect_closed();
            }
        }
    });
    Siege::new(32).conf("max_topic_alias 0\n").run(|broker| {
        let mut client = broker.client(V5, "q07");
        client.send(&publish(V5, 0x30, b"a", 1, b"\x23\0\x01"));
        ends_with(&mut client, V5, 0x94, "aliases are off");
    });
}

#[test]
fn q08_an_alias_set_again_and_again() {
    Siege::new(16).alone().run(|broker| {
        let mut client = broker.client(V5, "q08");
        for n in 0..3000u32 {
            let topic = format!("{n}/{}", "t".repeat(60_000));
            client.publish(Out::new(&topic, "x").qos(1).int(Id::TopicAlias, 1 + n % 10));
        }
    });
}

#[test]
fn q09_aliases_end_with_the_connection() {
    Siege::new(32).run(|broker| {
        let mut reader = broker.client(V311, "reader");
        reader.subscribe("q09", 0);
        let dial = Dial::persistent(V5, "q09");
        let mut client = broker.connect(&dial);
        client.publish(Out::new("q09", "set").qos(1).int(Id::TopicAlias, 1));
        client.publish(Out::new("", "used").qos(1).int(Id::TopicAlias, 1));
        reader.expect_message("q09", "set");
        reader.expect_message("q09", "used");
        client.abort();
        let mut client = broker.dial(&dial);
        assert!(client.expect_connected().session_present());
        client.send(&publish(V5, 0x32, b"", 1, b"\x23\0\x01"));
        client.expect_disconnect(0x82);
        reader.expect_nothing_from(&mut broker.client(V5, "fence"));
    });
}

#[test]
fn x06_aliases_for_a_client_that_wants_many() {
    // The broker keeps no more aliases than its own limit, however long the topics are.
    Siege::new(24).run(|broker| {
        let dial = Dial::new(V5, "x06").int(Id::TopicAliasMaximum, 65_535);
        let mut reader = broker.connect(&dial);
        reader.subscribe("x06/#", 0);
        let mut client = broker.client(V311, "writer");
        for n in 0..500 {
            let topic = format!("x06/{n}/{}", "t".repeat(30_000));
            client.publish(Out::new(&topic, "x"));
            let message = reader.expect_publish();
            let alias = message.props.int(Id::TopicAlias);
            assert_eq!(alias, (n < 10).then_some(n + 1));
            assert_eq!(message.topic, topic);
        }
        client.publish(Out::new(&format!("x06/3/{}", "t".repeat(30_000)), "x"));
        let frame = reader.expect(PacketKind::Publish);
        assert!(frame.bytes().len() < 20, "the alias is used");
    });
}
