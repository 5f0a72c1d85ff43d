//! What nodes tell one another of their clients.
//!
//! On a link it is a run of `| kind 1 | body len 4 | body |`; texts have a length of two bytes
//! before them, numbers are big-endian. A kind that is not known is skipped: the other node may be
//! one release ahead.

use crate::store::SessionNo;
use mogi_codec::DecodeError;
use mogi_codec::reader::Reader;
use mogi_codec::wire::put_bytes;
use std::sync::Arc;

/// One thing a node tells the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Everything follows; what does not come until [`Change::SnapshotEnd`] is no more.
    SnapshotBegin,
    /// That was everything.
    SnapshotEnd,
    /// The lasting session lives here.
    Home {
        /// The session.
        session: SessionNo,
        /// Rises with every move.
        epoch: u64,
        /// The client id.
        client: Arc<str>,
    },
    /// The client is connected here, without a lasting session: it is nowhere else.
    Taken {
        /// Greater than that of a connection it had before.
        epoch: u64,
        /// The client id.
        client: Arc<str>,
    },
    /// The lasting session has ended.
    Gone {
        /// The session.
        session: SessionNo,
    },
    /// Something was written down for the session that no message tells of: it is to be read.
    Waits {
        /// The session.
        session: SessionNo,
    },
    /// Whether anybody here wants messages of a filter.
    Wants {
        /// The filter, behind its mount point.
        filter: Arc<str>,
        /// Whether anybody does.
        wanted: bool,
    },
    /// A lasting session that lives here has this subscription.
    Subscribed {
        /// The session.
        session: SessionNo,
        /// The options byte.
        options: u8,
        /// The subscription identifier; 0: none.
        id: u32,
        /// The filter, behind its mount point.
        filter: Arc<str>,
    },
    /// It does not have it any more.
    Unsubscribed {
        /// The session.
        session: SessionNo,
        /// The filter, behind its mount point.
        filter: Arc<str>,
    },
    /// A client is in a shared group.
    Joined(FarMember),
    /// It is not any more.
    Left {
        /// The client id.
        client: Arc<str>,
        /// The group's name.
        name: Arc<str>,
        /// Its filter, behind the mount point.
        filter: Arc<str>,
    },
}

/// A member of a shared group, as other nodes are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FarMember {
    /// The client id.
    pub client: Arc<str>,
    /// Its session, if it is a lasting one.
    pub session: SessionNo,
    /// The options byte.
    pub options: u8,
    /// The subscription identifier; 0: none.
    pub id: u32,
    /// Whether it is connected.
    pub online: bool,
    /// The group's name.
    pub name: Arc<str>,
    /// Its filter, behind the mount point.
    pub filter: Arc<str>,
}

const SNAPSHOT_BEGIN: u8 = 1;
const SNAPSHOT_END: u8 = 2;
const HOME: u8 = 3;
pub(super) const TAKEN: u8 = 4;
const GONE: u8 = 5;
const WANTS: u8 = 6;
const SUBSCRIBED: u8 = 7;
const UNSUBSCRIBED: u8 = 8;
const JOINED: u8 = 9;
const LEFT: u8 = 10;
const WAITS: u8 = 11;

impl Change {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0; 5]);
        out[at] = self.put_body(out);
        let len = (out.len() - at - 5) as u32;
        out[at + 1..at + 5].copy_from_slice(&len.to_be_bytes());
    }

    /// Appends the body; its kind.
    fn put_body(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::SnapshotBegin => SNAPSHOT_BEGIN,
            Self::SnapshotEnd => SNAPSHOT_END,
            Self::Home { session, epoch, client } => {
                put_u64(out, session.0);
                put_u64(out, *epoch);
                put_bytes(out, client.as_bytes());
                HOME
            }
            Self::Taken { epoch, client } => {
                put_u64(out, *epoch);
                put_bytes(out, client.as_bytes());
                TAKEN
            }
            Self::Gone { session } => {
                put_u64(out, session.0);
                GONE
            }
            Self::Waits { session } => {
                put_u64(out, session.0);
                WAITS
            }
            Self::Wants { filter, wanted } => {
                out.push(u8::from(*wanted));
                put_bytes(out, filter.as_bytes());
                WANTS
            }
            Self::Subscribed { session, options, id, filter } => {
                put_u64(out, session.0);
                out.push(*options);
                out.extend_from_slice(&id.to_be_bytes());
                put_bytes(out, filter.as_bytes());
                SUBSCRIBED
            }
            Self::Unsubscribed { session, filter } => {
                put_u64(out, session.0);
                put_bytes(out, filter.as_bytes());
                UNSUBSCRIBED
            }
            Self::Joined(member) => {
                put_u64(out, member.session.0);
                out.push(member.options);
                out.extend_from_slice(&member.id.to_be_bytes());
                out.push(u8::from(member.online));
                for text in [&member.client, &member.name, &member.filter] {
                    put_bytes(out, text.as_bytes());
                }
                JOINED
            }
            Self::Left { client, name, filter } => {
                for text in [client, name, filter] {
                    put_bytes(out, text.as_bytes());
                }
                LEFT
            }
        }
    }

    /// All changes of a run.
    ///
    /// # Errors
    /// It was not written by [`Self::encode`].
    pub fn decode_all(run: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut reader = Reader::new(run);
        let mut changes = Vec::new();
        while !reader.is_empty() {
            let kind = reader.u8()?;
            let len = reader.u32()? as usize;
            let mut body = Reader::new(reader.take(len)?);
            if let Some(change) = Self::decode(kind, &mut body)? {
                changes.push(change);
            }
        }
        Ok(changes)
    }

    fn decode(kind: u8, body: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let change = match kind {
            SNAPSHOT_BEGIN => Self::SnapshotBegin,
            SNAPSHOT_END => Self::SnapshotEnd,
            HOME => Self::Home {
                session: SessionNo(read_u64(body)?),
                epoch: read_u64(body)?,
                client: body.str()?.into(),
            },
            TAKEN => Self::Taken { epoch: read_u64(body)?, client: body.str()?.into() },
            GONE => Self::Gone { session: SessionNo(read_u64(body)?) },
            WAITS => Self::Waits { session: SessionNo(read_u64(body)?) },
            WANTS => Self::Wants { wanted: body.u8()? != 0, filter: body.str()?.into() },
            SUBSCRIBED => Self::Subscribed {
                session: SessionNo(read_u64(body)?),
                options: body.u8()?,
                id: body.u32()?,
                filter: body.str()?.into(),
            },
            UNSUBSCRIBED => Self::Unsubscribed {
                session: SessionNo(read_u64(body)?),
                filter: body.str()?.into(),
            },
            JOINED => Self::Joined(FarMember {
                session: SessionNo(read_u64(body)?),
                options: body.u8()?,
                id: body.u32()?,
                online: body.u8()? != 0,
                client: body.str()?.into(),
                name: body.str()?.into(),
                filter: body.str()?.into(),
            }),
            LEFT => Self::Left {
                client: body.str()?.into(),
                name: body.str()?.into(),
                filter: body.str()?.into(),
            },
            _ => return Ok(None),
        };
        Ok(Some(change))
    }
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn read_u64(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(reader.take(8)?);
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_of_each() -> Vec<Change> {
        let (session, client, filter): (_, Arc<str>, Arc<str>) =
            (SessionNo(7 << 40), "c".into(), "a/+".into());
        let name: Arc<str> = "g".into();
        vec![
            Change::SnapshotBegin,
            Change::Home { session, epoch: 3, client: client.clone() },
            Change::Taken { epoch: u64::MAX, client: client.clone() },
            Change::Wants { filter: filter.clone(), wanted: true },
            Change::Subscribed { session, options: 0x2E, id: 77, filter: filter.clone() },
            Change::Unsubscribed { session, filter: filter.clone() },
            Change::Joined(FarMember {
                client: client.clone(),
                session,
                options: 1,
                id: 0,
                online: true,
                name: name.clone(),
                filter: filter.clone(),
            }),
            Change::Left { client, name, filter },
            Change::Waits { session },
            Change::Gone { session },
            Change::SnapshotEnd,
        ]
    }

    #[test]
    fn what_is_told_is_understood() {
        let mut run = Vec::new();
        some_of_each().iter().for_each(|change| change.encode(&mut run));
        assert_eq!(Change::decode_all(&run), Ok(some_of_each()));
    }

    #[test]
    fn what_a_later_release_tells_is_skipped() {
        let mut run = vec![200, 0, 0, 0, 3, 1, 2, 3];
        Change::SnapshotEnd.encode(&mut run);
        assert_eq!(Change::decode_all(&run), Ok(vec![Change::SnapshotEnd]));
    }

    #[test]
    fn what_is_cut_short_is_no_change() {
        let mut run = Vec::new();
        some_of_each().iter().for_each(|change| change.encode(&mut run));
        let whole: Vec<usize> = {
            let mut ends = vec![0];
            let mut one = Vec::new();
            for change in some_of_each() {
                change.encode(&mut one);
                ends.push(one.len());
            }
            ends
        };
        for len in 0..run.len() {
            assert_eq!(Change::decode_all(&run[..len]).is_ok(), whole.contains(&len), "{len}");
        }
    }
}
