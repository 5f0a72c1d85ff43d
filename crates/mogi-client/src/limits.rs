//! What the server allows, as its CONNACK says (section 3.2.2.3).

use crate::{Options, PublishError, PublishRequest};
use mogi_codec::{Properties, PropertyId, Publish, QoS, Version};

/// The server's limits for this connection; before CONNACK and in 3.x the ones that hold where
/// nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The highest QoS it takes.
    pub qos_max: QoS,
    /// Whether it keeps retained messages.
    pub retain_available: bool,
    /// The largest packet it takes, in bytes.
    pub packet_size_max: usize,
    /// Messages of QoS 1 and 2 it wants in flight at once.
    pub receive_max: u16,
    /// The largest topic alias it takes; 0: none.
    pub topic_alias_max: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
            packet_size_max: usize::MAX,
            receive_max: u16::MAX,
            topic_alias_max: 0,
        }
    }
}

impl Limits {
    pub(crate) fn of(connack: Properties<'_>) -> Self {
        let u16 = |id, default| {
            let value = connack.int(id);
            value.map_or(default, |value| value.min(u32::from(u16::MAX)) as u16)
        };
        let qos_max = match connack.int(PropertyId::MaximumQos) {
            Some(0) => QoS::AtMostOnce,
            Some(_) => QoS::AtLeastOnce,
            None => QoS::ExactlyOnce,
        };
        Self {
            qos_max,
            retain_available: connack.int(PropertyId::RetainAvailable) != Some(0),
            packet_size_max: connack
                .int(PropertyId::MaximumPacketSize)
                .map_or(usize::MAX, |max| max as usize),
            receive_max: u16(PropertyId::ReceiveMaximum, u16::MAX),
            topic_alias_max: u16(PropertyId::TopicAliasMaximum, 0),
        }
    }

    /// The in-flight window: what both sides agree to.
    pub(crate) fn window(&self, options: &Options) -> usize {
        usize::from(options.inflight_max.min(self.receive_max).max(1))
    }

    /// Whether the server takes this message ([MQTT-3.2.2-11], [MQTT-3.2.2-14],
    /// [MQTT-3.2.2-15], [MQTT-3.2.2-17]).
    pub(crate) fn check(
        &self,
        version: Version,
        request: &PublishRequest<'_>,
    ) -> Result<(), PublishError> {
        if request.qos > self.qos_max {
            let max = self.qos_max;
            return Err(PublishError::QosNotSupported { max });
        }
        if request.retain && !self.retain_available {
            return Err(PublishError::RetainNotAvailable);
        }
        let alias = request.properties.int(PropertyId::TopicAlias);
        if alias.is_some_and(|alias| alias > u32::from(self.topic_alias_max)) {
            let max = self.topic_alias_max;
            return Err(PublishError::TopicAliasInvalid { max });
        }
        // The packet id does not change the length, as long as there is one.
        let len = publish(request, 1).packet_len(version);
        // No packet is longer than its length can say, whatever the server takes.
        let max = self.packet_size_max.min(mogi_codec::MAX_REMAINING_LENGTH as usize);
        if len > max {
            return Err(PublishError::PacketTooLarge { len, max });
        }
        Ok(())
    }
}

pub(crate) fn publish<'a>(request: &PublishRequest<'a>, packet_id: u16) -> Publish<'a> {
    Publish {
        dup: false,
        qos: request.qos,
        retain: request.retain,
        topic: request.topic,
        packet_id,
        properties: request.properties,
        payload: request.payload,
    }
}
