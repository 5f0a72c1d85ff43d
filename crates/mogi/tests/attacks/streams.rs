//! How bytes arrive, and how connections end.

use super::siege::Siege;
use crate::support::{
    Broker, Client, Dial, Id, Out, PacketKind, Reason, V5, V311, VERSIONS, Version,
};
use mogi_codec::{Disconnect, PropertyBuf};

/// Sends every byte in a segment of its own.
fn dribble(client: &mut Client, bytes: &[u8]) {
    for byte in bytes {
        client.send(std::slice::from_ref(byte)); // TCP_NODELAY is set
    }
}

#[test]
fn e12_one_byte_per_segment() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let mut client = broker.open(version);
            dribble(&mut client, &Dial::new(version, "e12").bytes());
            client.expect_connected();
            dribble(&mut client, &super::raw::subscribe(version, 1, &[], &[(b"e12", 2)]));
            assert_eq!(client.expect(PacketKind::Suback).codes(), [2]);
            for qos in 0..3 {
                let out = Out::new("e12", [b'x'; 300]).qos(qos).id(9);
                dribble(&mut client, &out.bytes(version));
                if qos == 2 {
                    await_kind(&mut client, PacketKind::Pubrec, "PUBREC");
                    dribble(&mut client, &[0x62, 2, 0, 9]);
                }
            }
            dribble(&mut client, &[0xC0, 0]);
            await_kind(&mut client, PacketKind::Pingresp, "PINGRESP");
            dribble(&mut client, &[0xE0, 0]);
            client.drain();
        }
    });
}

#[track_caller]
fn await_kind(client: &mut Client, kind: PacketKind, what: &str) {
    while client.next().expect(what).kind() != kind {}
}

#[test]
fn e13_twenty_thousand_packets_in_one_write() {
    Siege::new(32).alone().run(|broker| {
        for version in [V311, V5] {
            let mut client = broker.client(version, "e13");
            let packets = (1..=20_000u16).map(|id| {
                let out = Out::new("e13", "x").qos(1).id(id);
                out.bytes(version)
            });
            let bytes = packets.collect::<Vec<_>>().concat();
            let mut writer = client.stream().try_clone().expect("a second handle");
            let thread = std::thread::spawn(move || {
                use std::io::Write;
                writer.write_all(&bytes).expect("all of it is taken");
            });
            let code = if version.is_v5() { 0x10 } else { 0 };
            for id in 1..=20_000 {
                client.expect_ack(PacketKind::Puback, id, code);
            }
            thread.join().expect("written");
        }
    });
}

#[test]
fn e16_packets_after_disconnect() {
    Siege::new(32).run(|broker| {
        for version in VERSIONS {
            let mut reader = broker.client(version, "reader");
            reader.subscribe("e16", 0);
            let dial = Dial::new(version, "e16").will("e16", "will");
            let mut client = broker.connect(&dial);
            let publish = Out::new("e16", "late").bytes(version);
            client.send(&[&[0xE0, 0][..], &publish, &[0xC0, 0]].concat());
            client.expect_closed();
            reader.expect_nothing_from(&mut broker.client(version, "fence"));
        }
    });
}

#[track_caller]
fn disconnect(broker: &Broker, dial: &Dial, reason: Reason, expiry_s: Option<u32>) -> Client {
    let mut client = broker.connect(dial);
    let mut props = PropertyBuf::new();
    if let Some(expiry_s) = expiry_s {
        props.int(Id::SessionExpiryInterval, expiry_s);
    }
    let mut bytes = Vec::new();
    let properties = props.as_properties();
    Disconnect { reason, properties }.encode(Version::V5, &mut bytes);
    client.send(&bytes);
    client
}

#[test]
fn e17_disconnects_of_mqtt_5() {
    Siege::new(32).run(|broker| {
        let mut heir = broker.client(V5, "heir");
        heir.subscribe("e17", 0);
        let dial = Dial::new(V5, "e17").will("e17", "will");
        let mut client = disconnect(broker, &dial, Reason::Success, Some(100));
        client.expect_disconnect(0x82);
        heir.expect_message("e17", "will");
        let mut client = disconnect(broker, &dial, Reason::DisconnectWithWill, None);
        client.expect_closed();
        heir.expect_message("e17", "will");
        let mut client = disconnect(broker, &dial, Reason::Success, None);
        client.expect_closed();
        heir.expect_nothing_from(&mut broker.client(V5, "fence"));
        // A session that has an expiry may change it, also to nothing.
        let dial = Dial::persistent(V5, "e17");
        disconnect(broker, &dial, Reason::Success, Some(0)).expect_closed();
        let mut client = broker.dial(&dial);
        assert!(!client.expect_connected().session_present());
        drop(client);
        disconnect(broker, &dial, Reason::Success, Some(100)).expect_closed();
        let mut client = broker.dial(&dial);
        assert!(client.expect_connected().session_present());
    });
}
