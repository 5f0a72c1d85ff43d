//! The fields inside a chunk.
//!
//! Lengths, packet ids and ports are big-endian. Message ids and times are as the machine's
//! memory has them: little-endian everywhere Mosquitto is likely to run.

use mogi_codec::properties::Section;
use mogi_codec::reader::{Reader, checked_str};
use mogi_codec::{PacketKind, PropertyBuf, QoS};

/// What is wrong with a field, in words.
pub(super) type Result<T> = std::result::Result<T, String>;

/// A cursor over a chunk's body.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A message id.
    pub(super) fn id(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A moment, in seconds of Unix time.
    pub(super) fn time(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{name} is {other}, neither 0 nor 1")),
        }
    }

    pub(super) fn qos(&mut self) -> Result<QoS> {
        let number = self.u8()?;
        QoS::from_u8(number).ok_or_else(|| format!("QoS {number}"))
    }

    /// `len` bytes that are called `name`.
    pub(super) fn bytes(&mut self, len: usize, name: &str) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            let left = self.rest.len();
            return Err(format!("{name} has {len} bytes, and {left} are left in the chunk"));
        };
        self.rest = rest;
        Ok(head)
    }

    /// A string of `len` bytes that is called `name`.
    pub(super) fn text(&mut self, len: u16, name: &str) -> Result<&'a str> {
        checked_text(self.bytes(usize::from(len), name)?, name)
    }

    /// Padding: written as 0, and not looked at.
    pub(super) fn skip(&mut self, len: usize) -> Result<()> {
        self.bytes(len, "padding").map(|_| ())
    }

    /// The properties a chunk may end with, and its end.
    pub(super) fn properties(self) -> Result<PropertyBuf> {
        let mut properties = PropertyBuf::new();
        if self.rest.is_empty() {
            return Ok(properties);
        }
        let mut reader = Reader::new(self.rest);
        let section = Section::Packet(PacketKind::Publish);
        let read = mogi_codec::Properties::decode(&mut reader, section);
        let read = read.map_err(|error| format!("properties: {}", error.what))?;
        Fields::new(reader.rest()).finish()?;
        for property in read {
            properties.push(property);
        }
        Ok(properties)
    }

    pub(super) fn finish(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(format!("{more} bytes more than it has fields")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err("it ends within its fields".to_owned());
        };
        self.rest = rest;
        Ok(*head)
    }
}

/// `bytes` as a string MQTT allows.
pub(super) fn checked_text<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str> {
    checked_str(bytes).map_err(|error| format!("{name}: {}", error.what))
}
