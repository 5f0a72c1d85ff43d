//! A bridge without its sockets: told what happened and when, it says what is to be done.
//!
//! ```text
//!  Resting ──► Dialing ──► Joining ──► Up          to the other broker
//!     ▲           │           │         │
//!     └───────────┴─ Waiting ◄┴─────────┘          restart_timeout
//! ```
//! To its own broker it is a client like any other, whose session holds what the other broker has
//! not acknowledged. That connection begins anew with each connection to the other broker, so that
//! the session repeats what was on its way. Between them it is closed: messages then wait in the
//! session. Only a lazy bridge stays, because it has to see how many there are.

use super::addresses::Addresses;
use super::backoff::Backoff;
use super::echo::Echoes;
use super::flow::Flow;
use super::hello;
use super::local::Local;
use super::plan::{Address, BridgePlan, StartType};
use super::remote::Remote;
use mogi_core::LogKind;

/// A bridge.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(super) plan: BridgePlan,
    pub(super) state: State,
    addresses: Addresses,
    backoff: Backoff,
    pub(super) remote: Remote,
    pub(super) local: Local,
    /// From this broker to the other.
    pub(super) outgoing: Flow,
    /// From the other broker to this one.
    pub(super) incoming: Flow,
    pub(super) echoes: Echoes,
    /// When a message was passed on last.
    pub(super) active_ms: u64,
    probe_ms: u64,
    pub(super) congested: bool,
    /// Whether there was an attempt.
    begun: bool,
    /// What is to be done, oldest first.
    actions: Vec<Action>,
}

/// How it stands with the other broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is to be done: a lazy bridge with too little to send, or one that is over.
    Resting,
    /// Until then nothing is tried.
    Waiting { until_ms: u64 },
    /// The connection is being made.
    Dialing,
    /// CONNECT is sent.
    Joining { since_ms: u64 },
    /// It works.
    Up { since_ms: u64 },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Connect to the other broker; [`Machine::dialed`] is to be told.
    Dial(Address),
    /// Connect to the better broker and close again; [`Machine::probed`] is to be told.
    Probe(Address),
    /// Close the connection to the other broker, after what is to be sent was sent.
    HangUp,
    /// Connect to this broker, closing what there is, with CONNECT and the packets behind it.
    /// `forget`: see [`mogi_core::BridgeEnd`].
    OpenLocal { connect: Vec<u8>, rest: Vec<u8>, forget: bool },
    /// Close the connection to this broker.
    CloseLocal,
    /// Say something.
    Log(LogKind, String),
    /// Publish the state in this broker.
    Tell { topic: String, state: &'static [u8] },
}

/// How long the other broker may take for its CONNACK.
const JOIN_LIMIT_MS: u64 = 30_000;
/// How often the first address is tried while another one is in use.
const PROBE_INTERVAL_MS: u64 = 5_000;

impl Machine {
    /// A bridge that has not begun. `seed`: anything that differs from other bridges'.
    pub(crate) fn new(plan: BridgePlan, seed: u64) -> Self {
        Self {
            state: State::Resting,
            addresses: Addresses::new(plan.addresses.clone(), plan.round_robin),
            backoff: Backoff::new(plan.restart, seed),
            remote: Remote::new(&plan),
            local: Local::default(),
            outgoing: Flow::default(),
            incoming: Flow::default(),
            echoes: Echoes::default(),
            active_ms: 0,
            probe_ms: 0,
            congested: false,
            begun: false,
            actions: Vec::new(),
            plan,
        }
    }

    /// What it is to do.
    pub(crate) const fn plan(&self) -> &BridgePlan {
        &self.plan
    }

    /// Begins.
    pub(crate) fn start(&mut self) {
        self.tell(hello::DOWN);
        self.await_messages();
        // Where there is a session to be made first, the rest follows when it is there.
        if self.plan.start != StartType::Lazy && !self.local.is_there() {
            self.dial();
        }
    }

    /// Ends for good, or until [`Self::start`]: the other broker is told.
    pub(crate) fn stop(&mut self) {
        self.leave();
        self.close_local();
        self.state = State::Resting;
    }

    /// Ends for good: so does its session in this broker, whose queue nobody would read.
    pub(crate) fn end(&mut self) {
        self.stop();
        if !self.plan.local.clean {
            self.plan.local.clean = true;
            self.open_local(false);
            self.close_local();
        }
    }

    /// Whether the other broker is there.
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// What is to be done now.
    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Bytes for the other broker.
    pub(crate) const fn remote_out(&mut self) -> &mut Vec<u8> {
        &mut self.remote.out
    }

    /// Bytes for this broker.
    pub(crate) const fn local_out(&mut self) -> &mut Vec<u8> {
        &mut self.local.out
    }

    /// Says whether the connection to the other broker takes no more for now. Bytes of this broker
    /// are to be read all the same: two brokers that each wait for the other would wait for ever.
    /// Messages of QoS 0 are dropped meanwhile, as for any client that is too slow.
    pub(crate) const fn set_congested(&mut self, congested: bool) {
        self.congested = congested;
    }

    /// Whether bytes of the other broker are to be read.
    pub(crate) const fn reads_remote(&self) -> bool {
        !self.incoming.is_full()
    }

    /// The name has become an address, and the connection is begun.
    pub(crate) fn resolved(&mut self) {
        if let Some(address) = self.addresses.current() {
            let name = &self.plan.name;
            let line = format!("Connecting bridge (step 2) {name} ({address})");
            self.log(LogKind::Notice, line);
        }
    }

    /// What became of [`Action::Dial`].
    pub(crate) fn dialed(&mut self, now_ms: u64, result: Result<(), String>) {
        if self.state != State::Dialing {
            return;
        }
        match result {
            Ok(()) => {
                self.state = State::Joining { since_ms: now_ms };
                let id = &self.plan.remote.client_id;
                self.log(LogKind::Debug, format!("Bridge {id} sending CONNECT"));
                self.remote.begin(&self.plan, now_ms);
            }
            Err(why) => {
                let place = self.place();
                self.log(LogKind::Error, format!("Error creating bridge: {why}. ({place})"));
                self.wait(now_ms);
            }
        }
    }

    /// What became of [`Action::Probe`].
    pub(crate) fn probed(&mut self, reachable: bool) {
        if !reachable || !matches!(self.state, State::Up { .. }) {
            return;
        }
        let name = &self.plan.name;
        self.log(LogKind::Notice, format!("Bridge {name} goes back to its first address."));
        self.leave();
        self.addresses.first();
        self.await_messages();
        self.dial();
    }

    /// The other broker has closed the connection. Before its CONNACK that may be because it does
    /// not let in bridges.
    pub(crate) fn remote_closed(&mut self, now_ms: u64, why: &str) {
        let early = matches!(self.state, State::Joining { .. });
        if !early || !self.remote.closed_early() {
            return self.remote_lost(now_ms, why);
        }
        let name = &self.plan.name;
        let line = format!(
            "Bridge {name}: the other broker lets in clients and no bridges. It is a client from \
             now on; 'try_private false' says so from the beginning."
        );
        self.log(LogKind::Notice, line);
        self.hang_up();
        self.dial();
    }

    /// The connection to the other broker is gone, or is of no use.
    pub(crate) fn remote_lost(&mut self, now_ms: u64, why: &str) {
        match self.state {
            State::Joining { .. } | State::Up { .. } => {}
            _ => return,
        }
        let (id, place) = (&self.plan.local.client_id, self.place());
        self.log(LogKind::Notice, format!("Client {id} [{place}] disconnected: {why}."));
        self.hang_up();
        if let State::Up { since_ms } = self.state {
            self.backoff.lasted(now_ms.saturating_sub(since_ms));
        }
        self.wait(now_ms);
    }

    /// The connection to this broker is gone, which it is not meant to be.
    pub(crate) fn local_lost(&mut self, now_ms: u64, why: &str) {
        let (id, name) = (&self.plan.local.client_id, &self.plan.name);
        let line = format!("Bridge {name}: its client {id} in this broker is gone: {why}.");
        self.log(LogKind::Warning, line);
        self.local.lost();
        if matches!(self.state, State::Resting | State::Waiting { .. }) {
            self.state = State::Waiting { until_ms: now_ms + self.backoff.next_ms() };
            return;
        }
        self.leave();
        self.wait(now_ms);
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        match self.state {
            State::Waiting { until_ms } if until_ms <= now_ms => self.go_on(),
            State::Joining { since_ms } if since_ms + JOIN_LIMIT_MS <= now_ms => {
                self.remote_lost(now_ms, "no CONNACK came");
            }
            State::Up { .. } => self.tick_up(now_ms),
            _ => {}
        }
    }

    /// When [`Self::tick`] wants to be called.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::Resting | State::Dialing => None,
            State::Waiting { until_ms } => Some(until_ms),
            State::Joining { since_ms } => Some(since_ms + JOIN_LIMIT_MS),
            State::Up { .. } => {
                let probe = self.addresses.better().map(|_| self.probe_ms);
                [self.remote.deadline_ms(), self.idle_ms(), probe].into_iter().flatten().min()
            }
        }
    }

    /// The other broker has accepted the connection. `forget`: it has no session.
    pub(super) fn joined(&mut self, now_ms: u64, forget: bool) {
        self.state = State::Up { since_ms: now_ms };
        self.active_ms = now_ms;
        self.probe_ms = now_ms + PROBE_INTERVAL_MS;
        self.tell(hello::UP);
        if !self.plan.local.clean || !self.local.is_there() {
            self.open_local(forget);
        }
        let limit = self.remote.receive_maximum();
        self.outgoing.open(limit, &mut self.remote.out);
        self.introduce();
    }

    /// The other broker does not accept the connection; `again`: another attempt may do better.
    pub(super) fn refused(&mut self, now_ms: u64, why: &str, again: bool) {
        self.log(LogKind::Error, format!("Connection Refused: {why}"));
        let (id, place) = (&self.plan.local.client_id, self.place());
        let line = format!("Client {id} [{place}] disconnected: connection refused.");
        self.log(LogKind::Notice, line);
        self.hang_up();
        if again {
            self.await_messages();
            return self.dial();
        }
        self.wait(now_ms);
    }

    /// Connects again at once, as a bridge.
    pub(super) fn once_more(&mut self) {
        self.say_disconnect();
        self.hang_up();
        self.dial();
    }

    /// A message waits for the other broker, which is not there.
    pub(super) fn check_threshold(&mut self) {
        if self.state == State::Resting
            && self.plan.start == StartType::Lazy
            && (self.outgoing.waiting() >= self.plan.threshold || self.outgoing.is_full())
        {
            self.dial();
        }
    }

    /// All local subscriptions are made. Where nothing else is to be done with the connection the
    /// session does the waiting.
    pub(super) fn local_is_ready(&mut self) {
        let used = matches!(self.state, State::Up { .. }) || self.plan.start == StartType::Lazy;
        if used {
            return;
        }
        self.close_local();
        if !self.begun {
            self.dial();
        }
    }

    pub(super) fn log(&mut self, kind: LogKind, line: String) {
        self.actions.push(Action::Log(kind, line));
    }

    /// The other broker's address.
    pub(super) fn place(&self) -> String {
        self.addresses.current().map_or_else(String::new, Address::to_string)
    }

    fn dial(&mut self) {
        let Some(address) = self.addresses.current().cloned() else {
            return;
        };
        let line = format!("Connecting bridge (step 1) {} ({address})", self.plan.name);
        self.log(LogKind::Notice, line);
        self.state = State::Dialing;
        self.begun = true;
        self.actions.push(Action::Dial(address));
    }

    /// After an attempt or a connection: the next one is later, and elsewhere.
    fn wait(&mut self, now_ms: u64) {
        self.await_messages();
        self.addresses.next();
        if self.plan.start == StartType::Once {
            self.state = State::Resting;
            let line = format!("Bridge {} has ended ('start_type once').", self.plan.name);
            return self.log(LogKind::Notice, line);
        }
        self.state = State::Waiting { until_ms: now_ms + self.backoff.next_ms() };
    }

    /// The wait is over.
    fn go_on(&mut self) {
        if self.plan.start != StartType::Lazy && self.plan.start != StartType::Once {
            return self.dial();
        }
        self.state = State::Resting;
        if !self.local.is_there() {
            self.await_messages();
        }
        self.check_threshold();
    }

    fn tick_up(&mut self, now_ms: u64) {
        if self.remote.tick(now_ms).is_err() {
            return self.remote_lost(now_ms, "it does not answer");
        }
        if self.idle_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            if !self.outgoing.is_idle() || !self.incoming.is_idle() {
                self.active_ms = now_ms;
                return;
            }
            self.leave();
            self.state = State::Resting;
            let line = format!("Bridge {} rests ('idle_timeout').", self.plan.name);
            self.log(LogKind::Notice, line);
            return self.await_messages();
        }
        if let Some(address) = self.addresses.better().cloned()
            && self.probe_ms <= now_ms
        {
            self.probe_ms = now_ms + PROBE_INTERVAL_MS;
            self.actions.push(Action::Probe(address));
        }
    }

    fn idle_ms(&self) -> Option<u64> {
        let lazy = self.plan.start == StartType::Lazy;
        lazy.then_some(self.active_ms + self.plan.idle_timeout_s * 1000)
    }

    /// Ends the connection to the other broker as one does: it is told the state, as no will says
    /// it, and then goodbye.
    fn leave(&mut self) {
        if matches!(self.state, State::Up { .. }) {
            self.say_goodbye();
        }
        self.hang_up();
    }

    fn hang_up(&mut self) {
        if matches!(self.state, State::Up { .. }) {
            self.tell(hello::DOWN);
        }
        if self.state != State::Resting {
            self.actions.push(Action::HangUp);
        }
        self.remote.ended();
        // What the session of this broker repeats must not be there twice.
        self.outgoing.close(false);
        self.incoming.close(false);
    }

    /// While the other broker is not there messages wait in this broker's session; a lazy bridge
    /// looks how many there are.
    fn await_messages(&mut self) {
        let lazy = self.plan.start == StartType::Lazy;
        if lazy || !self.plan.local.clean && !self.local.is_known() {
            self.open_local(false);
        } else if self.local.is_there() {
            self.close_local();
        }
    }

    fn open_local(&mut self, forget: bool) {
        // Messages of QoS 0 that wait already are not repeated by the session.
        self.outgoing.close(true);
        self.incoming.close(false);
        let (connect, rest) = self.begin_local();
        self.actions.push(Action::OpenLocal { connect, rest, forget });
    }

    fn close_local(&mut self) {
        if self.local.is_there() {
            self.actions.push(Action::CloseLocal);
        }
        self.local.lost();
    }

    fn tell(&mut self, state: &'static [u8]) {
        if let Some(notify) = &self.plan.notify {
            self.actions.push(Action::Tell { topic: notify.topic.clone(), state });
        }
    }
}
