//! The start of a broker that is one of several: its number, who else is there, and what of the
//! store is its own.

use crate::broker::plan::{Settings, StorePlan};
use crate::broker::retained;
use crate::broker::store::{answer_questions, answers, notices, tell, tell_progress, warn_of_loss};
use crate::cluster::{ClusterPlan, Links, RENEWALS, Secure, shadow_of};
use crate::log::why;
use crate::net::certificates::Certificates;
use crate::net::event_loop::EventLoop;
use crate::net::shared::{LogSink, Shared};
use mogi_core::LogKind;
use mogi_core::cluster::{Cluster, NOWHERE, retained_items};
use mogi_core::store::{StoreOp, StoredSession, StoredWill};
use mogi_store::redis::{self, Nodes, Owner, RedisStore};
use mogi_store::{LoadReport, Loaded, StoreError};
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// A node about to join the others.
pub(super) struct Joining {
    plan: ClusterPlan,
    /// TLS of links, if they have it.
    secure: Option<Arc<Secure>>,
    store: RedisStore,
    /// The number in what it gives numbers to.
    pub(super) slot: u8,
}

/// Opens the store and asks for a number, if the broker is to be one of several.
///
/// # Errors
/// A line for the log: why the broker cannot start.
pub(super) fn join(
    settings: &Settings,
    certificates: &mut Certificates,
    log: &'static dyn LogSink,
) -> Result<Option<Joining>, String> {
    let (Some(plan), Some(StorePlan { redis: Some(options), .. })) =
        (&settings.cluster, &settings.store)
    else {
        return Ok(None);
    };
    let secure = plan.secure.as_ref().map(|plan| certificates.open_links(plan, log));
    let secure = secure.transpose().map_err(|why| format!("Error: {why}"))?;
    let mut options = options.clone();
    options.node.clone_from(&plan.node);
    let store = RedisStore::open(&options).map_err(|error| error.to_string())?;
    store.listen(move |notice| log.log(LogKind::Notice, &format!("{notice}.")));
    let slot = store.nodes().take_slot().map_err(|error| error.to_string())?;
    let slot = slot.ok_or("Error: Cluster: there are 256 nodes already.")?;
    Ok(Some(Joining { plan: plan.clone(), secure, store, slot }))
}

impl Joining {
    /// Opens the listener for other nodes.
    ///
    /// # Errors
    /// A line for the log: why it cannot be opened.
    pub(super) fn listen(&self) -> Result<Vec<TcpListener>, String> {
        let open = |address: &SocketAddr| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let all: io::Result<Vec<TcpListener>> = self.plan.listen.iter().map(open).collect();
        all.map_err(|error| format!("Error: cluster_listener: {}.", why(&error)))
    }
}

/// Joins: others know of this node from now on. Then gives the workers what is theirs.
///
/// # Errors
/// A line for the log: why the broker cannot start.
pub(super) fn start(
    joining: Joining,
    shared: &Arc<Shared>,
    loops: &mut [EventLoop],
) -> Result<(), String> {
    let Joining { plan, secure, mut store, slot } = joining;
    let begun = Instant::now();
    let failed = |error: StoreError| error.to_string();
    let nodes = store.nodes();
    let incarnation = shared.now_ms();
    let keeping = keep_lease(nodes.clone(), &plan, incarnation)?;
    if let Some(cluster) = shared.node.cluster() {
        let mut places = shared.places.lock().unwrap_or_else(PoisonError::into_inner);
        for seen in nodes.all().map_err(failed)? {
            if seen.alive
                && seen.node != plan.node
                && let Some(peer) = cluster.add_node(&seen.node)
            {
                places.insert(seen.node, peer);
            }
        }
    }
    let mut report = restore(&mut store, &plan, shared, loops).map_err(failed)?;
    let all = retained::read(&store, &mut report, shared)?;
    tell(shared.log, store.place(), &report, all, begun);
    warn_of_loss(shared.log, &store);
    let committer = redis::Committer::start(store, answers(shared), notices(shared.log));
    // It is the first: nobody else starts a store.
    let _ = shared.store.set(Box::new(committer.map_err(failed)?));
    let links = Links::new(plan, secure, slot, incarnation);
    let _ = shared.links.set(Arc::new(links));
    drop(keeping);
    Ok(())
}

/// Takes the lease and keeps it while the store is read, which may take longer than it lasts, until
/// what is given back is dropped. A longer one instead would have others wait for a node that died
/// over its reading.
fn keep_lease(nodes: Nodes, plan: &ClusterPlan, start: u64) -> Result<Sender<()>, String> {
    let (keeping, kept) = mpsc::channel();
    let (address, lease) = (plan.advertise.clone(), Duration::from_millis(plan.lease_ms));
    nodes.renew(&address, start, lease).map_err(|error| error.to_string())?;
    let keep = move || {
        while kept.recv_timeout(lease / RENEWALS) == Err(RecvTimeoutError::Timeout) {
            // What goes wrong with Redis is told by whoever reads the store.
            let _ = nodes.renew(&address, start, lease);
        }
    };
    let thread = std::thread::Builder::new().name("lease".to_owned()).spawn(keep);
    thread.map(|_| keeping).map_err(|error| format!("Error: no thread: {}.", why(&error)))
}

/// What is read of the store.
struct Restoring<'a> {
    shared: &'a Shared,
    cluster: &'a Cluster,
    loops: &'a mut [EventLoop],
    node: &'a str,
    now_ms: u64,
    alive_at_ms: u64,
    own: BTreeSet<Arc<str>>,
    wills: Vec<(Arc<str>, StoredWill)>,
    /// What was left undone and is done now, as other nodes are told.
    redone: Vec<u8>,
}

fn restore(
    store: &mut RedisStore,
    plan: &ClusterPlan,
    shared: &Shared,
    loops: &mut [EventLoop],
) -> Result<LoadReport, StoreError> {
    let now_ms = shared.now_ms();
    let Some(cluster) = shared.node.cluster() else {
        return Ok(LoadReport::default());
    };
    // No link has begun.
    cluster.log().set_quiet(true);
    let mut restoring = Restoring {
        shared,
        cluster,
        loops,
        node: &plan.node,
        now_ms,
        alive_at_ms: now_ms,
        own: BTreeSet::new(),
        wills: Vec::new(),
        redone: Vec::new(),
    };
    let report = store.load_sessions(&mut |loaded, owner| restoring.take(loaded, owner))?;
    let Restoring { own, wills, loops, alive_at_ms, redone, .. } = restoring;
    let node = &shared.node;
    node.continue_from(report.last_session, report.last_entry, report.last_version);
    for (client, will) in wills.into_iter().filter(|(client, _)| own.contains(client)) {
        if let Some(owner) = loops.get_mut(usize::from(node.owner(&client))) {
            owner.worker_mut().restore_will(now_ms, &client, &will, alive_at_ms);
        }
    }
    cluster.log().set_quiet(false);
    cluster.set_redone(redone);
    answer_questions(store, now_ms, loops)?;
    Ok(report)
}

impl Restoring<'_> {
    fn take(&mut self, loaded: Loaded, owner: Option<Owner>) {
        match loaded {
            Loaded::Alive { at_ms } => self.alive_at_ms = at_ms.unwrap_or(self.now_ms),
            Loaded::Session(session) => self.session(session, owner),
            Loaded::Will { client, will } => self.wills.push((client, will)),
            Loaded::Redone(change) => {
                self.redone.extend(retained_items([&change]));
                let retained = &self.shared.node.retained;
                match change {
                    StoreOp::Retained { message, version } => {
                        retained.restore(message, version);
                    }
                    StoreOp::RetainedEnd { topic, version } => {
                        retained.remove_as_of(&topic, version);
                    }
                    _ => {}
                }
            }
            Loaded::Progress(so_far) => tell_progress(self.shared.log, so_far),
            // They come later. And Redis is never found damaged on the way.
            Loaded::Retained { .. } | Loaded::RetainedEnd { .. } | Loaded::Anew => {}
        }
    }

    fn session(&mut self, session: StoredSession, owner: Option<Owner>) {
        let owner = owner.unwrap_or(Owner { node: None, epoch: 0 });
        let client = Arc::clone(&session.record.client);
        if owner.node.as_deref() == Some(self.node) {
            let worker = usize::from(self.shared.node.owner(&client));
            if let Some(event_loop) = self.loops.get_mut(worker) {
                let worker = event_loop.worker_mut();
                worker.restore_at(self.now_ms, session, self.alive_at_ms, owner.epoch);
            }
            self.own.insert(client);
            return;
        }
        let places = self.shared.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = owner.node.as_deref().and_then(|node| places.get(node));
        let peer = place.copied().unwrap_or(NOWHERE);
        let record = shadow_of(session, owner.epoch);
        self.cluster.add_shadow(&self.shared.node.interest, peer, &record);
    }
}
