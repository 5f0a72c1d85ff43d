//! What ends a connection, and what keeps a message from being published.

use mogi_codec::{DecodeError, QoS};
use std::fmt;

/// Why the client gave a connection up. Where the protocol lets it, it has told the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The server broke the protocol.
    Protocol(DecodeError),
    /// The server said nothing for as long as the keep alive lasts.
    KeepAlive,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => write!(f, "the server broke the protocol: {error}"),
            Self::KeepAlive => f.write_str("the server did not answer within the keep alive"),
        }
    }
}

impl std::error::Error for Error {}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error)
    }
}

/// Why a message was not taken. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// There is no connection.
    NotConnected,
    /// As many messages are in flight as may be; try again after the next acknowledgement.
    WindowFull,
    /// The server's Maximum QoS is lower.
    QosNotSupported {
        /// What the server takes.
        max: QoS,
    },
    /// The server does not keep retained messages.
    RetainNotAvailable,
    /// The topic alias is above the server's Topic Alias Maximum.
    TopicAliasInvalid {
        /// The largest alias; 0: none at all.
        max: u16,
    },
    /// The packet is longer than the server takes.
    PacketTooLarge {
        /// Bytes of the packet.
        len: usize,
        /// Bytes the server takes.
        max: usize,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("not connected"),
            Self::WindowFull => f.write_str("too many messages are in flight"),
            Self::QosNotSupported { max } => {
                write!(f, "the server takes QoS {} at most", *max as u8)
            }
            Self::RetainNotAvailable => f.write_str("the server keeps no retained messages"),
            Self::TopicAliasInvalid { max } => {
                write!(f, "the server takes topic aliases up to {max}")
            }
            Self::PacketTooLarge { len, max } => {
                write!(f, "the packet has {len} bytes, and the server takes {max} at most")
            }
        }
    }
}

impl std::error::Error for PublishError {}
