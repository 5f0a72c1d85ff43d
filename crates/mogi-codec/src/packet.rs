//! Any control packet, and the small ones that need no file of their own.

use crate::properties::{Section, put_section};
use crate::reader::Reader;
use crate::wire::{put_packet, put_u16};
use crate::{
    Connack, Connect, DecodeError, Header, PacketKind, Properties, Publish, Reason, Suback,
    Subscribe, Unsuback, Unsubscribe, Version,
};

type Result<T> = std::result::Result<T, DecodeError>;

/// Any control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    Connack(Connack<'a>),
    Publish(Publish<'a>),
    Puback(Ack<'a>),
    Pubrec(Ack<'a>),
    Pubrel(Ack<'a>),
    Pubcomp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    Suback(Suback<'a>),
    Unsubscribe(Unsubscribe<'a>),
    Unsuback(Unsuback<'a>),
    Pingreq,
    Pingresp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Decodes the packet at the front of `buf` and says how long it is; `None` when `buf` does
    /// not hold all of it. `version` is that of the connection; CONNECT brings its own.
    ///
    /// # Errors
    /// The first rule the packet breaks.
    pub fn parse(version: Version, buf: &'a [u8]) -> Result<Option<(Self, usize)>> {
        let Some(header) = Header::parse(buf)? else {
            return Ok(None);
        };
        let Some(body) = buf.get(header.header_len..header.packet_len()) else {
            return Ok(None);
        };
        Ok(Some((Self::decode(version, header, body)?, header.packet_len())))
    }

    /// Decodes a packet of which header and body are known.
    ///
    /// # Errors
    /// The first rule the packet breaks.
    pub fn decode(version: Version, header: Header, body: &'a [u8]) -> Result<Self> {
        header.check_flags(version)?;
        Ok(match header.kind {
            PacketKind::Connect => Self::Connect(Connect::decode(body)?),
            PacketKind::Connack => Self::Connack(Connack::decode(version, body)?),
            PacketKind::Publish => Self::Publish(Publish::decode(version, header, body)?),
            PacketKind::Puback => Self::Puback(Ack::decode(version, header.kind, body)?),
            PacketKind::Pubrec => Self::Pubrec(Ack::decode(version, header.kind, body)?),
            PacketKind::Pubrel => Self::Pubrel(Ack::decode(version, header.kind, body)?),
            PacketKind::Pubcomp => Self::Pubcomp(Ack::decode(version, header.kind, body)?),
            PacketKind::Subscribe => Self::Subscribe(Subscribe::decode(version, body)?),
            PacketKind::Suback => Self::Suback(Suback::decode(version, body)?),
            PacketKind::Unsubscribe => Self::Unsubscribe(Unsubscribe::decode(version, body)?),
            PacketKind::Unsuback => Self::Unsuback(Unsuback::decode(version, body)?),
            PacketKind::Pingreq => {
                Reader::new(body).finish()?;
                Self::Pingreq
            }
            PacketKind::Pingresp => {
                Reader::new(body).finish()?;
                Self::Pingresp
            }
            PacketKind::Disconnect => Self::Disconnect(Disconnect::decode(version, body)?),
            PacketKind::Auth => Self::Auth(Auth::decode(version, body)?),
        })
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP (sections 3.4 to 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The PUBLISH's packet identifier.
    pub packet_id: u16,
    /// How it went (5.0); success in 3.x.
    pub reason: Reason,
    /// The property section (5.0).
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    /// An acknowledgement without properties.
    pub fn new(packet_id: u16, reason: Reason) -> Self {
        Self { packet_id, reason, properties: Properties::default() }
    }

    /// Decodes the body of a packet of that kind.
    ///
    /// # Errors
    /// Protocol error for packet id 0 and for a reason code the packet cannot have.
    #[inline]
    pub fn decode(version: Version, kind: PacketKind, body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let packet_id = reader.u16()?;
        if packet_id == 0 {
            return Err(DecodeError::protocol("packet id 0"));
        }
        let mut ack = Self::new(packet_id, Reason::Success);
        if version.is_v5() && !reader.is_empty() {
            ack.reason = read_reason(&mut reader, kind)?;
            // The properties may be left out together with their length.
            if !reader.is_empty() {
                ack.properties = Properties::decode(&mut reader, Section::Packet(kind))?;
            }
        }
        reader.finish()?;
        Ok(ack)
    }

    /// Appends the packet to `out`, in the short form where nothing but success is to be said.
    #[inline]
    pub fn encode(&self, version: Version, kind: PacketKind, out: &mut Vec<u8>) {
        let first = (kind as u8) << 4 | kind.reserved_flags();
        let [high, low] = self.packet_id.to_be_bytes();
        if !version.is_v5() || self.reason == Reason::Success && self.properties.is_empty() {
            out.extend_from_slice(&[first, 2, high, low]);
        } else if self.properties.is_empty() {
            out.extend_from_slice(&[first, 3, high, low, self.reason as u8]);
        } else {
            put_packet(out, first, |out| {
                put_u16(out, self.packet_id);
                out.push(self.reason as u8);
                put_section(out, self.properties);
            });
        }
    }
}

/// A DISCONNECT packet (section 3.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why (5.0); success in 3.x.
    pub reason: Reason,
    /// The property section (5.0).
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// Decodes the packet's body.
    ///
    /// # Errors
    /// Malformed for a body in 3.x, protocol error for a reason code that is not listed.
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self> {
        let (reason, properties) = read_optional(version, PacketKind::Disconnect, body)?;
        Ok(Self { reason, properties })
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_optional(version, PacketKind::Disconnect, self.reason, self.properties, out);
    }
}

/// An AUTH packet (section 3.15). It exists in 5.0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue, or re-authenticate.
    pub reason: Reason,
    /// The property section.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    /// Decodes the packet's body.
    ///
    /// # Errors
    /// Malformed in 3.x, where type 15 is reserved.
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self> {
        if !version.is_v5() {
            return Err(DecodeError::malformed("packet type 15 is reserved before MQTT 5.0"));
        }
        let (reason, properties) = read_optional(version, PacketKind::Auth, body)?;
        Ok(Self { reason, properties })
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_optional(version, PacketKind::Auth, self.reason, self.properties, out);
    }
}

/// DISCONNECT and AUTH: reason code and properties, each of which may be left out at the end.
fn read_optional(
    version: Version,
    kind: PacketKind,
    body: &[u8],
) -> Result<(Reason, Properties<'_>)> {
    let mut reader = Reader::new(body);
    let mut properties = Properties::default();
    let mut reason = Reason::Success;
    if version.is_v5() && !reader.is_empty() {
        reason = read_reason(&mut reader, kind)?;
        if !reader.is_empty() {
            properties = Properties::decode(&mut reader, Section::Packet(kind))?;
        }
    }
    reader.finish()?;
    Ok((reason, properties))
}

fn put_optional(
    version: Version,
    kind: PacketKind,
    reason: Reason,
    properties: Properties<'_>,
    out: &mut Vec<u8>,
) {
    let first = (kind as u8) << 4;
    if !version.is_v5() || reason == Reason::Success && properties.is_empty() {
        out.extend_from_slice(&[first, 0]);
        return;
    }
    put_packet(out, first, |out| {
        out.push(reason as u8);
        if !properties.is_empty() {
            put_section(out, properties);
        }
    });
}

fn read_reason(reader: &mut Reader<'_>, kind: PacketKind) -> Result<Reason> {
    let byte = reader.u8()?;
    match Reason::from_u8(byte) {
        Some(reason) if reason.allowed_in(kind) => Ok(reason),
        _ => Err(DecodeError::protocol("reason code not allowed in this packet")),
    }
}
