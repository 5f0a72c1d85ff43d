//! The links of this node to all others.

use super::ClusterPlan;
use super::doze::Doze;
use super::duties::Duties;
use super::queue::LinkQueue;
use super::secure::Secure;
use mogi_core::cluster::{FIRST_NODE, MAX_NODES};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often it is looked what other nodes have taken.
const LOOK: Duration = Duration::from_millis(1);

/// What the workers need of the cluster.
pub(crate) struct Links {
    pub(crate) plan: ClusterPlan,
    /// TLS, if links have it.
    secure: RwLock<Option<Arc<Secure>>>,
    /// The number in what this node gives numbers to.
    pub(super) slot: u8,
    /// Another one with every start.
    incarnation: AtomicU64,
    /// By place.
    queues: RwLock<Vec<Option<Arc<LinkQueue>>>>,
    /// Changes of interest all other nodes know of.
    told: AtomicU64,
    /// Until when no other node takes this one for dead, in milliseconds.
    safe_until_ms: AtomicU64,
    /// Whether it has just woken up.
    pub(crate) doze: Doze,
    /// How often it was taken for dead.
    generation: AtomicU64,
    /// Whether other nodes have yet to tell what they have.
    hearing: AtomicBool,
    /// Nodes that were seen to have ended, and which start of each.
    ended: Mutex<BTreeMap<String, u64>>,
    /// Which start of this node another one takes for dead.
    refusal: Mutex<Option<u64>>,
    /// Rings for either.
    pub(super) end: Notify,
    /// Bridges, which one node carries at a time.
    pub(crate) duties: Duties,
}

impl Links {
    pub(crate) fn new(
        plan: ClusterPlan,
        secure: Option<Arc<Secure>>,
        slot: u8,
        incarnation: u64,
    ) -> Self {
        let queues = RwLock::new((0..MAX_NODES).map(|_| None).collect());
        let doze = Doze::new(plan.lease_ms);
        Self {
            plan,
            secure: RwLock::new(secure),
            slot,
            incarnation: AtomicU64::new(incarnation),
            queues,
            told: AtomicU64::new(u64::MAX),
            safe_until_ms: AtomicU64::new(0),
            doze,
            generation: AtomicU64::new(0),
            hearing: AtomicBool::new(true),
            ended: Mutex::default(),
            refusal: Mutex::default(),
            end: Notify::new(),
            duties: Duties::default(),
        }
    }

    /// TLS of links that are made from now on, if they have it.
    pub(super) fn secure(&self) -> Option<Arc<Secure>> {
        self.secure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Files were read again.
    pub(crate) fn set_secure(&self, secure: Arc<Secure>) {
        *self.secure.write().unwrap_or_else(PoisonError::into_inner) = Some(secure);
    }

    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// The lease was renewed by a request of `asked_ms`.
    pub(super) fn renewed(&self, asked_ms: u64) {
        self.safe_until_ms.store(asked_ms + self.plan.lease_ms, Ordering::Release);
    }

    /// Until when this node was surely not taken for dead, and what it had written down was in the
    /// store: a lease before it last renewed its lease.
    pub(super) fn sure_ms(&self) -> u64 {
        self.safe_until_ms.load(Ordering::Acquire).saturating_sub(2 * self.plan.lease_ms)
    }

    /// Whether others may take this node for dead.
    pub(super) fn has_lapsed(&self, now_ms: u64) -> bool {
        now_ms >= self.safe_until_ms.load(Ordering::Acquire)
    }

    /// This node was taken for dead: it begins anew.
    pub(super) fn begin_anew(&self) {
        self.hearing.store(true, Ordering::Release);
        self.incarnation.fetch_add(1, Ordering::AcqRel);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether other nodes have yet to tell what they have: nobody is let in before, as what a
    /// client published would pass by their subscribers.
    pub(crate) fn is_hearing(&self) -> bool {
        self.hearing.load(Ordering::Acquire)
    }

    /// The other nodes have told what they have.
    pub(super) fn heard(&self) {
        self.hearing.store(false, Ordering::Release);
    }

    /// That start of a node has ended.
    pub(super) fn saw_end(&self, node: &str, start: u64) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.insert(node.to_owned(), start);
        drop(ended);
        self.end.notify_one();
    }

    /// Nodes that were seen to have ended since this was asked, and which start of each.
    pub(super) fn take_ended(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another node takes that start of this one for dead.
    pub(super) fn refused(&self, start: u64) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(start);
        self.end.notify_one();
    }

    /// Which start of this node another one takes for dead, since this was asked.
    pub(super) fn take_refusal(&self) -> Option<u64> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether a worker may promise anything now that has begun anew so often.
    pub(crate) fn may_answer(&self, generation: u64, now_ms: u64) -> bool {
        !self.has_lapsed(now_ms) && generation == self.generation.load(Ordering::Acquire)
    }

    /// Hands messages over for the node at that place.
    pub(crate) fn send(&self, peer: u16, bytes: Vec<u8>) {
        self.with(peer, |queue| queue.push(bytes));
    }

    /// Hands messages over for all nodes.
    pub(crate) fn send_all(&self, bytes: &[u8]) {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.iter().flatten().for_each(|queue| queue.push(bytes.to_vec()));
    }

    /// Whether all other nodes know of the first `seq` changes of interest.
    pub(crate) fn know(&self, seq: u64) -> bool {
        self.told.load(Ordering::Acquire) >= seq
    }

    /// Looks again what all other nodes know of; whether that is more.
    pub(super) fn look_again(&self) -> bool {
        let told = self.least();
        self.told.swap(told, Ordering::AcqRel) < told
    }

    /// There are new changes of interest: all links are to look.
    pub(super) fn ring(&self) {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.iter().flatten().for_each(|queue| queue.bell.notify_one());
    }

    /// Tells all other nodes that rights have changed in the store, and waits until they have them
    /// in force, for so long at most. One there is no link to looks by itself meanwhile.
    pub(crate) fn tell_rights(&self, patience: Duration) {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let told = queues.iter().flatten().map(|queue| (Arc::clone(queue), queue.push_rights()));
        let told: Vec<_> = told.collect();
        drop(queues);
        let since = Instant::now();
        while !told.iter().all(|(queue, change)| queue.has_rights(*change))
            && since.elapsed() < patience
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all other nodes have taken the messages that were handed over so far. Whoever
    /// has not for a whole lease is gone, or reached by nobody.
    pub(super) async fn all_taken(&self) {
        let lease = Duration::from_millis(self.plan.lease_ms);
        let left: Vec<_> = {
            let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
            queues.iter().flatten().map(|queue| (Arc::clone(queue), queue.ask())).collect()
        };
        let since = Instant::now();
        let waits = |(queue, batches): &(Arc<LinkQueue>, u64)| {
            let lacks = !queue.has_taken(*batches);
            lacks && !queue.is_lost(lease)
        };
        while left.iter().any(waits) && since.elapsed() < lease {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What all other nodes know of. A node that has not been reached for a whole lease, and lives
    /// all the same, is waited for no longer: only the network between the two is down.
    fn least(&self) -> u64 {
        let lease = Duration::from_millis(self.plan.lease_ms);
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let reachable = queues.iter().flatten().filter(|queue| !queue.is_lost(lease));
        reachable.map(|queue| queue.known()).min().unwrap_or(u64::MAX)
    }

    /// A queue for a node that joins.
    pub(super) fn open(&self, peer: u16) -> Arc<LinkQueue> {
        let queue = Arc::new(LinkQueue::new(self.plan.buffer_limit));
        self.set(peer, Some(Arc::clone(&queue)));
        queue
    }

    /// The node at that place said which start of it this is.
    pub(super) fn begin(&self, peer: u16, incarnation: u64) {
        self.with(peer, |queue| queue.begin(incarnation));
    }

    /// The node at that place is to look into the store for what it did not hear of.
    pub(super) fn tell_gap(&self, peer: u16) {
        self.with(peer, LinkQueue::push_gap);
    }

    /// Does something with the queue of the node at that place, if there is one.
    fn with(&self, peer: u16, act: impl FnOnce(&LinkQueue)) {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let at = usize::from(peer).checked_sub(usize::from(FIRST_NODE));
        if let Some(Some(queue)) = at.and_then(|at| queues.get(at)) {
            act(queue);
        }
    }

    /// The node is gone.
    pub(super) fn close(&self, peer: u16) {
        self.set(peer, None);
    }

    fn set(&self, peer: u16, queue: Option<Arc<LinkQueue>>) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        let at = usize::from(peer).checked_sub(usize::from(FIRST_NODE));
        if let Some(place) = at.and_then(|at| queues.get_mut(at)) {
            *place = queue;
        }
        drop(queues);
        self.look_again();
    }

    /// Nodes there are links to, bytes that wait for them, and batches that were dropped.
    pub(crate) fn backlog(&self) -> (usize, usize, u64) {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues
            .iter()
            .flatten()
            .map(|queue| queue.backlog())
            .fold((0, 0, 0), |(nodes, bytes, dropped), (more, lost)| {
                (nodes + 1, bytes + more, dropped + lost)
            })
    }
}
