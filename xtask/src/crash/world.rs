//! The clients of a run, and its rounds.

use super::cast::{Cast, WINDOW};
use super::client::{Client, Context};
use super::dice::Dice;
use super::ledger::Ledger;
use super::options::Options;
use super::process::{self, Process};
use super::retained;
use anyhow::{Context as _, Result, bail};
use std::time::{Duration, Instant};

/// Rounds between two reckonings.
const REST: u64 = 40;
/// How long nothing may come before what has not come counts as lost.
const PATIENCE_MS: u64 = 4_000;
/// The longest will delay, and some more.
const WILL_DELAYS_MS: u64 = 1_500;

/// How a round ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// After some time, in milliseconds.
    After(u64),
    /// With the nth acknowledgement.
    AtAck(u64),
    /// When files of the store come or go, under a heavier load.
    AtFlush,
    /// The broker stops by itself (SIGTERM).
    Stop(u64),
}

/// A run.
pub(super) struct World {
    pub(super) process: Process,
    pub(super) ledger: Ledger,
    dice: Dice,
    clients: Vec<Client>,
    /// Of each publisher: its streams.
    streams: Vec<Vec<usize>>,
    began: Instant,
    publishing: bool,
    padding: u64,
    up: bool,
    flushes: u64,
}

impl World {
    pub(super) fn new(options: &Options, process: Process) -> Self {
        let mut ledger = Ledger::default();
        ledger.silent = options.stock;
        let Cast { clients, streams } = Cast::new(&mut ledger, options.stock, 1);
        Self {
            process,
            ledger,
            dice: Dice::new(options.seed),
            clients,
            streams,
            began: Instant::now(),
            publishing: false,
            padding: 64,
            up: true,
            flushes: 0,
        }
    }

    /// Everything.
    pub(super) fn run(&mut self, rounds: u64) -> Result<()> {
        self.start()?;
        self.rest(true)?;
        for round in 1..=rounds {
            self.ledger.round = round;
            self.round()?;
            if round % REST == 0 || round == rounds {
                self.rest(true)?;
            }
        }
        Ok(())
    }

    /// Rounds that ended with a change of the store's files.
    pub(super) const fn flushes(&self) -> u64 {
        self.flushes
    }

    // --- a round

    fn round(&mut self) -> Result<()> {
        self.shuffle();
        self.publishing = true;
        let end = match self.dice.below(12) {
            0..=3 => End::After(self.dice.between(1, 150)),
            4..=7 => End::AtAck(self.dice.between(1, 120)),
            8..=10 => End::AtFlush,
            _ => End::Stop(self.dice.between(1, 100)),
        };
        self.padding = if matches!(end, End::AtFlush) { 12_000 } else { 200 };
        self.load(end)?;
        self.publishing = false;
        self.up = false;
        self.ledger.broker_ends(!matches!(end, End::Stop(_)));
        let kind = if matches!(end, End::Stop(_)) { "stopped" } else { "killed" };
        match end {
            End::Stop(_) => self.process.stop()?,
            _ => self.process.kill(),
        }
        self.pump();
        self.ledger.note(format!("broker {kind} {end:?}"));
        if self.dice.one_in(4) {
            self.stillborn()?;
        }
        self.start()?;
        if self.dice.one_in(6) {
            let brief_us = self.dice.below(8_000);
            self.pump_for(Duration::from_micros(brief_us));
            self.up = false;
            self.ledger.broker_ends(true);
            self.process.kill();
            self.pump();
            self.ledger.note(format!("broker killed {brief_us} us after its start"));
            self.start()?;
        }
        if self.dice.one_in(4) {
            self.check_retained(false)?;
        }
        Ok(())
    }

    /// Who is away, who changes subscriptions, whose connection ends how.
    fn shuffle(&mut self) {
        for at in 0..self.clients.len() {
            let (draw, clean) = (self.dice.below(12), self.dice.one_in(2));
            let name = self.clients[at].name.clone();
            let client = &mut self.clients[at];
            let was_away = client.away;
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
            let leaves = client.away && !was_away || draw == 11;
            if leaves && !name.starts_with("pub") {
                let (client, mut cx) = self.client(at);
                client.leave(&mut cx, clean);
            }
        }
    }

    fn load(&mut self, end: End) -> Result<()> {
        let begun = Instant::now();
        let acks = self.ledger.tally.acknowledged;
        let files = self.process.files();
        let mut passes = 0;
        loop {
            passes += 1;
            let target = match end {
                End::AtAck(count) => acks + count,
                _ => u64::MAX,
            };
            if !self.pass(target) {
                std::thread::sleep(Duration::from_micros(100));
            }
            let elapsed_ms = begun.elapsed().as_millis() as u64;
            let due = match end {
                End::After(ms) | End::Stop(ms) => elapsed_ms >= ms,
                End::AtAck(_) => self.ledger.tally.acknowledged >= target || elapsed_ms > 400,
                End::AtFlush => {
                    let flushed = passes % 4 == 0 && self.process.files() != files;
                    self.flushes += u64::from(flushed);
                    flushed || elapsed_ms > 500
                }
            };
            if due {
                return Ok(());
            }
            self.check_alive()?;
        }
    }

    /// Starts the broker and kills it before it is ready, or about then.
    fn stillborn(&mut self) -> Result<()> {
        let usual_us = self.process.starts_ms.last().map_or(20_000.0, |ms| ms * 1_200.0) as u64;
        let after = Duration::from_micros(self.dice.below(usual_us.max(1)));
        self.up = true;
        self.process.spawn()?;
        self.pump_for(after);
        self.up = false;
        self.ledger.broker_ends(true);
        self.process.kill();
        self.pump();
        self.ledger.note(format!("broker killed {after:?} into its start"));
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        let begun = Instant::now();
        self.up = true;
        self.process.start()?;
        // It listens before its store is read; it serves when somebody is answered.
        while !self.clients.iter().any(|client| client.online) {
            if !self.pass(u64::MAX) {
                std::thread::sleep(Duration::from_micros(200));
            }
            self.check_alive()?;
            if begun.elapsed() > process::START {
                bail!("the broker answers nobody:\n{}", self.process.end_of_log());
            }
        }
        let took_ms = begun.elapsed().as_secs_f64() * 1000.0;
        self.process.starts_ms.push(took_ms);
        self.ledger.note(format!("broker started in {took_ms:.1} ms"));
        Ok(())
    }

    // --- a rest

    /// Everybody comes and takes what there is; then the books have to be right.
    fn rest(&mut self, wills: bool) -> Result<()> {
        self.publishing = false;
        self.padding = 64;
        for at in 0..self.clients.len() {
            let mortal = self.clients[at].testament.is_some();
            let (client, mut cx) = self.client(at);
            client.away = mortal;
            if mortal {
                client.leave(&mut cx, false);
            }
        }
        self.now();
        let begun_ms = self.ledger.now_ms;
        let mut last = (0, begun_ms);
        loop {
            if !self.pass(u64::MAX) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.check_alive()?;
            let now_ms = self.ledger.now_ms;
            let tally = &self.ledger.tally;
            let sum = tally.acknowledged + tally.delivered;
            if sum != last.0 {
                last = (sum, now_ms);
            }
            let waited_ms = now_ms - begun_ms;
            let mut others = self.clients.iter().filter(|client| client.testament.is_none());
            let calm = now_ms - last.1 > 60;
            let all = calm && others.all(Client::is_settled) && self.ledger.missing() == 0;
            let all_wills = !wills || waited_ms > WILL_DELAYS_MS && !self.ledger.wills_due();
            if all && all_wills || now_ms - last.1.max(begun_ms) > PATIENCE_MS {
                break;
            }
        }
        let _ = self.ledger.reckon();
        self.ledger.reckon_wills();
        self.reckon_stuck();
        self.check_retained(true)
    }

    /// Messages and subscriptions that get no answer.
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

    /// Reads all retained messages with a new client, and compares.
    fn check_retained(&mut self, quiet: bool) -> Result<()> {
        let found = retained::read(self.process.port, PATIENCE_MS)
            .with_context(|| self.process.end_of_log())?;
        for stream in 0..self.ledger.streams.len() {
            let Stream { topic, retain } = self.stream(stream);
            if retain {
                let value = found.iter().find(|(name, _)| *name == topic).map(|(_, seq)| *seq);
                self.ledger.check_retained(stream, value);
            }
        }
        // Between two crashes it was read while nobody else was served.
        if !quiet {
            self.pump();
        }
        Ok(())
    }

    fn stream(&self, stream: usize) -> Stream {
        let stream = &self.ledger.streams[stream];
        Stream { topic: stream.topic.clone(), retain: stream.retain }
    }

    // --- the clients' turns

    /// Everybody once, until as many acknowledgements have come; whether anything happened.
    fn pass(&mut self, acks: u64) -> bool {
        self.now();
        let mut moved = false;
        for at in 0..self.clients.len() {
            self.publish(at);
            let (client, mut cx) = self.client(at);
            moved |= client.step(&mut cx);
            if self.ledger.tally.acknowledged >= acks {
                return true;
            }
        }
        moved
    }

    fn publish(&mut self, at: usize) {
        let Some(streams) = self.streams.get(at).filter(|_| self.publishing) else {
            return;
        };
        let streams = streams.clone();
        for _ in 0..self.dice.below(6) {
            let stream = streams[self.dice.below(streams.len() as u64) as usize];
            let padding = self.dice.below(self.padding) as usize;
            let (client, mut cx) = self.client(at);
            if client.online && client.outgoing.len() < WINDOW {
                client.publish(&mut cx, stream, padding);
            }
        }
    }

    /// Takes what there still is after the broker's end.
    fn pump(&mut self) {
        for _ in 0..2 {
            self.pass(u64::MAX);
        }
    }

    fn pump_for(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            if !self.pass(u64::MAX) {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }

    fn client(&mut self, at: usize) -> (&mut Client, Context<'_>) {
        let (dice, ledger) = (&mut self.dice, &mut self.ledger);
        (&mut self.clients[at], Context { port: self.process.port, up: self.up, dice, ledger })
    }

    fn now(&mut self) {
        self.ledger.now_ms = self.began.elapsed().as_millis() as u64;
    }

    fn check_alive(&mut self) -> Result<()> {
        if self.process.has_died() {
            bail!("the broker ended by itself:\n{}", self.process.end_of_log());
        }
        Ok(())
    }
}

/// What of a stream is needed while the ledger is written.
struct Stream {
    topic: String,
    retain: bool,
}
