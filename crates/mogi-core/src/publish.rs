//! A PUBLISH comes in: judged, retained, routed, acknowledged (sections 3.3, 4.3).

use crate::authority::{Access, source_of};
use crate::client::{Way, enqueue};
use crate::cluster::NOWHERE;
use crate::deferred::Deferring;
use crate::end::Ending;
use crate::event::LogKind;
use crate::handshake::too_deep;
use crate::interest::{LOCAL, Lasting, bit};
use crate::memory::Memory;
use crate::message::{Frame, MessageView, NEVER, forwardable, put_forwarded};
use crate::peer::{Entries, Outbox, PeerEntry};
use crate::receive::wants_reasons;
use crate::retain::{retain, retain_later};
use crate::shared::Through;
use crate::store::{Cause, SessionNo, StoreOp, StoredWaiting};
use crate::turn::SharedCopy;
use crate::worker::Worker;
use mogi_codec::reader::checked_str;
use mogi_codec::{
    Ack, DecodeError, Header, PacketKind, Properties, PropertyBuf, PropertyId, QoS, RawPublish,
    Reason, Version,
};
use std::sync::Arc;

type Outcome = Result<(), Ending>;

/// Where a PUBLISH's topic comes from.
enum Topic<'a> {
    /// The packet's bytes.
    Packet(&'a [u8]),
    /// A topic alias, or the packet's with the mount point before it.
    Owned(Arc<str>),
}

impl Worker {
    /// A PUBLISH of a connected client.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        key: u32,
        version: Version,
        header: Header,
        packet: &[u8],
        interest_version: u64,
    ) -> Outcome {
        let publish = RawPublish::decode(version, header, &packet[header.header_len..])
            .map_err(Ending::Broken)?;
        let stats = &mut self.turn.stats;
        stats.publish_received += 1;
        stats.publish_bytes_received += publish.payload.len() as u64;
        self.check_flags(key, &publish)?;
        let topic = self.topic_of(key, &publish)?;
        let (topic, renamed) = match &topic {
            Topic::Packet(bytes) => (*bytes, false),
            Topic::Owned(text) => (text.as_bytes(), true),
        };
        if let Some((reason, why)) = self.refusal(key, topic, &publish) {
            publish.checked().map_err(Ending::Broken)?;
            self.refuse(key, &publish, topic, reason, why);
            return Ok(());
        }
        if topic[0] == b'$' && topic.starts_with(b"$CONTROL/") {
            publish.checked().map_err(Ending::Broken)?;
            return self.take_request(key, &publish, topic);
        }
        if self.turn.memory == Memory::Full && self.needs_memory(key, &publish) {
            return self.refuse_for_memory(key, version, &publish, topic);
        }
        let route = match self.routing.find(topic, interest_version) {
            Some(route) => route,
            None => self.meet_topic(&publish, topic, renamed, interest_version)?,
        };
        if self.turn.logs(LogKind::Debug) {
            self.log_received(key, &publish, topic);
        }
        let first = self.turn.ops.len();
        if publish.qos == QoS::ExactlyOnce && !self.take_id(key, &publish)? {
            return Ok(());
        }
        let aliased = publish.properties.has(PropertyId::TopicAlias);
        let frame = (!aliased && !renamed).then(|| Frame {
            bytes: packet,
            packet_id_at: header.header_len + 2 + topic.len(),
            v5: version.is_v5(),
        });
        let reached = self.pass_on(key, route, &publish, frame);
        self.turn.follow(first);
        let reason = if reached { Reason::Success } else { Reason::NoMatchingSubscribers };
        self.acknowledge(key, &publish, reason, None);
        Ok(())
    }

    /// Retains and routes a client's message; whether anybody gets it.
    #[inline]
    fn pass_on(
        &mut self,
        key: u32,
        route: u32,
        publish: &RawPublish<'_>,
        frame: Option<Frame<'_>>,
    ) -> bool {
        self.scratch.clear();
        let properties = if forwardable(&publish.properties) {
            publish.properties.raw()
        } else {
            put_forwarded(publish.properties, &mut self.scratch);
            &self.scratch
        };
        let route = self.routing.get(route);
        let view = MessageView {
            qos: publish.qos,
            retain: publish.retain,
            topic: route.topic.as_bytes(),
            properties,
            payload: publish.payload,
            expires_at_ms: expires_at_ms(publish.properties, self.turn.now_ms),
            frame,
        };
        let mut shared = SharedCopy::for_receivers(route.targets.len() + route.groups.len());
        if publish.qos == QoS::ExactlyOnce && self.defers(key) {
            let mut outbox = Outbox::new(self.node.workers());
            let retained = match view.retain {
                true => {
                    let source = source_of(&self.clients, &self.turn, Some(key));
                    let turn = &mut self.turn;
                    retain_later(&self.node, turn, &mut outbox, &view, &mut shared, source)
                }
                false => None,
            };
            let (clients, turn) = (&mut self.clients, &mut self.turn);
            let (share_turn, worker) = (&mut self.share_turn, self.index);
            let session = clients.get(key).map_or(SessionNo::NONE, |it| it.session.number);
            let deferred = Deferring { clients, turn, outbox, share_turn, worker }.run(
                Some(key),
                (session, Cause::PacketId(publish.packet_id)),
                &view,
                &mut shared,
                route,
                retained,
            );
            self.deferred.extend(deferred);
            return !route.is_empty();
        }
        if view.retain {
            let source = source_of(&self.clients, &self.turn, Some(key));
            retain(&self.node, &mut self.turn, &mut self.outbox, &view, &mut shared, source);
        }
        if route.is_empty() {
            return false;
        }
        Delivering {
            clients: &mut self.clients,
            turn: &mut self.turn,
            outbox: &mut self.outbox,
            share_turn: &mut self.share_turn,
            worker: self.index,
        }
        .run(Some(key), &view, &mut shared, route);
        true
    }

    /// Drops the retained messages that are too old (`retain_expiry_interval`).
    pub fn purge_retained(&mut self, now_ms: u64) {
        self.turn.now_ms = now_ms;
        let turn = &mut self.turn;
        self.node.retained.purge(now_ms, |message, version| {
            turn.record(|| StoreOp::RetainedEnd { topic: message.topic().into(), version });
        });
    }

    /// A message of the broker's own, such as `$SYS`.
    pub fn publish_internal(&mut self, now_ms: u64, view: &MessageView<'_>) {
        self.turn.now_ms = now_ms;
        self.publish_from(None, view);
    }

    /// Retains and routes a message that came in no PUBLISH packet.
    pub(crate) fn publish_from(&mut self, origin: Option<u32>, view: &MessageView<'_>) {
        let mut shared = SharedCopy::default();
        if view.retain {
            let source = source_of(&self.clients, &self.turn, origin);
            retain(&self.node, &mut self.turn, &mut self.outbox, view, &mut shared, source);
        }
        let version = self.node.interest.version();
        let route = self.route_of(view.topic, version);
        Delivering {
            clients: &mut self.clients,
            turn: &mut self.turn,
            outbox: &mut self.outbox,
            share_turn: &mut self.share_turn,
            worker: self.index,
        }
        .run(origin, view, &mut shared, self.routing.get(route));
    }

    /// A message of a peer: for this worker's own subscribers only. `entries` are those the peer
    /// wrote down for lasting sessions of this worker.
    #[inline]
    pub(crate) fn deliver_from_peer(
        &mut self,
        view: &MessageView<'_>,
        entries: &mut Entries,
        origin: Option<u32>,
    ) -> Result<(), DecodeError> {
        let version = self.node.interest.version();
        let route = match self.routing.find(view.topic, version) {
            Some(route) => route,
            // Its bytes were checked where it came in, but another node may have sent it.
            None => self.routing.add(checked_str(view.topic)?, version),
        };
        let route = self.routing.get(route);
        let upgrade = self.turn.cfg.upgrade_outgoing_qos;
        let mut shared = SharedCopy::for_receivers(route.targets.len());
        for target in &route.targets {
            if target.no_local() && Some(target.client) == origin {
                continue;
            }
            let Some(client) = self.clients.get_mut(target.client) else {
                continue;
            };
            let mut way = Way::live(target, view, upgrade, None);
            if !entries.is_empty() {
                let wanted =
                    |qos| route.has_other(target, |it| it.live_qos(view.qos, upgrade) == qos);
                entries.take(client.session.number, &mut way, wanted);
            }
            let one = StoredWaiting::of(way.entry, view, false);
            if client.gets_otherwise(target.client, &mut self.turn, one)
                || self.node.wrote_elsewhere(client, &way)
            {
                continue;
            }
            client.deliver(target.client, &mut self.turn, view, &mut shared, way);
        }
        let weight = view.weight() as u32;
        for (session, entry, twice) in entries.rest() {
            self.leftover(session, entry, weight, twice);
        }
        Ok(())
    }

    pub(crate) fn route_of(&mut self, topic: &[u8], interest_version: u64) -> u32 {
        match self.routing.find(topic, interest_version) {
            Some(route) => route,
            None => {
                let topic = String::from_utf8_lossy(topic);
                self.routing.add(&topic, interest_version)
            }
        }
    }

    /// RETAIN and QoS within what this client may use ([MQTT-3.2.2-11], [MQTT-3.2.2-14]).
    #[inline]
    fn check_flags(&mut self, key: u32, publish: &RawPublish<'_>) -> Outcome {
        if publish.properties.has(PropertyId::SubscriptionIdentifier) {
            let what = "PUBLISH of a client with a subscription identifier";
            return Err(broken(Reason::ProtocolError, what)); // [MQTT-3.3.4-6]
        }
        if publish.retain && !self.turn.cfg.retain_available {
            let what = "retained PUBLISH where retain_available is false";
            return Err(broken(Reason::RetainNotSupported, what));
        }
        let link = self.clients.get_mut(key).and_then(|client| client.link.as_ref());
        let max_qos = link.map_or(QoS::ExactlyOnce, |link| link.max_qos);
        if publish.qos > max_qos {
            return Err(broken(Reason::QosNotSupported, "PUBLISH above the listener's max_qos"));
        }
        Ok(())
    }

    /// The topic with its alias resolved ([MQTT-3.3.2-7] to [MQTT-3.3.2-12]) and the mount point
    /// before it.
    #[inline]
    fn topic_of<'a>(&mut self, key: u32, publish: &RawPublish<'a>) -> Result<Topic<'a>, Ending> {
        let link = self.clients.get_mut(key).and_then(|client| client.link.as_mut());
        let Some(link) = link else {
            return Ok(Topic::Packet(publish.topic));
        };
        let alias = publish.properties.int(PropertyId::TopicAlias);
        if alias.is_none() && link.mount.is_none() {
            if publish.topic.is_empty() {
                let what = "PUBLISH with neither topic nor topic alias";
                return Err(broken(Reason::ProtocolError, what));
            }
            return Ok(Topic::Packet(publish.topic));
        }
        let mut topic = None;
        if let Some(alias) = alias.map(|alias| alias as u16) {
            if !link.aliases_in.allows(alias) {
                let what = "topic alias above the maximum";
                return Err(broken(Reason::TopicAliasInvalid, what));
            }
            if publish.topic.is_empty() {
                let Some(known) = link.aliases_in.get(alias) else {
                    let what = "topic alias was never set";
                    return Err(broken(Reason::ProtocolError, what));
                };
                topic = Some(known);
            } else {
                let checked = publish.checked().map_err(Ending::Broken)?;
                link.aliases_in.set(alias, checked.topic);
            }
        }
        let Some(mount) = &link.mount else {
            return Ok(topic.map_or(Topic::Packet(publish.topic), Topic::Owned));
        };
        let own = match topic {
            Some(topic) => topic,
            None => publish.checked().map_err(Ending::Broken)?.topic.into(),
        };
        Ok(Topic::Owned(format!("{mount}{own}").into()))
    }

    fn meet_topic(
        &mut self,
        publish: &RawPublish<'_>,
        bytes: &[u8],
        renamed: bool,
        interest_version: u64,
    ) -> Result<u32, Ending> {
        let topic = if renamed {
            // It was checked when the alias was set.
            std::str::from_utf8(bytes)
                .map_err(|_| broken(Reason::MalformedPacket, "topic is not well-formed UTF-8"))?
        } else {
            publish.checked().map_err(Ending::Broken)?.topic
        };
        if topic.len() > usize::from(u16::MAX) {
            let what = "topic longer than 65,535 bytes behind its mount point";
            return Err(broken(Reason::TopicNameInvalid, what));
        }
        if too_deep(topic, self.turn.cfg.max_topic_levels) {
            self.turn.stats.levels_refused += 1;
            let what = "topic with more levels than max_topic_levels";
            return Err(broken(Reason::TopicNameInvalid, what));
        }
        Ok(self.routing.add(topic, interest_version))
    }

    /// Why a well-formed message is not taken, if it is not: the broker goes on with the client.
    #[inline]
    fn refusal(
        &mut self,
        key: u32,
        topic: &[u8],
        publish: &RawPublish<'_>,
    ) -> Option<(Reason, &'static str)> {
        let limit = self.turn.cfg.message_size_limit;
        if limit != 0 && publish.payload.len() > limit as usize {
            let why = "payload larger than message_size_limit";
            return Some((Reason::ImplementationSpecificError, why));
        }
        if topic[0] == b'$'
            && let Some(why) = self.reserved(topic)
        {
            return Some((Reason::NotAuthorized, why));
        }
        if self.turn.rights.is_open() {
            return None;
        }
        let client = self.clients.get_mut(key)?;
        let allowed = client.may(&self.turn, Access::Write, topic);
        (!allowed).then_some((Reason::NotAuthorized, "not allowed to publish to this topic"))
    }

    /// A message that is not taken: acknowledged all the same, because 3.x has no other word for
    /// it ([MQTT-3.3.5-2] of 3.1.1), with the reason in 5.0.
    pub(crate) fn refuse(
        &mut self,
        key: u32,
        publish: &RawPublish<'_>,
        topic: &[u8],
        reason: Reason,
        why: &str,
    ) {
        self.turn.stats.publish_refused += 1;
        if let Some(client) = self.clients.get(key) {
            let id = &client.id;
            self.turn.log(LogKind::Debug, || {
                let topic = String::from_utf8_lossy(topic);
                let (flags, bytes) = (flags_text(publish), publish.payload.len());
                let large = reason == Reason::ImplementationSpecificError;
                let what = if large { "Dropped too large" } else { "Denied" };
                format!("{what} PUBLISH from {id} ({flags}, '{topic}', ... ({bytes} bytes))")
            });
        }
        self.acknowledge(key, publish, reason, Some(why));
    }

    /// Takes a QoS 2 packet id; `false` if the message is a repeat, which is acknowledged and not
    /// delivered again ([MQTT-4.3.3-10]).
    pub(crate) fn take_id(&mut self, key: u32, publish: &RawPublish<'_>) -> Result<bool, Ending> {
        let cfg = &self.turn.cfg;
        let maximum = match cfg.max_inflight_messages {
            0 => u16::MAX,
            maximum => maximum,
        };
        let tolerated = (maximum as usize).saturating_mul(cfg.receive_maximum_tolerance as usize);
        let Some(client) = self.clients.get_mut(key) else {
            return Ok(false);
        };
        if !client.session.received.insert(publish.packet_id) {
            self.acknowledge(key, publish, Reason::Success, None);
            return Ok(false);
        }
        let v5 = client.link.as_ref().is_some_and(|link| link.version.is_v5());
        if v5 && tolerated != 0 && client.session.received.len() > tolerated {
            // [MQTT-3.3.4-7]; 3.x has no receive maximum, and no more than 65,535 ids.
            client.session.received.remove(publish.packet_id);
            let what = "more QoS 2 messages in flight than receive_maximum_tolerance allows";
            return Err(broken(Reason::ReceiveMaximumExceeded, what));
        }
        if client.session.expiry.outlives_connection() {
            let (session, packet_id) = (client.session.number, publish.packet_id);
            self.turn.durable(|| StoreOp::Received { session, packet_id, follows: 0 });
        }
        Ok(true)
    }

    /// Sends PUBACK or PUBREC; nothing at QoS 0 ([MQTT-3.3.4-1]).
    #[inline]
    pub(crate) fn acknowledge(
        &mut self,
        key: u32,
        publish: &RawPublish<'_>,
        reason: Reason,
        why: Option<&str>,
    ) {
        let kind = match publish.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => PacketKind::Puback,
            QoS::ExactlyOnce => PacketKind::Pubrec,
        };
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if reason.is_error() && kind == PacketKind::Pubrec {
            client.session.received.remove(publish.packet_id); // [MQTT-4.3.3-9]
        }
        self.turn.log(LogKind::Debug, || {
            let v5 = client.link.as_ref().is_some_and(|link| link.version.is_v5());
            let code = if v5 || kind == PacketKind::Puback { reason as u8 } else { 0 };
            let (name, id, packet_id) = (kind.name(), &client.id, publish.packet_id);
            format!("Sending {name} to {id} (m{packet_id}, rc{code})")
        });
        let ack = Ack::new(publish.packet_id, reason);
        if let (Some(why), Some(link)) = (why, &client.link)
            && wants_reasons(link)
            && why.len() + 16 <= link.max_packet_size
        {
            let mut properties = PropertyBuf::new();
            properties.str(PropertyId::ReasonString, why); // [MQTT-3.4.2-2]
            let ack = Ack { properties: properties.as_properties(), ..ack };
            return client.ack(key, &mut self.turn, |version, out| ack.encode(version, kind, out));
        }
        client.ack(key, &mut self.turn, |version, out| ack.encode(version, kind, out));
    }

    pub(crate) fn log_received(&mut self, key: u32, publish: &RawPublish<'_>, topic: &[u8]) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let id = &client.id;
        self.turn.log(LogKind::Debug, || {
            let topic = String::from_utf8_lossy(topic);
            let bytes = publish.payload.len();
            let flags = flags_text(publish);
            format!("Received PUBLISH from {id} ({flags}, '{topic}', ... ({bytes} bytes))")
        });
    }
}

/// The parts of a worker that deliveries change.
struct Delivering<'a> {
    clients: &'a mut crate::clients::Clients,
    turn: &'a mut crate::turn::Turn,
    outbox: &'a mut crate::peer::Outbox,
    share_turn: &'a mut u32,
    worker: u16,
}

impl Delivering<'_> {
    /// Delivers to all receivers of a route. `origin` is the publisher, if it is a client here: a
    /// client's id is owned by one worker, so only here can no-local apply ([MQTT-3.8.3-3]).
    #[inline]
    fn run(
        &mut self,
        origin: Option<u32>,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        route: &crate::route::Route,
    ) {
        let upgrade = self.turn.cfg.upgrade_outgoing_qos;
        for target in &route.targets {
            if target.no_local() && Some(target.client) == origin {
                continue;
            }
            let Some(client) = self.clients.get_mut(target.client) else {
                continue;
            };
            let way = Way::live(target, view, upgrade, None);
            client.deliver(target.client, self.turn, view, shared, way);
        }
        if !route.no_peers() {
            self.send_peers(route, view, shared);
        }
        for group in &route.groups {
            self.send_group(group, view, shared, 0);
        }
    }

    /// Writes the message down for the lasting sessions of other workers, in the batch that holds
    /// the publisher's packet id as well, then gives it to the workers.
    fn send_peers(
        &mut self,
        route: &crate::route::Route,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
    ) {
        let upgrade = self.turn.cfg.upgrade_outgoing_qos;
        let mut entries = std::mem::take(&mut self.turn.entries);
        entries.clear();
        for Lasting { worker, session, target } in &route.lasting {
            let way = Way::live(target, view, upgrade, None);
            if way.qos != QoS::AtMostOnce {
                let entry = enqueue(self.turn, *session, view, shared, &way);
                let (worker, session, client) = (*worker, *session, target.client);
                entries.push(PeerEntry { worker, client, session, qos: way.qos, entry });
            }
        }
        // A node that wants it no more has to end what was written down for its sessions.
        let homes = entries.iter().filter(|entry| entry.worker != NOWHERE);
        let homes = homes.fold(0, |peers, entry| peers | bit(entry.worker));
        // What the broker says of itself is no news to other nodes.
        let peers = match view.topic.starts_with(b"$SYS/") {
            true => route.peers & LOCAL,
            false => route.peers | homes,
        };
        self.turn.appended += self.outbox.publish(peers, view, &entries);
        self.turn.entries = entries;
    }

    /// Gives the message to one member of a shared group.
    fn send_group(
        &mut self,
        group: &Through,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        tries: usize,
    ) {
        *self.share_turn = self.share_turn.wrapping_add(1);
        let turn = &mut *self.turn;
        let picked = group.pick(*self.share_turn, view.qos, &turn.cfg);
        let Some(member) = picked else { return };
        if member.worker == self.worker {
            let key = member.target.client;
            let Some(client) = self.clients.current(key, member.generation) else {
                return;
            };
            if !client.may(turn, Access::Read, view.topic) && tries < group.members().len() {
                // Another may have the right to it.
                return self.send_group(group, view, shared, tries + 1);
            }
            let way = Way::live(&member.target, view, turn.cfg.upgrade_outgoing_qos, Some(group));
            client.deliver(key, turn, view, shared, way);
            return;
        }
        turn.appended += self.outbox.directed(member, group, turn, view, shared);
    }
}

const fn broken(reason: Reason, what: &'static str) -> Ending {
    Ending::Broken(DecodeError::new(reason, what))
}

fn expires_at_ms(properties: Properties<'_>, now_ms: u64) -> u64 {
    properties
        .int(PropertyId::MessageExpiryInterval)
        .map_or(NEVER, |seconds| now_ms + u64::from(seconds) * 1000)
}

fn flags_text(publish: &RawPublish<'_>) -> String {
    format!(
        "d{}, q{}, r{}, m{}",
        u8::from(publish.dup),
        publish.qos as u8,
        u8::from(publish.retain),
        publish.packet_id
    )
}

/// Whether nobody but the broker may publish there. Bridges report their state on the one
/// exception.
pub(crate) fn is_the_brokers(topic: &[u8]) -> bool {
    let bridge_state = topic.starts_with(b"$SYS/broker/connection/") && topic.ends_with(b"/state");
    let own = topic == b"$SYS" || topic.starts_with(b"$SYS/");
    own && !bridge_state || topic.starts_with(b"$share/")
}
