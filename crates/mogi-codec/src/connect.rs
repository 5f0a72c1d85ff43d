//! CONNECT and CONNACK (sections 3.1, 3.2).

use crate::properties::{Section, put_section};
use crate::reader::Reader;
use crate::wire::{put_bytes, put_packet, put_u16};
use crate::{DecodeError, PacketKind, Properties, PropertyId, QoS, Reason, Version};

type Result<T> = std::result::Result<T, DecodeError>;

/// A CONNECT packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The protocol the client speaks.
    pub version: Version,
    /// Bit 0x80 of the protocol level: the peer says it is a bridge (a Mosquitto extension, see
    /// `try_private` in mosquitto.conf(5)).
    pub bridge: bool,
    /// Clean Session (3.x) or Clean Start (5.0).
    pub clean_start: bool,
    /// Keep alive in seconds; 0: none.
    pub keep_alive_s: u16,
    /// The property section (5.0).
    pub properties: Properties<'a>,
    /// The client identifier; may be empty.
    pub client_id: &'a str,
    /// The will, if there is one.
    pub will: Option<Will<'a>>,
    /// The user name, if there is one.
    pub username: Option<&'a str>,
    /// The password, if there is one.
    pub password: Option<&'a [u8]>,
}

/// The will message of a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// Its quality of service.
    pub qos: QoS,
    /// Whether it is published with RETAIN.
    pub retain: bool,
    /// Its property section (5.0).
    pub properties: Properties<'a>,
    /// Its topic.
    pub topic: &'a str,
    /// Its payload, up to 65,535 bytes.
    pub payload: &'a [u8],
}

const RESERVED: u8 = 0x01;
const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

impl<'a> Connect<'a> {
    /// Decodes the packet's body.
    ///
    /// # Errors
    /// [`Reason::UnsupportedProtocolVersion`] for a name or level nobody knows ([MQTT-3.1.2-1],
    /// [MQTT-3.1.2-2]); everything else as [`DecodeError`] says.
    pub fn decode(body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let (version, bridge) = read_protocol(&mut reader)?;
        let flags = reader.u8()?;
        // MQTT 3.1 calls this bit unused, and Mosquitto takes it there.
        if flags & RESERVED != 0 && version != Version::V31 {
            return Err(DecodeError::malformed("reserved CONNECT flag is set"));
        }
        let keep_alive_s = reader.u16()?;
        let properties = read_section(&mut reader, version, Section::Packet(PacketKind::Connect))?;
        if properties.has(PropertyId::AuthenticationData)
            && !properties.has(PropertyId::AuthenticationMethod)
        {
            // Section 3.1.2.11.10.
            return Err(DecodeError::protocol("authentication data without a method"));
        }
        let client_id = reader.str()?;
        let will = read_will(&mut reader, version, flags)?;
        if version != Version::V5 && flags & (USERNAME | PASSWORD) == PASSWORD {
            // [MQTT-3.1.2-22] of 3.1.1; 5.0 lifted it.
            return Err(DecodeError::malformed("password without user name"));
        }
        // In 3.1 the remaining length takes precedence: what is announced may be missing.
        let announced = |flag: u8, reader: &Reader<'_>| {
            flags & flag != 0 && !(version == Version::V31 && reader.is_empty())
        };
        let username = if announced(USERNAME, &reader) { Some(reader.str()?) } else { None };
        let password = if announced(PASSWORD, &reader) { Some(reader.bytes()?) } else { None };
        reader.finish()?;
        Ok(Self {
            version,
            bridge,
            clean_start: flags & CLEAN_START != 0,
            keep_alive_s,
            properties,
            client_id,
            will,
            username,
            password,
        })
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_packet(out, (PacketKind::Connect as u8) << 4, |out| {
            let name: &[u8] = if self.version == Version::V31 { b"MQIsdp" } else { b"MQTT" };
            put_bytes(out, name);
            out.push(self.version as u8 | u8::from(self.bridge) << 7);
            out.push(self.flags());
            put_u16(out, self.keep_alive_s);
            if self.version.is_v5() {
                put_section(out, self.properties);
            }
            put_bytes(out, self.client_id.as_bytes());
            if let Some(will) = self.will {
                if self.version.is_v5() {
                    put_section(out, will.properties);
                }
                put_bytes(out, will.topic.as_bytes());
                put_bytes(out, will.payload);
            }
            if let Some(username) = self.username {
                put_bytes(out, username.as_bytes());
            }
            if let Some(password) = self.password {
                put_bytes(out, password);
            }
        });
    }

    fn flags(&self) -> u8 {
        let will = self.will.map_or(0, |will| {
            WILL | (will.qos as u8) << 3 | if will.retain { WILL_RETAIN } else { 0 }
        });
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        will | bit(self.clean_start, CLEAN_START)
            | bit(self.username.is_some(), USERNAME)
            | bit(self.password.is_some(), PASSWORD)
    }
}

fn read_protocol(reader: &mut Reader<'_>) -> Result<(Version, bool)> {
    const UNKNOWN: DecodeError =
        DecodeError::new(Reason::UnsupportedProtocolVersion, "unknown protocol name or level");
    let name = reader.bytes()?;
    let level = reader.u8()?;
    let bridge = level & 0x80 != 0;
    match (name, Version::from_level(level & 0x7F)) {
        (b"MQIsdp", Some(Version::V31)) => Ok((Version::V31, bridge)),
        (b"MQTT", Some(version @ (Version::V311 | Version::V5))) => Ok((version, bridge)),
        _ => Err(UNKNOWN),
    }
}

fn read_section<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    section: Section,
) -> Result<Properties<'a>> {
    if version.is_v5() { Properties::decode(reader, section) } else { Ok(Properties::default()) }
}

fn read_will<'a>(reader: &mut Reader<'a>, version: Version, flags: u8) -> Result<Option<Will<'a>>> {
    let qos_bits = flags >> 3 & 0b11;
    let retain = flags & WILL_RETAIN != 0;
    if flags & WILL == 0 {
        // [MQTT-3.1.2-11], [MQTT-3.1.2-13]. In 3.1 the bits are unused without a will.
        return match (qos_bits, retain) {
            (0, false) => Ok(None),
            (0..=2, _) if version == Version::V31 => Ok(None),
            _ => Err(DecodeError::malformed("will QoS or will retain without a will")),
        };
    }
    let Some(qos) = QoS::from_u8(qos_bits) else {
        return Err(DecodeError::malformed("will QoS 3"));
    };
    let properties = read_section(reader, version, Section::Will)?;
    let topic = reader.str()?;
    crate::topic::check_name(topic)?;
    let payload = reader.bytes()?;
    Ok(Some(Will { qos, retain, properties, topic, payload }))
}

/// A CONNACK packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack<'a> {
    /// Whether the server had a session for this client.
    pub session_present: bool,
    /// The reason code (5.0) or return code (3.x, 0 to 5) as it stands on the wire.
    pub code: u8,
    /// The property section (5.0).
    pub properties: Properties<'a>,
}

impl<'a> Connack<'a> {
    /// Decodes the packet's body.
    ///
    /// # Errors
    /// Malformed or protocol error.
    pub fn decode(version: Version, body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let flags = reader.u8()?;
        // MQTT 3.1 calls this byte reserved and gives it no value.
        if version != Version::V31 && flags & 0xFE != 0 {
            return Err(DecodeError::malformed("reserved CONNACK flags are set"));
        }
        let code = reader.u8()?;
        // A broker that refuses a 5.0 client it cannot understand may answer as 3.x does.
        let properties = if version.is_v5() && !reader.is_empty() {
            Properties::decode(&mut reader, Section::Packet(PacketKind::Connack))?
        } else {
            Properties::default()
        };
        reader.finish()?;
        Ok(Self { session_present: version != Version::V31 && flags & 1 != 0, code, properties })
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_packet(out, (PacketKind::Connack as u8) << 4, |out| {
            // MQTT 3.1 knows no session present.
            out.push(u8::from(self.session_present && version != Version::V31));
            out.push(self.code);
            if version.is_v5() {
                put_section(out, self.properties);
            }
        });
    }
}
