//! The property section of MQTT 5.0 packets (section 2.2.2).
//!
//! A section is checked once, when the packet is decoded: every identifier known and allowed in
//! that packet, none twice that may stand once, every value in its range. After that it stays the
//! bytes it was, and [`Properties`] reads them in place; a broker forwards most of them untouched.

use crate::reader::Reader;
use crate::wire::{put_bytes, put_u16, put_u32, put_varint};
use crate::{DecodeError, PacketKind, Reason};

type Result<T> = std::result::Result<T, DecodeError>;

/// How a property's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// One byte.
    Byte,
    /// Two Byte Integer.
    U16,
    /// Four Byte Integer.
    U32,
    /// Variable Byte Integer.
    VarInt,
    /// UTF-8 string.
    Str,
    /// Binary data.
    Bytes,
    /// Two UTF-8 strings.
    Pair,
}

macro_rules! property_ids {
    ($($name:ident = $id:literal, $kind:ident, $text:literal, $packets:expr;)*) => {
        /// A property's identifier (table 2-4).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum PropertyId { $($name = $id,)* }

        impl PropertyId {
            /// All identifiers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The identifier with this number.
            pub const fn from_u32(id: u32) -> Option<Self> {
                match id { $($id => Some(Self::$name),)* _ => None }
            }

            /// How its value is written.
            pub const fn value_kind(self) -> ValueKind {
                match self { $(Self::$name => ValueKind::$kind,)* }
            }

            /// Its name as the command-line tools write it, `message-expiry-interval`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// One bit for each packet it may stand in, by packet number; bit 0: the will.
            const fn packets(self) -> u16 {
                match self { $(Self::$name => $packets,)* }
            }
        }
    };
}

const WILL: u16 = 1;
const CONNECT: u16 = 1 << 1;
const CONNACK: u16 = 1 << 2;
const PUBLISH: u16 = 1 << 3;
const SUBSCRIBE: u16 = 1 << 8;
const DISCONNECT: u16 = 1 << 14;
const AUTH: u16 = 1 << 15;
/// PUBACK to PUBCOMP, SUBACK, UNSUBACK.
const ACKS: u16 = 0b1111_0000 | 1 << 9 | 1 << 11;
const ALL: u16 =
    WILL | CONNECT | CONNACK | PUBLISH | SUBSCRIBE | DISCONNECT | AUTH | ACKS | 1 << 10;

property_ids! {
    PayloadFormatIndicator = 0x01, Byte, "payload-format-indicator", PUBLISH | WILL;
    MessageExpiryInterval = 0x02, U32, "message-expiry-interval", PUBLISH | WILL;
    ContentType = 0x03, Str, "content-type", PUBLISH | WILL;
    ResponseTopic = 0x08, Str, "response-topic", PUBLISH | WILL;
    CorrelationData = 0x09, Bytes, "correlation-data", PUBLISH | WILL;
    SubscriptionIdentifier = 0x0B, VarInt, "subscription-identifier", PUBLISH | SUBSCRIBE;
    SessionExpiryInterval = 0x11, U32, "session-expiry-interval", CONNECT | CONNACK | DISCONNECT;
    AssignedClientIdentifier = 0x12, Str, "assigned-client-identifier", CONNACK;
    ServerKeepAlive = 0x13, U16, "server-keep-alive", CONNACK;
    AuthenticationMethod = 0x15, Str, "authentication-method", CONNECT | CONNACK | AUTH;
    AuthenticationData = 0x16, Bytes, "authentication-data", CONNECT | CONNACK | AUTH;
    RequestProblemInformation = 0x17, Byte, "request-problem-information", CONNECT;
    WillDelayInterval = 0x18, U32, "will-delay-interval", WILL;
    RequestResponseInformation = 0x19, Byte, "request-response-information", CONNECT;
    ResponseInformation = 0x1A, Str, "response-information", CONNACK;
    ServerReference = 0x1C, Str, "server-reference", CONNACK | DISCONNECT;
    ReasonString = 0x1F, Str, "reason-string", CONNACK | DISCONNECT | AUTH | ACKS;
    ReceiveMaximum = 0x21, U16, "receive-maximum", CONNECT | CONNACK;
    TopicAliasMaximum = 0x22, U16, "topic-alias-maximum", CONNECT | CONNACK;
    TopicAlias = 0x23, U16, "topic-alias", PUBLISH;
    MaximumQos = 0x24, Byte, "maximum-qos", CONNACK;
    RetainAvailable = 0x25, Byte, "retain-available", CONNACK;
    UserProperty = 0x26, Pair, "user-property", ALL;
    MaximumPacketSize = 0x27, U32, "maximum-packet-size", CONNECT | CONNACK;
    WildcardSubscriptionAvailable = 0x28, Byte, "wildcard-subscription-available", CONNACK;
    SubscriptionIdentifierAvailable = 0x29, Byte, "subscription-identifier-available", CONNACK;
    SharedSubscriptionAvailable = 0x2A, Byte, "shared-subscription-available", CONNACK;
}

/// Where a property section stands: in a packet, or in the will of a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// In the variable header of this packet.
    Packet(PacketKind),
    /// In the payload of CONNECT, before the will topic.
    Will,
}

impl Section {
    const fn bit(self) -> u16 {
        match self {
            Self::Packet(kind) => 1 << kind as u8,
            Self::Will => WILL,
        }
    }
}

impl PropertyId {
    /// Whether the property may stand there (table 2-4).
    pub const fn allowed_in(self, section: Section) -> bool {
        self.packets() & section.bit() != 0
    }
}

/// A value of one property, borrowed from the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// One byte, two bytes, four bytes or a variable byte integer.
    Int(u32),
    /// A UTF-8 string.
    Str(&'a str),
    /// Binary data.
    Bytes(&'a [u8]),
    /// A user property: name and value.
    Pair(&'a str, &'a str),
}

/// One property: what it is, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Property<'a> {
    /// Which property.
    pub id: PropertyId,
    /// Its value, of the kind [`PropertyId::value_kind`] says.
    pub value: Value<'a>,
}

/// A checked property section, without its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    raw: &'a [u8],
    /// Bit n: the property with identifier n is there.
    present: u64,
}

impl<'a> Properties<'a> {
    /// Reads the section, with its length, off the front of `reader`, and checks it.
    ///
    /// # Errors
    /// As the specification says for each property: malformed, protocol error, or a code of its
    /// own (Topic Alias 0 is 0x94, [MQTT-3.3.2-8]).
    #[inline]
    pub fn decode(reader: &mut Reader<'a>, section: Section) -> Result<Self> {
        let len = reader.varint()? as usize;
        let raw = reader.take(len)?;
        if raw.is_empty() {
            return Ok(Self::default());
        }
        Self::check(raw, section)
    }

    fn check(raw: &'a [u8], section: Section) -> Result<Self> {
        let mut reader = Reader::new(raw);
        let mut present = 0u64;
        while !reader.is_empty() {
            let property = read_property(&mut reader)?;
            if !property.id.allowed_in(section) {
                return Err(DecodeError::protocol("property not allowed in this packet"));
            }
            check_value(property)?;
            let bit = 1u64 << property.id as u8;
            let repeatable = property.id == PropertyId::UserProperty
                || property.id == PropertyId::SubscriptionIdentifier
                    && section == Section::Packet(PacketKind::Publish);
            if present & bit != 0 && !repeatable {
                return Err(DecodeError::protocol("property given twice"));
            }
            present |= bit;
        }
        Ok(Self { raw, present })
    }

    /// The section's bytes, without its length.
    #[inline]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether the property is there, at least once.
    #[inline]
    pub const fn has(&self, id: PropertyId) -> bool {
        self.present & (1u64 << id as u8) != 0
    }

    /// The first value of `id`, if it is an integer that is there.
    #[inline]
    pub fn int(&self, id: PropertyId) -> Option<u32> {
        match self.get(id)? {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The first value of `id`, if it is a string that is there.
    pub fn str(&self, id: PropertyId) -> Option<&'a str> {
        match self.get(id)? {
            Value::Str(value) => Some(value),
            _ => None,
        }
    }

    /// The first value of `id`, if it is binary data that is there.
    pub fn bytes(&self, id: PropertyId) -> Option<&'a [u8]> {
        match self.get(id)? {
            Value::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// All properties, in the order they were written ([MQTT-3.3.2-18]).
    pub const fn iter(&self) -> Iter<'a> {
        Iter { reader: Reader::new(self.raw) }
    }

    #[inline]
    fn get(&self, id: PropertyId) -> Option<Value<'a>> {
        if !self.has(id) {
            return None;
        }
        self.iter().find(|property| property.id == id).map(|property| property.value)
    }
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterates over the properties of a section.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        if self.reader.is_empty() {
            return None;
        }
        // Checked when the section was decoded or built, so an error cannot come here.
        read_property(&mut self.reader).ok()
    }
}

fn read_property<'a>(reader: &mut Reader<'a>) -> Result<Property<'a>> {
    let Some(id) = PropertyId::from_u32(reader.varint()?) else {
        return Err(DecodeError::malformed("unknown property"));
    };
    let value = match id.value_kind() {
        ValueKind::Byte => Value::Int(u32::from(reader.u8()?)),
        ValueKind::U16 => Value::Int(u32::from(reader.u16()?)),
        ValueKind::U32 => Value::Int(reader.u32()?),
        ValueKind::VarInt => Value::Int(reader.varint()?),
        ValueKind::Str => Value::Str(reader.str()?),
        ValueKind::Bytes => Value::Bytes(reader.bytes()?),
        ValueKind::Pair => Value::Pair(reader.str()?, reader.str()?),
    };
    Ok(Property { id, value })
}

/// The ranges that single properties have (the "It is a Protocol Error" sentences of chapter 3).
fn check_value(property: Property<'_>) -> Result<()> {
    use PropertyId as Id;
    match (property.id, property.value) {
        (
            Id::PayloadFormatIndicator
            | Id::RequestProblemInformation
            | Id::RequestResponseInformation
            | Id::MaximumQos
            | Id::RetainAvailable
            | Id::WildcardSubscriptionAvailable
            | Id::SubscriptionIdentifierAvailable
            | Id::SharedSubscriptionAvailable,
            Value::Int(2..),
        ) => Err(DecodeError::protocol("property value is neither 0 nor 1")),
        (
            Id::ReceiveMaximum | Id::MaximumPacketSize | Id::SubscriptionIdentifier,
            Value::Int(0),
        ) => Err(DecodeError::protocol("property value must not be 0")),
        (Id::TopicAlias, Value::Int(0)) => {
            Err(DecodeError::new(Reason::TopicAliasInvalid, "topic alias 0"))
        }
        // [MQTT-3.3.2-14]
        (Id::ResponseTopic, Value::Str(topic)) if crate::topic::check_name(topic).is_err() => {
            Err(DecodeError::new(Reason::TopicNameInvalid, "response topic is no topic name"))
        }
        _ => Ok(()),
    }
}

/// A property section under construction; borrow it with [`PropertyBuf::as_properties`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyBuf {
    raw: Vec<u8>,
    present: u64,
}

impl PropertyBuf {
    /// An empty section.
    pub const fn new() -> Self {
        Self { raw: Vec::new(), present: 0 }
    }

    /// Appends a property. Integers must fit the property's width; strings are at most 65,535
    /// bytes.
    pub fn push(&mut self, property: Property<'_>) -> &mut Self {
        self.present |= 1u64 << property.id as u8;
        put_property(&mut self.raw, property);
        self
    }

    /// Appends an integer property.
    pub fn int(&mut self, id: PropertyId, value: u32) -> &mut Self {
        self.push(Property { id, value: Value::Int(value) })
    }

    /// Appends a string property.
    pub fn str(&mut self, id: PropertyId, value: &str) -> &mut Self {
        self.push(Property { id, value: Value::Str(value) })
    }

    /// Appends a binary property.
    pub fn bytes(&mut self, id: PropertyId, value: &[u8]) -> &mut Self {
        self.push(Property { id, value: Value::Bytes(value) })
    }

    /// Appends a user property.
    pub fn user(&mut self, name: &str, value: &str) -> &mut Self {
        self.push(Property { id: PropertyId::UserProperty, value: Value::Pair(name, value) })
    }

    /// The section as a packet borrows it.
    pub fn as_properties(&self) -> Properties<'_> {
        Properties { raw: &self.raw, present: self.present }
    }
}

/// Appends one property to `out`.
pub fn put_property(out: &mut Vec<u8>, property: Property<'_>) {
    out.push(property.id as u8);
    match (property.id.value_kind(), property.value) {
        (ValueKind::Byte, Value::Int(value)) => out.push(value as u8),
        (ValueKind::U16, Value::Int(value)) => put_u16(out, value as u16),
        (ValueKind::VarInt, Value::Int(value)) => put_varint(out, value),
        (_, Value::Int(value)) => put_u32(out, value),
        (_, Value::Str(text)) => put_bytes(out, text.as_bytes()),
        (_, Value::Bytes(bytes)) => put_bytes(out, bytes),
        (_, Value::Pair(name, text)) => {
            put_bytes(out, name.as_bytes());
            put_bytes(out, text.as_bytes());
        }
    }
}

/// Appends the section with its length; nothing where the version knows no properties.
#[inline]
pub fn put_section(out: &mut Vec<u8>, properties: Properties<'_>) {
    put_varint(out, properties.raw.len() as u32);
    out.extend_from_slice(properties.raw);
}
