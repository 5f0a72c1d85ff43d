//! A connection's socket, and the bytes of a packet that is not complete yet.

use crate::net::layered::{Layered, Scratch};
use crate::net::meter::Meter;
use crate::net::stream::{Peer, Stream};
use mogi_auth::scram::Exchange;
use mogi_core::output::{MAX_SLICES, Output};
use mogi_core::{Admitted, Refused, handshake};
use std::io::{self, IoSlice};
use std::net::IpAddr;

/// Where a connection stands.
#[derive(Debug)]
pub(crate) enum State {
    /// Its CONNECT is not complete.
    Handshake,
    /// Its client's session is on its way here from another node.
    Claiming,
    /// Its CONNECT is complete, and it goes on with AUTH packets.
    Exchanging(Box<Exchanging>),
    /// Its CONNECT is complete, and its password is being checked.
    Waiting(Box<Waiting>),
    /// It belongs to the client with this key.
    Client(u32),
}

/// A client that shows who it is by AUTH packets.
#[derive(Debug)]
pub(crate) struct Exchanging {
    pub(crate) admitted: Admitted,
    /// Bytes of its CONNECT packet.
    pub(crate) connect_len: usize,
    pub(crate) exchange: Exchange,
}

/// A client that is not let in yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) admitted: Admitted,
    /// Bytes of its CONNECT packet.
    pub(crate) connect_len: usize,
    /// Turned away, and to be told so later.
    pub(crate) refused: Option<Refused>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: Stream,
    /// TLS, WebSocket, a PROXY header; `None`: MQTT as it comes.
    pub(crate) layered: Option<Box<Layered>>,
    pub(crate) peer: Peer,
    /// The user name a proxy has made sure of.
    pub(crate) identity: Option<Box<str>>,
    /// A proxy has just said for whom it speaks.
    pub(crate) proxied: bool,
    /// The file a browser asks for, and whether it wants only the head of the answer.
    pub(crate) asked_for: Option<(String, bool)>,
    pub(crate) state: State,
    pub(crate) listener: u16,
    /// Bytes received and not dealt with: the beginning of a packet, or what has to wait.
    pub(crate) partial: Vec<u8>,
    /// Bytes the packet in `partial` has in all, as far as known.
    pub(crate) need: usize,
    /// There may be something to read.
    pub(crate) readable: bool,
    /// The readiness facility knows it.
    pub(crate) registered: bool,
    /// In the list of those to be read.
    pub(crate) listed: bool,
    /// The peer sends no more: what is left is read, and then the end.
    pub(crate) read_closed: bool,
    /// The socket takes no more for now.
    pub(crate) blocked: bool,
    /// Not read until its output has drained.
    pub(crate) draining: bool,
    /// What is in `partial` comes before anything that is read.
    pub(crate) parked: bool,
    /// Not read because its client has published as much as it may for now.
    pub(crate) throttled: bool,
    /// What it publishes is limited.
    pub(crate) meter: Option<Box<Meter>>,
    /// Counted among those that have not said who they are.
    pub(crate) pending: bool,
    /// It came where too many waited already, and is only told so.
    pub(crate) turned_away: bool,
    /// The address among whose connections it is counted.
    pub(crate) counted: Option<IpAddr>,
    /// Its client authenticates anew.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// Distinguishes it from an earlier socket in the same place.
    pub(crate) serial: u64,
}

impl Socket {
    pub(crate) const fn new(
        stream: Stream,
        layered: Option<Box<Layered>>,
        peer: Peer,
        listener: u16,
        serial: u64,
    ) -> Self {
        Self {
            stream,
            layered,
            peer,
            identity: None,
            proxied: false,
            asked_for: None,
            state: State::Handshake,
            listener,
            partial: Vec::new(),
            need: 0,
            readable: false,
            registered: false,
            listed: false,
            read_closed: false,
            blocked: false,
            draining: false,
            parked: false,
            throttled: false,
            meter: None,
            pending: false,
            turned_away: false,
            counted: None,
            exchange: None,
            serial,
        }
    }

    pub(crate) const fn key(&self) -> Option<u32> {
        match self.state {
            State::Client(key) => Some(key),
            State::Handshake | State::Claiming | State::Exchanging(_) | State::Waiting(_) => None,
        }
    }

    /// The peer, as Mosquitto prints it.
    pub(crate) fn address(&self) -> String {
        self.peer.to_string()
    }

    /// Puts another user name into the CONNECT at the begin of what was received; how long that is
    /// now. Somebody else has made sure of the name, so there is no password any more.
    pub(crate) fn rename(&mut self, connect_len: usize, username: &str) -> usize {
        let packet = self.partial.get(..connect_len).unwrap_or_default();
        let Some(mut bytes) = handshake::renamed(packet, username) else {
            return connect_len;
        };
        let changed = bytes.len();
        bytes.extend_from_slice(self.partial.get(connect_len..).unwrap_or_default());
        self.partial = bytes;
        changed
    }

    /// Whether the client still has to say who it is: its CONNECT, or the AUTH packets after it.
    /// It has `connect_timeout` for all of that.
    pub(crate) fn owes_handshake(&self) -> bool {
        matches!(self.state, State::Handshake | State::Exchanging(_))
    }

    /// Whether the next bytes are those of a TLS handshake.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.layered.as_ref().is_some_and(|layered| layered.layers.is_handshaking())
    }

    /// Reads once into `buffer`. A short read means there is no more for now, unless the peer has
    /// closed its side, which a further read tells.
    pub(crate) fn read(&mut self, buffer: &mut [u8], scratch: &mut Scratch) -> io::Result<usize> {
        if self.layered.is_some() {
            return self.read_layered(buffer, scratch);
        }
        loop {
            match self.stream.read(buffer) {
                Ok(read) => {
                    self.readable = read == buffer.len() || self.read_closed && read > 0;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.readable = false;
                    return Err(error);
                }
            }
        }
    }

    /// Writes as much of `output` as the socket takes; how much it was, and whether it is blocked
    /// now.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn write(
        &mut self,
        output: &mut Output,
        scratch: &mut Scratch,
    ) -> io::Result<(usize, bool)> {
        if self.layered.is_some() {
            return self.write_layered(output, scratch);
        }
        let mut total = 0;
        while !output.is_empty() {
            let written = match output.as_slice() {
                Some(bytes) => self.stream.write(bytes),
                None => {
                    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                    let count = output.slices(&mut slices);
                    self.stream.write_vectored(&slices[..count])
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let short = written < output.len() && output.as_slice().is_some();
                    output.advance(written);
                    total += written;
                    if short {
                        self.blocked = true;
                        return Ok((total, true));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok((total, true));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((total, false))
    }

    /// Tries to send `last` and ends the connection. What the peer still sends is read away first:
    /// a socket closed with unread input resets the connection, and the peer may never see `last`.
    pub(crate) fn finish(&mut self, last: &[u8]) {
        let mut scratch = [0; 16 * 1024];
        self.end_layered(last);
        let mut rest = if self.layered.is_some() { &[][..] } else { last };
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(written) if written > 0 => rest = &rest[written..],
                _ => break,
            }
        }
        self.stream.shutdown();
        for _ in 0..4 {
            match self.stream.read(&mut scratch) {
                Ok(read) if read == scratch.len() => {}
                _ => break,
            }
        }
    }
}
