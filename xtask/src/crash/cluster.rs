//! Three brokers on a Redis Cluster: clients hop between them while brokers and Redis nodes are
//! killed, hang, wake up and come back.

use super::cast::{Cast, WINDOW};
use super::client::{Client, Context};
use super::cut::{self, Networks};
use super::dice::Dice;
use super::ledger::Ledger;
use super::options::Options;
use super::process::{Network, Process, free_port};
use super::redis::Redis;
use super::{print_rows, retained, tally_of};
use anyhow::{Result, bail};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const BROKERS: usize = 3;
/// Clients of each kind with a will.
const WILLS: usize = 4;
/// Events between two reckonings.
const REST: u64 = 20;
/// How long nothing may come before what has not come counts as lost: longer than an election of
/// Redis, a lease, and all pauses between attempts.
const PATIENCE_MS: u64 = 20_000;
/// The longest will delay, a lease, and some more.
const WILL_DELAYS_MS: u64 = 6_000;
/// How long after a broker could not start it is started again.
const AGAIN_MS: u64 = 500;
/// How long a client waits for CONNACK before it tries another broker.
const CONNACK_MS: u64 = 2_500;

/// Runs; whether all promises were kept.
///
/// # Errors
/// If it cannot be run.
pub(super) fn run(options: &Options, program: &Path) -> Result<bool> {
    let Options { rounds, seed, .. } = options;
    println!("crash: {rounds} events, {BROKERS} brokers, seed {seed}, {}", program.display());
    let dir = options.dir.clone().unwrap_or_else(crate::target_dir);
    let dir = dir.join(format!("crash-{}", std::process::id()));
    let began = Instant::now();
    let mut world = World::new(options, program, &dir)?;
    let ran = world.run(*rounds);
    for (at_ms, what) in world.ledger.chronicle.iter().filter(|_| options.verbose) {
        println!("{at_ms} ms: {what}");
    }
    for case in &world.ledger.cases {
        println!("\n{case}");
    }
    if let Err(error) = ran {
        return Err(error.context(format!("seed {seed}, event {}", world.ledger.round)));
    }
    println!();
    print_rows(&world.counts);
    print_rows(&[("Redis failovers", world.redis.failovers()? as u64)]);
    print_rows(&tally_of(&world.ledger));
    println!("{:<36} {:>9.1} s", "the run", began.elapsed().as_secs_f64());
    for line in world.brokers.iter().flat_map(|broker| broker.process.errors()) {
        println!("a broker's log: {line}");
    }
    let clean = world.ledger.tally.broken() == 0;
    drop(world);
    if !options.keep {
        let _ = std::fs::remove_dir_all(&dir);
    }
    Ok(clean)
}

/// A broker of the three.
struct Broker {
    process: Process,
    /// Stopped (SIGSTOP) until then.
    wakes_ms: Option<u64>,
    /// Dead until then.
    starts_ms: Option<u64>,
}

/// A run.
struct World {
    ledger: Ledger,
    brokers: Vec<Broker>,
    redis: Redis,
    networks: Option<Networks>,
    dice: Dice,
    clients: Vec<Client>,
    streams: Vec<Vec<usize>>,
    began: Instant,
    publishing: bool,
    /// When the Redis node that was stopped goes on, and when those killed are started.
    redis_wakes: Option<(u64, u16)>,
    redis_mends_ms: Option<u64>,
    counts: [(&'static str, u64); 7],
}

const KILLED: usize = 0;
const STOPPED: usize = 1;
const HUNG: usize = 2;
const MASTERS_KILLED: usize = 3;
const MASTERS_HUNG: usize = 4;
const HOPS: usize = 5;
const CUT: usize = 6;

impl World {
    fn new(options: &Options, program: &Path, dir: &Path) -> Result<Self> {
        let networks = if options.cut { Networks::make(BROKERS)? } else { None };
        let place = networks.as_ref().map_or(Ipv4Addr::LOCALHOST, |_| cut::redis_address());
        let redis = Redis::start(&dir.join("redis"), options.seed + 7_000, options.keep, place)?;
        let mut brokers = Vec::new();
        for number in 0..BROKERS {
            let seed = options.seed + 1_500 * (number as u64 + 1);
            let options = Options { seed, ..options.clone() };
            let network = match &networks {
                Some(networks) => Network {
                    address: cut::broker_address(number),
                    wrapper: networks.wrapper(number),
                },
                None => Network { address: Ipv4Addr::LOCALHOST, wrapper: Vec::new() },
            };
            let own = format!(
                "persistence_store {}\nredis_wait 1 1000\ncluster_listener {} {}\n\
                 cluster_node_id n{number}\ncluster_lease_seconds 2\n",
                redis.address(),
                free_port(seed + 700)?,
                network.address,
            );
            let dir = dir.join(format!("broker{number}"));
            let process = Process::of_cluster(&options, program.to_owned(), dir, &own, network)?;
            brokers.push(Broker { process, wakes_ms: None, starts_ms: None });
        }
        let mut ledger = Ledger::default();
        let Cast { clients, streams } = Cast::new(&mut ledger, false, WILLS);
        Ok(Self {
            ledger,
            brokers,
            redis,
            networks,
            dice: Dice::new(options.seed),
            clients,
            streams,
            began: Instant::now(),
            publishing: false,
            redis_wakes: None,
            redis_mends_ms: None,
            counts: [
                ("brokers killed", 0),
                ("brokers stopped", 0),
                ("brokers hung", 0),
                ("Redis masters killed", 0),
                ("Redis masters hung", 0),
                ("clients moved", 0),
                ("networks cut", 0),
            ],
        })
    }

    fn run(&mut self, events: u64) -> Result<()> {
        for (at, broker) in self.brokers.iter_mut().enumerate() {
            broker.process.start()?;
            self.ledger.note(format!("broker: n{at} is at {}", broker.process.port));
        }
        self.rest()?;
        for event in 1..=events {
            self.ledger.round = event;
            self.publishing = true;
            self.shuffle();
            self.event()?;
            let time_ms = self.dice.between(100, 1_500);
            self.pass_for(time_ms)?;
            if event % REST == 0 || event == events {
                self.rest()?;
            }
        }
        Ok(())
    }

    // --- what happens

    /// Who goes away, or to another broker; who changes subscriptions.
    fn shuffle(&mut self) {
        self.now();
        for at in 0..self.clients.len() {
            let (draw, clean) = (self.dice.below(12), self.dice.one_in(2));
            let client = &mut self.clients[at];
            let (was_away, name) = (client.away, client.name.clone());
            if name.starts_with("sleeper") {
                client.away = if was_away { draw < 9 } else { draw < 6 };
            } else if name.starts_with("member") {
                client.away = draw < 4;
            } else if name.starts_with("mortal") {
                client.away = draw < 5;
            } else if name == "changer" {
                for subscription in &mut client.subscriptions {
                    subscription.wanted ^= self.dice.one_in(3);
                }
            }
            if client.away && !was_away || draw >= 9 {
                self.counts[HOPS].1 += 1;
                let (client, mut cx) = self.client(at);
                client.leave(&mut cx, clean);
            }
        }
    }

    fn event(&mut self) -> Result<()> {
        let at = self.dice.below(BROKERS as u64) as usize;
        let now_ms = self.ledger.now_ms;
        let broker = &self.brokers[at];
        let well = broker.wakes_ms.is_none() && broker.starts_ms.is_none();
        // Without networks that can be cut a seed says the same as ever.
        let kinds = if self.networks.is_some() { 12 } else { 8 };
        match self.dice.below(kinds) {
            8.. => self.cut()?,
            0..=2 if well => {
                self.ledger.broker_ends(true);
                self.brokers[at].process.kill();
                let away_ms = self.dice.below(5_000);
                self.brokers[at].starts_ms = Some(now_ms + away_ms);
                self.happened(KILLED, &format!("n{at} killed for {away_ms} ms"));
            }
            3 if well => {
                self.ledger.broker_ends(true);
                let stopped = self.brokers[at].process.stop();
                // While Redis cannot be reached it says what it could not write.
                let bereft = self.networks.as_ref().is_some_and(|it| it.is_bereft(at));
                if self.redis.is_whole() && !bereft {
                    stopped?;
                }
                self.brokers[at].starts_ms = Some(now_ms + self.dice.below(2_000));
                self.happened(STOPPED, &format!("n{at} stopped"));
            }
            4 | 5 if well => {
                let away_ms = self.dice.between(200, 6_000);
                self.signal_broker(at, "-STOP");
                self.brokers[at].wakes_ms = Some(now_ms + away_ms);
                self.happened(HUNG, &format!("n{at} hangs for {away_ms} ms"));
            }
            6 | 7 if self.redis.is_whole() => self.hurt_redis(),
            _ => {}
        }
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        let Some(networks) = &mut self.networks else { return Ok(()) };
        if let Some(what) = networks.cut(&mut self.dice, self.ledger.now_ms)? {
            self.happened(CUT, &what);
        }
        Ok(())
    }

    fn hurt_redis(&mut self) {
        let masters = self.redis.masters();
        if masters.is_empty() {
            return;
        }
        let node = masters[self.dice.below(masters.len() as u64) as usize];
        let away_ms = self.dice.between(500, 6_000);
        let until_ms = self.ledger.now_ms + away_ms;
        if self.dice.one_in(2) {
            self.redis.kill(node);
            self.redis_mends_ms = Some(until_ms);
            self.happened(MASTERS_KILLED, &format!("Redis {node} killed for {away_ms} ms"));
        } else {
            self.redis.signal(node, "-STOP");
            self.redis_wakes = Some((until_ms, node));
            self.happened(MASTERS_HUNG, &format!("Redis {node} hangs for {away_ms} ms"));
        }
    }

    fn happened(&mut self, kind: usize, what: &str) {
        self.counts[kind].1 += 1;
        self.ledger.note(format!("broker: {what}"));
    }

    /// Brings back what is due, or everything.
    fn heal(&mut self, everything: bool) -> Result<()> {
        let now_ms = if everything { u64::MAX } else { self.ledger.now_ms };
        for at in 0..BROKERS {
            if self.brokers[at].wakes_ms.take_if(|due| *due <= now_ms).is_some() {
                self.signal_broker(at, "-CONT");
                self.ledger.note(format!("broker: n{at} goes on"));
            }
            if self.brokers[at].starts_ms.take_if(|due| *due <= now_ms).is_some() {
                self.brokers[at].process.spawn()?;
                self.ledger.note(format!("broker: n{at} starts"));
            }
            let Broker { process, starts_ms, .. } = &mut self.brokers[at];
            if starts_ms.is_none() && process.has_died() {
                if !process.gave_up_starting() {
                    bail!("n{at} ended by itself:\n{}", process.end_of_log());
                }
                // Redis did not answer in time: whoever looks after services tries again.
                *starts_ms = Some(self.ledger.now_ms + AGAIN_MS);
                self.ledger.note(format!("broker: n{at} did not start"));
            }
        }
        if let Some(networks) = &mut self.networks {
            let healed = networks.heal(now_ms)?;
            healed.into_iter().for_each(|what| self.ledger.note(format!("broker: {what}")));
        }
        if let Some((_, node)) = self.redis_wakes.take_if(|(due, _)| *due <= now_ms) {
            self.redis.signal(node, "-CONT");
            self.redis.mend();
            self.ledger.note(format!("broker: Redis {node} goes on"));
        }
        if self.redis_mends_ms.take_if(|due| *due <= now_ms).is_some() {
            self.redis.mend();
            self.ledger.note("broker: Redis mended".to_owned());
        }
        Ok(())
    }

    fn signal_broker(&self, at: usize, signal: &str) {
        if let Some(pid) = self.brokers[at].process.pid() {
            let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
        }
    }

    // --- a rest

    /// Everything runs, everybody comes and takes what there is; then the books have to be right.
    fn rest(&mut self) -> Result<()> {
        self.publishing = false;
        self.now();
        self.heal(true)?;
        for at in 0..self.clients.len() {
            let mortal = self.clients[at].testament.is_some();
            let (client, mut cx) = self.client(at);
            client.away = mortal;
            if mortal {
                client.leave(&mut cx, false);
            }
        }
        let begun_ms = self.ledger.now_ms;
        let mut last = (0, begun_ms);
        loop {
            self.pass_once()?;
            let whole = self.redis.is_whole();
            let now_ms = self.ledger.now_ms;
            let sum = self.ledger.tally.acknowledged + self.ledger.tally.delivered;
            if sum != last.0 || !whole {
                last = (sum, now_ms);
            }
            let mut others = self.clients.iter().filter(|client| client.testament.is_none());
            let calm = now_ms - last.1 > 200;
            let all = calm && others.all(Client::is_settled) && self.ledger.missing() == 0;
            let all_wills = now_ms - begun_ms > WILL_DELAYS_MS && !self.ledger.wills_due();
            if all && all_wills || now_ms - last.1.max(begun_ms) > PATIENCE_MS {
                break;
            }
        }
        for (receiver, payload) in self.ledger.reckon() {
            self.look_for(&receiver, &payload);
        }
        self.ledger.reckon_wills();
        self.reckon_stuck();
        self.check_retained()
    }

    /// Says where Redis still has what was lost.
    fn look_for(&mut self, receiver: &str, payload: &str) {
        for client in receiver.split(' ') {
            let found = self.redis.find(client, payload);
            self.ledger
                .case(&format!("{payload}for {client}, in Redis: {found}"), |_| String::new());
        }
    }

    fn reckon_stuck(&mut self) {
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            if client.testament.is_some() || client.is_settled() {
                continue;
            }
            let (name, left) = (&client.name, client.outgoing.len());
            let text = format!("{name}: {left} messages, or subscriptions, without an answer");
            self.ledger.tally.stuck += 1;
            self.ledger.case(&text, |_| String::new());
        }
    }

    /// All brokers have the same retained messages, and the right ones.
    fn check_retained(&mut self) -> Result<()> {
        for at in 0..BROKERS {
            let found = retained::read(self.brokers[at].process.port, PATIENCE_MS)?;
            for stream in 0..self.ledger.streams.len() {
                let Some(topic) = retained_topic(&self.ledger, stream) else { continue };
                let value = found.iter().find(|(name, _)| *name == topic).map(|(_, seq)| *seq);
                self.ledger.check_retained(stream, value);
            }
        }
        Ok(())
    }

    // --- the clients' turns

    fn pass_for(&mut self, time_ms: u64) -> Result<()> {
        self.now();
        let until_ms = self.ledger.now_ms + time_ms;
        while self.ledger.now_ms < until_ms {
            self.pass_once()?;
        }
        Ok(())
    }

    fn pass_once(&mut self) -> Result<()> {
        if !self.pass() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.heal(false)
    }

    /// Everybody once; whether anything happened.
    fn pass(&mut self) -> bool {
        self.now();
        let mut moved = false;
        for at in 0..self.clients.len() {
            self.publish(at);
            self.lose_patience(at);
            let (client, mut cx) = self.client(at);
            moved |= client.step(&mut cx);
        }
        moved
    }

    fn publish(&mut self, at: usize) {
        let Some(streams) = self.streams.get(at).filter(|_| self.publishing) else {
            return;
        };
        let streams = streams.clone();
        for _ in 0..self.dice.below(3) {
            let stream = streams[self.dice.below(streams.len() as u64) as usize];
            let padding = self.dice.below(200) as usize;
            let (client, mut cx) = self.client(at);
            if client.online && client.outgoing.len() < WINDOW {
                client.publish(&mut cx, stream, padding);
            }
        }
    }

    /// Whoever is not let in, or hears nothing of a broker that hangs, goes to another.
    fn lose_patience(&mut self, at: usize) {
        let client = &self.clients[at];
        let waits_ms = self.ledger.now_ms.saturating_sub(client.since_ms);
        let refused = client.has_link() && !client.online && waits_ms > CONNACK_MS;
        let hangs =
            |broker: &Broker| broker.process.port == client.port && broker.wakes_ms.is_some();
        let bereft = |networks: &Networks| {
            let of = self.brokers.iter().position(|broker| broker.process.port == client.port);
            of.is_some_and(|at| networks.is_bereft(at))
        };
        let bereft = self.networks.as_ref().is_some_and(bereft);
        let silent = client.has_link() && (bereft || self.brokers.iter().any(hangs));
        if refused || silent && self.dice.one_in(500) {
            let (client, mut cx) = self.client(at);
            client.leave(&mut cx, false);
        }
    }

    /// The client, with a broker it may connect to.
    fn client(&mut self, at: usize) -> (&mut Client, Context<'_>) {
        let runs = |broker: &&Broker| broker.starts_ms.is_none();
        let all: Vec<&Broker> = self.brokers.iter().filter(runs).collect();
        let choice = self.dice.below(all.len() as u64) as usize;
        let port = all.get(choice).map_or(1, |broker| broker.process.port);
        let client = &mut self.clients[at];
        let up = all.iter().any(|it| it.process.port == client.port && it.wakes_ms.is_none());
        (client, Context { port, up, dice: &mut self.dice, ledger: &mut self.ledger })
    }

    fn now(&mut self) {
        self.ledger.now_ms = self.began.elapsed().as_millis() as u64;
    }
}

fn retained_topic(ledger: &Ledger, stream: usize) -> Option<String> {
    let stream = &ledger.streams[stream];
    stream.retain.then(|| stream.topic.clone())
}
