//! Packets as they arrive at clients, each judged by what the client knows.

use crate::client::{Ask, Known, Phase};
use crate::message::id_of;
use crate::oracle::Delivery;
use crate::trace::note;
use crate::world::World;
use mogi_codec::properties::Value;
use mogi_codec::{Ack, Connack, Packet, PacketKind, PropertyId, Publish, QoS, Suback, Version};

impl World {
    /// Delivers up to `most` bytes of the broker's to the client; whether there were any.
    pub(crate) fn read(&mut self, token: u32, most: usize) -> bool {
        let Some(conn) = self.broker.conns.get_mut(&token) else {
            return false;
        };
        let client = conn.client;
        let count = conn.down.len().min(most);
        let bytes: Vec<u8> = conn.down.drain(..count).collect();
        let finished = conn.down_closed && conn.down.is_empty();
        if self.clients[client].token != Some(token) {
            return count > 0;
        }
        let me = &mut self.clients[client];
        me.rx.extend(bytes);
        let buffer = std::mem::take(&mut me.rx);
        let version = me.version;
        let mut at = 0;
        while let Some((packet, len)) =
            Packet::parse(version, &buffer[at..]).expect("the broker sends good packets")
        {
            self.oracle.tick();
            self.arrives(client, &packet);
            at += len;
        }
        self.clients[client].rx = buffer[at..].to_vec();
        if finished {
            self.forget_connection(client);
        }
        count > 0
    }

    fn arrives(&mut self, client: usize, packet: &Packet<'_>) {
        match packet {
            Packet::Connack(connack) => self.connack(client, connack),
            Packet::Publish(publish) => self.publish_arrives(client, publish),
            Packet::Puback(ack) => self.puback(client, ack),
            Packet::Pubrec(ack) => self.pubrec(client, ack),
            Packet::Pubrel(ack) => self.pubrel(client, ack),
            Packet::Pubcomp(ack) => self.pubcomp(client, ack),
            Packet::Suback(suback) => self.suback(client, suback),
            Packet::Unsuback(unsuback) => self.unsuback(client, unsuback.packet_id),
            Packet::Pingresp => self.pong(client),
            Packet::Disconnect(_) => {}
            other => panic!("client {client} gets {other:?}"),
        }
    }

    fn connack(&mut self, client: usize, connack: &Connack<'_>) {
        let me = &mut self.clients[client];
        assert_eq!((me.phase, connack.code), (Phase::Greeting, 0), "CONNACK for {client}");
        me.phase = Phase::On;
        let properties = connack.properties;
        let int = |id| properties.int(id).map(|value| value as usize);
        me.broker_receive_maximum = int(PropertyId::ReceiveMaximum).unwrap_or(65_535).min(60);
        me.broker_aliases = int(PropertyId::TopicAliasMaximum).unwrap_or(0);
        let present = match (me.version, me.promise) {
            (Version::V31, promise) => promise.expect("known in 3.1"),
            (_, Some(promise)) => {
                let present = connack.session_present;
                assert_eq!(present, promise, "session present for client {client}");
                promise
            }
            (_, None) => connack.session_present,
        };
        me.must_clean = false;
        me.known = match me.expiry_s {
            0 => Known::No,
            u32::MAX => Known::Yes,
            _ => Known::Maybe,
        };
        let lasting = me.expiry_s > 0;
        if !present {
            me.reset_session();
            self.oracle.new_session(client);
        }
        let subject = &mut self.oracle.subjects[client];
        subject.lasting = lasting;
        subject.ending = false;
        note(|| format!("client {client}: CONNACK, session present {present}"));
        self.resume_flows(client, present);
    }

    /// [MQTT-4.4.0-1]: what was not acknowledged is sent again, in its order.
    fn resume_flows(&mut self, client: usize, present: bool) {
        let flows: Vec<_> = self.clients[client].flows.iter().cloned().collect();
        if !present {
            self.clients[client].flows.clear();
        }
        for mut flow in flows {
            if flow.released {
                let ack = Ack::new(flow.packet_id, mogi_codec::Reason::Success);
                self.send_packet(client, &Packet::Pubrel(ack));
                continue;
            }
            if !present {
                flow.packet_id = self.clients[client].free_id(&mut self.rng);
                self.clients[client].flows.push_back(flow.clone());
            }
            self.send_publish(client, flow.message, flow.packet_id, present);
        }
    }

    fn puback(&mut self, client: usize, ack: &Ack<'_>) {
        let me = &mut self.clients[client];
        assert!(!ack.reason.is_error(), "PUBACK {:?} for {client}", ack.reason);
        let due = me.pubacks.pop_front();
        assert_eq!(due, Some(ack.packet_id), "PUBACKs of client {client} in order");
        let at = me.flows.iter().position(|flow| flow.packet_id == ack.packet_id);
        let flow = me.flows.remove(at.expect("a flow"));
        self.arrived(client, flow.expect("a flow").message);
    }

    fn pubrec(&mut self, client: usize, ack: &Ack<'_>) {
        let me = &mut self.clients[client];
        assert!(!ack.reason.is_error(), "PUBREC {:?} for {client}", ack.reason);
        let due = me.pubrecs.pop_front();
        assert_eq!(due, Some(ack.packet_id), "PUBRECs of client {client} in order");
        let mut flows = me.flows.iter_mut();
        let flow = flows.find(|flow| flow.packet_id == ack.packet_id).expect("a flow");
        flow.released = true;
        let message = flow.message;
        self.arrived(client, message);
        // Behind the acknowledgements that are due already ([MQTT-4.6.0-4]).
        self.clients[client].acks.push_back((PacketKind::Pubrel, ack.packet_id));
    }

    /// The broker has taken a message.
    fn arrived(&mut self, client: usize, message: u32) {
        let now = self.oracle.tick();
        let message = &mut self.oracle.messages[message as usize];
        message.acked_at.get_or_insert(now);
        let (id, qos) = (message.id, message.qos);
        let token = self.clients[client].token;
        let Some(all) = self.oracle.retaining.get_mut(&message.topic) else {
            return;
        };
        for one in all {
            let repeat = one.dup && qos == QoS::ExactlyOnce;
            if one.message == id && Some(one.token) == token && !repeat {
                one.settled = true;
            }
        }
    }

    fn pubcomp(&mut self, client: usize, ack: &Ack<'_>) {
        let me = &mut self.clients[client];
        let at = me.flows.iter().position(|flow| flow.packet_id == ack.packet_id);
        let flow = me.flows.remove(at.expect("a flow")).expect("a flow");
        assert!(flow.released, "PUBCOMP {} before PUBREL", ack.packet_id);
    }

    fn pong(&mut self, client: usize) {
        let covered = self.clients[client].pings.pop_front();
        let covered = covered.expect("PINGRESP answers a ping");
        if self.clients[client].broker_crashed {
            return; // What QoS 0 did went with the broker.
        }
        for message in covered {
            self.arrived(client, message);
        }
    }

    fn suback(&mut self, client: usize, suback: &Suback<'_>) {
        let ask = self.clients[client].asks.remove(&suback.packet_id);
        let Some(Ask::Subscribe(filters, at)) = ask else {
            panic!("client {client}: SUBACK for {ask:?}");
        };
        let granted: Vec<u8> = filters.iter().map(|(_, options)| options.qos as u8).collect();
        assert_eq!(suback.codes, granted, "SUBACK for client {client}");
        let now = self.oracle.tick();
        for sub in &mut self.oracle.subjects[client].subs {
            if filters.iter().all(|(filter, _)| *filter != sub.filter) {
                continue;
            }
            if sub.asked_at == at {
                sub.acked_at.get_or_insert(now);
            } else if sub.asked_at < at {
                sub.maybe_until = sub.maybe_until.min(now);
            }
        }
    }

    fn unsuback(&mut self, client: usize, packet_id: u16) {
        let ask = self.clients[client].asks.remove(&packet_id);
        let Some(Ask::Unsubscribe(filters, at)) = ask else {
            panic!("client {client}: UNSUBACK for {ask:?}");
        };
        let now = self.oracle.tick();
        for sub in &mut self.oracle.subjects[client].subs {
            if filters.contains(&sub.filter) && sub.asked_at < at {
                sub.maybe_until = sub.maybe_until.min(now);
            }
        }
    }

    fn publish_arrives(&mut self, client: usize, publish: &Publish<'_>) {
        let me = &mut self.clients[client];
        let mut topic = publish.topic.to_owned();
        if let Some(alias) = publish.properties.int(PropertyId::TopicAlias) {
            let alias = alias as u16;
            assert!(alias <= me.alias_maximum, "alias {alias} for client {client}");
            if topic.is_empty() {
                topic = me.aliases_in.get(&alias).expect("a known alias").clone();
            } else {
                me.aliases_in.insert(alias, topic.clone());
            }
        }
        let id = id_of(publish.payload);
        let fresh = match publish.qos {
            QoS::AtMostOnce => true,
            QoS::AtLeastOnce => {
                let seen = &self.oracle.subjects[client].seen.copies;
                !publish.dup || id.is_none_or(|id| !seen.contains_key(&id))
            }
            QoS::ExactlyOnce => !me.held.contains(&publish.packet_id),
        };
        if publish.qos != QoS::AtMostOnce {
            self.take_into_flight(client, publish);
        }
        let (mut ids, mut user) = (Vec::new(), None);
        for property in publish.properties {
            match (property.id, property.value) {
                (PropertyId::SubscriptionIdentifier, Value::Int(id)) => ids.push(id),
                (PropertyId::UserProperty, Value::Pair(_, text)) => {
                    user = Some(text.parse().expect("a number"));
                }
                _ => {}
            }
        }
        let delivery = Delivery {
            topic: &topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            ids,
            user,
            expiry_s: publish.properties.int(PropertyId::MessageExpiryInterval),
            v5: self.clients[client].version.is_v5(),
            fresh,
        };
        note(|| format!("client {client}: gets {id:?} on {topic}, {}", publish.packet_id));
        self.oracle.delivered(client, &delivery);
    }

    /// Packet ids and the window ([MQTT-2.2.1-4], [MQTT-3.3.4-9], [MQTT-3.3.1-1]).
    fn take_into_flight(&mut self, client: usize, publish: &Publish<'_>) {
        let limit = self.clients[client].inflight_limit(self.plan.core.max_inflight_messages);
        let me = &mut self.clients[client];
        let (packet_id, qos) = (publish.packet_id, publish.qos);
        let id = id_of(publish.payload).unwrap_or(u32::MAX);
        assert!(me.open.insert(packet_id), "client {client}: {packet_id} sent twice at once");
        assert!(
            me.open.len() <= limit,
            "client {client}: {} in flight, {limit} allowed",
            me.open.len()
        );
        if let Some(before) = me.inflight.insert(packet_id, (id, qos)) {
            assert!(publish.dup, "client {client}: {packet_id} used anew, was {before:?}");
            assert_eq!(before, (id, qos), "client {client}: {packet_id} is another message");
        }
        me.used.insert(packet_id);
        let kind = match qos {
            QoS::ExactlyOnce => {
                me.held.insert(packet_id);
                PacketKind::Pubrec
            }
            _ => PacketKind::Puback,
        };
        me.acks.push_back((kind, packet_id));
    }

    fn pubrel(&mut self, client: usize, ack: &Ack<'_>) {
        let me = &mut self.clients[client];
        let known = me.used.contains(&ack.packet_id);
        assert!(known, "client {client}: PUBREL {} out of nowhere", ack.packet_id);
        me.held.remove(&ack.packet_id);
        me.acks.push_back((PacketKind::Pubcomp, ack.packet_id));
    }
}
