//! An application message: borrowed while it passes through a turn, shared once it must outlive it.
//!
//! ```text
//!  socket buffer ──► MessageView ──► receivers' output    nothing allocated, frame copied as it is
//!                        │
//!                        └──► Message (one Arc, made at most once) ──► queues, in flight, retained
//! ```

use crate::author::Author;
use mogi_codec::properties::put_property;
use mogi_codec::{PacketKind, Properties, PropertyId, QoS};
use std::borrow::Cow;
use std::sync::Arc;

/// No expiry: the message never gets too old.
pub const NEVER: u64 = u64::MAX;

/// A message that outlives its turn. Cloning shares it.
///
/// One allocation holds all of it:
/// ```text
/// | flags 1 | topic len 2 | properties len 4 | expires at 8 | topic | properties | payload |
/// ```
/// and behind it, where a flag says so, who published it ([`Author`]): only stores and other nodes
/// get it so.
///
/// The properties are those that are forwarded as they are: without topic alias and message expiry
/// interval, which are written anew for every receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Arc<[u8]>);

/// Bytes of it before the topic.
pub(crate) const STORED_HEAD: usize = 15;
const FLAG_RETAIN: u8 = 0b100;
const FLAG_AUTHOR: u8 = 0b1000;

impl Message {
    /// Copies `view`, putting it together in `scratch` so that it takes one allocation.
    pub fn new(view: &MessageView<'_>, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        put_stored(view, scratch);
        Self(Arc::from(&scratch[..]))
    }

    /// The message whose [`Self::as_bytes`] these are; `None` if they are not one's.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(STORED_HEAD)?;
        let topic_len = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let properties_len = u32::from_le_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let (topic, rest) = rest.split_at_checked(topic_len)?;
        let topic = std::str::from_utf8(topic).ok()?;
        let qos = QoS::from_u8(head[0] & 0b11);
        let known = head[0] & !(FLAG_AUTHOR | FLAG_RETAIN | 0b11) == 0 && qos.is_some();
        let rest = match head[0] & FLAG_AUTHOR {
            0 => rest,
            _ => Author::split(rest)?.0,
        };
        (known && !topic.is_empty() && properties_len <= rest.len()).then(|| Self(Arc::from(bytes)))
    }

    /// The same message with its author.
    pub fn signed(&self, author: &Author<'_>) -> Self {
        let mut bytes = self.unsigned().0.to_vec();
        bytes[0] |= FLAG_AUTHOR;
        author.put(&mut bytes);
        Self(Arc::from(bytes))
    }

    /// The same message without.
    pub fn unsigned(&self) -> Self {
        let Some((before, _)) = self.split() else {
            return self.clone();
        };
        let mut bytes = before.to_vec();
        bytes[0] &= !FLAG_AUTHOR;
        Self(Arc::from(bytes))
    }

    /// Who published it, where that is kept with it.
    pub fn author(&self) -> Option<Author<'_>> {
        self.split().map(|(_, author)| author)
    }

    fn split(&self) -> Option<(&[u8], Author<'_>)> {
        if self.0[0] & FLAG_AUTHOR == 0 { None } else { Author::split(&self.0) }
    }

    /// All of it as one run of bytes, whose form is that of [`Message`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether both are the same message in memory.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The message [`put_stored`] wrote.
    pub(crate) fn from_stored(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }

    /// The QoS it was published with.
    pub fn qos(&self) -> QoS {
        self.view().qos
    }

    /// Whether it is too old to be delivered ([MQTT-3.3.2-5]).
    pub fn expired(&self, now_ms: u64) -> bool {
        self.view().expired(now_ms)
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        // Written from a checked topic, so it cannot be anything else.
        std::str::from_utf8(self.view().topic).unwrap_or_default()
    }

    /// Its payload.
    pub fn payload(&self) -> &[u8] {
        self.view().payload
    }

    /// The message as the functions that route and encode take it.
    pub fn view(&self) -> MessageView<'_> {
        view_stored(&self.0)
    }

    /// What it weighs in a queue: topic, properties and payload, in bytes.
    pub fn weight(&self) -> usize {
        self.0.len() - STORED_HEAD
    }
}

/// Appends a message in the form it is stored in, [`STORED_HEAD`] and as many bytes as it weighs.
pub(crate) fn put_stored(view: &MessageView<'_>, out: &mut Vec<u8>) {
    out.reserve(STORED_HEAD + view.weight());
    out.push(view.qos as u8 | if view.retain { FLAG_RETAIN } else { 0 });
    out.extend_from_slice(&(view.topic.len() as u16).to_le_bytes());
    out.extend_from_slice(&(view.properties.len() as u32).to_le_bytes());
    out.extend_from_slice(&view.expires_at_ms.to_le_bytes());
    out.extend_from_slice(view.topic);
    out.extend_from_slice(view.properties);
    out.extend_from_slice(view.payload);
}

/// Reads what [`put_stored`] wrote.
#[inline]
pub(crate) fn view_stored(bytes: &[u8]) -> MessageView<'_> {
    let (head, rest) = bytes.split_at(STORED_HEAD);
    let topic_len = usize::from(u16::from_le_bytes([head[1], head[2]]));
    let properties_len = u32::from_le_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let mut expires_at = [0; 8];
    expires_at.copy_from_slice(&head[7..]);
    let (topic, rest) = rest.split_at(topic_len);
    let (properties, mut payload) = rest.split_at(properties_len);
    if head[0] & FLAG_AUTHOR != 0 {
        payload = Author::split(payload).map_or(payload, |(payload, _)| payload);
    }
    MessageView {
        qos: QoS::from_u8(head[0] & 0b11).unwrap_or_default(),
        retain: head[0] & FLAG_RETAIN != 0,
        topic,
        properties,
        payload,
        expires_at_ms: u64::from_le_bytes(expires_at),
        frame: None,
    }
}

/// A message on its way through a turn, borrowed from where it arrived.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// The QoS it was published with.
    pub qos: QoS,
    /// The RETAIN flag it was published with.
    pub retain: bool,
    /// Its topic: the bytes of a valid topic name. They were checked when the topic was met first,
    /// and are not looked at as text again on their way.
    pub topic: &'a [u8],
    /// The properties every receiver gets as the publisher wrote them, in order
    /// ([MQTT-3.3.2-17]): all but topic alias and message expiry interval.
    pub properties: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
    /// When it gets too old, or [`NEVER`].
    pub expires_at_ms: u64,
    /// The PUBLISH packet it came in, if that can be forwarded byte for byte.
    pub frame: Option<Frame<'a>>,
}

/// A received PUBLISH packet that receivers of the same property format can be sent as it is, but
/// for its first byte and packet id.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// All its bytes.
    pub bytes: &'a [u8],
    /// Where the packet id stands (QoS 1 and 2).
    pub packet_id_at: usize,
    /// Whether it has a property section.
    pub v5: bool,
}

impl<'a> MessageView<'a> {
    /// A message of the broker's own.
    pub fn internal(topic: &'a str, payload: &'a [u8], qos: QoS, retain: bool) -> Self {
        Self {
            qos,
            retain,
            topic: topic.as_bytes(),
            properties: &[],
            payload,
            expires_at_ms: NEVER,
            frame: None,
        }
    }

    /// The packet of MQTT 3.x it came in, which says all there is, and how many of its bytes are
    /// neither topic nor payload; [`Self::of_packet`] reads it.
    #[inline]
    pub(crate) fn packet(&self) -> Option<(&'a [u8], usize)> {
        let frame = self.frame.filter(|frame| !frame.v5)?;
        debug_assert!(self.properties.is_empty() && self.expires_at_ms == NEVER);
        Some((frame.bytes, frame.bytes.len() - self.weight()))
    }

    /// The message in what [`Self::packet`] gave; `None`: that is no packet.
    #[inline]
    pub(crate) fn of_packet(bytes: &'a [u8], head_len: usize) -> Option<Self> {
        let first = *bytes.first()?;
        if PacketKind::from_first_byte(first) != Some(PacketKind::Publish) {
            return None;
        }
        let qos = QoS::from_u8(first >> 1 & 0b11)?;
        let id_len = if qos == QoS::AtMostOnce { 0 } else { 2 };
        let rest = bytes.get(head_len.checked_sub(2 + id_len)?..)?;
        let (topic_len, rest) = rest.split_first_chunk::<2>()?;
        let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*topic_len)))?;
        let packet_id_at = head_len - id_len + topic.len();
        Some(Self {
            qos,
            retain: first & 1 != 0,
            topic,
            properties: &[],
            payload: rest.get(id_len..)?,
            expires_at_ms: NEVER,
            frame: Some(Frame { bytes, packet_id_at, v5: false }),
        })
    }

    /// What it weighs in a queue: topic, properties and payload, in bytes.
    pub fn weight(&self) -> usize {
        self.topic.len() + self.properties.len() + self.payload.len()
    }

    /// Its topic as text, for the log.
    pub(crate) fn topic_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.topic)
    }

    /// Whether it is too old to be delivered ([MQTT-3.3.2-5]).
    #[inline]
    pub fn expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms <= now_ms
    }

    /// Seconds until it expires as a receiver is told: what is left, at least 1
    /// ([MQTT-3.3.2-6]).
    pub(crate) fn remaining_expiry_s(&self, now_ms: u64) -> Option<u32> {
        if self.expires_at_ms == NEVER {
            return None;
        }
        let left_s = self.expires_at_ms.saturating_sub(now_ms).div_ceil(1000);
        Some(u32::try_from(left_s.max(1)).unwrap_or(u32::MAX))
    }
}

/// Whether receivers get the section just as it is.
pub(crate) fn forwardable(properties: &Properties<'_>) -> bool {
    !properties.has(PropertyId::TopicAlias) && !properties.has(PropertyId::MessageExpiryInterval)
}

/// Appends the properties that receivers get as the publisher wrote them.
pub(crate) fn put_forwarded(properties: Properties<'_>, out: &mut Vec<u8>) {
    for property in properties {
        if !matches!(
            property.id,
            PropertyId::TopicAlias
                | PropertyId::MessageExpiryInterval
                | PropertyId::WillDelayInterval
        ) {
            put_property(out, property);
        }
    }
}
