//! Listening sockets.

use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// Connections the kernel keeps for us until we accept them.
const BACKLOG: i32 = 4096;

/// Opens a listening socket on `address`, on `interface` only if one is given
/// (`bind_interface`).
///
/// # Errors
/// As the system says: the address is in use, not ours, or forbidden.
pub(crate) fn listen(address: SocketAddr, interface: Option<&str>) -> io::Result<TcpListener> {
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
