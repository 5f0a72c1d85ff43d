//! The broker process: from a plan to running workers, and their orderly end.
//!
//! * `plan`: what is to run, made from the configuration
//! * `cluster`: the start as one of several
//! * `store`: what is kept on disk, or in Redis
//! * `retained`: retained messages in Redis, read while clients are served
//! * `sys`: the `$SYS` topics
//! * `chores`: what worker 0 does besides: signals, `$SYS`, purges
//! * `memory`: how much there is left
//! * `reload`: what SIGHUP does

mod chores;
mod cluster;
mod memory;
pub(crate) mod plan;
mod reload;
mod retained;
mod store;
mod sys;

use crate::access::Access;
use crate::bridge::Bridges;
use crate::net::certificates::Certificates;
use crate::net::crew::Captain;
use crate::net::crowd::Crowd;
use crate::net::event_loop::{EventLoop, FrontDoor, SIGNALS, WAKER};
use crate::net::listen::{Door, open};
use crate::net::mailbox::Mailbox;
use crate::net::meter::Users;
use crate::net::shared::{
    ListenerRules, ListenerState, LogSink, Pressure, Refused, Shared, Transport,
};
use mio::{Interest, Poll, Waker};
use mogi_core::cluster::MAX_CLUSTER_WORKERS;
use mogi_core::{ListenerConfig, Node, Stats, UNLIMITED};
use mogi_store::StoreError;
use plan::{ListenerPlan, Plan, Settings, Signals};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Runs the broker until it is told to stop.
///
/// # Errors
/// A listening socket cannot be opened, or the system refuses what the loops need.
pub(crate) fn run(plan: Plan) -> io::Result<()> {
    let Plan { listeners, settings, log, mut signals, reload, announce } = plan;
    let Opened { doors, states, mut certificates } = open_all(listeners, log)?;
    let redis = settings.store.as_ref().and_then(|store| store.redis.as_ref());
    let access = Access::new(settings.access.clone(), redis, log).map_err(io::Error::other)?;
    let joining = cluster::join(&settings, &mut certificates, log).map_err(io::Error::other)?;
    let node = make_node(&settings, joining.as_ref());
    let workers = node.workers();
    let (polls, mailboxes) = polls(workers)?;
    let (started, started_us) = look_at_clocks();
    let shared = Arc::new(Shared {
        node: Arc::new(node),
        tuning: RwLock::new(Arc::new(settings.tuning)),
        access,
        mailboxes,
        listeners: states,
        bridge_rules: Arc::new(bridge_rules()),
        log,
        connections: AtomicUsize::new(0),
        crowd: Crowd::default(),
        users: Users::default(),
        refused: Refused::default(),
        pressure: Pressure::default(),
        accepted: AtomicUsize::new(0),
        version: settings.version,
        started,
        started_us,
        store: OnceLock::new(),
        links: OnceLock::new(),
        places: Mutex::default(),
        alive: OnceLock::new(),
        store_limit: settings.store.as_ref().map_or(u64::MAX, |store| store.buffer_limit),
        stats: (0..workers).map(|_| Mutex::new(Stats::default())).collect(),
        busy: (0..workers).map(|_| AtomicU32::new(0)).collect(),
        denied: AtomicBool::new(false),
        home: Mutex::new(Vec::new()),
        any_home: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        wills_published: AtomicUsize::new(0),
    });
    let starting = hear(&mut signals, &polls)?;
    let bridges = Arc::new(Bridges::new(Arc::clone(&shared)));
    let chores = chores::chores(signals, reload, certificates, &shared, &bridges);
    let front_door = FrontDoor { listeners: doors, chores };
    let mut door = Some(front_door);
    let mut loops: Vec<EventLoop> = (0..)
        .zip(polls)
        .map(|(index, poll)| EventLoop::new(index, poll, Arc::clone(&shared), door.take()))
        .collect::<io::Result<_>>()?;
    if let Some(joining) = joining {
        let sockets = joining.listen().map_err(io::Error::other)?;
        cluster::start(joining, &shared, &mut loops).map_err(io::Error::other)?;
        crate::cluster::start(&shared, sockets)?;
    } else if let Some(plan) = &settings.store {
        store::start(plan, &shared, &mut loops).map_err(io::Error::other)?;
    }
    crate::access::watch(&shared).map_err(io::Error::other)?;
    bridges.set(settings.bridges)?;
    starting.store(false, Ordering::Release);
    announce();
    // The first turn sets the alarm for what is due though nobody connects.
    if let Some(first) = shared.mailboxes.first() {
        first.wake();
    }
    let result = Captain::new(Arc::clone(&shared), loops)?.run();
    drop(bridges);
    close_store(&shared).and(result)
}

/// Has the first loop hear signals; whether they end the process instead, for as long as it starts.
fn hear(signals: &mut Option<Signals>, polls: &[Poll]) -> io::Result<Arc<AtomicBool>> {
    let Some(signals) = signals else { return Ok(Arc::default()) };
    if let Some(poll) = polls.first() {
        poll.registry().register(&mut signals.stream, SIGNALS, Interest::READABLE)?;
    }
    Ok(Arc::clone(&signals.starting))
}

/// What the workers share.
fn make_node(settings: &Settings, joining: Option<&cluster::Joining>) -> Node {
    let (workers, seed) = (settings.workers, settings.seed);
    let in_redis = settings.store.as_ref().is_some_and(|store| store.redis.is_some());
    match joining {
        Some(joining) => Node::clustered(workers.min(MAX_CLUSTER_WORKERS), seed, joining.slot),
        None if in_redis => Node::numbered(workers, seed, 0),
        None => Node::new(workers, seed),
    }
}

/// Makes the last changes durable, and tells other nodes that this one ends.
fn close_store(shared: &Shared) -> io::Result<()> {
    let Some(store) = shared.store.get() else {
        return Ok(());
    };
    let told = |error: StoreError| io::Error::other(error.to_string());
    let nodes = store.cluster().filter(|_| shared.links.get().is_some());
    let nodes = nodes.map(|store| store.nodes().clone());
    store.close().map_err(told)?;
    if let (Some(nodes), Some(links)) = (nodes, shared.links.get()) {
        links.duties.leave(links, &nodes);
        // They look after its sessions at once. If Redis does not hear it, the lease ends.
        let _ = nodes.leave();
    }
    Ok(())
}

/// What each worker waits with, and how the others wake it.
fn polls(workers: u16) -> io::Result<(Vec<Poll>, Vec<Mailbox>)> {
    let (mut polls, mut mailboxes) = (Vec::new(), Vec::new());
    for _ in 0..workers {
        let poll = Poll::new()?;
        mailboxes.push(Mailbox::new(Waker::new(poll.registry(), WAKER)?));
        polls.push(poll);
    }
    Ok((polls, mailboxes))
}

/// All listeners, opened.
struct Opened {
    /// Sockets, and the numbers of their listeners.
    doors: Vec<(u16, Door)>,
    states: Vec<ListenerState>,
    certificates: Certificates,
}

/// # Errors
/// A listener's files cannot be read, or a socket of it cannot be opened.
fn open_all(listeners: Vec<ListenerPlan>, log: &dyn LogSink) -> io::Result<Opened> {
    let mut doors = Vec::new();
    let mut states = Vec::new();
    let plans = listeners.iter().map(|listener| &listener.transport);
    let (certificates, configs) = Certificates::open(plans, log).map_err(io::Error::other)?;
    for (listener, tls) in listeners.into_iter().zip(configs) {
        let sockets = open(&listener, log).map_err(io::Error::other)?;
        doors.extend(sockets.into_iter().map(|socket| (states.len() as u16, socket)));
        let rules = ListenerRules {
            transport: Transport::new(&listener.transport, tls),
            core: listener.core,
            max_connections: listener.max_connections,
        };
        states.push(ListenerState::new(listener.port, listener.host, rules));
    }
    Ok(Opened { doors, states, certificates })
}

/// What bridges meet in their own broker.
fn bridge_rules() -> ListenerRules {
    ListenerRules {
        transport: Transport::default(),
        core: ListenerConfig { rights: UNLIMITED, ..ListenerConfig::default() },
        max_connections: None,
    }
}

/// A moment, and how many microseconds since 1970 it is: brokers on one machine number their
/// messages alike. Of several looks at both clocks the one with the least time between them: the
/// system may stop us there.
fn look_at_clocks() -> (Instant, u64) {
    let look = || {
        let before = Instant::now();
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall_us = elapsed.map_or(0, |elapsed| elapsed.as_micros() as u64);
        (before.elapsed(), before, wall_us)
    };
    let best = (0..LOOKS).map(|_| look()).min_by_key(|(between, ..)| *between);
    best.map_or_else(|| (Instant::now(), 0), |(_, moment, wall_us)| (moment, wall_us))
}

/// How often the clocks are looked at.
const LOOKS: u32 = 8;
