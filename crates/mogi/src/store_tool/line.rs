//! The lines of an export.

use base64::prelude::{BASE64_STANDARD, Engine};
use mogi_codec::properties::{Section, Value};
use mogi_codec::reader::Reader;
use mogi_codec::wire::put_varint;
use mogi_codec::{PacketKind, Properties, PropertyId, QoS};
use mogi_core::Message;
use mogi_core::message::NEVER;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// One line. What is empty or unknown is left out.
#[derive(serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    /// The first one.
    Store {
        /// Left out: there is but one.
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_commit_ms: Option<u64>,
    },
    Session {
        client: &'a str,
        /// Seconds; 4294967295: it never ends.
        expiry_s: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        username: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mount_point: Option<&'a str>,
        /// Milliseconds since 1970; left out: the client is connected, or was at the end.
        #[serde(skip_serializing_if = "Option::is_none")]
        away_since_ms: Option<u64>,
        /// Packet ids of QoS 2 messages that came from the client and are not released.
        #[serde(skip_serializing_if = "<[u16]>::is_empty")]
        received: &'a [u16],
    },
    Subscription {
        client: &'a str,
        filter: &'a str,
        qos: u8,
        no_local: bool,
        retain_as_published: bool,
        retain_handling: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
    },
    /// A message on its way to a client.
    Message {
        client: &'a str,
        state: State,
        #[serde(skip_serializing_if = "Option::is_none")]
        packet_id: Option<u16>,
        #[serde(flatten)]
        content: Option<Content<'a>>,
        #[serde(skip_serializing_if = "<[u32]>::is_empty")]
        subscription_ids: &'a [u32],
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<Group<'a>>,
    },
    Retained {
        #[serde(flatten)]
        content: Content<'a>,
        /// Who published it.
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        username: Option<&'a str>,
    },
    Will {
        client: &'a str,
        delay_s: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        due_at_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expiry_s: Option<u32>,
        #[serde(flatten)]
        content: Content<'a>,
    },
}

/// How far a message got.
#[derive(serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Waiting,
    /// It has a packet id and was sent, or was about to be.
    InFlight,
    /// QoS 2: the client has it (PUBREC), and PUBREL is due.
    Released,
}

/// The shared group a message came through.
#[derive(serde::Serialize)]
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) filter: &'a str,
}

/// What was published.
#[derive(serde::Serialize)]
pub(super) struct Content<'a> {
    topic: &'a str,
    qos: u8,
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Fields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
}

impl<'a> Content<'a> {
    /// A message, and how it is delivered.
    pub(super) fn new(message: &'a Message, qos: QoS, retain: bool) -> Self {
        let view = message.view();
        let text = std::str::from_utf8(view.payload).ok();
        Self {
            topic: message.topic(),
            qos: qos as u8,
            retain,
            payload: text,
            payload_base64: text.is_none().then(|| BASE64_STANDARD.encode(view.payload)),
            properties: (!view.properties.is_empty()).then_some(Fields(view.properties)),
            expires_at_ms: (view.expires_at_ms != NEVER).then_some(view.expires_at_ms),
        }
    }
}

/// Calls `with` with stored properties; with none if they are not what a PUBLISH has.
pub(super) fn with_properties<T>(raw: &[u8], with: impl FnOnce(Properties<'_>) -> T) -> T {
    let mut section = Vec::with_capacity(raw.len() + 4);
    put_varint(&mut section, raw.len() as u32);
    section.extend_from_slice(raw);
    let publish = Section::Packet(PacketKind::Publish);
    with(Properties::decode(&mut Reader::new(&section), publish).unwrap_or_default())
}

/// Properties by their names in the standard, user properties as a list of objects.
struct Fields<'a>(&'a [u8]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        with_properties(self.0, |properties| {
            let mut map = serializer.serialize_map(None)?;
            let mut user = Vec::new();
            for property in properties.iter() {
                let name = property.id.name();
                match property.value {
                    Value::Int(value) => map.serialize_entry(name, &value)?,
                    Value::Str(value) => map.serialize_entry(name, value)?,
                    Value::Bytes(value) => match std::str::from_utf8(value) {
                        Ok(text) => map.serialize_entry(name, text)?,
                        Err(_) => {
                            let encoded = BASE64_STANDARD.encode(value);
                            map.serialize_entry(&format!("{name}-base64"), &encoded)?;
                        }
                    },
                    Value::Pair(name, value) => user.push(Pair(name, value)),
                }
            }
            if !user.is_empty() {
                map.serialize_entry(PropertyId::UserProperty.name(), &user)?;
            }
            map.end()
        })
    }
}

struct Pair<'a>(&'a str, &'a str);

impl Serialize for Pair<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, self.1)?;
        map.end()
    }
}
