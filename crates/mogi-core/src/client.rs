//! A client: its session, and its connection while there is one.

use crate::authority::Access;
use crate::encode::{Alias, Form};
use crate::event::{LogKind, Wait};
use crate::held::hold;
use crate::inflight::{Delivery, Stage};
use crate::line::{Front, Kind, Line};
use crate::link::Link;
use crate::message::{Message, MessageView};
use crate::output::{LARGE, Output};
use crate::replay::SEARCHES;
use crate::route::{Ids, Target};
use crate::session::Session;
use crate::shared::Through;
use crate::store::{EntryNo, SessionNo, StoreOp, StoredDelivery};
use crate::turn::{FLUSH_BYTES, SharedCopy, Turn};
use mogi_codec::{Ack, PacketKind, QoS, Reason};
use std::sync::Arc;

/// A client a worker owns.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: Arc<str>,
    /// Tells it from an earlier client with the same key.
    pub(crate) generation: u32,
    /// Apart, as most clients of a large broker are away.
    pub(crate) link: Option<Box<Link>>,
    pub(crate) session: Session,
}

/// How a message gets to a client: through which subscription, as what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: &'a Ids,
    pub(crate) group: Option<&'a Through>,
    /// Its number in the store, if the store was told already.
    pub(crate) entry: EntryNo,
}

impl<'a> Way<'a> {
    /// A live message through `target` ([MQTT-3.8.4-8], [MQTT-3.3.1-12], [MQTT-3.3.1-13]).
    #[inline]
    pub(crate) fn live(
        target: &'a Target,
        view: &MessageView<'_>,
        upgrade: bool,
        group: Option<&'a Through>,
    ) -> Self {
        let qos = if upgrade { target.qos() } else { target.qos().min(view.qos) };
        Self {
            qos,
            retain: view.retain && target.retain_as_published(),
            ids: &target.ids,
            group,
            entry: EntryNo::NONE,
        }
    }

    /// What is to be known of a message that goes this way, and has that number in the store.
    fn delivery(&self, message: Option<Message>, weight: u32, entry: EntryNo) -> Delivery {
        Delivery {
            message,
            qos: self.qos,
            retain: self.retain,
            ids: self.ids.clone(),
            group: self.group.cloned(),
            weight,
            entry,
        }
    }
}

impl Client {
    /// Delivers a message: at once where the connection and the window allow it, else through the
    /// queue.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        key: u32,
        turn: &mut Turn,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        way: Way<'_>,
    ) {
        if !self.may(turn, Access::Read, view.topic) {
            self.forget_entry(turn, way.entry);
            return;
        }
        match &self.link {
            Some(link) if link.open && !self.session.queue.has_backlog() => {
                if way.qos == QoS::AtMostOnce && self.session.queue.lets_qos0_pass(turn) {
                    self.send_qos0(key, turn, view, shared, way);
                } else if self.session.queue.is_empty()
                    && !self.session.holds_back(way.entry)
                    && self.has_room(turn, view.weight())
                {
                    self.launch(key, turn, view, shared, &way);
                } else {
                    self.enqueue(turn, view, shared, way);
                }
            }
            Some(_) => self.enqueue(turn, view, shared, way),
            None if way.qos == QoS::AtMostOnce && !turn.cfg.queue_qos0_messages => {}
            None => self.enqueue(turn, view, shared, way),
        }
    }

    /// Sends what waits, as far as window and output allow. While the socket takes nothing it goes
    /// on waiting: QoS 0 messages would be dropped.
    pub(crate) fn pump(&mut self, key: u32, turn: &mut Turn) {
        self.resend(key, turn);
        let mut searches = SEARCHES;
        let lasting = self.session.expiry.outlives_connection();
        self.refill(key, turn, &mut searches);
        while let Some(link) = &self.link
            && link.open
            && !link.blocked
            && link.out.len() < FLUSH_BYTES
            && let Some(front) = self.session.queue.front(lasting)
            && (front.qos == QoS::AtMostOnce || self.has_room(turn, front.weight as usize))
        {
            self.send_front(key, turn, front);
            self.refill(key, turn, &mut searches);
        }
        self.ask_page(key, turn);
    }

    /// Sends the first message of the queue.
    #[inline]
    fn send_front(&mut self, key: u32, turn: &mut Turn, front: Front) {
        match front.kind {
            Kind::Own => {
                if let Some(own) = self.session.queue.pop_own(front) {
                    let mut shared = SharedCopy::for_receivers(1);
                    self.send_waiting(key, turn, &own.view(), &mut shared, &own.way());
                    self.session.queue.put_back(own);
                }
            }
            Kind::Common => {
                if let Some((message, way)) = self.session.queue.pop_common(front) {
                    let view = message.view();
                    // What is small is copied to the output.
                    let mut shared = match view.payload.len() < LARGE {
                        true => SharedCopy::for_receivers(1),
                        false => SharedCopy::of(message.clone()),
                    };
                    self.send_waiting(key, turn, &view, &mut shared, &way);
                }
            }
            Kind::Whole => {
                if let Some(mut delivery) = self.session.queue.pop_whole()
                    && let Some(message) = delivery.message.take()
                {
                    let mut shared = SharedCopy::of(message.clone());
                    self.send_waiting(key, turn, &message.view(), &mut shared, &delivery.way());
                }
            }
        }
    }

    /// Sends a message that waited.
    fn send_waiting(
        &mut self,
        key: u32,
        turn: &mut Turn,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        way: &Way<'_>,
    ) {
        if view.expired(turn.now_ms) {
            turn.stats.dropped_expired += 1;
            self.forget_entry(turn, way.entry);
        } else if !self.may(turn, Access::Read, view.topic) {
            // Rights may have changed since it was put in the queue; for retained messages it is
            // asked here first.
            self.forget_entry(turn, way.entry);
        } else if way.qos == QoS::AtMostOnce {
            self.send_qos0(key, turn, view, shared, *way);
            self.forget_entry(turn, way.entry);
        } else {
            self.launch(key, turn, view, shared, way);
        }
    }

    /// Sends again what was in flight when the connection before this one ended, in the order it
    /// was first sent and with its ids ([MQTT-4.4.0-1], [MQTT-4.6.0-1]).
    fn resend(&mut self, key: u32, turn: &mut Turn) {
        while let Some(link) = &mut self.link
            && link.open
            && link.out.len() < FLUSH_BYTES
        {
            let (limit, version) = (link.send_maximum, link.version);
            let Some((flight, kept)) = self.session.inflight.next_unsent(limit) else {
                return;
            };
            let message = kept.and_then(|kept| Some((kept, kept.message.as_ref()?)));
            match (flight.stage, message) {
                (Stage::Published, Some((kept, message))) => {
                    let form = Form {
                        v5: version.is_v5(),
                        qos: flight.qos,
                        retain: kept.retain,
                        dup: true,
                        packet_id: flight.packet_id,
                        subscription_ids: kept.ids.as_slice(),
                        alias: None,
                    };
                    let view = unmounted(link, message.view());
                    if form.packet_len(&view, turn.now_ms) > link.max_packet_size {
                        // The client takes less than it did ([MQTT-3.1.2-25]).
                        turn.stats.dropped_too_large += 1;
                        if let Some((at, _)) = self.session.inflight.find(flight.packet_id) {
                            let entry = self.session.inflight.end(at);
                            self.forget_entry(turn, entry);
                        }
                        continue;
                    }
                    let out = output(link, key, turn);
                    form.put(&view, turn.now_ms, out, || message.clone());
                    link.out_messages += 1;
                    turn.stats.publish_sent += 1;
                    turn.stats.publish_bytes_sent += view.payload.len() as u64;
                    log_sent(&self.id, turn, &view, &form);
                }
                _ => Ack::new(flight.packet_id, Reason::Success).encode(
                    version,
                    PacketKind::Pubrel,
                    output(link, key, turn).bytes(),
                ),
            }
            turn.stats.packets_sent += 1;
        }
    }

    /// Whether another message of that weight may be put in flight ([MQTT-3.3.4-9],
    /// `max_inflight_messages`, `max_inflight_bytes`). A client that allows 65,535 and reads none
    /// is stopped by what its connection may have pending.
    #[inline]
    fn has_room(&self, turn: &Turn, weight: usize) -> bool {
        let Some(link) = &self.link else { return false };
        let inflight = &self.session.inflight;
        let limit = turn.cfg.max_inflight_bytes;
        inflight.all_sent()
            && inflight.len() < link.send_maximum
            && link.out.len() < turn.cfg.connection_buffer_limit
            && (limit == 0 || inflight.len() == 0 || inflight.bytes() + weight as u64 <= limit)
    }

    /// Sends a message of the broker's own to this client alone, subscribed or not, if it is there.
    pub(crate) fn tell(&mut self, key: u32, turn: &mut Turn, view: &MessageView<'_>) {
        if self.link.as_ref().is_some_and(|link| link.open) {
            let qos = QoS::AtMostOnce;
            let ids = &Ids::None;
            let way = Way { qos, retain: false, ids, group: None, entry: EntryNo::NONE };
            self.send_qos0(key, turn, view, &mut SharedCopy::for_receivers(1), way);
        }
    }

    #[inline]
    fn send_qos0(
        &mut self,
        key: u32,
        turn: &mut Turn,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        way: Way<'_>,
    ) {
        let Some(link) = &mut self.link else { return };
        let limit = turn.cfg.max_queued_messages;
        if link.blocked && (limit != 0 && link.out_messages >= limit)
            || link.out.len() >= turn.cfg.connection_buffer_limit
        {
            turn.stats.dropped_slow += 1;
            let slow = match link.out.len() >= turn.cfg.connection_buffer_limit {
                true => ("connection_buffer_limit", turn.cfg.connection_buffer_limit as u64),
                false => ("max_queued_messages", limit as u64),
            };
            self.note_dropped(turn, slow);
            return;
        }
        self.put_publish(key, turn, view, shared, way, 0);
    }

    /// Puts a message in flight.
    #[inline]
    fn launch(
        &mut self,
        key: u32,
        turn: &mut Turn,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        way: &Way<'_>,
    ) {
        // A message too large for this client is dropped as if it had been delivered
        // ([MQTT-3.1.2-25]), so it must not take a packet id.
        if !self.fits(turn, view, way) {
            self.forget_entry(turn, way.entry);
            return;
        }
        let entry = self.keep(turn, view, shared, way);
        let weight = view.weight().max(1) as u32;
        let Some(packet_id) = self.session.inflight.put(way.qos, weight) else {
            return;
        };
        self.put_publish(key, turn, view, shared, Way { entry, ..*way }, packet_id);
        // A message that can never be sent again need not be kept: its session ends with the
        // connection, and it came through no shared group whose other members could take it.
        let again = self.session.expiry.outlives_connection() || way.group.is_some();
        if again || entry != EntryNo::NONE {
            let message = again.then(|| shared.get(view, &mut turn.scratch));
            self.session.inflight.keep(way.delivery(message, weight, entry));
        }
    }

    /// Writes a message down for a session that outlives its connection, unless that was done
    /// already; its number in the store.
    fn keep(
        &self,
        turn: &mut Turn,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        way: &Way<'_>,
    ) -> EntryNo {
        // One that came back for a last time goes on reading what it has in the store, and nothing
        // may overtake that.
        let lasting = self.session.expiry.outlives_connection() || self.session.queue.is_paged();
        let known = self.session.number != SessionNo::NONE;
        // QoS 0 is kept for those who are away, where it waits at all, and behind what was kept.
        let waits = turn.cfg.queue_qos0_messages && self.session.queue.is_paged();
        let kept = way.qos != QoS::AtMostOnce || self.link.is_none() || waits;
        if way.entry != EntryNo::NONE || !known || !lasting || !kept {
            return way.entry;
        }
        enqueue(turn, self.session.number, view, shared, way)
    }

    /// Tells the store that a message is on its way no more.
    pub(crate) fn forget_entry(&mut self, turn: &mut Turn, entry: EntryNo) {
        if entry != EntryNo::NONE {
            self.session.entry_ended(entry);
            let session = self.session.number;
            turn.durable(|| StoreOp::Delivered { session, entry });
        }
    }

    /// Whether the packet is within the client's Maximum Packet Size ([MQTT-3.1.2-24]).
    #[inline]
    fn fits(&self, turn: &mut Turn, view: &MessageView<'_>, way: &Way<'_>) -> bool {
        let Some(link) = &self.link else { return false };
        if view.weight() + way.ids.as_slice().len() * ID_BYTES + HEAD_BYTES <= link.max_packet_size
        {
            return true;
        }
        let form = Form {
            v5: link.version.is_v5(),
            qos: way.qos,
            retain: way.retain,
            dup: false,
            packet_id: 0,
            subscription_ids: way.ids.as_slice(),
            alias: None,
        };
        let len = match &link.mount {
            None => form.packet_len(view, turn.now_ms),
            Some(_) => form.packet_len(&unmounted(link, *view), turn.now_ms),
        };
        if len <= link.max_packet_size {
            return true;
        }
        turn.stats.dropped_too_large += 1;
        turn.log(LogKind::Debug, || {
            format!("Dropping too large outgoing PUBLISH for {} ({len} bytes)", self.id)
        });
        false
    }

    #[inline]
    fn put_publish(
        &mut self,
        key: u32,
        turn: &mut Turn,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        way: Way<'_>,
        packet_id: u16,
    ) {
        if packet_id == 0 && !self.fits(turn, view, &way) {
            return;
        }
        // An id the client knows and the broker forgot would make another message with that id look
        // like a repeat: the PUBLISH leaves once the store knows its id.
        let (session, entry) = (self.session.number, way.entry);
        let Some(link) = &mut self.link else { return };
        // One the store does not know, of a session that lasts no more, stays behind those it does.
        let behind = session != SessionNo::NONE && !link.held.is_empty();
        let held = way.qos == QoS::ExactlyOnce && (entry != EntryNo::NONE || behind);
        // What is shared with other receivers is the message as it was published.
        let published = view;
        let stripped;
        let mut view = view;
        if link.mount.is_some() {
            stripped = unmounted(link, *view);
            view = &stripped;
        }
        let mut form = Form {
            v5: link.version.is_v5(),
            qos: way.qos,
            retain: way.retain,
            dup: false,
            packet_id,
            subscription_ids: way.ids.as_slice(),
            alias: None,
        };
        if let Some(aliases) = link.aliases_out.as_deref_mut().filter(|_| !held) {
            // A new alias stands beside the topic, and what just fitted may not fit any more.
            let len = form.packet_len(view, turn.now_ms) + Alias::BYTES_MAX;
            form.alias = aliases.get(view.topic, len <= link.max_packet_size);
        }
        let now_ms = turn.now_ms;
        if held {
            let mut until = None;
            if entry != EntryNo::NONE {
                turn.durable(|| StoreOp::Assigned { session, entry, packet_id });
                until = Some(turn.seq);
            }
            turn.appended += hold(link, key, turn, until, |out| form.put_whole(view, now_ms, out));
        } else {
            let mut scratch = std::mem::take(&mut turn.scratch);
            let out = output(link, key, turn);
            let before = out.len();
            form.put(view, now_ms, out, || shared.get(published, &mut scratch));
            let after = out.len();
            link.out_messages += 1;
            turn.scratch = scratch;
            turn.appended += after - before;
            turn.flush |= after >= FLUSH_BYTES && !link.blocked;
        }
        turn.stats.packets_sent += 1;
        turn.stats.publish_sent += 1;
        turn.stats.publish_bytes_sent += view.payload.len() as u64;
        log_sent(&self.id, turn, view, &form);
    }

    /// Puts a message in the queue, or drops it where the queue is full (`max_queued_messages`,
    /// `max_queued_bytes`, `max_queued_bytes_total`): the newest goes, as Mosquitto's users expect.
    fn enqueue(
        &mut self,
        turn: &mut Turn,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        way: Way<'_>,
    ) {
        let queue = &self.session.queue;
        let (messages, bytes) = (turn.cfg.max_queued_messages, turn.cfg.max_queued_bytes);
        let (weight, total) = (view.weight() as u64, turn.cfg.max_queued_bytes_total);
        let full = if messages != 0 && queue.counted() >= messages {
            Some(("max_queued_messages", messages as u64))
        } else if bytes != 0 && queue.bytes() + weight > bytes {
            Some(("max_queued_bytes", bytes))
        } else {
            let full = total != 0 && turn.node.queued_bytes() + weight > total;
            full.then_some(("max_queued_bytes_total", total))
        };
        if let Some(limit) = full {
            turn.stats.dropped_queue_full += 1;
            self.note_dropped(turn, limit);
            if way.entry != EntryNo::NONE {
                // Another worker wrote it down; it is not to come back with a crash.
                turn.wait = turn.wait.max(Wait::ForThis);
                self.forget_entry(turn, way.entry);
            }
            return;
        }
        let entry = self.keep(turn, view, shared, &way);
        let weight = view.weight().max(1) as u32;
        let holds_back = self.session.holds_back(way.entry);
        let queue = &mut self.session.queue;
        if entry != EntryNo::NONE
            && way.group.is_none()
            && (self.link.is_none() || queue.is_long(turn) || holds_back)
        {
            queue.push_paged(entry, weight);
            return;
        }
        // What the store has is not in the ring, whoever wrote it down: when the client leaves it
        // leaves memory together with what is before and behind it.
        let plain = entry == EntryNo::NONE && Line::is_plain(&way);
        let lasting = self.session.expiry.outlives_connection();
        if plain && shared.unshared && !shared.is_made() && queue.push_own(&way, view, lasting) {
            return;
        }
        if plain && way.group.is_none() {
            return queue.push_common(&way, shared.get(view, &mut turn.scratch));
        }
        let message = Some(shared.get(view, &mut turn.scratch));
        queue.push_shared(way.delivery(message, weight, entry));
    }

    /// Says, once per session, that its messages are being dropped, in Mosquitto's words, and by
    /// which limit. A drop counts as work of the turn: a flood of them is not for one turn either.
    fn note_dropped(&mut self, turn: &mut Turn, (limit, value): (&str, u64)) {
        turn.appended += DROP_BYTES;
        if !self.session.drop_logged {
            self.session.drop_logged = true;
            let id = &self.id;
            turn.log(LogKind::Notice, || {
                format!("Outgoing messages are being dropped for client {id}.")
            });
            turn.log(LogKind::Notice, || {
                format!("Client {id} has reached {limit} {value}: what comes now is dropped.")
            });
        }
    }
}

fn log_sent(id: &str, turn: &mut Turn, view: &MessageView<'_>, form: &Form<'_>) {
    turn.log(LogKind::Debug, || {
        let Form { qos, retain, dup, packet_id, .. } = *form;
        format!(
            "Sending PUBLISH to {id} (d{}, q{}, r{}, m{packet_id}, '{}', ... ({} bytes))",
            u8::from(dup),
            qos as u8,
            u8::from(retain),
            view.topic_text(),
            view.payload.len()
        )
    });
}

/// Writes a message down for a session; its number in the store.
pub(crate) fn enqueue(
    turn: &mut Turn,
    session: SessionNo,
    view: &MessageView<'_>,
    shared: &mut SharedCopy,
    way: &Way<'_>,
) -> EntryNo {
    let entry = turn.node.next_entry(turn.now_ms);
    let delivery = StoredDelivery {
        message: shared.get(view, &mut turn.scratch),
        qos: way.qos,
        retain: way.retain,
        ids: way.ids.clone(),
        group: way.group.map(|group| (group.shared_name(), group.shared_filter())),
    };
    turn.durable(|| StoreOp::Enqueued { session, entry, delivery });
    entry
}

/// A message as the clients of `link`'s listener see it: without the mount point.
fn unmounted<'a>(link: &Link, view: MessageView<'a>) -> MessageView<'a> {
    let mount = link.mount.as_deref().unwrap_or_default();
    match view.topic.strip_prefix(mount.as_bytes()) {
        Some(topic) if !mount.is_empty() => MessageView { topic, frame: None, ..view },
        _ => view,
    }
}

/// What a PUBLISH takes besides topic, properties and payload at the most: fixed header 5, length
/// of the topic 2, packet id 2, length of the properties 4, expiry 5…
const HEAD_BYTES: usize = 18;
/// …and each subscription id.
const ID_BYTES: usize = 5;

/// What a drop counts as, in bytes of output.
const DROP_BYTES: usize = 32;

/// The output of `link`, which the turn will write.
#[inline]
pub(crate) fn output<'a>(link: &'a mut Link, key: u32, turn: &mut Turn) -> &'a mut Output {
    if !link.dirty {
        link.dirty = true;
        turn.effects.dirty.push(key);
    }
    if !link.out.has_buffer() {
        link.out.set_buffer(turn.pool.get());
    }
    &mut link.out
}
