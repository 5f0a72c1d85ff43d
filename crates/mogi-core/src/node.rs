//! What the workers of one process share: interest, retained messages, and a few counts.

use crate::client::{Client, Way};
use crate::cluster::Cluster;
use crate::interest::Interest;
use crate::numbers::Numbers;
use crate::retained::Retained;
use crate::store::{EntryNo, SessionNo};
use foldhash::fast::FixedState;
use mogi_codec::QoS;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The shared part of a broker process.
#[derive(Debug)]
pub struct Node {
    /// Which worker wants what.
    pub interest: Interest,
    /// The retained messages.
    pub retained: Retained,
    /// Sessions of all workers, connected or not.
    pub sessions: AtomicUsize,
    /// Bytes of messages that wait for clients, in memory.
    pub(crate) queued: Arc<AtomicU64>,
    /// What is shared with other nodes, if this is one of several.
    pub(crate) cluster: Option<Arc<Cluster>>,
    session_numbers: Numbers,
    entry_numbers: Numbers,
    workers: u16,
    seed: u64,
    hash: FixedState,
}

impl Node {
    /// A node of that many workers, 1 to [`MAX_PEERS`](crate::interest::MAX_PEERS). `seed` makes
    /// hash tables unpredictable to those who choose topics and client ids.
    pub fn new(workers: u16, seed: u64) -> Self {
        Self::build(workers, seed, None, None)
    }

    /// A node whose store others use as well. Its numbers carry `slot`, which no other node has at
    /// the same time. At most [`MAX_CLUSTER_WORKERS`](crate::cluster::MAX_CLUSTER_WORKERS) workers.
    pub fn clustered(workers: u16, seed: u64, slot: u8) -> Self {
        let cluster = Arc::new(Cluster::new(seed));
        Self::build(workers, seed, Some(slot), Some(cluster))
    }

    /// A node whose numbers are those of a cluster, though it is the only one: others may join
    /// later.
    pub fn numbered(workers: u16, seed: u64, slot: u8) -> Self {
        Self::build(workers, seed, Some(slot), None)
    }

    fn build(workers: u16, seed: u64, slot: Option<u8>, cluster: Option<Arc<Cluster>>) -> Self {
        debug_assert!((1..=crate::interest::MAX_PEERS as u16).contains(&workers));
        Self {
            interest: Interest::new(seed, cluster.clone()),
            retained: Retained::new(seed, slot, cluster.is_some()),
            sessions: AtomicUsize::new(0),
            queued: Arc::default(),
            cluster,
            session_numbers: Numbers::new(slot),
            entry_numbers: Numbers::new(slot),
            workers: workers.max(1),
            seed,
            hash: FixedState::with_seed(seed),
        }
    }

    /// What is shared with other nodes, if this is one of several.
    pub const fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// Whether nobody but its one worker wants to know what anybody is interested in.
    pub(crate) const fn is_alone(&self) -> bool {
        self.workers == 1 && self.cluster.is_none()
    }

    /// Bytes of messages that wait for clients, in memory.
    pub fn queued_bytes(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Bytes of messages that wait for clients, in memory, and of those that are retained.
    pub fn kept_bytes(&self) -> u64 {
        self.queued_bytes() + self.retained.bytes() as u64
    }

    /// The worker that owns a client id.
    pub fn owner(&self, client_id: &str) -> u16 {
        if self.workers == 1 {
            return 0;
        }
        (self.hash.hash_one(client_id.as_bytes()) % u64::from(self.workers)) as u16
    }

    /// How many workers there are.
    pub const fn workers(&self) -> u16 {
        self.workers
    }

    /// Forgets everything that was restored so far, because it is about to come again.
    pub fn forget_all(&self) {
        self.interest.forget_all();
        self.retained.forget_all();
        if let Some(cluster) = &self.cluster {
            cluster.forget_all();
        }
        self.sessions.store(0, std::sync::atomic::Ordering::Relaxed);
    }

    /// Continues the numbers of a store: none of those up to these is given again.
    pub fn continue_from(&self, session: SessionNo, entry: EntryNo, retained_version: u64) {
        self.session_numbers.continue_from(session.0);
        self.entry_numbers.continue_from(entry.0);
        self.retained.continue_from(retained_version);
    }

    /// Whether a peer's message for a session that lasts came without an entry. Then whoever routed
    /// it has written it down for the place where the session was, and it is among what was read
    /// when it came here; or did not know of the subscription, which nobody was promised yet.
    pub(crate) fn wrote_elsewhere(&self, client: &Client, way: &Way<'_>) -> bool {
        self.cluster.is_some()
            && way.entry == EntryNo::NONE
            && way.qos != QoS::AtMostOnce
            && client.session.number_if_lasting() != SessionNo::NONE
    }

    /// Whether an entry that comes from another node may have been delivered, and done, before the
    /// session came here: the store knows.
    pub(crate) fn may_be_done(&self, client: &Client, entry: EntryNo) -> bool {
        entry.0 < client.session.since
            && entry != EntryNo::NONE
            && self.entry_numbers.is_foreign(entry.0)
    }

    /// Whether that session, which was with a worker of this node, is on another one, or nowhere;
    /// or has come back since, if it is not `there` as it was.
    pub(crate) fn has_moved(&self, session: SessionNo, there: bool) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| {
            let came_back = || !there && cluster.log().epoch_of(session).is_some();
            cluster.is_shadow(session) || came_back()
        })
    }

    /// A number for a session.
    pub(crate) fn next_session(&self, now_ms: u64) -> SessionNo {
        SessionNo(self.session_numbers.next(now_ms))
    }

    /// What another node told was numbered so: what is numbered here from now on came later.
    pub fn heard_of(&self, epoch: u64) {
        self.session_numbers.continue_from(epoch);
    }

    /// A number for an entry.
    #[inline]
    pub(crate) fn next_entry(&self, now_ms: u64) -> EntryNo {
        EntryNo(self.entry_numbers.next(now_ms))
    }

    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn hash(&self) -> FixedState {
        self.hash.clone()
    }
}
