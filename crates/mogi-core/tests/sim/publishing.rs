//! What clients publish.

use crate::client::{Flow, Phase};
use crate::message::{Published, payload};
use crate::retained::Retaining;
use crate::world::World;
use mogi_codec::{Packet, Properties, PropertyBuf, PropertyId, Publish, QoS, Version};

/// QoS 1 and 2 messages a 3.x client has on their way at the most.
const FLOWS_MAX: usize = 60;

impl World {
    pub(crate) fn new_message(&mut self, client: usize, topic: String, qos: Option<QoS>) -> u32 {
        let rng = &mut self.rng;
        let id = self.oracle.messages.len() as u32;
        let random = *rng.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let retain = topic.starts_with("r/") || rng.percent(5) && topic.starts_with("w/");
        let v5 = self.clients[client].version.is_v5();
        let len = match rng.below(100) {
            at if at < self.plan.large => rng.range(8000, 20_000),
            at if at > 85 && topic.starts_with("r/") => 0,
            _ => rng.range(4, 90),
        };
        let sent_at = self.oracle.tick();
        self.oracle.messages.push(Published {
            id,
            publisher: client,
            topic,
            qos: qos.unwrap_or(random),
            retain,
            len,
            property: v5 && self.rng.percent(30),
            expiry_s: (v5 && self.plan.expiry && self.rng.percent(30))
                .then(|| self.rng.range(1, 20) as u32),
            sent_at,
            sends: 0,
            taken_ms: None,
            acked_at: None,
            will: false,
        });
        id
    }

    pub(crate) fn publish(&mut self, client: usize, qos: Option<QoS>) {
        let me = &self.clients[client];
        let most = match me.version {
            Version::V5 => me.broker_receive_maximum,
            _ => FLOWS_MAX,
        };
        let qos = if me.flows.len() >= most { Some(QoS::AtMostOnce) } else { qos };
        let topic = match self.rng.below(10) {
            at if at < self.plan.groups => format!("g/{}", self.rng.below(2)),
            0..=7 => format!("t/{}", self.rng.below(3)),
            _ => format!("r/{client}/{}", self.rng.below(2)),
        };
        self.publish_to(client, topic, qos);
    }

    pub(crate) fn publish_to(&mut self, client: usize, topic: String, qos: Option<QoS>) {
        let id = self.new_message(client, topic, qos);
        let message = &self.oracle.messages[id as usize];
        let (qos, retain) = (message.qos, message.retain);
        let packet_id =
            if qos == QoS::AtMostOnce { 0 } else { self.clients[client].free_id(&mut self.rng) };
        if qos != QoS::AtMostOnce {
            self.clients[client].flows.push_back(Flow {
                packet_id,
                message: id,
                qos,
                released: false,
            });
        } else {
            self.clients[client].unconfirmed.push(id);
        }
        self.send_publish(client, id, packet_id, false);
        debug_assert!(retain == self.oracle.messages[id as usize].retain);
    }

    /// Sends a message, for the first time or again.
    pub(crate) fn send_publish(&mut self, client: usize, id: u32, packet_id: u16, dup: bool) {
        self.oracle.tick();
        let message = &mut self.oracle.messages[id as usize];
        message.sends += 1;
        let message = message.clone();
        let me = &mut self.clients[client];
        let mut properties = PropertyBuf::new();
        if message.property {
            properties.user("message", &id.to_string());
        }
        if let Some(expiry_s) = message.expiry_s {
            properties.int(PropertyId::MessageExpiryInterval, expiry_s);
        }
        let mut topic = &*message.topic;
        if self.plan.aliases && me.phase == Phase::On && me.broker_aliases > 0 {
            let known = me.aliases_out.iter().position(|other| *other == message.topic);
            let number = known.unwrap_or(me.aliases_out.len());
            if known.is_some() {
                topic = "";
            } else if number < me.broker_aliases {
                me.aliases_out.push(message.topic.clone());
            }
            if number < me.broker_aliases {
                properties.int(PropertyId::TopicAlias, number as u32 + 1);
            }
        }
        let token = me.token.expect("connected");
        match message.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => me.pubacks.push_back(packet_id),
            QoS::ExactlyOnce => me.pubrecs.push_back(packet_id),
        }
        if message.retain {
            let settled = false;
            let one = Retaining { message: id, token, dup, settled };
            self.oracle.retaining.entry(message.topic.clone()).or_default().push(one);
        }
        let monitor = self.monitors.get_mut(&token).expect("watched");
        monitor.published.insert(packet_id, id);
        let content = payload(id, message.len);
        self.send_packet(
            client,
            &Packet::Publish(Publish {
                dup,
                qos: message.qos,
                retain: message.retain,
                topic,
                packet_id,
                properties: properties.as_properties(),
                payload: &content,
            }),
        );
    }

    /// The watcher clears a topic's retained message.
    pub(crate) fn clear_retained(&mut self, topic: &str) {
        self.oracle.cleared.insert(topic.to_owned());
        let packet = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: true,
            topic,
            packet_id: 0,
            properties: Properties::default(),
            payload: &[],
        };
        self.send_packet(0, &Packet::Publish(packet));
    }
}
