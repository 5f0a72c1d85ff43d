//! An MQTT client without sockets, and a small blocking driver for it.
//!
//! A map of the crate:
//!
//! * [`client`]: [`Client`], the state machine. Bytes and the time go in, [`Event`]s and bytes
//!   come out; `outgoing`, `incoming`, `limits`, `ids` and `keep_alive` are its parts.
//! * [`options`], [`event`], [`error`]: what it is told, what it tells.
//! * [`driver`]: [`Driver`], a client on a TCP or Unix socket that is waited for with `poll`.
//!
//! **Invariants.** The state machine knows no socket, no clock and no randomness; everything it
//! keeps is bounded by the in-flight window, the receive maximum or the number of packet ids.
//! Only [`driver`] does I/O.

pub mod client;
pub mod driver;
pub mod error;
pub mod event;
mod ids;
mod incoming;
mod keep_alive;
mod limits;
pub mod options;
mod outgoing;
mod trace;

pub use client::Client;
#[cfg(feature = "openssl")]
pub use driver::PskSession;
pub use driver::{
    Address, DialError, DialOptions, Driver, DriverError, KeyFile, Proxy, Psk, Stream, TlsOptions,
    client_config,
};
pub use error::{Error, PublishError};
pub use event::{Event, Message};
pub use limits::Limits;
pub use options::{Options, PublishRequest, WillMessage};
