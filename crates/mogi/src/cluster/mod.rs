//! This broker as one of several: who the others are, and the links to them.
//!
//! ```text
//!  workers ──batches, changes──► LinkQueue ──► outgoing ══════► incoming ──► workers of the other
//!                                                 ◄═══ PUBACK ════  node
//!  the store: who is there, whose session is whose
//! ```
//! * `membership`: which nodes there are; what follows when one comes or goes; `known`: the others
//! * `links`: the queues to all nodes, and what they have confirmed
//! * `queue`: what is to go to one node
//! * `outgoing`, `incoming`: a link's two ends; `frame`: what goes over it
//! * `secure`: TLS of a link; `strangers`: who has yet to say who it is
//! * `duties`: what one node does at a time; `barrier`: waiting for all workers
//!
//! A link is an MQTT 5 connection, one for each direction, on the listener for the cluster
//! (`cluster_listener`). Each PUBLISH carries a frame, and its PUBACK says that the other node has
//! it. So a link that breaks goes on where it was, and nothing is taken twice.
//!
//! All of it runs on one thread that may be late without harm: workers only add to queues.

mod barrier;
mod doze;
mod duties;
mod frame;
mod incoming;
mod known;
pub(crate) mod links;
mod membership;
mod outgoing;
mod owed;
mod queue;
mod secure;
mod strangers;

pub(crate) use barrier::Barrier;
pub(crate) use duties::Duty;
pub(crate) use links::Links;
pub(crate) use membership::{RENEWALS, start};
pub(crate) use secure::{Secure, SecurePlan};

use mogi_core::cluster::roster::ShadowRecord;
use mogi_core::store::StoredSession;

use std::net::SocketAddr;

/// What makes a broker one of several.
#[derive(Clone, Debug)]
pub(crate) struct ClusterPlan {
    /// This node's id (`cluster_node_id`); no other node has it.
    pub(crate) node: String,
    /// Nodes of another cluster are not let in (`cluster_name`).
    pub(crate) name: String,
    /// Where other nodes connect to (`cluster_listener`).
    pub(crate) listen: Vec<SocketAddr>,
    /// What they are told to connect to (`cluster_advertise`).
    pub(crate) advertise: String,
    /// Milliseconds without a sign of life after which a node is taken for dead
    /// (`cluster_lease_seconds`).
    pub(crate) lease_ms: u64,
    /// Bytes that may wait for one node (`cluster_buffer_limit`).
    pub(crate) buffer_limit: usize,
    /// TLS, if links have it (`cluster_certfile`).
    pub(crate) secure: Option<SecurePlan>,
}

/// A session of the store as those know it where it does not live; `epoch`: of its last claim.
pub(crate) fn shadow_of(stored: StoredSession, epoch: u64) -> ShadowRecord {
    let StoredSession { session, record, subscriptions, .. } = stored;
    ShadowRecord { session, client: record.client, mount: record.mount, epoch, subscriptions }
}
