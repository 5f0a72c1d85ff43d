//! A PUBLISH to send, and one that was received.

use super::{Frame, Props};
use mogi_codec::{Packet, PropertyBuf, PropertyId, Publish, QoS, Version};

/// A PUBLISH to send.
#[derive(Clone, Debug)]
pub struct Out {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    /// 0: the client chooses the next free one.
    pub packet_id: u16,
    properties: PropertyBuf,
}

impl Out {
    /// A message at QoS 0.
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.as_ref().to_owned(),
            qos: 0,
            retain: false,
            dup: false,
            packet_id: 0,
            properties: PropertyBuf::new(),
        }
    }

    /// At this quality of service.
    pub const fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// With RETAIN.
    pub const fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// With DUP.
    pub const fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    /// With this packet identifier.
    pub const fn id(mut self, packet_id: u16) -> Self {
        self.packet_id = packet_id;
        self
    }

    /// With an integer property (5.0).
    pub fn int(mut self, id: PropertyId, value: u32) -> Self {
        self.properties.int(id, value);
        self
    }

    /// With a string property (5.0).
    pub fn str(mut self, id: PropertyId, value: &str) -> Self {
        self.properties.str(id, value);
        self
    }

    /// With a binary property (5.0).
    pub fn data(mut self, id: PropertyId, value: &[u8]) -> Self {
        self.properties.bytes(id, value);
        self
    }

    /// With a user property (5.0).
    pub fn user(mut self, name: &str, value: &str) -> Self {
        self.properties.user(name, value);
        self
    }

    /// The packet.
    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let mut bytes = Vec::new();
        let packet = Publish {
            dup: self.dup,
            qos: QoS::from_u8(self.qos).expect("a QoS; send raw bytes for others"),
            retain: self.retain,
            topic: &self.topic,
            packet_id: self.packet_id,
            properties: self.properties.as_properties(),
            payload: &self.payload,
        };
        packet.encode(version, &mut bytes);
        bytes
    }
}

/// A received PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    /// 0 at QoS 0.
    pub packet_id: u16,
    pub props: Props,
}

impl Message {
    /// Reads a PUBLISH.
    ///
    /// # Panics
    /// If it is another packet.
    #[track_caller]
    pub fn of(frame: &Frame) -> Self {
        let Packet::Publish(packet) = frame.packet() else {
            panic!("expected PUBLISH, got {frame:?}");
        };
        Self {
            topic: packet.topic.to_owned(),
            payload: packet.payload.to_owned(),
            qos: packet.qos as u8,
            retain: packet.retain,
            dup: packet.dup,
            packet_id: packet.packet_id,
            props: packet.properties.into(),
        }
    }

    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}
