//! Every mode against a broker that loses, repeats and overtakes on purpose: what it did is what
//! the report says.

use super::frames::Stamp;
use super::measure;
use super::options::Options;
use super::report::Report;
use mogi_codec::topic::{Shared, matches};
use mogi_codec::{
    Ack, Connack, Packet, PacketKind, Properties, Publish, QoS, Reason, Suback, Unsuback, Version,
};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the broker does to every tenth message.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// Those ending in 3 are not delivered.
    lose: bool,
    /// Those ending in 5 are delivered twice.
    repeat: bool,
    /// Those ending in 7 are delivered after the one behind them.
    overtake: bool,
}

/// Subscriptions, and retained messages by topic.
#[derive(Default)]
struct State {
    subscribers: Vec<(String, TcpStream)>,
    /// Messages held back, by subscriber's place.
    held: HashMap<usize, Vec<u8>>,
    retained: HashMap<String, Vec<u8>>,
    next_member: usize,
}

fn start(faults: Faults) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let state = Arc::new(Mutex::new(State::default()));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            thread::spawn(move || serve(stream, &state, faults));
        }
    });
    port
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, faults: Faults) -> Option<()> {
    let (mut buf, mut chunk) = (Vec::new(), [0; 4096]);
    let mut version = Version::V311;
    loop {
        let mut used = 0;
        while let Some((packet, len)) = Packet::parse(version, &buf[used..]).expect("MQTT") {
            if let Packet::Connect(connect) = &packet {
                version = connect.version;
            }
            let answer = answer(version, &packet, &stream, state, faults);
            // Whoever hung up needs no answer.
            stream.write_all(&answer).ok()?;
            used += len;
        }
        buf.drain(..used);
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            n => buf.extend_from_slice(&chunk[..n]),
        }
    }
}

fn answer(
    version: Version,
    packet: &Packet<'_>,
    stream: &TcpStream,
    state: &Mutex<State>,
    faults: Faults,
) -> Vec<u8> {
    let mut out = Vec::new();
    let properties = Properties::default();
    let ack =
        |id, kind, out: &mut Vec<u8>| Ack::new(id, Reason::Success).encode(version, kind, out);
    match packet {
        Packet::Connect(_) => {
            Connack { session_present: false, code: 0, properties }.encode(version, &mut out)
        }
        Packet::Subscribe(subscribe) => {
            let codes = vec![0; subscribe.filters().count()];
            Suback { packet_id: subscribe.packet_id, properties, codes: &codes }
                .encode(version, &mut out);
            let mut state = state.lock().expect("no panic");
            for filter in subscribe.filters() {
                let stream = stream.try_clone().expect("a descriptor");
                for (topic, frame) in &state.retained {
                    if matches(filter.filter, topic) {
                        out.extend_from_slice(frame);
                    }
                }
                state.subscribers.push((filter.filter.to_owned(), stream));
            }
        }
        Packet::Publish(publish) => {
            match publish.qos {
                QoS::AtMostOnce => {}
                QoS::AtLeastOnce => ack(publish.packet_id, PacketKind::Puback, &mut out),
                QoS::ExactlyOnce => ack(publish.packet_id, PacketKind::Pubrec, &mut out),
            }
            state.lock().expect("no panic").route(version, publish, faults);
        }
        Packet::Pubrel(release) => ack(release.packet_id, PacketKind::Pubcomp, &mut out),
        Packet::Pingreq => out.extend_from_slice(&[0xD0, 0]),
        Packet::Unsubscribe(packet) => {
            Unsuback { packet_id: packet.packet_id, properties, codes: &[] }
                .encode(version, &mut out)
        }
        _ => {}
    }
    out
}

impl State {
    fn route(&mut self, version: Version, publish: &Publish<'_>, faults: Faults) {
        let mut frame = Vec::new();
        let delivery = Publish { qos: QoS::AtMostOnce, packet_id: 0, retain: false, ..*publish };
        delivery.encode(version, &mut frame);
        if publish.retain {
            if publish.payload.is_empty() {
                self.retained.remove(publish.topic);
            } else {
                self.retained.insert(publish.topic.to_owned(), frame);
            }
            return;
        }
        let seq = Stamp::read(publish.payload).expect("a stamp").seq;
        let mut members = Vec::new();
        let mut receivers = Vec::new();
        for (i, (filter, _)) in self.subscribers.iter().enumerate() {
            match Shared::parse(filter).expect("valid") {
                Some(shared) if matches(shared.filter, publish.topic) => members.push(i),
                None if matches(filter, publish.topic) => receivers.push(i),
                _ => {}
            }
        }
        if !members.is_empty() {
            receivers.push(members[self.next_member % members.len()]);
            self.next_member += 1;
        }
        for i in receivers {
            self.deliver(i, seq, &frame, faults);
        }
    }

    fn deliver(&mut self, to: usize, seq: u32, frame: &[u8], faults: Faults) {
        let mut bytes = Vec::new();
        match seq % 10 {
            3 if faults.lose => {}
            5 if faults.repeat => bytes = frame.repeat(2),
            7 if faults.overtake => {
                self.held.insert(to, frame.to_vec());
            }
            _ => bytes.extend_from_slice(frame),
        }
        if seq % 10 != 7 {
            bytes.extend(self.held.remove(&to).unwrap_or_default());
        }
        // A subscriber that has gone misses it.
        let _ = self.subscribers[to].1.write_all(&bytes);
    }
}

/// Runs a load against such a broker.
fn run(args: &str, faults: Faults) -> Vec<Report> {
    let port = start(faults).to_string();
    let args = args.split(' ').chain([
        "-h",
        "127.0.0.1",
        "--port",
        &port,
        "--warmup",
        "0",
        "--drain",
        "1",
    ]);
    let options = Options::parse(args).expect("good options");
    measure(&options).expect("measured")
}

/// How many of the first `published` numbers end in `digit`.
fn ending_in(digit: u64, published: u64) -> u64 {
    (0..published).filter(|seq| seq % 10 == digit).count() as u64
}

const STEADY: &[&str] = &[
    "pairs -n 3 -q 0 -c 3000",
    "pairs -n 3 -q 1 -c 3000 -V 5",
    "pairs -n 3 -q 2 -c 1000",
    "fan-out -n 5 -c 500",
    "fan-in -n 5 -q 1 -c 2000",
    "shared -n 4 --members 3 -c 2000",
    "pingpong -q 2 -c 100",
    "filters -n 2 --items 250 -c 1000",
    "pairs -n 2 --rate 2000 -c 500",
];

#[test]
fn a_good_broker_gets_a_clean_report() {
    for line in STEADY {
        let report = run(line, Faults::default()).remove(0);
        assert!(report.clean(), "{line}: {report:?}");
        assert!(report.measured.published > 0, "{line}");
        let latency = report.latency_us.expect("messages arrived");
        assert!(latency.p50 <= latency.p99 && latency.p99 <= latency.max, "{line}");
    }
}

#[test]
fn what_is_lost_and_repeated_is_counted() {
    let faults = Faults { lose: true, repeat: true, overtake: false };
    for (line, deliveries) in [
        ("pairs -n 1 -c 1000", 1),
        ("pairs -n 1 -q 2 -c 1000 -V 5", 1),
        ("fan-out -n 3 -c 300", 3),
        ("shared -n 1 --members 1 -c 1000", 1),
    ] {
        let report = run(line, faults).remove(0);
        let published = report.measured.published;
        assert_eq!(report.lost, deliveries * ending_in(3, published), "{line}");
        assert_eq!(report.duplicated, deliveries * ending_in(5, published), "{line}");
        assert_eq!((report.reordered, report.foreign), (0, 0), "{line}");
    }
}

#[test]
fn what_overtakes_is_counted() {
    let faults = Faults { overtake: true, ..Faults::default() };
    for line in ["pairs -n 1 -c 1000", "shared -n 1 --members 1 -c 1000"] {
        let report = run(line, faults).remove(0);
        let published = report.measured.published;
        // One held back at the very end is never sent.
        let stuck = u64::from(published % 10 == 8);
        assert_eq!(report.reordered, ending_in(7, published) - stuck, "{line}");
        assert_eq!((report.lost, report.duplicated), (stuck, 0), "{line}");
    }
}

#[test]
fn retained_messages_are_stored_fetched_and_deleted() {
    for line in ["retained --items 500 --rounds 2", "retained --items 500 -q 1 -V 5"] {
        let reports = run(line, Faults::default());
        let parts: Vec<_> = reports.iter().map(|report| report.part.as_str()).collect();
        assert_eq!(parts, ["retained-store", "retained-deliver"]);
        assert!(reports.iter().all(Report::clean), "{reports:?}");
        assert_eq!(reports[0].measured.published, 500);
        assert!(reports[1].measured.delivered >= 1000);
    }
}

#[test]
fn connections_are_counted() {
    let report = run("connect -n 20 -d 0", Faults::default()).remove(0);
    assert_eq!(report.measured.delivered, 20);
    let report = run("connect -n 20 --hold 0", Faults::default()).remove(0);
    assert_eq!((report.measured.delivered, report.disconnected), (20, 0));
}

#[test]
fn nobody_there_is_said_in_words() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("bound").port().to_string();
    drop(free);
    for mode in ["pairs", "connect", "retained"] {
        let options = Options::parse([mode, "-h", "127.0.0.1", "-p", &port]).expect("good");
        let err = measure(&options).expect_err("nobody listens");
        assert!(err.contains(&port) && err.contains("refused"), "{mode}: {err}");
    }
}
