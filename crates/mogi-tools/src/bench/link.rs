//! One connection of the load: bytes in, whole packets out, and a buffer for what is to be sent.

use mio::net::TcpStream;
use mogi_codec::Header;
use std::io::{self, ErrorKind, Read, Write};

/// A link with more than this many unsent bytes takes no further messages for now.
pub(super) const BACKLOG_LIMIT: usize = 256 * 1024;

/// A connection and what is on its way through it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: TcpStream,
    /// To be sent; the first `sent` bytes already are.
    pub(super) out: Vec<u8>,
    sent: usize,
    /// The front of a packet of which the rest has not come.
    tail: Vec<u8>,
}

/// Why a link ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The broker closed it.
    Closed,
    /// The connection broke.
    Broken(io::Error),
    /// What came is not MQTT, or says that the load cannot go on.
    Refused(String),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the broker closed the connection"),
            Self::Broken(err) => write!(f, "the connection broke: {err}"),
            Self::Refused(what) => f.write_str(what),
        }
    }
}

impl Link {
    /// Takes over a stream, connected or on its way to be.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, out: Vec::new(), sent: 0, tail: Vec::new() }
    }

    /// Has every write leave at once, where the system lets us; it costs time, not correctness,
    /// where it does not.
    pub(super) fn no_delay(self) -> Self {
        let _ = self.stream.set_nodelay(true);
        self
    }

    /// Bytes waiting to be sent.
    #[inline]
    pub(super) fn backlog(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Sends what the socket takes. Whether all is gone.
    pub(super) fn flush(&mut self) -> Result<bool, Ended> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(0) => return Err(Ended::Closed),
                Ok(n) => self.sent += n,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    self.compact();
                    return Ok(false);
                }
                Err(err) => return Err(Ended::Broken(err)),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Reads all there is and hands every whole packet to `on_packet`, with the link's own output
    /// to answer into. `scratch` has to be larger than any packet.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        mut on_packet: impl FnMut(Header, &[u8], &mut Vec<u8>) -> Result<(), String>,
    ) -> Result<(), Ended> {
        loop {
            let kept = self.tail.len();
            scratch[..kept].copy_from_slice(&self.tail);
            let n = match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => return Err(Ended::Closed),
                Ok(n) => n,
                Err(err) if err.kind() == ErrorKind::Interrupted => continue,
                Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(err) => return Err(Ended::Broken(err)),
            };
            let filled = kept + n;
            let mut rest = &scratch[..filled];
            while let Some((header, body, after)) = split(rest)? {
                on_packet(header, body, &mut self.out).map_err(Ended::Refused)?;
                rest = after;
            }
            if rest.len() == scratch.len() {
                return Err(Ended::Refused("the broker sent an oversized packet".into()));
            }
            self.tail.clear();
            self.tail.extend_from_slice(rest);
            if filled < scratch.len() {
                // A short read: the socket is drained, and the next byte raises a new event.
                return Ok(());
            }
        }
    }

    fn compact(&mut self) {
        if self.sent > BACKLOG_LIMIT {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }
}

/// A packet's header, its body, and what follows it.
type Split<'a> = (Header, &'a [u8], &'a [u8]);

#[inline]
fn split(buf: &[u8]) -> Result<Option<Split<'_>>, Ended> {
    let header = Header::parse(buf)
        .map_err(|err| Ended::Refused(format!("the broker sent what is no packet: {err}")))?;
    let Some(header) = header else {
        return Ok(None);
    };
    if buf.len() < header.packet_len() {
        return Ok(None);
    }
    let (packet, after) = buf.split_at(header.packet_len());
    Ok(Some((header, &packet[header.header_len..], after)))
}
