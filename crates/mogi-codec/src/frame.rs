//! The fixed header: where one packet ends and the next begins.

use crate::{DecodeError, Version};

/// The largest Remaining Length four bytes can say (section 2.1.4).
pub const MAX_REMAINING_LENGTH: u32 = 268_435_455;

/// The kind of a control packet (section 2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum PacketKind {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketKind {
    /// All kinds, by number.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::Connack,
        Self::Publish,
        Self::Puback,
        Self::Pubrec,
        Self::Pubrel,
        Self::Pubcomp,
        Self::Subscribe,
        Self::Suback,
        Self::Unsubscribe,
        Self::Unsuback,
        Self::Pingreq,
        Self::Pingresp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// The kind in the upper four bits of a packet's first byte; none for the reserved 0.
    #[inline]
    pub fn from_first_byte(first: u8) -> Option<Self> {
        Self::ALL.get(usize::from(first >> 4).wrapping_sub(1)).copied()
    }

    /// The packet's name as the specification writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Connack => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Suback => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Unsuback => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The lower four bits the specification fixes for this kind; PUBLISH has its own use for
    /// them (table 2-2).
    pub const fn reserved_flags(self) -> u8 {
        match self {
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }
}

/// A decoded fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: PacketKind,
    /// The lower four bits of the first byte.
    pub flags: u8,
    /// Bytes of the fixed header itself, 2 to 5.
    pub header_len: usize,
    /// Bytes that follow it, up to [`MAX_REMAINING_LENGTH`].
    pub remaining: usize,
}

impl Header {
    /// Reads the fixed header at the front of `buf`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// Malformed for the reserved kind 0 and for a length of more than four bytes.
    #[inline]
    pub fn parse(buf: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Some((&first, rest)) = buf.split_first() else {
            return Ok(None);
        };
        let Some(kind) = PacketKind::from_first_byte(first) else {
            return Err(DecodeError::malformed("packet type 0 is reserved"));
        };
        let mut remaining = 0usize;
        for (i, &byte) in rest.iter().take(4).enumerate() {
            remaining |= usize::from(byte & 0x7F) << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(Some(Self { kind, flags: first & 0x0F, header_len: i + 2, remaining }));
            }
        }
        if rest.len() >= 4 {
            return Err(DecodeError::malformed("remaining length of more than four bytes"));
        }
        Ok(None)
    }

    /// The whole packet's length in bytes.
    #[inline]
    pub const fn packet_len(&self) -> usize {
        self.header_len + self.remaining
    }

    /// Checks the flags of every kind but PUBLISH ([MQTT-2.1.3-1]; 3.1.1: [MQTT-2.2.2-2]).
    /// MQTT 3.1 lets a repeated PUBREL, SUBSCRIBE or UNSUBSCRIBE carry DUP; and Mosquitto takes
    /// a PUBREL of 3.1 whatever its flags are.
    ///
    /// # Errors
    /// Malformed when a reserved bit is not as it has to be.
    pub fn check_flags(&self, version: Version) -> Result<(), DecodeError> {
        if self.kind == PacketKind::Publish {
            return Ok(());
        }
        let fixed = self.kind.reserved_flags();
        let flags = match version {
            Version::V31 if self.kind == PacketKind::Pubrel => fixed,
            Version::V31 if fixed != 0 => self.flags & !0b1000,
            _ => self.flags,
        };
        if flags == fixed {
            Ok(())
        } else {
            Err(DecodeError::malformed("reserved header flags are wrong"))
        }
    }
}
