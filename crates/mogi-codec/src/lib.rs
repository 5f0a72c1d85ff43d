//! The wire format of MQTT 3.1, 3.1.1 and 5.0: bytes to borrowed packets and back.
//!
//! A map of the crate:
//!
//! * [`frame`]: where one packet ends and the next begins ([`Header`]).
//! * [`packet`]: every control packet as a borrowed view, [`Packet`] for "any of them".
//! * [`publish`]: the one packet that is hot; [`RawPublish`] decodes without touching the topic.
//! * [`properties`]: the MQTT 5 property section, validated once and read in place.
//! * [`topic`]: the rules for topic names, filters and shared subscriptions.
//! * [`reason`], [`error`]: reason codes, and errors that carry one.
//!
//! **Invariants.** No I/O, no clock, no allocation while decoding, no `unsafe`, and no panic
//! whatever the bytes are. What is decoded keeps borrowing the frame it came from.

pub mod connect;
pub mod error;
pub mod frame;
pub mod packet;
pub mod properties;
pub mod publish;
pub mod reader;
pub mod reason;
pub mod subscribe;
pub mod topic;
pub mod wire;

pub use connect::{Connack, Connect, Will};
pub use error::DecodeError;
pub use frame::{Header, MAX_REMAINING_LENGTH, PacketKind};
pub use packet::{Ack, Auth, Disconnect, Packet};
pub use properties::{Properties, Property, PropertyBuf, PropertyId};
pub use publish::{Publish, RawPublish};
pub use reason::Reason;
pub use subscribe::{
    RetainHandling, Suback, Subscribe, SubscribeFilter, SubscribeOptions, Unsuback, Unsubscribe,
};

/// A protocol version as the CONNECT packet names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Version {
    /// MQTT 3.1 (`MQIsdp`, level 3).
    V31 = 3,
    /// MQTT 3.1.1 (`MQTT`, level 4).
    V311 = 4,
    /// MQTT 5.0 (`MQTT`, level 5).
    V5 = 5,
}

impl Version {
    /// Whether packets of this version carry properties and reason codes.
    #[inline]
    pub const fn is_v5(self) -> bool {
        matches!(self, Self::V5)
    }

    /// The version with this protocol level, if there is one.
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            3 => Some(Self::V31),
            4 => Some(Self::V311),
            5 => Some(Self::V5),
            _ => None,
        }
    }
}

/// Quality of service of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    #[default]
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level with this number, 0 to 2.
    #[inline]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}
