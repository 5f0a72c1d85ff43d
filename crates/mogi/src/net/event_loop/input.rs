//! Reading: from the socket to the core, within a share of the turn.

use super::{EventLoop, FLUSHES, READ_BYTES};
use crate::net::socket::State;
use mogi_core::{Ending, Next};
use std::io::ErrorKind;

impl EventLoop {
    /// Puts a socket on the list of those to be read.
    pub(super) fn list(&mut self, place: u32) {
        if let Some(socket) = self.sockets.get_mut(place as usize)
            && !socket.listed
            && !socket.draining
            && !socket.throttled
            && !matches!(socket.state, State::Waiting(_))
        {
            socket.listed = true;
            self.ready.push_back(place);
        }
    }

    /// Reads each ready connection once.
    pub(super) fn read_ready(&mut self, now_ms: u64) {
        for _ in 0..self.ready.len() {
            if self.peers_are_full() || self.dozing || self.node_dozes() {
                return;
            }
            let Some(place) = self.ready.pop_front() else {
                return;
            };
            let Some(socket) = self.sockets.get_mut(place as usize) else {
                continue;
            };
            socket.listed = false;
            if socket.is_handshaking() {
                self.step_handshake(now_ms, place);
                continue;
            }
            match socket.state {
                State::Handshake | State::Exchanging(_) => self.read_handshake(now_ms, place),
                // It is read when it is somebody's.
                State::Claiming => continue,
                // It is read on once it is let in.
                State::Waiting(_) => {}
                State::Client(key) => self.read_client(now_ms, place, key),
            }
            self.part(now_ms);
            if self.sockets.get(place as usize).is_some_and(|socket| socket.readable) {
                self.list(place);
            }
        }
    }

    /// Whether nothing is to be read because this node has just woken up; [`Mail::Told`] wakes us.
    ///
    /// [`Mail::Told`]: crate::net::mailbox::Mail::Told
    pub(super) fn node_dozes(&self) -> bool {
        let links = self.shared.links.get();
        // The clock is asked each time: it may have been stopped since the turn began.
        links.is_some_and(|links| links.doze.lasts(self.shared.now_ms()))
    }

    /// Whether a peer's mailbox is so full that nothing more may be read; it wakes us.
    pub(super) fn peers_are_full(&self) -> bool {
        self.shared
            .mailboxes
            .iter()
            .enumerate()
            .any(|(peer, mailbox)| peer != usize::from(self.index) && mailbox.is_full(self.index))
    }

    pub(super) fn read_client(&mut self, now_ms: u64, place: u32, key: u32) {
        if let Some(socket) = self.sockets.get_mut(place as usize)
            && std::mem::take(&mut socket.parked)
        {
            let bytes = std::mem::take(&mut socket.partial);
            return self.hand_over(now_ms, place, key, &bytes);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let kept = socket.partial.len();
        let result = if kept + READ_BYTES / 2 <= buffer.len() {
            // What is left of the last read goes before what comes now.
            buffer[..kept].copy_from_slice(&socket.partial);
            socket.partial = Vec::new();
            socket.read(&mut buffer[kept..], &mut self.scratch).map(|read| (read, kept + read))
        } else {
            socket.read(&mut buffer, &mut self.scratch).map(|read| {
                socket.partial.extend_from_slice(&buffer[..read]);
                (read, 0)
            })
        };
        match result {
            Ok((0, len)) => {
                self.hand_over(now_ms, place, key, &buffer[..len]);
                match self.sockets.get_mut(place as usize) {
                    // What came before the end comes first; then the end is read again.
                    Some(socket) if socket.parked => socket.readable = true,
                    _ => self.worker.closed(now_ms, key, place, Ending::Closed),
                }
            }
            Ok((_, 0)) => {
                let Some(socket) = self.sockets.get_mut(place as usize) else {
                    return;
                };
                if socket.partial.len() >= socket.need {
                    let bytes = std::mem::take(&mut socket.partial);
                    self.hand_over(now_ms, place, key, &bytes);
                }
            }
            Ok((_, len)) => self.hand_over(now_ms, place, key, &buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if let Some(socket) = self.sockets.get_mut(place as usize)
                    && socket.partial.is_empty()
                {
                    socket.partial = buffer[..kept].to_vec();
                }
            }
            Err(_) => {
                self.tell_failure(place);
                self.worker.closed(now_ms, key, place, Ending::Closed);
            }
        }
        self.buffer = buffer;
    }

    /// Hands bytes to the core until it has dealt with all complete packets, or has done enough for
    /// one turn; what is left is kept.
    pub(super) fn hand_over(&mut self, now_ms: u64, place: u32, key: u32, bytes: &[u8]) {
        let mut rest = bytes;
        let mut flushes = 0;
        while !rest.is_empty() {
            self.allow(now_ms, place, key);
            let received = self.worker.received(now_ms, key, place, rest);
            self.charge(place);
            rest = &rest[received.consumed..];
            match received.next {
                Next::Flush => {
                    self.finish_turn(now_ms);
                    flushes += 1;
                    if flushes == FLUSHES {
                        return self.park(place, rest);
                    }
                }
                Next::Gone => return,
                Next::Throttle => return self.throttle(now_ms, place, key, rest),
                Next::Read(need) => {
                    if let Some(socket) = self.sockets.get_mut(place as usize) {
                        socket.partial = rest.to_vec();
                        socket.need = need;
                    }
                    return;
                }
                Next::Drain | Next::Store | Next::Ask => {
                    if received.next == Next::Store && !self.stalled.contains(&place) {
                        self.stalled.push(place);
                    }
                    if let Some(socket) = self.sockets.get_mut(place as usize) {
                        socket.partial = rest.to_vec();
                        socket.draining = true;
                    }
                    return;
                }
            }
        }
    }

    /// Leaves the rest of what a connection has sent for the next turn.
    pub(super) fn park(&mut self, place: u32, rest: &[u8]) {
        if let Some(socket) = self.sockets.get_mut(place as usize) {
            socket.partial = rest.to_vec();
            socket.parked = true;
        }
        self.list(place);
    }

    /// A connection whose output has drained is read again, beginning with what was kept.
    pub(super) fn resume(&mut self, now_ms: u64, place: u32) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if !socket.draining {
            return;
        }
        socket.draining = false;
        socket.readable = true;
        let Some(key) = socket.key() else { return };
        let bytes = std::mem::take(&mut socket.partial);
        self.hand_over(now_ms, place, key, &bytes);
        self.list(place);
    }
}
