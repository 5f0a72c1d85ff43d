//! The thread of the bridges: sockets, clock and log for their machines.

use super::dial::{Dial, Progress};
use super::link::Link;
use super::machine::{Action, Machine};
use super::pipe::{End, Pipe};
use super::plan::BridgePlan;
use crate::cluster::Duty;
use crate::net::mailbox::{Hello, Mail, Moved};
use crate::net::shared::{BRIDGES, Shared};
use crate::net::stream::{Peer, Stream};
use mio::net::{TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};
use mogi_core::{BridgeEnd, LogKind};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// All bridges of the broker. They end when it is dropped.
pub(crate) struct Bridges {
    shared: Arc<Shared>,
    /// The thread, as soon as there is a bridge.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    orders: Sender<Order>,
    waker: Arc<Waker>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    /// These bridges, and no others.
    Plans(Vec<BridgePlan>),
    Stop,
}

const WAKER: Token = Token(usize::MAX);
/// Tokens a bridge has: its sockets.
const TOKENS: usize = 4;
const REMOTE: usize = 0;
const LOCAL: usize = 1;
const DIAL: usize = 2;
const PROBE: usize = 3;
/// Reads of one bridge before the others have their turn.
const READS: usize = 16;

impl Bridges {
    /// None yet.
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, running: Mutex::new(None) }
    }

    /// These are the bridges from now on: new ones start, those that are gone end, and changed
    /// ones change as their `bridge_reload_type` says.
    ///
    /// # Errors
    /// The system gives no thread, or no readiness facility.
    pub(crate) fn set(&self, plans: Vec<BridgePlan>) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match &*running {
            Some(running) => running.order(Order::Plans(plans)),
            None if plans.is_empty() => {}
            None => *running = Some(Running::start(plans, &self.shared)?),
        }
        Ok(())
    }
}

impl Drop for Bridges {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.order(Order::Stop);
            // If it has panicked, that was told already.
            let _ = running.thread.join();
        }
    }
}

impl Running {
    /// Starts the thread. What its bridges do first is done, and logged, before this returns.
    fn start(plans: Vec<BridgePlan>, shared: &Arc<Shared>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (orders, inbox) = channel();
        let mut driver = Driver {
            poll,
            shared: Arc::clone(shared),
            inbox,
            waker: Arc::clone(&waker),
            slots: BTreeMap::new(),
            next: 0,
        };
        if let Some(links) = shared.links.get() {
            let waker = Arc::clone(&driver.waker);
            // It fails only when the poll is gone, and then nobody carries anything.
            links.duties.on_change(Box::new(move || drop(waker.wake())));
        }
        driver.apply(plans);
        let run = move || driver.run();
        let thread = std::thread::Builder::new().name("mogi-bridges".to_owned()).spawn(run)?;
        Ok(Self { orders, waker, thread })
    }

    fn order(&self, order: Order) {
        // It fails only when the thread has ended, and then there is nothing to be done.
        let _ = self.orders.send(order);
        let _ = self.waker.wake();
    }
}

struct Driver {
    poll: Poll,
    shared: Arc<Shared>,
    inbox: Receiver<Order>,
    waker: Arc<Waker>,
    /// By number, which makes their tokens.
    slots: BTreeMap<usize, Slot>,
    next: usize,
}

struct Slot {
    machine: Machine,
    remote: Option<Pipe<Link>>,
    local: Option<Pipe<UnixStream>>,
    dial: Option<Dial>,
    probe: Option<Dial>,
    /// What it is to be from the next connection on.
    changed: Option<BridgePlan>,
    /// There is more to be read.
    again: bool,
    /// It is this node that carries it.
    on: bool,
}

impl Driver {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    let line = format!("Error: bridges have stopped: {}.", crate::log::why(&error));
                    return self.shared.log.log(LogKind::Error, &line);
                }
                _ => {}
            }
            for event in &events {
                let Token(token) = event.token();
                if let Some(slot) = self.slots.get_mut(&(token / TOKENS)) {
                    let readable = event.is_readable() || event.is_error();
                    slot.note(token % TOKENS, readable, event.is_writable());
                }
            }
            while let Ok(order) = self.inbox.try_recv() {
                match order {
                    Order::Plans(plans) => self.apply(plans),
                    Order::Stop => return,
                }
            }
            // Whatever happens now is the broker's end, and the will says so to the others.
            if self.shared.stopping.load(Ordering::Acquire) {
                self.wait_for_stop();
                return;
            }
            for number in self.slots.keys().copied().collect::<Vec<_>>() {
                self.turn(number);
            }
        }
    }

    /// Workers go on until they stop, and so do the connections of bridges.
    fn wait_for_stop(&mut self) {
        while !matches!(self.inbox.recv(), Ok(Order::Stop) | Err(_)) {}
    }

    fn timeout(&self) -> Option<Duration> {
        if self.slots.values().any(|slot| slot.again) {
            return Some(Duration::ZERO);
        }
        let now_ms = self.shared.now_ms();
        let slots = self.slots.values();
        let lease = slots.clone().filter(|slot| slot.on && slot.machine.plan().one_node);
        let lease = lease.filter_map(|slot| self.carries_until_ms(slot.machine.plan()));
        let next = slots.filter_map(Slot::deadline_ms).chain(lease).min()?;
        Some(Duration::from_millis(next.saturating_sub(now_ms).max(1)))
    }

    /// Until when it is this node that carries a bridge, if it is; `u64::MAX`: nobody else would.
    fn carries_until_ms(&self, plan: &BridgePlan) -> Option<u64> {
        match self.shared.links.get().filter(|_| plan.one_node) {
            Some(links) => links.duties.until_ms(&plan.name, self.shared.now_ms()),
            None => Some(u64::MAX),
        }
    }

    /// Says which bridges this node would carry.
    fn want(&self, plans: &[BridgePlan]) {
        if let Some(links) = self.shared.links.get() {
            let shared = plans.iter().filter(|plan| plan.one_node);
            let duty = |plan: &BridgePlan| Duty { name: plan.name.clone(), job: plan.job() };
            links.duties.want(shared.map(duty).collect());
        }
    }

    /// Begins to carry a bridge, or leaves it to another node.
    fn look_at_duty(&mut self, number: usize) {
        let Some(slot) = self.slots.get(&number) else {
            return;
        };
        let on = self.carries_until_ms(slot.machine.plan()).is_some();
        if let Some(slot) = self.slots.get_mut(&number).filter(|slot| slot.on != on) {
            (slot.on, slot.again) = (on, false);
            if on {
                slot.machine.start();
            } else {
                slot.machine.stop();
            }
            self.settle(number);
        }
    }

    /// Makes the bridges those of `plans`.
    fn apply(&mut self, mut plans: Vec<BridgePlan>) {
        self.want(&plans);
        for number in self.slots.keys().copied().collect::<Vec<_>>() {
            let Some(slot) = self.slots.get_mut(&number) else {
                continue;
            };
            let name = &slot.machine.plan().name;
            let at = plans.iter().position(|plan| plan.name == *name);
            let Some(plan) = at.map(|at| plans.swap_remove(at)) else {
                // Another node may carry it on, with the session it has.
                if slot.machine.plan().one_node {
                    slot.machine.stop();
                } else {
                    slot.machine.end();
                }
                self.settle(number);
                self.slots.remove(&number);
                continue;
            };
            slot.changed = (plan != *slot.machine.plan()).then_some(plan);
            if slot.changed.as_ref().is_some_and(|plan| plan.reload_at_once) {
                slot.machine.stop();
            }
            self.change(number);
        }
        for plan in plans {
            self.add(plan);
        }
    }

    fn add(&mut self, plan: BridgePlan) {
        let mut seed = [0; 8];
        // Without random numbers bridges of one broker still differ.
        let _ = getrandom::fill(&mut seed);
        let mut machine =
            Machine::new(plan, u64::from_ne_bytes(seed).wrapping_add(self.next as u64));
        let on = self.carries_until_ms(machine.plan()).is_some();
        if on {
            machine.start();
        }
        let slot = Slot {
            machine,
            remote: None,
            local: None,
            dial: None,
            probe: None,
            changed: None,
            again: false,
            on,
        };
        let number = self.next;
        self.next += 1;
        self.slots.insert(number, slot);
        self.settle(number);
    }

    /// Begins anew with the changed plan, if there is one and no connection.
    fn change(&mut self, number: usize) {
        let Some(slot) = self.slots.get_mut(&number) else {
            return;
        };
        if slot.changed.is_none() || slot.machine.is_up() {
            return;
        }
        slot.machine.stop();
        self.settle(number);
        if let Some(plan) = self.slots.remove(&number).and_then(|slot| slot.changed) {
            self.add(plan);
        }
    }

    /// One turn of a bridge: time, new connections, and bytes.
    fn turn(&mut self, number: usize) {
        self.look_at_duty(number);
        let now_ms = self.shared.now_ms();
        let registry = self.poll.registry();
        let Some(slot) = self.slots.get_mut(&number).filter(|slot| slot.on) else {
            return;
        };
        slot.machine.tick(now_ms);
        slot.look_at_dials(now_ms, number, registry);
        self.settle(number);
        for reads in 0..=READS {
            let Some(slot) = self.slots.get_mut(&number) else {
                return;
            };
            let read = reads < READS && slot.read(now_ms);
            slot.again = reads == READS && slot.can_read();
            self.settle(number);
            if !read {
                break;
            }
        }
        self.change(number);
    }

    /// Writes what is to be written and does what the machine wants done, until it wants no more.
    fn settle(&mut self, number: usize) {
        loop {
            let now_ms = self.shared.now_ms();
            let Some(slot) = self.slots.get_mut(&number) else {
                return;
            };
            slot.write_remote(now_ms);
            let actions = slot.machine.actions();
            if actions.is_empty() {
                slot.write_local(now_ms);
                // What is lost while writing leads to more.
                let more = slot.machine.actions();
                if more.is_empty() {
                    return;
                }
                self.act_all(number, more);
                continue;
            }
            self.act_all(number, actions);
        }
    }

    fn act_all(&mut self, number: usize, actions: Vec<Action>) {
        for action in actions {
            if let Err(error) = self.act(number, action)
                && let Some(slot) = self.slots.get_mut(&number)
            {
                let now_ms = self.shared.now_ms();
                slot.local = None;
                slot.machine.local_lost(now_ms, &crate::log::why(&error));
            }
        }
    }

    /// # Errors
    /// There is no connection to this broker.
    fn act(&mut self, number: usize, action: Action) -> io::Result<()> {
        let Some(slot) = self.slots.get_mut(&number) else {
            return Ok(());
        };
        let waker = Arc::clone(&self.waker);
        let wake = move || {
            // It fails only when the poll is gone, and then nobody waits.
            let _ = waker.wake();
        };
        let plan = slot.machine.plan();
        match action {
            Action::Dial(address) => {
                let token = Token(number * TOKENS + DIAL);
                slot.dial = Some(Dial::begin(&address, plan, token, Arc::new(wake)));
            }
            Action::Probe(address) => {
                let token = Token(number * TOKENS + PROBE);
                if slot.probe.is_none() {
                    slot.probe = Some(Dial::begin(&address, plan, token, Arc::new(wake)));
                }
            }
            Action::HangUp => {
                if let Some(remote) = &mut slot.remote {
                    remote.finish(Link::shutdown);
                }
                (slot.remote, slot.dial, slot.probe) = (None, None, None);
            }
            Action::OpenLocal { connect, rest, forget } => {
                slot.local = None;
                let local = self.open_local(number, connect, rest, forget)?;
                if let Some(slot) = self.slots.get_mut(&number) {
                    slot.local = Some(local);
                }
            }
            Action::CloseLocal => slot.local = None,
            Action::Log(kind, line) => {
                if self.shared.tuning().core.log_mask & kind as u32 != 0 {
                    self.shared.log.log(kind, &line);
                }
            }
            Action::Tell { topic, state } => {
                let mail = Mail::Publish { topic, payload: state.to_vec() };
                if let Some(first) = self.shared.mailboxes.first() {
                    first.send(mail, false);
                }
            }
        }
        Ok(())
    }

    /// A connection to the worker that owns the bridge's local client id.
    fn open_local(
        &self,
        number: usize,
        mut connect: Vec<u8>,
        rest: Vec<u8>,
        forget: bool,
    ) -> io::Result<Pipe<UnixStream>> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut ours, Token(number * TOKENS + LOCAL), interest)?;
        // Reading, writing and closing is all a worker does with it, and that is the same for
        // all stream sockets.
        let theirs = std::net::TcpStream::from(OwnedFd::from(theirs));
        let Some(slot) = self.slots.get(&number) else {
            return Err(ErrorKind::NotFound.into());
        };
        let client_id = slot.machine.plan().local.client_id.clone();
        let owner = self.shared.node.owner(&client_id);
        let connect_len = connect.len();
        connect.extend(rest);
        let hello = Hello {
            address: format!("bridge {}", slot.machine.plan().name),
            client_id,
            pass: mogi_core::Pass::default(),
            assigned: false,
            connect_len,
            bytes: connect,
            bridge: Some(BridgeEnd { forget_received: forget }),
        };
        let moved = Moved {
            stream: Stream::Tcp(TcpStream::from_std(theirs)),
            layered: None,
            peer: Peer::Ip(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            listener: BRIDGES,
            counted: None,
            hello,
        };
        if let Some(mailbox) = self.shared.mailboxes.get(usize::from(owner)) {
            mailbox.send(Mail::Arrival(Box::new(moved)), false);
        }
        Ok(Pipe::new(ours))
    }
}

impl Slot {
    const fn note(&mut self, which: usize, readable: bool, writable: bool) {
        match which {
            REMOTE => {
                if let Some(pipe) = &mut self.remote {
                    pipe.note(readable, writable);
                }
            }
            LOCAL => {
                if let Some(pipe) = &mut self.local {
                    pipe.note(readable, writable);
                }
            }
            // Dials are looked at in any case.
            _ => {}
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        let dial = self.dial.as_ref().and_then(Dial::deadline_ms);
        let probe = self.probe.as_ref().and_then(Dial::deadline_ms);
        [self.machine.deadline_ms(), dial, probe].into_iter().flatten().min()
    }

    fn look_at_dials(&mut self, now_ms: u64, number: usize, registry: &mio::Registry) {
        let progress = self.dial.as_mut().map(|dial| dial.look(now_ms, registry));
        match progress {
            None | Some(Progress::Pending) => {}
            Some(Progress::Resolved) => self.machine.resolved(),
            Some(Progress::Connected(mut link)) => {
                self.dial = None;
                let interest = Interest::READABLE | Interest::WRITABLE;
                let token = Token(number * TOKENS + REMOTE);
                let registered = registry.register(&mut link, token, interest);
                let result = registered.map_err(|error| crate::log::why(&error));
                if result.is_ok() {
                    self.remote = Some(Pipe::new(link));
                }
                self.machine.dialed(now_ms, result);
            }
            Some(Progress::Failed(why)) => {
                self.dial = None;
                self.machine.dialed(now_ms, Err(why));
            }
        }
        let probed = match self.probe.as_mut().map(|probe| probe.look(now_ms, registry)) {
            None | Some(Progress::Pending | Progress::Resolved) => return,
            Some(Progress::Connected(_)) => true,
            Some(Progress::Failed(_)) => false,
        };
        self.probe = None;
        self.machine.probed(probed);
    }

    /// Whether there may be something to read, and somewhere to put it.
    fn can_read(&self) -> bool {
        self.remote_reads() || self.local_reads()
    }

    fn remote_reads(&self) -> bool {
        let room = self.local.as_ref().is_none_or(|local| !local.is_full());
        let ready = self.remote.as_ref().is_some_and(|remote| remote.readable);
        room && ready && self.machine.reads_remote()
    }

    fn local_reads(&self) -> bool {
        self.local.as_ref().is_some_and(|local| local.readable)
    }

    /// Reads each side once, if there is something and room for it; whether it has.
    fn read(&mut self, now_ms: u64) -> bool {
        let mut any = false;
        if self.remote_reads()
            && let Some(remote) = &mut self.remote
        {
            any = true;
            let read = remote.read();
            let consumed = self.machine.remote_bytes(now_ms, &remote.input);
            remote.consumed(consumed);
            match read {
                Ok(_) => {}
                Err(End::Closed(why)) => self.machine.remote_closed(now_ms, &why),
                Err(End::Refused(why)) => self.machine.remote_lost(now_ms, &why),
            }
        }
        if self.local_reads()
            && let Some(local) = &mut self.local
        {
            any = true;
            self.machine.set_congested(self.remote.as_ref().is_some_and(Pipe::is_full));
            let read = local.read();
            let consumed = self.machine.local_bytes(now_ms, &local.input);
            local.consumed(consumed);
            if let Err(End::Closed(why) | End::Refused(why)) = read {
                self.local = None;
                self.machine.local_lost(now_ms, &why);
            }
        }
        any
    }

    fn write_remote(&mut self, now_ms: u64) {
        let Some(remote) = &mut self.remote else {
            return;
        };
        if let Err(error) = remote.write(self.machine.remote_out()) {
            self.remote = None;
            self.machine.remote_lost(now_ms, &crate::log::why(&error));
        }
    }

    fn write_local(&mut self, now_ms: u64) {
        let Some(local) = &mut self.local else {
            return;
        };
        if let Err(error) = local.write(self.machine.local_out()) {
            self.local = None;
            self.machine.local_lost(now_ms, &crate::log::why(&error));
        }
    }
}
