//! The attacks, whatever carries them (`OVER` of the test program).

mod aliases;
mod connects;
mod consumers;
mod crowds;
mod expiry;
mod filters;
mod fuzz;
mod handshakes;
mod packets;
mod publishes;
mod raw;
mod sessions;
mod siege;
mod streams;
mod topics;
mod wills;
