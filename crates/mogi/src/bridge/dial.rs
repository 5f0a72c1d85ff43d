//! A connection to another broker in the making: names are resolved on a thread of their own, as
//! that may take long, and so are files of TLS read there; sockets connect, and TLS shakes hands,
//! without anybody waiting.

use super::link::{Link, Secured};
use super::plan::{Address, BridgePlan, SecurePlan, SocketPlan};
use super::secure::Secure;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

/// How long one address may take, and then as long again for TLS.
const CONNECT_LIMIT_MS: u64 = 10_000;

/// A connection in the making.
#[derive(Debug)]
pub(super) struct Dial {
    token: Token,
    socket: SocketPlan,
    stage: Stage,
    /// Addresses that are still to be tried, the next one last.
    left: Vec<SocketAddr>,
    /// The local address to bind to.
    bind: Option<IpAddr>,
    secure: Option<Secure>,
    last_error: String,
}

#[derive(Debug)]
enum Stage {
    Resolving(Receiver<Result<Resolved, String>>),
    Connecting { stream: TcpStream, until_ms: u64 },
    Securing { link: Box<Secured>, until_ms: u64 },
}

#[derive(Debug)]
struct Resolved {
    addresses: Vec<SocketAddr>,
    bind: Option<IpAddr>,
    secure: Option<Secure>,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Progress {
    Pending,
    /// The name has become an address, and the connection is begun.
    Resolved,
    Connected(Link),
    /// Why there is none, for the log.
    Failed(String),
}

impl Dial {
    /// Begins. `wake` is called when the name is resolved.
    pub(super) fn begin(
        address: &Address,
        plan: &BridgePlan,
        token: Token,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        let (sender, receiver) = channel();
        let (address, bind) = (address.clone(), plan.socket.bind.clone());
        let secure = plan.secure.clone();
        let resolve = move || {
            // Nobody listens any more where the bridge has given up meanwhile.
            let _ = sender.send(resolve(&address, bind.as_deref(), secure.as_ref()));
            wake();
        };
        let spawned = std::thread::Builder::new().name("mogi-resolve".to_owned()).spawn(resolve);
        Self {
            token,
            socket: plan.socket.clone(),
            stage: Stage::Resolving(receiver),
            left: Vec::new(),
            bind: None,
            secure: None,
            last_error: spawned.err().map_or_else(String::new, |error| crate::log::why(&error)),
        }
    }

    /// Looks what has happened.
    pub(super) fn look(&mut self, now_ms: u64, registry: &Registry) -> Progress {
        match &mut self.stage {
            Stage::Resolving(receiver) => match receiver.try_recv() {
                Ok(Ok(resolved)) => {
                    self.bind = resolved.bind;
                    self.secure = resolved.secure;
                    self.left = resolved.addresses;
                    self.left.reverse();
                    match self.try_next(now_ms, registry) {
                        Progress::Pending => Progress::Resolved,
                        failed => failed,
                    }
                }
                Ok(Err(why)) => Progress::Failed(why),
                Err(TryRecvError::Empty) => Progress::Pending,
                Err(TryRecvError::Disconnected) => {
                    Progress::Failed(std::mem::take(&mut self.last_error))
                }
            },
            Stage::Connecting { stream, until_ms } => match connected(stream) {
                Ok(true) => self.connected(now_ms, registry),
                Ok(false) if *until_ms > now_ms => Progress::Pending,
                Ok(false) => self.failed("Connection timed out".to_owned(), now_ms, registry),
                Err(error) => self.failed(crate::log::why(&error), now_ms, registry),
            },
            Stage::Securing { link, until_ms } => match link.handshake() {
                Ok(true) => self.done(registry),
                Ok(false) if *until_ms > now_ms => Progress::Pending,
                Ok(false) => {
                    let why = "TLS: no answer to the handshake; is TLS on there?".to_owned();
                    self.failed(why, now_ms, registry)
                }
                Err(error) => self.failed(crate::log::why(&error), now_ms, registry),
            },
        }
    }

    /// When to look even if nothing happens.
    pub(super) const fn deadline_ms(&self) -> Option<u64> {
        match self.stage {
            Stage::Resolving(_) => None,
            Stage::Connecting { until_ms, .. } | Stage::Securing { until_ms, .. } => Some(until_ms),
        }
    }

    /// This address is of no use.
    fn failed(&mut self, why: String, now_ms: u64, registry: &Registry) -> Progress {
        self.last_error = why;
        self.try_next(now_ms, registry)
    }

    fn try_next(&mut self, now_ms: u64, registry: &Registry) -> Progress {
        while let Some(address) = self.left.pop() {
            let begun = self.connect(address).and_then(|mut stream| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                registry.register(&mut stream, self.token, interest)?;
                Ok(stream)
            });
            match begun {
                Ok(stream) => {
                    self.stage = Stage::Connecting { stream, until_ms: now_ms + CONNECT_LIMIT_MS };
                    return Progress::Pending;
                }
                Err(error) => self.last_error = crate::log::why(&error),
            }
        }
        Progress::Failed(std::mem::take(&mut self.last_error))
    }

    fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if let Some(bind) = self.bind {
            socket.bind(&SocketAddr::new(bind, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }

    /// What there is, leaving nothing behind.
    fn take(&mut self) -> Stage {
        let (_, receiver) = channel();
        std::mem::replace(&mut self.stage, Stage::Resolving(receiver))
    }

    /// The socket is connected: its options are set, and TLS begins where it is wanted.
    fn connected(&mut self, now_ms: u64, registry: &Registry) -> Progress {
        let Stage::Connecting { stream, until_ms } = self.take() else {
            return Progress::Pending;
        };
        if let Err(error) = set_options(&stream, &self.socket) {
            return Progress::Failed(crate::log::why(&error));
        }
        let Some(secure) = &self.secure else {
            self.stage = Stage::Connecting { stream, until_ms };
            return self.done(registry);
        };
        match Secured::new(stream, secure.clone()) {
            Ok(link) => {
                let until_ms = now_ms + CONNECT_LIMIT_MS;
                self.stage = Stage::Securing { link: Box::new(link), until_ms };
                self.look(now_ms, registry)
            }
            Err(error) => Progress::Failed(crate::log::why(&error)),
        }
    }

    /// The connection is there, and leaves.
    fn done(&mut self, registry: &Registry) -> Progress {
        let mut link = match self.take() {
            Stage::Connecting { stream, .. } => Link::Plain(stream),
            Stage::Securing { link, .. } => Link::Secured(link),
            Stage::Resolving(_) => return Progress::Pending,
        };
        // Whoever takes it registers it anew and hears of what has come meanwhile.
        match registry.deregister(&mut link) {
            Ok(()) => Progress::Connected(link),
            Err(error) => Progress::Failed(crate::log::why(&error)),
        }
    }
}

/// Whether the socket is connected by now.
fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(false),
        Err(error) => Err(error),
    }
}

fn set_options(stream: &TcpStream, plan: &SocketPlan) -> io::Result<()> {
    let socket = SockRef::from(stream);
    // The bridge writes once for all there is; nothing is gained by waiting for more.
    socket.set_tcp_nodelay(true)?;
    if let Some(keep_alive) = plan.keep_alive {
        let seconds = |count: u32| Duration::from_secs(u64::from(count));
        let probes = TcpKeepalive::new()
            .with_time(seconds(keep_alive.idle_s))
            .with_interval(seconds(keep_alive.interval_s))
            .with_retries(keep_alive.count);
        socket.set_tcp_keepalive(&probes)?;
    }
    if let Some(timeout_ms) = plan.user_timeout_ms {
        socket.set_tcp_user_timeout(Some(Duration::from_millis(u64::from(timeout_ms))))?;
    }
    Ok(())
}

fn resolve(
    address: &Address,
    bind: Option<&str>,
    secure: Option<&SecurePlan>,
) -> Result<Resolved, String> {
    let secure = secure.map(|plan| Secure::load(plan, address)).transpose()?;
    let all = |host: &str, port: u16| {
        let found = (host, port).to_socket_addrs();
        found.map(Iterator::collect::<Vec<_>>).map_err(|error| crate::log::why(&error))
    };
    let mut addresses = all(&address.host, address.port)?;
    let Some(bind) = bind else {
        return Ok(Resolved { addresses, bind: None, secure });
    };
    let own = all(bind, 0).map_err(|why| format!("bridge_bind_address '{bind}': {why}"))?;
    let fits = |own: &SocketAddr, other: &SocketAddr| own.is_ipv4() == other.is_ipv4();
    let bind = own.iter().find(|own| addresses.iter().any(|other| fits(own, other))).copied();
    addresses.retain(|other| bind.is_some_and(|own| fits(&own, other)));
    if addresses.is_empty() {
        return Err("bridge_bind_address is of another family than the address".to_owned());
    }
    Ok(Resolved { addresses, bind: bind.map(|own| own.ip()), secure })
}
