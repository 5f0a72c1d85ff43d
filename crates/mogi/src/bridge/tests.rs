//! The machine between two brokers that are made of packets.

use super::machine::{Action, Machine};
use super::plan::{BridgePlan, StartType};
use crate::cli::Cli;
use mogi_codec::{
    Ack, Connack, Packet, PacketKind, Properties, PropertyBuf, PropertyId, Publish, QoS, Reason,
    Suback, Version,
};

/// A bridge with these lines.
fn plan(lines: &str) -> BridgePlan {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("mogi-bridge-{}-{number}", std::process::id()));
    let text = format!("connection b\naddress h\nremote_clientid r\nnotifications false\n{lines}");
    std::fs::write(&path, text).expect("a file");
    let loaded = crate::config::load(&Cli { config: Some(path.clone()), ..Cli::default() });
    std::fs::remove_file(path).expect("the file");
    let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.notes));
    crate::config::bridge_plans(&config).remove(0)
}

/// A machine and what it has done.
struct Scene {
    machine: Machine,
    version: Version,
    now_ms: u64,
}

impl Scene {
    fn new(lines: &str) -> Self {
        let plan = plan(lines);
        let version = plan.remote.version;
        let mut machine = Machine::new(plan, 7);
        machine.start();
        Self { machine, version, now_ms: 0 }
    }

    /// What it wants done, without what it says.
    fn actions(&mut self) -> Vec<Action> {
        let actions = self.machine.actions();
        actions.into_iter().filter(|action| !matches!(action, Action::Log(..))).collect()
    }

    fn remote_got(&mut self) -> Vec<PacketKind> {
        kinds(self.version, &std::mem::take(self.machine.remote_out()))
    }

    fn local_got(&mut self) -> Vec<PacketKind> {
        kinds(Version::V5, &std::mem::take(self.machine.local_out()))
    }

    fn remote_sends(&mut self, bytes: &[u8]) {
        assert_eq!(self.machine.remote_bytes(self.now_ms, bytes), bytes.len());
    }

    fn local_sends(&mut self, bytes: &[u8]) {
        assert_eq!(self.machine.local_bytes(self.now_ms, bytes), bytes.len());
    }

    /// The session in this broker is made, or found.
    fn greet_local(&mut self, subscriptions: u16) {
        self.local_sends(&connack(Version::V5, Properties::default()));
        for packet_id in 1..=subscriptions {
            let mut bytes = Vec::new();
            let properties = Properties::default();
            Suback { packet_id, properties, codes: &[2] }.encode(Version::V5, &mut bytes);
            self.local_sends(&bytes);
        }
    }

    /// Both connections are made.
    fn up(lines: &str, properties: Properties<'_>) -> Self {
        let mut scene = Self::new(lines);
        scene.greet_local(1);
        scene.machine.dialed(0, Ok(()));
        assert_eq!(scene.remote_got(), [PacketKind::Connect]);
        let bytes = connack(scene.version, properties);
        scene.remote_sends(&bytes);
        let opened = scene.actions();
        assert!(opened.iter().any(|action| matches!(action, Action::OpenLocal { .. })));
        scene.greet_local(1);
        scene.remote_got();
        scene
    }
}

fn connack(version: Version, properties: Properties<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Connack { session_present: true, code: 0, properties }.encode(version, &mut bytes);
    bytes
}

fn publish(version: Version, topic: &str, qos: QoS, packet_id: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (payload, properties) = (&b"payload"[..], Properties::default());
    Publish { dup: false, qos, retain: false, topic, packet_id, properties, payload }
        .encode(version, &mut bytes);
    bytes
}

fn ack(version: Version, kind: PacketKind, packet_id: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    Ack::new(packet_id, Reason::Success).encode(version, kind, &mut bytes);
    bytes
}

fn kinds(version: Version, mut bytes: &[u8]) -> Vec<PacketKind> {
    let mut kinds = Vec::new();
    while let Some((_, len)) = Packet::parse(version, bytes).expect("valid packets") {
        kinds.push(PacketKind::from_first_byte(bytes[0]).expect("a kind"));
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty());
    kinds
}

#[test]
fn no_side_is_told_what_the_other_has_not_said() {
    use PacketKind::{Puback, Pubcomp, Publish, Pubrec, Pubrel};
    let (v3, v5) = (Version::V311, Version::V5);
    let mut scene = Scene::up("topic # both 2\n", Properties::default());
    scene.local_sends(&publish(v5, "a", QoS::ExactlyOnce, 5));
    assert_eq!((scene.remote_got(), scene.local_got()), (vec![Publish], vec![]));
    scene.remote_sends(&ack(v3, Pubrec, 5));
    assert_eq!((scene.remote_got(), scene.local_got()), (vec![], vec![Pubrec]));
    scene.local_sends(&ack(v5, Pubrel, 5));
    assert_eq!((scene.remote_got(), scene.local_got()), (vec![Pubrel], vec![]));
    scene.remote_sends(&ack(v3, Pubcomp, 5));
    assert_eq!((scene.remote_got(), scene.local_got()), (vec![], vec![Pubcomp]));
    scene.remote_sends(&publish(v3, "b", QoS::AtLeastOnce, 9));
    assert_eq!((scene.remote_got(), scene.local_got()), (vec![], vec![Publish]));
    scene.local_sends(&ack(v5, Puback, 9));
    assert_eq!((scene.remote_got(), scene.local_got()), (vec![Puback], vec![]));
}

#[test]
fn a_broker_without_qos_2_has_a_message_with_its_puback() {
    use PacketKind::{Puback, Pubcomp, Publish, Pubrec, Pubrel};
    let v5 = Version::V5;
    let mut limits = PropertyBuf::new();
    limits.int(PropertyId::MaximumQos, 1);
    let lines = "bridge_protocol_version mqttv50\ntopic # out 2\n";
    let mut scene = Scene::up(lines, limits.as_properties());
    scene.local_sends(&publish(v5, "a", QoS::ExactlyOnce, 5));
    assert_eq!((scene.remote_got(), scene.local_got()), (vec![Publish], vec![]));
    scene.remote_sends(&ack(v5, Puback, 5));
    assert_eq!((scene.remote_got(), scene.local_got()), (vec![], vec![Pubrec]));
    scene.local_sends(&ack(v5, Pubrel, 5));
    assert_eq!((scene.remote_got(), scene.local_got()), (vec![], vec![Pubcomp]));
}

#[test]
fn packets_may_come_in_any_pieces() {
    let bytes = [
        publish(Version::V311, "a", QoS::AtLeastOnce, 1),
        publish(Version::V311, "b", QoS::ExactlyOnce, 2),
        ack(Version::V311, PacketKind::Pubrel, 2),
    ]
    .concat();
    for size in 1..bytes.len() {
        let mut scene = Scene::up("topic # both 2\n", Properties::default());
        let mut input = Vec::new();
        for piece in bytes.chunks(size) {
            input.extend_from_slice(piece);
            let consumed = scene.machine.remote_bytes(0, &input);
            input.drain(..consumed);
        }
        let expected = [PacketKind::Publish, PacketKind::Publish, PacketKind::Pubrel];
        assert_eq!(scene.local_got(), expected, "pieces of {size}");
    }
}

#[test]
fn nothing_either_broker_sends_leads_to_a_panic() {
    let mut dice: u64 = 1;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    let lines = "bridge_protocol_version mqttv50\nstart_type lazy\nthreshold 2\nidle_timeout 1\n\
                 topic # both 2 l/ r/\n";
    for round in 0..3000 {
        let mut scene = Scene::new(if round % 2 == 0 { lines } else { "topic # both 2\n" });
        let (version, mut now_ms) = (scene.version, 0);
        for _ in 0..40 {
            now_ms += roll(3000);
            let id = roll(4) as u16 + 1;
            let qos = QoS::from_u8(roll(3) as u8).expect("a QoS");
            let acks =
                [PacketKind::Puback, PacketKind::Pubrec, PacketKind::Pubrel, PacketKind::Pubcomp];
            let kind = acks[roll(4) as usize];
            let machine = &mut scene.machine;
            let other = if roll(2) == 0 { version } else { Version::V5 };
            let bytes = match roll(5) {
                0 => publish(other, ["a", "r/a", "l/a"][roll(3) as usize], qos, id),
                1 => connack(other, Properties::default()),
                2 => (0..roll(20)).map(|_| roll(256) as u8).collect(),
                _ => ack(other, kind, id),
            };
            match roll(10) {
                0 => machine.dialed(now_ms, if roll(3) == 0 { Err(String::new()) } else { Ok(()) }),
                1 => machine.tick(now_ms),
                2 => machine.remote_closed(now_ms, "it is"),
                3 => machine.local_lost(now_ms, "it is"),
                4 => machine.probed(roll(2) == 0),
                5 => drop(machine.actions()),
                6 | 7 => drop(machine.local_bytes(now_ms, &bytes)),
                _ => drop(machine.remote_bytes(now_ms, &bytes)),
            }
            let _ = machine.deadline_ms();
        }
        scene.machine.end();
    }
}

#[test]
fn a_session_is_made_before_the_first_attempt() {
    let mut scene = Scene::new("topic # out 1\n");
    let first = scene.actions();
    assert!(matches!(first[..], [Action::OpenLocal { .. }]), "{first:?}");
    scene.greet_local(1);
    let then = scene.actions();
    assert!(matches!(then[..], [Action::CloseLocal, Action::Dial(_)]), "{then:?}");
    let mut clean = Scene::new("cleansession true\ntopic # out 1\n");
    assert!(matches!(clean.actions()[..], [Action::Dial(_)]));
}

#[test]
fn a_silent_broker_is_given_up_and_tried_again() {
    let mut scene = Scene::new("restart_timeout 4\ncleansession true\ntopic # out 1\n");
    scene.machine.dialed(0, Ok(()));
    scene.actions();
    let deadline = scene.machine.deadline_ms().expect("a deadline");
    scene.machine.tick(deadline);
    assert!(scene.actions().contains(&Action::HangUp));
    assert_eq!(scene.machine.deadline_ms(), Some(deadline + 4000));
    scene.machine.tick(deadline + 4000);
    assert!(matches!(scene.actions()[..], [Action::Dial(_)]));
}

#[test]
fn a_lazy_bridge_counts_what_waits() {
    let mut scene = Scene::new("start_type lazy\nthreshold 3\ntopic # out 1\n");
    assert_eq!(scene.machine.plan().start, StartType::Lazy);
    scene.greet_local(1);
    scene.actions();
    for packet_id in 1..=3 {
        assert!(scene.actions().is_empty());
        scene.local_sends(&publish(Version::V5, "a", QoS::AtLeastOnce, packet_id));
    }
    assert!(matches!(scene.actions()[..], [Action::Dial(_)]));
    // The session has them still: nothing was acknowledged.
    assert!(scene.local_got().is_empty());
}
