//! Opens connections, many at a time: TCP, CONNECT, SUBSCRIBE.

use super::frames::{Login, Terms, connect_frame, put_subscribes};
use super::link::{Ended, Link};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use mogi_codec::{Connack, Header, PacketKind, PropertyId, QoS, Reason, Suback, Version};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections that may be on their way at once: what listeners commonly queue.
const AT_ONCE: usize = 64;

/// How long nothing may happen before dialling is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The broker under load, and what is needed to talk to it.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) poll: Poll,
    pub(super) events: Events,
    /// Where everything is read into; larger than any packet of the load.
    pub(super) scratch: Vec<u8>,
    pub(super) addr: SocketAddr,
    pub(super) version: Version,
    pub(super) login: Login,
    /// Connections that may be on their way at once.
    pub(super) at_once: usize,
}

/// A client to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Spec {
    pub(super) client_id: String,
    /// What it subscribes to; nothing for a publisher.
    pub(super) filters: Vec<String>,
    /// The QoS it subscribes with.
    pub(super) qos: QoS,
    pub(super) terms: Terms,
    /// Where it connects to on the broker's host, if that is another port.
    pub(super) port: Option<u16>,
}

/// A client that is connected and subscribed.
#[derive(Debug)]
pub(super) struct Dialed {
    pub(super) link: Link,
    /// The broker's Receive Maximum; 65,535 where it names none.
    pub(super) receive_max: u16,
    /// From the first SYN to the CONNACK.
    pub(super) connect_time: Duration,
    /// What a session that lasted sent right behind the CONNACK, in its order.
    pub(super) early: Vec<(Header, Vec<u8>)>,
}

impl Net {
    /// Room for packets of up to `max_packet` bytes.
    ///
    /// # Errors
    /// When the system has no epoll to give.
    pub(super) fn new(
        addr: SocketAddr,
        version: Version,
        login: Login,
        max_packet: usize,
    ) -> Result<Self, String> {
        const SCRATCH: usize = 512 * 1024;
        Ok(Self {
            poll: Poll::new().map_err(|err| format!("cannot create a poll: {err}"))?,
            events: Events::with_capacity(1024),
            scratch: vec![0; SCRATCH.max(2 * max_packet)],
            addr,
            version,
            login,
            at_once: AT_ONCE,
        })
    }

    /// Opens a link for every spec; link `i` is registered with token `i`.
    ///
    /// # Errors
    /// The first client that does not get through, in words.
    pub(super) fn dial_all(&mut self, specs: &[Spec]) -> Result<Vec<Dialed>, String> {
        let mut calls: Vec<Call> = Vec::with_capacity(specs.len());
        let (mut done, mut last_progress) = (0, Instant::now());
        while done < specs.len() {
            while calls.len() < specs.len() && calls.len() - done < self.at_once {
                let call = self.start(&specs[calls.len()], calls.len())?;
                calls.push(call);
            }
            self.wait(Some(Duration::from_millis(200)))?;
            let before = done;
            for event in &self.events {
                let i = event.token().0;
                let Some(call) = calls.get_mut(i).filter(|call| !call.ready()) else {
                    continue;
                };
                call.step(&mut self.scratch, self.version, &specs[i])
                    .map_err(|ended| self.failure(&specs[i], &ended))?;
                done += usize::from(call.ready());
            }
            if done > before {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > PATIENCE {
                let stuck = calls.iter().position(|call| !call.ready()).unwrap_or(0);
                let what = Ended::Refused(format!("no answer within {} s", PATIENCE.as_secs()));
                return Err(self.failure(&specs[stuck], &what));
            }
        }
        Ok(calls.into_iter().map(Call::finish).collect())
    }

    /// Waits for events, not bothered by signals.
    ///
    /// # Errors
    /// When the system refuses to wait.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Result<(), String> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(err) if err.kind() != std::io::ErrorKind::Interrupted => {
                Err(format!("cannot wait for events: {err}"))
            }
            _ => Ok(()),
        }
    }

    fn start(&self, spec: &Spec, i: usize) -> Result<Call, String> {
        let start = || -> std::io::Result<TcpStream> {
            let mut stream = TcpStream::connect(self.addr_of(spec))?;
            self.poll.registry().register(
                &mut stream,
                Token(i),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            Ok(stream)
        };
        let started = Instant::now();
        let stream = start().map_err(|err| self.failure(spec, &Ended::Broken(err)))?;
        let mut link = Link::new(stream);
        link.out = connect_frame(self.version, &spec.client_id, spec.terms, &self.login);
        let mut call = Call {
            link,
            state: State::Connecting,
            receive_max: u16::MAX,
            started,
            connect_time: Duration::ZERO,
            early: Vec::new(),
        };
        // On loopback the connection is there at once.
        call.send().map_err(|ended| self.failure(spec, &ended))?;
        Ok(call)
    }

    fn addr_of(&self, spec: &Spec) -> SocketAddr {
        SocketAddr::new(self.addr.ip(), spec.port.unwrap_or_else(|| self.addr.port()))
    }

    fn failure(&self, spec: &Spec, ended: &Ended) -> String {
        format!("client {} at {}: {ended}", spec.client_id, self.addr_of(spec))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    /// Waiting for that many SUBACKs.
    Subscribing(usize),
    Ready,
}

/// A client on its way to be connected.
struct Call {
    link: Link,
    state: State,
    receive_max: u16,
    started: Instant,
    connect_time: Duration,
    early: Vec<(Header, Vec<u8>)>,
}

impl Call {
    fn ready(&self) -> bool {
        self.state == State::Ready
    }

    fn finish(self) -> Dialed {
        let Self { link, receive_max, connect_time, early, .. } = self;
        Dialed { link, receive_max, connect_time, early }
    }

    fn step(&mut self, scratch: &mut [u8], version: Version, spec: &Spec) -> Result<(), Ended> {
        if !self.send()? {
            return Ok(());
        }
        let Self { link, state, receive_max, started, connect_time, early } = self;
        link.read(scratch, |header, body, out| {
            match (header.kind, *state) {
                (PacketKind::Connack, State::Connecting) => {
                    *receive_max = check_connack(version, body)?;
                    *connect_time = started.elapsed();
                    *state = match put_subscribes(version, spec.qos, &spec.filters, out) {
                        0 => State::Ready,
                        packets => State::Subscribing(packets),
                    };
                }
                (PacketKind::Suback, State::Subscribing(left)) => {
                    check_suback(version, body)?;
                    *state = match left {
                        1 => State::Ready,
                        more => State::Subscribing(more - 1),
                    };
                }
                (PacketKind::Publish | PacketKind::Pubrel, State::Ready) if spec.terms.lasting => {
                    early.push((header, body.to_vec()));
                }
                // Something retained may come before its SUBACK ([MQTT-3.8.4-3]).
                (PacketKind::Publish, _) => {}
                _ => return Err(unexpected(header)),
            }
            Ok(())
        })?;
        self.send().map(|_| ())
    }

    /// Sends what there is to send; not yet, where the connection is still on its way.
    fn send(&mut self) -> Result<bool, Ended> {
        match self.link.flush() {
            Err(Ended::Broken(err)) if err.kind() == ErrorKind::NotConnected => Ok(false),
            result => result,
        }
    }
}

/// What to say about a packet that has no business being there.
pub(super) fn unexpected(header: Header) -> String {
    format!("the broker sent an unexpected {}", header.kind.name())
}

fn check_connack(version: Version, body: &[u8]) -> Result<u16, String> {
    let connack = Connack::decode(version, body).map_err(|err| format!("bad CONNACK: {err}"))?;
    match connack.code {
        0 => {}
        code if version.is_v5() => {
            let text = Reason::from_u8(code).map_or("unknown reason", Reason::text);
            return Err(format!("the broker refused it: {text} (0x{code:02X})"));
        }
        code => return Err(format!("the broker refused it: return code {code}")),
    }
    let announced = connack.properties.int(PropertyId::ReceiveMaximum);
    Ok(announced.and_then(|max| u16::try_from(max).ok()).unwrap_or(u16::MAX))
}

/// Checks that every filter was taken.
pub(super) fn check_suback(version: Version, body: &[u8]) -> Result<(), String> {
    let suback = Suback::decode(version, body).map_err(|err| format!("bad SUBACK: {err}"))?;
    match suback.codes.iter().find(|&&code| code >= 0x80) {
        Some(code) => Err(format!("the broker refused a subscription (0x{code:02X})")),
        None => Ok(()),
    }
}
