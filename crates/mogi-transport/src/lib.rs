//! What lies between a socket and MQTT: the PROXY protocol, TLS, WebSocket.
//!
//! A [`Layers`] turns the bytes of a socket into bytes of MQTT and back. It has no socket, opens
//! no file and waits for nothing: bytes come in as arguments and go out in buffers, so that a
//! connection can move from one thread to another whole, and a fuzzer can be the peer.
//!
//! * [`proxy`]: who the peer is, as a load balancer before us says
//! * [`tls`]: a TLS session; [`tls_config`] is what all sessions of a listener share
//! * [`psk`]: keys that were shared beforehand; `psk_tls`: sessions with them, by OpenSSL
//! * [`session`]: one of the two; `pipe`: what one of OpenSSL has for a socket
//! * [`certificate`]: names and dates of certificates
//! * [`upgrade`]: from HTTP to WebSocket
//! * [`frames`]: WebSocket frames
//! * [`layers`]: all of them, one on top of the other

pub mod certificate;
pub mod frames;
pub mod layers;
#[cfg(feature = "openssl")]
pub mod pipe;
pub mod proxy;
pub mod psk;
#[cfg(feature = "openssl")]
mod psk_tls;
pub mod session;
pub mod tls;
pub mod tls_config;
pub mod upgrade;
mod verifier;

pub use layers::{Layers, LayersPlan, Received};
pub use session::{Session, Sessions};

/// Why a connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of problem it is, for the line about the disconnect.
    pub reason: &'static str,
    /// What it was, for a person.
    pub detail: String,
}

impl Failure {
    /// A failure with its details.
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl std::error::Error for Failure {}
