//! Which nodes there are, and what follows when one comes or goes.
//!
//! Every node renews its lease in the store and reads who else has one. A node that is not in the
//! list any more is dead to all others: its sessions are nowhere until somebody claims them, and
//! whatever it still tries to write about them is refused. Its lease ends by itself, or is ended by
//! whoever sees that nobody listens any more where it did.

use super::doze::TICK;
use super::duties;
use super::incoming::Incoming;
use super::known::{Known, Place};
use super::links::Links;
use super::outgoing::Outgoing;
use super::shadow_of;
use super::strangers::Strangers;
use crate::net::mailbox::Mail;
use crate::net::shared::Shared;
use mogi_core::LogKind;
use mogi_core::cluster::Cluster;
use mogi_core::cluster::roster::ShadowRecord;
use mogi_store::redis::{NodeSeen, Nodes, Owner};
use mogi_store::{Loaded, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::TcpListener;
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

/// Renewals within a lease.
pub(crate) const RENEWALS: u32 = 5;

/// How long after the start sessions that are nowhere are left to their clients, and to nodes that
/// are about to start.
const SETTLE: Duration = Duration::from_secs(2);

/// How long a node that starts, or begins anew, waits for what the other nodes have to tell. One
/// that is dead is waited for until its lease has ended; this is for those that live and cannot be
/// reached.
const HEAR: Duration = Duration::from_secs(30);

/// Starts the thread that keeps the links, and waits until the other nodes have told what they
/// have to tell: whoever is let in before could publish past their subscribers. The workers do not
/// run yet.
///
/// # Errors
/// The operating system gives no thread, or the cluster's listener cannot be opened.
pub(crate) fn start(shared: &Arc<Shared>, sockets: Vec<TcpListener>) -> io::Result<()> {
    let store = shared.store.get().and_then(|store| store.cluster());
    let (Some(links), Some(cluster), Some(store)) =
        (shared.links.get(), shared.node.cluster(), store)
    else {
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let renewing = Membership {
        shared: Arc::clone(shared),
        links: Arc::clone(links),
        cluster: Arc::clone(cluster),
        nodes: Arc::default(),
        store: store.nodes().clone(),
        tasks: BTreeMap::new(),
        started: Instant::now(),
        settled: false,
        renewed: Instant::now(),
        bereft: false,
        outdated: false,
        asleep_ms: None,
        lapsed: BTreeMap::new(),
    };
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("cluster".to_owned()).spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, renewing.run(sockets, ready));
    })?;
    // If it takes too long, or the thread is gone, the broker serves all the same.
    let _ = is_ready.recv_timeout(2 * HEAR);
    Ok(())
}

/// Notes all the time that this node is awake.
async fn stay_awake(shared: Arc<Shared>, links: Arc<Links>) {
    loop {
        note_awake(&shared, &links);
        sleep(TICK).await;
    }
}

fn note_awake(shared: &Shared, links: &Links) {
    if let Some(slept) = links.doze.tick(shared.now_ms()) {
        let line = format!(
            "Cluster: this node slept for {:.1} s. What its clients have sent is read when its \
             lease is renewed.",
            slept.as_secs_f32()
        );
        shared.log.log(LogKind::Notice, &line);
    }
}

struct Membership {
    shared: Arc<Shared>,
    links: Arc<Links>,
    cluster: Arc<Cluster>,
    nodes: Arc<Known>,
    store: Nodes,
    /// By node: its address, its place, the task of its link.
    tasks: BTreeMap<String, (String, u16, AbortHandle)>,
    started: Instant,
    /// Sessions that are nowhere were looked after.
    settled: bool,
    renewed: Instant,
    /// A node may have left sessions and wills behind.
    bereft: bool,
    /// The store may have sessions nobody has told of.
    outdated: bool,
    /// When this node was last sure of its lease before it was taken for dead, in milliseconds
    /// since 1970: what it has from then may be gone, with all traces of that.
    asleep_ms: Option<u64>,
    /// Since when nodes have no lease.
    lapsed: BTreeMap<String, Instant>,
}

impl Membership {
    async fn run(mut self, sockets: Vec<TcpListener>, ready: Sender<()>) {
        let links = Arc::clone(&self.links);
        let queues = Arc::clone(&self.links);
        // A change of interest rings at every link.
        self.cluster.log().on_change(Box::new(move || queues.ring()));
        for socket in sockets {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(listener) => drop(spawn_local(self.incoming().accept(listener))),
                Err(error) => self.log(LogKind::Error, &format!("Error: Cluster: {error}")),
            }
        }
        drop(spawn_local(stay_awake(Arc::clone(&self.shared), Arc::clone(&links))));
        let every = Duration::from_millis(links.plan.lease_ms) / RENEWALS;
        let nodes = Arc::clone(&self.nodes);
        loop {
            self.renew().await;
            duties::keep(&links, &self.store, &self.shared).await;
            if links.is_hearing() && !self.has_heard() {
                // The lease is kept meanwhile.
                let _ = timeout(every, nodes.heard.notified()).await;
                continue;
            }
            if self.outdated && !self.look_into_store(every).await {
                sleep(every).await;
                continue;
            }
            if links.is_hearing() {
                self.links.heard();
                self.shared.send_all(|| Mail::Told);
                // Nobody waits for it but the start.
                let _ = ready.send(());
            }
            if !self.settled && self.started.elapsed() >= SETTLE && self.nodes.heard_all() {
                self.settled = true;
                self.bereft = true;
            }
            if self.settled && self.nodes.heard_all() && std::mem::take(&mut self.bereft) {
                self.adopt();
                self.adopt_wills().await;
            }
            // Or until a node was seen to end, or takes this one for dead.
            let _ = timeout(every.min(Duration::from_secs(1)), links.end.notified()).await;
        }
    }

    /// Whether the other nodes have told what they have, or were waited for long enough: then
    /// clients are let in.
    fn has_heard(&mut self) -> bool {
        if self.nodes.heard_all() {
            return true;
        }
        let enough = self.started.elapsed() >= HEAR;
        if enough {
            let line = "Cluster: not all other nodes can be reached; serving without them.";
            self.log(LogKind::Warning, line);
            self.outdated = true;
        }
        enough
    }

    /// Looks into the store for what nodes that are gone may not have told; whether that went well,
    /// and nothing more is to be looked for.
    async fn look_into_store(&mut self, every: Duration) -> bool {
        self.outdated = false;
        let (store, heard) = (self.store.clone(), self.nodes.all_heard());
        let shared = Arc::clone(&self.shared);
        let asleep_ms = self.asleep_ms;
        let looking = move || look(&store, &shared, &heard, asleep_ms);
        let mut looking = tokio::task::spawn_blocking(looking);
        let found = loop {
            match timeout(every, &mut looking).await {
                Ok(found) => break found,
                // The lease is kept meanwhile.
                Err(_) => self.renew().await,
            }
        };
        let Ok(Ok(found)) = found else {
            self.outdated = true;
            return false;
        };
        self.asleep_ms = None;
        if let Some(store) = self.shared.store.get().and_then(|store| store.cluster()) {
            found.iter().for_each(|it| store.learn(it.session, Arc::clone(&it.client)));
        }
        self.cluster.add_homeless(&self.shared.node.interest, &found);
        !self.outdated
    }

    fn incoming(&self) -> Incoming {
        Incoming {
            shared: Arc::clone(&self.shared),
            cluster: Arc::clone(&self.cluster),
            nodes: Arc::clone(&self.nodes),
            name: self.links.plan.name.clone(),
            links: Arc::clone(&self.links),
            strangers: Strangers::new(),
        }
    }

    /// Renews the lease, and takes note of who is there.
    async fn renew(&mut self) {
        let (store, links) = (self.store.clone(), Arc::clone(&self.links));
        note_awake(&self.shared, &links);
        let (asked_ms, start) = (self.shared.now_ms(), links.incarnation());
        let asked = tokio::task::spawn_blocking(move || {
            let ttl = Duration::from_millis(links.plan.lease_ms);
            let kept = store.renew(&links.plan.advertise, start, ttl)?;
            store.keep_slot(links.slot)?;
            store.all().map(|nodes| (kept, nodes))
        });
        let silent = self.renewed.elapsed() > Duration::from_millis(self.links.plan.lease_ms);
        match asked.await {
            Ok(Ok((kept, nodes))) => {
                // Who refuses its links knows better than the store, which may have forgotten it.
                if !kept || self.links.take_refusal() == Some(start) {
                    // Others have taken this node's sessions: what it has is not its own.
                    let line = "Error: Cluster: this node was taken for dead; its clients have to \
                                reconnect.";
                    self.log(LogKind::Error, line);
                    self.begin_anew();
                } else if silent {
                    self.log(LogKind::Notice, "Cluster: the store answers again.");
                }
                let lapsed = self.links.has_lapsed(self.shared.now_ms());
                self.links.renewed(asked_ms);
                if lapsed {
                    // What waited for this may be answered.
                    self.shared.send_all(|| Mail::Told);
                }
                self.renewed = Instant::now();
                let nodes = self.judge(nodes).await;
                self.update(nodes);
            }
            Ok(Err(why)) if !silent => {
                self.log(LogKind::Warning, &format!("Cluster: the store does not answer: {why}"));
            }
            Ok(Err(_)) | Err(_) => {}
        }
        // Also if the store does not answer: what needs none goes on without.
        if self.links.doze.tried(asked_ms) {
            self.shared.send_all(|| Mail::Told);
        }
    }

    /// Forgets everything that others have now, and what they told: they tell it again.
    fn begin_anew(&mut self) {
        self.asleep_ms = self.asleep_ms.or_else(|| Some(self.links.sure_ms()));
        self.links.begin_anew();
        self.shared.send_all(|| Mail::Disown);
        let known: Vec<String> = self.tasks.keys().cloned().collect();
        known.iter().for_each(|id| self.remove(id));
        (self.started, self.settled, self.outdated) = (Instant::now(), false, true);
    }

    /// Declares nodes dead that were seen to have ended, or whose lease has ended though Redis
    /// answers all the time; gives back those that live.
    async fn judge(&mut self, nodes: Vec<NodeSeen>) -> Vec<NodeSeen> {
        let patience = Duration::from_millis(self.links.plan.lease_ms) / 2;
        let mut living = Vec::new();
        let ended = self.links.take_ended();
        for node in nodes {
            let start = ended.get(&node.node).filter(|_| node.alive);
            if let Some(start) = start
                && self.declare_ended(&node, *start).await
            {
                continue;
            }
            if node.alive || node.dead {
                self.lapsed.remove(&node.node);
                living.extend(Some(node).filter(|node| node.alive));
                continue;
            }
            let quiet_ms = self.shared.now_ms().saturating_sub(node.seen_at_ms);
            let lately = quiet_ms < 4 * self.links.plan.lease_ms;
            if !self.tasks.contains_key(&node.node) && !lately {
                continue;
            }
            let since = *self.lapsed.entry(node.node.clone()).or_insert_with(Instant::now);
            if since.elapsed() < patience {
                living.push(node);
                continue;
            }
            let (store, name) = (self.store.clone(), node.node.clone());
            let declared = tokio::task::spawn_blocking(move || store.declare_dead(&name)).await;
            match declared {
                Ok(Ok(true)) => drop(self.lapsed.remove(&node.node)),
                _ => living.push(node),
            }
        }
        living
    }

    /// Whether that start of the node is declared dead, and it has not started again.
    async fn declare_ended(&self, node: &NodeSeen, start: u64) -> bool {
        let (store, seen) = (self.store.clone(), node.clone());
        let declare = move || store.declare_ended(&seen.node, &seen.address, start);
        let declared = tokio::task::spawn_blocking(declare).await;
        let done = matches!(declared, Ok(Ok(true)));
        if done {
            let (id, address) = (&node.node, &node.address);
            let line = format!("Cluster: node {id} has ended: nobody listens at {address}.");
            self.log(LogKind::Notice, &line);
        }
        done
    }

    fn update(&mut self, nodes: Vec<NodeSeen>) {
        let me = &self.links.plan.node;
        let others = nodes.into_iter().filter(|node| node.node != *me);
        let others: BTreeMap<String, String> =
            others.map(|node| (node.node, node.address)).collect();
        let moved = |id: &String, address: &String| others.get(id) != Some(address);
        let tasks = self.tasks.iter();
        let gone: Vec<String> = tasks
            .filter(|(id, (address, ..))| moved(id, address))
            .map(|(id, _)| id.clone())
            .collect();
        let lost = !gone.is_empty();
        for id in &gone {
            self.nodes.bury(id);
            self.remove(id);
        }
        self.forget_former(&others);
        for (id, address) in others {
            if !self.tasks.contains_key(&id) {
                self.add(id, address);
            }
        }
        if lost {
            // What the dead had taken and not passed on is in the store.
            self.shared.send_all(|| Mail::CatchUp);
            self.outdated = true;
            self.bereft = true;
        }
        if self.links.look_again() || lost {
            self.shared.send_all(|| Mail::Told);
        }
    }

    fn add(&mut self, id: String, address: String) {
        let places = &self.shared.places;
        let known = places.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let Some(peer) = known.or_else(|| self.cluster.add_node(&id)) else {
            return self.log(LogKind::Error, "Error: Cluster: there are too many nodes.");
        };
        self.log(LogKind::Notice, &format!("Cluster: node {id} at {address} joined."));
        let queue = self.links.open(peer);
        {
            let mut places = self.nodes.places.lock().unwrap_or_else(PoisonError::into_inner);
            let address = address.clone();
            places.insert(id.clone(), Place { peer, address, taken: Arc::default(), heard: false });
        }
        let outgoing = Outgoing {
            shared: Arc::clone(&self.shared),
            links: Arc::clone(&self.links),
            cluster: Arc::clone(&self.cluster),
            queue,
            node: id.clone(),
            address: address.clone(),
            incarnation: None,
            cursor: None,
            refused: None,
        };
        let task = spawn_local(outgoing.run()).abort_handle();
        self.tasks.insert(id, (address, peer, task));
    }

    /// Nodes that were there when the store was read, and are not any more.
    fn forget_former(&mut self, others: &BTreeMap<String, String>) {
        let mut places = self.shared.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|id, peer| {
            let stays = others.contains_key(id);
            if !stays {
                self.cluster.remove_node(&self.shared.node.interest, *peer);
                self.outdated = true;
            }
            stays
        });
    }

    fn remove(&mut self, id: &str) {
        let Some((_, peer, task)) = self.tasks.remove(id) else {
            return;
        };
        task.abort();
        let place = self.nodes.places.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(Place { taken, .. }) = place {
            taken.lock().unwrap_or_else(PoisonError::into_inner).ends.notify_waiters();
        }
        self.links.close(peer);
        // Who waited for that node does so no more.
        self.shared.send_all(|| Mail::Told);
        self.cluster.remove_node(&self.shared.node.interest, peer);
        self.log(LogKind::Warning, &format!("Cluster: node {id} is gone."));
    }

    /// Claims this node's share of the sessions that are nowhere, so that they expire, and their
    /// wills are published, though their clients never come back. They are nowhere as well while it
    /// is not known where they are.
    fn adopt(&self) {
        let mut taken = 0;
        for client in self.cluster.homeless() {
            if !self.is_best(&client) {
                continue;
            }
            let owner = usize::from(self.shared.node.owner(&client));
            if let Some(mailbox) = self.shared.mailboxes.get(owner) {
                mailbox.send(Mail::Adopt { client }, false);
                taken += 1;
            }
        }
        if taken > 0 {
            self.log(
                LogKind::Notice,
                &format!("Cluster: looking after {taken} sessions whose node is gone."),
            );
        }
    }

    /// Looks after this node's share of the wills of clients that were connected to a node which is
    /// gone: also of those that left nothing else behind.
    async fn adopt_wills(&self) {
        let store = self.store.clone();
        let found = tokio::task::spawn_blocking(move || store.wills()).await;
        let Ok(Ok(wills)) = found else {
            return self.log(LogKind::Warning, "Cluster: wills of nodes that are gone wait.");
        };
        let me = self.links.plan.node.as_str();
        for (client, owner) in wills {
            let lives = owner.as_deref().is_some_and(|owner| self.tasks.contains_key(owner));
            let mine = owner.as_deref() == Some(me) || self.is_best(&client);
            let worker = usize::from(self.shared.node.owner(&client));
            if let Some(mailbox) = self.shared.mailboxes.get(worker).filter(|_| mine && !lives) {
                mailbox.send(Mail::AdoptWill { client }, false);
            }
        }
    }

    /// Whether it is this node that looks after a client nobody has.
    fn is_best(&self, client: &str) -> bool {
        let me = self.links.plan.node.as_str();
        let nodes = self.tasks.keys().map(String::as_str).chain([me]);
        nodes.max_by_key(|node| weight(node, client)) == Some(me)
    }

    fn log(&self, kind: LogKind, line: &str) {
        self.shared.log.log(kind, line);
    }
}

/// What the store has of sessions whose nodes were not `heard`, and all retained messages; of those
/// from before `asleep_ms` the others are gone.
fn look(
    store: &Nodes,
    shared: &Shared,
    heard: &BTreeSet<String>,
    asleep_ms: Option<u64>,
) -> Result<Vec<ShadowRecord>, StoreError> {
    let mut found = Vec::new();
    let mut seen: BTreeSet<Box<str>> = BTreeSet::new();
    store.look().load_owned(&mut |loaded, owner| match loaded {
        Loaded::Retained { message, version } => {
            if asleep_ms.is_some() {
                seen.insert(message.topic().into());
            }
            shared.node.retained.restore(message, version);
        }
        Loaded::RetainedEnd { topic, version } => {
            shared.node.retained.remove_as_of(&topic, version);
        }
        Loaded::Session(it) => {
            let Owner { node, epoch } = owner.unwrap_or(Owner { node: None, epoch: 0 });
            // What they have they have told, and what changed meanwhile as well.
            if !node.is_some_and(|node| heard.contains(&*node)) {
                found.push(shadow_of(it, epoch));
            }
        }
        _ => {}
    })?;
    if let Some(asleep_ms) = asleep_ms {
        shared.node.retained.remove_unseen(asleep_ms, |topic| seen.contains(topic));
    }
    Ok(found)
}

/// All nodes weigh alike, so that they agree without a word who looks after a client.
fn weight(node: &str, client: &str) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
    hasher.write(node.as_bytes());
    hasher.write_u8(0xFF);
    hasher.write(client.as_bytes());
    hasher.finish()
}
