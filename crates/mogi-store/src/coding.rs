//! Values to bytes and back.
//!
//! Every record begins alike, so that one that cannot be read is noticed and not misread:
//! ```text
//! | version 1 | checksum 4: xxh3 of key, version and content | content … |
//! ```
//! Numbers in keys are big-endian, so that they sort; numbers in contents are little-endian.

use crate::ops::{Ids, SessionRecord, StoredDelivery, StoredSubscription, StoredWill};
use mogi_codec::QoS;
use mogi_core::Message;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The version of records as they are written now.
pub(crate) const RECORD_VERSION: u8 = 1;
const HEAD: usize = 5;

/// Begins a record in `out`; [`seal`] completes it.
pub(crate) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[RECORD_VERSION, 0, 0, 0, 0]);
}

/// Completes the record that is kept under `key`.
pub(crate) fn seal(key: &[u8], out: &mut [u8]) {
    let sum = checksum(key, &out[HEAD..]).to_le_bytes();
    out[1..HEAD].copy_from_slice(&sum);
}

/// The content of a record found under `key`.
pub(crate) fn open<'a>(key: &[u8], record: &'a [u8]) -> Option<Input<'a>> {
    let (head, content) = record.split_at_checked(HEAD)?;
    let sum = [head[1], head[2], head[3], head[4]];
    let whole = head[0] == RECORD_VERSION && checksum(key, content).to_le_bytes() == sum;
    whole.then_some(Input(content))
}

/// The key is part of it, so that a record in the wrong place is no record.
fn checksum(key: &[u8], content: &[u8]) -> u32 {
    let seed = xxh3_64_with_seed(key, u64::from(RECORD_VERSION));
    xxh3_64_with_seed(content, seed) as u32
}

/// Content that is still to be read.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of these bytes.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A part whose length stands before it.
    pub(crate) fn part(&mut self) -> Option<Self> {
        self.bytes().map(Self)
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|it| it[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn text(&mut self) -> Option<Arc<str>> {
        std::str::from_utf8(self.bytes()?).ok().map(Arc::from)
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.u8()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }
}

pub(crate) fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_optional<T>(value: Option<T>, out: &mut Vec<u8>, put: impl FnOnce(T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

pub(crate) fn put_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u32(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a session's record.
pub(crate) fn put_session(record: &SessionRecord, out: &mut Vec<u8>) {
    put_text(&record.client, out);
    put_u32(record.expiry_s, out);
    put_optional(record.username.as_deref(), out, put_text);
    put_optional(record.mount.as_deref(), out, put_text);
    put_optional(record.left_at_ms, out, put_u64);
}

/// Reads what [`put_session`] wrote.
pub(crate) fn session(mut input: Input<'_>) -> Option<SessionRecord> {
    Some(SessionRecord {
        client: input.text()?,
        expiry_s: input.u32()?,
        username: input.optional(Input::text)?,
        mount: input.optional(Input::text)?,
        left_at_ms: input.optional(Input::u64)?,
    })
}

/// Appends a subscription.
pub(crate) fn put_subscription(subscription: &StoredSubscription, out: &mut Vec<u8>) {
    out.push(subscription.options);
    put_u32(subscription.id, out);
    put_text(&subscription.filter, out);
}

/// Reads what [`put_subscription`] wrote.
pub(crate) fn subscription(mut input: Input<'_>) -> Option<StoredSubscription> {
    let (options, id) = (input.u8()?, input.u32()?);
    Some(StoredSubscription { filter: input.text()?, options, id })
}

/// Appends a client's will.
pub(crate) fn put_will(client: &str, will: &StoredWill, out: &mut Vec<u8>) {
    put_text(client, out);
    put_optional(will.expiry_s, out, put_u32);
    put_u32(will.delay_s, out);
    put_optional(will.due_at_ms, out, put_u64);
    out.extend_from_slice(will.message.as_bytes());
}

/// Reads what [`put_will`] wrote.
pub(crate) fn will(mut input: Input<'_>) -> Option<(Arc<str>, StoredWill)> {
    let client = input.text()?;
    let expiry_s = input.optional(Input::u32)?;
    let delay_s = input.u32()?;
    let due_at_ms = input.optional(Input::u64)?;
    let message = Message::from_bytes(input.rest())?;
    Some((client, StoredWill { message, expiry_s, delay_s, due_at_ms }))
}

const ENTRY_QOS: u8 = 0b11;
const ENTRY_RETAIN: u8 = 1 << 2;
const ENTRY_IDS: u8 = 1 << 3;
const ENTRY_GROUP: u8 = 1 << 4;
const ENTRY_BODY: u8 = 1 << 5;

/// An entry of a queue, without its message.
pub(crate) struct Entry<'a> {
    flags: u8,
    /// The message's weight in bytes.
    pub(crate) weight: u32,
    /// The number of the body that holds the message; `None`: it stands here.
    pub(crate) body: Option<u64>,
    input: Input<'a>,
}

/// Appends an entry, with its message unless that stands in a body of its own.
pub(crate) fn put_entry(delivery: &StoredDelivery, body: Option<u64>, out: &mut Vec<u8>) {
    let ids = delivery.ids.as_slice();
    let mut flags = delivery.qos as u8;
    flags |= if delivery.retain { ENTRY_RETAIN } else { 0 };
    flags |= if ids.is_empty() { 0 } else { ENTRY_IDS };
    flags |= if delivery.group.is_some() { ENTRY_GROUP } else { 0 };
    flags |= if body.is_some() { ENTRY_BODY } else { 0 };
    out.push(flags);
    put_u32(delivery.message.weight() as u32, out);
    if let Some(body) = body {
        put_u64(body, out);
    }
    if !ids.is_empty() {
        put_u32(ids.len() as u32, out);
        ids.iter().for_each(|id| put_u32(*id, out));
    }
    if let Some((name, filter)) = &delivery.group {
        put_text(name, out);
        put_text(filter, out);
    }
    if body.is_none() {
        out.extend_from_slice(delivery.message.as_bytes());
    }
}

/// Appends an entry whose message stands here, or, if not `whole`, elsewhere.
pub(crate) fn put_delivery(delivery: &StoredDelivery, whole: bool, out: &mut Vec<u8>) {
    put_entry(delivery, if whole { None } else { Some(0) }, out);
}

/// Reads what [`put_delivery`] wrote; `message` is that which stands elsewhere.
pub(crate) fn delivery(input: Input<'_>, message: Option<&Message>) -> Option<StoredDelivery> {
    let entry = entry(input)?;
    (entry.body.is_some() == message.is_some()).then(|| entry.delivery(|_| message.cloned()))?
}

/// Reads the beginning of what [`put_entry`] wrote.
pub(crate) fn entry(mut input: Input<'_>) -> Option<Entry<'_>> {
    let flags = input.u8()?;
    let weight = input.u32()?;
    let body = if flags & ENTRY_BODY == 0 { None } else { Some(input.u64()?) };
    Some(Entry { flags, weight, body, input })
}

impl Entry<'_> {
    /// Whether it came through a shared group.
    pub(crate) const fn grouped(&self) -> bool {
        self.flags & ENTRY_GROUP != 0
    }

    /// The whole entry; `body` finds the message of one that has a body.
    pub(crate) fn delivery(
        mut self,
        body: impl FnOnce(u64) -> Option<Message>,
    ) -> Option<StoredDelivery> {
        let ids = if self.flags & ENTRY_IDS == 0 { Ids::None } else { self.ids()? };
        let group =
            if self.grouped() { Some((self.input.text()?, self.input.text()?)) } else { None };
        let message = match self.body {
            Some(number) => body(number)?,
            None => Message::from_bytes(self.input.rest())?,
        };
        let qos = QoS::from_u8(self.flags & ENTRY_QOS)?;
        let retain = self.flags & ENTRY_RETAIN != 0;
        Some(StoredDelivery { message, qos, retain, ids, group })
    }

    fn ids(&mut self) -> Option<Ids> {
        let count = self.input.u32()? as usize;
        if count == 1 {
            return self.input.u32().map(Ids::One);
        }
        // No more than there are bytes, whatever the count says.
        if count > self.input.rest().len() / 4 {
            return None;
        }
        let ids: Option<Arc<[u32]>> = (0..count).map(|_| self.input.u32()).collect();
        ids.map(Ids::Many)
    }
}
