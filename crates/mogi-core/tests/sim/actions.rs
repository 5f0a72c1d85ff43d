//! What clients do of their own accord.

use crate::client::{Ask, Phase};
use crate::monitor::brief;
use crate::oracle::{OPEN, Sub};
use crate::trace::note;
use crate::world::World;
use mogi_codec::{
    Ack, Packet, PacketKind, Properties, PropertyBuf, PropertyId, QoS, Reason, RetainHandling,
    Subscribe, SubscribeFilter, SubscribeOptions, Unsubscribe,
};

impl World {
    /// Some client does something.
    pub(crate) fn act(&mut self) {
        let client = 1 + self.rng.below(self.plan.clients);
        match self.clients[client].phase {
            Phase::Off if self.broker.now_ms < self.clients[client].away_until_ms => {}
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
            let qos = if group == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            let options = SubscribeOptions { qos, ..Default::default() };
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
        let packet_id = me.free_id(&mut self.rng);
        let mut properties = PropertyBuf::new();
        let id = (version.is_v5() && self.rng.percent(50)).then_some(now as u32 + 1);
        if let Some(id) = id {
            properties.int(PropertyId::SubscriptionIdentifier, id);
        }
        let subject = &mut self.oracle.subjects[client];
        let mut made = Vec::new();
        for (filter, options) in filters {
            for sub in subject.subs.iter_mut().filter(|sub| sub.filter == *filter) {
                sub.sure_until = sub.sure_until.min(now);
            }
            if filter.starts_with("$share/") {
                let members = self.oracle.members_ever.entry(filter.clone());
                members.or_default().insert(client);
            }
            let sub = Sub {
                filter: filter.clone(),
                options: *options,
                id,
                asked_at: now,
                acked_at: None,
                sure_until: OPEN,
                maybe_until: OPEN,
                token,
            };
            subject.subs.push(sub.clone());
            made.push(sub);
        }
        for sub in made {
            self.oracle.owe_retained(client, &sub);
        }
        let ask = Ask::Subscribe(filters.to_vec(), now);
        self.ask(client, packet_id, ask);
        let wanted: Vec<SubscribeFilter<'_>> = filters
            .iter()
            .map(|(filter, options)| SubscribeFilter { filter, options: *options })
            .collect();
        let mut bytes = Vec::new();
        Subscribe::encode(version, packet_id, properties.as_properties(), &wanted, &mut bytes);
        self.send_bytes(client, &bytes);
        note(|| format!("client {client}: SUBSCRIBE {packet_id} id {id:?} {filters:?}"));
    }

    pub(crate) fn ask(&mut self, client: usize, packet_id: u16, ask: Ask) {
        let me = &mut self.clients[client];
        let monitor = self.monitors.get_mut(&me.token.expect("connected")).expect("watched");
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
        let packet_id = self.clients[client].free_id(&mut self.rng);
        self.ask(client, packet_id, Ask::Unsubscribe(vec![filter.clone()], now));
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

    pub(crate) fn send_bytes(&mut self, client: usize, bytes: &[u8]) {
        let token = self.clients[client].token.expect("connected");
        if let Some(conn) = self.broker.conns.get_mut(&token)
            && !conn.up_closed
        {
            conn.send(bytes);
        }
    }
}
