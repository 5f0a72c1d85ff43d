//! Moving bytes between a socket and the state machine.

use super::dial::{Address, DialError, DialOptions, Stream, dial};
use crate::{Client, Error, Event};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// Bytes that one call to `read` may bring.
const READ_LEN: usize = 64 * 1024;

/// Reads before packets are looked at, so that the input stays small however fast the server is.
const READS_MAX: usize = 4;

/// A client on a socket.
///
/// Call [`Self::next_event`] until it answers `None`, then [`Self::wait`], and so on.
#[derive(Debug)]
pub struct Driver {
    client: Client,
    stream: Option<Stream>,
    /// Received bytes; those before `start` are read.
    input: Vec<u8>,
    start: usize,
    /// What the socket said when it ended. Told when the input before it is read.
    ended: Option<io::Error>,
    clock: Instant,
}

/// Why a connection is over.
#[derive(Debug)]
pub enum DriverError {
    /// The state machine gave it up.
    Client(Error),
    /// The server closed it, or the network broke.
    Lost(io::Error),
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Lost(error) => write!(f, "the connection was lost: {error}"),
        }
    }
}

impl std::error::Error for DriverError {}

impl Driver {
    /// A driver for this client, without a connection.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            stream: None,
            input: Vec::new(),
            start: 0,
            ended: None,
            clock: Instant::now(),
        }
    }

    /// Opens a connection and sends CONNECT. A connection that was open is closed.
    ///
    /// # Errors
    /// There is no way to the server.
    pub fn connect(&mut self, address: &Address, options: &DialOptions) -> Result<(), DialError> {
        self.close();
        self.stream = Some(dial(address, options)?);
        let now_ms = self.now_ms();
        self.client.connect(now_ms);
        self.flush();
        Ok(())
    }

    /// Writes what can be written, and closes the socket. What is in flight stays in flight.
    pub fn close(&mut self) {
        self.flush();
        self.stream = None;
        self.client.lost();
        self.input.clear();
        self.start = 0;
        self.ended = None;
    }

    /// Writes what is left of the output, and closes the socket once the server has closed its
    /// side: closing it before, with bytes unread, could keep the server from seeing the end of
    /// what was sent. Gives up when nothing can be written for `write_ms`; waits for the server
    /// to close for `close_ms` at most.
    ///
    /// # Errors
    /// Not everything was written.
    pub fn finish(&mut self, write_ms: u64, close_ms: u64) -> Result<(), DriverError> {
        let mut moved_ms = self.now_ms();
        let mut left = self.client.output().len();
        let mut shut = false;
        while self.stream.is_some() && self.ended.is_none() {
            self.flush();
            if self.is_flushed() && !shut {
                shut = true;
                moved_ms = self.now_ms();
                if let Some(stream) = &mut self.stream {
                    // Where that fails the socket is gone, which the next read tells.
                    let _ = stream.shutdown_write();
                }
            }
            if self.client.output().len() < left {
                left = self.client.output().len();
                moved_ms = self.now_ms();
            }
            let until_ms = moved_ms + if shut { close_ms } else { write_ms };
            if self.now_ms() >= until_ms {
                break;
            }
            self.poll(Some(until_ms), &[]);
            self.input.clear();
            self.start = 0;
            self.receive();
        }
        let unsent = !self.is_flushed() && !shut;
        let error = self.ended.take();
        self.close();
        if unsent {
            let error = error.unwrap_or_else(|| ErrorKind::TimedOut.into());
            return Err(DriverError::Lost(error));
        }
        Ok(())
    }

    /// The next event of what was received, and the state machine to react with. `None`: nothing
    /// more to tell, [`Self::wait`].
    ///
    /// # Errors
    /// The connection is over; [`Self::close`] it.
    pub fn next_event(&mut self) -> Result<Option<(Event<'_>, &mut Client)>, DriverError> {
        let now_ms = self.now_ms();
        let mut rest = &self.input[self.start..];
        let before = rest.len();
        let event = self.client.next_event(now_ms, &mut rest);
        self.start += before - rest.len();
        match event {
            Ok(Some(event)) => Ok(Some((event, &mut self.client))),
            Ok(None) => match self.ended.take() {
                Some(error) => Err(DriverError::Lost(error)),
                None => Ok(None),
            },
            Err(error) => Err(DriverError::Client(error)),
        }
    }

    /// Writes the output; waits until something was received, one of `others` can be read, or
    /// it is `until_ms`; receives. Answers which of `others` can be read.
    ///
    /// # Errors
    /// The server does not answer within the keep alive. (That a connection broke is told by
    /// [`Self::next_event`], after what came before that.)
    pub fn wait(
        &mut self,
        until_ms: Option<u64>,
        others: &[BorrowedFd<'_>],
    ) -> Result<Vec<bool>, DriverError> {
        let now_ms = self.now_ms();
        self.client.tick(now_ms).map_err(DriverError::Client)?;
        self.flush();
        let deadlines = [until_ms, self.client.deadline_ms()];
        let until_ms = deadlines.into_iter().flatten().min();
        let ready = self.poll(until_ms, others);
        self.receive();
        Ok(ready)
    }

    /// Milliseconds since the driver was made: the clock of [`Self::wait`].
    pub fn now_ms(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// The state machine.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The state machine, to publish, subscribe, …
    pub const fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Whether all output is written.
    pub fn is_flushed(&self) -> bool {
        self.client.output().is_empty() && !self.stream.as_ref().is_some_and(Stream::is_pending)
    }

    /// Polls the socket, where there is one, and `others`.
    fn poll(&self, until_ms: Option<u64>, others: &[BorrowedFd<'_>]) -> Vec<bool> {
        let mut fds = Vec::with_capacity(others.len() + 1);
        fds.extend(others.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        if let Some(stream) = &self.stream {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, !self.is_flushed());
            fds.push(PollFd::new(stream.as_fd(), flags));
        }
        loop {
            let buffered = self.stream.as_ref().is_some_and(Stream::is_buffered);
            let timeout = if self.ended.is_some() || buffered {
                PollTimeout::ZERO
            } else {
                until_ms.map_or(PollTimeout::NONE, |until_ms| {
                    let left_ms = until_ms.saturating_sub(self.now_ms());
                    // A wait cut short is only one more turn.
                    PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::MAX)
                })
            };
            match poll(&mut fds, timeout) {
                Err(Errno::EINTR) => continue,
                Err(_) => return vec![false; others.len()],
                Ok(_) => {}
            }
            let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|it| !it.is_empty());
            return fds.iter().take(others.len()).map(ready).collect();
        }
    }

    fn flush(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if stream.is_pending() {
            // Where that fails, the next read tells.
            let _ = stream.flush();
        }
        while !self.client.output().is_empty() && self.ended.is_none() {
            match stream.write(self.client.output()) {
                Ok(n) if n > 0 => self.client.written(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The socket is full, or gone. What the server said before it went away is still
                // to be read; the next read that fails ends the connection.
                _ => break,
            }
        }
    }

    fn receive(&mut self) {
        self.input.drain(..self.start);
        self.start = 0;
        let Some(stream) = &mut self.stream else {
            return;
        };
        for _ in 0..READS_MAX {
            if self.ended.is_some() {
                return;
            }
            let len = self.input.len();
            self.input.resize(len + READ_LEN, 0);
            let result = stream.read(&mut self.input[len..]);
            self.input.truncate(len + result.as_ref().map_or(0, |n| *n));
            match result {
                Ok(0) => self.ended = Some(ErrorKind::UnexpectedEof.into()),
                Ok(n) if n < READ_LEN => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.ended = Some(error),
            }
        }
    }
}
