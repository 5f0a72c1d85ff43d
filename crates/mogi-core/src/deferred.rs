//! QoS 2 messages of publishers whose sessions last, where there are other nodes: they are written
//! down at once, and go on to their receivers when their packet ids are durable.
//!
//! ```text
//!  PUBLISH ─► Received, Enqueued … ─► store ─┬─ durable ─► receivers
//!                                            └─ refused: another node has the publisher's session
//! ```
//! A publisher may come to another node while its message is on its way through this one. If its
//! packet id was in the store before, the other node knows the message; if it comes too late, the
//! store refuses it, and the publisher sends its message again there. Then nobody may have got it
//! from here ([MQTT-4.3.3-10]).

use crate::client::{Way, enqueue};
use crate::clients::Clients;
use crate::cluster::NOWHERE;
use crate::interest::{Lasting, bit};
use crate::message::MessageView;
use crate::peer::{Batches, Outbox, PeerEntry};
use crate::retain::Promised;
use crate::route::Route;
use crate::store::SessionNo;
use crate::turn::{SharedCopy, Turn};
use crate::worker::Worker;
use mogi_codec::QoS;
use mogi_codec::reader::Reader;

/// A message that waits for its packet id.
#[derive(Debug)]
pub(crate) struct Deferred {
    turn: u64,
    session: SessionNo,
    packet_id: u16,
    /// The publisher, who does not get it where it asked for no-local: key and generation.
    origin: (u32, u32),
    /// Batches for workers of this node, this one among them.
    local: Batches,
    /// Batches for other nodes.
    far: Batches,
    /// What becomes of the topic's retained message.
    pub(crate) retained: Option<Promised>,
}

/// The parts of a worker that take part.
pub(crate) struct Deferring<'a> {
    pub(crate) clients: &'a mut Clients,
    pub(crate) turn: &'a mut Turn,
    pub(crate) outbox: Outbox,
    pub(crate) share_turn: &'a mut u32,
    pub(crate) worker: u16,
}

impl Deferring<'_> {
    /// Writes the message down for all receivers of a route whose sessions last.
    pub(crate) fn run(
        mut self,
        origin: u32,
        packet_id: u16,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        route: &Route,
        retained: Option<Promised>,
    ) -> Option<Deferred> {
        let (entries, own) = self.entries(origin, view, shared, route);
        let homes = entries.iter().filter(|entry| entry.worker != NOWHERE);
        let homes = homes.fold(0, |peers, entry| peers | bit(entry.worker));
        self.outbox.publish(route.peers | homes | own, view, &entries);
        for group in &route.groups {
            *self.share_turn = self.share_turn.wrapping_add(1);
            let queue_qos0 = self.turn.cfg.queue_qos0_messages;
            if let Some(member) = group.pick(*self.share_turn, view.qos, queue_qos0) {
                self.outbox.directed(member, group, self.turn, view, shared);
            }
        }
        let client = self.clients.get(origin)?;
        let (local, far) = self.outbox.into_batches();
        (!local.is_empty() || !far.is_empty() || retained.is_some()).then_some(Deferred {
            turn: self.turn.seq,
            session: client.session.number,
            packet_id,
            origin: (origin, client.generation),
            local,
            far,
            retained,
        })
    }

    /// What is written down, and this worker's bit if it has receivers.
    fn entries(
        &mut self,
        origin: u32,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
        route: &Route,
    ) -> (Vec<PeerEntry>, u64) {
        let (mut entries, mut own) = (Vec::new(), 0);
        let mut write = |turn: &mut Turn, worker, session, target: &crate::route::Target| {
            let way = Way::live(target, view, turn.cfg.upgrade_outgoing_qos, None);
            if session != SessionNo::NONE && way.qos != QoS::AtMostOnce {
                let entry = enqueue(turn, session, view, shared, &way);
                let client = target.client;
                entries.push(PeerEntry { worker, client, session, qos: way.qos, entry });
            }
        };
        for target in &route.targets {
            if target.no_local() && target.client == origin {
                continue;
            }
            let Some(client) = self.clients.get(target.client) else {
                continue;
            };
            own = bit(self.worker);
            write(self.turn, self.worker, client.session.number_if_lasting(), target);
        }
        for Lasting { worker, session, target } in &route.lasting {
            write(self.turn, *worker, *session, target);
        }
        (entries, own)
    }
}

impl Worker {
    /// Whether a QoS 2 message of that client waits for its packet id.
    pub(crate) fn defers(&self, key: u32) -> bool {
        let lasts = |key| Some(self.clients.get(key)?.session.number_if_lasting());
        self.turn.cfg.durable
            && self.node.cluster.is_some()
            && lasts(key).is_some_and(|session| session != SessionNo::NONE)
    }

    /// The store has refused a QoS 2 packet id which a publisher's session got in that turn,
    /// because another node has the session: the message goes nowhere from here. To be told before
    /// [`Self::stored_one`] or [`Self::stored`] of the turn.
    pub fn not_received(&mut self, turn: u64, session: SessionNo, packet_id: u16) {
        self.deferred
            .retain(|it| (it.turn, it.session, it.packet_id) != (turn, session, packet_id));
    }

    /// Messages whose packet ids are durable go on, in their order.
    pub(crate) fn deliver_deferred(&mut self) {
        while let Some(first) = self.deferred.front()
            && self.turn.done.contains(first.turn)
            && let Some(Deferred { origin, local, far, retained, .. }) = self.deferred.pop_front()
        {
            if let Some(promised) = retained {
                promised.keep(&self.node, &mut self.outbox);
            }
            let (key, generation) = origin;
            let origin = self.clients.current(key, generation).map(|_| key);
            for (peer, batch) in local {
                if peer != self.index {
                    self.outbox.append(peer, &batch);
                    continue;
                }
                let mut reader = Reader::new(&batch);
                while !reader.is_empty() && self.peer_item(&mut reader, origin).is_ok() {}
            }
            for (peer, batch) in far {
                self.outbox.far.append(peer, &batch);
            }
        }
    }
}
