//! What the client tells.

use mogi_codec::{Properties, PropertyBuf, Publish, QoS, Reason};
use std::borrow::Cow;

/// Something that happened. Most events borrow the bytes they were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The server accepted the connection.
    Connected {
        /// Whether the server still had the session.
        session_present: bool,
        /// CONNACK's properties.
        properties: Properties<'a>,
    },
    /// The server refused the connection.
    Refused {
        /// The return code (3.x) or reason code (5.0) as it stood in CONNACK.
        code: u8,
        /// CONNACK's properties.
        properties: Properties<'a>,
    },
    /// A message arrived. It is acknowledged already; one of QoS 2 comes when it is released,
    /// so it comes once.
    Message(Message<'a>),
    /// A message of QoS 1 or 2 has been dealt with.
    Published {
        /// What [`crate::Client::publish`] answered.
        packet_id: u16,
        /// How it went; success in 3.x.
        reason: Reason,
        /// The properties of the acknowledgement that ended it.
        properties: Properties<'a>,
    },
    /// A SUBSCRIBE was answered.
    Subscribed {
        /// What [`crate::Client::subscribe`] answered.
        packet_id: u16,
        /// One code for each filter: the granted QoS, or 0x80 and above.
        codes: &'a [u8],
        /// SUBACK's properties.
        properties: Properties<'a>,
    },
    /// An UNSUBSCRIBE was answered.
    Unsubscribed {
        /// What [`crate::Client::unsubscribe`] answered.
        packet_id: u16,
        /// One code for each filter (5.0); none in 3.x.
        codes: &'a [u8],
        /// UNSUBACK's properties.
        properties: Properties<'a>,
    },
    /// The server ends the connection (5.0).
    Disconnected {
        /// Why.
        reason: Reason,
        /// DISCONNECT's properties.
        properties: Properties<'a>,
    },
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its topic; a topic alias is resolved.
    pub topic: Cow<'a, str>,
    /// The application message.
    pub payload: Cow<'a, [u8]>,
    /// Quality of service it came with.
    pub qos: QoS,
    /// Whether it comes from the server's retained messages (or, with Retain As Published, was
    /// published with RETAIN).
    pub retain: bool,
    /// Possibly a repeat.
    pub dup: bool,
    /// The packet identifier; 0 at QoS 0.
    pub packet_id: u16,
    properties: Section<'a>,
}

impl<'a> From<Publish<'a>> for Message<'a> {
    /// The message of a PUBLISH that names its topic itself.
    fn from(publish: Publish<'a>) -> Self {
        Self::new(Cow::Borrowed(publish.topic), publish)
    }
}

impl<'a> Message<'a> {
    pub(crate) fn new(topic: Cow<'a, str>, publish: Publish<'a>) -> Self {
        Self {
            topic,
            payload: Cow::Borrowed(publish.payload),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.packet_id,
            properties: Section::Borrowed(publish.properties),
        }
    }

    /// The message without the bytes it was read from.
    pub fn into_owned(self) -> Message<'static> {
        Message {
            topic: Cow::Owned(self.topic.into_owned()),
            payload: Cow::Owned(self.payload.into_owned()),
            qos: self.qos,
            retain: self.retain,
            dup: self.dup,
            packet_id: self.packet_id,
            properties: Section::Owned(match self.properties {
                Section::Owned(properties) => properties,
                Section::Borrowed(properties) => {
                    let mut owned = PropertyBuf::new();
                    for property in properties {
                        owned.push(property);
                    }
                    owned
                }
            }),
        }
    }

    /// Its properties (5.0).
    pub fn properties(&self) -> Properties<'_> {
        match &self.properties {
            Section::Borrowed(properties) => *properties,
            Section::Owned(properties) => properties.as_properties(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Section<'a> {
    Borrowed(Properties<'a>),
    Owned(PropertyBuf),
}
