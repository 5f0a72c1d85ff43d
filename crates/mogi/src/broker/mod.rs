//! The broker process: from a plan to running workers, and their orderly end.
//!
//! * `plan`: what is to run, made from the configuration
//! * `cluster`: the start as one of several
//! * `store`: what is kept on disk, or in Redis
//! * `sys`: the `$SYS` topics
//! * `chores`: what worker 0 does besides: signals, `$SYS`, purges

mod chores;
mod cluster;
pub(crate) mod plan;
mod store;
mod sys;

use crate::net::crew::Captain;
use crate::net::event_loop::{EventLoop, FrontDoor, SIGNALS, WAKER};
use crate::net::listen::open;
use crate::net::mailbox::Mailbox;
use crate::net::shared::{ListenerState, LogSink, Shared};
use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};
use mogi_core::cluster::MAX_CLUSTER_WORKERS;
use mogi_core::{Node, Stats};
use mogi_store::redis::Committer;
use plan::{ListenerPlan, Plan};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Runs the broker until it is told to stop.
///
/// # Errors
/// A listening socket cannot be opened, or the system refuses what the loops need.
pub(crate) fn run(plan: Plan) -> io::Result<()> {
    let Plan { listeners, settings, log, signals, announce } = plan;
    let (doors, states) = open_all(listeners, log)?;
    let joining = cluster::join(&settings, log).map_err(io::Error::other)?;
    let workers = match joining {
        Some(_) => settings.workers.min(MAX_CLUSTER_WORKERS),
        None => settings.workers,
    };
    let node = match &joining {
        Some(joining) => Node::clustered(workers, settings.seed, joining.slot),
        None => Node::new(workers, settings.seed),
    };
    let mut polls = Vec::new();
    let mut mailboxes = Vec::new();
    for _ in 0..workers {
        let poll = Poll::new()?;
        mailboxes.push(Mailbox::new(Waker::new(poll.registry(), WAKER)?));
        polls.push(poll);
    }
    let shared = Arc::new(Shared {
        node: Arc::new(node),
        core: Arc::new(settings.core),
        mailboxes,
        listeners: states,
        log,
        connections: AtomicUsize::new(0),
        accepted: AtomicUsize::new(0),
        max_connections: settings.max_connections,
        connect_timeout_ms: settings.connect_timeout_ms,
        sys_interval_s: settings.sys_interval_s,
        retain_expiry_interval_s: settings.retain_expiry_interval_s,
        version: settings.version,
        started: Instant::now(),
        started_us: wall_us(),
        store: OnceLock::new(),
        links: OnceLock::new(),
        places: Mutex::default(),
        alive: OnceLock::new(),
        store_limit: settings.store.as_ref().map_or(u64::MAX, |store| store.buffer_limit),
        stats: (0..workers).map(|_| Mutex::new(Stats::default())).collect(),
        busy: (0..workers).map(|_| AtomicU32::new(0)).collect(),
        home: Mutex::new(Vec::new()),
        any_home: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        wills_published: AtomicUsize::new(0),
    });
    let mut signals = signals;
    if let (Some(signals), Some(poll)) = (&mut signals, polls.first()) {
        poll.registry().register(&mut signals.stream, SIGNALS, Interest::READABLE)?;
    }
    let front_door = FrontDoor { listeners: doors, chores: chores::chores(signals, &shared) };
    let mut loops = Vec::new();
    let mut door = Some(front_door);
    for (index, poll) in polls.into_iter().enumerate() {
        loops.push(EventLoop::new(index as u16, poll, Arc::clone(&shared), door.take())?);
    }
    if let Some(joining) = joining {
        let sockets = joining.listen().map_err(io::Error::other)?;
        cluster::start(joining, &shared, &mut loops).map_err(io::Error::other)?;
        crate::cluster::start(&shared, sockets)?;
    } else if let Some(plan) = &settings.store {
        store::start(plan, &shared, &mut loops).map_err(io::Error::other)?;
    }
    announce();
    let result = Captain::new(Arc::clone(&shared), loops)?.run();
    close(&shared)?;
    result
}

/// Sockets that listen, and the number of the listener of each.
type Doors = Vec<(u16, TcpListener)>;

/// Opens all listeners: their sockets, each with its listener's number, and what is known of each.
fn open_all(
    listeners: Vec<ListenerPlan>,
    log: &dyn LogSink,
) -> io::Result<(Doors, Vec<ListenerState>)> {
    let mut doors = Vec::new();
    let mut states = Vec::new();
    for listener in listeners {
        let sockets = open(&listener, log).map_err(io::Error::other)?;
        doors.extend(sockets.into_iter().map(|socket| (states.len() as u16, socket)));
        states.push(ListenerState {
            port: listener.port,
            core: listener.core,
            max_connections: listener.max_connections,
            connections: AtomicUsize::new(0),
        });
    }
    Ok((doors, states))
}

/// Writes the last changes down, and says that the node ends.
fn close(shared: &Shared) -> io::Result<()> {
    let Some(store) = shared.store.get() else { return Ok(()) };
    store.close().map_err(|error| io::Error::other(error.to_string()))?;
    if let Some(nodes) = store.cluster().map(Committer::nodes) {
        // If Redis does not hear it, the lease ends by itself.
        let _ = nodes.leave();
    }
    Ok(())
}

/// Microseconds since 1970: brokers on one machine number their messages alike.
fn wall_us() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| elapsed.as_micros() as u64)
}
