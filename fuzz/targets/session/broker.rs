//! The workers under test, and what is around them: sockets, mailboxes, time, a store's tickets.

use crate::store::Store;
use crate::watch::Watch;
use mogi_codec::Version;
use mogi_core::handshake::{admit, connect_len};
use mogi_core::output::MAX_SLICES;
use mogi_core::{Arrival, CoreConfig, Ending, ListenerConfig, Next, Node, Wait, Worker};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Connections at once.
pub const SLOTS: usize = 4;

/// Workers of the node.
pub const WORKERS: usize = 2;

/// Rounds in which everything has to come to rest.
const ROUNDS: usize = 10_000;

/// A socket.
struct Conn {
    token: u32,
    watch: Watch,
    /// Bytes sent that were not dealt with.
    rx: Vec<u8>,
    /// The worker and key, once its CONNECT was taken.
    place: Option<(usize, u32)>,
    /// Bytes the socket takes before it blocks.
    room: usize,
    blocked: bool,
    draining: bool,
}

pub struct Broker {
    now_ms: u64,
    cfg: Arc<CoreConfig>,
    node: Arc<Node>,
    workers: Vec<Worker>,
    conns: [Option<Conn>; SLOTS],
    /// Batches to each worker, with the sender.
    mail: [VecDeque<(usize, Vec<u8>)>; WORKERS],
    /// Turns of each worker that wait for the store.
    stores: [VecDeque<u64>; WORKERS],
    store: Store,
    tokens: u32,
    ids: u32,
}

impl Broker {
    pub fn new(cfg: CoreConfig) -> Self {
        let cfg = Arc::new(cfg);
        let node = Arc::new(Node::new(WORKERS as u16, 7));
        let worker = |index| Worker::new(index, Arc::clone(&node), Arc::clone(&cfg));
        Self {
            now_ms: 1000,
            workers: (0..WORKERS as u16).map(worker).collect(),
            cfg,
            node,
            conns: [const { None }; SLOTS],
            mail: [const { VecDeque::new() }; WORKERS],
            stores: [const { VecDeque::new() }; WORKERS],
            store: Store::default(),
            tokens: 0,
            ids: 0,
        }
    }

    /// The version the connection in that slot speaks.
    pub fn version(&self, slot: usize) -> Version {
        self.conns[slot].as_ref().map_or(Version::V311, |conn| conn.watch.version())
    }

    /// A new connection in place of the one in that slot.
    pub fn open(&mut self, slot: usize, connect: &[u8]) {
        self.close(slot);
        self.tokens += 1;
        self.conns[slot] = Some(Conn {
            token: self.tokens,
            watch: Watch::new(connect),
            rx: Vec::new(),
            place: None,
            room: usize::MAX,
            blocked: false,
            draining: false,
        });
        self.send(slot, connect);
    }

    /// Bytes from the client.
    pub fn send(&mut self, slot: usize, bytes: &[u8]) {
        let Some(conn) = &mut self.conns[slot] else {
            return;
        };
        conn.rx.extend_from_slice(bytes);
        conn.watch.sent(bytes);
        self.process(slot);
    }

    /// The client closes its socket.
    pub fn close(&mut self, slot: usize) {
        let Some(conn) = self.conns[slot].take() else {
            return;
        };
        if let Some((worker, key)) = conn.place {
            self.workers[worker].closed(self.now_ms, key, conn.token, Ending::Closed);
        }
    }

    /// Time goes by.
    pub fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for worker in 0..WORKERS {
            let due = self.workers[worker].next_timeout_ms();
            if due.is_some_and(|due_ms| due_ms <= self.now_ms) {
                self.workers[worker].tick(self.now_ms);
            }
        }
    }

    /// The client's socket takes no more than so many bytes for now.
    pub fn narrow(&mut self, slot: usize, room: usize) {
        if let Some(conn) = &mut self.conns[slot] {
            conn.room = room;
        }
        self.writable(slot);
    }

    pub fn end_turn(&mut self, worker: usize) {
        self.workers[worker].end_turn();
        self.flush(worker);
        let effects = self.workers[worker].effects();
        let (store, batches) = (effects.store.take(), std::mem::take(&mut effects.batches));
        let closes = std::mem::take(&mut effects.closes);
        effects.logs.clear();
        let fetches = std::mem::take(&mut effects.fetches);
        if let Some(changes) = store {
            self.store.apply(changes.batch);
            if changes.wait != Wait::Nobody {
                self.stores[worker].push_back(changes.turn);
            }
        }
        fetches.into_iter().for_each(|fetch| self.store.ask(worker, fetch));
        for (to, batch) in batches {
            self.mail[usize::from(to)].push_back((worker, batch));
        }
        for close in closes {
            let slot = self.slot_of(close.token);
            if let Some(mut conn) = slot.and_then(|slot| self.conns[slot].take())
                && !conn.blocked
            {
                conn.watch.received(&close.last);
            }
        }
    }

    /// A worker takes in the oldest batch that was sent to it.
    pub fn deliver(&mut self, worker: usize) {
        let Some((from, batch)) = self.mail[worker].pop_front() else {
            return;
        };
        let mut at = 0;
        while at < batch.len() {
            at += self.workers[worker].peer_batch(self.now_ms, &batch[at..]);
            self.flush(worker);
        }
        self.workers[from].recycle(batch);
    }

    /// The oldest batch of a worker becomes durable.
    pub fn stored(&mut self, worker: usize) {
        if let Some(turn) = self.stores[worker].pop_front() {
            self.workers[worker].stored(self.now_ms, turn);
        }
    }

    /// The oldest question to the store is answered.
    pub fn answer(&mut self) {
        if let Some((worker, fetch, found)) = self.store.answer() {
            let (key, generation, question) = (fetch.key, fetch.generation, fetch.question);
            self.workers[worker].fetched(self.now_ms, key, generation, question, found);
        }
    }

    /// Everything that is under way arrives.
    pub fn settle(&mut self) {
        for slot in 0..SLOTS {
            self.narrow(slot, usize::MAX);
        }
        for _ in 0..ROUNDS {
            for worker in 0..WORKERS {
                self.deliver(worker);
                self.stored(worker);
                self.end_turn(worker);
            }
            self.answer();
            let idle = |it: &VecDeque<_>| it.is_empty();
            let at_rest = self.mail.iter().all(VecDeque::is_empty) && self.store.is_idle();
            if at_rest && self.stores.iter().all(idle) {
                return;
            }
        }
        panic!("does not come to rest");
    }

    /// All clients go, and their sessions expire: nothing of them may be left.
    pub fn leave(&mut self) {
        for slot in 0..SLOTS {
            self.close(slot);
        }
        self.settle();
        // Wills may be published, and sessions end, in several steps.
        for _ in 0..4 {
            self.pass(1_001_000);
            self.settle();
        }
        assert_eq!(self.node.sessions.load(Ordering::Relaxed), 0, "sessions left");
        assert!(self.node.interest.is_empty(), "interest left");
        self.store.check_empty();
        for worker in &mut self.workers {
            worker.measure();
            let stats = worker.stats();
            assert_eq!((stats.messages_queued, stats.packets_pending), (0, 0), "messages left");
            assert_eq!(worker.connected().count(), 0, "connections left");
        }
    }

    fn process(&mut self, slot: usize) {
        loop {
            let Some(conn) = &mut self.conns[slot] else {
                return;
            };
            if conn.draining {
                return;
            }
            let Some((worker, key)) = conn.place else {
                if !self.connect(slot) {
                    return;
                }
                continue;
            };
            let bytes = std::mem::take(&mut conn.rx);
            let token = conn.token;
            let received = self.workers[worker].received(self.now_ms, key, token, &bytes);
            assert!(received.consumed <= bytes.len());
            let Some(conn) = &mut self.conns[slot] else {
                return;
            };
            conn.rx = bytes[received.consumed..].to_vec();
            match received.next {
                Next::Read(_) => return,
                Next::Flush => self.flush(worker),
                Next::Store => unreachable!("no store is ever behind here"),
                Next::Ask => unreachable!("nobody is asked here"),
                Next::Throttle => unreachable!("nobody is slowed down here"),
                Next::Drain => {
                    conn.draining = true;
                    return;
                }
                // What is left for it comes with the turn's end.
                Next::Gone => return,
            }
        }
    }

    /// Judges the first packet; whether the connection is at a worker now.
    fn connect(&mut self, slot: usize) -> bool {
        let Some(conn) = &mut self.conns[slot] else {
            return false;
        };
        let len = match connect_len(&conn.rx) {
            Ok(Some(len)) if conn.rx.len() >= len => len,
            Ok(_) => return false,
            Err(refused) => {
                conn.watch.received(&refused.answer);
                self.conns[slot] = None;
                return false;
            }
        };
        let packet: Vec<u8> = conn.rx.drain(..len).collect();
        self.ids += 1;
        let fresh = || self.ids.to_string();
        let listener = ListenerConfig::default();
        let arrival = admit(&packet, &self.cfg, &listener, fresh).and_then(|admitted| {
            let worker = usize::from(self.node.owner(&admitted.client_id));
            let arrival = Arrival {
                token: conn.token,
                packet: &packet,
                client_id: &admitted.client_id,
                assigned: admitted.assigned,
                address: "127.0.0.1:1",
                listener: &listener,
                epoch: 0,
                bridge: None,
                pass: mogi_core::Pass::default(),
            };
            Ok((worker, self.workers[worker].connect(self.now_ms, &arrival)?))
        });
        match arrival {
            Ok(place) => conn.place = Some(place),
            Err(refused) => {
                conn.watch.received(&refused.answer);
                self.conns[slot] = None;
                return false;
            }
        }
        true
    }

    fn flush(&mut self, worker: usize) {
        loop {
            let dirty = std::mem::take(&mut self.workers[worker].effects().dirty);
            if dirty.is_empty() {
                break;
            }
            for key in dirty {
                self.write(worker, key);
            }
        }
        self.workers[worker].flushed();
    }

    fn write(&mut self, worker: usize, key: u32) {
        let Some((token, out)) = self.workers[worker].output(key) else {
            return;
        };
        let Some(conn) = self.conns.iter_mut().flatten().find(|conn| conn.token == token) else {
            return;
        };
        let mut sent = 0;
        while !out.is_empty() && conn.room > 0 {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = out.slices(&mut slices);
            let mut written = 0;
            for slice in &slices[..count] {
                let take = slice.len().min(conn.room - written);
                conn.watch.received(&slice[..take]);
                written += take;
            }
            assert!(written > 0, "output without bytes");
            out.advance(written);
            sent += written;
            conn.room -= if conn.room == usize::MAX { 0 } else { written };
        }
        conn.blocked = !out.is_empty();
        self.workers[worker].wrote(self.now_ms, key, sent, conn.blocked);
    }

    fn writable(&mut self, slot: usize) {
        let Some(conn) = &mut self.conns[slot] else {
            return;
        };
        let (blocked, place) = (conn.blocked, conn.place);
        if let Some((worker, key)) = place.filter(|_| blocked) {
            self.write(worker, key);
        }
        let Some(conn) = &mut self.conns[slot] else {
            return;
        };
        if conn.draining && !conn.blocked {
            conn.draining = false;
            self.process(slot);
        }
    }

    fn slot_of(&self, token: u32) -> Option<usize> {
        let token_of = |conn: &Option<Conn>| conn.as_ref().map(|conn| conn.token);
        self.conns.iter().position(|conn| token_of(conn) == Some(token))
    }
}
