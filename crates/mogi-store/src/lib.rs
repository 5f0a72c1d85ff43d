//! Makes the durable state of a broker durable, and gives it back after a start.
//!
//! ```text
//!  workers ──batches──► Committer ──one group at a time──► Store ──► disk (later also: Redis)
//!     ▲                    │ compacts the group               ├─ EmbeddedStore
//!     └──── answers ───────┘ one fsync for all                └─ MemoryStore
//! ```
//! A map of the crate:
//!
//! * [`store`]: the trait, and what it gives back; [`error`]: why it cannot
//! * [`committer`]: the thread that owns a store, and group commit
//! * [`keeper`]: what a broker sees of it, whatever the store
//! * [`redis`]: the store of several nodes
//! * [`embedded`]: the store on the local disk; [`memory`]: the same in memory, for tests
//! * [`redis`]: Redis, Valkey and clusters of them
//! * [`mosquitto_db`]: Mosquitto's own file; [`import`]: what comes from there
//! * `coding`: values to bytes and back; `clock`: what time it is
//! * `conformance`: the suite every backend passes (feature `conformance`)
//!
//! **Invariants.** No sockets but in `redis`, no MQTT decisions, no workers: it writes down what
//! others decided. Nothing found on a disk leads to a panic.

mod clock;
mod coding;
pub mod committer;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
pub mod error;
pub mod import;
pub mod keeper;
pub mod memory;
pub mod mosquitto_db;
pub mod redis;
pub mod store;

/// The changes a store takes, and what it gives back.
pub(crate) use mogi_core::store as ops;

pub use committer::{Answer, Committer, Notice, Status};
pub use embedded::{EmbeddedOptions, EmbeddedStore, OnDamage, Snapshot, Sync};
pub use error::{ErrorKind, StoreError};
pub use keeper::Keeper;
pub use memory::MemoryStore;
pub use store::{Damage, LoadReport, Loaded, Progress, Store, Usage};
