//! Any packet that the specification allows, in a form that owns its parts.

use mogi_codec::properties::{Property, Section, Value, ValueKind};
use mogi_codec::{
    Ack, Auth, Connack, Connect, Disconnect, PacketKind, PropertyBuf, PropertyId, Publish, QoS,
    Reason, RetainHandling, Suback, Subscribe, SubscribeFilter, SubscribeOptions, Unsuback,
    Unsubscribe, Version, Will,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// A packet that owns what it is made of.
#[derive(Clone, Debug)]
pub(crate) enum Owned {
    Connect {
        bridge: bool,
        clean_start: bool,
        keep_alive_s: u16,
        properties: PropertyBuf,
        client_id: String,
        will: Option<OwnedWill>,
        username: Option<String>,
        password: Option<Vec<u8>>,
    },
    Connack(bool, u8, PropertyBuf),
    Publish {
        dup: bool,
        qos: QoS,
        retain: bool,
        topic: String,
        packet_id: u16,
        properties: PropertyBuf,
        payload: Vec<u8>,
    },
    Ack(PacketKind, u16, Reason, PropertyBuf),
    Subscribe(u16, PropertyBuf, Vec<(String, SubscribeOptions)>),
    Unsubscribe(u16, PropertyBuf, Vec<String>),
    /// SUBACK or UNSUBACK.
    Codes(PacketKind, u16, PropertyBuf, Vec<u8>),
    /// PINGREQ or PINGRESP.
    Empty(PacketKind),
    /// DISCONNECT or AUTH.
    Reason(PacketKind, Reason, PropertyBuf),
}

/// A will that owns what it is made of.
#[derive(Clone, Debug)]
pub(crate) struct OwnedWill {
    qos: QoS,
    retain: bool,
    properties: PropertyBuf,
    topic: String,
    payload: Vec<u8>,
}

impl Owned {
    /// Appends the packet by the encoder of its kind.
    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        match self {
            Self::Connect { .. } => self.as_connect(version).encode(out),
            Self::Connack(session_present, code, properties) => Connack {
                session_present: *session_present,
                code: *code,
                properties: properties.as_properties(),
            }
            .encode(version, out),
            Self::Publish { .. } => self.as_publish().encode(version, out),
            Self::Ack(kind, packet_id, reason, properties) => Ack {
                packet_id: *packet_id,
                reason: *reason,
                properties: properties.as_properties(),
            }
            .encode(version, *kind, out),
            Self::Subscribe(id, properties, filters) => {
                let filters: Vec<_> = filters
                    .iter()
                    .map(|(filter, options)| SubscribeFilter { filter, options: *options })
                    .collect();
                Subscribe::encode(version, *id, properties.as_properties(), &filters, out);
            }
            Self::Unsubscribe(id, properties, filters) => {
                let filters: Vec<_> = filters.iter().map(String::as_str).collect();
                Unsubscribe::encode(version, *id, properties.as_properties(), &filters, out);
            }
            Self::Codes(kind, packet_id, properties, codes) => {
                let (packet_id, properties) = (*packet_id, properties.as_properties());
                if *kind == PacketKind::Suback {
                    let packet = Suback { packet_id, properties, codes };
                    packet.encode(version, out);
                } else {
                    let packet = Unsuback { packet_id, properties, codes };
                    packet.encode(version, out);
                }
            }
            Self::Empty(kind) => out.extend_from_slice(&[(*kind as u8) << 4, 0]),
            Self::Reason(kind, reason, properties) => {
                let (reason, properties) = (*reason, properties.as_properties());
                if *kind == PacketKind::Auth {
                    Auth { reason, properties }.encode(version, out);
                } else {
                    Disconnect { reason, properties }.encode(version, out);
                }
            }
        }
    }

    /// The CONNECT this is.
    pub(crate) fn as_connect(&self, version: Version) -> Connect<'_> {
        let Self::Connect {
            bridge,
            clean_start,
            keep_alive_s,
            properties,
            client_id,
            will,
            username,
            password,
        } = self
        else {
            panic!("no CONNECT");
        };
        Connect {
            version,
            bridge: *bridge,
            clean_start: *clean_start,
            keep_alive_s: *keep_alive_s,
            properties: properties.as_properties(),
            client_id,
            will: will.as_ref().map(|will| Will {
                qos: will.qos,
                retain: will.retain,
                properties: will.properties.as_properties(),
                topic: &will.topic,
                payload: &will.payload,
            }),
            username: username.as_deref(),
            password: password.as_deref(),
        }
    }

    /// The PUBLISH this is.
    pub(crate) fn as_publish(&self) -> Publish<'_> {
        let Self::Publish { dup, qos, retain, topic, packet_id, properties, payload } = self else {
            panic!("no PUBLISH");
        };
        Publish {
            dup: *dup,
            qos: *qos,
            retain: *retain,
            topic,
            packet_id: *packet_id,
            properties: properties.as_properties(),
            payload,
        }
    }
}

/// Any version.
pub(crate) fn version() -> impl Strategy<Value = Version> {
    select(vec![Version::V31, Version::V311, Version::V5])
}

/// Any version and a packet of it.
pub(crate) fn packet() -> impl Strategy<Value = (Version, Owned)> {
    version().prop_flat_map(|version| (Just(version), packet_of(version)))
}

fn packet_of(version: Version) -> BoxedStrategy<Owned> {
    prop_oneof![
        connect(version),
        connack(version),
        publish(version),
        ack(version),
        subscribe(version),
        unsubscribe(version),
        suback(version),
        unsuback(version),
        select(vec![PacketKind::Pingreq, PacketKind::Pingresp]).prop_map(Owned::Empty),
        with_reason(version),
    ]
    .boxed()
}

fn connect(version: Version) -> BoxedStrategy<Owned> {
    let login = (option::of(text()), option::of(vec(any::<u8>(), 0..20))).prop_map(
        move |(username, password)| {
            // Before 5.0 a password needs a user name.
            let alone = username.is_none() && !version.is_v5();
            (username, password.filter(|_| !alone))
        },
    );
    let flags = (any::<bool>(), any::<bool>(), any::<u16>());
    let section = section(version, Section::Packet(PacketKind::Connect));
    (flags, section, text(), option::of(will(version)), login)
        .prop_map(|(flags, properties, client_id, will, (username, password))| {
            let (bridge, clean_start, keep_alive_s) = flags;
            Owned::Connect {
                bridge,
                clean_start,
                keep_alive_s,
                properties,
                client_id,
                will,
                username,
                password,
            }
        })
        .boxed()
}

fn will(version: Version) -> impl Strategy<Value = OwnedWill> {
    let payload = vec(any::<u8>(), 0..40);
    let parts = (qos(), any::<bool>(), section(version, Section::Will), topic(), payload);
    parts.prop_map(|(qos, retain, properties, topic, payload)| OwnedWill {
        qos,
        retain,
        properties,
        topic,
        payload,
    })
}

fn connack(version: Version) -> BoxedStrategy<Owned> {
    // 3.1 does not know session present.
    let present = any::<bool>().prop_map(move |present| present && version != Version::V31);
    let section = section(version, Section::Packet(PacketKind::Connack));
    (present, any::<u8>(), section)
        .prop_map(|(present, code, properties)| Owned::Connack(present, code, properties))
        .boxed()
}

fn publish(version: Version) -> BoxedStrategy<Owned> {
    let section = section(version, Section::Packet(PacketKind::Publish));
    // Beyond one, two and three bytes of Remaining Length.
    let payload = prop_oneof![
        8 => vec(any::<u8>(), 0..200),
        1 => (16_000usize..17_000).prop_map(|len| vec![7; len]),
        1 => (2_097_000usize..2_098_000).prop_map(|len| vec![7; len]),
    ];
    let flags = (qos(), any::<bool>(), any::<bool>(), 1u16..);
    (flags, section, topic(), payload, any::<bool>())
        .prop_map(|((qos, dup, retain, packet_id), properties, topic, payload, alias)| {
            let by_alias = alias && properties.as_properties().has(PropertyId::TopicAlias);
            let acked = qos != QoS::AtMostOnce;
            Owned::Publish {
                dup: dup && acked,
                qos,
                retain,
                topic: if by_alias { String::new() } else { topic },
                packet_id: if acked { packet_id } else { 0 },
                properties,
                payload,
            }
        })
        .boxed()
}

fn ack(version: Version) -> BoxedStrategy<Owned> {
    let kinds =
        vec![PacketKind::Puback, PacketKind::Pubrec, PacketKind::Pubrel, PacketKind::Pubcomp];
    select(kinds)
        .prop_flat_map(move |kind| {
            let section = section(version, Section::Packet(kind));
            (Just(kind), 1u16.., reason(version, kind), section)
        })
        .prop_map(|(kind, id, reason, properties)| Owned::Ack(kind, id, reason, properties))
        .boxed()
}

fn subscribe(version: Version) -> BoxedStrategy<Owned> {
    let handling =
        select(vec![RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]);
    let options = (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(qos, no_local, retain_as_published, retain_handling)| match version {
            Version::V5 => SubscribeOptions { qos, no_local, retain_as_published, retain_handling },
            _ => SubscribeOptions { qos, ..SubscribeOptions::default() },
        },
    );
    let section = section(version, Section::Packet(PacketKind::Subscribe));
    (1u16.., section, vec((text(), options), 1..6))
        .prop_map(|(id, properties, filters)| Owned::Subscribe(id, properties, filters))
        .boxed()
}

fn unsubscribe(version: Version) -> BoxedStrategy<Owned> {
    let section = section(version, Section::Packet(PacketKind::Unsubscribe));
    (1u16.., section, vec(text(), 1..6))
        .prop_map(|(id, properties, filters)| Owned::Unsubscribe(id, properties, filters))
        .boxed()
}

fn suback(version: Version) -> BoxedStrategy<Owned> {
    let section = section(version, Section::Packet(PacketKind::Suback));
    (1u16.., section, vec(any::<u8>(), 1..6))
        .prop_map(|(id, properties, codes)| Owned::Codes(PacketKind::Suback, id, properties, codes))
        .boxed()
}

fn unsuback(version: Version) -> BoxedStrategy<Owned> {
    let section = section(version, Section::Packet(PacketKind::Unsuback));
    let count = if version.is_v5() { 1..6 } else { 0..1 };
    (1u16.., section, vec(any::<u8>(), count))
        .prop_map(|(id, properties, codes)| {
            Owned::Codes(PacketKind::Unsuback, id, properties, codes)
        })
        .boxed()
}

fn with_reason(version: Version) -> BoxedStrategy<Owned> {
    let mut kinds = vec![PacketKind::Disconnect];
    if version.is_v5() {
        kinds.push(PacketKind::Auth);
    }
    select(kinds)
        .prop_flat_map(move |kind| {
            let section = section(version, Section::Packet(kind));
            (Just(kind), reason(version, kind), section)
        })
        .prop_map(|(kind, reason, properties)| Owned::Reason(kind, reason, properties))
        .boxed()
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn reason(version: Version, kind: PacketKind) -> impl Strategy<Value = Reason> {
    let allowed: Vec<Reason> = (0..=u8::MAX)
        .filter_map(Reason::from_u8)
        .filter(|reason| reason.allowed_in(kind))
        .filter(|reason| version.is_v5() || *reason == Reason::Success)
        .collect();
    select(allowed)
}

/// Any string the specification does not advise against.
pub(crate) fn text() -> impl Strategy<Value = String> {
    "[ -~\u{a0}-\u{2ff}\u{fb00}\u{feff}\u{10000}-\u{10fff}]{0,24}"
}

/// Any topic name.
fn topic() -> impl Strategy<Value = String> {
    "[ -\"$-*,-~\u{a0}\u{feff}\u{1f980}]{1,24}"
}

/// Any property section that may stand there; empty before 5.0.
pub(crate) fn section(version: Version, section: Section) -> BoxedStrategy<PropertyBuf> {
    if !version.is_v5() {
        return Just(PropertyBuf::new()).boxed();
    }
    let once: Vec<PropertyId> = PropertyId::ALL
        .iter()
        .copied()
        .filter(|id| id.allowed_in(section) && *id != PropertyId::UserProperty)
        .collect();
    let all = once.len();
    let user = vec((text(), text()), 0..4);
    (subsequence(once, 0..=all).prop_shuffle(), user, vec(seed(), all), any::<Index>())
        .prop_map(move |(ids, user, seeds, user_at)| {
            let mut buf = PropertyBuf::new();
            let user_at = user_at.index(ids.len() + 1);
            let method = ids.contains(&PropertyId::AuthenticationMethod);
            for at in 0..=ids.len() {
                if at == user_at {
                    for (name, value) in &user {
                        buf.user(name, value);
                    }
                }
                let Some((&id, seed)) = ids.get(at).zip(seeds.get(at)) else {
                    continue;
                };
                // In CONNECT the data may not stand without the method.
                if id != PropertyId::AuthenticationData || method {
                    buf.push(Property { id, value: value(id, seed) });
                }
            }
            buf
        })
        .boxed()
}

type Seed = (u32, String, Vec<u8>);

fn seed() -> impl Strategy<Value = Seed> {
    (any::<u32>(), topic(), vec(any::<u8>(), 0..20))
}

/// A value `id` may have, made from `seed`.
fn value(id: PropertyId, seed: &Seed) -> Value<'_> {
    let (number, text, bytes) = seed;
    match id.value_kind() {
        ValueKind::Byte => Value::Int(number & 1),
        ValueKind::U16 => Value::Int((number & 0xFFFF).max(1)),
        ValueKind::U32 => Value::Int((*number).max(1)),
        ValueKind::VarInt => Value::Int((number & 0x0FFF_FFFF).max(1)),
        ValueKind::Str => Value::Str(text),
        ValueKind::Bytes => Value::Bytes(bytes),
        ValueKind::Pair => Value::Pair(text, text),
    }
}
