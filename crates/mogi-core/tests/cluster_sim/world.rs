//! The whole simulation: steps in random order, then quiet, then the reckoning.

use crate::client::Client;
use crate::lags::{Lags, Slow};
use crate::link::Wires;
use crate::oracle::{Oracle, Subject};
use crate::plan::{LEASE_MS, Plan, Storm};
use crate::rng::Rng;
use crate::site::{Life, Site};
use crate::store::{SHARDS, Store};
use crate::trace::note;
use crate::wills::Wills;
use mogi_codec::QoS;

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) now_ms: u64,
    pub(crate) sites: Vec<Site>,
    pub(crate) wires: Wires,
    pub(crate) lags: Lags,
    pub(crate) store: Store,
    pub(crate) clients: Vec<Client>,
    pub(crate) oracle: Oracle,
    pub(crate) wills: Wills,
    pub(crate) next_token: u32,
    pub(crate) seed: u64,
    pub(crate) outcome: Outcome,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) published: usize,
    pub(crate) delivered: usize,
    pub(crate) connections: u32,
    pub(crate) hops: u32,
    pub(crate) crashes: u32,
    pub(crate) hangs: u32,
    pub(crate) cuts: u32,
    pub(crate) failovers: u32,
    pub(crate) adopted: u32,
}

impl Outcome {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.delivered += other.delivered;
        self.connections += other.connections;
        self.hops += other.hops;
        self.crashes += other.crashes;
        self.hangs += other.hangs;
        self.cuts += other.cuts;
        self.failovers += other.failovers;
        self.adopted += other.adopted;
    }
}

/// Rounds in which everything has to come to rest.
const CALM_ROUNDS: usize = 50_000;

impl World {
    pub(crate) fn new(seed: u64, storm: &Storm) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng, storm);
        Self::with_plan(seed, plan, rng)
    }

    pub(crate) fn with_plan(seed: u64, plan: Plan, mut rng: Rng) -> Self {
        let mut clients = vec![Client::new("c0".to_owned(), mogi_codec::Version::V5, true)];
        clients.extend((1..=plan.clients).map(|at| Client::random(at, &mut rng)));
        for client in &mut clients[1..] {
            client.group = plan.shared && rng.percent(60);
        }
        let now_ms = 1_000_000;
        let mut sites: Vec<Site> = (0..plan.sites).map(|at| Site::new(at, &plan, seed)).collect();
        for site in &mut sites {
            (site.incarnation, site.lease_ms) = (1, now_ms + LEASE_MS);
        }
        let subjects = clients.iter().map(|_| Subject::default()).collect();
        let oracle = Oracle { subjects, ..Oracle::default() };
        Self {
            rng,
            now_ms,
            wires: Wires::new(),
            lags: Lags::new(seed, plan.lags, plan.lag_steps),
            store: Store::new(plan.sites),
            sites,
            clients,
            oracle,
            wills: Wills::default(),
            next_token: 1,
            seed,
            outcome: Outcome::default(),
            plan,
        }
    }

    /// Runs all of it; panics where something is not as it has to be.
    pub(crate) fn run(&mut self, steps: Option<usize>) -> Outcome {
        note(|| format!("{:?}", self.plan));
        self.settle("start");
        self.connect(0, 0, false);
        self.settle("watcher");
        self.ask(0, &[("w/+".to_owned(), Some(QoS::ExactlyOnce))]);
        self.settle("watcher subscribes");
        for _ in 0..steps.unwrap_or(self.plan.steps).min(self.plan.steps) {
            self.step();
        }
        note(|| "calm".to_owned());
        self.calm_down();
        self.check_at_rest();
        self.check_probe();
        self.clean_up();
        self.outcome.published = self.oracle.messages.len();
        self.outcome.delivered = self.oracle.delivered;
        self.outcome.connections = self.next_token - 1;
        self.outcome.failovers = self.store.failovers;
        self.outcome.adopted += self.sites.iter().map(|site| site.adopted).sum::<u32>();
        self.outcome.clone()
    }

    /// One thing happens.
    fn step(&mut self) {
        self.trouble();
        self.lags.begin_step(&self.plan, self.now_ms);
        match self.rng.weighted(&self.plan.weights) {
            0 => self.act(),
            1 => {
                let site = self.rng.below(self.sites.len());
                let conns = &self.sites[site].conns;
                let nth = self.rng.below(conns.len());
                let Some(token) = conns.keys().nth(nth).copied() else { return };
                if self.rng.percent(50) && self.is_up(site) {
                    self.sites[site].take_in(&mut self.store, token, self.now_ms);
                } else {
                    self.read(site, token);
                }
            }
            2 => {
                let site = self.rng.below(self.sites.len());
                if self.is_up(site) {
                    self.turn(site);
                }
            }
            3 => {
                let busy = self.store.busy();
                if !busy.is_empty() && self.rng.percent(70) {
                    let at = self.rng.below(busy.len());
                    if !self.lags.holds(&busy[at]) {
                        self.store.work(&busy[at], self.now_ms);
                    }
                } else {
                    let site = self.rng.below(self.sites.len());
                    if !self.lags.is_slow(Slow::Replies(site)) {
                        self.take_replies(site);
                    }
                }
            }
            4 => {
                let (from, to) =
                    (self.rng.below(self.sites.len()), self.rng.below(self.sites.len()));
                // Where the others are to serve on, a node that starts is not left alone for long.
                match self.rng.below(if self.plan.singly { 3 } else { 8 }) {
                    0 => drop(self.look(from)),
                    _ if from != to && !self.lags.is_slow(Slow::Link(from, to)) => {
                        let _ = self.work_link(from, to);
                    }
                    _ => {}
                }
            }
            _ => {
                self.now_ms += self.rng.below(self.plan.pace_ms + 1) as u64;
                self.pass_time();
            }
        }
    }

    /// Something goes wrong, now and then.
    fn trouble(&mut self) {
        let due = |rng: &mut Rng, chance: usize| rng.below(10_000) < chance;
        if due(&mut self.rng, self.plan.hops) {
            let client = self.rng.below(self.clients.len());
            self.hop(client);
        }
        if due(&mut self.rng, self.plan.crashes) {
            let site = self.rng.below(self.sites.len());
            let all = (0..self.sites.len()).all(|site| self.takes_clients(site));
            if all || !self.plan.singly {
                self.crash(site);
            }
        }
        if due(&mut self.rng, self.plan.hangs) {
            let site = self.rng.below(self.sites.len());
            self.hang(site);
        }
        if due(&mut self.rng, self.plan.cuts) {
            let (a, b) = (self.rng.below(self.sites.len()), self.rng.below(self.sites.len()));
            self.cut(a, b);
        }
        if due(&mut self.rng, self.plan.failovers) {
            let shard = self.rng.below(SHARDS);
            self.store.fail_over(shard, &mut self.rng);
        }
        if due(&mut self.rng, 100) {
            self.recover();
        }
    }

    pub(crate) fn is_up(&self, site: usize) -> bool {
        self.sites[site].life == Life::Up
    }

    /// A site's worker ends its turn, or passes mail on; or what is durable is told.
    fn turn(&mut self, site: usize) {
        let workers = self.plan.workers;
        let (a, b) = (self.rng.below(workers) as u16, self.rng.below(workers) as u16);
        match self.rng.below(4) {
            0 => drop(self.sites[site].deliver_mail(a, b, self.now_ms)),
            1 => drop(self.release(site)),
            _ => self.sites[site].end_turn(&mut self.store, a, self.now_ms),
        }
    }

    /// Tells a site what is durable, if it is a member still.
    pub(crate) fn release(&mut self, site: usize) -> bool {
        let at = &mut self.sites[site];
        if at.life != Life::Up || at.lease_ms <= self.now_ms {
            return false;
        }
        at.told_doors(&mut self.store);
        at.release(&mut self.store, self.now_ms)
    }

    pub(crate) fn take_replies(&mut self, site: usize) -> bool {
        if !self.is_up(site) {
            return false;
        }
        let Some(reply) = self.store.replies[site].pop_front() else { return false };
        self.sites[site].reply(&mut self.store, reply, self.now_ms);
        true
    }

    /// A client does something.
    fn act(&mut self) {
        let client = self.rng.below(self.clients.len());
        if !self.is_on(client) {
            let away = self.clients[client].away_until_ms > self.now_ms;
            if self.clients[client].token.is_none() && !away {
                let site = match self.rng.percent(50) {
                    true => self.clients[client].site,
                    false => self.rng.below(self.sites.len()),
                };
                if self.takes_clients(site) {
                    let anew = self.clients[client].version.is_v5() && client > 0;
                    // A late CONNECT would end the session, and what is sent again begin anew.
                    let anew = anew && !self.plan.exact;
                    let clean = anew && self.rng.percent(3);
                    self.connect(client, site, clean);
                }
            }
            return;
        }
        match self.rng.below(20) {
            0..=6 if !self.clients[client].acks.is_empty() => drop(self.acknowledge(client)),
            0..=6 => {}
            7..=9 if client > 0 => self.subscribe_some(client),
            10 if self.rng.percent(30) => {
                self.disconnect(client);
                let away = self.rng.below(20 * self.plan.pace_ms);
                self.clients[client].away_until_ms = self.now_ms + away as u64;
            }
            _ if self.clients[client].flows.len() < 8 => self.publish_some(client),
            _ => {}
        }
    }

    pub(crate) fn takes_clients(&self, site: usize) -> bool {
        self.is_up(site) && self.sites[site].ready
    }

    fn any_qos(&mut self) -> QoS {
        match self.plan.exact {
            true => QoS::ExactlyOnce,
            false => *self.rng.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
        }
    }

    fn subscribe_some(&mut self, client: usize) {
        let filters = ["t/0", "t/1", "t/2", "u/+", "r/#", "$share/a/g/+", "$share/b/g/0"];
        let most = if self.clients[client].group { 7 } else { 5 };
        let filter = filters[self.rng.below(most)].to_owned();
        let qos = self.any_qos();
        let there = self.oracle.subjects[client].subs.iter().any(|it| it.filter == filter);
        let qos = if there && self.rng.percent(40) { None } else { Some(qos) };
        self.ask(client, &[(filter, qos)]);
    }

    fn publish_some(&mut self, client: usize) {
        let topic = match self.rng.below(10) {
            0..=5 => format!("t/{}", self.rng.below(3)),
            6..=7 => format!("u/{}", self.rng.below(2)),
            8 if self.plan.retained => format!("r/{client}"),
            _ if self.plan.shared => format!("g/{}", self.rng.below(2)),
            _ => "t/0".to_owned(),
        };
        let qos = self.any_qos();
        let empty = self.rng.percent(20);
        self.publish(client, &topic, qos, empty);
    }

    /// A client is at another site all of a sudden.
    fn hop(&mut self, client: usize) {
        let site = self.rng.below(self.sites.len());
        if self.takes_clients(site) {
            self.outcome.hops += 1;
            self.connect(client, site, false);
        }
    }

    /// Does everything there is until nothing moves.
    pub(crate) fn settle(&mut self, what: &str) {
        let mut still = 0;
        for _ in 0..CALM_ROUNDS {
            still = if self.calm_round() { 0 } else { still + 1 };
            // What is released in one round leaves with the next.
            if still == 4 {
                return;
            }
        }
        panic!("{what}: no rest after {CALM_ROUNDS} rounds");
    }

    fn calm_round(&mut self) -> bool {
        let mut moved = false;
        self.pass_time();
        for site in 0..self.sites.len() {
            if !self.is_up(site) {
                continue;
            }
            moved |= self.look(site);
            let tokens: Vec<u32> = self.sites[site].conns.keys().copied().collect();
            for token in tokens {
                if let Some(conn) = self.sites[site].conns.get(&token)
                    && !conn.ended
                    && !conn.at_door
                    && (!conn.up.is_empty() || conn.up_closed)
                {
                    moved = true;
                    self.sites[site].take_in(&mut self.store, token, self.now_ms);
                }
                moved |= self.read(site, token);
            }
            moved |= self.site_round(site);
        }
        for at in self.store.busy() {
            moved |= self.store.work(&at, self.now_ms);
        }
        for from in 0..self.sites.len() {
            moved |= self.take_replies(from);
            for to in (0..self.sites.len()).filter(|to| *to != from) {
                moved |= self.work_link(from, to);
            }
        }
        for client in 0..self.clients.len() {
            moved |= self.is_on(client) && self.acknowledge(client);
        }
        moved
    }

    fn site_round(&mut self, site: usize) -> bool {
        let mut moved = false;
        let workers = self.plan.workers as u16;
        for worker in 0..workers {
            let pending = self.sites[site].pending.len();
            self.sites[site].end_turn(&mut self.store, worker, self.now_ms);
            moved |= self.sites[site].pending.len() != pending;
            for to in 0..workers {
                moved |= self.sites[site].deliver_mail(worker, to, self.now_ms);
            }
        }
        moved |= self.release(site);
        moved
    }
}
