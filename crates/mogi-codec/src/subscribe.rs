//! SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK (sections 3.8 to 3.11).

use crate::properties::{Section, put_section};
use crate::reader::Reader;
use crate::wire::{put_bytes, put_packet, put_u16};
use crate::{DecodeError, PacketKind, Properties, QoS, Version};

type Result<T> = std::result::Result<T, DecodeError>;

/// When retained messages are sent for a new subscription (section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    Send = 0,
    /// Only if the subscription did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// The options byte beside a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// The highest QoS wanted.
    pub qos: QoS,
    /// Do not send back what this client published (5.0).
    pub no_local: bool,
    /// Keep the RETAIN flag as it was published (5.0).
    pub retain_as_published: bool,
    /// When to send retained messages (5.0).
    pub retain_handling: RetainHandling,
}

impl SubscribeOptions {
    /// Decodes the byte.
    ///
    /// # Errors
    /// Malformed for reserved bits and QoS 3 ([MQTT-3.8.3-5]; 3.1.1: [MQTT-3-8.3-4]), protocol
    /// error for retain handling 3.
    pub const fn decode(version: Version, byte: u8) -> Result<Self> {
        let Some(qos) = QoS::from_u8(byte & 0b11) else {
            return Err(DecodeError::malformed("subscription with QoS 3"));
        };
        let reserved = if version.is_v5() { 0xC0 } else { 0xFC };
        if byte & reserved != 0 {
            return Err(DecodeError::malformed("reserved subscription option is set"));
        }
        let retain_handling = match byte >> 4 & 0b11 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::protocol("retain handling 3")),
        };
        let no_local = byte & 0b100 != 0;
        let retain_as_published = byte & 0b1000 != 0;
        Ok(Self { qos, no_local, retain_as_published, retain_handling })
    }

    /// The byte as it stands on the wire.
    pub const fn encode(self) -> u8 {
        self.qos as u8
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling as u8) << 4
    }
}

/// One filter of a SUBSCRIBE. The filter's text is well-formed, its wildcards are not checked:
/// the server answers a bad one with a code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// The topic filter.
    pub filter: &'a str,
    /// Its options.
    pub options: SubscribeOptions,
}

/// A SUBSCRIBE packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The packet identifier, not 0.
    pub packet_id: u16,
    /// The property section (5.0).
    pub properties: Properties<'a>,
    version: Version,
    filters: &'a [u8],
}

impl<'a> Subscribe<'a> {
    /// Decodes the packet's body; every filter is read once to know that all are well-formed.
    ///
    /// # Errors
    /// Protocol error without a filter ([MQTT-3.8.3-2]) or with packet id 0.
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let (packet_id, properties) = read_start(&mut reader, version, PacketKind::Subscribe)?;
        let filters = reader.rest();
        if filters.is_empty() {
            return Err(DecodeError::protocol("SUBSCRIBE without a topic filter"));
        }
        while !reader.is_empty() {
            read_filter(&mut reader, version)?;
        }
        Ok(Self { packet_id, properties, version, filters })
    }

    /// The filters, in order.
    pub fn filters(&self) -> impl Iterator<Item = SubscribeFilter<'a>> + use<'a> {
        let mut reader = Reader::new(self.filters);
        let version = self.version;
        // Read once already, so an error cannot come here.
        std::iter::from_fn(move || read_filter(&mut reader, version).ok())
    }

    /// Appends a SUBSCRIBE packet to `out`.
    pub fn encode(
        version: Version,
        packet_id: u16,
        properties: Properties<'_>,
        filters: &[SubscribeFilter<'_>],
        out: &mut Vec<u8>,
    ) {
        put_packet(out, (PacketKind::Subscribe as u8) << 4 | 0b0010, |out| {
            put_start(out, version, packet_id, properties);
            for filter in filters {
                put_bytes(out, filter.filter.as_bytes());
                out.push(filter.options.encode());
            }
        });
    }
}

/// An UNSUBSCRIBE packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// The packet identifier, not 0.
    pub packet_id: u16,
    /// The property section (5.0).
    pub properties: Properties<'a>,
    filters: &'a [u8],
}

impl<'a> Unsubscribe<'a> {
    /// Decodes the packet's body.
    ///
    /// # Errors
    /// Protocol error without a filter ([MQTT-3.10.3-2]) or with packet id 0.
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let (packet_id, properties) = read_start(&mut reader, version, PacketKind::Unsubscribe)?;
        let filters = reader.rest();
        if filters.is_empty() {
            return Err(DecodeError::protocol("UNSUBSCRIBE without a topic filter"));
        }
        while !reader.is_empty() {
            reader.str()?;
        }
        Ok(Self { packet_id, properties, filters })
    }

    /// The filters, in order.
    pub fn filters(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader::new(self.filters);
        std::iter::from_fn(move || reader.str().ok())
    }

    /// Appends an UNSUBSCRIBE packet to `out`.
    pub fn encode(
        version: Version,
        packet_id: u16,
        properties: Properties<'_>,
        filters: &[&str],
        out: &mut Vec<u8>,
    ) {
        put_packet(out, (PacketKind::Unsubscribe as u8) << 4 | 0b0010, |out| {
            put_start(out, version, packet_id, properties);
            for filter in filters {
                put_bytes(out, filter.as_bytes());
            }
        });
    }
}

/// A SUBACK packet: one code for each filter, in their order ([MQTT-3.9.3-1]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suback<'a> {
    /// The SUBSCRIBE's packet identifier.
    pub packet_id: u16,
    /// The property section (5.0).
    pub properties: Properties<'a>,
    /// Reason codes (5.0) or return codes (3.x: granted QoS or 0x80).
    pub codes: &'a [u8],
}

impl<'a> Suback<'a> {
    /// Decodes the packet's body.
    ///
    /// # Errors
    /// Malformed, or protocol error without a code.
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let (packet_id, properties) = read_start(&mut reader, version, PacketKind::Suback)?;
        let codes = reader.rest();
        if codes.is_empty() {
            return Err(DecodeError::protocol("SUBACK without a reason code"));
        }
        Ok(Self { packet_id, properties, codes })
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_packet(out, (PacketKind::Suback as u8) << 4, |out| {
            put_start(out, version, self.packet_id, self.properties);
            out.extend_from_slice(self.codes);
        });
    }
}

/// An UNSUBACK packet. In 3.x it has no codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuback<'a> {
    /// The UNSUBSCRIBE's packet identifier.
    pub packet_id: u16,
    /// The property section (5.0).
    pub properties: Properties<'a>,
    /// Reason codes (5.0), one for each filter ([MQTT-3.11.3-1]).
    pub codes: &'a [u8],
}

impl<'a> Unsuback<'a> {
    /// Decodes the packet's body.
    ///
    /// # Errors
    /// Malformed, or protocol error where 5.0 misses its codes.
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let (packet_id, properties) = read_start(&mut reader, version, PacketKind::Unsuback)?;
        let codes = reader.rest();
        if version.is_v5() == codes.is_empty() {
            return Err(DecodeError::malformed("UNSUBACK with a wrong number of codes"));
        }
        Ok(Self { packet_id, properties, codes })
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_packet(out, (PacketKind::Unsuback as u8) << 4, |out| {
            put_start(out, version, self.packet_id, self.properties);
            if version.is_v5() {
                out.extend_from_slice(self.codes);
            }
        });
    }
}

fn read_filter<'a>(reader: &mut Reader<'a>, version: Version) -> Result<SubscribeFilter<'a>> {
    let filter = reader.str()?;
    let options = SubscribeOptions::decode(version, reader.u8()?)?;
    Ok(SubscribeFilter { filter, options })
}

/// The packet identifier and properties these four packets begin with.
fn read_start<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    kind: PacketKind,
) -> Result<(u16, Properties<'a>)> {
    let packet_id = reader.u16()?;
    if packet_id == 0 {
        // [MQTT-2.2.1-3]; 3.1.1: [MQTT-2.3.1-1]
        return Err(DecodeError::protocol("packet id 0"));
    }
    if !version.is_v5() {
        return Ok((packet_id, Properties::default()));
    }
    Ok((packet_id, Properties::decode(reader, Section::Packet(kind))?))
}

fn put_start(out: &mut Vec<u8>, version: Version, packet_id: u16, properties: Properties<'_>) {
    put_u16(out, packet_id);
    if version.is_v5() {
        put_section(out, properties);
    }
}
