//! Bridges: the broker as a client of other brokers (`connection` of mosquitto.conf(5)).
//!
//! ```text
//!  worker ◄── Unix socket ──► bridge ◄── TCP or TLS ──► the other broker
//!    (a session of the core)    (a machine: no state that a crash could take away)
//! ```
//! A bridge joins two MQTT connections: one to a session of its own broker, which holds
//! subscriptions, queue and messages in flight like any client's, and one to the other broker.
//! Packet ids pass through, and each side is acknowledged only when the other side has
//! acknowledged. All bridges share one thread; nothing of theirs can hold up a worker.
//!
//! * `plan`: what a bridge is to do; `topics`: what it carries, and under which names
//! * `machine`: what it does when something happens, without sockets or clocks; `remote` and
//!   `local` are its two sides, `flow` what is between them, `hello` the packets they begin with,
//!   `echo` what must not come back, `keep_alive`, `backoff` and `addresses` when it tries what
//! * `driver`: the thread; `dial`: connections in the making; `pipe`: a socket and its buffers;
//!   `link`: a socket, within TLS where that is wanted; `secure`: what that trusts, and why not

mod addresses;
mod backoff;
mod dial;
mod driver;
mod echo;
mod flow;
mod hello;
mod keep_alive;
mod link;
mod local;
mod machine;
mod pipe;
pub(crate) mod plan;
mod remote;
mod secure;
#[cfg(test)]
mod tests;
pub(crate) mod topics;

pub(crate) use driver::Bridges;
