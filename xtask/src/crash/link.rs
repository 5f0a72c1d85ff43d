//! A connection: bytes out of a buffer, packets out of bytes. It never blocks.

use super::process::place;
use mogi_codec::{Ack, Packet, PacketKind, Reason, Version};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a connection may take: a broker that hangs fills its backlog.
const CONNECT: Duration = Duration::from_secs(1);

/// A connection to the broker.
pub(super) struct Link {
    stream: TcpStream,
    version: Version,
    input: Vec<u8>,
    /// Bytes of `input` that were dealt with.
    taken: usize,
    pub(super) output: Vec<u8>,
    /// The other side has closed it, or is gone.
    pub(super) ended: bool,
    /// It ended in order: not with a reset, which promises nothing.
    pub(super) closed: bool,
}

/// What came.
#[derive(Debug)]
pub(super) enum Inward {
    Connack {
        present: bool,
        code: u8,
    },
    Publish(Arrival),
    Ack {
        kind: PacketKind,
        id: u16,
        failed: bool,
    },
    Suback {
        id: u16,
        failed: bool,
    },
    Unsuback {
        id: u16,
    },
    /// PINGRESP, DISCONNECT, AUTH: nothing that matters.
    Other,
    /// What a broker must not send.
    Odd(String),
}

/// A received PUBLISH.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) dup: bool,
    pub(super) qos: u8,
    pub(super) topic: String,
    pub(super) id: u16,
    pub(super) payload: Vec<u8>,
}

impl Link {
    /// Connects; `None` while nobody listens.
    pub(super) fn open(port: u16, version: Version) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&place(port).into(), CONNECT).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_nonblocking(true).ok()?;
        let (input, output) = (Vec::new(), Vec::new());
        Some(Self { stream, version, input, taken: 0, output, ended: false, closed: false })
    }

    /// Writes and reads what can be; whether anything moved.
    pub(super) fn pump(&mut self) -> bool {
        let wrote = self.write();
        let read = self.read();
        wrote || read
    }

    /// The next packet.
    pub(super) fn next(&mut self) -> Option<Inward> {
        let rest = &self.input[self.taken..];
        let (inward, len) = match Packet::parse(self.version, rest) {
            Ok(Some((packet, len))) => (inward(packet), len),
            Ok(None) => {
                self.input.drain(..self.taken);
                self.taken = 0;
                return None;
            }
            Err(error) => (Inward::Odd(error.to_string()), rest.len()),
        };
        self.taken += len;
        Some(inward)
    }

    /// Puts PUBACK, PUBREC, PUBREL or PUBCOMP into the output.
    pub(super) fn ack(&mut self, kind: PacketKind, id: u16) {
        Ack::new(id, Reason::Success).encode(self.version, kind, &mut self.output);
    }

    fn write(&mut self) -> bool {
        let mut moved = false;
        while !self.output.is_empty() && !self.ended {
            match self.stream.write(&self.output) {
                Ok(len) => {
                    self.output.drain(..len);
                    moved = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // What had been received before can still be read: that tells the end.
                Err(_) => self.output.clear(),
            }
        }
        moved
    }

    fn read(&mut self) -> bool {
        let mut moved = false;
        let mut chunk = [0; 16 * 1024];
        while !self.ended {
            match self.stream.read(&mut chunk) {
                Ok(0) => (self.ended, self.closed) = (true, true),
                Ok(len) => {
                    self.input.extend_from_slice(&chunk[..len]);
                    moved = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
        moved || self.ended
    }
}

fn inward(packet: Packet<'_>) -> Inward {
    let ack =
        |kind, ack: Ack<'_>| Inward::Ack { kind, id: ack.packet_id, failed: ack.reason.is_error() };
    match packet {
        Packet::Connack(it) => Inward::Connack { present: it.session_present, code: it.code },
        Packet::Publish(it) => Inward::Publish(Arrival {
            dup: it.dup,
            qos: it.qos as u8,
            topic: it.topic.to_owned(),
            id: it.packet_id,
            payload: it.payload.to_owned(),
        }),
        Packet::Puback(it) => ack(PacketKind::Puback, it),
        Packet::Pubrec(it) => ack(PacketKind::Pubrec, it),
        Packet::Pubrel(it) => ack(PacketKind::Pubrel, it),
        Packet::Pubcomp(it) => ack(PacketKind::Pubcomp, it),
        Packet::Suback(it) => {
            let failed = it.codes.iter().any(|&code| code >= 0x80);
            Inward::Suback { id: it.packet_id, failed }
        }
        Packet::Unsuback(it) => Inward::Unsuback { id: it.packet_id },
        Packet::Pingresp | Packet::Disconnect(_) | Packet::Auth(_) => Inward::Other,
        other => Inward::Odd(format!("a broker does not send {other:?}")),
    }
}
