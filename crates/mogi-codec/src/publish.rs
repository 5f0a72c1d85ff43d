//! PUBLISH (section 3.3), the packet everything is about.

use crate::properties::{Section, put_section};
use crate::reader::{Reader, checked_str};
use crate::wire::{put_bytes, put_u16, put_varint, varint_len};
use crate::{DecodeError, Header, PacketKind, Properties, PropertyId, QoS, Reason, Version};

/// A PUBLISH whose topic has not been looked at yet.
///
/// A broker sees the same topics again and again, and finds them by their bytes: only one it has
/// not met needs [`RawPublish::checked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawPublish<'a> {
    /// Possibly a repeat.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// To be kept as the topic's retained message, or coming from there.
    pub retain: bool,
    /// The topic's bytes, unchecked; may be empty where a topic alias stands for it.
    pub topic: &'a [u8],
    /// The packet identifier; 0 at QoS 0.
    pub packet_id: u16,
    /// The property section (5.0).
    pub properties: Properties<'a>,
    /// The application message.
    pub payload: &'a [u8],
}

impl<'a> RawPublish<'a> {
    /// Decodes everything but the topic's text.
    ///
    /// # Errors
    /// Malformed for QoS 3 ([MQTT-3.3.1-4]), DUP at QoS 0 ([MQTT-3.3.1-2]) and short packets;
    /// protocol error for packet id 0 ([MQTT-2.2.1-3]); property errors.
    #[inline]
    pub fn decode(version: Version, header: Header, body: &'a [u8]) -> Result<Self, DecodeError> {
        debug_assert_eq!(header.kind, PacketKind::Publish);
        let Some(qos) = QoS::from_u8(header.flags >> 1 & 0b11) else {
            return Err(DecodeError::malformed("PUBLISH with QoS 3"));
        };
        let dup = header.flags & 0b1000 != 0;
        if dup && qos == QoS::AtMostOnce {
            return Err(DecodeError::malformed("PUBLISH with DUP at QoS 0"));
        }
        let mut reader = Reader::new(body);
        let topic = reader.bytes()?;
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { reader.u16()? };
        if qos != QoS::AtMostOnce && packet_id == 0 {
            return Err(DecodeError::protocol("PUBLISH with packet id 0"));
        }
        let properties = if version.is_v5() {
            Properties::decode(&mut reader, Section::Packet(PacketKind::Publish))?
        } else {
            Properties::default()
        };
        let retain = header.flags & 1 != 0;
        Ok(Self { dup, qos, retain, topic, packet_id, properties, payload: reader.rest() })
    }

    /// Checks the topic: well-formed, a topic name, and empty only beside a topic alias.
    ///
    /// # Errors
    /// Malformed for bad UTF-8, 0x90 for a name that is none, protocol error for an empty one.
    pub fn checked(self) -> Result<Publish<'a>, DecodeError> {
        let topic = checked_str(self.topic)?;
        if !topic.is_empty() {
            crate::topic::check_name(topic)?;
        } else if !self.properties.has(PropertyId::TopicAlias) {
            return Err(DecodeError::new(
                Reason::ProtocolError,
                "PUBLISH with neither topic nor topic alias",
            ));
        }
        let Self { dup, qos, retain, packet_id, properties, payload, .. } = self;
        Ok(Publish { dup, qos, retain, topic, packet_id, properties, payload })
    }
}

/// A PUBLISH packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Possibly a repeat.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// To be kept as the topic's retained message, or coming from there.
    pub retain: bool,
    /// The topic name; empty where a topic alias stands for it.
    pub topic: &'a str,
    /// The packet identifier; 0 at QoS 0.
    pub packet_id: u16,
    /// The property section (5.0).
    pub properties: Properties<'a>,
    /// The application message.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Decodes and checks the whole packet.
    ///
    /// # Errors
    /// As [`RawPublish::decode`] and [`RawPublish::checked`].
    pub fn decode(version: Version, header: Header, body: &'a [u8]) -> Result<Self, DecodeError> {
        RawPublish::decode(version, header, body)?.checked()
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        out.push(first_byte(self.dup, self.qos, self.retain));
        put_varint(out, self.remaining(version) as u32);
        put_bytes(out, self.topic.as_bytes());
        if self.qos != QoS::AtMostOnce {
            put_u16(out, self.packet_id);
        }
        if version.is_v5() {
            put_section(out, self.properties);
        }
        out.extend_from_slice(self.payload);
    }

    /// The encoded packet's length in bytes, for the peer's Maximum Packet Size.
    pub fn packet_len(&self, version: Version) -> usize {
        let remaining = self.remaining(version);
        1 + varint_len(remaining as u32) + remaining
    }

    fn remaining(&self, version: Version) -> usize {
        let id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let section = match version {
            Version::V5 => {
                let len = self.properties.raw().len();
                varint_len(len as u32) + len
            }
            _ => 0,
        };
        2 + self.topic.len() + id + section + self.payload.len()
    }
}

/// A PUBLISH packet's first byte.
#[inline]
pub const fn first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    0x30 | (dup as u8) << 3 | (qos as u8) << 1 | retain as u8
}
