//! Opening a connection: name, local address, TCP or Unix socket.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host name or IP address, and a port.
    Tcp {
        /// The name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix domain socket.
    Unix(PathBuf),
}

/// How to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialOptions {
    /// The local host name or IP address to connect from; not for Unix sockets.
    pub bind: Option<String>,
    /// Whether small packets are sent at once (TCP_NODELAY).
    pub nodelay: bool,
    /// How long one address may take to answer.
    pub timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum DialError {
    /// The host name, or the local one, has no address.
    Lookup(String),
    /// No address answered: the last one's error.
    Io(io::Error),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup(host) => write!(f, "no address for {host:?}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DialError {}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connected socket that does not block.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix domain socket.
    Unix(UnixStream),
}

impl Stream {
    /// Tells the server that nothing more will be sent.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

/// Connects to the first address of `address` that answers, and waits for that.
///
/// # Errors
/// No address, or none that answers.
pub fn dial(address: &Address, options: &DialOptions) -> Result<Stream, DialError> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_nonblocking(true)?;
            Ok(Stream::Unix(stream))
        }
        Address::Tcp { host, port } => {
            let locals = match &options.bind {
                Some(bind) => resolve(bind, 0)?,
                None => Vec::new(),
            };
            let mut last = None;
            for addr in resolve(host, *port)? {
                match connect(addr, &locals, options) {
                    Ok(stream) => return Ok(Stream::Tcp(stream)),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.map_or_else(|| DialError::Lookup(host.clone()), DialError::Io))
        }
    }
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    let lookup = || DialError::Lookup(host.to_owned());
    if host.is_empty() {
        return Err(lookup());
    }
    let found = (host, port).to_socket_addrs().map_err(|_| lookup())?;
    Ok(found.collect())
}

fn connect(
    addr: SocketAddr,
    locals: &[SocketAddr],
    options: &DialOptions,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if !locals.is_empty() {
        let local = locals.iter().find(|it| it.is_ipv4() == addr.is_ipv4());
        let local = local.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "the local address is of another kind than the server's",
            )
        })?;
        socket.bind(&SockAddr::from(*local))?;
    }
    socket.connect_timeout(&SockAddr::from(addr), options.timeout)?;
    socket.set_tcp_nodelay(options.nodelay)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buf),
            Self::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
