//! The data plane: one thread per worker, one readiness loop per thread.
//!
//! * `event_loop`: the turns of a worker
//! * `socket`: a connection's socket and what it has not dealt with yet
//! * `listen`: listening sockets
//! * `mailbox`: how workers reach each other
//! * `shared`: what the threads of the process share

pub(crate) mod event_loop;
pub(crate) mod listen;
pub(crate) mod mailbox;
pub(crate) mod shared;
pub(crate) mod socket;
