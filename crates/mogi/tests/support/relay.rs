//! What a scenario sends over plain TCP, carried to the broker by TLS or WebSocket, byte for byte:
//! so every scenario can be run over every transport.

use super::pki::Pki;
use mogi_client::driver::dial;
use mogi_client::{Address, DialOptions, Stream, TlsOptions};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// What carries MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Over {
    #[default]
    Tcp,
    Tls,
    WebSocket,
}

impl Over {
    /// What a listener needs for it.
    pub const fn lines(self) -> &'static str {
        match self {
            Self::Tcp => "",
            Self::Tls => "certfile {dir}/server.pem\nkeyfile {dir}/server.key\n",
            Self::WebSocket => "protocol websockets\n",
        }
    }

    /// The files these lines name.
    pub fn files(self) -> Vec<(String, String)> {
        if self != Self::Tls {
            return Vec::new();
        }
        let pki = Pki::new("ca");
        let server = pki.server();
        let files = [
            ("ca.pem", pki.authority),
            ("server.pem", server.certificate),
            ("server.key", server.key),
        ];
        files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
    }

    /// What a broker may need besides for a crowd of so many connections, in MiB.
    pub const fn extra_mib(self) -> u64 {
        match self {
            Self::Tcp => 0,
            Self::Tls => 32,
            Self::WebSocket => 8,
        }
    }
}

/// Opens a port whose connections are carried on to `port`; where it is.
pub fn start(over: Over, port: u16, dir: &Path) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let tls = (over == Over::Tls)
        .then(|| TlsOptions { cafile: Some(dir.join("ca.pem")), ..TlsOptions::default() });
    let options = DialOptions {
        bind: None,
        nodelay: true,
        timeout: Duration::from_secs(60),
        tls,
        websocket: over == Over::WebSocket,
        proxy: None,
    };
    // It ends with the test program.
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let options = options.clone();
            let small = std::thread::Builder::new().stack_size(512 * 1024);
            let carrier = small.spawn(move || {
                let address = Address::Tcp { host: "127.0.0.1".to_owned(), port };
                // A broker that does not let it in ends the near side as well.
                if let Ok(far) = dial(&address, &options) {
                    let _ = carry(near, far);
                }
            });
            carrier.expect("a thread");
        }
    });
    address
}

/// What the system is to keep of a connection, either way.
const BUFFER_BYTES: usize = 64 * 1024;

/// Carries bytes both ways until one side ends, or breaks: then so does the other.
fn carry(mut near: TcpStream, mut far: Stream) -> io::Result<()> {
    near.set_nonblocking(true)?;
    near.set_nodelay(true)?;
    // What the system keeps on the way is to be no more than on a way without this stop.
    for socket in [socket2::SockRef::from(&near), socket2::SockRef::from(&far)] {
        socket.set_send_buffer_size(BUFFER_BYTES)?;
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
    }
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let (mut near_ended, mut far_ended, mut far_broken) = (false, false, false);
    loop {
        if up.is_empty() && !near_ended && !far.is_pending() {
            match read(&mut near, &mut up) {
                Ok(ended) => near_ended = ended,
                Err(error) => {
                    // A reset is passed on as one.
                    let socket = socket2::SockRef::from(&far);
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    return Err(error);
                }
            }
            if near_ended {
                far.shutdown_write()?;
            }
        }
        if write(&mut far, &mut up).is_err() {
            // What it said before it closed is carried on all the same.
            (near_ended, far_broken) = (true, true);
            up.clear();
        }
        if down.is_empty() && !far_ended {
            far_ended = read(&mut far, &mut down).unwrap_or(true);
        }
        write(&mut near, &mut down)?;
        if far_ended && down.is_empty() {
            let _ = near.shutdown(Shutdown::Write);
            return Ok(());
        }
        let unsent = !up.is_empty() || far.is_pending() && !far_broken;
        wait(&near, &far, [unsent, !down.is_empty()], near_ended)?;
    }
}

/// Reads once; whether that was the end.
fn read(from: &mut impl Read, to: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 16 * 1024];
    match from.read(&mut chunk) {
        Ok(len) => {
            to.extend_from_slice(&chunk[..len]);
            Ok(len == 0)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Writes what is taken.
fn write(to: &mut impl Write, from: &mut Vec<u8>) -> io::Result<()> {
    while !from.is_empty() {
        match to.write(from) {
            Ok(len) => drop(from.drain(..len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    to.flush()
}

/// Waits until something can be read, or written where `pending` says so: far, near.
fn wait(near: &TcpStream, far: &Stream, pending: [bool; 2], ended: bool) -> io::Result<()> {
    let events = |reads: bool, writes: bool| {
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, reads);
        events.set(PollFlags::POLLOUT, writes);
        events
    };
    let [up, down] = pending;
    let mut fds = [
        PollFd::new(near.as_fd(), events(!up && !ended, down)),
        PollFd::new(far.as_fd(), events(!down, up)),
    ];
    // Bytes within the layers make no event: then it is looked again soon.
    poll(&mut fds, PollTimeout::from(20u16))?;
    Ok(())
}
