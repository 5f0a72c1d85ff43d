//! Bad input and attacks over TCP, one test per row of the checklist (P, Q, S, E), and what was
//! found beside it (X).
//!
//! For every row: the broker stays up; independent healthy clients are never disconnected and
//! never wait for long; memory grows by no more than the row's bound; file descriptors come back;
//! the connection ends, or is answered, as the row says. `attacks/siege.rs` checks all of that but
//! the last, which is what the tests say.

mod support;

/// What carries the attacks.
const OVER: support::relay::Over = support::relay::Over::Tcp;

#[path = "attacks/mod.rs"]
mod attacks;
#[path = "attacks/process.rs"]
mod process;
