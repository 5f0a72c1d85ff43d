//! `pub`, `sub` and `rr` as processes, against a broker that says what the test tells it to.
//!
//! What is expected of standard output, exit codes and bytes on the wire was captured from
//! Mosquitto 2.1.2's tools doing the same.

mod broker;
mod options;
mod process;
mod publishing;
mod requesting;
mod subscribing;
