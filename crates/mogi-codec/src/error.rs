//! Why bytes are no packet.

use crate::Reason;
use std::fmt;

/// A packet that breaks the rules: the reason code to answer with, and what was wrong in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The code an MQTT 5 peer is told, where the protocol lets us tell it ([MQTT-4.13.1-1]).
    pub reason: Reason,
    /// What was wrong, for the log.
    pub what: &'static str,
}

impl DecodeError {
    /// The bytes do not have the form the specification asks for (0x81).
    pub const fn malformed(what: &'static str) -> Self {
        Self { reason: Reason::MalformedPacket, what }
    }

    /// The form is right, and what it says is not allowed here (0x82).
    pub const fn protocol(what: &'static str) -> Self {
        Self { reason: Reason::ProtocolError, what }
    }

    /// An error with a code of its own.
    pub const fn new(reason: Reason, what: &'static str) -> Self {
        Self { reason, what }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (reason code 0x{:02X})", self.what, self.reason as u8)
    }
}

impl std::error::Error for DecodeError {}
