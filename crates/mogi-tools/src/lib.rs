//! The command-line tools: `mogi pub`, `sub`, `rr`, `passwd`, `ctrl` and `bench`.
//!
//! A map of the crate:
//!
//! * `flags`: one table of flags, from which command lines are read and help is written; what
//!   they ask for is a `config`.
//! * `tool`: the three tools; `connect`, `report`, `reason`, `output` and `signals` are what
//!   they share.
//! * `format`: how a message is printed: templates, times, JSON.
//! * `passwd`: password files; `ctrl`: requests to administer a broker.
//! * [`bench`]: the load generator.
//!
//! **Invariants.** What goes to the standard output is byte for byte what Mosquitto's tools
//! print for the same messages; exit codes too. Only a terminal gets more than that.

pub mod bench;
mod config;
mod connect;
mod ctrl;
mod flags;
mod format;
mod output;
mod passwd;
mod reason;
mod report;
mod run;
mod signals;
mod tool;

pub use bench::bench_main;
pub use ctrl::ctrl_main;
pub use format::strftime;
pub use passwd::passwd_main;
pub use run::{pub_main, rr_main, sub_main};
