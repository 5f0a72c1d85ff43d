//! A worker's turns: read everything that is ready, decide, write once per dirty connection.
//!
//! * `cluster`: sessions that come from other nodes, messages that go there
//! * `door`: which of them come in
//! * `entry`: new connections
//! * `gate`: which turns are answered
//! * `transport`: their TLS, WebSocket and PROXY headers
//! * `login`: clients that wait to be let in
//! * `exchange`: those who show who they are by AUTH packets
//! * `input`: reading
//! * `mail`: what other workers have sent
//! * `output`: the end of a turn
//! * `rates`: clients that publish more than they may
//! * `store`: what is to be durable, and what comes back

mod cluster;
mod door;
mod entry;
mod exchange;
mod gate;
mod input;
mod login;
mod mail;
mod output;
mod rates;
mod store;
mod transport;

use crate::net::alarm::Alarm;
use crate::net::crowd::Turnstile;
use crate::net::layered::Scratch;
use crate::net::listen::Door;
use crate::net::mailbox::Mail;
use crate::net::meter::Rates;
use crate::net::shared::Shared;
use crate::net::socket::Socket;
use mio::event::Event;
use mio::{Events, Poll, Token};
use mogi_core::Worker;
use slab::Slab;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes read at once.
const READ_BYTES: usize = 128 * 1024;
/// Flushes, of 256 KiB to 8 MiB each, that one connection or all batches of peers may cause in a
/// turn: 128 KiB of tiny messages for a thousand subscriptions each are not for one turn.
const FLUSHES: usize = 4;
/// Readiness events taken at once.
const EVENTS: usize = 1024;
/// Connections accepted before anything else is looked at.
const ACCEPTS: usize = 64;
/// How long accepting pauses when the process has no file descriptors left.
const ACCEPT_PAUSE_MS: u64 = 100;

/// The token of the mailbox's waker.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// The token of the signal pipe, which only worker 0 has.
pub(crate) const SIGNALS: Token = Token(usize::MAX - 1);
/// The token of the loop's alarm.
const ALARM: Token = Token(usize::MAX - 2);
/// Listener `n` has the token `LISTENERS + n`.
const LISTENERS: usize = 1 << 40;

/// What only worker 0 does besides its connections.
pub(crate) struct FrontDoor {
    pub(crate) listeners: Vec<(u16, Door)>,
    pub(crate) chores: Chores,
}

/// Signals, `$SYS`, whatever is due: called with the time in milliseconds and whether a signal
/// came, it says when it wants to be called next.
pub(crate) type Chores = Box<dyn FnMut(&mut Worker, &Arc<Shared>, u64, bool) -> Option<u64> + Send>;

/// The loop of one worker.
pub(crate) struct EventLoop {
    index: u16,
    poll: Poll,
    shared: Arc<Shared>,
    worker: Worker,
    sockets: Slab<Socket>,
    serial: u64,
    /// Sockets that may have something to read.
    ready: VecDeque<u32>,
    /// Connections without a complete CONNECT: deadline, place, serial.
    handshakes: VecDeque<(u64, u32, u64)>,
    /// Connections that are told later that their login failed: when, place, serial.
    penalties: VecDeque<(u64, u32, u64)>,
    /// Clients that asked the store for entries: key, generation, question.
    questions: Slab<(u32, u32, u32)>,
    /// Turns that wait for the store or for other nodes.
    gate: gate::Gate,
    /// What is to be answered when this node knows that it was not taken for dead.
    late: Vec<gate::Done>,
    /// How often it was.
    generation: u64,
    /// Sessions on their way here.
    claims: cluster::Claims,
    /// What clients may publish in a second.
    rates: Rates,
    /// Sockets that are not read because their clients have published so much: until when, place,
    /// serial.
    throttled: BTreeSet<(u64, u32, u64)>,
    /// How many connections may come.
    turnstile: Turnstile,
    /// Connections whose CONNECT was not accepted yet.
    pending: usize,
    /// Sockets that are not read because the store is behind.
    stalled: Vec<u32>,
    /// Nothing was to be read when the turn began; see [`crate::cluster::Doze`].
    dozing: bool,
    /// Batches of peers, with how much of each was dealt with.
    batches: VecDeque<(u16, Vec<u8>, usize)>,
    mail: Vec<Mail>,
    buffer: Vec<u8>,
    scratch: Scratch,
    /// How long TLS handshakes have taken in this turn.
    shaken: Duration,
    front_door: Option<FrontDoor>,
    accepting: bool,
    accept_again_ms: u64,
    chores_ms: Option<u64>,
    alarm: Alarm,
    events: Events,
    /// Run by the thread that runs all loops.
    together: bool,
    /// The last turn left something to do.
    again: bool,
    turns: u64,
    /// Messages and turns up to when [`Self::messages_per_turn`] was asked last.
    asked: (u64, u64),
    /// How long the last turn waited.
    slept: Duration,
    stopping: bool,
}

/// What a loop wants after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Another turn at once.
    Again,
    /// Another turn when something happens.
    Wait,
    /// Nothing more: the broker has stopped.
    Stopped,
}

impl EventLoop {
    pub(crate) fn new(
        index: u16,
        poll: Poll,
        shared: Arc<Shared>,
        front_door: Option<FrontDoor>,
    ) -> io::Result<Self> {
        let tuning = shared.tuning();
        let mut worker = Worker::new(index, Arc::clone(&shared.node), Arc::clone(&tuning.core));
        worker.set_rights(shared.access.rights());
        let mut this = Self {
            index,
            poll,
            shared,
            worker,
            sockets: Slab::new(),
            serial: 0,
            ready: VecDeque::new(),
            handshakes: VecDeque::new(),
            penalties: VecDeque::new(),
            questions: Slab::new(),
            gate: gate::Gate::default(),
            late: Vec::new(),
            generation: 0,
            claims: cluster::Claims::default(),
            rates: tuning.rates,
            throttled: BTreeSet::new(),
            turnstile: Turnstile::default(),
            pending: 0,
            stalled: Vec::new(),
            dozing: false,
            batches: VecDeque::new(),
            mail: Vec::new(),
            buffer: vec![0; READ_BYTES],
            scratch: Scratch::new(),
            shaken: Duration::ZERO,
            front_door,
            accepting: false,
            accept_again_ms: 0,
            chores_ms: Some(0),
            alarm: Alarm::new()?,
            events: Events::with_capacity(EVENTS),
            together: false,
            again: false,
            turns: 0,
            asked: (0, 0),
            slept: Duration::ZERO,
            stopping: false,
        };
        if let Some(door) = &mut this.front_door {
            for (at, (_, listener)) in door.listeners.iter_mut().enumerate() {
                let token = Token(LISTENERS + at);
                listener.register(this.poll.registry(), token)?;
            }
            this.accepting = !door.listeners.is_empty();
        }
        this.alarm.register(this.poll.registry(), ALARM)?;
        Ok(this)
    }

    /// One turn: takes what has happened, waiting for it if `wait`, and acts on it.
    ///
    /// # Errors
    /// The readiness facility of the system fails.
    pub(crate) fn turn(&mut self, wait: bool) -> io::Result<Then> {
        let timeout = if wait && !self.again { None } else { Some(Duration::ZERO) };
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let before = Instant::now();
        let polled = self.poll.poll(&mut events, timeout);
        if timeout.is_none() {
            self.slept = before.elapsed();
        }
        match polled {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result?,
        }
        self.turns += 1;
        self.shaken = Duration::ZERO;
        let now_ms = self.shared.now_ms();
        let mut signalled = false;
        for event in &events {
            match event.token() {
                WAKER => {}
                ALARM => self.alarm.rang(),
                SIGNALS => signalled = true,
                Token(place) if place >= LISTENERS => self.accepting = true,
                Token(place) => self.note_event(now_ms, place as u32, event),
            }
        }
        let full = events.iter().count() == EVENTS;
        self.events = events;
        self.take_mail(now_ms);
        self.read_ready(now_ms);
        self.accept(now_ms);
        self.do_what_is_due(now_ms, signalled);
        Ok(self.end_turn(now_ms, full))
    }

    /// A turn that only takes what other workers have sent. Of what comes from sockets meanwhile
    /// more comes together.
    pub(crate) fn turn_for_mail(&mut self) -> Then {
        self.turns += 1;
        let now_ms = self.shared.now_ms();
        self.take_mail(now_ms);
        self.end_turn(now_ms, false)
    }

    fn take_mail(&mut self, now_ms: u64) {
        // Before the mail: what is over by then has its consequences in there.
        self.dozing = self.node_dozes();
        self.open_mail(now_ms);
        self.worker.set_memory(self.shared.pressure.get(&self.shared.node));
        self.look_at_store(now_ms);
        self.take_batches(now_ms, FLUSHES);
    }

    fn end_turn(&mut self, now_ms: u64, more: bool) -> Then {
        self.finish_turn(now_ms);
        if self.stopping {
            self.worker.disconnect_all(now_ms);
            self.finish_turn(now_ms);
            return Then::Stopped;
        }
        let then = if more || self.has_work() { Then::Again } else { self.set_alarm() };
        self.again = then == Then::Again;
        then
    }

    /// A turn that waits if there is nothing to do, and how long it waited.
    ///
    /// # Errors
    /// As [`Self::turn`].
    pub(crate) fn turn_metered(&mut self) -> io::Result<(Then, Duration)> {
        self.slept = Duration::ZERO;
        let then = self.turn(true)?;
        Ok((then, self.slept))
    }

    /// Messages received and sent per turn since this was asked last.
    pub(crate) fn messages_per_turn(&mut self) -> u64 {
        let stats = self.worker.stats();
        let messages = stats.publish_received + stats.publish_sent;
        let per_turn = (messages - self.asked.0) / (self.turns - self.asked.1).max(1);
        self.asked = (messages, self.turns);
        per_turn
    }

    /// Starts with an empty worker again: what it was given so far counts for nothing.
    pub(crate) fn renew_worker(&mut self) {
        let core = Arc::clone(&self.shared.tuning().core);
        let node = Arc::clone(&self.shared.node);
        self.worker = Worker::new(self.index, node, core);
        self.worker.set_rights(self.shared.access.rights());
    }

    /// The worker, for what happens before the loop runs.
    pub(crate) const fn worker_mut(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// The worker's number.
    pub(crate) const fn index(&self) -> u16 {
        self.index
    }

    /// Whether the loop has ended because the broker stops.
    pub(crate) const fn has_stopped(&self) -> bool {
        self.stopping
    }

    fn do_what_is_due(&mut self, now_ms: u64, signalled: bool) {
        let due = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        self.check_handshakes(now_ms);
        self.check_penalties(now_ms);
        self.check_throttled(now_ms);
        if due(self.worker.next_timeout_ms()) {
            self.worker.tick(now_ms);
        }
        if let Some(door) = &mut self.front_door
            && (signalled || due(self.chores_ms))
        {
            self.chores_ms = (door.chores)(&mut self.worker, &self.shared, now_ms, signalled);
        }
    }

    /// Whether something is left to do without anything happening.
    fn has_work(&mut self) -> bool {
        !self.batches.is_empty()
            || !self.worker.effects().dirty.is_empty()
            || self.worker.has_changes()
            || !self.ready.is_empty() && !self.peers_are_full() && !self.node_dozes()
            || self.accepting && self.accept_again_ms == 0
    }

    /// Has the loop woken when the next thing is due.
    fn set_alarm(&mut self) -> Then {
        let accept_ms =
            (self.accepting && self.accept_again_ms != 0).then_some(self.accept_again_ms);
        let handshake_ms = self.handshakes.front().map(|entry| entry.0);
        let chores_ms = self.front_door.as_ref().and(self.chores_ms);
        let penalty_ms = self.penalties.front().map(|entry| entry.0);
        let throttled_ms = self.throttled.first().map(|entry| entry.0);
        let worker_ms = self.worker.next_timeout_ms();
        let next = [chores_ms, worker_ms, handshake_ms, penalty_ms, accept_ms, throttled_ms];
        match next.into_iter().flatten().min() {
            Some(at_ms) if !self.alarm.set(at_ms, self.shared.now_ms()) => Then::Again,
            _ => Then::Wait,
        }
    }

    /// The readiness facility, for the thread that waits for several loops.
    pub(crate) fn poll_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Says whether the loop is run by the thread that runs all of them.
    pub(crate) const fn set_together(&mut self, together: bool) {
        self.together = together;
    }

    fn note_event(&mut self, now_ms: u64, place: u32, event: &Event) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.readable = true;
            socket.read_closed |= event.is_read_closed() || event.is_error();
            self.list(place);
        }
        if event.is_writable() {
            self.unblocked(now_ms, place);
        }
    }
}
