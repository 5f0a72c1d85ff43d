//! The attacks of `attacks.rs` over WebSocket: the same bytes within its frames.

mod support;

/// What carries the attacks.
const OVER: support::relay::Over = support::relay::Over::WebSocket;

#[path = "attacks/mod.rs"]
mod attacks;
