//! A broker that loses, repeats and overtakes on purpose, to see whether a report says so.

use super::frames::Stamp;
use mogi_codec::topic::{Shared, matches};
use mogi_codec::{
    Ack, Connack, Connect, Packet, PacketKind, Properties, Publish, QoS, Reason, Suback, Unsuback,
    Version,
};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the broker does to every tenth message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Those ending in 3 are not delivered.
    pub(super) lose: bool,
    /// Those ending in 5 are delivered twice.
    pub(super) repeat: bool,
    /// Those ending in 7 are delivered after the one behind them.
    pub(super) overtake: bool,
}

/// Subscriptions, and retained messages by topic.
#[derive(Default)]
struct State {
    subscribers: Vec<Subscriber>,
    /// Messages held back, by subscriber's place.
    held: HashMap<usize, Vec<u8>>,
    retained: HashMap<String, Vec<u8>>,
    next_member: usize,
}

/// One subscription.
struct Subscriber {
    client: String,
    filter: String,
    /// Where it is, unless it is away.
    stream: Option<TcpStream>,
    /// What waits for it.
    queue: Vec<u8>,
    lasting: bool,
}

/// Who is at the other end of a connection.
#[derive(Default)]
struct Peer {
    client: String,
    version: Option<Version>,
    lasting: bool,
}

/// Starts one and says its port.
pub(super) fn start(faults: Faults) -> u16 {
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

fn serve(mut stream: TcpStream, state: &Mutex<State>, faults: Faults) {
    let mut peer = Peer::default();
    // Whoever hung up needs no answer.
    let _ = talk(&mut stream, &mut peer, state, faults);
    state.lock().expect("no panic").leave(&peer);
}

fn talk(
    stream: &mut TcpStream,
    peer: &mut Peer,
    state: &Mutex<State>,
    faults: Faults,
) -> Option<()> {
    let (mut buf, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let mut used = 0;
        let version = |peer: &Peer| peer.version.unwrap_or(Version::V311);
        while let Some((packet, len)) = Packet::parse(version(peer), &buf[used..]).expect("MQTT") {
            match &packet {
                Packet::Connect(connect) => peer.connect(connect),
                Packet::Disconnect(_) => return None,
                _ => {}
            }
            let answer = answer(peer, version(peer), &packet, stream, state, faults);
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

impl Peer {
    fn connect(&mut self, connect: &Connect<'_>) {
        self.client = connect.client_id.to_owned();
        self.version = Some(connect.version);
        self.lasting = !connect.clean_start;
    }
}

fn answer(
    peer: &Peer,
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
            Connack { session_present: false, code: 0, properties }.encode(version, &mut out);
            state.lock().expect("no panic").enter(peer, stream, &mut out);
        }
        Packet::Subscribe(subscribe) => {
            let codes = vec![0; subscribe.filters().count()];
            Suback { packet_id: subscribe.packet_id, properties, codes: &codes }
                .encode(version, &mut out);
            let mut state = state.lock().expect("no panic");
            for filter in subscribe.filters() {
                let stream = Some(stream.try_clone().expect("a descriptor"));
                for (topic, frame) in &state.retained {
                    if matches(filter.filter, topic) {
                        out.extend_from_slice(frame);
                    }
                }
                state.subscribers.push(Subscriber {
                    client: peer.client.clone(),
                    filter: filter.filter.to_owned(),
                    stream,
                    queue: Vec::new(),
                    lasting: peer.lasting,
                });
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
    /// Hands a client that comes back what waited for it, or ends its session. A place stays
    /// taken, as others are known by theirs.
    fn enter(&mut self, peer: &Peer, stream: &TcpStream, out: &mut Vec<u8>) {
        for subscriber in self.subscribers.iter_mut().filter(|sub| sub.client == peer.client) {
            subscriber.lasting &= peer.lasting;
            if subscriber.lasting {
                subscriber.stream = Some(stream.try_clone().expect("a descriptor"));
                out.append(&mut subscriber.queue);
            }
        }
    }

    fn leave(&mut self, peer: &Peer) {
        for subscriber in self.subscribers.iter_mut().filter(|sub| sub.client == peer.client) {
            subscriber.stream = None;
        }
    }

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
        for (i, subscriber) in self.subscribers.iter().enumerate() {
            match Shared::parse(&subscriber.filter).expect("valid") {
                Some(shared) if matches(shared.filter, publish.topic) => members.push(i),
                None if matches(&subscriber.filter, publish.topic) => receivers.push(i),
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
        let subscriber = &mut self.subscribers[to];
        match &mut subscriber.stream {
            Some(stream) => {
                // A subscriber that has gone misses it.
                let _ = stream.write_all(&bytes);
            }
            None if subscriber.lasting => subscriber.queue.append(&mut bytes),
            None => {}
        }
    }
}
