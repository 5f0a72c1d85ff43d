//! Batches between peers: how messages leave a worker.
//!
//! A batch is a run of items, written during a turn and read by the peer in one of its own:
//! ```text
//!  | kind 1 | body len 4 | body |   | kind 1 | body len 4 | body |   …
//!  PUBLISH   a message for the peer's own subscribers, and the entries already written down for
//!            lasting sessions among them
//!  PACKET    the same without entries, as the packet it came in
//!  DIRECTED  a message for one member of a shared group, and its entry
//!  FAR_DIRECTED  the same as another node sent it, by client id
//! ```
//! A peer on another node gets the same batches over a link; so nothing here is an address in
//! memory. Nobody waits for a peer: what an acknowledgement promises is in the store before the
//! batch is sent.

use crate::client::{Way, enqueue};
use crate::cluster::far::FarLanes;
use crate::cluster::is_far;
use crate::interest::PeerSet;
use crate::message::{Frame, MessageView};
use crate::route::Target;
use crate::shared::{Member, Through};
use crate::store::{EntryNo, SessionNo};
use crate::turn::{SharedCopy, Turn};
use crate::worker::Worker;
use mogi_codec::reader::Reader;
use mogi_codec::{DecodeError, QoS, SubscribeOptions};

const PUBLISH: u8 = 1;
const DIRECTED: u8 = 2;
const FAR_DIRECTED: u8 = 3;
const PACKET: u8 = 4;

/// An entry for a lasting session of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerEntry {
    pub(crate) worker: u16,
    /// The client's key there.
    pub(crate) client: u32,
    pub(crate) session: SessionNo,
    /// What it was written down with.
    pub(crate) qos: QoS,
    pub(crate) entry: EntryNo,
}

/// Batches by peer.
pub(crate) type Batches = Vec<(u16, Vec<u8>)>;

/// Batches under construction.
#[derive(Debug)]
pub(crate) struct Outbox {
    batches: Vec<Vec<u8>>,
    /// Buffers of batches that were dealt with, for the next ones.
    spare: Vec<Vec<u8>>,
    /// Batches for other nodes.
    pub(crate) far: FarLanes,
}

/// Buffers that are kept for later batches; a turn may need several for one peer.
const SPARE_BATCHES: usize = 4;
/// Bytes of capacity up to which a buffer is worth keeping.
const SPARE_CAPACITY: usize = 1 << 20;

impl Outbox {
    pub(crate) fn new(peers: u16) -> Self {
        let batches = (0..peers).map(|_| Vec::new()).collect();
        Self { batches, spare: Vec::new(), far: FarLanes::default() }
    }

    /// Adds a message for each of `peers`, with those of `entries` that are the peer's; the bytes
    /// that took.
    pub(crate) fn publish(
        &mut self,
        peers: PeerSet,
        view: &MessageView<'_>,
        entries: &[PeerEntry],
    ) -> usize {
        let mut left = peers;
        let mut appended = 0;
        while left != 0 {
            let peer = left.trailing_zeros() as usize;
            left &= left - 1;
            if is_far(peer as u16) {
                appended += self.far.publish(peer as u16, view, entries);
                continue;
            }
            let Some(batch) = batch_for(&mut self.batches, &mut self.spare, peer) else {
                continue;
            };
            let before = batch.len();
            let mut entries =
                entries.iter().filter(|entry| usize::from(entry.worker) == peer).peekable();
            match view.packet().filter(|_| entries.peek().is_none()) {
                Some((packet, head_len)) => put_item(batch, PACKET, |out| {
                    out.push(head_len as u8);
                    out.extend_from_slice(packet);
                }),
                None => put_item(batch, PUBLISH, |out| {
                    put_entries(out, entries);
                    put_message(out, view);
                }),
            }
            appended += batch.len() - before;
        }
        appended
    }

    /// Adds a message for one member of a group, written down before if the member's session is a
    /// lasting one; the bytes that took.
    pub(crate) fn directed(
        &mut self,
        member: &Member,
        group: &Through,
        turn: &mut Turn,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
    ) -> usize {
        member.expect_one();
        let way = Way::live(&member.target, view, turn.cfg.upgrade_outgoing_qos, Some(group));
        let lasting = member.session != SessionNo::NONE && way.qos != QoS::AtMostOnce;
        let entry = match lasting {
            true => enqueue(turn, member.session, view, shared, &way),
            false => EntryNo::NONE,
        };
        if is_far(member.worker) {
            return self.far.directed(member, group, entry, view);
        }
        let peer = usize::from(member.worker);
        let Some(batch) = batch_for(&mut self.batches, &mut self.spare, peer) else {
            return 0;
        };
        let before = batch.len();
        put_item(batch, DIRECTED, |out| {
            out.extend_from_slice(&member.target.client.to_be_bytes());
            out.extend_from_slice(&member.generation.to_be_bytes());
            let id = member.target.ids.as_slice().first().copied().unwrap_or(0);
            out.extend_from_slice(&id.to_be_bytes());
            out.push(member.target.options());
            out.extend_from_slice(&member.session.0.to_be_bytes());
            out.extend_from_slice(&entry.0.to_be_bytes());
            mogi_codec::wire::put_bytes(out, group.name().as_bytes());
            mogi_codec::wire::put_bytes(out, group.filter().as_bytes());
            put_message(out, view);
        });
        batch.len() - before
    }

    /// Adds items that were put together before.
    pub(crate) fn append(&mut self, peer: u16, items: &[u8]) {
        if let Some(batch) = self.batches.get_mut(usize::from(peer)) {
            batch.extend_from_slice(items);
        }
    }

    /// An empty one for the same peers.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.batches.len() as u16)
    }

    /// Everything in it: for workers of this node, and for other nodes.
    pub(crate) fn into_batches(mut self) -> (Batches, Batches) {
        let mut far = Vec::new();
        self.far.end_turn(&mut far);
        let local = (0..).zip(self.batches).filter(|(_, batch)| !batch.is_empty()).collect();
        (local, far.into_iter().map(|batch| (batch.peer, batch.bytes)).collect())
    }

    /// Passes an item of another node on to the worker it is for.
    pub(crate) fn pass_on_directed(&mut self, worker: u16, body: &[u8]) {
        if let Some(batch) = self.batches.get_mut(usize::from(worker)) {
            put_item(batch, FAR_DIRECTED, |out| out.extend_from_slice(body));
        }
    }

    /// Closes the turn's batches.
    pub(crate) fn end_turn(&mut self, turn: &mut Turn) {
        self.far.end_turn(&mut turn.effects.far);
        for (peer, batch) in self.batches.iter_mut().enumerate() {
            if !batch.is_empty() {
                turn.effects.batches.push((peer as u16, std::mem::take(batch)));
            }
        }
    }

    /// Gives a batch's buffer back for the next one.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BATCHES && buffer.capacity() <= SPARE_CAPACITY {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

/// The batch for a peer, with a buffer that was used before if there is one: growing anew with
/// every batch costs more than what is put in.
#[inline]
fn batch_for<'a>(
    batches: &'a mut [Vec<u8>],
    spare: &mut Vec<Vec<u8>>,
    peer: usize,
) -> Option<&'a mut Vec<u8>> {
    let batch = batches.get_mut(peer)?;
    if batch.capacity() == 0 {
        *batch = spare.pop().unwrap_or_default();
    }
    Some(batch)
}

impl Worker {
    /// Takes in what a peer sent, as much as the turn has room for: the bytes dealt with. The rest
    /// is to be handed over again after a flush.
    pub fn peer_batch(&mut self, now_ms: u64, batch: &[u8]) -> usize {
        self.turn.now_ms = now_ms;
        let mut reader = Reader::new(batch);
        let mut consumed = 0;
        while !reader.is_empty() && !self.turn.is_full() {
            // Batches are written by this crate; one that does not read ends here, as a link to
            // another node could deliver anything.
            if self.peer_item(&mut reader, None).is_err() {
                return batch.len();
            }
            consumed = batch.len() - reader.rest().len();
        }
        consumed
    }

    /// Tells that the changes of all turns up to `turn` are durable: what waited for them leaves.
    pub fn stored(&mut self, now_ms: u64, turn: u64) {
        self.turn.done.up_to(turn);
        self.release_done(now_ms);
    }

    /// Tells that the changes of that turn are durable, though those of turns before it may not
    /// be: other parts of the store are behind.
    pub fn stored_one(&mut self, now_ms: u64, turn: u64) {
        self.turn.done.one(turn);
        self.release_done(now_ms);
    }

    fn release_done(&mut self, now_ms: u64) {
        self.turn.now_ms = now_ms;
        let done = &self.turn.done;
        self.ending.retain(|_, seq| !done.contains(*seq));
        self.deliver_deferred();
        self.close_durable();
        let holders = std::mem::take(&mut self.turn.holders);
        for key in holders {
            let Some(client) = self.clients.get_mut(key) else {
                continue;
            };
            client.release(key, &mut self.turn);
            if client.link.as_ref().is_some_and(|link| !link.held.is_empty()) {
                self.turn.holders.push(key);
            }
        }
    }

    /// Gives the buffer of a batch back to be used again.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        self.outbox.recycle(buffer);
    }

    /// `origin`: the publisher, if it is a client here.
    pub(crate) fn peer_item(
        &mut self,
        reader: &mut Reader<'_>,
        origin: Option<u32>,
    ) -> Result<(), DecodeError> {
        let kind = reader.u8()?;
        let len = reader.u32()? as usize;
        let mut body = Reader::new(reader.take(len)?);
        match kind {
            PUBLISH => {
                let mut entries = Entries::read(self.index, &mut body)?;
                let message = read_message(&mut body)?;
                self.deliver_from_peer(&message.view(message.topic), &mut entries, origin)
            }
            PACKET => {
                let head_len = usize::from(body.u8()?);
                let view = MessageView::of_packet(body.rest(), head_len);
                let view = view.ok_or(DecodeError::malformed("no packet in a batch"))?;
                self.deliver_from_peer(&view, &mut Entries(Vec::new()), origin)
            }
            DIRECTED => self.directed_item(&mut body),
            FAR_DIRECTED => self.far_directed(&mut body),
            _ => Err(DecodeError::malformed("unknown item in a batch")),
        }
    }

    fn directed_item(&mut self, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        let (key, generation, id) = (body.u32()?, body.u32()?, body.u32()?);
        let options = SubscribeOptions::decode(mogi_codec::Version::V5, body.u8()?)?;
        let (session, entry) = (SessionNo(read_u64(body)?), EntryNo(read_u64(body)?));
        let (name, filter) = (body.str()?, body.str()?);
        let message = read_message(body)?;
        let view = message.view(message.topic()?.as_bytes());
        let target = Target::new(key, options, id);
        let group = self.routing.take_group(name, filter);
        self.directed_here(&target, generation, (session, entry), (name, filter, &group), &view);
        self.routing.keep_group(group);
        Ok(())
    }

    /// A message for a member of a group that is, or was, a client here.
    fn directed_here(
        &mut self,
        target: &Target,
        generation: u32,
        (session, entry): (SessionNo, EntryNo),
        (name, filter, group): (&str, &str, &Option<Through>),
        view: &MessageView<'_>,
    ) {
        let mut shared = SharedCopy::for_receivers(1);
        let (upgrade, worker) = (self.turn.cfg.upgrade_outgoing_qos, self.index);
        let key = target.client;
        let others = group.as_ref().is_some_and(|group| group.others_online(worker, key));
        let mut member = self.clients.current(key, generation);
        if let Some(client) = &mut member {
            client.session.queue.arrived();
        }
        let moved = self.node.has_moved(session, member.is_some());
        // It was read from the store already, and goes where its session does.
        if member.as_mut().is_some_and(|client| client.session.has_caught(entry)) {
            return;
        }
        let Some(client) = member.filter(|client| client.link.is_some() || !others) else {
            // Where the session has gone elsewhere, or came back since, it finds its entry in the
            // store.
            if entry != EntryNo::NONE && moved {
                return;
            }
            // The member left while the message was on its way: another gets it.
            self.hand_on(session, entry, (name, filter), view, &mut shared);
            return;
        };
        let mut way = Way::live(target, view, upgrade, group.as_ref());
        way.entry = entry;
        client.deliver(key, &mut self.turn, view, &mut shared, way);
    }
}

#[inline]
pub(crate) fn put_item(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[kind, 0, 0, 0, 0]);
    let at = out.len() - 4;
    body(out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

#[inline]
fn put_entries<'a>(out: &mut Vec<u8>, entries: impl Iterator<Item = &'a PeerEntry>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0u32;
    for PeerEntry { client, session, qos, entry, .. } in entries {
        out.extend_from_slice(&client.to_be_bytes());
        out.extend_from_slice(&session.0.to_be_bytes());
        out.push(*qos as u8);
        out.extend_from_slice(&entry.0.to_be_bytes());
        count += 1;
    }
    out[at..at + 4].copy_from_slice(&count.to_be_bytes());
}

/// The entries that came with a message, each to be taken once by the client it is for.
#[derive(Debug)]
pub(crate) struct Entries(Vec<PeerEntry>);

/// Bytes of an entry in a batch.
const ENTRY_BYTES: usize = 21;

impl Entries {
    fn read(worker: u16, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.u32()? as usize;
        if count == 0 {
            return Ok(Self(Vec::new()));
        }
        let len = count.saturating_mul(ENTRY_BYTES);
        let mut reader = Reader::new(reader.take(len)?);
        let mut entries = Vec::with_capacity(count);
        while !reader.is_empty() {
            let (client, session) = (reader.u32()?, SessionNo(read_u64(&mut reader)?));
            let qos = QoS::from_u8(reader.u8()?).unwrap_or_default();
            let entry = EntryNo(read_u64(&mut reader)?);
            entries.push(PeerEntry { worker, client, session, qos, entry });
        }
        // Stable: a client with overlapping subscriptions gets its entries in their order. Not by
        // key: the session may have been elsewhere in between.
        entries.sort_by_key(|entry| entry.session);
        Ok(Self(entries))
    }

    /// Whether none came.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives `way` the next entry of that client's session, if it has one; and the QoS it was
    /// written down with, should the subscription have changed since: a message would have another
    /// one after a crash, with the same packet id. An entry of a QoS that is `wanted` by another
    /// subscription of the session is left to that one, which would write down one more.
    pub(crate) fn take(
        &mut self,
        session: SessionNo,
        way: &mut Way<'_>,
        wanted: impl Fn(QoS) -> bool,
    ) {
        let first = self.0.partition_point(|one| one.session < session);
        let of_client = self.0[first..].iter_mut().take_while(|one| one.session == session);
        let entries = of_client.map(|one| (one.qos, &mut one.entry));
        if let Some((qos, entry)) = take_entry(entries, way.qos, wanted) {
            (way.qos, way.entry) = (qos, entry);
        }
    }

    /// Those nobody took, and whether the session took another.
    pub(crate) fn rest(&self) -> impl Iterator<Item = (SessionNo, EntryNo, bool)> {
        rest_of(self.0.iter().map(|one| (one.session, one.entry)))
    }
}

/// Of the entries of a message those nobody took, and whether the session took another.
pub(crate) fn rest_of(
    entries: impl Iterator<Item = (SessionNo, EntryNo)> + Clone,
) -> impl Iterator<Item = (SessionNo, EntryNo, bool)> {
    let left = entries.clone().filter(|(_, entry)| *entry != EntryNo::NONE);
    left.map(move |(session, entry)| {
        let twice = entries.clone().any(|it| it == (session, EntryNo::NONE));
        (session, entry, twice)
    })
}

/// Takes the first entry of that QoS, or else the first that nobody else wants, of those of a
/// session that nobody has taken; see [`Entries::take`].
pub(crate) fn take_entry<'a>(
    entries: impl Iterator<Item = (QoS, &'a mut EntryNo)>,
    qos: QoS,
    wanted: impl Fn(QoS) -> bool,
) -> Option<(QoS, EntryNo)> {
    let mut found = None;
    for (of, entry) in entries.filter(|(_, entry)| **entry != EntryNo::NONE) {
        if of == qos {
            found = Some((of, entry));
            break;
        }
        found = found.or_else(|| (!wanted(of)).then_some((of, entry)));
    }
    found.map(|(of, entry)| (of, std::mem::take(entry)))
}

const QOS: u8 = 0b11;
const RETAIN: u8 = 0b100;
const V5: u8 = 0b1000;

/// Bytes before a message's own: flags 1, lengths of topic 2, properties 4 and payload 4, place of
/// the packet id 4 (0: there is no frame), time of expiry 8.
const MESSAGE_HEAD: usize = 23;

/// Appends a message: its frame where that says everything, else its parts.
#[inline]
pub(crate) fn put_message(out: &mut Vec<u8>, view: &MessageView<'_>) {
    // A frame with an expiry interval does not say when the message came in.
    let frame = view.frame.filter(|_| view.expires_at_ms == crate::message::NEVER);
    let retain = if view.retain { RETAIN } else { 0 };
    let v5 = if frame.is_some_and(|frame| frame.v5) { V5 } else { 0 };
    let packet_id_at = frame.map_or(0, |frame| frame.packet_id_at as u32);
    let mut head = [0; MESSAGE_HEAD];
    head[0] = view.qos as u8 | retain | v5;
    head[1..3].copy_from_slice(&(view.topic.len() as u16).to_be_bytes());
    head[3..7].copy_from_slice(&(view.properties.len() as u32).to_be_bytes());
    head[7..11].copy_from_slice(&(view.payload.len() as u32).to_be_bytes());
    head[11..15].copy_from_slice(&packet_id_at.to_be_bytes());
    head[15..].copy_from_slice(&view.expires_at_ms.to_be_bytes());
    out.extend_from_slice(&head);
    match frame {
        Some(frame) => out.extend_from_slice(frame.bytes),
        None => {
            out.extend_from_slice(view.topic);
            out.extend_from_slice(view.properties);
            out.extend_from_slice(view.payload);
        }
    }
}

/// A message as it stands in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerMessage<'a> {
    /// The topic's bytes, which routing knows or checks.
    pub(crate) topic: &'a [u8],
    flags: u8,
    properties: &'a [u8],
    payload: &'a [u8],
    expires_at_ms: u64,
    frame: Option<Frame<'a>>,
}

impl<'a> PeerMessage<'a> {
    pub(crate) fn topic(&self) -> Result<&'a str, DecodeError> {
        mogi_codec::reader::checked_str(self.topic)
    }

    pub(crate) fn view(&self, topic: &'a [u8]) -> MessageView<'a> {
        MessageView {
            qos: QoS::from_u8(self.flags & QOS).unwrap_or_default(),
            retain: self.flags & RETAIN != 0,
            topic,
            properties: self.properties,
            payload: self.payload,
            expires_at_ms: self.expires_at_ms,
            frame: self.frame,
        }
    }
}

#[inline]
pub(crate) fn read_message<'a>(reader: &mut Reader<'a>) -> Result<PeerMessage<'a>, DecodeError> {
    const SHORT: DecodeError = DecodeError::malformed("message in a batch is cut short");
    let (head, bytes) = reader.rest().split_first_chunk::<MESSAGE_HEAD>().ok_or(SHORT)?;
    let mut head = Reader::new(head);
    let flags = head.u8()?;
    let topic_len = usize::from(head.u16()?);
    let properties_len = head.u32()? as usize;
    let payload_len = head.u32()? as usize;
    let packet_id_at = head.u32()? as usize;
    let expires_at_ms = read_u64(&mut head)?;
    let (head, payload) =
        bytes.split_at_checked(bytes.len().wrapping_sub(payload_len)).ok_or(SHORT)?;
    let (head, properties) =
        head.split_at_checked(head.len().wrapping_sub(properties_len)).ok_or(SHORT)?;
    let topic_end = if packet_id_at == 0 { topic_len } else { packet_id_at };
    let topic_start = topic_end.checked_sub(topic_len).ok_or(SHORT)?;
    let topic = head.get(topic_start..topic_end).ok_or(SHORT)?;
    let frame = (packet_id_at != 0).then_some(Frame { bytes, packet_id_at, v5: flags & V5 != 0 });
    Ok(PeerMessage { topic, flags, properties, payload, expires_at_ms, frame })
}

pub(crate) fn read_u64(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(reader.take(8)?);
    Ok(u64::from_be_bytes(bytes))
}
