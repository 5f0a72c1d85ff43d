//! Listening sockets.

use crate::broker::plan::ListenerPlan;
use crate::log::why;
use crate::net::shared::LogSink;
use crate::net::stream::{Peer, Stream};
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use mogi_core::LogKind;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

/// Connections the kernel keeps for us until we accept them.
const BACKLOG: i32 = 4096;

/// The highest port only root, or who has the capability, may listen on.
const MAX_PRIVILEGED_PORT: u16 = 1023;

/// Who may use a Unix socket: its owner and its group, as with Mosquitto.
const UNIX_MODE: u32 = 0o770;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Door {
    Tcp(TcpListener),
    /// And its path, which is removed with it.
    Unix(UnixListener, Arc<str>),
}

impl Door {
    /// Accepts a connection.
    pub(crate) fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok((Stream::Tcp(stream), Peer::Ip(peer)))
            }
            Self::Unix(listener, path) => {
                let (stream, _) = listener.accept()?;
                Ok((Stream::Unix(stream), Peer::Unix(Arc::clone(path))))
            }
        }
    }

    /// Has the readiness facility tell of connections.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Self::Unix(listener, _) => listener.register(registry, token, Interest::READABLE),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Somebody may have removed it already.
            let _ = fs::remove_file(&**path);
        }
    }
}

/// Opens the sockets of a listener, at least one.
///
/// # Errors
/// One cannot be opened; where one of them is enough, none of them can: the last reason.
pub(crate) fn open(listener: &ListenerPlan, log: &dyn LogSink) -> Result<Vec<Door>, String> {
    if let Some(path) = &listener.unix {
        let line = format!("Opening unix listen socket on path {}.", path.display());
        log.log(LogKind::Information, &line);
        let door = listen_unix(path).map_err(|error| {
            format!("Error binding unix socket: {} ({})", why(&error), path.display())
        })?;
        return Ok(vec![door]);
    }
    let mut sockets = Vec::new();
    let mut problems = Vec::new();
    for address in &listener.addresses {
        let kind = if address.is_ipv6() { "ipv6" } else { "ipv4" };
        let port = address.port();
        let line = format!("Opening {kind} listen socket on port {port}.");
        log.log(LogKind::Information, &line);
        match listen(*address, listener.interface.as_deref()) {
            Ok(socket) => sockets.push(Door::Tcp(socket)),
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied && port <= MAX_PRIVILEGED_PORT {
                    advise_capability(log);
                }
                let problem = problem(&error, listener, address);
                // A system without IPv6 has no addresses of that kind to listen on.
                let unknown = error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT);
                let spare = unknown && address.ip().is_unspecified();
                if !(listener.one_is_enough || spare) {
                    return Err(problem);
                }
                problems.push(problem);
            }
        }
    }
    let fatal = if sockets.is_empty() { problems.pop() } else { None };
    for problem in problems {
        log.log(LogKind::Error, &format!("Error: {problem}"));
    }
    fatal.map_or(Ok(sockets), Err)
}

fn problem(error: &io::Error, listener: &ListenerPlan, address: &SocketAddr) -> String {
    match &listener.interface {
        Some(name) if error.raw_os_error() == Some(nix::libc::ENODEV) => {
            format!("Interface {name} does not exist.")
        }
        _ => format!("{} ({address})", why(error)),
    }
}

fn advise_capability(log: &dyn LogSink) {
    let program = std::env::current_exe().unwrap_or_default();
    for line in [
        "If you are trying to bind to a privileged port (<1024), try using setcap and do not start \
         the broker as root:",
        &format!("    sudo setcap 'CAP_NET_BIND_SERVICE=+ep {}'", program.display()),
    ] {
        log.log(LogKind::Information, line);
    }
}

/// Opens a listening socket on `address`, on `interface` only if one is given
/// (`bind_interface`).
///
/// # Errors
/// As the system says: the address is in use, not ours, or forbidden.
fn listen(address: SocketAddr, interface: Option<&str>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    // Output is written once per turn, so there is nothing for Nagle to gather. Accepted sockets
    // inherit this.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Opens a Unix socket. One that a broker has left behind makes room.
fn listen_unix(path: &Path) -> io::Result<Door> {
    let there = fs::symlink_metadata(path);
    if there.is_ok_and(|there| there.file_type().is_socket())
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before it listens.
    fs::set_permissions(path, Permissions::from_mode(UNIX_MODE))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let name = path.to_string_lossy().into();
    Ok(Door::Unix(UnixListener::from_std(socket.into()), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::plan::TransportPlan;
    use crate::log::{Destination, LogConfig, Logger};
    use mogi_core::ListenerConfig;

    /// Nobody's address (RFC 5737).
    const NOBODYS: &str = "192.0.2.1:0";

    fn plan(addresses: &[&str], one_is_enough: bool) -> ListenerPlan {
        ListenerPlan {
            port: 0,
            host: None,
            addresses: addresses.iter().map(|text| text.parse().expect("an address")).collect(),
            one_is_enough,
            interface: None,
            max_connections: None,
            unix: None,
            transport: TransportPlan::default(),
            core: ListenerConfig::default(),
        }
    }

    fn logger() -> Logger {
        let destinations = Some(vec![Destination::Topic]);
        Logger::new(LogConfig { destinations, timestamp: false, ..LogConfig::default() }, "mogi").0
    }

    fn lines(log: &Logger) -> Vec<String> {
        log.take_topic_lines().into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn all_addresses_of_a_listener_are_needed() {
        let log = logger();
        let problem = Err(format!("Cannot assign requested address ({NOBODYS})"));
        for addresses in [&["127.0.0.1:0", NOBODYS, "127.0.0.1:0"][..], &["127.0.0.1:0", NOBODYS]] {
            let sockets = open(&plan(addresses, false), &log);
            assert_eq!(sockets.map(|sockets| sockets.len()), problem);
            assert_eq!(lines(&log), ["Opening ipv4 listen socket on port 0."; 2]);
        }
        let sockets = open(&plan(&["127.0.0.1:0", "127.0.0.1:0"], false), &log);
        assert_eq!(sockets.map(|sockets| sockets.len()), Ok(2));
    }

    #[test]
    fn one_address_is_enough_where_it_is_said_so() {
        let log = logger();
        let sockets = open(&plan(&[NOBODYS, "127.0.0.1:0"], true), &log);
        assert_eq!(sockets.map(|sockets| sockets.len()), Ok(1));
        let problem = format!("Cannot assign requested address ({NOBODYS})");
        assert_eq!(lines(&log).last(), Some(&format!("Error: {problem}")));
        let none = open(&plan(&[NOBODYS, NOBODYS], true), &log);
        assert_eq!(none.map(|sockets| sockets.len()), Err(problem));
    }

    #[test]
    fn an_interface_that_does_not_exist_is_named() {
        let mut plan = plan(&["127.0.0.1:0"], false);
        plan.interface = Some("nosuch0".to_owned());
        let problem = open(&plan, &logger()).map(|sockets| sockets.len());
        assert_eq!(problem, Err("Interface nosuch0 does not exist.".to_owned()));
    }
}
