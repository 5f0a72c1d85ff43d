//! Opening a connection: name, local address, TCP or Unix socket.

use super::secure::TlsOptions;
use super::socks::{self, Proxy};
use super::wrapped::Wrapped;
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
    /// How long one address may take to answer, and the server for each step of TLS and
    /// WebSocket.
    pub timeout: Duration,
    /// Whether and how the connection is secured.
    pub tls: Option<TlsOptions>,
    /// Whether MQTT goes through a WebSocket.
    pub websocket: bool,
    /// The proxy that connects to the server; not for Unix sockets.
    pub proxy: Option<Proxy>,
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
    /// Within TLS or a WebSocket.
    Wrapped(Box<Wrapped>),
}

impl Stream {
    /// Tells the server that nothing more will be sent.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        if let Self::Wrapped(wrapped) = self {
            wrapped.close();
        }
        self.shutdown_socket()
    }

    fn shutdown_socket(&self) -> io::Result<()> {
        match self {
            Self::Wrapped(wrapped) => wrapped.socket().shutdown_socket(),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Stream {
    /// Whether something that was written is not sent yet.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Wrapped(wrapped) if wrapped.is_pending())
    }

    /// Whether there is something to read that the socket knows nothing of.
    pub(super) fn is_buffered(&self) -> bool {
        matches!(self, Self::Wrapped(wrapped) if wrapped.is_buffered())
    }

    fn set_blocking(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)?;
                stream.set_nonblocking(timeout.is_none())
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)?;
                stream.set_nonblocking(timeout.is_none())
            }
            Self::Wrapped(wrapped) => wrapped.socket().set_blocking(timeout),
        }
    }

    /// Has the proxy on the other side, if there is one, connect to the server.
    fn through(mut self, address: &Address, options: &DialOptions) -> io::Result<Self> {
        if let (Some(proxy), Address::Tcp { host, port }) = (&options.proxy, address) {
            self.set_blocking(Some(options.timeout))?;
            socks::connect(&mut self, proxy, host, *port)?;
            self.set_blocking(None)?;
        }
        Ok(self)
    }

    /// Has it speak TLS and WebSocket, as far as that is wanted.
    fn wrap(self, address: &Address, options: &DialOptions) -> io::Result<Self> {
        if options.tls.is_none() && !options.websocket {
            return Ok(self);
        }
        self.set_blocking(Some(options.timeout))?;
        let wrapped = Self::Wrapped(Box::new(Wrapped::new(self, address, options)?));
        wrapped.set_blocking(None)?;
        Ok(wrapped)
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
            Ok(Stream::Unix(stream).wrap(address, options)?)
        }
        Address::Tcp { host, port } => {
            let locals = match &options.bind {
                Some(bind) => resolve(bind, 0)?,
                None => Vec::new(),
            };
            let mut last = None;
            let (next, next_port) = match &options.proxy {
                Some(proxy) => (&proxy.host, proxy.port),
                None => (host, *port),
            };
            for addr in resolve(next, next_port)? {
                match connect(addr, &locals, options) {
                    Ok(stream) => {
                        let stream = Stream::Tcp(stream).through(address, options)?;
                        return Ok(stream.wrap(address, options)?);
                    }
                    Err(error) => last = Some(error),
                }
            }
            Err(last.map_or_else(|| DialError::Lookup(next.clone()), DialError::Io))
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
            Self::Wrapped(wrapped) => wrapped.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buf),
            Self::Unix(stream) => stream.write(buf),
            Self::Wrapped(wrapped) => wrapped.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Wrapped(wrapped) => wrapped.flush(),
            _ => Ok(()),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Wrapped(wrapped) => wrapped.socket().as_fd(),
        }
    }
}
