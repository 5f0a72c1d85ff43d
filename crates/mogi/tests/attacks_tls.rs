//! The attacks of `attacks.rs` over TLS: the same bytes within its records.

mod support;

/// What carries the attacks.
const OVER: support::relay::Over = support::relay::Over::Tls;

#[path = "attacks/mod.rs"]
mod attacks;
