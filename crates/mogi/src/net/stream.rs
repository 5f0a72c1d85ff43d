//! Connected sockets: TCP and Unix ones, and who is at their other end.

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Reads what is there.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).read(buffer),
            Self::Unix(stream) => (&*stream).read(buffer),
        }
    }

    /// Writes as much as it takes.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).write(bytes),
            Self::Unix(stream) => (&*stream).write(bytes),
        }
    }

    /// The same from several places.
    pub(crate) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).write_vectored(slices),
            Self::Unix(stream) => (&*stream).write_vectored(slices),
        }
    }

    /// Has it end with a reset when it is closed. A Unix socket knows none: it is closed.
    pub(crate) fn reset(&self) {
        if let Self::Tcp(stream) = self {
            // If it fails, the connection is gone already.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Says that no more is sent.
    pub(crate) fn shutdown(&self) {
        // It fails where the connection is gone already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl Source for Stream {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interests),
            Self::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
            Self::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}

/// Who is at the other end. Printed as Mosquitto does: `IP:PORT`, IPv4 without its IPv6 clothes,
/// and for Unix sockets, whose clients have no address, the listener's path with port 0.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    Ip(SocketAddr),
    Unix(Arc<str>),
}

impl Peer {
    /// Its IP address, if it has one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }

    /// What is known of it without its port.
    pub(crate) fn host(&self) -> String {
        match self {
            Self::Ip(address) => address.ip().to_canonical().to_string(),
            Self::Unix(path) => path.as_ref().to_owned(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{}:{}", address.ip().to_canonical(), address.port()),
            Self::Unix(path) => write!(f, "{path}:0"),
        }
    }
}
