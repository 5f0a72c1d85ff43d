//! A socket, and what is on its way through it.

use mio::event::Source;
use std::io::{self, ErrorKind, Read, Write};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Reads before a socket is closed.
const FINAL_READS: usize = 4;
/// Bytes that wait to be written before what feeds them is read no further, or dropped.
const FULL_BYTES: usize = 4 << 20;

/// Why nothing will be received any more, for the log.
#[derive(Debug)]
pub(super) enum End {
    /// It ended, or the system says why.
    Closed(String),
    /// What is between the socket and MQTT has failed, or the other side has said so.
    Refused(String),
}

/// A socket with its buffers. Readiness is remembered, as it is told only when it changes.
#[derive(Debug)]
pub(super) struct Pipe<S> {
    pub(super) stream: S,
    /// Received, and not dealt with: the beginning of a packet.
    pub(super) input: Vec<u8>,
    out: Vec<u8>,
    /// Bytes of `out` that are written.
    written: usize,
    pub(super) readable: bool,
    writable: bool,
}

impl<S: Read + Write + Source> Pipe<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self {
            stream,
            input: Vec::new(),
            out: Vec::new(),
            written: 0,
            readable: false,
            writable: true,
        }
    }

    /// What the readiness facility has told.
    pub(super) const fn note(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Reads once. `Ok(0)`: there is nothing for now.
    ///
    /// # Errors
    /// There will be nothing any more.
    pub(super) fn read(&mut self) -> Result<usize, End> {
        let before = self.input.len();
        self.input.resize(before + READ_BYTES, 0);
        let read = loop {
            match self.stream.read(&mut self.input[before..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.input.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(End::Closed("connection closed by the other side".to_owned())),
            Ok(read) => Ok(read),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(0)
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(End::Refused(error.to_string()))
            }
            Err(error) => Err(End::Closed(crate::log::why(&error))),
        }
    }

    /// Writes what there is and then `more`, as far as the socket takes it; the rest is kept.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn write(&mut self, more: &mut Vec<u8>) -> io::Result<()> {
        self.out.append(more);
        while self.writable && self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        if self.writable {
            // What TLS has taken and the socket has not.
            match self.stream.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                flushed => flushed?,
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.out.shrink_to(READ_BYTES);
            self.written = 0;
        } else if self.written > FULL_BYTES {
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Says that nothing more is sent, before the socket is closed. What the other side still
    /// sends is read away first: a socket closed with unread input resets the connection, and what
    /// was sent last may never be seen.
    pub(super) fn finish(&mut self, shut: impl FnOnce(&mut S) -> io::Result<()>) {
        // If that fails there is nobody to hear of it.
        let _ = shut(&mut self.stream);
        for _ in 0..FINAL_READS {
            self.input.clear();
            match self.read() {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        }
    }

    /// Whether so much waits that no more is to be added.
    pub(super) const fn is_full(&self) -> bool {
        self.out.len() - self.written >= FULL_BYTES
    }

    /// What was dealt with leaves the input.
    pub(super) fn consumed(&mut self, bytes: usize) {
        self.input.drain(..bytes);
        if self.input.is_empty() {
            self.input.shrink_to(READ_BYTES);
        }
    }
}
