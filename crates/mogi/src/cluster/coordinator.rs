//! What the store decides for all nodes that share it.

use mogi_core::SessionNo;
use mogi_core::cluster::Claimed;
use mogi_core::store::StoredWaiting;
use std::sync::Arc;

/// A node as all others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeRecord {
    /// Its id.
    pub(crate) id: String,
    /// The number in what it gives numbers to; no other living node has it.
    pub(crate) slot: u8,
    /// `HOST:PORT` of its cluster listener.
    pub(crate) address: String,
    /// Another one with every start.
    pub(crate) incarnation: u64,
}

/// What became of a claim: the session, and its epoch from now on.
pub(crate) type ClaimAnswer = (Claimed, u64);

/// Called once, on any thread.
pub(crate) type Then<T> = Box<dyn FnOnce(T) + Send>;

/// Leases, claims and lists, kept by the store. What cannot be had now is tried again until it can:
/// an answer may take its time, but comes.
pub(crate) trait Coordinator: Send + Sync {
    /// Says that this node lives, for `lease_ms` from now, and asks who else does. `None`: this
    /// node was taken for dead in the meantime; the next call begins anew.
    ///
    /// # Errors
    /// The store does not answer: a line for the log.
    fn renew(&self, me: &NodeRecord, lease_ms: u64) -> Result<Option<Vec<NodeRecord>>, String>;

    /// Says that this node ends.
    fn resign(&self, me: &NodeRecord);

    /// Gives the client's session to this node, behind all changes handed over before. `known`: the
    /// epoch of the one that lives here; 0: none does.
    fn claim(&self, client: Arc<str>, known: u64, then: Then<ClaimAnswer>);

    /// The entries that wait for the session's client, as of when all changes handed over before
    /// are there.
    fn waiting(&self, client: Arc<str>, session: SessionNo, then: Then<Vec<StoredWaiting>>);
}
