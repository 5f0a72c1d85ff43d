//! From a message to the PUBLISH packet one receiver gets.
//!
//! Receivers of the publisher's property format and QoS get its frame with another first byte and
//! packet id. The others get a packet put together from its parts.

use crate::message::{Message, MessageView};
use crate::output::{LARGE, Output};
use mogi_codec::publish::first_byte;
use mogi_codec::wire::{put_bytes, put_u16, put_u32, put_varint, varint_len};
use mogi_codec::{PropertyId, QoS};

/// How one receiver gets a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form<'a> {
    pub(crate) v5: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) subscription_ids: &'a [u32],
    pub(crate) alias: Option<Alias>,
}

/// A topic alias of the broker's making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) number: u16,
    /// Whether the receiver knows it already, so that the topic is left out.
    pub(crate) known: bool,
}

impl Alias {
    /// By how much a new one makes a packet longer at the most: the property, and a byte more in
    /// each of the two lengths before it.
    pub(crate) const BYTES_MAX: usize = 5;
}

/// The lengths of a packet's parts, in bytes.
struct Lengths {
    topic: usize,
    section: usize,
    remaining: usize,
}

impl Form<'_> {
    /// Whether `view`'s frame is what this receiver gets.
    #[inline]
    fn frame_fits(&self, view: &MessageView<'_>) -> bool {
        match view.frame {
            Some(frame) => {
                frame.v5 == self.v5
                    && view.qos == self.qos
                    && self.subscription_ids.is_empty()
                    && self.alias.is_none()
            }
            None => false,
        }
    }

    /// The packet's length in bytes, for the receiver's Maximum Packet Size.
    #[inline]
    pub(crate) fn packet_len(&self, view: &MessageView<'_>, now_ms: u64) -> usize {
        if let Some(frame) = view.frame
            && self.frame_fits(view)
        {
            return frame.bytes.len();
        }
        let remaining = self.lengths(view, now_ms).remaining;
        1 + varint_len(remaining as u32) + remaining
    }

    /// Appends the packet. `shared` makes the message one that may be referred to; it is asked
    /// only where the payload is large.
    #[inline]
    pub(crate) fn put(
        &self,
        view: &MessageView<'_>,
        now_ms: u64,
        out: &mut Output,
        shared: impl FnOnce() -> Message,
    ) {
        let first = first_byte(self.dup, self.qos, self.retain);
        let large = view.payload.len() >= LARGE;
        if let Some(frame) = view.frame
            && !large
            && self.frame_fits(view)
        {
            let bytes = out.bytes();
            let start = bytes.len();
            bytes.extend_from_slice(frame.bytes);
            bytes[start] = first;
            if self.qos != QoS::AtMostOnce {
                let at = start + frame.packet_id_at;
                bytes[at..at + 2].copy_from_slice(&self.packet_id.to_be_bytes());
            }
            return;
        }
        self.put_head(first, view, now_ms, out.bytes());
        if large {
            out.push_payload(shared());
        } else {
            out.bytes().extend_from_slice(view.payload);
        }
    }

    /// Appends the packet, payload and all.
    pub(crate) fn put_whole(&self, view: &MessageView<'_>, now_ms: u64, out: &mut Vec<u8>) {
        self.put_head(first_byte(self.dup, self.qos, self.retain), view, now_ms, out);
        out.extend_from_slice(view.payload);
    }

    fn put_head(&self, first: u8, view: &MessageView<'_>, now_ms: u64, out: &mut Vec<u8>) {
        let lengths = self.lengths(view, now_ms);
        out.push(first);
        put_varint(out, lengths.remaining as u32);
        if lengths.topic == 0 {
            put_u16(out, 0);
        } else {
            put_bytes(out, view.topic);
        }
        if self.qos != QoS::AtMostOnce {
            put_u16(out, self.packet_id);
        }
        if !self.v5 {
            return;
        }
        put_varint(out, lengths.section as u32);
        out.extend_from_slice(view.properties);
        if let Some(expiry_s) = view.remaining_expiry_s(now_ms) {
            out.push(PropertyId::MessageExpiryInterval as u8);
            put_u32(out, expiry_s);
        }
        for &id in self.subscription_ids {
            out.push(PropertyId::SubscriptionIdentifier as u8);
            put_varint(out, id);
        }
        if let Some(alias) = self.alias {
            out.push(PropertyId::TopicAlias as u8);
            put_u16(out, alias.number);
        }
    }

    fn lengths(&self, view: &MessageView<'_>, now_ms: u64) -> Lengths {
        let topic = match self.alias {
            Some(Alias { known: true, .. }) => 0,
            _ => view.topic.len(),
        };
        let id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let mut section = 0;
        let mut section_total = 0;
        if self.v5 {
            section = view.properties.len()
                + view.remaining_expiry_s(now_ms).map_or(0, |_| 5)
                + self.subscription_ids.iter().map(|&id| 1 + varint_len(id)).sum::<usize>()
                + self.alias.map_or(0, |_| 3);
            section_total = varint_len(section as u32) + section;
        }
        let remaining = 2 + topic + id + section_total + view.payload.len();
        Lengths { topic, section, remaining }
    }
}
