//! The attacks of `attacks.rs` over WebSocket: the same bytes within its records or frames.

mod support;

/// What carries the attacks.
const OVER: support::relay::Over = support::relay::Over::WebSocket;

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
