//! Messages to and from other nodes.
//!
//! ```text
//!  | kind 1 | body len 4 | body |   | kind 1 | body len 4 | body |   …
//!  PUBLISH   a message for the node's subscribers, and the entries already written down for
//!            lasting sessions that live there
//!  DIRECTED  a message for one member of a shared group, and its entry
//!  RETAINED, UNRETAINED   a topic's retained message, or its end, with its version
//! ```
//! Two lanes go to each node. Messages of QoS 1 and 2, and what is retained, leave only when the
//! changes of their turn are durable: a node that had a message before would acknowledge an entry
//! that is not there yet, and it would come back afterwards; or it would have one that vanished in
//! a crash, and comes again from its publisher. All else leaves at once. So messages of one topic
//! and QoS keep to one lane, and their order stays.
//!
//! Whoever takes a batch in is the *gateway* for it: one worker of the node, which delivers to its
//! own clients and passes on to the others, but to no further node.

use super::change::{put_u64, read_u64};
use super::{FIRST_NODE, MAX_NODES};
use crate::client::Way;
use crate::interest::{LOCAL, Lasting, bit};
use crate::message::{Message, MessageView};
use crate::peer::{
    PeerEntry, PeerMessage, put_item, put_message, read_message, rest_of, take_entry,
};
use crate::route::Target;
use crate::shared::{Group, Member};
use crate::store::{EntryNo, SessionNo, StoreOp, StoredWaiting};
use crate::turn::SharedCopy;
use crate::worker::Worker;
use mogi_codec::reader::Reader;
use mogi_codec::wire::put_bytes;
use mogi_codec::{DecodeError, QoS, SubscribeOptions, Version};

const PUBLISH: u8 = 1;
const DIRECTED: u8 = 2;
const RETAINED: u8 = 3;
const UNRETAINED: u8 = 4;

/// Messages for another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FarBatch {
    /// The node's place.
    pub peer: u16,
    /// To be handed to [`Worker::far_batch`] there.
    pub bytes: Vec<u8>,
    /// Whether it may leave only when the changes of this turn are durable.
    pub stored: bool,
}

/// Batches for other nodes under construction.
#[derive(Debug, Default)]
pub(crate) struct FarLanes {
    /// By node: what may leave at once, and what only when it is durable.
    lanes: Vec<[Vec<u8>; 2]>,
}

impl FarLanes {
    /// Adds a message for a node, with those of `entries` that are the node's; the bytes that took.
    pub(crate) fn publish(
        &mut self,
        peer: u16,
        view: &MessageView<'_>,
        entries: &[PeerEntry],
    ) -> usize {
        let of_peer = || entries.iter().filter(|entry| entry.worker == peer);
        let stored = view.qos != QoS::AtMostOnce || of_peer().next().is_some();
        let Some(out) = self.lane(peer, stored) else {
            return 0;
        };
        let before = out.len();
        put_item(out, PUBLISH, |out| {
            out.extend_from_slice(&(of_peer().count() as u32).to_be_bytes());
            for PeerEntry { session, qos, entry, .. } in of_peer() {
                put_u64(out, session.0);
                out.push(*qos as u8);
                put_u64(out, entry.0);
            }
            put_message(out, view);
        });
        out.len() - before
    }

    /// Adds a message for one member of a group; the bytes that took.
    pub(crate) fn directed(
        &mut self,
        member: &Member,
        group: &Group,
        entry: EntryNo,
        view: &MessageView<'_>,
    ) -> usize {
        let stored = view.qos != QoS::AtMostOnce || entry != EntryNo::NONE;
        let (Some(client), Some(out)) = (&member.far, self.lane(member.worker, stored)) else {
            return 0;
        };
        let before = out.len();
        put_item(out, DIRECTED, |out| {
            put_u64(out, member.session.0);
            put_u64(out, entry.0);
            let id = member.target.ids.as_slice().first().copied().unwrap_or(0);
            out.extend_from_slice(&id.to_be_bytes());
            out.push(member.target.options());
            put_bytes(out, client.as_bytes());
            put_bytes(out, group.name().as_bytes());
            put_bytes(out, group.filter().as_bytes());
            put_message(out, view);
        });
        out.len() - before
    }

    /// Adds items that were put together before, and are durable.
    pub(crate) fn append(&mut self, peer: u16, items: &[u8]) {
        if let Some(out) = self.lane(peer, false) {
            out.extend_from_slice(items);
        }
    }

    pub(crate) fn end_turn(&mut self, out: &mut Vec<FarBatch>) {
        for (at, lanes) in self.lanes.iter_mut().enumerate() {
            for (lane, bytes) in lanes.iter_mut().enumerate() {
                if !bytes.is_empty() {
                    let (peer, bytes) = (FIRST_NODE + at as u16, std::mem::take(bytes));
                    out.push(FarBatch { peer, bytes, stored: lane == 1 });
                }
            }
        }
    }

    fn lane(&mut self, peer: u16, stored: bool) -> Option<&mut Vec<u8>> {
        let at = usize::from(peer.checked_sub(FIRST_NODE)?);
        if at >= MAX_NODES {
            return None;
        }
        if self.lanes.len() <= at {
            self.lanes.resize_with(at + 1, Default::default);
        }
        Some(&mut self.lanes[at][usize::from(stored)])
    }
}

/// A topic's retained message, or its end, as [`Worker::far_batch`] takes it.
pub fn put_retained(change: Result<&Message, &str>, version: u64, out: &mut Vec<u8>) {
    match change {
        Ok(message) => put_item(out, RETAINED, |out| {
            put_u64(out, version);
            out.extend_from_slice(message.as_bytes());
        }),
        Err(topic) => put_item(out, UNRETAINED, |out| {
            put_u64(out, version);
            out.extend_from_slice(topic.as_bytes());
        }),
    }
}

/// The retained messages among changes, and ends of such, as [`put_retained`] writes them.
pub fn retained_items<'a>(changes: impl IntoIterator<Item = &'a StoreOp>) -> Vec<u8> {
    let mut items = Vec::new();
    for change in changes {
        match change {
            StoreOp::Retained { message, version } => {
                put_retained(Ok(message), *version, &mut items);
            }
            StoreOp::RetainedEnd { topic, version } => {
                put_retained(Err(topic), *version, &mut items);
            }
            _ => {}
        }
    }
    items
}

impl FarLanes {
    /// Adds a retained message's change for all nodes.
    pub(crate) fn retained(&mut self, nodes: u64, change: Result<&Message, &str>, version: u64) {
        let mut left = nodes;
        while left != 0 {
            let peer = left.trailing_zeros() as u16;
            left &= left - 1;
            if let Some(out) = self.lane(peer, true) {
                put_retained(change, version, out);
            }
        }
    }
}

impl Worker {
    /// Takes in what another node sent, as much as the turn has room for: the bytes dealt with. The
    /// rest is to be handed over again after a flush.
    pub fn far_batch(&mut self, now_ms: u64, batch: &[u8]) -> usize {
        self.turn.now_ms = now_ms;
        let mut reader = Reader::new(batch);
        let mut consumed = 0;
        while !reader.is_empty() && !self.turn.is_full() {
            let before = consumed;
            if self.far_item(&mut reader).is_err() {
                return batch.len();
            }
            consumed = batch.len() - reader.rest().len();
            self.turn.appended += (consumed - before) / 8;
        }
        consumed
    }

    fn far_item(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let kind = reader.u8()?;
        let len = reader.u32()? as usize;
        let mut body = Reader::new(reader.take(len)?);
        match kind {
            PUBLISH => self.far_publish(&mut body),
            DIRECTED => self.far_directed(&mut body),
            RETAINED => {
                let version = read_u64(&mut body)?;
                let message = Message::from_bytes(body.rest());
                let cut = DecodeError::malformed("retained message in a batch is cut short");
                self.node.retained.restore(message.ok_or(cut)?, version);
                Ok(())
            }
            UNRETAINED => {
                let version = read_u64(&mut body)?;
                let topic = mogi_codec::reader::checked_str(body.rest())?;
                self.node.retained.remove_as_of(topic, version);
                Ok(())
            }
            // The other node may be one release ahead.
            _ => Ok(()),
        }
    }

    /// A message of another node, for the subscribers of this one.
    fn far_publish(&mut self, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        let mut written = FarEntries::read(body)?;
        let message = read_message(body)?;
        let version = self.node.interest.version();
        let route = match self.routing.find(message.topic, version) {
            Some(route) => route,
            None => self.routing.add(message.topic()?, version),
        };
        let route = self.routing.get(route);
        let view = message.view(route.topic.as_bytes());
        let upgrade = self.turn.cfg.upgrade_outgoing_qos;
        let mut for_peers = Vec::new();
        let here = route.lasting.iter().filter(|one| !super::is_far(one.worker));
        for Lasting { worker, session, target } in here {
            let wanted = |qos| {
                let others = route.lasting.iter().filter(|it| it.session == *session);
                others.map(|it| it.target.live_qos(view.qos, upgrade)).any(|it| it == qos)
            };
            let qos = target.live_qos(view.qos, upgrade);
            let (entry, qos) = written.take(*session, qos, wanted);
            if entry != EntryNo::NONE {
                let (worker, session, client) = (*worker, *session, target.client);
                for_peers.push(PeerEntry { worker, client, session, qos, entry });
            }
        }
        let mut shared = SharedCopy::for_receivers(route.targets.len());
        for target in &route.targets {
            let Some(client) = self.clients.get_mut(target.client) else {
                continue;
            };
            let mut way = Way::live(target, &view, upgrade, None);
            let wanted = |qos| route.has_other(target, |it| it.live_qos(view.qos, upgrade) == qos);
            (way.entry, way.qos) = written.take(client.session.number, way.qos, wanted);
            let one = StoredWaiting::of(way.entry, &view, false);
            if client.gets_otherwise(target.client, &mut self.turn, one)
                || self.node.wrote_elsewhere(client, &way)
            {
                continue;
            }
            client.deliver(target.client, &mut self.turn, &view, &mut shared, way);
        }
        let mut peers = route.peers & LOCAL;
        // Whoever has the session knows whether it does without its entry.
        let unwanted = written.0.iter_mut().filter(|(.., entry)| *entry != EntryNo::NONE);
        for (session, qos, entry) in unwanted {
            let (session, qos) = (*session, *qos);
            let client = self.node.cluster.as_ref().and_then(|it| it.log().client_of(session));
            let worker = client.map_or(self.index, |client| self.node.owner(&client));
            if worker != self.index {
                let entry = std::mem::take(entry);
                for_peers.push(PeerEntry { worker, client: NO_KEY, session, qos, entry });
                peers |= bit(worker);
            }
        }
        self.turn.appended += self.outbox.publish(peers, &view, &for_peers);
        let weight = view.weight() as u32;
        for (session, entry, twice) in written.rest() {
            self.leftover(session, entry, weight, twice);
        }
        Ok(())
    }

    /// An entry nobody took: its session has unsubscribed while the message was on its way, or
    /// changed what it subscribes to. If it lives here it reads the message from the store: it was
    /// promised to the publisher, maybe before the UNSUBSCRIBE was sent. Where it has got the
    /// message for another subscription (`twice`) it does without this copy. A session that does
    /// not live here any more gets its message where it is.
    pub(crate) fn leftover(
        &mut self,
        session: SessionNo,
        entry: EntryNo,
        weight: u32,
        twice: bool,
    ) {
        let Some(cluster) = &self.node.cluster else {
            return self.turn.record(|| StoreOp::Delivered { session, entry });
        };
        let client = cluster.log().client_of(session);
        let key = client.and_then(|client| self.clients.find(&client));
        let Some((key, client)) = key.and_then(|key| Some((key, self.clients.get_mut(key)?)))
        else {
            return;
        };
        if client.session.number != session || client.session.has_caught(entry) {
            return;
        }
        if twice {
            client.session.entry_ended(entry);
            return self.turn.record(|| StoreOp::Delivered { session, entry });
        }
        client.look_up(key, &mut self.turn, StoredWaiting { entry, weight, grouped: false });
    }

    /// A message of another node for one of a group: for a client of this worker, or of the one it
    /// is passed on to.
    pub(crate) fn far_directed(&mut self, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        let whole = body.rest();
        let (session, entry) = (SessionNo(read_u64(body)?), EntryNo(read_u64(body)?));
        let id = body.u32()?;
        let options = SubscribeOptions::decode(Version::V5, body.u8()?)?;
        let (client, name, filter) = (body.str()?, body.str()?, body.str()?);
        let message = read_message(body)?;
        let owner = self.node.owner(client);
        if owner != self.index {
            self.outbox.pass_on_directed(owner, whole);
            return Ok(());
        }
        self.give_directed(
            client,
            session,
            entry,
            Target::new(0, options, id),
            name,
            filter,
            &message,
        )
    }

    /// Delivers a message of a shared group to a client of this worker, or to another member where
    /// it is not there any more.
    #[allow(clippy::too_many_arguments)] // They are the fields of an item, borrowed.
    fn give_directed(
        &mut self,
        client: &str,
        session: SessionNo,
        entry: EntryNo,
        target: Target,
        name: &str,
        filter: &str,
        message: &PeerMessage<'_>,
    ) -> Result<(), DecodeError> {
        let topic = message.topic()?;
        let view = message.view(topic.as_bytes());
        let mut shared = SharedCopy::default();
        let upgrade = self.turn.cfg.upgrade_outgoing_qos;
        let group = self.node.interest.group(name, filter);
        let key = self.clients.find(client);
        let others = |key| group.as_ref().is_some_and(|it| it.others_online(self.index, key));
        // It may have left the group, and be another client of that id.
        let member = |key| {
            let mut members = group.iter().flat_map(|group| group.members());
            members.any(|member| member.is(self.index, key))
        };
        let found = key.filter(|key| member(*key)).filter(|key| {
            self.clients.get(*key).is_some_and(|client| {
                let same = session == SessionNo::NONE || client.session.number == session;
                same && (client.link.is_some() || !others(*key))
            })
        });
        let Some((key, client)) = found.and_then(|key| Some((key, self.clients.get_mut(key)?)))
        else {
            // Where the session lives elsewhere, its entry is its message, and it finds it there.
            let here = self.node.cluster.as_ref().is_some_and(|cluster| {
                entry == EntryNo::NONE || cluster.log().epoch_of(session).is_some()
            });
            // It was read from the store already, and goes where its session does.
            let caught = key.and_then(|key| self.clients.get_mut(key)).is_some_and(|client| {
                client.session.number == session && client.session.has_caught(entry)
            });
            if here && !caught {
                self.hand_on(session, entry, (name, filter), &view, &mut shared);
            }
            return Ok(());
        };
        let mut way = Way::live(&target, &view, upgrade, group.as_ref());
        way.entry = entry;
        if client.gets_otherwise(key, &mut self.turn, StoredWaiting::of(entry, &view, true)) {
            return Ok(());
        }
        client.deliver(key, &mut self.turn, &view, &mut shared, way);
        Ok(())
    }
}

/// Entries another node wrote down with a message, each to be taken once.
struct FarEntries(Vec<(SessionNo, QoS, EntryNo)>);

/// The key of nobody.
const NO_KEY: u32 = u32::MAX;

/// Bytes of an entry.
const ENTRY_BYTES: usize = 17;

impl FarEntries {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.u32()? as usize;
        let mut reader = Reader::new(reader.take(count.saturating_mul(ENTRY_BYTES))?);
        let mut entries = Vec::with_capacity(count);
        while !reader.is_empty() {
            let session = SessionNo(read_u64(&mut reader)?);
            let qos = QoS::from_u8(reader.u8()?).unwrap_or_default();
            entries.push((session, qos, EntryNo(read_u64(&mut reader)?)));
        }
        entries.sort_by_key(|(session, ..)| *session);
        Ok(Self(entries))
    }

    /// An entry of that session and its QoS; see [`crate::peer::Entries::take`].
    fn take(
        &mut self,
        session: SessionNo,
        qos: QoS,
        wanted: impl Fn(QoS) -> bool,
    ) -> (EntryNo, QoS) {
        if session == SessionNo::NONE {
            return (EntryNo::NONE, qos);
        }
        let first = self.0.partition_point(|(other, ..)| *other < session);
        let of_session = self.0[first..].iter_mut().take_while(|(other, ..)| *other == session);
        let entries = of_session.map(|(_, of, entry)| (*of, entry));
        match take_entry(entries, qos, wanted) {
            Some((of, entry)) => (entry, of),
            None => (EntryNo::NONE, qos),
        }
    }

    /// Those nobody took, and whether the session took another.
    fn rest(&self) -> impl Iterator<Item = (SessionNo, EntryNo, bool)> {
        rest_of(self.0.iter().map(|(session, _, entry)| (*session, *entry)))
    }
}
