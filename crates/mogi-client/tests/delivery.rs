//! Random sequences: whatever gets lost on the way, messages arrive as their QoS promises.

mod support;

use mogi_client::{Client, Event, Options};
use mogi_codec::{Ack, Packet, PacketKind, PropertyBuf, QoS, Reason, Version};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use support::{request, sent};

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The client publishes.
    Publish(QoS),
    /// The server publishes.
    Deliver(QoS),
    /// The client's bytes reach the server.
    Up,
    /// The server's bytes reach the client.
    Down,
    /// The connection breaks, with everything under way; the next one begins.
    Break,
}

fn step() -> impl Strategy<Value = Step> {
    let qos = prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    prop_oneof![
        3 => qos.clone().prop_map(Step::Publish),
        3 => qos.prop_map(Step::Deliver),
        5 => Just(Step::Up),
        5 => Just(Step::Down),
        1 => Just(Step::Break),
    ]
}

/// A server of one session that does no more than the protocol asks for.
#[derive(Default)]
struct Server {
    /// What goes to the client.
    out: Vec<u8>,
    /// Payloads in the order they arrived.
    arrived: Vec<(QoS, u32)>,
    /// Packet ids of QoS 2 that are not released by the client.
    unreleased: BTreeSet<u16>,
    /// Messages to the client that are not done: id, QoS, payload, whether PUBREC came.
    inflight: VecDeque<(u16, QoS, u32, bool)>,
    next_id: u16,
    connected_before: bool,
}

impl Server {
    fn deliver(&mut self, qos: QoS, number: u32) {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        let id = self.next_id;
        self.inflight.push_back((id, qos, number, false));
        let payload = number.to_string();
        support::publish("d", payload.as_bytes(), qos, id, false, V, &mut self.out);
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((packet, len)) = Packet::parse(V, rest).expect("a client that is right") {
            rest = &rest[len..];
            self.handle(packet);
        }
        assert!(rest.is_empty(), "whole packets");
    }

    fn handle(&mut self, packet: Packet<'_>) {
        let mut ack = |kind, id| Ack::new(id, Reason::Success).encode(V, kind, &mut self.out);
        match packet {
            Packet::Connect(_) => {
                let none = PropertyBuf::new();
                support::connack(V, self.connected_before, &none, &mut self.out);
                self.connected_before = true;
                self.resume();
            }
            Packet::Publish(publish) => {
                let number = number(publish.payload);
                let id = publish.packet_id;
                if publish.qos == QoS::AtLeastOnce {
                    ack(PacketKind::Puback, id);
                    self.arrived.push((publish.qos, number));
                } else {
                    ack(PacketKind::Pubrec, id);
                    if self.unreleased.insert(id) {
                        self.arrived.push((publish.qos, number));
                    }
                }
            }
            Packet::Pubrel(released) => {
                self.unreleased.remove(&released.packet_id);
                ack(PacketKind::Pubcomp, released.packet_id);
            }
            Packet::Pubrec(got) => {
                ack(PacketKind::Pubrel, got.packet_id);
                for entry in &mut self.inflight {
                    entry.3 |= entry.0 == got.packet_id;
                }
            }
            Packet::Puback(done) | Packet::Pubcomp(done) => {
                self.inflight.retain(|entry| entry.0 != done.packet_id);
            }
            other => panic!("{other:?}"),
        }
    }

    fn resume(&mut self) {
        for &(id, qos, number, released) in &self.inflight {
            if released {
                Ack::new(id, Reason::Success).encode(V, PacketKind::Pubrel, &mut self.out);
            } else {
                let payload = number.to_string();
                support::publish("d", payload.as_bytes(), qos, id, true, V, &mut self.out);
            }
        }
    }
}

const V: Version = Version::V311;

fn number(payload: &[u8]) -> u32 {
    let text = std::str::from_utf8(payload).expect("a number");
    text.parse().expect("a number")
}

struct World {
    client: Client,
    server: Server,
    published: Vec<(QoS, u32)>,
    delivered: Vec<(QoS, u32)>,
    /// What the client was told.
    messages: Vec<(QoS, u32)>,
    acknowledged: usize,
}

impl World {
    fn new() -> Self {
        let mut options = Options::new(V, "me".to_owned());
        options.clean_start = false;
        let mut client = Client::new(options);
        client.connect(0);
        Self {
            client,
            server: Server::default(),
            published: Vec::new(),
            delivered: Vec::new(),
            messages: Vec::new(),
            acknowledged: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(qos) if self.client.room() > 0 => {
                let number = self.published.len() as u32;
                let payload = number.to_string();
                let publish = request("u", payload.as_bytes(), qos);
                self.client.publish(0, &publish).expect("room");
                self.published.push((qos, number));
            }
            Step::Publish(_) => {}
            Step::Deliver(qos) => {
                if self.client.is_connected() {
                    let number = self.delivered.len() as u32;
                    self.server.deliver(qos, number);
                    self.delivered.push((qos, number));
                }
            }
            Step::Up => {
                let bytes = sent(&mut self.client);
                self.server.receive(&bytes);
            }
            Step::Down => self.down(),
            Step::Break => {
                self.server.out.clear();
                self.client.lost();
                self.client.connect(0);
            }
        }
    }

    fn down(&mut self) {
        let bytes = std::mem::take(&mut self.server.out);
        let mut input = &bytes[..];
        while let Some(event) = self.client.next_event(0, &mut input).expect("right") {
            match event {
                Event::Message(message) => {
                    self.messages.push((message.qos, number(&message.payload)));
                }
                Event::Published { reason, .. } => {
                    assert_eq!(reason, Reason::Success);
                    self.acknowledged += 1;
                }
                _ => {}
            }
        }
        assert!(input.is_empty());
    }
}

/// QoS 2: each once, in order. QoS 1: each at least once, first arrivals in order.
fn check(sent: &[(QoS, u32)], got: &[(QoS, u32)]) -> Result<(), TestCaseError> {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let of = |list: &[(QoS, u32)]| -> Vec<u32> {
            let fits = list.iter().filter(|it| it.0 == qos);
            fits.map(|it| it.1).collect()
        };
        let (want, got) = (of(sent), of(got));
        if qos == QoS::ExactlyOnce {
            prop_assert_eq!(want, got);
        } else {
            let mut first = BTreeMap::new();
            let mut order = Vec::new();
            for number in got {
                first.entry(number).or_insert_with(|| order.push(number));
            }
            prop_assert_eq!(want, order);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn nothing_is_lost_doubled_or_reordered(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        // Let everything come through.
        for _ in 0..200 {
            world.step(Step::Up);
            world.step(Step::Down);
        }
        check(&world.published, &world.server.arrived)?;
        check(&world.delivered, &world.messages)?;
        prop_assert_eq!(world.acknowledged, world.published.len());
        prop_assert_eq!(world.client.inflight(), 0);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), v5: bool) {
        let version = if v5 { Version::V5 } else { Version::V311 };
        let mut client = support::connected(version, &PropertyBuf::new());
        let mut input = &bytes[..];
        while let Ok(Some(_)) = client.next_event(0, &mut input) {}
    }
}
