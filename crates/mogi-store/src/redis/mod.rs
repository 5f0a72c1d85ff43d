//! State in Redis, Valkey, or a Redis Cluster of either.
//!
//! ```text
//!  Committer / RedisStore      changes, questions
//!  ops encode keys functions   changes of one slot to commands; what they mean; Redis Functions
//!  wire                        requests to the node that has their slot, replies back
//! ```
//! A map:
//!
//! * [`keys`]: where things stand; `encode`: what stands there
//! * `ops`: changes to commands; `functions.lua`: what is decided inside Redis
//! * `read`, `load`, `fetch`: back again
//! * `order`, `journal`: what has to keep an order over slots
//! * [`claim`]: sessions of several nodes
//! * `depth`: whether disks can be waited for; `health`: what is wrong, and since when
//! * `document`: a text all nodes share
//! * [`store`]: blocking; [`committer`]: for a broker's workers; `tools`: for looking and moving
//! * [`wire`]: connections, slots and retries

pub mod claim;
pub mod committer;
mod depth;
mod directory;
pub mod document;
pub mod duty;
mod encode;
mod fetch;
mod functions;
mod health;
mod journal;
pub mod keys;
mod lanes;
mod leaving;
mod link;
mod load;
mod ops;
mod order;
mod read;
mod runner;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tickets;
mod tools;
pub mod wire;

pub use claim::{Claimed, NodeSeen, Nodes};
pub use committer::Committer;
pub use document::Document;
pub use duty::DutyKey;
pub use functions::library;
pub use store::{Owner, Purpose, RedisStore};
pub use tools::client_name;

use keys::Keys;

/// Where state is, and as who it is changed.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Where Redis is; the library of Functions is set by who opens it.
    pub wire: wire::Options,
    /// What all keys begin with (`redis_prefix`); no braces.
    pub prefix: String,
    /// The name of this node; no other node has it (`cluster_node_id`).
    pub node: String,
}

impl RedisOptions {
    /// The store at this place: no prefix, and a node called `mogi`.
    pub fn new(wire: wire::Options) -> Self {
        Self { wire, prefix: String::new(), node: "mogi".to_owned() }
    }

    fn keys(&self) -> Keys {
        Keys::new(&self.prefix)
    }

    fn connection(&self) -> wire::Options {
        wire::Options { library: Some(library()), ..self.wire.clone() }
    }
}
