//! A node as its driver runs it: workers, the batches between them, sockets, and what waits.

use crate::conn::Conn;
use crate::door::Door;
use crate::link::{Leaving, Peer};
use crate::parts::Follow;
use crate::plan::Plan;
use crate::store::{Ask, Key, Store, Turn, of_client};
use crate::trace::note;
use mogi_core::cluster::{Cluster, FarBatch};
use mogi_core::output::MAX_SLICES;
use mogi_core::{Cause, Ending, Fetch, Message, Next, Node, SessionNo, StoreOp, Wait, Worker};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

/// Whether it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Up,
    /// Stopped; what comes for it waits.
    Hung,
    Down,
}

/// A turn's changes on their way.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Requests that are out.
    pub(crate) left: usize,
    wait: Wait,
    told: u64,
    answered: bool,
    far: Vec<FarBatch>,
    /// What follows packet ids: publisher's slot, session, id, changes.
    pub(crate) follows: Vec<Follow>,
    /// What ends when everything else is there.
    pub(crate) ends: Vec<(StoreOp, Vec<StoreOp>, Turn)>,
    /// Everything else is there.
    pub(crate) whole: bool,
    /// Sessions messages are written down for.
    pub(crate) sessions: BTreeSet<SessionNo>,
}

/// A node.
pub(crate) struct Site {
    pub(crate) index: usize,
    pub(crate) life: Life,
    /// Counts its starts.
    pub(crate) incarnation: u32,
    /// Until when it is a member, as all can see.
    pub(crate) lease_ms: u64,
    /// Whether it takes clients.
    pub(crate) ready: bool,
    /// Whether it has loaded the store.
    pub(crate) loaded: bool,
    /// Retained messages it has read there and not taken yet, and their versions.
    pub(crate) unread: Option<Vec<(Message, u64)>>,
    pub(crate) node: Arc<Node>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) mail: BTreeMap<(u16, u16), VecDeque<Vec<u8>>>,
    pub(crate) conns: BTreeMap<u32, Conn>,
    pub(crate) pending: BTreeMap<Turn, Pending>,
    /// Entries to be asked for.
    fetches: Vec<(u16, Fetch)>,
    /// Which client a session number belongs to.
    pub(crate) clients: BTreeMap<SessionNo, Arc<str>>,
    /// Epochs of claims, by client id.
    pub(crate) epochs: BTreeMap<Arc<str>, u64>,
    pub(crate) doors: BTreeMap<Arc<str>, Door>,
    pub(crate) peers: BTreeMap<usize, Peer>,
    /// Clients whose waiting entries are being read because a link was broken.
    pub(crate) reading: BTreeMap<Arc<str>, u64>,
    /// Clients whose entries are to be read once more.
    pub(crate) again: BTreeSet<Arc<str>>,
    /// Sessions that others have, and that are still here.
    pub(crate) leaving: VecDeque<Leaving>,
    /// Packet ids whose messages are in all queues, once others know of so many changes.
    pub(crate) unsettled: Vec<(u64, Key, Ask)>,
    pub(crate) adopted: u32,
    /// Connections that were closed in order after a DISCONNECT.
    pub(crate) waived: Vec<u32>,
}

impl Site {
    pub(crate) fn new(index: usize, plan: &Plan, seed: u64) -> Self {
        let node = Arc::new(Node::clustered(plan.workers as u16, seed, index as u8 + 1));
        let cfg = Arc::new(plan.core.clone());
        let worker = |at: usize| Worker::new(at as u16, Arc::clone(&node), Arc::clone(&cfg));
        Self {
            index,
            life: Life::Up,
            incarnation: 0,
            lease_ms: 0,
            ready: false,
            loaded: false,
            unread: None,
            workers: (0..plan.workers).map(worker).collect(),
            mail: BTreeMap::new(),
            conns: BTreeMap::new(),
            pending: BTreeMap::new(),
            fetches: Vec::new(),
            clients: BTreeMap::new(),
            epochs: BTreeMap::new(),
            doors: BTreeMap::new(),
            peers: BTreeMap::new(),
            reading: BTreeMap::new(),
            again: BTreeSet::new(),
            leaving: VecDeque::new(),
            unsettled: Vec::new(),
            adopted: 0,
            waived: Vec::new(),
            node,
        }
    }

    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(self.node.cluster().expect("one of several"))
    }

    pub(crate) fn worker_of(&mut self, client: &str) -> &mut Worker {
        let at = usize::from(self.node.owner(client));
        &mut self.workers[at]
    }

    pub(crate) fn epoch(&self, client: &str) -> u64 {
        self.epochs.get(client).copied().unwrap_or(0)
    }

    /// The client a session belongs to, as far as it is known here.
    fn key_of(&self, session: SessionNo) -> Option<(Key, u64)> {
        let client = self.clients.get(&session)?;
        Some((of_client(client), self.epoch(client)))
    }

    /// Takes in what a client sent: one packet, or the end.
    pub(crate) fn take_in(&mut self, store: &mut Store, token: u32, now_ms: u64) {
        let Some(conn) = self.conns.get_mut(&token) else { return };
        if conn.ended || conn.at_door {
            return;
        }
        let Some(packet) = conn.up.pop_front() else {
            if conn.up_closed {
                conn.ended = true;
                if let Some((worker, key)) = conn.place {
                    note(|| format!("site {}: {token} is gone", self.index));
                    let worker = &mut self.workers[usize::from(worker)];
                    worker.closed(now_ms, key, token, Ending::Failed);
                }
            }
            return;
        };
        let Some((worker, key)) = conn.place else {
            conn.at_door = true;
            return self.knock(store, token, packet, now_ms);
        };
        conn.rx.extend(packet);
        loop {
            let Some(conn) = self.conns.get_mut(&token) else { return };
            let bytes = std::mem::take(&mut conn.rx);
            let at = usize::from(worker);
            let result = self.workers[at].received(now_ms, key, token, &bytes);
            let Some(conn) = self.conns.get_mut(&token) else { return };
            conn.rx = bytes[result.consumed..].to_vec();
            match result.next {
                Next::Read(_) => break,
                Next::Flush => self.flush(worker, now_ms),
                Next::Gone => {
                    conn.ended = true;
                    // Nothing but DISCONNECT ends a connection by what its client sends.
                    conn.goodbye = result.consumed > 0;
                    break;
                }
                other => unreachable!("{other:?}"),
            }
        }
        self.note_closes(worker);
    }

    /// Ends a worker's turn and does what it decided.
    pub(crate) fn end_turn(&mut self, store: &mut Store, worker: u16, now_ms: u64) {
        let at = usize::from(worker);
        self.workers[at].end_turn();
        let effects = self.workers[at].effects();
        let (changes, batches) = (effects.store.take(), std::mem::take(&mut effects.batches));
        let (far, fetches) =
            (std::mem::take(&mut effects.far), std::mem::take(&mut effects.fetches));
        effects.logs.clear();
        let (stored, at_once): (Vec<_>, Vec<_>) = far.into_iter().partition(|batch| batch.stored);
        if let Some(changes) = changes {
            let turn = (worker, changes.turn);
            let pending = Pending {
                left: 1,
                wait: changes.wait,
                told: changes.told,
                answered: false,
                far: stored,
                follows: Vec::new(),
                ends: Vec::new(),
                whole: false,
                sessions: BTreeSet::new(),
            };
            self.pending.insert(turn, pending);
            self.submit(store, turn, changes.batch);
        } else {
            assert!(stored.is_empty(), "a stored batch without changes");
        }
        self.fetches.extend(fetches.into_iter().map(|fetch| (worker, fetch)));
        self.fetch(store);
        for (to, batch) in batches {
            assert_ne!(to, worker, "a batch to itself");
            self.mail.entry((worker, to)).or_default().push_back(batch);
        }
        for batch in at_once {
            self.send_batch(batch);
        }
        self.flush(worker, now_ms);
        self.note_closes(worker);
        let closes = std::mem::take(&mut self.workers[at].effects().closes);
        for close in closes {
            if let Some(conn) = self.conns.get_mut(&close.token) {
                conn.ended = true;
                conn.down.extend(close.last);
                conn.down_closed = true;
                self.waived.extend((conn.goodbye && !close.reset).then_some(close.token));
            }
        }
    }

    /// Splits a turn's changes as the store needs them.
    fn submit(&mut self, store: &mut Store, turn: Turn, batch: Vec<StoreOp>) {
        for op in &batch {
            if let StoreOp::SessionSet { session, record } = op {
                self.clients.insert(*session, Arc::clone(&record.client));
            }
        }
        let parts = crate::parts::split(batch);
        // What is handed over in the same turn is written down before.
        let handed: BTreeSet<_> =
            parts.causes.iter().filter_map(|(op, _)| crate::parts::about(op)).collect();
        let first = |op: &StoreOp| crate::parts::added(op).is_some_and(|it| handed.contains(&it));
        let (first, rest): (Vec<_>, Vec<_>) = parts.plain.into_iter().partition(first);
        let mut asked = self.ask_plain(store, turn, first);
        for (op, ops) in parts.causes {
            if crate::parts::cause_of(&op).is_none() {
                asked += usize::from(self.ask_or_hold(store, turn, op));
                continue;
            }
            asked += 1;
            let pending = self.pending.get_mut(&turn).expect("begun");
            pending.sessions.extend(ops.iter().filter_map(crate::parts::entry_of));
            if let Some(pending) = self.holder_of_will(&op) {
                pending.ends.push((op, ops, turn));
                continue;
            }
            if let Some(follow) = self.holder_of_entry(&op) {
                follow.behind.push((op, ops, turn));
                continue;
            }
            self.begin_cause(store, turn, op, ops);
        }
        let pending = self.pending.get_mut(&turn).expect("begun");
        let count = parts.ends.len();
        pending.ends.extend(parts.ends.into_iter().map(|op| (op, Vec::new(), turn)));
        pending.left += count;
        asked += self.ask_plain(store, turn, rest);
        if let Some(pending) = self.pending.get_mut(&turn) {
            pending.left += asked;
        }
        self.one_done(store, turn);
    }

    /// Sends changes their way nothing follows from; how many are to be waited for.
    fn ask_plain(&mut self, store: &mut Store, turn: Turn, ops: Vec<StoreOp>) -> usize {
        let mut asked = 0;
        for op in ops {
            let session = crate::parts::entry_of(&op);
            asked += usize::from(self.ask_or_hold(store, turn, op));
            let pending = self.pending.get_mut(&turn);
            pending.into_iter().for_each(|it| it.sessions.extend(session));
        }
        asked
    }

    /// Sends a change its way, behind what it is about; whether it is to be waited for.
    fn ask_or_hold(&mut self, store: &mut Store, turn: Turn, op: StoreOp) -> bool {
        if let Some(follow) = self.holder_of_entry(&op) {
            follow.behind.push((op, Vec::new(), turn));
            return true;
        }
        if let Some(pending) = self.holder_of_will(&op) {
            pending.ends.push((op, Vec::new(), turn));
            return true;
        }
        self.ask_for(store, turn, op, &[]).is_some()
    }

    /// What is yet to write down the entry a change is about.
    fn holder_of_entry(&mut self, op: &StoreOp) -> Option<&mut Follow> {
        let about = Some(crate::parts::about(op)?);
        let mut follows = self.pending.values_mut().flat_map(|pending| &mut pending.follows);
        follows.find(|follow| {
            !follow.begun && follow.ops.iter().any(|op| crate::parts::added(op) == about)
        })
    }

    /// The turn whose taking of the same will a change has to follow.
    fn holder_of_will(&mut self, op: &StoreOp) -> Option<&mut Pending> {
        let will = crate::parts::will_of(op)?;
        let taken = |follow: &Follow| match &follow.cause {
            Cause::Will(client) => &**client == will,
            _ => false,
        };
        let mut all = self.pending.values_mut().rev();
        all.find(|it| {
            it.ends.iter().any(|(end, ..)| crate::parts::will_of(end) == Some(will))
                || !it.whole && it.follows.iter().any(taken)
        })
    }

    /// Writes down what others follow from.
    fn begin_cause(&mut self, store: &mut Store, turn: Turn, op: StoreOp, ops: Vec<StoreOp>) {
        let (session, cause) = crate::parts::cause_of(&op).expect("others follow from it");
        let request = self.ask_for(store, turn, op, &ops).expect("a session of its own");
        let key = match &cause {
            Cause::Will(client) => of_client(client),
            _ => self.key_of(session).expect("a session of its own").0,
        };
        // It was used before: what is settled of it is history.
        self.unsettled.retain(|(_, of, ask)| {
            let same = |ask: &Ask| matches!(ask, Ask::Settled { cause: of, .. } if *of == cause);
            *of != key || !same(ask)
        });
        let pending = self.pending.get_mut(&turn).expect("it waits");
        pending.whole = false;
        let (behind, begun) = (Vec::new(), false);
        let stands = !ops.is_empty() || matches!(cause, Cause::Entry(_));
        pending.follows.push(Follow { request, key, session, cause, ops, behind, begun, stands });
    }

    /// Asks for entries, behind everything of theirs.
    fn fetch(&mut self, store: &mut Store) {
        for (worker, fetch) in std::mem::take(&mut self.fetches) {
            let mut follows = self.pending.values().flat_map(|pending| &pending.follows);
            let asked = |op: &StoreOp| {
                crate::parts::added(op).is_some_and(|entry| fetch.entries.contains(&entry))
            };
            if follows.any(|follow| !follow.begun && follow.ops.iter().any(asked)) {
                self.fetches.push((worker, fetch));
                continue;
            }
            let (key, _) = self.key_of(fetch.session).expect("a session of its own");
            store.ask(self.index, &key, Ask::Fetch(worker, fetch), None);
        }
    }

    /// A packet id is written down, or was refused: what follows, follows, or does not.
    pub(crate) fn follow(&mut self, store: &mut Store, turn: Turn, request: u64, taken: bool) {
        let Some(pending) = self.pending.get_mut(&turn) else { return };
        let mut follows = pending.follows.iter_mut();
        let Some(follow) = follows.find(|follow| follow.request == request) else { return };
        (follow.begun, follow.stands) = (true, follow.stands && taken);
        let (ops, behind) = (follow.ops.clone(), std::mem::take(&mut follow.behind));
        let mut asked = 0;
        for op in ops.into_iter().filter(|_| taken) {
            asked += usize::from(self.ask_for(store, turn, op, &[]).is_some());
        }
        if let Some(pending) = self.pending.get_mut(&turn) {
            pending.left += asked;
        }
        for (op, ops, turn) in behind {
            if crate::parts::cause_of(&op).is_some() {
                self.begin_cause(store, turn, op, ops);
            } else if self.ask_for(store, turn, op, &[]).is_none() {
                self.one_done(store, turn);
            }
        }
    }

    /// Sends a change its way, if it counts for anything; the request's number.
    pub(crate) fn ask_for(
        &mut self,
        store: &mut Store,
        turn: Turn,
        op: StoreOp,
        follows: &[StoreOp],
    ) -> Option<u64> {
        let (key, ask) = match &op {
            StoreOp::Retained { message, .. } => {
                (crate::store::of_topic(message.topic()), Ask::Retain(op))
            }
            StoreOp::RetainedEnd { topic, .. } => (crate::store::of_topic(topic), Ask::Retain(op)),
            StoreOp::WillSet { client, .. }
            | StoreOp::WillEnd { client }
            | StoreOp::WillTaken { client, .. } => {
                let (key, epoch) = (of_client(client), self.epoch(client));
                (key, Ask::Own { epoch, ops: vec![op], follows: follows.to_vec() })
            }
            StoreOp::Enqueued { session, .. } => (self.key_of(*session)?.0, Ask::Add(op)),
            other => {
                let session = crate::kept::session_of(other).expect("of a session");
                let (key, epoch) = self.key_of(session)?;
                let follows = follows.to_vec();
                (key, Ask::Own { epoch, ops: vec![op], follows })
            }
        };
        Some(store.ask(self.index, &key, ask, Some(turn)))
    }

    /// One request of a turn is done; what follows now?
    pub(crate) fn one_done(&mut self, store: &mut Store, turn: Turn) {
        let Some(pending) = self.pending.get_mut(&turn) else { return };
        pending.left -= 1;
        let own = pending.ends.iter().filter(|(.., of)| *of == turn).count();
        if pending.left > own {
            return;
        }
        pending.whole = true;
        for (op, ops, turn) in std::mem::take(&mut pending.ends) {
            if crate::parts::cause_of(&op).is_some() {
                match self.holder_of_will(&op) {
                    Some(holder) => holder.ends.push((op, ops, turn)),
                    None => self.begin_cause(store, turn, op, ops),
                }
            } else if !self.ask_or_hold(store, turn, op) {
                self.one_done(store, turn);
            }
        }
    }

    /// Whether a change of that client's will waits for one before it.
    pub(crate) fn holds_will(&self, client: &str) -> bool {
        let mut ends = self.pending.values().flat_map(|pending| &pending.ends);
        ends.any(|(op, ..)| crate::parts::will_of(op) == Some(client))
    }

    /// The client was elsewhere before it was claimed: what waits of its wills of an earlier stay
    /// is history.
    pub(crate) fn drop_stay(&mut self, store: &mut Store, client: &str) {
        let mut dropped = Vec::new();
        for pending in self.pending.values_mut() {
            let its =
                pending.ends.extract_if(.., |(op, ..)| crate::parts::will_of(op) == Some(client));
            dropped.extend(its.map(|(.., turn)| turn));
        }
        for turn in dropped {
            self.one_done(store, turn);
        }
    }

    /// A turn of which all is durable: its packet ids stand for nothing more.
    fn settle_turn(&self, store: &mut Store, pending: &Pending) {
        for follow in pending.follows.iter().filter(|follow| follow.stands) {
            let (session, cause) = (follow.session, follow.cause.clone());
            let client = match &cause {
                Cause::Will(client) => Some(client),
                _ => self.clients.get(&session),
            };
            let epoch = client.map_or(0, |client| self.epoch(client));
            store.ask(self.index, &follow.key, Ask::Settled { epoch, session, cause }, None);
        }
    }

    /// Tells workers, and other nodes, what is durable.
    pub(crate) fn release(&mut self, store: &mut Store, now_ms: u64) -> bool {
        let confirmed = self.confirmed();
        let mut moved = self.serve_waiting(store, now_ms);
        self.fetch(store);
        for (told, key, ask) in std::mem::take(&mut self.unsettled) {
            match told <= confirmed {
                true => drop(store.ask(self.index, &key, ask, None)),
                false => self.unsettled.push((told, key, ask)),
            }
        }
        for worker in 0..self.workers.len() as u16 {
            let mut all_before = true;
            let turns: Vec<u64> = self.turns_of(worker).collect();
            for seq in turns {
                let Some(pending) = self.pending.get_mut(&(worker, seq)) else { continue };
                let stored = pending.left == 0;
                let whole = stored && pending.told <= confirmed;
                // Batches keep their order.
                if stored
                    && self.pending.range((worker, 0)..(worker, seq)).all(|(_, it)| it.left == 0)
                {
                    let pending = self.pending.get_mut(&(worker, seq)).expect("there");
                    for batch in std::mem::take(&mut pending.far) {
                        moved = true;
                        self.send_batch(batch);
                    }
                }
                let Some(pending) = self.pending.get_mut(&(worker, seq)) else { continue };
                let wait = pending.wait;
                if whole && all_before && pending.far.is_empty() {
                    let answered = pending.answered;
                    if let Some(pending) = self.pending.remove(&(worker, seq)) {
                        self.settle_turn(store, &pending);
                    }
                    if wait != Wait::Nobody {
                        note(|| format!("site {}: all to {worker}/{seq}", self.index));
                        self.workers[usize::from(worker)].stored(now_ms, seq);
                        moved |= !answered;
                    }
                    continue;
                }
                all_before = false;
                if whole && wait == Wait::ForThis && !pending.answered {
                    pending.answered = true;
                    moved = true;
                    note(|| format!("site {}: {worker}/{seq} by itself", self.index));
                    self.workers[usize::from(worker)].stored_one(now_ms, seq);
                }
            }
            self.note_closes(worker);
        }
        moved
    }

    fn turns_of(&self, worker: u16) -> impl Iterator<Item = u64> {
        self.pending.range((worker, 0)..=(worker, u64::MAX)).map(|((_, seq), _)| *seq)
    }

    /// Writes everything that is to be sent.
    pub(crate) fn flush(&mut self, worker: u16, now_ms: u64) {
        let at = usize::from(worker);
        loop {
            let dirty = std::mem::take(&mut self.workers[at].effects().dirty);
            if dirty.is_empty() {
                break;
            }
            for key in dirty {
                self.write(at, key, now_ms);
            }
        }
        self.workers[at].flushed();
    }

    fn write(&mut self, at: usize, key: u32, now_ms: u64) {
        let Some((token, out)) = self.workers[at].output(key) else { return };
        let conn = self.conns.get_mut(&token);
        let mut bytes = Vec::new();
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = out.slices(&mut slices);
            let before = bytes.len();
            slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
            let written = bytes.len() - before;
            out.advance(written);
        }
        if let Some(conn) = conn {
            conn.down.extend(&bytes);
        }
        self.workers[at].wrote(now_ms, key, bytes.len(), false);
    }

    /// Connections a worker decided to close.
    pub(crate) fn note_closes(&mut self, worker: u16) {
        for close in &self.workers[usize::from(worker)].effects().closes {
            if let Some(conn) = self.conns.get_mut(&close.token) {
                conn.ended = true;
            }
        }
    }

    /// Delivers the oldest batch from one worker to another.
    pub(crate) fn deliver_mail(&mut self, from: u16, to: u16, now_ms: u64) -> bool {
        let Some(mail) = self.mail.get_mut(&(from, to)) else { return false };
        let Some(batch) = mail.pop_front() else { return false };
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let taken = self.workers[usize::from(to)].peer_batch(now_ms, rest);
            rest = &rest[taken..];
            self.flush(to, now_ms);
        }
        self.note_closes(to);
        true
    }

    /// Whether messages for that session are still to be written down, from turns before now.
    pub(crate) fn writes_for(&self, session: SessionNo) -> Vec<Turn> {
        let of = |(_, pending): &(&Turn, &Pending)| pending.sessions.contains(&session);
        self.pending
            .iter()
            .filter(of)
            .filter(|(_, it)| it.left > 0)
            .map(|(turn, _)| *turn)
            .collect()
    }
}
