//! PINGREQ, keep alive, DISCONNECT, AUTH (3.1.2.10, 3.12 to 3.15).

use super::scene::{each, start};
use super::wire::{expect_ended, hex};
use crate::support::{Dial, Id, Out, PacketKind, Reason, V5, V31, V311, VERSIONS, other_broker};
use std::time::{Duration, Instant};

/// 3.1.1: MQTT-3.12.4-1. 5.0: MQTT-3.12.4-1.
#[test]
fn mqtt_3_12_4_1_pingresp_answers_pingreq() {
    each(&VERSIONS, "", |s| {
        let mut client = s.client("client");
        client.send(&hex("c000 c000 c000"));
        for _ in 0..3 {
            client.expect_bytes(&hex("d000"));
        }
        client.expect_nothing();
    });
}

/// Attack Q22.
#[test]
fn a_ping_with_a_body_ends_the_connection() {
    let broker = start("");
    for version in VERSIONS {
        let mut client = broker.client(version, "odd");
        client.send(&hex("c0 01 00"));
        expect_ended("PINGREQ with a body", &mut client, &[0x81]);
    }
}

/// A silent client is dropped, and its will is published, after one and a half keep alives; one
/// that sends anything is not, nor is one without keep alive.
///
/// 3.1.1: MQTT-3.1.2-24. 5.0: MQTT-3.1.2-22, MQTT-3.2.2-22.
#[test]
fn mqtt_3_1_2_24_keep_alive_passes_one_and_a_half_times() {
    let broker = start("");
    let mut heir = broker.client(V5, "heir");
    heir.subscribe("will/#", 0);
    let began = Instant::now();
    let mut silent = Vec::new();
    let mut others = Vec::new();
    for version in VERSIONS {
        let id = |name: &str| format!("{name}-{version:?}");
        let dial = Dial::new(version, &id("silent")).keep_alive(1);
        silent.push(broker.connect(&dial.will("will/silent", "silent")));
        let dial = Dial::new(version, &id("busy")).keep_alive(2);
        others.push((true, broker.connect(&dial.will("will/busy", "busy"))));
        let dial = Dial::new(version, &id("free")).keep_alive(0);
        others.push((false, broker.connect(&dial.will("will/free", "free"))));
    }
    // The busy ones send something every half second; time is the subject.
    while began.elapsed() < Duration::from_secs(4) {
        for (busy, client) in &mut others {
            if *busy {
                client.send_publish(Out::new("busy", "here"));
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    for (_, client) in &mut others {
        client.ping();
    }
    for client in &mut silent {
        // Mosquitto just closes.
        expect_ended("silent", client, &[0x8D]);
    }
    for _ in 0..3 {
        heir.expect_message("will/silent", "silent");
    }
    heir.expect_nothing();
}

/// The time-out is not shorter than one and a half keep alives.
///
/// 3.1.1: MQTT-3.1.2-24. 5.0: MQTT-3.1.2-22.
#[test]
fn mqtt_3_1_2_22_keep_alive_does_not_pass_early() {
    if other_broker() {
        return; // Mosquitto counts in whole seconds and may be early.
    }
    let broker = start("");
    let mut clients: Vec<_> = VERSIONS
        .iter()
        .map(|&version| {
            let dial = Dial::new(version, &format!("silent-{version:?}")).keep_alive(2);
            let mut client = broker.dial(&dial);
            let sent = Instant::now();
            client.expect_connected();
            (sent, client)
        })
        .collect();
    for (sent, client) in &mut clients {
        expect_ended("silent", client, &[0x8D]);
        assert!(sent.elapsed() >= Duration::from_secs(3));
    }
}

/// A client without a keep alive of its own is held to the server's.
///
/// 5.0: MQTT-3.1.2-22, MQTT-3.2.2-22.
#[test]
fn mqtt_3_2_2_22_the_servers_keep_alive_counts() {
    let broker = start("max_keepalive 1");
    let mut client = broker.dial(&Dial::new(V5, "idle").keep_alive(0));
    let props = client.expect_connected().props();
    assert_eq!(props.int(Id::ServerKeepAlive), Some(1));
    expect_ended("idle", &mut client, &[0x8D]);
    for (version, keep_alive) in [(V31, 0), (V31, 2), (V311, 0), (V311, 2)] {
        let mut client = broker.dial(&Dial::new(version, "idle").keep_alive(keep_alive));
        client.expect_bytes(&hex("20 02 00 02"));
        client.expect_closed();
    }
}

/// 3.1.1: MQTT-3.14.4-3, MQTT-3.14.1-1. 5.0: MQTT-3.14.4-1, MQTT-3.14.4-2, MQTT-3.14.2-1,
/// MQTT-4.13.2-1.
#[test]
fn mqtt_3_14_4_1_after_disconnect_there_is_nothing() {
    each(&VERSIONS, "", |s| {
        let mut witness = s.client("witness");
        witness.subscribe(&s.topic("#"), 0);
        let dial = s.dial("leaver").will(&s.topic("will"), "gone");
        // What a client sends after DISCONNECT is not looked at (attack E16).
        let mut client = s.connect(&dial);
        let late = Out::new(&s.topic("late"), "x").bytes(s.version);
        client.send(&[hex("e000"), late, hex("c000")].concat());
        client.expect_closed();
        s.connect(&dial).disconnect();
        witness.expect_nothing_from(&mut s.client("fence"));
        // The broker's own DISCONNECT is its last packet, too.
        let mut client = s.client("odd");
        client.send(&hex("c000 0000 c000"));
        client.expect(PacketKind::Pingresp);
        expect_ended("kind 0", &mut client, &[0x81, 0x82]);
    });
}

/// 5.0: MQTT-3.14.2-2, MQTT-4.13.1-1.
#[test]
fn mqtt_3_14_2_2_a_session_without_expiry_cannot_get_one_in_disconnect() {
    each(&[V5], "", |s| {
        for dial in [s.dial("brief"), s.dial("brief").session_expiry(0)] {
            let mut client = s.connect(&dial);
            client.send(&hex("e0 07 00 05 11 00000064"));
            client.expect_disconnect(0x82);
            // And the session is gone.
            let mut client = s.broker.dial(&s.dial("brief").resume());
            assert!(!client.expect_connected().session_present());
        }
        // The other way round is fine: the session ends at once.
        let mut client = s.connect(&s.persistent("long").clean());
        client.send(&hex("e0 07 00 05 11 00000000"));
        client.expect_closed();
        let mut client = s.broker.dial(&s.persistent("long"));
        assert!(!client.expect_connected().session_present());
        // And so is a longer one.
        client.send(&hex("e0 07 00 05 11 00010000"));
        client.expect_closed();
        let mut client = s.broker.dial(&s.persistent("long"));
        assert!(client.expect_connected().session_present());
    });
}

/// 5.0: MQTT-4.13.1-1.
#[test]
fn mqtt_4_13_1_1_malformed_disconnects_are_errors() {
    let broker = start("");
    for bytes in ["e0 04 00 02 01 01", "e0 03 00 00 00", "e0 02 00 05", "e1 00"] {
        let mut client = broker.client(V5, "odd");
        client.send(&hex(bytes));
        expect_ended(bytes, &mut client, &[0x81, 0x82]);
    }
    for version in [V31, V311] {
        let mut client = broker.client(version, "odd");
        client.send(&hex("e0 01 00"));
        client.expect_closed();
    }
    // Reasons a client may have.
    for reason in [Reason::UnspecifiedError, Reason::MalformedPacket, Reason::QuotaExceeded] {
        broker.client(V5, "leaver").disconnect_with(reason);
    }
}

/// What the broker sends is a reason code and never more, so it fits every client.
///
/// 5.0: MQTT-3.14.2-2, MQTT-3.14.2-3, MQTT-3.14.2-4.
#[test]
fn mqtt_3_14_2_3_disconnect_fits_the_smallest_client() {
    each(&[V5], "", |s| {
        let size = 16; // the CONNACK has to fit
        let mut client = s.connect(&s.dial("small").int(Id::MaximumPacketSize, size));
        client.send(&hex("20 02 00 00"));
        let last = client.expect(PacketKind::Disconnect);
        assert_eq!(last.bytes(), hex("e0 01 82"));
        client.expect_closed();
    });
}

/// Attack P18.
///
/// 5.0: MQTT-3.15.1-1, MQTT-4.12.0-6, MQTT-4.13.1-1. 3.1.1: MQTT-4.8.0-1.
#[test]
fn mqtt_4_12_0_6_auth_without_a_method_is_a_protocol_error() {
    let broker = start("");
    for version in VERSIONS {
        for bytes in ["f0 00", "f0 06 18 04 15 0001 58", "f0 06 19 04 15 0001 58", "f1 00"] {
            let mut client = broker.client(version, "auth");
            client.send(&hex(bytes));
            expect_ended(bytes, &mut client, &[0x81, 0x82]);
        }
    }
}
