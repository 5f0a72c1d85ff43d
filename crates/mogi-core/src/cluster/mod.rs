//! Several nodes that share a store: what each tells the others, and knows of them.
//!
//! ```text
//!  workers ──changes of interest──► ChangeLog ──► links ──► the other nodes
//!  Interest ◄──peers' interest──── Roster ◄────── links ◄── the other nodes
//! ```
//! A node is a peer like a worker, only farther: it has a place in the interest table, and batches
//! go to it. What differs stands in this folder:
//!
//! * [`change`]: what nodes tell one another of their clients, as it goes over a link
//! * [`log`]: the changes of this node, in order, for links to read; and everything at once, for a
//!   link that begins
//! * [`roster`]: the other nodes, their interest, and the sessions that live there (*shadows*)
//! * `far`: batches to and from other nodes
//! * `claim`: a session comes here from another node, or goes to one
//!
//! **A lasting session has one home**: the node its client is connected to or was last. There it is
//! a client of a worker; on all other nodes it is a shadow, its subscriptions in the interest
//! table, so that whoever takes a message writes it down for it. A move raises the session's
//! *epoch*, and of two nodes that both call themselves its home the one with the greater is right.

pub mod change;
mod claim;
pub(crate) mod far;
pub mod log;
pub mod roster;

pub use claim::{Claim, Claimed, Settled};
pub use far::{FarBatch, put_retained, retained_items};

use crate::interest::{Interest, PeerSet};
use crate::numbers::claim_at;
use crate::store::SessionNo;
use change::{Change, FarMember};
use log::ChangeLog;
use roster::{Eviction, Roster};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The first place of another node in a set of peers; those below are workers'.
pub const FIRST_NODE: u16 = 32;

/// The place of those who are nowhere: sessions whose node is gone.
pub const NOWHERE: u16 = 63;

/// The most workers a node of several can have.
pub const MAX_CLUSTER_WORKERS: u16 = FIRST_NODE;

/// The most other nodes.
pub const MAX_NODES: usize = (NOWHERE - FIRST_NODE) as usize;

/// Whether that place is one of another node, or nobody's.
pub(crate) const fn is_far(peer: u16) -> bool {
    peer >= FIRST_NODE
}

/// What a node has to do because of what another told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A client may have to leave: [`Worker::evict`](crate::Worker::evict).
    Evict(Eviction),
    /// The client's waiting entries are to be read:
    /// [`Worker::begin_catch_up`](crate::Worker::begin_catch_up).
    CatchUp(Arc<str>),
    /// The session, which lived elsewhere, is no more: nothing is written down for it.
    Forget(SessionNo),
}

/// What the workers of a node and its links to other nodes share.
#[derive(Debug)]
pub struct Cluster {
    log: ChangeLog,
    roster: Mutex<Roster>,
    /// The other nodes, one bit each.
    nodes: AtomicU64,
    /// What this node did when it started that was left undone when it ended.
    redone: Mutex<Vec<u8>>,
}

impl Cluster {
    pub(crate) fn new(seed: u64) -> Self {
        let (log, roster) = (ChangeLog::default(), Mutex::new(Roster::new(seed)));
        Self { log, roster, nodes: AtomicU64::new(0), redone: Mutex::default() }
    }

    /// The changes of this node.
    pub const fn log(&self) -> &ChangeLog {
        &self.log
    }

    /// Takes what a node told, in the order it told it. What is to be done because of it, before
    /// the node is answered.
    pub fn apply(
        &self,
        interest: &Interest,
        peer: u16,
        changes: impl IntoIterator<Item = Change>,
    ) -> Vec<Errand> {
        let mut roster = self.roster();
        let mut errands = Vec::new();
        for change in changes {
            match change {
                Change::Waits { session } => {
                    errands.extend(self.log.client_of(session).map(Errand::CatchUp));
                }
                // It was there before it came here.
                Change::Joined(FarMember { session, .. })
                    if !roster.is_shadow(session) && self.log.client_of(session).is_some() => {}
                change => errands.extend(roster.apply(interest, peer, change).map(Errand::Evict)),
            }
        }
        errands.extend(roster.take_ended().into_iter().map(Errand::Forget));
        errands
    }

    /// Tells the others that something was written down for a session which lives elsewhere, and
    /// that no message tells of it: what a publisher's former node had left undone.
    pub fn tell_waiting(&self, session: SessionNo) {
        self.log.push(&Change::Waits { session });
    }

    /// Retained messages, and ends of such, that no other node has heard of: what this node did
    /// when it started, because it was left undone when it ended. They are items of a batch.
    pub fn set_redone(&self, items: Vec<u8>) {
        *self.redone.lock().unwrap_or_else(PoisonError::into_inner) = items;
    }

    /// What [`Self::set_redone`] was given: each node is to be told.
    pub fn redone(&self) -> Vec<u8> {
        self.redone.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A node joins; its place. `None`: there is no room, or it is there already.
    pub fn add_node(&self, name: &str) -> Option<u16> {
        let place = self.roster().add_node(name)?;
        self.nodes.fetch_or(1 << place, Ordering::Relaxed);
        Some(place)
    }

    /// A node is gone for good: its lasting sessions are nowhere for now, its other clients gone.
    pub fn remove_node(&self, interest: &Interest, peer: u16) {
        self.nodes.fetch_and(!(1 << peer), Ordering::Relaxed);
        self.roster().remove_node(interest, peer);
    }

    /// The other nodes, one bit each.
    pub(crate) fn nodes(&self) -> PeerSet {
        self.nodes.load(Ordering::Relaxed)
    }

    /// Notes a lasting session that lives elsewhere, as the store has it; `peer`: where, or
    /// [`NOWHERE`].
    pub fn add_shadow(&self, interest: &Interest, peer: u16, session: &roster::ShadowRecord) {
        let epoch = claim_at(session.epoch);
        self.roster().add_shadow(
            interest,
            peer,
            &roster::ShadowRecord { epoch, ..session.clone() },
        );
    }

    /// Notes lasting sessions as the store has them, whose nodes are gone and may not have told all
    /// they had; those that live here, or are known as of later, are left as they are.
    pub fn add_homeless(&self, interest: &Interest, found: &[roster::ShadowRecord]) {
        let mut here = BTreeSet::new();
        self.log.homes(|change| {
            if let Change::Home { client, .. } = change {
                here.insert(client);
            }
        });
        for record in found.iter().filter(|record| !here.contains(&record.client)) {
            self.add_shadow(interest, NOWHERE, record);
        }
    }

    /// Notes a session that lived here until now.
    pub(crate) fn move_away(&self, interest: &Interest, peer: u16, session: &roster::ShadowRecord) {
        self.roster().add_shadow(interest, peer, session);
    }

    /// Whether that client has a lasting session on another node, or nowhere.
    pub fn has_shadow(&self, client: &str) -> bool {
        self.roster().has_shadow(client)
    }

    /// Whether that session lives on another node, or nowhere.
    pub(crate) fn is_shadow(&self, session: SessionNo) -> bool {
        self.roster().is_shadow(session)
    }

    /// Whether another node is known to have claimed that client after this claim.
    pub fn is_stale(&self, client: &str, epoch: u64) -> bool {
        self.roster().epoch_of(client).is_some_and(|known| known > claim_at(epoch))
    }

    /// Clients whose lasting sessions are nowhere.
    pub fn homeless(&self) -> Vec<Arc<str>> {
        self.roster().homeless()
    }

    /// The store has no session of that client, so that nobody will tell of its end: its node was
    /// gone before it was written down.
    pub fn forget_shadow(&self, interest: &Interest, client: &str) {
        self.roster().settled_here(interest, client, SessionNo::NONE);
    }

    /// Lasting sessions that live elsewhere.
    pub fn shadows(&self) -> usize {
        self.roster().len()
    }

    /// The session lives here now: it is no shadow any more.
    pub(crate) fn settled_here(&self, interest: &Interest, client: &str, session: SessionNo) {
        self.roster().settled_here(interest, client, session);
    }

    pub(crate) fn forget_all(&self) {
        self.roster().forget_all();
        self.log.forget_all();
    }

    // Poisoning: see `Interest`.
    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
