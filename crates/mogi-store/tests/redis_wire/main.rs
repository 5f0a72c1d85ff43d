//! The wire layer of the Redis backend against real servers, started by `deploy/local-cluster`.

mod support;

mod basics;
mod failover;
mod replicas;
mod resharding;
mod states;
mod synced;
mod tls;
