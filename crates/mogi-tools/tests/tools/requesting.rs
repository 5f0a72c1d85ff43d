//! `rr`.

use crate::broker::{Broker, Reply, default, publish, suback};
use crate::process::run;
use mogi_codec::{Packet, PacketKind, QoS, Version};

/// A broker that answers the request with these messages.
fn answering(messages: Vec<Vec<u8>>) -> Broker {
    Broker::new(move |_, packet| match packet {
        Packet::Publish(_) => {
            let mut replies = default(packet);
            replies.extend(messages.iter().cloned().map(Reply::Bytes));
            Some(replies)
        }
        _ => None,
    })
}

fn response(payload: &str, retain: bool) -> Vec<u8> {
    publish(Version::V5, "b", payload, QoS::AtMostOnce, 0, retain)
}

#[test]
fn requests_are_those_of_mosquittos_tool() {
    for (args, subscribe, request) in [
        ("rr -t a -e b -m x", "820700010000016200", "3009000161040800016278"),
        (
            "rr -t a -e b -m x -D publish correlation-data c",
            "820700010000016200",
            "300d00016108090001630800016278",
        ),
        ("rr -t a -t c -e b -e d -n -q 1", "820700010000016401", "320a00016300020408000164"),
        ("rr -t a -e b -m x -R", "820700010000016220", "3009000161040800016278"),
    ] {
        let broker = answering(vec![response("resp", false)]);
        let ran = run(broker.port, args);
        assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (0, "resp\n", ""), "{args}");
        assert_eq!(broker.seen_of(PacketKind::Subscribe), [subscribe]);
        assert_eq!(broker.seen_of(PacketKind::Publish), [request]);
        let connect = "101000044d5154540502003c032100010000";
        assert_eq!(broker.seen_of(PacketKind::Connect), [connect]);
        assert_eq!(broker.seen_of(PacketKind::Disconnect), ["e000"]);
    }
    let broker = answering(vec![publish(Version::V311, "b", "resp", QoS::AtMostOnce, 0, false)]);
    let ran = run(broker.port, "rr -t a -e b -m x -V 311 -v");
    assert_eq!((ran.code, &*ran.stdout), (0, "b resp\n"));
    assert_eq!(broker.seen_of(PacketKind::Publish), ["300400016178"]);
}

#[test]
fn the_first_response_is_printed() {
    for (args, messages, stdout) in [
        ("-v", vec![response("", false)], "b (null)\n"),
        ("-N", vec![response("resp", false)], "resp"),
        ("-F %t=%l", vec![response("resp", false)], "b=4\n"),
        ("-R", vec![response("old", true), response("new", false)], "new\n"),
        ("-v", vec![response("1", false), response("2", false)], "b 1\n"),
    ] {
        let ran = run(answering(messages).port, &format!("rr -t a -e b -m x {args}"));
        assert_eq!((ran.code, ran.stdout), (0, stdout.to_owned()), "{args}");
    }
    let args = "rr -t a -e b -m x --latency";
    let ran = run(answering(vec![response("resp", false)]).port, args);
    let (payload, latency) = ran.stdout.split_once('\n').expect("two lines");
    assert_eq!(payload, "resp");
    assert!(latency.starts_with("Latency: ") && latency.ends_with('\n'), "{latency}");
}

#[test]
fn without_a_response_it_fails() {
    let ran = run(Broker::plain().port, "rr -t a -e b -m x -W 1");
    assert_eq!((ran.code, &*ran.stderr), (27, "Timed out\n"));
    let broker = Broker::new(|_, packet| match packet {
        Packet::Publish(_) => Some(vec![Reply::Close]),
        _ => None,
    });
    let ran = run(broker.port, "rr -t a -e b -m x");
    assert_eq!((ran.code, &*ran.stderr), (7, "Error: The connection was lost\n"));
    let broker = Broker::new(|_, packet| match packet {
        Packet::Subscribe(subscribe) => {
            Some(vec![suback(Version::V5, subscribe.packet_id, &[0x87])])
        }
        _ => None,
    });
    let ran = run(broker.port, "rr -t a -e b -m x");
    assert_eq!((ran.code, &*ran.stderr), (0, "Not authorized\n"));
}
