//! Bad input and attacks over TCP, one test per row of the checklist (P, Q, S, E), and what was
//! found beside it (X).
//!
//! For every row: the broker stays up; independent healthy clients are never disconnected and
//! never wait for long; memory grows by no more than the row's bound; file descriptors come back;
//! the connection ends, or is answered, as the row says. [`siege::Siege`] checks all of that but
//! the last, which is what the tests say.

mod support;

/// What carries the attacks.
const OVER: support::relay::Over = support::relay::Over::Tcp;

#[path = "attacks/aliases.rs"]
mod aliases;
#[path = "attacks/connects.rs"]
mod connects;
#[path = "attacks/consumers.rs"]
mod consumers;
#[path = "attacks/crowds.rs"]
mod crowds;
#[path = "attacks/expiry.rs"]
mod expiry;
#[path = "attacks/filters.rs"]
mod filters;
#[path = "attacks/fuzz.rs"]
mod fuzz;
#[path = "attacks/handshakes.rs"]
mod handshakes;
#[path = "attacks/packets.rs"]
mod packets;
#[path = "attacks/process.rs"]
mod process;
#[path = "attacks/publishes.rs"]
mod publishes;
#[path = "attacks/raw.rs"]
mod raw;
#[path = "attacks/sessions.rs"]
mod sessions;
#[path = "attacks/siege.rs"]
mod siege;
#[path = "attacks/streams.rs"]
mod streams;
#[path = "attacks/topics.rs"]
mod topics;
#[path = "attacks/wills.rs"]
mod wills;
