//! The file as a list of chunks: where one ends and the next begins.

use super::{Damage, DbError, VERSION};
use mogi_codec::wire::put_u32;

/// The first bytes of every file.
const MAGIC: [u8; 15] = *b"\x00\xb5\x00mosquitto db";
/// Magic, checksum (always 0, never looked at) and version.
pub(super) const HEADER_LEN: usize = MAGIC.len() + 8;
/// Type and length of a chunk.
const CHUNK_HEADER_LEN: usize = 8;

/// What a chunk is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    Config = 1,
    Message = 2,
    ClientMessage = 3,
    Retained = 4,
    Subscription = 5,
    Client = 6,
}

impl Kind {
    const fn from_u32(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Config),
            2 => Some(Self::Message),
            3 => Some(Self::ClientMessage),
            4 => Some(Self::Retained),
            5 => Some(Self::Subscription),
            6 => Some(Self::Client),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Config => "configuration",
            Self::Message => "message",
            Self::ClientMessage => "client message",
            Self::Retained => "retained message",
            Self::Subscription => "subscription",
            Self::Client => "client",
        }
    }
}

/// One chunk of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    pub(super) offset: usize,
    pub(super) kind: Kind,
    pub(super) body: &'a [u8],
}

impl Chunk<'_> {
    pub(super) fn damage(&self, what: impl Into<String>) -> Damage {
        Damage { offset: self.offset, chunk: self.kind.name(), what: what.into() }
    }
}

/// The chunks of a file. After one whose end is unknown there is nothing: looking for the next
/// one would find those that a malicious client has put into a payload.
pub(super) struct Chunks<'a> {
    file: &'a [u8],
    offset: usize,
}

impl<'a> Chunks<'a> {
    /// Checks the header.
    pub(super) fn new(file: &'a [u8]) -> Result<Self, DbError> {
        let rest = file.strip_prefix(&MAGIC).ok_or(DbError::NotADatabase)?;
        let (_checksum, rest) = take_u32(rest).ok_or(DbError::NotADatabase)?;
        match take_u32(rest) {
            Some((VERSION, _)) => Ok(Self { file, offset: HEADER_LEN }),
            Some((version, _)) => Err(DbError::Version(version)),
            None => Err(DbError::NotADatabase),
        }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let rest = self.file.get(offset..).filter(|rest| !rest.is_empty())?;
        let header = take_u32(rest).and_then(|(kind, rest)| Some((kind, take_u32(rest)?)));
        let Some((number, (len, body))) = header else {
            self.offset = self.file.len();
            let what = format!("only {} of the 8 bytes it begins with", rest.len());
            return Some(Err(Damage { offset, chunk: "last", what }));
        };
        let kind = Kind::from_u32(number);
        let name = kind.map_or("unknown", Kind::name);
        let Some(body) = usize::try_from(len).ok().and_then(|len| body.get(..len)) else {
            self.offset = self.file.len();
            let what = format!(
                "it should have {len} bytes, and the file ends after {}: the file was cut short, \
                 or the length is damaged and where the next chunk begins is unknown",
                body.len()
            );
            return Some(Err(Damage { offset, chunk: name, what }));
        };
        self.offset = offset + CHUNK_HEADER_LEN + body.len();
        let Some(kind) = kind else {
            let what = format!("type {number}, which no known Mosquitto writes");
            return Some(Err(Damage { offset, chunk: name, what }));
        };
        Some(Ok(Chunk { offset, kind, body }))
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}

/// Appends the header of a file.
pub(super) fn put_header(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    put_u32(out, 0);
    put_u32(out, VERSION);
}

/// Appends a chunk; `None` if its length does not fit the format.
#[must_use]
pub(super) fn put_chunk(
    out: &mut Vec<u8>,
    kind: Kind,
    body: impl FnOnce(&mut Vec<u8>),
) -> Option<()> {
    put_u32(out, kind as u32);
    let at = out.len();
    put_u32(out, 0);
    body(out);
    let len = u32::try_from(out.len() - at - 4).ok()?;
    out.get_mut(at..at + 4)?.copy_from_slice(&len.to_be_bytes());
    Some(())
}
