//! Connections that do not speak MQTT as it comes: what is between them and their socket, and what
//! the socket did not take yet.

use crate::net::http_files::FileAnswer;
use crate::net::socket::Socket;
use crate::net::stream::{Peer, Stream};
use mogi_core::output::{MAX_SLICES, Output};
use mogi_transport::tls::{MAX_KEPT_BYTES, MAX_SEAL_BYTES};
use mogi_transport::{Failure, Layers, Received};
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;

/// Bytes a socket is read for at once.
const READ_BYTES: usize = 64 * 1024;
/// Room [`Layers::receive`] wants besides.
const SPARE_BYTES: usize = 64;
/// MQTT bytes that are framed and sealed together.
const WRITE_BYTES: usize = MAX_SEAL_BYTES - SPARE_BYTES;

/// Buffers of a worker, used again by each connection in its turn.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// What the socket has given.
    raw: Vec<u8>,
    /// MQTT bytes with frames around them.
    framed: Vec<u8>,
    /// What goes to the socket.
    out: Vec<u8>,
}

impl Scratch {
    /// Empty ones: a worker without such connections pays nothing for them.
    pub(crate) const fn new() -> Self {
        Self { raw: Vec::new(), framed: Vec::new(), out: Vec::new() }
    }
}

/// What is between a socket and MQTT.
#[derive(Debug)]
pub(crate) struct Layered {
    pub(crate) layers: Layers,
    /// What the socket did not take.
    pending: Vec<u8>,
    pending_at: usize,
    /// A file on its way to a browser.
    file: Option<FileAnswer>,
    /// The peer has said that it sends no more.
    closed: bool,
    /// Why the connection is to be closed.
    failure: Option<Failure>,
}

impl Layered {
    pub(crate) const fn new(layers: Layers) -> Self {
        Self {
            layers,
            pending: Vec::new(),
            pending_at: 0,
            file: None,
            closed: false,
            failure: None,
        }
    }

    /// Whether the peer has said that it sends no more.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Why the connection is to be closed, if its layers say so.
    pub(crate) const fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Whether nothing is left from before; else the socket takes no more for now.
    fn flush(&mut self, stream: &Stream) -> io::Result<bool> {
        loop {
            while self.pending_at < self.pending.len() {
                match write_once(stream, &self.pending[self.pending_at..])? {
                    0 => return Ok(false),
                    written => self.pending_at += written,
                }
            }
            // An idle connection holds no buffer.
            self.pending = Vec::new();
            self.pending_at = 0;
            match &mut self.file {
                None => return Ok(true),
                Some(file) => match file.next_part()? {
                    Some(part) => self.layers.seal(&part, &mut self.pending).map_err(other)?,
                    None => {
                        self.file = None;
                        self.layers.close(&mut self.pending);
                        self.closed = true;
                    }
                },
            }
        }
    }

    /// Writes, and keeps what the socket does not take; whether it took all.
    fn write(&mut self, stream: &Stream, bytes: &[u8]) -> io::Result<bool> {
        let mut rest = bytes;
        if self.flush(stream)? {
            while !rest.is_empty() {
                match write_once(stream, rest)? {
                    0 => break,
                    written => rest = &rest[written..],
                }
            }
        }
        self.pending.extend_from_slice(rest);
        Ok(rest.is_empty())
    }
}

fn other(failure: Failure) -> io::Error {
    io::Error::other(failure)
}

/// Writes once; 0: the socket takes no more for now.
fn write_once(stream: &Stream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        }
    }
}

impl Socket {
    /// Reads once, through the layers. That there is no MQTT in what came is told as
    /// [`ErrorKind::WouldBlock`].
    pub(super) fn read_layered(
        &mut self,
        buffer: &mut [u8],
        scratch: &mut Scratch,
    ) -> io::Result<usize> {
        let Some(layered) = &mut self.layered else {
            return Err(ErrorKind::WouldBlock.into());
        };
        self.readable = false;
        if layered.closed {
            return Ok(0);
        }
        scratch.raw.resize(MAX_KEPT_BYTES + READ_BYTES, 0);
        let kept = layered.layers.kept().len();
        let end = scratch.raw.len().min(buffer.len().saturating_sub(SPARE_BYTES));
        let Some(room) = scratch.raw.get_mut(kept..end).filter(|room| !room.is_empty()) else {
            return Err(ErrorKind::InvalidData.into());
        };
        let wanted = room.len().min(READ_BYTES);
        let read = loop {
            match self.stream.read(&mut room[..wanted]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if read == 0 {
            return Ok(0);
        }
        self.readable = read == wanted || self.read_closed;
        scratch.raw[..kept].copy_from_slice(layered.layers.kept());
        scratch.out.clear();
        let raw = &mut scratch.raw[..kept + read];
        let may_answer = layered.pending.is_empty();
        let result = layered.layers.receive(raw, buffer, may_answer, &mut scratch.out);
        self.blocked |= !layered.write(&self.stream, &scratch.out)?;
        match result {
            Ok(received) => self.take_received(received),
            Err(failure) => {
                layered.failure = Some(failure);
                Err(ErrorKind::InvalidData.into())
            }
        }
    }

    /// What was received besides MQTT.
    fn take_received(&mut self, received: Received) -> io::Result<usize> {
        let Some(layered) = &mut self.layered else {
            return Ok(0);
        };
        if let Some(proxied) = layered.layers.take_proxied() {
            if let Some(source) = proxied.source {
                self.peer = Peer::Ip(source);
            }
            self.proxied = true;
            self.identity = proxied.common_name.map(String::into_boxed_str);
        }
        if let Some(ip) = layered.layers.take_forwarded_for() {
            self.peer = Peer::Ip((ip, 0).into());
        }
        self.asked_for = received.file;
        layered.closed |= received.closed;
        self.readable |= received.closed;
        if layered.layers.is_done() && layered.pending.is_empty() {
            self.layered = None;
        }
        match received.filled {
            0 => Err(ErrorKind::WouldBlock.into()),
            filled => Ok(filled),
        }
    }

    /// Answers a request for a file of the folder, if there is one.
    pub(crate) fn answer_with_file(&mut self, folder: Option<&Path>) -> io::Result<()> {
        let (Some(layered), Some((path, head))) = (&mut self.layered, self.asked_for.take()) else {
            return Ok(());
        };
        layered.file = Some(FileAnswer::open(folder, &path, head));
        self.flush().map(drop)
    }

    /// Sends what is left from before; whether nothing is left.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let Some(layered) = &mut self.layered else {
            return Ok(true);
        };
        let done = layered.flush(&self.stream)?;
        self.blocked = !done;
        // The end of a file is the end of the connection.
        self.readable |= layered.closed;
        Ok(done)
    }

    /// Writes as [`Socket::write`] does, through the layers.
    pub(super) fn write_layered(
        &mut self,
        output: &mut Output,
        scratch: &mut Scratch,
    ) -> io::Result<(usize, bool)> {
        let mut total = 0;
        loop {
            if !self.flush()? {
                return Ok((total, true));
            }
            let Some(layered) = self.layered.as_mut().filter(|_| !output.is_empty()) else {
                return Ok((total, false));
            };
            let Scratch { framed, out, .. } = scratch;
            framed.clear();
            let len = take(output, framed, |len, to| layered.layers.put_header(len, to));
            output.advance(len);
            total += len;
            let bytes = if layered.layers.is_sealed() {
                out.clear();
                layered.layers.seal(framed, out).map_err(other)?;
                out
            } else {
                framed
            };
            self.blocked = !layered.write(&self.stream, bytes)?;
        }
    }

    /// Appends `last`, and what ends the conversation, to what is still to be sent.
    pub(super) fn end_layered(&mut self, last: &[u8]) {
        let Some(layered) = &mut self.layered else {
            return;
        };
        let mut out = Vec::new();
        if !self.blocked && layered.failure.is_none() {
            layered.layers.put_header(last.len(), &mut out);
            out.extend_from_slice(last);
            let framed = std::mem::take(&mut out);
            if !last.is_empty() && layered.layers.seal(&framed, &mut out).is_err() {
                return;
            }
            layered.layers.close(&mut out);
        }
        // What the socket does not take now is lost with the connection.
        let _ = layered.write(&self.stream, &out);
    }
}

/// Copies the next bytes of the output, with a header before them: how many.
fn take(output: &Output, to: &mut Vec<u8>, header: impl FnOnce(usize, &mut Vec<u8>)) -> usize {
    if let Some(bytes) = output.as_slice() {
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES)];
        header(bytes.len(), to);
        to.extend_from_slice(bytes);
        return bytes.len();
    }
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let count = output.slices(&mut slices);
    let there: usize = slices[..count].iter().map(|slice| slice.len()).sum();
    let len = there.min(WRITE_BYTES);
    header(len, to);
    let mut left = len;
    for slice in &slices[..count] {
        let part = &slice[..slice.len().min(left)];
        to.extend_from_slice(part);
        left -= part.len();
    }
    len
}
