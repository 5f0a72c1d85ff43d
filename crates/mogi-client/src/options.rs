//! What a client is told: how to connect, what to publish.

use mogi_codec::{Properties, PropertyBuf, PropertyId, QoS, Version};

/// How a client connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The protocol to speak.
    pub version: Version,
    /// The client identifier; empty where the server shall assign one.
    pub client_id: String,
    /// Clean Session (3.x) or Clean Start (5.0).
    pub clean_start: bool,
    /// Keep alive in seconds; 0: none. The server may lower it (5.0, Server Keep Alive).
    pub keep_alive_s: u16,
    /// The user name, if there is one.
    pub username: Option<String>,
    /// The password, if there is one; at most 65,535 bytes.
    pub password: Option<Vec<u8>>,
    /// The will, if there is one.
    pub will: Option<WillMessage>,
    /// CONNECT's properties (5.0). Receive Maximum, Topic Alias Maximum and Maximum Packet Size
    /// among them bind the server, and the client closes the connection where it breaks them.
    pub properties: PropertyBuf,
    /// Messages of QoS 1 and 2 that may be unacknowledged at once, at least 1. The server's
    /// Receive Maximum may lower it.
    pub inflight_max: u16,
}

impl Options {
    /// Clean, keep alive of 60 s, 20 messages in flight: what Mosquitto's tools start from.
    pub const fn new(version: Version, client_id: String) -> Self {
        Self {
            version,
            client_id,
            clean_start: true,
            keep_alive_s: 60,
            username: None,
            password: None,
            will: None,
            properties: PropertyBuf::new(),
            inflight_max: 20,
        }
    }

    pub(crate) fn int(&self, id: PropertyId) -> Option<u32> {
        self.properties.as_properties().int(id)
    }
}

/// The will message a client leaves with the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillMessage {
    /// Its topic, a valid topic name.
    pub topic: String,
    /// Its payload, up to 65,535 bytes.
    pub payload: Vec<u8>,
    /// Its quality of service.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Its properties (5.0).
    pub properties: PropertyBuf,
}

/// A message to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRequest<'a> {
    /// A valid topic name. It is left out on the wire where a topic alias stands for it already.
    pub topic: &'a str,
    /// The application message.
    pub payload: &'a [u8],
    /// Quality of service.
    pub qos: QoS,
    /// Whether the server shall keep it.
    pub retain: bool,
    /// Its properties (5.0).
    pub properties: Properties<'a>,
}
