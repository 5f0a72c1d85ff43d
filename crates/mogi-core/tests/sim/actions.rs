//! What clients do of their own accord.

use crate::broker::Conn;
use crate::client::{Ask, Flow, Known, Life, Phase};
use crate::message::{Published, payload};
use crate::monitor::{Monitor, brief};
use crate::oracle::{OPEN, Retaining, Sub};
use crate::trace::note;
use crate::wills::Will;
use crate::world::World;
use mogi_codec::{
    Ack, Connect, Disconnect, Packet, PacketKind, Properties, PropertyBuf, PropertyId, Publish,
    QoS, Reason, RetainHandling, Subscribe, SubscribeFilter, SubscribeOptions, Unsubscribe,
    Version,
};

/// QoS 1 and 2 messages a 3.x client has on their way at the most.
const FLOWS_MAX: usize = 60;

impl World {
    /// Some client does something.
    pub(crate) fn act(&mut self) {
        let client = 1 + self.rng.below(self.plan.clients);
        match self.clients[client].phase {
            Phase::Off => self.connect(client),
            // It need not wait for its CONNACK (section 3.1.4), but is careful not to depend on
            // what it does not know yet.
            Phase::Greeting if self.clients[client].promise == Some(false) => {
                if self.rng.percent(30) {
                    self.publish(client, Some(QoS::AtMostOnce));
                }
            }
            Phase::Greeting => {}
            Phase::On => match self.rng.weighted(&[50, 10, 4, 3, 3, 40]) {
                0 => self.publish(client, None),
                1 => self.subscribe(client),
                2 => self.unsubscribe(client),
                3 => self.ping(client),
                4 => self.say_goodbye(client),
                _ => {
                    let most = self.rng.range(1, 10);
                    self.send_acks(client, most);
                }
            },
        }
    }

    pub(crate) fn connect(&mut self, client: usize) {
        let life = self.clients[client].life;
        let me = &mut self.clients[client];
        let v5 = me.version.is_v5();
        let clean = match life {
            Life::Clean => !v5 || self.rng.percent(60),
            _ => self.rng.percent(4),
        } || me.must_clean;
        let expiry_s = match life {
            Life::Clean => 0,
            _ if !v5 && clean => 0,
            _ if v5 && self.rng.percent(5) => 0,
            Life::Timed(seconds) => seconds,
            Life::Lasting => u32::MAX,
        };
        self.connect_as(client, clean, expiry_s, self.plan.wills);
    }

    pub(crate) fn connect_as(&mut self, client: usize, clean: bool, expiry_s: u32, wills: bool) {
        // An earlier CONNECT that came in after this one would leave the client with a session it
        // knows nothing of: what is right then is for nobody here to say.
        self.broker.forget_unopened(client);
        let token = self.next_token;
        self.next_token += 1;
        let will = (wills && client > 0 && self.rng.percent(60)).then(|| self.make_will(client));
        let me = &mut self.clients[client];
        me.promise = match (clean, me.known) {
            (true, _) | (false, Known::No) => Some(false),
            (false, Known::Yes) => Some(true),
            (false, Known::Maybe) => None,
        };
        // Should this CONNECT's answer be lost, it may have made a session the client would take for
        // its old one.
        me.must_clean = !matches!(
            (clean, expiry_s, me.known),
            (false, _, Known::Yes) | (false, 0, Known::No)
        );
        me.known = match (clean, expiry_s, me.known) {
            (true, ..) => Known::Maybe,
            (false, 0, Known::Yes) => Known::Maybe,
            (false, 1.., Known::No) => Known::Maybe,
            (_, _, known) => known,
        };
        // 3.1 has no session present, so what is uncertain must not be asked for.
        me.must_clean |= me.version == Version::V31 && me.known == Known::Maybe;
        me.token = Some(token);
        me.phase = Phase::Greeting;
        me.expiry_s = expiry_s;
        let bytes = self.connect_packet(client, clean, will.as_ref());
        let me = &self.clients[client];
        let narrow = !self.calm && !me.steady && self.rng.percent(self.plan.narrow);
        let room = if narrow {
            self.rng.range(1, 300)
        } else {
            usize::MAX
        };
        let mut conn = Conn::new(client, clean, room);
        conn.send(&bytes);
        self.broker.conns.insert(token, conn);
        let version = self.clients[client].version;
        note(|| {
            let what = if clean { "clean" } else { "resume" };
            format!(
                "client {client}: CONNECT {token} {version:?} {what} expiry {expiry_s} {will:?}"
            )
        });
        self.monitors
            .insert(token, Monitor::new(client, version, expiry_s));
        self.wills.begun(token, client, clean, expiry_s, will);
        if clean {
            self.oracle.end_session(client);
        }
        if expiry_s == 0 {
            self.oracle.subjects[client].lasting = false;
        }
    }

    fn connect_packet(&mut self, client: usize, clean: bool, will: Option<&Will>) -> Vec<u8> {
        let me = &self.clients[client];
        let mut properties = PropertyBuf::new();
        let mut will_properties = PropertyBuf::new();
        if me.version.is_v5() {
            if me.expiry_s > 0 {
                properties.int(PropertyId::SessionExpiryInterval, me.expiry_s);
            }
            if let Some(maximum) = me.receive_maximum {
                properties.int(PropertyId::ReceiveMaximum, u32::from(maximum));
            }
            if let Some(limit) = me.packet_limit {
                properties.int(PropertyId::MaximumPacketSize, limit as u32);
            }
            if me.alias_maximum > 0 {
                let maximum = u32::from(me.alias_maximum);
                properties.int(PropertyId::TopicAliasMaximum, maximum);
            }
            if let Some(will) = will.filter(|will| will.delay_s > 0) {
                will_properties.int(PropertyId::WillDelayInterval, will.delay_s);
            }
        }
        let message = will.map(|will| self.oracle.messages[will.message as usize].clone());
        let content = message
            .as_ref()
            .map(|message| payload(message.id, message.len));
        let will = message.as_ref().zip(content.as_ref());
        let mut bytes = Vec::new();
        Connect {
            version: me.version,
            bridge: false,
            clean_start: clean,
            keep_alive_s: me.keep_alive_s,
            properties: properties.as_properties(),
            client_id: &me.name,
            will: will.map(|(message, content)| mogi_codec::Will {
                qos: message.qos,
                retain: message.retain,
                properties: will_properties.as_properties(),
                topic: &message.topic,
                payload: content,
            }),
            username: None,
            password: None,
        }
        .encode(&mut bytes);
        bytes
    }

    fn make_will(&mut self, client: usize) -> Will {
        let v5 = self.clients[client].version.is_v5();
        let delay_s = if v5 && self.rng.percent(50) {
            self.rng.range(1, 10) as u32
        } else {
            0
        };
        let message = self.new_message(client, format!("w/{client}"), None);
        let message = &mut self.oracle.messages[message as usize];
        message.will = true;
        message.sends = 1;
        message.property = false;
        message.expiry_s = None;
        message.len = message.len.clamp(4, 1000);
        let message = message.id;
        Will { message, delay_s }
    }

    fn new_message(&mut self, client: usize, topic: String, qos: Option<QoS>) -> u32 {
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
            acked_at: None,
            will: false,
        });
        id
    }

    fn publish(&mut self, client: usize, qos: Option<QoS>) {
        let me = &self.clients[client];
        let most = match me.version {
            Version::V5 => me.broker_receive_maximum,
            _ => FLOWS_MAX,
        };
        let qos = if me.flows.len() >= most {
            Some(QoS::AtMostOnce)
        } else {
            qos
        };
        let topic = match self.rng.below(10) {
            at if at < self.plan.groups => format!("g/{}", self.rng.below(2)),
            0..=7 => format!("t/{}", self.rng.below(3)),
            _ => format!("r/{client}/{}", self.rng.below(2)),
        };
        let id = self.new_message(client, topic, qos);
        let message = &self.oracle.messages[id as usize];
        let (qos, retain) = (message.qos, message.retain);
        let packet_id = if qos == QoS::AtMostOnce {
            0
        } else {
            self.clients[client].free_id()
        };
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
            let known = me
                .aliases_out
                .iter()
                .position(|other| *other == message.topic);
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
            let one = Retaining {
                message: id,
                token,
                dup,
                settled,
            };
            self.oracle
                .retaining
                .entry(message.topic.clone())
                .or_default()
                .push(one);
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

    fn subscribe(&mut self, client: usize) {
        let count = self.rng.range(1, 3);
        let mut filters: Vec<(String, SubscribeOptions)> = Vec::new();
        for _ in 0..count {
            let (filter, options) = self.random_filter(client);
            if filters.iter().all(|(other, _)| *other != filter) {
                filters.push((filter, options));
            }
        }
        self.subscribe_to(client, &filters);
    }

    fn random_filter(&mut self, client: usize) -> (String, SubscribeOptions) {
        let rng = &mut self.rng;
        let me = &self.clients[client];
        let v5 = me.version.is_v5();
        if let Some(group) = me.group
            && rng.percent(40)
        {
            // One QoS for a group, so that it is known what becomes of unacknowledged messages.
            let qos = if group == 0 {
                QoS::AtLeastOnce
            } else {
                QoS::ExactlyOnce
            };
            let options = SubscribeOptions {
                qos,
                ..Default::default()
            };
            return (format!("$share/s{group}/g/+"), options);
        }
        let own = rng.range(1, self.plan.clients);
        let mut choices = vec![
            "t/0".to_owned(),
            "t/1".to_owned(),
            "t/+".to_owned(),
            "t/#".to_owned(),
            format!("r/{own}/0"),
            "r/+/1".to_owned(),
            "r/#".to_owned(),
            "w/+".to_owned(),
        ];
        if me.group.is_none() {
            choices.extend(["#".to_owned(), "+/0".to_owned()]);
        }
        let filter = rng.pick(&choices).clone();
        let mut options = SubscribeOptions {
            qos: *rng.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
            ..Default::default()
        };
        if v5 {
            options.no_local = rng.percent(20);
            options.retain_as_published = rng.percent(30);
            options.retain_handling = *rng.pick(&[
                RetainHandling::Send,
                RetainHandling::SendIfNew,
                RetainHandling::DoNotSend,
            ]);
        }
        (filter, options)
    }

    pub(crate) fn subscribe_to(&mut self, client: usize, filters: &[(String, SubscribeOptions)]) {
        let now = self.oracle.tick();
        let me = &mut self.clients[client];
        let (version, token) = (me.version, me.token.expect("connected"));
        let packet_id = me.free_id();
        let mut properties = PropertyBuf::new();
        let id = (version.is_v5() && self.rng.percent(50)).then_some(now as u32 + 1);
        if let Some(id) = id {
            properties.int(PropertyId::SubscriptionIdentifier, id);
        }
        let subject = &mut self.oracle.subjects[client];
        for (filter, options) in filters {
            for sub in subject.subs.iter_mut().filter(|sub| sub.filter == *filter) {
                sub.sure_until = sub.sure_until.min(now);
            }
            if filter.starts_with("$share/") {
                let members = self.oracle.members_ever.entry(filter.clone());
                members.or_default().insert(client);
            }
            subject.subs.push(Sub {
                filter: filter.clone(),
                options: *options,
                id,
                asked_at: now,
                acked_at: None,
                sure_until: OPEN,
                maybe_until: OPEN,
                token,
            });
        }
        let ask = Ask::Subscribe(filters.to_vec(), now);
        self.ask(client, packet_id, ask);
        let wanted: Vec<SubscribeFilter<'_>> = filters
            .iter()
            .map(|(filter, options)| SubscribeFilter {
                filter,
                options: *options,
            })
            .collect();
        let mut bytes = Vec::new();
        Subscribe::encode(
            version,
            packet_id,
            properties.as_properties(),
            &wanted,
            &mut bytes,
        );
        self.send_bytes(client, &bytes);
        note(|| format!("client {client}: SUBSCRIBE {packet_id} id {id:?} {filters:?}"));
    }

    fn ask(&mut self, client: usize, packet_id: u16, ask: Ask) {
        let me = &mut self.clients[client];
        let monitor = self
            .monitors
            .get_mut(&me.token.expect("connected"))
            .expect("watched");
        monitor.asks.insert(packet_id, ask.clone());
        me.asks.insert(packet_id, ask);
    }

    fn unsubscribe(&mut self, client: usize) {
        let subs = &self.oracle.subjects[client].subs;
        if subs.is_empty() {
            return;
        }
        let filter = self.rng.pick(subs).filter.clone();
        let now = self.oracle.tick();
        for sub in &mut self.oracle.subjects[client].subs {
            if sub.filter == filter {
                sub.sure_until = sub.sure_until.min(now);
            }
        }
        let packet_id = self.clients[client].free_id();
        self.ask(
            client,
            packet_id,
            Ask::Unsubscribe(vec![filter.clone()], now),
        );
        let version = self.clients[client].version;
        let mut bytes = Vec::new();
        let properties = Properties::default();
        Unsubscribe::encode(version, packet_id, properties, &[&filter], &mut bytes);
        self.send_bytes(client, &bytes);
        note(|| format!("client {client}: UNSUBSCRIBE {packet_id} {filter}"));
    }

    pub(crate) fn ping(&mut self, client: usize) {
        let me = &mut self.clients[client];
        let covered = std::mem::take(&mut me.unconfirmed);
        me.pings.push_back(covered);
        self.send_packet(client, &Packet::Pingreq);
    }

    /// DISCONNECT, with or without the will, now and then with another session expiry.
    fn say_goodbye(&mut self, client: usize) {
        let me = &self.clients[client];
        let (v5, token) = (me.version.is_v5(), me.token.expect("connected"));
        let mut properties = PropertyBuf::new();
        let mut reason = Reason::Success;
        if v5 && self.rng.percent(40) {
            reason = Reason::DisconnectWithWill;
        }
        if v5 && me.expiry_s > 0 && self.rng.percent(20) {
            properties.int(PropertyId::SessionExpiryInterval, 0);
            self.clients[client].expiry_s = 0;
            self.clients[client].known = Known::Maybe;
            self.oracle.subjects[client].lasting = false;
        }
        let ends = !properties.as_properties().is_empty();
        let disconnect = Disconnect {
            reason,
            properties: properties.as_properties(),
        };
        self.send_packet(client, &Packet::Disconnect(disconnect));
        if let Some(conn) = self.broker.conns.get_mut(&token) {
            conn.goodbye = Some((conn.sent, reason as u8));
            conn.ends_session = ends;
            conn.up_closed = true;
            conn.cut = true;
            conn.down.clear();
            conn.down_closed = true;
        }
        match self.clients[client].expiry_s {
            0 => self.oracle.end_session(client),
            u32::MAX => {}
            _ => self.oracle.subjects[client].ending = true,
        }
        self.clients[client].reset_connection();
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

    /// Ends a connection in the ordinary way.
    pub(crate) fn disconnect(&mut self, client: usize) {
        let token = self.clients[client].token.expect("connected");
        let (reason, properties) = (Reason::Success, Properties::default());
        self.send_packet(
            client,
            &Packet::Disconnect(Disconnect { reason, properties }),
        );
        if let Some(conn) = self.broker.conns.get_mut(&token) {
            conn.goodbye = Some((conn.sent, 0));
            conn.up_closed = true;
        }
    }

    /// Sends up to `most` acknowledgements, in the order their packets came ([MQTT-4.6.0-2]).
    pub(crate) fn send_acks(&mut self, client: usize, most: usize) -> bool {
        let mut sent = false;
        for _ in 0..most {
            let me = &mut self.clients[client];
            if me.phase != Phase::On {
                break;
            }
            let Some((kind, packet_id)) = me.acks.pop_front() else {
                break;
            };
            sent = true;
            if matches!(kind, PacketKind::Puback | PacketKind::Pubcomp) {
                me.inflight.remove(&packet_id);
                me.open.remove(&packet_id);
            }
            let ack = Ack::new(packet_id, Reason::Success);
            let packet = match kind {
                PacketKind::Puback => Packet::Puback(ack),
                PacketKind::Pubrec => Packet::Pubrec(ack),
                PacketKind::Pubrel => Packet::Pubrel(ack),
                _ => Packet::Pubcomp(ack),
            };
            self.send_packet(client, &packet);
        }
        sent
    }

    pub(crate) fn send_packet(&mut self, client: usize, packet: &Packet<'_>) {
        let version = self.clients[client].version;
        let mut bytes = Vec::new();
        match packet {
            Packet::Publish(publish) => publish.encode(version, &mut bytes),
            Packet::Puback(ack) => ack.encode(version, PacketKind::Puback, &mut bytes),
            Packet::Pubrec(ack) => ack.encode(version, PacketKind::Pubrec, &mut bytes),
            Packet::Pubrel(ack) => ack.encode(version, PacketKind::Pubrel, &mut bytes),
            Packet::Pubcomp(ack) => ack.encode(version, PacketKind::Pubcomp, &mut bytes),
            Packet::Disconnect(disconnect) => disconnect.encode(version, &mut bytes),
            Packet::Pingreq => bytes.extend([(PacketKind::Pingreq as u8) << 4, 0]),
            other => unreachable!("clients do not send {other:?}"),
        }
        note(|| format!("client {client}: {}", brief(packet)));
        self.send_bytes(client, &bytes);
    }

    fn send_bytes(&mut self, client: usize, bytes: &[u8]) {
        let token = self.clients[client].token.expect("connected");
        if let Some(conn) = self.broker.conns.get_mut(&token)
            && !conn.up_closed
        {
            conn.send(bytes);
        }
    }
}
