//! The broker under test: workers, the batches between them, sockets, and the store behind them.

use crate::ledger::Ledger;
use crate::message::id_of;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::trace::note;
use mogi_core::handshake::{admit, connect_len};
use mogi_core::output::MAX_SLICES;
use mogi_core::{Arrival, Ending, Fetch, Next, Node, StoreOp, Worker};
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

/// Why a connection ended, as the broker has to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// DISCONNECT with this reason was taken in.
    Goodbye(u8),
    /// There is a new connection, with or without a new session.
    TakenOver { clean: bool },
    /// Anything else.
    Broken,
}

/// What happened to a connection at the broker.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Its CONNECT was taken in.
    Opened { token: u32 },
    /// It ended.
    Ended { token: u32, cause: Cause },
    /// These bytes left for it.
    Left { token: u32, bytes: Vec<u8> },
    /// The worker closed the connection in order.
    Closed { token: u32 },
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) client: usize,
    /// Whether its CONNECT asks for a new session.
    pub(crate) clean: bool,
    /// From the client, on its way.
    pub(crate) up: VecDeque<u8>,
    /// Whether the broker learns of the end once `up` is empty.
    pub(crate) up_closed: bool,
    rx: Vec<u8>,
    /// To the client, on its way.
    pub(crate) down: VecDeque<u8>,
    pub(crate) down_closed: bool,
    /// Bytes the socket takes before it blocks.
    pub(crate) room: usize,
    /// The network is gone: what is written goes nowhere.
    pub(crate) cut: bool,
    place: Option<(u16, u32)>,
    pub(crate) blocked: bool,
    draining: bool,
    taken: usize,
    /// Where the client's DISCONNECT ends in what it sent, and its reason.
    pub(crate) goodbye: Option<(usize, u8)>,
    /// Whether that DISCONNECT ends the session.
    pub(crate) ends_session: bool,
    pub(crate) sent: usize,
    pub(crate) ended: Option<u64>,
}

impl Conn {
    pub(crate) const fn new(client: usize, clean: bool, room: usize) -> Self {
        Self {
            client,
            clean,
            up: VecDeque::new(),
            up_closed: false,
            rx: Vec::new(),
            down: VecDeque::new(),
            down_closed: false,
            room,
            cut: false,
            place: None,
            blocked: false,
            draining: false,
            taken: 0,
            goodbye: None,
            ends_session: false,
            sent: 0,
            ended: None,
        }
    }

    /// The client's side sends.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.sent += bytes.len();
        self.up.extend(bytes);
    }

    /// Whether nothing more can happen on it.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.is_some() && self.down.is_empty() && self.up.is_empty()
    }
}

/// All workers of a node and what is between them.
pub(crate) struct Broker {
    pub(crate) now_ms: u64,
    pub(crate) node: Arc<Node>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) conns: BTreeMap<u32, Conn>,
    pub(crate) ledger: Ledger,
    pub(crate) events: VecDeque<Event>,
    /// Names of the clients, by number.
    pub(crate) names: Vec<String>,
    mail: Vec<VecDeque<Vec<u8>>>,
    /// Questions to the store, and who asked.
    fetches: VecDeque<(u16, Fetch)>,
    plan: Plan,
}

impl Broker {
    pub(crate) fn new(plan: &Plan, seed: u64) -> Self {
        let node = Arc::new(Node::new(plan.workers, seed));
        let cfg = Arc::new(plan.core.clone());
        let worker = |index| Worker::new(index, Arc::clone(&node), Arc::clone(&cfg));
        let count = usize::from(plan.workers);
        Self {
            now_ms: 1000,
            workers: (0..plan.workers).map(worker).collect(),
            conns: BTreeMap::new(),
            ledger: Ledger::new(plan.workers),
            events: VecDeque::new(),
            names: Vec::new(),
            mail: vec![VecDeque::new(); count * count],
            fetches: VecDeque::new(),
            plan: plan.clone(),
            node,
        }
    }

    /// What listeners ask for from now on.
    pub(crate) fn set_plan(&mut self, plan: &Plan) {
        self.plan = plan.clone();
    }

    /// Delivers up to `most` bytes of what the client sent, or the end of it.
    pub(crate) fn take_in(&mut self, token: u32, most: usize) {
        let Some(conn) = self.conns.get_mut(&token) else {
            return;
        };
        let count = conn.up.len().min(most);
        conn.rx.extend(conn.up.drain(..count));
        let finished = conn.up.is_empty() && conn.up_closed;
        let silent = conn.goodbye.is_none();
        self.process(token);
        let Some(conn) = self.conns.get_mut(&token) else {
            return;
        };
        if finished && !conn.draining && conn.ended.is_none() {
            note(|| format!("broker: connection {token} is gone"));
            if let Some((worker, key)) = conn.place {
                let how = if silent { Ending::Failed } else { Ending::Closed };
                self.workers[usize::from(worker)].closed(self.now_ms, key, token, how);
            }
            self.ended(token, Cause::Broken);
        }
    }

    fn process(&mut self, token: u32) {
        loop {
            let Some(conn) = self.conns.get_mut(&token) else {
                return;
            };
            if conn.ended.is_some() || conn.draining {
                return;
            }
            let Some((worker, key)) = conn.place else {
                if self.connect(token) {
                    continue;
                }
                return;
            };
            let bytes = std::mem::take(&mut conn.rx);
            let at = usize::from(worker);
            let result = self.workers[at].received(self.now_ms, key, token, &bytes);
            note(|| format!("broker: {token}: {result:?} of {}", bytes.len()));
            let Some(conn) = self.conns.get_mut(&token) else {
                return;
            };
            conn.rx = bytes[result.consumed..].to_vec();
            conn.taken += result.consumed;
            match result.next {
                Next::Read(_) => return self.note_closes(worker),
                Next::Flush => self.flush(worker),
                Next::Drain => conn.draining = true,
                Next::Store => unreachable!("no store is ever behind here"),
                Next::Throttle => unreachable!("nobody is slowed down here"),
                Next::Ask => unreachable!("nobody is asked here"),
                Next::Gone => {
                    let cause = match conn.goodbye {
                        Some((at, reason)) if conn.taken >= at => Cause::Goodbye(reason),
                        _ => panic!("connection {token} ended without a reason"),
                    };
                    self.ended(token, cause);
                }
            }
        }
    }

    /// Takes in a CONNECT, if all of it is there.
    fn connect(&mut self, token: u32) -> bool {
        let Some(conn) = self.conns.get_mut(&token) else {
            return false;
        };
        let len = connect_len(&conn.rx).expect("a good CONNECT");
        let Some(len) = len.filter(|len| conn.rx.len() >= *len) else {
            return false;
        };
        let packet: Vec<u8> = conn.rx.drain(..len).collect();
        conn.taken += len;
        let (client, clean) = (conn.client, conn.clean);
        let listener = self.plan.listener.clone();
        let fresh = || unreachable!("all clients have ids");
        let admitted = admit(&packet, &self.plan.core, &listener, fresh).expect("admitted");
        assert_eq!(admitted.client_id, self.names[client]);
        let owner = self.node.owner(&admitted.client_id);
        let others: Vec<u32> = self.live_of(client).collect();
        for other in others {
            self.ended(other, Cause::TakenOver { clean });
        }
        let arrival = Arrival {
            bridge: None,
            token,
            packet: &packet,
            client_id: &admitted.client_id,
            assigned: false,
            address: "127.0.0.1:1",
            listener: &listener,
            epoch: 0,
            pass: mogi_core::Pass::default(),
        };
        self.events.push_back(Event::Opened { token });
        let key =
            self.workers[usize::from(owner)].connect(self.now_ms, &arrival).expect("room for all");
        note(|| format!("broker: {token} is client {client} at worker {owner}, key {key}"));
        if let Some(conn) = self.conns.get_mut(&token) {
            conn.place = Some((owner, key));
        }
        self.note_closes(owner);
        true
    }

    /// The network drops what the client sent on connections whose CONNECT has not arrived.
    pub(crate) fn forget_unopened(&mut self, client: usize) {
        for conn in self.conns.values_mut() {
            if conn.client == client && conn.place.is_none() {
                conn.up.clear();
                conn.rx.clear();
                conn.up_closed = true;
            }
        }
    }

    /// The connections of a client that the broker believes in.
    fn live_of(&self, client: usize) -> impl Iterator<Item = u32> {
        self.conns.iter().filter_map(move |(&token, conn)| {
            let live = conn.client == client && conn.place.is_some() && conn.ended.is_none();
            live.then_some(token)
        })
    }

    pub(crate) fn ended(&mut self, token: u32, cause: Cause) {
        if let Some(conn) = self.conns.get_mut(&token)
            && conn.ended.is_none()
        {
            note(|| format!("broker: {token} ended: {cause:?}"));
            conn.ended = Some(self.now_ms);
            conn.up.clear();
            if conn.place.is_some() {
                self.events.push_back(Event::Ended { token, cause });
            }
        }
    }

    /// Connections the worker decided to close by itself.
    fn note_closes(&mut self, worker: u16) {
        let closes = &self.workers[usize::from(worker)].effects().closes;
        let tokens: Vec<u32> = closes.iter().map(|close| close.token).collect();
        for token in tokens {
            self.ended(token, Cause::Broken);
        }
    }

    /// Ends a worker's turn and does what it decided.
    pub(crate) fn end_turn(&mut self, worker: u16) {
        let at = usize::from(worker);
        self.workers[at].end_turn();
        let effects = self.workers[at].effects();
        let (store, batches) = (effects.store.take(), std::mem::take(&mut effects.batches));
        effects.logs.clear();
        if let Some(changes) = store {
            assert!(self.plan.core.durable, "store operations without a store");
            note(|| {
                let (turn, ops) = (changes.turn, brief(&changes.batch));
                format!("worker {worker}: turn {turn} to the store: {ops}")
            });
            self.ledger.submit(worker, changes, self.now_ms);
        }
        for fetch in std::mem::take(&mut self.workers[at].effects().fetches) {
            note(|| format!("worker {worker}: {fetch:?}"));
            self.fetches.push_back((worker, fetch));
        }
        for (to, batch) in batches {
            assert_ne!(to, worker, "a batch to itself");
            assert!(!batch.is_empty());
            note(|| format!("worker {worker} to {to}: {} bytes", batch.len()));
            self.mailbox(worker, to).push_back(batch);
        }
        self.flush(worker);
        let effects = self.workers[at].effects();
        for close in std::mem::take(&mut effects.closes) {
            self.ended(close.token, Cause::Broken);
            let Some(conn) = self.conns.get_mut(&close.token) else {
                continue;
            };
            let room = if conn.cut { 0 } else { conn.room };
            let last = close.last.len().min(room);
            conn.down.extend(&close.last[..last]);
            conn.down_closed = true;
            let (token, bytes) = (close.token, close.last[..last].to_vec());
            self.events.push_back(Event::Left { token, bytes });
            if !close.reset {
                self.events.push_back(Event::Closed { token });
            }
        }
    }

    fn mailbox(&mut self, from: u16, to: u16) -> &mut VecDeque<Vec<u8>> {
        &mut self.mail[usize::from(from * self.plan.workers + to)]
    }

    /// Writes everything that is to be sent.
    fn flush(&mut self, worker: u16) {
        loop {
            let effects = self.workers[usize::from(worker)].effects();
            let dirty = std::mem::take(&mut effects.dirty);
            if dirty.is_empty() {
                break;
            }
            for key in dirty {
                self.write(worker, key);
            }
        }
        self.workers[usize::from(worker)].flushed();
    }

    fn write(&mut self, worker: u16, key: u32) {
        let worker = &mut self.workers[usize::from(worker)];
        let Some((token, out)) = worker.output(key) else {
            return;
        };
        let conn = self.conns.get_mut(&token).expect("known token");
        let mut bytes = Vec::new();
        while !out.is_empty() && bytes.len() < conn.room {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = out.slices(&mut slices);
            let before = bytes.len();
            for slice in &slices[..count] {
                let take = slice.len().min(conn.room - bytes.len());
                bytes.extend_from_slice(&slice[..take]);
            }
            let written = bytes.len() - before;
            assert!(written > 0, "output of {} bytes has no slices", out.len());
            out.advance(written);
        }
        conn.blocked = !out.is_empty();
        if conn.room != usize::MAX {
            conn.room -= bytes.len();
        }
        if !conn.cut {
            conn.down.extend(&bytes);
        }
        worker.wrote(self.now_ms, key, bytes.len(), conn.blocked);
        self.events.push_back(Event::Left { token, bytes });
    }

    /// The socket takes more again.
    pub(crate) fn writable(&mut self, token: u32, room: usize) {
        let Some(conn) = self.conns.get_mut(&token) else {
            return;
        };
        conn.room = conn.room.saturating_add(room);
        let Some((worker, key)) = conn.place.filter(|_| conn.ended.is_none()) else {
            return;
        };
        if conn.blocked {
            self.write(worker, key);
        }
        let Some(conn) = self.conns.get_mut(&token) else {
            return;
        };
        if conn.draining && !conn.blocked {
            conn.draining = false;
            self.take_in(token, 0);
        }
    }

    /// Delivers the oldest batch from one worker to another, or a part of it.
    pub(crate) fn deliver_mail(&mut self, from: u16, to: u16, rng: &mut Rng) -> bool {
        let Some(batch) = self.mailbox(from, to).front() else {
            return false;
        };
        let count = item_ends(batch).len();
        let items = if rng.percent(50) { count } else { rng.range(1, count) };
        let whole = self.deliver_items(from, to, items);
        if !whole && rng.percent(50) {
            // The rest of the batch belongs to another turn.
            self.end_turn(to);
        }
        true
    }

    /// Delivers so many items of the oldest batch; whether that was all of it.
    pub(crate) fn deliver_items(&mut self, from: u16, to: u16, items: usize) -> bool {
        let Some(batch) = self.mailbox(from, to).pop_front() else {
            return true;
        };
        let ends = item_ends(&batch);
        let upto = ends[items - 1];
        let at = usize::from(to);
        let taken = self.workers[at].peer_batch(self.now_ms, &batch[..upto]);
        note(|| format!("worker {to}: {taken} of {} bytes of {from}", batch.len()));
        assert!(taken == 0 || ends.contains(&taken), "torn item");
        let whole = taken == batch.len();
        if whole {
            self.workers[usize::from(from)].recycle(batch);
        } else {
            self.mailbox(from, to).push_front(batch[taken..].to_vec());
        }
        if taken < upto {
            self.flush(to);
        }
        self.note_closes(to);
        whole
    }

    /// Tells a worker of a batch that became durable.
    pub(crate) fn report(&mut self, worker: u16) -> bool {
        let Some(turn) = self.ledger.next_done(worker) else {
            return false;
        };
        note(|| format!("worker {worker}: turn {turn} is durable"));
        self.workers[usize::from(worker)].stored(self.now_ms, turn);
        self.note_closes(worker);
        true
    }

    /// Answers the oldest question to the store.
    pub(crate) fn answer(&mut self) -> bool {
        let Some((worker, fetch)) = self.fetches.pop_front() else {
            return false;
        };
        let found = self.ledger.fetch(&fetch);
        let Fetch { key, generation, question, .. } = fetch;
        note(|| format!("worker {worker}: {} entries for {key}", found.len()));
        self.workers[usize::from(worker)].fetched(self.now_ms, key, generation, question, found);
        self.note_closes(worker);
        true
    }

    /// Lets a worker do what is due; whether there was something.
    pub(crate) fn tick(&mut self, worker: u16) -> bool {
        let at = usize::from(worker);
        let due = self.workers[at].next_timeout_ms().is_some_and(|due_ms| due_ms <= self.now_ms);
        if due {
            note(|| format!("worker {worker}: tick"));
            self.workers[at].tick(self.now_ms);
            self.note_closes(worker);
        }
        due
    }

    /// What was on its way between workers, and questions to the store, are gone.
    pub(crate) fn forget_mail(&mut self) {
        self.mail = vec![VecDeque::new(); self.workers.len().pow(2)];
        self.fetches.clear();
    }

    pub(crate) fn has_mail(&self) -> bool {
        self.mail.iter().any(|mail| !mail.is_empty())
    }
}

/// Where the items of a batch end (the layout is described in `peer.rs`).
fn item_ends(batch: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < batch.len() {
        let len = u32::from_be_bytes(batch[at + 1..at + 5].try_into().expect("four bytes"));
        at += 5 + len as usize;
        ends.push(at);
    }
    assert_eq!(at, batch.len(), "batch ends within an item");
    ends
}

/// Changes in few words.
fn brief(ops: &[StoreOp]) -> String {
    let one = |op: &StoreOp| match op {
        StoreOp::SessionSet { session, record } => {
            let (expiry_s, left) = (record.expiry_s, record.left_at_ms);
            format!("session {} {} expiry {expiry_s} left {left:?}", session.0, record.client)
        }
        StoreOp::Enqueued { session, entry, delivery } => {
            let id = id_of(delivery.message.payload());
            format!("{}: +{} is {id:?} {:?}", session.0, entry.0, delivery.qos)
        }
        StoreOp::Assigned { session, entry, packet_id } => {
            format!("{}: {} as {packet_id}", session.0, entry.0)
        }
        StoreOp::Released { session, entry } => format!("{}: {} released", session.0, entry.0),
        StoreOp::Delivered { session, entry } | StoreOp::HandedOver { session, entry, .. } => {
            format!("{}: -{}", session.0, entry.0)
        }
        StoreOp::Retained { message, version } => {
            format!("{} retains {:?} as of {version}", message.topic(), id_of(message.payload()))
        }
        StoreOp::WillSet { client, will } => {
            let id = id_of(will.message.payload());
            format!("will {id:?} of {client} due {:?}", will.due_at_ms)
        }
        other => format!("{other:?}"),
    };
    ops.iter().map(one).collect::<Vec<_>>().join("; ")
}
