//! A worker: its clients, its part of the subscription table, and the turn in progress.
//!
//! The driver (the network loop, or the simulator) calls, in any order and as often as it likes,
//! [`Worker::connect`], [`Worker::received`], [`Worker::closed`], [`Worker::peer_batch`],
//! [`Worker::tick`] and [`Worker::stored`], then [`Worker::end_turn`], and then acts on
//! [`Worker::effects`]. Time comes in with every call and never goes back.

use crate::authority::{Judgement, Rights, Standing};
use crate::clients::Clients;
use crate::config::CoreConfig;
use crate::deferred::Deferred;
use crate::end::Ending;
use crate::event::{Changes, Effects, Wait};
use crate::farewell::Farewells;
use crate::link::Link;
use crate::map::Map;
use crate::memory::Memory;
use crate::message::MessageView;
use crate::node::Node;
use crate::output::Output;
use crate::peer::Outbox;
use crate::route::Routing;
use crate::stats::Stats;
use crate::timers::{Due, Timers};
use crate::turn::Turn;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One worker's state.
#[derive(Debug)]
pub struct Worker {
    pub(crate) index: u16,
    pub(crate) node: Arc<Node>,
    pub(crate) clients: Clients,
    pub(crate) routing: Routing,
    pub(crate) turn: Turn,
    pub(crate) timers: Timers,
    pub(crate) outbox: Outbox,
    /// Clients whose session the store does not know to have ended, and the turn that tells it.
    pub(crate) ending: Map<Arc<str>, u64>,
    /// QoS 2 messages whose packet ids are not durable yet, oldest first.
    pub(crate) deferred: VecDeque<Deferred>,
    /// Clients the store is asked for, and whether their wills have changed since.
    pub(crate) claiming: Map<Arc<str>, bool>,
    /// Sockets that are closed when the end of a will is durable.
    pub(crate) farewells: Farewells,
    /// Bytes of properties that are not forwarded as they came; reused from message to message.
    pub(crate) scratch: Vec<u8>,
    /// Whose turn it is in shared groups.
    pub(crate) share_turn: u32,
}

impl Worker {
    /// Worker `index` of `node`.
    pub fn new(index: u16, node: Arc<Node>, cfg: Arc<CoreConfig>) -> Self {
        Self {
            index,
            clients: Clients::new(node.hash()),
            routing: Routing::new(index, Arc::clone(&node), &cfg),
            turn: Turn::new(cfg, Arc::clone(&node)),
            timers: Timers::new(node.hash()),
            outbox: Outbox::new(node.workers()),
            ending: Map::with_hasher(node.hash()),
            deferred: VecDeque::new(),
            claiming: Map::with_hasher(node.hash()),
            farewells: Farewells::new(node.hash()),
            scratch: Vec::new(),
            share_turn: u32::from(index),
            node,
        }
    }

    /// Ends the turn: what it decided is in [`Self::effects`] now.
    pub fn end_turn(&mut self) {
        let turn = &mut self.turn;
        self.outbox.end_turn(turn);
        let mut wait = std::mem::take(&mut turn.wait);
        if turn.effects.far.iter().any(|batch| batch.stored) {
            // Other nodes wait, even where no client does; behind what went to them before.
            wait = if turn.ops.is_empty() { Wait::ForAll } else { wait.max(Wait::ForThis) };
        }
        let told = std::mem::take(&mut turn.told);
        if !turn.ops.is_empty() || wait == Wait::ForAll || told != 0 && wait != Wait::Nobody {
            let batch = std::mem::take(&mut turn.ops);
            turn.effects.store = Some(Changes { turn: turn.seq, batch, wait, told });
            turn.seq += 1;
        }
        turn.stats.routes_cached = self.routing.len() as u64;
    }

    /// Says whether the store is behind: then clients that wait for it are read no further.
    pub const fn set_store_full(&mut self, full: bool) {
        self.turn.store_full = full;
    }

    /// Says how much memory there is left.
    pub const fn set_memory(&mut self, memory: Memory) {
        self.turn.memory = memory;
    }

    /// A client's user name.
    pub fn username(&self, key: u32) -> Option<&str> {
        self.clients.get(key)?.session.username.as_deref()
    }

    /// Whether there are changes of durable state that [`Self::end_turn`] has not handed over.
    pub const fn has_changes(&self) -> bool {
        !self.turn.ops.is_empty() || matches!(self.turn.wait, Wait::ForAll)
    }

    /// The limits and choices it runs with.
    pub fn config(&self) -> &CoreConfig {
        &self.turn.cfg
    }

    /// Others count from now on. What was said to clients when they connected stays for them, and
    /// so do the sizes of caches and whether state is durable.
    pub fn set_config(&mut self, cfg: Arc<CoreConfig>) {
        self.turn.cfg = cfg;
    }

    /// What clients may do from now on.
    pub fn set_rights(&mut self, rights: Rights) {
        self.turn.rights = rights;
    }

    /// Acts on changed rights: `judge` is asked about every session.
    pub fn enforce(&mut self, now_ms: u64, judge: &dyn Fn(&Standing<'_>) -> Judgement) {
        self.turn.now_ms = now_ms;
        for key in self.keys() {
            let Some(client) = self.clients.get(key) else {
                continue;
            };
            let judgement = judge(&Standing::of(client));
            if judgement == Judgement::Leave {
                self.disconnect(key, Ending::Administrative);
            }
            if judgement != Judgement::Stay {
                self.check_subscriptions(key);
            }
        }
    }

    /// Sends a message of the broker's own to one client, if it is still that one and connected:
    /// the answer to a request on `$CONTROL/`.
    pub fn tell(&mut self, now_ms: u64, key: u32, generation: u32, view: &MessageView<'_>) {
        self.turn.now_ms = now_ms;
        if let Some(client) = self.clients.current(key, generation) {
            client.tell(key, &mut self.turn, view);
        }
    }

    /// What happened since the driver last looked; it takes what it acts on.
    pub const fn effects(&mut self) -> &mut Effects {
        &mut self.turn.effects
    }

    /// What a client has yet to be sent.
    #[inline]
    pub fn output(&mut self, key: u32) -> Option<(u32, &mut Output)> {
        let link = self.clients.get_mut(key)?.link.as_mut()?;
        Some((link.token, &mut link.out))
    }

    /// Tells that output was written: `sent` bytes, and whether the socket takes no more for now.
    pub fn wrote(&mut self, now_ms: u64, key: u32, sent: usize, blocked: bool) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let generation = client.generation;
        let Some(link) = &mut client.link else { return };
        self.turn.now_ms = now_ms;
        self.turn.stats.bytes_sent += sent as u64;
        link.dirty = false;
        if sent > 0 || !link.blocked {
            link.blocked_since_ms = now_ms;
        }
        if blocked && !link.blocked && !link.own && self.turn.cfg.send_timeout_ms != 0 {
            let at_ms = now_ms + self.turn.cfg.send_timeout_ms;
            self.timers.add(at_ms, key, generation, Due::SendTimeout);
        }
        link.blocked = blocked;
        if link.out.is_empty() {
            link.out_messages = 0;
            let buffer = link.out.take_buffer();
            self.turn.pool.put(buffer);
        }
        if !blocked && client.session.has_more() {
            client.pump(key, &mut self.turn);
        }
    }

    /// Tells that all dirty connections were written to: the turn may read on.
    pub const fn flushed(&mut self) {
        self.turn.appended = 0;
        self.turn.flush = false;
    }

    /// Whether the driver has to write before it reads on.
    #[inline]
    pub fn wants_flush(&self) -> bool {
        self.turn.is_full()
    }

    /// When [`Self::tick`] is to be called, if at all, in milliseconds of the driver's clock.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let both = [self.timers.next_ms(), self.farewells.next_ms()];
        both.into_iter().flatten().min()
    }

    /// The counts.
    pub const fn stats(&self) -> &Stats {
        &self.turn.stats
    }

    /// Measures what is too dear to be counted as it changes: messages kept and output pending.
    pub fn measure(&mut self) {
        let stats = &mut self.turn.stats;
        (stats.messages_queued, stats.messages_queued_bytes) = (0, 0);
        (stats.packets_pending, stats.bytes_pending) = (0, 0);
        for (_, client) in &self.clients.slab {
            let (queue, inflight) = (&client.session.queue, &client.session.inflight);
            stats.messages_queued += (queue.counted() + inflight.len()) as u64;
            stats.messages_queued_bytes += queue.bytes() + inflight.bytes();
            if let Some(link) = &client.link {
                stats.packets_pending += link.out_messages as u64;
                stats.bytes_pending += link.pending() as u64;
            }
        }
    }

    /// What the worker shares with the others of its process.
    pub const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Clients connected to this worker, as (client id, `IP:PORT`).
    pub fn connected(&self) -> impl Iterator<Item = (&str, &str)> {
        self.clients
            .slab
            .iter()
            .filter_map(|(_, client)| Some((&*client.id, &*client.link.as_ref()?.address)))
    }

    /// The link of a connection, if it is still that client's.
    pub(crate) fn link_mut(&mut self, key: u32, token: u32) -> Option<&mut Link> {
        self.clients.get_mut(key)?.link.as_deref_mut().filter(|link| link.token == token)
    }

    /// Does what is due: keep alives, wills, session ends, send time-outs, last resorts.
    pub fn tick(&mut self, now_ms: u64) {
        self.turn.now_ms = now_ms;
        self.reset_overdue(now_ms);
        while let Some((_, key, generation, due)) = self.timers.pop(now_ms) {
            if self.clients.current(key, generation).is_none() {
                continue;
            }
            match due {
                Due::KeepAlive => self.check_keep_alive(key, generation),
                Due::SendTimeout => self.check_send_timeout(key, generation),
                Due::Will => self.check_will(key, generation),
                Due::SessionEnd => self.check_session_end(key, generation),
                Due::Login => self.check_login(key, generation),
            }
        }
    }

    /// Removes a client that has neither connection nor session any more.
    pub(crate) fn forget(&mut self, key: u32) {
        let Some(client) = self.clients.remove(key) else {
            return;
        };
        self.timers.forget(key, client.generation);
        self.node.sessions.fetch_sub(1, Ordering::Relaxed);
        if self.node.cluster.is_some() {
            self.turn.effects.forgotten.push(client.id);
        }
    }
}
