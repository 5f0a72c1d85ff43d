//! The data plane: one readiness loop per worker, up to a thread for each.
//!
//! * `event_loop`: the turns of a worker
//! * `crew`: which thread runs which loop
//! * `headroom`: whether there are processors for more threads
//! * `crowd`: how many connections there may be
//! * `meter`: how fast clients publish
//! * `alarm`: what wakes a loop when something is due
//! * `socket`: a connection's socket and what it has not dealt with yet
//! * `stream`: TCP and Unix sockets
//! * `layered`: TLS, WebSocket and PROXY headers around one
//! * `http_files`: files for browsers
//! * `certificates`: what listeners with TLS show and trust, read again when it changes
//! * `distrust`: why a certificate is not trusted
//! * `listen`: listening sockets
//! * `mailbox`: how workers reach each other
//! * `shared`: what the threads of the process share

pub(crate) mod alarm;
pub(crate) mod certificates;
pub(crate) mod crew;
pub(crate) mod crowd;
pub(crate) mod distrust;
pub(crate) mod event_loop;
pub(crate) mod headroom;
pub(crate) mod http_files;
pub(crate) mod layered;
pub(crate) mod listen;
pub(crate) mod mailbox;
pub(crate) mod meter;
pub(crate) mod shared;
pub(crate) mod socket;
pub(crate) mod stream;
