//! The whole simulation: steps in random order, then quiet, then the reckoning.

use crate::broker::{Broker, Cause, Event};
use crate::client::{Client, Life, Phase};
use crate::monitor::Monitor;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::trace::note;
use crate::wills::Wills;
use mogi_codec::Version;
use std::collections::BTreeMap;

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) broker: Broker,
    pub(crate) clients: Vec<Client>,
    pub(crate) oracle: Oracle,
    pub(crate) wills: Wills,
    pub(crate) monitors: BTreeMap<u32, Monitor>,
    pub(crate) next_token: u32,
    /// Nothing is lost, blocked or begun any more.
    pub(crate) calm: bool,
    pub(crate) crashes: u32,
    /// Messages that brokers dropped before they crashed.
    pub(crate) dropped_before: u64,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) published: usize,
    pub(crate) delivered: usize,
    pub(crate) dropped: u64,
    pub(crate) connections: u32,
    pub(crate) wills: usize,
    pub(crate) crashes: u32,
}

/// Milliseconds that may pass within a turn.
pub(crate) const LONG_TURN_MS: usize = 1000;

/// Rounds in which everything has to come to rest.
const CALM_ROUNDS: usize = 30_000;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        Self::with_plan(seed, plan, rng)
    }

    pub(crate) fn with_plan(seed: u64, plan: Plan, mut rng: Rng) -> Self {
        let mut broker = Broker::new(&plan, seed);
        let life = if plan.crashes > 0 { Life::Lasting } else { Life::Clean };
        let mut watcher = Client::new(0, Version::V5, life);
        watcher.steady = true;
        watcher.receive_maximum = Some(65_535);
        let mut clients = vec![watcher];
        clients.extend((1..=plan.clients).map(|at| Client::random(at, &plan, &mut rng)));
        broker.names = clients.iter().map(|client| client.name.clone()).collect();
        let mut oracle = Oracle::new(&plan);
        for (client, subject) in clients.iter().zip(&mut oracle.subjects) {
            subject.packet_limit = client.packet_limit;
        }
        Self {
            rng,
            broker,
            clients,
            oracle,
            wills: Wills::default(),
            monitors: BTreeMap::new(),
            next_token: 1,
            calm: false,
            crashes: 0,
            dropped_before: 0,
            plan,
        }
    }

    /// Runs all of it; panics where something is not as it has to be.
    pub(crate) fn run(&mut self, steps: Option<usize>) -> Outcome {
        note(|| format!("{:?}", self.plan));
        self.calm = true;
        match self.clients[0].life {
            Life::Clean => self.connect(0),
            _ => self.connect_as(0, false, u32::MAX, false),
        }
        self.settle("start");
        self.subscribe_to(0, &[("w/#".to_owned(), full_options())]);
        self.settle("watcher");
        self.calm = false;
        for _ in 0..steps.unwrap_or(self.plan.steps).min(self.plan.steps) {
            self.step();
        }
        self.calm = true;
        note(|| "calm".to_owned());
        self.check_at_rest();
        self.check_wills();
        self.clean_up();
        Outcome {
            published: self.oracle.messages.len(),
            delivered: self.oracle.delivered,
            dropped: self.dropped(),
            connections: self.next_token - 1,
            wills: self.oracle.wills_seen.len(),
            crashes: self.crashes,
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        let workers = self.broker.workers.iter();
        self.dropped_before + workers.map(|worker| worker.stats().dropped()).sum::<u64>()
    }

    /// One thing happens.
    fn step(&mut self) {
        if self.rng.below(10_000) < self.plan.crashes {
            self.crash();
        }
        let workers = usize::from(self.plan.workers);
        if self.rng.below(10_000) < self.plan.losses {
            self.lose_one();
        }
        if self.rng.below(10_000) < self.plan.takeovers {
            let client = 1 + self.rng.below(self.plan.clients);
            self.forget_connection(client);
            self.connect(client);
        }
        let most = self.plan.chunk;
        match self.rng.weighted(&self.plan.weights.clone()) {
            0 => self.act(),
            1 => {
                if let Some(token) = self.pick_conn() {
                    let bytes = self.rng.range(1, most);
                    self.broker.take_in(token, bytes);
                }
            }
            2 => {
                if let Some(token) = self.pick_conn() {
                    self.read(token, most);
                    self.give_room(token);
                }
            }
            3 => {
                let (from, to) = (self.rng.below(workers), self.rng.below(workers));
                self.broker.deliver_mail(from as u16, to as u16, &mut self.rng);
            }
            4 if self.rng.percent(40) => drop(self.broker.ledger.redeem()),
            4 if self.rng.percent(40) => drop(self.broker.answer()),
            4 => drop(self.broker.report(self.rng.below(workers) as u16)),
            5 => self.broker.end_turn(self.rng.below(workers) as u16),
            _ => self.pass_time(),
        }
        self.drain_events();
    }

    fn pass_time(&mut self) {
        if self.plan.pace_ms > LONG_TURN_MS {
            self.finish_turns();
        }
        let ms = self.rng.below(self.plan.pace_ms + 1);
        self.broker.now_ms += ms as u64;
        note(|| format!("{} ms", self.broker.now_ms));
        for worker in 0..self.plan.workers {
            self.broker.tick(worker);
        }
    }

    /// Turns take no seconds, nor do messages between workers.
    fn finish_turns(&mut self) {
        for _ in 0..3 {
            for worker in 0..self.plan.workers {
                self.broker.end_turn(worker);
                for other in 0..self.plan.workers {
                    while self.broker.deliver_mail(worker, other, &mut self.rng) {}
                }
            }
        }
        self.drain_events();
    }

    fn pick_conn(&mut self) -> Option<u32> {
        let conns = &self.broker.conns;
        let nth = self.rng.below(conns.len());
        conns.keys().nth(nth).copied()
    }

    fn give_room(&mut self, token: u32) {
        let narrow = self.broker.conns.get(&token).is_some_and(|conn| conn.room != usize::MAX);
        if narrow && self.rng.percent(50) {
            let room = self.rng.range(1, 300);
            self.broker.writable(token, room);
        }
    }

    /// What the broker did is told to monitors and clients' books.
    pub(crate) fn drain_events(&mut self) {
        while let Some(event) = self.broker.events.pop_front() {
            match event {
                Event::Opened { token } => self.wills.opened(token, &self.broker),
                Event::Left { token, bytes } => self.watch(token, &bytes),
                Event::Closed { token } => self.wills.closed(token),
                Event::Ended { token, cause } => self.connection_ended(token, cause),
            }
        }
        let clients = &self.clients;
        self.broker.conns.retain(|token, conn| {
            let held = clients[conn.client].token == Some(*token);
            held || !conn.is_over() || !conn.down_closed
        });
    }

    fn connection_ended(&mut self, token: u32, cause: Cause) {
        let ends = self.broker.conns.get(&token).is_some_and(|conn| conn.ends_session);
        if ends && matches!(cause, Cause::Goodbye(_)) {
            self.wills.set_expiry_s(token, 0);
        }
        self.wills.ended(token, cause, self.broker.now_ms);
        let Some(conn) = self.broker.conns.get(&token) else {
            return;
        };
        let client = conn.client;
        let expiry_s = self.wills.expiry_s(token);
        if self.clients[client].token == Some(token) {
            match expiry_s {
                0 => self.oracle.end_session(client),
                u32::MAX => {}
                _ => self.oracle.subjects[client].ending = true,
            }
        }
    }

    /// Breaks a connection: what is on its way may arrive, up to a point, and is followed by
    /// nothing.
    fn lose_one(&mut self) {
        let Some(token) = self.pick_conn() else {
            return;
        };
        let Some(conn) = self.broker.conns.get_mut(&token) else {
            return;
        };
        let client = conn.client;
        if self.clients[client].steady || conn.cut {
            return;
        }
        note(|| format!("network: {token} of client {client} breaks"));
        conn.cut = true;
        let (up, down) = (conn.up.len() + 1, conn.down.len() + 1);
        conn.up.truncate(self.rng.below(up));
        conn.down.truncate(self.rng.below(down));
        conn.down_closed = true;
        conn.up_closed = true;
        if self.clients[client].token == Some(token) && self.rng.percent(70) {
            self.forget_connection(client);
        }
    }

    /// The client gives up its connection; the broker does not know yet.
    pub(crate) fn forget_connection(&mut self, client: usize) {
        let Some(token) = self.clients[client].token else {
            return;
        };
        note(|| format!("client {client}: lets go of {token}"));
        self.go_away(client);
        if let Some(conn) = self.broker.conns.get_mut(&token) {
            conn.up_closed = true;
            conn.cut = true;
            conn.down.clear();
            conn.down_closed = true;
        }
        match self.clients[client].expiry_s {
            0 => self.oracle.end_session(client),
            u32::MAX => {}
            _ => self.oracle.subjects[client].ending = true,
        }
        self.clients[client].reset_connection();
    }

    /// Some clients stay away for a while: until their session expires, or their messages do.
    pub(crate) fn go_away(&mut self, client: usize) {
        if self.rng.percent(20) {
            let away_ms = self.rng.below(100 * self.plan.pace_ms + 1);
            self.clients[client].away_until_ms = self.broker.now_ms + away_ms as u64;
        }
    }

    /// Delivers everything there is until nothing moves.
    pub(crate) fn settle(&mut self, what: &str) {
        for _ in 0..CALM_ROUNDS {
            if !self.calm_round() {
                return;
            }
        }
        panic!("{what}: no rest after {CALM_ROUNDS} rounds");
    }

    fn calm_round(&mut self) -> bool {
        let mut moved = false;
        let tokens: Vec<u32> = self.broker.conns.keys().copied().collect();
        for token in tokens {
            let Some(conn) = self.broker.conns.get_mut(&token) else {
                continue;
            };
            conn.room = usize::MAX;
            let ended = conn.ended.is_some();
            if ended {
                conn.up.clear();
            }
            moved |= conn.blocked && !ended;
            self.broker.writable(token, 0);
            let Some(conn) = self.broker.conns.get(&token) else {
                continue;
            };
            if conn.ended.is_none() && (!conn.up.is_empty() || conn.up_closed) {
                moved = true;
                let most = self.rng.range(1, self.plan.chunk.max(20_000));
                self.broker.take_in(token, most);
            }
            self.drain_events();
            moved |= self.read(token, usize::MAX);
        }
        for worker in 0..self.plan.workers {
            self.broker.end_turn(worker);
            for other in 0..self.plan.workers {
                moved |= self.broker.deliver_mail(worker, other, &mut self.rng);
            }
            moved |= self.broker.tick(worker);
            moved |= self.broker.report(worker);
        }
        moved |= self.broker.ledger.redeem();
        moved |= self.broker.answer();
        moved |= self.broker.has_mail();
        moved |= self.broker.conns.values().any(|conn| !conn.down.is_empty());
        for client in 0..self.clients.len() {
            moved |= self.send_acks(client, usize::MAX);
        }
        self.drain_events();
        moved
    }

    /// Whether a client has a connection the broker has greeted.
    pub(crate) fn is_on(&self, client: usize) -> bool {
        self.clients[client].phase == Phase::On
    }
}

pub(crate) fn full_options() -> mogi_codec::SubscribeOptions {
    mogi_codec::SubscribeOptions { qos: mogi_codec::QoS::ExactlyOnce, ..Default::default() }
}
