//! Batches between peers: how messages leave a worker.
//!
//! A batch is a run of items, written during a turn and read by the peer in one of its own:
//! ```text
//!  | kind 1 | body len 4 | body |   | kind 1 | body len 4 | body |   …
//!  PUBLISH   a message for the peer's own subscribers
//!  DIRECTED  a message for one member of a shared group
//!  CONFIRM?  "tell me when everything before this is durable", with the sender's turn
//!  CONFIRM   "it is"
//! ```
//! A peer on another node gets the same batches over a link; so nothing here is an address in
//! memory.

use crate::interest::{PeerSet, bit};
use crate::message::{Frame, MessageView};
use crate::route::Target;
use crate::shared::{Group, Member};
use crate::turn::{SharedCopy, Turn};
use crate::worker::Worker;
use mogi_codec::reader::Reader;
use mogi_codec::{DecodeError, QoS, SubscribeOptions};
use std::collections::VecDeque;

const PUBLISH: u8 = 1;
const DIRECTED: u8 = 2;
const CONFIRM_WANTED: u8 = 3;
const CONFIRM: u8 = 4;

/// Batches under construction, and what this worker and its peers owe each other.
#[derive(Debug)]
pub(crate) struct Outbox {
    batches: Vec<Vec<u8>>,
    /// Peers to confirm to once this turn is durable: (peer, its turn).
    confirms_due: Vec<(u16, u64)>,
    /// Turns whose acknowledgements wait, oldest first.
    waiting: VecDeque<WaitingTurn>,
}

#[derive(Debug)]
struct WaitingTurn {
    seq: u64,
    ticket: bool,
    peers: PeerSet,
    confirms: Vec<(u16, u64)>,
}

impl Outbox {
    pub(crate) fn new(peers: u16) -> Self {
        let batches = (0..peers).map(|_| Vec::new()).collect();
        Self { batches, confirms_due: Vec::new(), waiting: VecDeque::new() }
    }

    /// Adds a message for each of `peers`; the bytes that took.
    pub(crate) fn publish(&mut self, peers: PeerSet, view: &MessageView<'_>) -> usize {
        let mut left = peers;
        let mut appended = 0;
        while left != 0 {
            let peer = left.trailing_zeros() as usize;
            left &= left - 1;
            let Some(batch) = self.batches.get_mut(peer) else {
                break;
            };
            let before = batch.len();
            put_item(batch, PUBLISH, |out| put_message(out, view));
            appended += batch.len() - before;
        }
        appended
    }

    /// Adds a message for one member of a group; the bytes that took.
    pub(crate) fn directed(
        &mut self,
        member: &Member,
        group: &Group,
        view: &MessageView<'_>,
    ) -> usize {
        let Some(batch) = self.batches.get_mut(usize::from(member.worker)) else {
            return 0;
        };
        member.expect_one();
        let before = batch.len();
        put_item(batch, DIRECTED, |out| {
            out.extend_from_slice(&member.target.client.to_be_bytes());
            out.extend_from_slice(&member.generation.to_be_bytes());
            let id = member.target.ids.as_slice().first().copied().unwrap_or(0);
            out.extend_from_slice(&id.to_be_bytes());
            out.push(member.target.options());
            mogi_codec::wire::put_bytes(out, group.name().as_bytes());
            mogi_codec::wire::put_bytes(out, group.filter().as_bytes());
            put_message(out, view);
        });
        batch.len() - before
    }

    /// Notes that this turn's acknowledgements wait for `peers`, and the packet at hand's does.
    pub(crate) fn want_confirm(&mut self, peers: PeerSet, turn: &mut Turn) {
        turn.waits_for |= peers;
        turn.gated = true;
    }

    /// Closes the turn's batches. `has_ops`: the turn changed this worker's durable state, whose
    /// ticket comes later. Whether something waits for the turn.
    pub(crate) fn end_turn(&mut self, turn: &mut Turn, has_ops: bool) -> bool {
        let confirms = std::mem::take(&mut self.confirms_due);
        let waits = has_ops || turn.waits_for != 0;
        let mut left = turn.waits_for;
        while left != 0 {
            let peer = left.trailing_zeros() as usize;
            left &= left - 1;
            if let Some(batch) = self.batches.get_mut(peer) {
                put_item(batch, CONFIRM_WANTED, |out| {
                    out.extend_from_slice(&turn.seq.to_be_bytes());
                });
            }
        }
        if has_ops {
            let (seq, peers) = (turn.seq, turn.waits_for);
            self.waiting.push_back(WaitingTurn { seq, ticket: true, peers, confirms });
        } else {
            // A batch may have come in over several turns: its messages' ticket may be that of an
            // earlier turn, and tickets are redeemed in order.
            match self.waiting.iter_mut().rev().find(|turn| turn.ticket) {
                Some(earlier) => earlier.confirms.extend(confirms),
                None => self.confirm(&confirms),
            }
            if turn.waits_for != 0 {
                let (seq, peers) = (turn.seq, turn.waits_for);
                let confirms = Vec::new();
                self.waiting.push_back(WaitingTurn { seq, ticket: false, peers, confirms });
            }
        }
        for (peer, batch) in self.batches.iter_mut().enumerate() {
            if !batch.is_empty() {
                turn.effects.batches.push((peer as u16, std::mem::take(batch)));
            }
        }
        waits
    }

    /// Gives a batch's buffer back for the next one.
    pub(crate) fn recycle(&mut self, peer: u16, buffer: Vec<u8>) {
        if let Some(batch) = self.batches.get_mut(usize::from(peer))
            && batch.capacity() < buffer.capacity()
            && batch.is_empty()
        {
            *batch = buffer;
        }
    }

    fn confirm(&mut self, confirms: &[(u16, u64)]) {
        for &(peer, seq) in confirms {
            if let Some(batch) = self.batches.get_mut(usize::from(peer)) {
                put_item(batch, CONFIRM, |out| out.extend_from_slice(&seq.to_be_bytes()));
            }
        }
    }

    /// The ticket of turn `seq` was redeemed; the last turn all of whose promises are kept.
    fn stored(&mut self, seq: u64) -> Option<u64> {
        let mut confirms = Vec::new();
        if let Some(turn) = self.waiting.iter_mut().find(|turn| turn.seq == seq) {
            turn.ticket = false;
            confirms = std::mem::take(&mut turn.confirms);
        }
        self.confirm(&confirms);
        self.completed()
    }

    fn confirmed(&mut self, peer: u16, seq: u64) -> Option<u64> {
        if let Some(turn) = self.waiting.iter_mut().find(|turn| turn.seq == seq) {
            turn.peers &= !bit(peer);
        }
        self.completed()
    }

    fn completed(&mut self) -> Option<u64> {
        let mut done = None;
        while let Some(turn) = self.waiting.front()
            && !turn.ticket
            && turn.peers == 0
        {
            done = Some(turn.seq);
            self.waiting.pop_front();
        }
        done
    }
}

impl Worker {
    /// Takes in what a peer sent, as much as the turn has room for: the bytes dealt with. The rest
    /// is to be handed over again after a flush.
    pub fn peer_batch(&mut self, now_ms: u64, from: u16, batch: &[u8]) -> usize {
        self.turn.now_ms = now_ms;
        let mut reader = Reader::new(batch);
        let mut consumed = 0;
        while !reader.is_empty() && !self.turn.is_full() {
            // Batches are written by this crate; one that does not read ends here, as a link to
            // another node could deliver anything.
            if self.peer_item(from, &mut reader).is_err() {
                return batch.len();
            }
            consumed = batch.len() - reader.rest().len();
        }
        consumed
    }

    /// Tells that the batch of turn `seq` is durable.
    pub fn stored(&mut self, now_ms: u64, seq: u64) {
        self.turn.now_ms = now_ms;
        let done = self.outbox.stored(seq);
        self.release(done);
    }

    /// Gives the buffer of a batch back to be used again.
    pub fn recycle(&mut self, peer: u16, mut buffer: Vec<u8>) {
        buffer.clear();
        self.outbox.recycle(peer, buffer);
    }

    fn release(&mut self, done: Option<u64>) {
        let Some(done) = done else { return };
        let holders = std::mem::take(&mut self.turn.holders);
        for key in holders {
            let Some(client) = self.clients.get_mut(key) else {
                continue;
            };
            client.release(key, &mut self.turn, done);
            if client.link.as_ref().is_some_and(|link| !link.held.is_empty()) {
                self.turn.holders.push(key);
            }
        }
    }

    fn peer_item(&mut self, from: u16, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let kind = reader.u8()?;
        let len = reader.u32()? as usize;
        let mut body = Reader::new(reader.take(len)?);
        match kind {
            PUBLISH => {
                let message = read_message(&mut body)?;
                self.deliver_from_peer(&message)
            }
            DIRECTED => self.directed_item(&mut body),
            CONFIRM_WANTED => {
                self.outbox.confirms_due.push((from, read_u64(&mut body)?));
                Ok(())
            }
            CONFIRM => {
                let seq = read_u64(&mut body)?;
                let done = self.outbox.confirmed(from, seq);
                self.release(done);
                Ok(())
            }
            _ => Err(DecodeError::malformed("unknown item in a batch")),
        }
    }

    fn directed_item(&mut self, body: &mut Reader<'_>) -> Result<(), DecodeError> {
        let (key, generation, id) = (body.u32()?, body.u32()?, body.u32()?);
        let options = SubscribeOptions::decode(mogi_codec::Version::V5, body.u8()?)?;
        let (name, filter) = (body.str()?, body.str()?);
        let message = read_message(body)?;
        let view = message.view(message.topic()?.as_bytes());
        let mut shared = SharedCopy::default();
        let upgrade = self.turn.cfg.upgrade_outgoing_qos;
        let group = self.node.interest.group(name, filter);
        let worker = self.index;
        let others = group.as_ref().is_some_and(|group| group.others_online(worker, key));
        let member = self.clients.current(key, generation);
        if let Some(client) = &member {
            client.session.queue.arrived();
        }
        let Some(client) = member.filter(|client| client.link.is_some() || !others) else {
            // The member left while the message was on its way: another gets it.
            self.give_to_group(name, filter, &view, &mut shared);
            return Ok(());
        };
        let target = Target::new(key, options, id);
        let way = crate::client::Way::live(&target, &view, upgrade, group.as_ref());
        client.deliver(key, &mut self.turn, &view, &mut shared, way);
        Ok(())
    }
}

fn put_item(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

const QOS: u8 = 0b11;
const RETAIN: u8 = 0b100;
const V5: u8 = 0b1000;

/// Appends a message: its frame where that says everything, else its parts.
fn put_message(out: &mut Vec<u8>, view: &MessageView<'_>) {
    // A frame with an expiry interval does not say when the message came in.
    let frame = view.frame.filter(|_| view.expires_at_ms == crate::message::NEVER);
    let retain = if view.retain { RETAIN } else { 0 };
    let v5 = if frame.is_some_and(|frame| frame.v5) { V5 } else { 0 };
    let packet_id_at = frame.map_or(0, |frame| frame.packet_id_at as u32);
    out.push(view.qos as u8 | retain | v5);
    out.extend_from_slice(&(view.topic.len() as u16).to_be_bytes());
    out.extend_from_slice(&(view.properties.len() as u32).to_be_bytes());
    out.extend_from_slice(&(view.payload.len() as u32).to_be_bytes());
    out.extend_from_slice(&packet_id_at.to_be_bytes());
    out.extend_from_slice(&view.expires_at_ms.to_be_bytes());
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

fn read_message<'a>(reader: &mut Reader<'a>) -> Result<PeerMessage<'a>, DecodeError> {
    const SHORT: DecodeError = DecodeError::malformed("message in a batch is cut short");
    let flags = reader.u8()?;
    let topic_len = usize::from(reader.u16()?);
    let properties_len = reader.u32()? as usize;
    let payload_len = reader.u32()? as usize;
    let packet_id_at = reader.u32()? as usize;
    let expires_at_ms = read_u64(reader)?;
    let bytes = reader.rest();
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

fn read_u64(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(reader.take(8)?);
    Ok(u64::from_be_bytes(bytes))
}
