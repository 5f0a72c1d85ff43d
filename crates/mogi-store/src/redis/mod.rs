//! State in Redis, Valkey, or a Redis Cluster of either.
//!
//! [`wire`] takes requests to the node that has their slot and brings the replies back, whatever
//! happens to nodes and connections meanwhile.

pub mod wire;
