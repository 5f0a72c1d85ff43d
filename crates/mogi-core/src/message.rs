//! An application message: borrowed while it passes through a turn, shared once it must outlive it.
//!
//! ```text
//!  socket buffer ──► MessageView ──► receivers' output        nothing allocated, frame copied as it is
//!                        │
//!                        └──► Message (one Arc, made at most once) ──► queues, in flight, retained
//! ```

use mogi_codec::properties::put_property;
use mogi_codec::{Properties, PropertyId, QoS};
use std::sync::Arc;

/// No expiry: the message never gets too old.
pub const NEVER: u64 = u64::MAX;

/// A message that outlives its turn. Cloning shares it.
///
/// One allocation holds all of it:
/// ```text
/// | flags 1 | topic len 2 | properties len 4 | expires at 8 | topic | properties | payload |
/// ```
/// The properties are those that are forwarded as they are: without topic alias and message expiry
/// interval, which are written anew for every receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Arc<[u8]>);

const HEAD: usize = 15;
const FLAG_RETAIN: u8 = 0b100;

impl Message {
    /// Copies `view`.
    pub fn new(view: &MessageView<'_>) -> Self {
        let mut data = Vec::with_capacity(HEAD + view.weight());
        data.push(view.qos as u8 | if view.retain { FLAG_RETAIN } else { 0 });
        data.extend_from_slice(&(view.topic.len() as u16).to_le_bytes());
        data.extend_from_slice(&(view.properties.len() as u32).to_le_bytes());
        data.extend_from_slice(&view.expires_at_ms.to_le_bytes());
        data.extend_from_slice(view.topic.as_bytes());
        data.extend_from_slice(view.properties);
        data.extend_from_slice(view.payload);
        Self(data.into())
    }

    /// The QoS it was published with.
    pub fn qos(&self) -> QoS {
        QoS::from_u8(self.0[0] & 0b11).unwrap_or_default()
    }

    /// The RETAIN flag it was published with.
    pub fn retain(&self) -> bool {
        self.0[0] & FLAG_RETAIN != 0
    }

    /// When it gets too old, in milliseconds of the worker's clock, or [`NEVER`].
    pub fn expires_at_ms(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[7..HEAD]);
        u64::from_le_bytes(bytes)
    }

    /// Whether it is too old to be delivered ([MQTT-3.3.2-5]).
    pub fn expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms() <= now_ms
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        // Written from a &str by `new`, so it cannot be anything else.
        std::str::from_utf8(&self.0[HEAD..HEAD + self.topic_len()]).unwrap_or_default()
    }

    /// Its payload.
    pub fn payload(&self) -> &[u8] {
        &self.0[self.payload_start()..]
    }

    /// The message as the functions that route and encode take it.
    pub fn view(&self) -> MessageView<'_> {
        MessageView {
            qos: self.qos(),
            retain: self.retain(),
            topic: self.topic(),
            properties: &self.0[HEAD + self.topic_len()..self.payload_start()],
            payload: self.payload(),
            expires_at_ms: self.expires_at_ms(),
            frame: None,
        }
    }

    /// Where the payload begins in [`Self::as_bytes`].
    pub(crate) fn payload_start(&self) -> usize {
        HEAD + self.topic_len() + self.properties_len()
    }

    /// All of it, for output that refers to the payload instead of copying it.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What it weighs in a queue: topic, properties and payload, in bytes.
    pub fn weight(&self) -> usize {
        self.0.len() - HEAD
    }

    fn topic_len(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[1], self.0[2]]))
    }

    fn properties_len(&self) -> usize {
        u32::from_le_bytes([self.0[3], self.0[4], self.0[5], self.0[6]]) as usize
    }
}

/// A message on its way through a turn, borrowed from where it arrived.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// The QoS it was published with.
    pub qos: QoS,
    /// The RETAIN flag it was published with.
    pub retain: bool,
    /// Its topic, never empty.
    pub topic: &'a str,
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
            topic,
            properties: &[],
            payload,
            expires_at_ms: NEVER,
            frame: None,
        }
    }

    /// What it weighs in a queue: topic, properties and payload, in bytes.
    pub fn weight(&self) -> usize {
        self.topic.len() + self.properties.len() + self.payload.len()
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
