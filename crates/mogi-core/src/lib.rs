//! What a broker worker does when something happens, without sockets, clocks or threads.
//!
//! [`Worker`] is the one entry: it is told what happened and when, and says what is to be done
//! ([`Effects`]). Everything it needs from outside (bytes, time, random ids, answers of the store)
//! comes in as an argument, so that a whole broker runs inside one deterministic test.
//!
//! A map of the crate:
//!
//! * in: [`handshake`], [`connect`], [`receive`], `publish`, `retain`, `subscribe`, `end`,
//!   `wills`; `memory`: what becomes of it where there is none
//! * routing: [`topics`] (tries), `route` (cache), [`interest`] and `shared` (across workers)
//! * out: `client` (delivery), `inflight`, [`output`], `encode`
//! * allowed: [`authority`]; `author`: who published what is retained
//! * kept: `deferred`, `farewell`, [`message`], `session`, [`retained`], [`store`]
//! * around: [`node`] (shared by workers), `peer` (batches between them), [`event`], [`stats`]
//!
//! **Invariants.** No socket, no clock, no thread, no randomness, no I/O; locks only in [`node`]'s
//! two tables. Nothing a client sends leads to a panic. Every buffer and queue has a limit in
//! [`CoreConfig`].

mod author;
pub mod authority;
mod client;
mod clients;
pub mod cluster;
pub mod config;
pub mod connect;
mod control;
mod deferred;
mod encode;
pub mod end;
pub mod event;
mod farewell;
mod handover;
pub mod handshake;
mod held;
mod idset;
mod inflight;
pub mod interest;
mod lasting;
mod line;
mod link;
mod map;
mod memory;
pub mod message;
pub mod node;
mod numbers;
pub mod output;
mod paging;
pub mod pass;
mod peer;
mod publish;
mod queue;
pub mod receive;
mod removed;
mod replay;
mod restore;
mod retain;
pub mod retained;
mod route;
mod seen;
mod seldom;
mod session;
mod shared;
pub mod stats;
pub mod store;
mod subscribe;
mod subscriptions;
mod tail;
mod tally;
mod timers;
pub mod topics;
mod turn;
mod wills;
mod worker;

pub use author::Author;
pub use authority::{Access, Authority, Judgement, Rights, Standing, UNLIMITED};
pub use config::{CoreConfig, ListenerConfig};
pub use connect::{Arrival, BridgeEnd};
pub use end::Ending;
pub use event::{
    AuthAnswer, AuthStep, Changes, Close, Control, Effects, Fetch, LogKind, Question, Wait,
};
pub use handshake::{Admitted, Refused};
pub use memory::Memory;
pub use message::{Message, MessageView};
pub use node::Node;
pub use pass::{Answer, Enhanced, Grant, Pass};
pub use receive::{Allowance, Next, Received};
pub use stats::Stats;
pub use store::{Batch, Cause, EntryNo, SessionNo, StoreOp};
pub use worker::Worker;
