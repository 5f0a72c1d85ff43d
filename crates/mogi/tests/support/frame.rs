//! One received packet.

use mogi_codec::properties::Value;
use mogi_codec::{Packet, PacketKind, Properties, PropertyId, Version};

/// A received packet: its bytes, and how to read them.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    version: Version,
    bytes: Vec<u8>,
}

impl Frame {
    /// A packet that [`Packet::parse`] can read.
    pub const fn new(version: Version, bytes: Vec<u8>) -> Self {
        Self { version, bytes }
    }

    /// The packet as it came, byte for byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says.
    ///
    /// # Panics
    /// If the broker sent something the specification does not allow.
    #[track_caller]
    pub fn packet(&self) -> Packet<'_> {
        match Packet::parse(self.version, &self.bytes) {
            Ok(Some((packet, _))) => packet,
            Ok(None) => panic!("half a packet: {:02x?}", self.bytes),
            Err(error) => panic!("the broker sent {:02x?}: {error}", self.bytes),
        }
    }

    /// What kind of packet it is.
    pub fn kind(&self) -> PacketKind {
        PacketKind::from_first_byte(self.bytes[0]).expect("a kind the codec let pass")
    }

    /// Its properties (5.0), if it can have any.
    #[track_caller]
    pub fn props(&self) -> Props {
        Props::from(match self.packet() {
            Packet::Connect(it) => it.properties,
            Packet::Connack(it) => it.properties,
            Packet::Publish(it) => it.properties,
            Packet::Puback(it) | Packet::Pubrec(it) => it.properties,
            Packet::Pubrel(it) | Packet::Pubcomp(it) => it.properties,
            Packet::Subscribe(it) => it.properties,
            Packet::Suback(it) => it.properties,
            Packet::Unsubscribe(it) => it.properties,
            Packet::Unsuback(it) => it.properties,
            Packet::Pingreq | Packet::Pingresp => Properties::default(),
            Packet::Disconnect(it) => it.properties,
            Packet::Auth(it) => it.properties,
        })
    }

    /// The reason code an acknowledgement, a CONNACK or a DISCONNECT carries.
    ///
    /// # Panics
    /// If it is another packet.
    #[track_caller]
    pub fn code(&self) -> u8 {
        match self.packet() {
            Packet::Connack(it) => it.code,
            Packet::Puback(it) | Packet::Pubrec(it) => it.reason as u8,
            Packet::Pubrel(it) | Packet::Pubcomp(it) => it.reason as u8,
            Packet::Disconnect(it) => it.reason as u8,
            Packet::Auth(it) => it.reason as u8,
            other => panic!("no packet with a reason code: {other:?}"),
        }
    }

    /// The codes of a SUBACK or UNSUBACK, one for each filter; none in a 3.x UNSUBACK.
    ///
    /// # Panics
    /// If it is another packet.
    #[track_caller]
    pub fn codes(&self) -> &[u8] {
        match self.packet() {
            Packet::Suback(it) => it.codes,
            Packet::Unsuback(it) => it.codes,
            other => panic!("neither SUBACK nor UNSUBACK: {other:?}"),
        }
    }

    /// The packet identifier, where the packet has one.
    #[track_caller]
    pub fn packet_id(&self) -> Option<u16> {
        match self.packet() {
            Packet::Publish(it) if it.packet_id != 0 => Some(it.packet_id),
            Packet::Puback(it) | Packet::Pubrec(it) => Some(it.packet_id),
            Packet::Pubrel(it) | Packet::Pubcomp(it) => Some(it.packet_id),
            Packet::Subscribe(it) => Some(it.packet_id),
            Packet::Suback(it) => Some(it.packet_id),
            Packet::Unsubscribe(it) => Some(it.packet_id),
            Packet::Unsuback(it) => Some(it.packet_id),
            _ => None,
        }
    }

    /// Session Present of a CONNACK.
    ///
    /// # Panics
    /// If it is another packet.
    #[track_caller]
    pub fn session_present(&self) -> bool {
        match self.packet() {
            Packet::Connack(it) => it.session_present,
            other => panic!("no CONNACK: {other:?}"),
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Packet::parse(self.version, &self.bytes) {
            Ok(Some((packet, _))) => packet.fmt(f),
            _ => write!(f, "bytes {:02x?}", self.bytes),
        }
    }
}

/// Properties (5.0) that outlive the packet they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Props(Vec<(PropertyId, Owned)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Int(u32),
    Str(String),
    Bytes(Vec<u8>),
    Pair(String, String),
}

impl Props {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `id` is there.
    pub fn has(&self, id: PropertyId) -> bool {
        self.all(id).next().is_some()
    }

    /// The value of an integer property.
    pub fn int(&self, id: PropertyId) -> Option<u32> {
        self.ints(id).first().copied()
    }

    /// All values of an integer property; subscription identifiers come in numbers.
    pub fn ints(&self, id: PropertyId) -> Vec<u32> {
        let values = self.all(id);
        values
            .filter_map(|value| if let Owned::Int(it) = value { Some(*it) } else { None })
            .collect()
    }

    /// The value of a string property.
    pub fn str(&self, id: PropertyId) -> Option<&str> {
        match self.all(id).next()? {
            Owned::Str(value) => Some(value),
            _ => None,
        }
    }

    /// The value of a binary property.
    pub fn bytes(&self, id: PropertyId) -> Option<&[u8]> {
        match self.all(id).next()? {
            Owned::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// The user properties, in their order.
    pub fn users(&self) -> Vec<(&str, &str)> {
        let values = self.all(PropertyId::UserProperty);
        values
            .filter_map(|value| match value {
                Owned::Pair(name, text) => Some((name.as_str(), text.as_str())),
                _ => None,
            })
            .collect()
    }

    fn all(&self, id: PropertyId) -> impl Iterator<Item = &Owned> {
        let same = self.0.iter().filter(move |(other, _)| *other == id);
        same.map(|(_, value)| value)
    }
}

impl From<Properties<'_>> for Props {
    fn from(properties: Properties<'_>) -> Self {
        let owned = properties.iter().map(|property| {
            let value = match property.value {
                Value::Int(value) => Owned::Int(value),
                Value::Str(text) => Owned::Str(text.to_owned()),
                Value::Bytes(bytes) => Owned::Bytes(bytes.to_owned()),
                Value::Pair(name, text) => Owned::Pair(name.to_owned(), text.to_owned()),
            };
            (property.id, value)
        });
        Self(owned.collect())
    }
}
