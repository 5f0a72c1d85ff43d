//! Packets between clients and nodes, as clients send and judge them.

use crate::client::{Flow, Phase, Question};
use crate::conn::Conn;
use crate::message::{Published, id_of, payload};
use crate::oracle::{OPEN, Sub};
use crate::trace::note;
use crate::world::World;
use mogi_codec::{
    Ack, Connack, Connect, Disconnect, Packet, PacketKind, Properties, PropertyBuf, PropertyId,
    Publish, QoS, Reason, Suback, Subscribe, SubscribeFilter, SubscribeOptions, Unsubscribe,
};

impl World {
    /// Connects a client to a site, whatever it had before.
    pub(crate) fn connect(&mut self, client: usize, site: usize, clean: bool) {
        self.let_go(client);
        self.oracle.begin_connection(client);
        let token = self.next_token;
        self.next_token += 1;
        let me = &mut self.clients[client];
        let clean = clean || !me.lasting || me.must_clean;
        if clean {
            me.must_clean = me.lasting;
            me.known = false;
            me.held.clear();
            self.oracle.end_session(client);
        }
        let me = &mut self.clients[client];
        (me.site, me.token, me.phase) = (site, Some(token), Phase::Greeting);
        let will = self.make_will(client, token);
        let me = &self.clients[client];
        let mut properties = PropertyBuf::new();
        if me.version.is_v5() && me.lasting {
            properties.int(PropertyId::SessionExpiryInterval, me.expiry_s);
        }
        let content = will.map(payload);
        let message = will.map(|id| self.oracle.messages[id as usize].clone());
        let mut bytes = Vec::new();
        Connect {
            version: me.version,
            bridge: false,
            clean_start: if me.version.is_v5() || !me.lasting { clean } else { false },
            keep_alive_s: 0,
            properties: properties.as_properties(),
            client_id: &me.name,
            will: message.as_ref().zip(content.as_ref()).map(|(message, content)| {
                mogi_codec::Will {
                    qos: message.qos,
                    retain: false,
                    properties: Properties::default(),
                    topic: &message.topic,
                    payload: content,
                }
            }),
            username: None,
            password: None,
        }
        .encode(&mut bytes);
        note(|| format!("client {client}: CONNECT {token} to {site}, clean {clean}, {will:?}"));
        let mut conn = Conn::new(client);
        conn.up.push_back(bytes);
        self.sites[site].conns.insert(token, conn);
    }

    /// The client gives up its connection; what it sent may still arrive.
    pub(crate) fn let_go(&mut self, client: usize) {
        let Some(token) = self.clients[client].token else { return };
        note(|| format!("client {client}: lets go of {token}"));
        let cut = self.rng.percent(50);
        if let Some(conn) = self.sites[self.clients[client].site].conns.get_mut(&token) {
            if conn.place.is_none() {
                // A CONNECT that comes in after the next one would take over from it.
                conn.up.clear();
                conn.ended |= !conn.at_door;
            } else if cut {
                let keep = self.rng.below(conn.up.len() + 1);
                conn.up.truncate(keep);
            }
            conn.up_closed = true;
        }
        self.left(client, token, false);
    }

    /// The client is off.
    fn left(&mut self, client: usize, token: u32, goodbye: bool) {
        self.wills.left(token, goodbye);
        let me = &mut self.clients[client];
        me.reset_connection();
        if !me.lasting {
            me.held.clear();
            me.flows.clear();
            self.oracle.end_session(client);
        }
    }

    pub(crate) fn send(&mut self, client: usize, bytes: Vec<u8>) {
        let (site, token) = (self.clients[client].site, self.clients[client].token);
        let conn = token.and_then(|token| self.sites[site].conns.get_mut(&token));
        if let Some(conn) = conn {
            conn.up.push_back(bytes);
        }
    }

    pub(crate) fn disconnect(&mut self, client: usize) {
        let Some(token) = self.clients[client].token else { return };
        let mut bytes = Vec::new();
        let version = self.clients[client].version;
        Disconnect { reason: Reason::Success, properties: Properties::default() }
            .encode(version, &mut bytes);
        self.send(client, bytes);
        note(|| format!("client {client}: DISCONNECT {token}"));
        if let Some(conn) = self.sites[self.clients[client].site].conns.get_mut(&token) {
            conn.up_closed = true;
        }
        self.left(client, token, true);
    }

    pub(crate) fn publish(&mut self, client: usize, topic: &str, qos: QoS, empty: bool) -> u32 {
        let id = self.oracle.messages.len() as u32;
        let (retain, sent_at) = (topic.starts_with("r/"), self.oracle.tick());
        let token = self.clients[client].token.unwrap_or(0);
        self.oracle.messages.push(Published {
            id,
            topic: topic.to_owned(),
            qos,
            retain,
            empty: empty && retain,
            sent_at,
            sends: 0,
            token,
            acked_at: None,
            will: false,
            brief: !self.clients[client].lasting,
        });
        let packet_id = match qos {
            QoS::AtMostOnce => 0,
            _ => self.clients[client].free_id(),
        };
        if qos != QoS::AtMostOnce {
            let flow = Flow { packet_id, message: id, qos, released: false };
            self.clients[client].flows.push_back(flow);
        }
        self.send_publish(client, id, packet_id, false);
        id
    }

    fn send_publish(&mut self, client: usize, id: u32, packet_id: u16, dup: bool) {
        let message = &mut self.oracle.messages[id as usize];
        message.sends += 1;
        let message = message.clone();
        if message.retain {
            let all = self.oracle.retaining.entry(message.topic.clone()).or_default();
            all.push((id, false));
        }
        let content = if message.empty { Vec::new() } else { payload(id) };
        let mut bytes = Vec::new();
        Publish {
            dup,
            qos: message.qos,
            retain: message.retain,
            topic: &message.topic,
            packet_id,
            properties: Properties::default(),
            payload: &content,
        }
        .encode(self.clients[client].version, &mut bytes);
        note(|| format!("client {client}: PUBLISH {packet_id} {} {id} dup {dup}", message.topic));
        self.send(client, bytes);
    }

    /// Subscribes to filters, or cancels subscriptions where no QoS is given.
    pub(crate) fn ask(&mut self, client: usize, filters: &[(String, Option<QoS>)]) {
        let at = self.oracle.tick();
        let packet_id = self.clients[client].free_id();
        let version = self.clients[client].version;
        let mut bytes = Vec::new();
        let subject = &mut self.oracle.subjects[client];
        let named = |sub: &Sub| filters.iter().any(|(filter, _)| *filter == sub.filter);
        for sub in subject.subs.iter_mut().filter(|sub| named(sub)) {
            sub.sure_until = sub.sure_until.min(at);
        }
        if filters.iter().all(|(_, qos)| qos.is_some()) {
            let wanted = |(filter, qos): &'_ (String, Option<QoS>)| Sub {
                filter: filter.clone(),
                qos: qos.unwrap_or_default(),
                asked_at: at,
                acked_at: None,
                sure_until: OPEN,
            };
            subject.ever.extend(filters.iter().map(|(filter, _)| filter.clone()));
            subject.subs.extend(filters.iter().map(wanted));
            let options = |qos: Option<QoS>| SubscribeOptions {
                qos: qos.unwrap_or_default(),
                ..SubscribeOptions::default()
            };
            let filters: Vec<SubscribeFilter<'_>> = filters
                .iter()
                .map(|(filter, qos)| SubscribeFilter { filter, options: options(*qos) })
                .collect();
            Subscribe::encode(version, packet_id, Properties::default(), &filters, &mut bytes);
        } else {
            let filters: Vec<&str> = filters.iter().map(|(filter, _)| &**filter).collect();
            Unsubscribe::encode(version, packet_id, Properties::default(), &filters, &mut bytes);
        }
        note(|| format!("client {client}: asks {packet_id} {filters:?}"));
        let question = Question { filters: filters.to_vec(), at };
        self.clients[client].questions.insert(packet_id, question);
        self.send(client, bytes);
    }

    /// Delivers what is on its way to a client; whether there was anything.
    pub(crate) fn read(&mut self, site: usize, token: u32) -> bool {
        let Some(conn) = self.sites[site].conns.get_mut(&token) else { return false };
        let (client, bytes) = (conn.client, std::mem::take(&mut conn.down));
        let finished = conn.down_closed;
        if finished && conn.ended && !conn.at_door {
            self.sites[site].conns.remove(&token);
        }
        if self.clients[client].token != Some(token) {
            return !bytes.is_empty();
        }
        let me = &mut self.clients[client];
        me.rx.extend(&bytes);
        let (buffer, version) = (std::mem::take(&mut me.rx), me.version);
        let mut at = 0;
        while self.clients[client].token == Some(token)
            && let Some((packet, len)) =
                Packet::parse(version, &buffer[at..]).expect("nodes send good packets")
        {
            self.oracle.tick();
            self.arrives(client, &packet);
            at += len;
        }
        if self.clients[client].token == Some(token) {
            self.clients[client].rx = buffer[at..].to_vec();
            if finished {
                self.let_go(client);
            }
        }
        !bytes.is_empty()
    }

    fn arrives(&mut self, client: usize, packet: &Packet<'_>) {
        note(|| format!("client {client}: gets {}", brief(packet)));
        match packet {
            Packet::Connack(connack) => self.connack(client, connack),
            Packet::Publish(publish) => self.publish_arrives(client, publish),
            Packet::Puback(ack) => self.arrived(client, ack.packet_id, true),
            Packet::Pubrec(ack) => {
                self.arrived(client, ack.packet_id, false);
                self.clients[client].acks.push_back((PacketKind::Pubrel, ack.packet_id));
            }
            Packet::Pubrel(ack) => {
                self.clients[client].held.remove(&ack.packet_id);
                self.clients[client].acks.push_back((PacketKind::Pubcomp, ack.packet_id));
            }
            Packet::Pubcomp(ack) => {
                self.clients[client].flows.retain(|flow| flow.packet_id != ack.packet_id);
            }
            Packet::Suback(suback) => self.suback(client, suback),
            Packet::Unsuback(unsuback) => {
                self.clients[client].questions.remove(&unsuback.packet_id);
            }
            Packet::Disconnect(_) => {}
            other => panic!("client {client} gets {other:?}"),
        }
    }

    fn connack(&mut self, client: usize, connack: &Connack<'_>) {
        let me = &mut self.clients[client];
        assert_eq!((me.phase, connack.code), (Phase::Greeting, 0), "CONNACK for {client}");
        me.phase = Phase::On;
        let token = me.token.unwrap_or(0);
        let present = connack.session_present;
        if me.known {
            assert!(present || self.plan.expiry, "the session of client {client} is forgotten");
        }
        self.wills.greeted(token);
        let me = &mut self.clients[client];
        me.must_clean = false;
        me.known = me.lasting;
        if !present {
            me.held.clear();
            me.flows.retain(|flow| flow.qos == QoS::AtLeastOnce);
            self.oracle.end_session(client);
        }
        let flows: Vec<Flow> = self.clients[client].flows.iter().cloned().collect();
        for flow in flows {
            if flow.released {
                self.send_ack(client, PacketKind::Pubrel, flow.packet_id);
            } else {
                self.send_publish(client, flow.message, flow.packet_id, present);
            }
        }
    }

    /// The nodes have taken a message.
    fn arrived(&mut self, client: usize, packet_id: u16, over: bool) {
        let me = &mut self.clients[client];
        let at = me.flows.iter().position(|flow| flow.packet_id == packet_id);
        let at = at.unwrap_or_else(|| panic!("client {client}: {packet_id} answers nothing"));
        let message = me.flows[at].message;
        match over {
            true => drop(me.flows.remove(at)),
            false => me.flows[at].released = true,
        }
        let now = self.oracle.tick();
        let message = &mut self.oracle.messages[message as usize];
        message.acked_at.get_or_insert(now);
        let (id, all) = (message.id, self.oracle.retaining.get_mut(&message.topic));
        let last = all.and_then(|all| all.iter_mut().rev().find(|(other, _)| *other == id));
        // Which of several of QoS 2 was the one is not known.
        if let Some((_, settled)) = last
            && (message.qos == QoS::AtLeastOnce || message.sends == 1)
        {
            *settled = true;
        }
    }

    fn suback(&mut self, client: usize, suback: &Suback<'_>) {
        let question = self.clients[client].questions.remove(&suback.packet_id);
        let question = question.unwrap_or_else(|| panic!("client {client}: SUBACK for nothing"));
        let granted = question.filters.iter().map(|(_, qos)| qos.map_or(0x80, |qos| qos as u8));
        assert!(suback.codes.iter().copied().eq(granted), "SUBACK for client {client}");
        let now = self.oracle.tick();
        for sub in &mut self.oracle.subjects[client].subs {
            if sub.asked_at == question.at {
                sub.acked_at.get_or_insert(now);
            }
        }
    }

    fn publish_arrives(&mut self, client: usize, publish: &Publish<'_>) {
        let me = &mut self.clients[client];
        let fresh = match publish.qos {
            QoS::AtMostOnce => true,
            QoS::AtLeastOnce => {
                me.acks.push_back((PacketKind::Puback, publish.packet_id));
                true
            }
            QoS::ExactlyOnce => {
                me.acks.push_back((PacketKind::Pubrec, publish.packet_id));
                me.held.insert(publish.packet_id)
            }
        };
        let id = id_of(publish.payload);
        if let Some(id) = id.filter(|_| fresh) {
            let how = (publish.dup, publish.retain);
            self.oracle.delivered(client, id, publish.topic, publish.qos, how);
        }
    }

    /// Sends the oldest acknowledgement; whether there was one.
    pub(crate) fn acknowledge(&mut self, client: usize) -> bool {
        let Some((kind, packet_id)) = self.clients[client].acks.pop_front() else {
            return false;
        };
        self.send_ack(client, kind, packet_id);
        true
    }

    fn send_ack(&mut self, client: usize, kind: PacketKind, packet_id: u16) {
        let mut bytes = Vec::new();
        let version = self.clients[client].version;
        Ack::new(packet_id, Reason::Success).encode(version, kind, &mut bytes);
        self.send(client, bytes);
    }

    /// A random version's connection in whatever state.
    pub(crate) fn is_on(&self, client: usize) -> bool {
        self.clients[client].phase == Phase::On
    }
}

/// A packet in few words.
fn brief(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(publish) => format!(
            "PUBLISH {} '{}' {:?} message {:?}{}{}",
            publish.packet_id,
            publish.topic,
            publish.qos,
            id_of(publish.payload),
            if publish.dup { " dup" } else { "" },
            if publish.retain { " retain" } else { "" },
        ),
        Packet::Connack(connack) => format!("CONNACK present {}", connack.session_present),
        Packet::Puback(ack) => format!("PUBACK {}", ack.packet_id),
        Packet::Pubrec(ack) => format!("PUBREC {}", ack.packet_id),
        Packet::Pubrel(ack) => format!("PUBREL {}", ack.packet_id),
        Packet::Pubcomp(ack) => format!("PUBCOMP {}", ack.packet_id),
        other => format!("{other:?}"),
    }
}
