//! `pub`.

use crate::broker::{Broker, Reply, connack, default};
use crate::process::{run, run_with};
use mogi_codec::{Ack, Packet, PacketKind, PropertyBuf, PropertyId, Reason, Version};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn what_is_sent_is_what_mosquittos_tool_sends() {
    for (args, frames) in [
        ("pub -t a -m x", &["100c00044d5154540402003c0000", "300400016178", "e000"][..]),
        ("pub -t a -m x -V 5", &["101000044d5154540502003c032100140000", "30050001610078", "e000"]),
        (
            "pub -t a -m x -x 5",
            &["101500044d5154540502003c0811000000052100140000", "30050001610078", "e000"],
        ),
        (
            "pub -t a -m x -c -i me -V 5",
            &["101700044d5154540500003c0811ffffffff21001400026d65", "30050001610078", "e000"],
        ),
        (
            "pub -t a -m x -u u -P p -k 5",
            &["101200044d51545404c200050000000175000170", "300400016178", "e000"],
        ),
        (
            "pub -t a -m x --will-topic w --will-payload p --will-qos 1 --will-retain -V 5 \
             -D will will-delay-interval 3 -D will content-type t",
            &[
                "102000044d515454052e003c03210014000009180000000303000174000177000170",
                "30050001610078",
                "e000",
            ],
        ),
        (
            "pub -t a -r -n -D disconnect user-property k v",
            &["101000044d5154540502003c032100140000", "310400016100", "e00900072600016b000176"],
        ),
        (
            "pub -t a --repeat 2 -m x -q 2",
            &[
                "100c00044d5154540402003c0000",
                "3406000161000178",
                "62020001",
                "3406000161000278",
                "62020002",
                "e000",
            ],
        ),
        (
            "pub -t a -m x -D publish user-property k v -D publish message-expiry-interval 3",
            &[
                "101000044d5154540502003c032100140000",
                "30110001610c2600016b000176020000000378",
                "e000",
            ],
        ),
    ] {
        let broker = Broker::plain();
        let ran = run(broker.port, args);
        assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (0, "", ""), "{args}");
        assert_eq!(broker.seen(), frames, "{args}");
    }
}

#[test]
fn the_standard_input_is_one_message_or_one_each_line() {
    let lines = b"one\n\ntwo\nlast without end";
    let broker = Broker::plain();
    assert_eq!(run_with(broker.port, "pub -t a -l", lines).code, 0);
    let published = broker.seen_of(PacketKind::Publish);
    let last = "30130001616c61737420776974686f757420656e64";
    assert_eq!(published, ["30060001616f6e65", "3003000161", "300600016174776f", last]);

    let broker = Broker::plain();
    assert_eq!(run_with(broker.port, "pub -t a -s", b"a\nb\n").code, 0);
    assert_eq!(broker.seen_of(PacketKind::Publish), ["3007000161610a620a"]);

    let ran = run_with(Broker::plain().port, "pub -t a -s", b"");
    assert_eq!(ran.code, 1);
    let text = "Error: Zero length input.\nError loading input from stdin.\n";
    assert_eq!(ran.stderr, text);
}

#[test]
fn refused_connections_give_their_code() {
    for (version, flag, code, why, second) in [
        (
            Version::V311,
            "311",
            5,
            "Connection Refused: not authorised",
            "The connection was refused",
        ),
        (
            Version::V31,
            "31",
            2,
            "Connection Refused: identifier rejected",
            "The connection was refused",
        ),
        (
            Version::V5,
            "5",
            135,
            "Not authorized",
            "A network protocol error occurred when communicating with the broker",
        ),
        (
            Version::V5,
            "5",
            132,
            "Unsupported Protocol Version. Try connecting to an MQTT v5 broker, or use MQTT \
             v3.x mode.",
            "A network protocol error occurred when communicating with the broker",
        ),
    ] {
        let refusing = move || {
            Broker::new(move |_, _| Some(vec![connack(version, code, &PropertyBuf::new())]))
        };
        let args = format!("pub -t a -m x -V {flag}");
        let ran = run(refusing().port, &args);
        assert_eq!(ran.code, i32::from(code));
        assert_eq!(ran.stderr, format!("Connection error: {why}\nError: {second}\n"));
        let ran = run(refusing().port, &format!("{args} --quiet"));
        assert_eq!((ran.code, &*ran.stderr), (i32::from(code), ""));
    }
}

#[test]
fn refused_messages_are_a_warning() {
    let broker = Broker::new(|_, packet| match packet {
        Packet::Publish(publish) => {
            let mut properties = PropertyBuf::new();
            properties.str(PropertyId::ReasonString, "because");
            let mut out = Vec::new();
            Ack {
                packet_id: publish.packet_id,
                reason: Reason::NotAuthorized,
                properties: properties.as_properties(),
            }
            .encode(Version::V5, PacketKind::Puback, &mut out);
            Some(vec![Reply::Bytes(out)])
        }
        _ => None,
    });
    let ran = run(broker.port, "pub -t a -m x -q 1 -V 5");
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stderr, "Warning: Publish 1 failed: Not authorized.\nbecause\n");
}

#[test]
fn a_lost_connection_is_an_error_for_one_message() {
    let closing = |kind: PacketKind| {
        Broker::new(move |_, packet| {
            let hit = match packet {
                Packet::Connect(_) => kind == PacketKind::Connect,
                Packet::Publish(_) => kind == PacketKind::Publish,
                _ => false,
            };
            hit.then(|| vec![Reply::Close])
        })
    };
    for kind in [PacketKind::Connect, PacketKind::Publish] {
        let ran = run(closing(kind).port, "pub -t a -m x -q 1");
        assert_eq!(ran.code, 7, "{kind:?}");
        assert_eq!(ran.stderr, "Error: The connection was lost\n");
    }
    let broker = Broker::new(|_, packet| match packet {
        Packet::Publish(_) => Some(vec![Reply::Bytes(vec![0xE0, 1, 0x8B]), Reply::Close]),
        _ => None,
    });
    let ran = run(broker.port, "pub -t a -m x -q 1 -V 5");
    assert_eq!(ran.code, 4);
    let text = "Error: The client is not currently connected (Server shutting down)\n";
    assert_eq!(ran.stderr, text);
}

#[test]
fn lines_survive_a_lost_connection() {
    let count = AtomicUsize::new(0);
    let broker = Broker::new(move |_, packet| match packet {
        // The second message is received, and not acknowledged.
        Packet::Publish(_) if count.fetch_add(1, Ordering::SeqCst) == 1 => Some(vec![Reply::Close]),
        _ => None,
    });
    let ran = run_with(broker.port, "pub -t a -l -q 1", b"1\n2\n3\n");
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let published = broker.seen_of(PacketKind::Publish);
    for number in ["31", "32", "33"] {
        assert!(published.iter().any(|it| it.ends_with(number)), "{published:?}");
    }
    assert_eq!(broker.seen_of(PacketKind::Connect).len(), 2);
}

#[test]
fn without_a_broker_it_says_why() {
    let ran = run(1, "pub -t a -m x");
    assert_eq!((ran.code, &*ran.stderr), (1, "Error: Connection refused\n"));
    let ran = run(1, "pub -t a -m x -h nosuch.invalid");
    assert_eq!((ran.code, &*ran.stderr), (1, "Unable to connect (Lookup error).\n"));
    let ran = run(0, "pub -t a -m x --unix /nonexistent/socket");
    assert_eq!((ran.code, &*ran.stderr), (1, "Error: No such file or directory\n"));
}

#[test]
fn what_the_broker_does_not_take() {
    let limited = |id, value| {
        Broker::new(move |_, packet| match packet {
            Packet::Connect(connect) => {
                let mut properties = PropertyBuf::new();
                properties.int(id, value);
                Some(vec![connack(connect.version, 0, &properties)])
            }
            _ => None,
        })
    };
    let broker = limited(PropertyId::MaximumQos, 0);
    let ran = run(broker.port, "pub -t a -m x -q 1 -V 5");
    let text = "Error: Message QoS not supported on broker, try a lower QoS.\n";
    assert_eq!((ran.code, &*ran.stderr), (7, text));
    assert!(broker.seen_of(PacketKind::Publish).is_empty());

    let broker = limited(PropertyId::MaximumPacketSize, 20);
    let ran = run(broker.port, "pub -t a -m xxxxxxxxxxxxxxxxxxxxxxxxx -V 5");
    assert_eq!(ran.code, 7);
    assert!(ran.stderr.contains("20 at most"), "{}", ran.stderr);

    let broker = limited(PropertyId::RetainAvailable, 0);
    let ran = run(broker.port, "pub -t a -m x -r -V 5");
    assert_eq!(ran.code, 0);
    assert_eq!(broker.seen_of(PacketKind::Publish), ["30050001610078"]);

    // Topic aliases only save bytes: without them the message arrives too.
    let broker = limited(PropertyId::TopicAliasMaximum, 2);
    let ran = run(broker.port, "pub -t a -m x -D publish topic-alias 3");
    assert_eq!(ran.code, 0);
    assert_eq!(broker.seen_of(PacketKind::Publish), ["30050001610078"]);
    let broker = limited(PropertyId::TopicAliasMaximum, 3);
    run(broker.port, "pub -t a -m x -D publish topic-alias 3 --repeat 2");
    let published = broker.seen_of(PacketKind::Publish);
    assert_eq!(published, ["30080001610323000378", "300700000323000378"]);
}

#[test]
fn debug_prints_the_packets() {
    let ran = run(Broker::plain().port, "pub -t a -m x -q 2 -d");
    let text = "Client null sending CONNECT\n\
        Client (null) received CONNACK (0)\n\
        Client null sending PUBLISH (d0, q2, r0, m1, 'a', ... (1 bytes))\n\
        Client null received PUBREC (Mid: 1)\n\
        Client null sending PUBREL (m1)\n\
        Client null received PUBCOMP (Mid: 1, RC:0)\n\
        Client null sending DISCONNECT\n";
    assert_eq!(ran.stdout, text);
    let named = Broker::new(|_, packet| match packet {
        Packet::Connect(_) => {
            let mut properties = PropertyBuf::new();
            properties.str(PropertyId::AssignedClientIdentifier, "given");
            Some(vec![connack(Version::V5, 0, &properties)])
        }
        other => Some(default(other)),
    });
    let ran = run(named.port, "pub -t a -m x -V 5 -d");
    let text = "Client null sending CONNECT\n\
        Client given received CONNACK (0)\n\
        Client given sending PUBLISH (d0, q0, r0, m1, 'a', ... (1 bytes))\n\
        Client given sending DISCONNECT\n";
    assert_eq!(ran.stdout, text);
}
