//! What may only go on when the store has taken it, where there are other nodes: QoS 2 messages of
//! publishers whose sessions last, messages of shared groups that members hand over, and wills.
//! They are written down at once, and go on to their receivers when that is durable.
//!
//! ```text
//!  PUBLISH ─► Received, Enqueued … ─► store ─┬─ durable ─► receivers
//!                                            └─ refused: another node has the publisher's session
//! ```
//! A publisher may come to another node while its message is on its way through this one. If its
//! packet id was in the store before, the other node knows the message; if it comes too late, the
//! store refuses it, and the publisher sends its message again there. Then nobody may have got it
//! from here ([MQTT-4.3.3-10]). In the same way a member of a group may be on another node by now,
//! and have its message there, or a client, and that node publish its will.

use crate::authority::source_of;
use crate::client::{Way, enqueue};
use crate::clients::Clients;
use crate::cluster::NOWHERE;
use crate::event::Wait;
use crate::interest::{Lasting, bit};
use crate::message::MessageView;
use crate::peer::{Batches, Outbox, PeerEntry};
use crate::retain::{Promised, retain_later};
use crate::route::Route;
use crate::store::{Cause, EntryNo, SessionNo, StoreOp};
use crate::turn::{SharedCopy, Turn};
use crate::worker::Worker;
use mogi_codec::QoS;
use mogi_codec::reader::Reader;
use std::sync::Arc;

/// A message that waits for the store.
#[derive(Debug)]
pub(crate) struct Deferred {
    turn: u64,
    session: SessionNo,
    cause: Cause,
    /// The publisher, who does not get it where it asked for no-local: key and generation.
    origin: (u32, u32),
    /// Batches for workers of this node, this one among them.
    local: Batches,
    /// Batches for other nodes.
    far: Batches,
    /// What becomes of the topic's retained message.
    pub(crate) retained: Option<Promised>,
}

/// The key and generation of no client.
const NOBODY: (u32, u32) = (u32::MAX, 0);

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
        origin: Option<u32>,
        (session, cause): (SessionNo, Cause),
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
            if let Some(member) = group.pick(*self.share_turn, view.qos, &self.turn.cfg) {
                self.outbox.directed(member, group, self.turn, view, shared);
            }
        }
        let client = origin.and_then(|key| Some((key, self.clients.get(key)?.generation)));
        let (local, far) = self.outbox.into_batches();
        (!local.is_empty() || !far.is_empty() || retained.is_some()).then_some(Deferred {
            turn: self.turn.seq,
            session,
            cause,
            origin: client.unwrap_or(NOBODY),
            local,
            far,
            retained,
        })
    }

    /// What is written down, and this worker's bit if it has receivers.
    fn entries(
        &mut self,
        origin: Option<u32>,
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
            if target.no_local() && Some(target.client) == origin {
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

    /// The store has refused a change of a session which others followed from in that turn, because
    /// another node has the session: the message goes nowhere from here. To be told before
    /// [`Self::stored_one`] or [`Self::stored`] of the turn.
    pub fn not_stored(&mut self, turn: u64, session: SessionNo, cause: Cause) {
        self.deferred.retain(|it| (it.turn, it.session, &it.cause) != (turn, session, &cause));
    }

    /// Publishes a will when the store has taken it from its client.
    pub(crate) fn publish_once_taken(
        &mut self,
        origin: Option<u32>,
        client: Arc<str>,
        view: &MessageView<'_>,
    ) {
        let mut shared = SharedCopy::default();
        let mut outbox = self.outbox.another();
        let retained = match view.retain {
            true => {
                let source = source_of(&self.clients, &self.turn, origin);
                retain_later(&self.node, &mut self.turn, &mut outbox, view, &mut shared, source)
            }
            false => None,
        };
        let route = self.route_of(view.topic, self.node.interest.version());
        let (clients, turn) = (&mut self.clients, &mut self.turn);
        let (share_turn, worker) = (&mut self.share_turn, self.index);
        let deferred = Deferring { clients, turn, outbox, share_turn, worker }.run(
            origin,
            (SessionNo::NONE, Cause::Will(client)),
            view,
            &mut shared,
            self.routing.get(route),
            retained,
        );
        // Whoever gets it waits for it.
        self.turn.wait = self.turn.wait.max(Wait::ForThis);
        self.deferred.extend(deferred);
    }

    /// Takes a message of a group from a session, and gives it to a member as the group is now.
    /// `NONE`: no session has it.
    pub(crate) fn hand_on(
        &mut self,
        session: SessionNo,
        entry: EntryNo,
        (name, filter): (&str, &str),
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
    ) {
        if entry == EntryNo::NONE {
            return self.give_to_group(name, filter, view, shared);
        }
        let first = self.turn.ops.len();
        self.turn.record(|| StoreOp::HandedOver { session, entry, follows: 0 });
        match self.node.cluster.is_some() && self.turn.cfg.durable {
            true => self.defer_to_group(session, entry, (name, filter), view, shared),
            false => self.give_to_group(name, filter, view, shared),
        }
        self.turn.follow(first);
    }

    /// Gives a message to a member of the group when it has gone from the session that had it.
    fn defer_to_group(
        &mut self,
        session: SessionNo,
        entry: EntryNo,
        (name, filter): (&str, &str),
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
    ) {
        let group = self.node.interest.group(name, filter);
        let Some((group, member)) = self.pick(group.as_ref(), view) else {
            return;
        };
        let mut outbox = self.outbox.another();
        outbox.directed(member, group, &mut self.turn, view, shared);
        let (local, far) = outbox.into_batches();
        // Somebody waits for it: the other member.
        self.turn.wait = self.turn.wait.max(Wait::ForThis);
        self.deferred.push_back(Deferred {
            turn: self.turn.seq,
            session,
            cause: Cause::Entry(entry),
            origin: NOBODY,
            local,
            far,
            retained: None,
        });
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
