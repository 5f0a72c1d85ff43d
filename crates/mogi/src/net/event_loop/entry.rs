//! New connections: accepted, heard until their CONNECT is complete, and moved to the worker that
//! owns their client id.

use super::door::TOO_MANY_LOGINS;
use super::{ACCEPT_PAUSE_MS, ACCEPTS, EventLoop};
use crate::net::crowd::Entry;
use crate::net::listen::Door;
use crate::net::mailbox::{Hello, Mail, Moved};
use crate::net::socket::{Socket, State};
use crate::net::stream::{Peer, Stream};
use mio::{Interest, Token};
use mogi_core::{Arrival, Ending, LogKind};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl EventLoop {
    pub(super) fn accept(&mut self, now_ms: u64) {
        if !self.accepting || now_ms < self.accept_again_ms {
            return;
        }
        self.accept_again_ms = 0;
        let Some(mut door) = self.front_door.take() else {
            return;
        };
        let mut drained = true;
        for (number, listener) in &mut door.listeners {
            drained &= self.accept_from(now_ms, *number, listener);
        }
        self.accepting = !drained;
        if drained {
            self.turnstile.relax();
        }
        self.front_door = Some(door);
    }

    /// Accepts a share of what waits; whether that was all.
    pub(super) fn accept_from(&mut self, now_ms: u64, number: u16, listener: &Door) -> bool {
        for _ in 0..ACCEPTS {
            let entry = self.door_opens(now_ms);
            if let Entry::Later(_) = entry {
                return false;
            }
            match listener.accept() {
                Ok((stream, peer)) if entry == Entry::Never => {
                    self.send_away(now_ms, stream, number, peer);
                }
                Ok((stream, peer)) => {
                    self.turnstile.pass();
                    if let Some(place) = self.admit(now_ms, stream, number, peer) {
                        self.attend(now_ms, place);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) => {
                    if self.accept_failed(now_ms, &error) {
                        return false;
                    }
                }
            }
        }
        false
    }

    /// Whether accepting has to pause: out of descriptors or memory, which only time cures. Other
    /// errors concern the one connection that is gone already.
    pub(super) fn accept_failed(&mut self, now_ms: u64, error: &io::Error) -> bool {
        let exhausted = matches!(
            error.raw_os_error(),
            Some(nix::libc::EMFILE | nix::libc::ENFILE | nix::libc::ENOBUFS | nix::libc::ENOMEM)
        );
        if exhausted {
            self.accept_again_ms = now_ms + ACCEPT_PAUSE_MS;
            self.shared.log.log(
                LogKind::Error,
                &format!(
                    "Unable to accept new connection, system socket count has been exceeded. \
                     Try increasing \"ulimit -n\" or equivalent ({error})."
                ),
            );
        }
        exhausted
    }

    /// Takes a new connection in; its place, unless it may not stay.
    pub(super) fn admit(
        &mut self,
        now_ms: u64,
        stream: Stream,
        listener: u16,
        peer: Peer,
    ) -> Option<u32> {
        if let Some(address) = peer.address()
            && self.shared.access.bans.holds(now_ms, address)
        {
            self.log_connection(LogKind::Debug, || {
                format!("Client connection from {address} denied: {TOO_MANY_LOGINS}.")
            });
            self.shared.refused.banned.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let counted = match self.count_in(listener, &peer) {
            Ok(counted) => counted,
            Err(why) => {
                self.log_connection(LogKind::Notice, || {
                    format!("Client connection from {} denied: {why}.", peer.host())
                });
                return None;
            }
        };
        let Some(layered) = self.layers(listener) else {
            self.count_out(listener, counted);
            return None;
        };
        self.serial += 1;
        self.pending += 1;
        let mut socket = Socket::new(stream, layered, peer, listener, self.serial);
        (socket.pending, socket.counted) = (true, counted);
        self.log_new(&socket, true);
        Some(self.sockets.insert(socket) as u32)
    }

    /// Hears what it has to say, now and until it has said who it is.
    pub(super) fn attend(&mut self, now_ms: u64, place: u32) {
        self.look_at_once(now_ms, place);
        if !self.keep(place) {
            return;
        }
        if let Some(socket) = self.sockets.get(place as usize)
            && socket.owes_handshake()
        {
            let deadline = now_ms + self.shared.tuning().connect_timeout_ms;
            self.handshakes.push_back((deadline, place, socket.serial));
        }
    }

    /// Reads what a new connection has sent before it was accepted. Often that is its CONNECT, and
    /// then a connection that moves on to another worker is never registered here.
    fn look_at_once(&mut self, now_ms: u64, place: u32) {
        // What is expensive waits for its turn.
        if self.peers_are_full()
            || self.sockets.get(place as usize).is_some_and(Socket::is_handshaking)
        {
            return;
        }
        self.read_handshake(now_ms, place);
        if self.sockets.get(place as usize).is_some_and(|socket| socket.readable) {
            self.list(place);
        }
    }

    pub(super) fn log_connection(&self, kind: LogKind, line: impl FnOnce() -> String) {
        let core = self.worker.config();
        if core.connection_messages && core.log_mask & kind as u32 != 0 {
            self.shared.log.log(kind, &line());
        }
    }

    /// Registers the socket in this place, if there is one, once and for all: what has happened
    /// to it before is told as the first event. Whether it is there and registered.
    pub(super) fn keep(&mut self, place: u32) -> bool {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return false;
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(place as usize);
        socket.registered =
            self.poll.registry().register(&mut socket.stream, token, interest).is_ok();
        if !socket.registered {
            self.abandon(place);
            return false;
        }
        true
    }

    /// Closes a connection the system does not let us watch.
    fn abandon(&mut self, place: u32) {
        let Some(socket) = self.sockets.get(place as usize) else {
            return;
        };
        match socket.key() {
            // Its turn ends with closing the socket.
            Some(key) => {
                let now_ms = self.shared.now_ms();
                self.worker.closed(now_ms, key, place, Ending::Failed);
            }
            None => self.refuse_silently(place, "connection lost"),
        }
    }

    pub(super) fn read_handshake(&mut self, now_ms: u64, place: u32) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = match self.sockets.get_mut(place as usize) {
            Some(socket) => socket.read(&mut buffer, &mut self.scratch),
            None => Ok(0),
        };
        match result {
            Ok(0) => self.refuse_silently(place, "connection closed by client"),
            Ok(read) => {
                self.after_layers(place);
                let Some(socket) = self.sockets.get_mut(place as usize) else {
                    return;
                };
                socket.partial.extend_from_slice(&buffer[..read]);
                self.buffer = buffer;
                self.try_admit(now_ms, place);
                return;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.after_layers(place),
            Err(_) => self.refuse_failed(place),
        }
        self.buffer = buffer;
    }

    pub(super) fn try_admit(&mut self, now_ms: u64, place: u32) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if matches!(socket.state, State::Exchanging(_)) {
            return self.step_exchange(now_ms, place);
        }
        let len = match mogi_core::handshake::connect_len(&socket.partial) {
            Ok(Some(len)) if socket.partial.len() >= len => len,
            Ok(_) => return,
            Err(refused) => return self.refuse(place, None, &refused),
        };
        let len = match self.identify(place, len) {
            Ok(len) => len,
            Err(refused) => return self.refuse(place, None, &refused),
        };
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let Some(rules) = self.shared.rules(socket.listener) else {
            return;
        };
        let packet = &socket.partial[..len];
        let admitted = mogi_core::handshake::admit(
            packet,
            self.worker.config(),
            &rules.core,
            crate::net::shared::fresh_id,
        );
        match admitted {
            Ok(admitted) if socket.turned_away => {
                let refused = Self::too_fast(packet);
                self.refuse(place, Some(&admitted.client_id), &refused);
            }
            Ok(admitted) => match self.count_late(now_ms, place, len) {
                Ok(()) => self.log_in(now_ms, place, admitted, len),
                Err(refused) => self.refuse(place, Some(&admitted.client_id), &refused),
            },
            Err(refused) => self.refuse(place, None, &refused),
        }
    }

    /// Gives an admitted connection to the worker that owns its client id.
    pub(super) fn move_to_owner(
        &mut self,
        now_ms: u64,
        place: u32,
        admitted: mogi_core::Admitted,
        connect_len: usize,
    ) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        self.pending -= usize::from(std::mem::take(&mut socket.pending));
        let owner = self.shared.node.owner(&admitted.client_id);
        let address = socket.address();
        let bytes = std::mem::take(&mut socket.partial);
        let mogi_core::Admitted { client_id, assigned, pass } = admitted;
        let bridge = None;
        let hello = Hello { address, client_id, assigned, pass, bytes, connect_len, bridge };
        if owner == self.index {
            return self.begin(now_ms, place, &hello);
        }
        let Some(mut socket) = self.sockets.try_remove(place as usize) else {
            return;
        };
        if socket.registered && self.poll.registry().deregister(&mut socket.stream).is_err() {
            return self.drop_socket(socket);
        }
        let Socket { stream, layered, peer, listener, counted, .. } = socket;
        let moved = Moved { stream, layered, peer, listener, counted, hello };
        if let Some(mailbox) = self.shared.mailboxes.get(usize::from(owner)) {
            mailbox.send(Mail::Arrival(Box::new(moved)), self.together);
        }
    }

    pub(super) fn arrive(&mut self, now_ms: u64, moved: Moved) {
        self.serial += 1;
        let Moved { stream, layered, peer, listener, counted, .. } = moved;
        let mut socket = Socket::new(stream, layered, peer, listener, self.serial);
        socket.counted = counted;
        let place = self.sockets.insert(socket) as u32;
        if !self.keep(place) {
            return;
        }
        self.begin(now_ms, place, &moved.hello);
        self.list_closed(now_ms, place);
    }

    /// Connects an admitted client to its session, once that is here.
    pub(super) fn begin(&mut self, now_ms: u64, place: u32, hello: &Hello) {
        if !self.needs_claim(place, hello) {
            self.let_in(now_ms, place, hello, 0);
        }
    }

    /// Connects a client whose session is here; `epoch`: that of its claim, 0 if it needed none.
    pub(super) fn let_in(&mut self, now_ms: u64, place: u32, hello: &Hello, epoch: u64) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let Some(rules) = shared.rules(socket.listener) else {
            return;
        };
        let (packet, rest) = hello.bytes.split_at(hello.connect_len);
        let arrival = Arrival {
            token: place,
            packet,
            client_id: &hello.client_id,
            assigned: hello.assigned,
            address: &hello.address,
            listener: &rules.core,
            bridge: hello.bridge,
            epoch,
            pass: hello.pass.clone(),
        };
        match self.worker.connect(now_ms, &arrival) {
            Ok(key) => {
                socket.state = State::Client(key);
                self.tell_agreed(place, &hello.client_id);
                self.hand_over(now_ms, place, key, rest);
            }
            Err(refused) => self.refuse(place, Some(&hello.client_id), &refused),
        }
    }

    /// Turns a connection away that never became a client's.
    pub(super) fn refuse(
        &mut self,
        place: u32,
        client_id: Option<&str>,
        refused: &mogi_core::Refused,
    ) {
        let Some(mut socket) = self.sockets.try_remove(place as usize) else {
            return;
        };
        self.pending -= usize::from(std::mem::take(&mut socket.pending));
        let address = socket.address();
        let ip = address.rsplit_once(':').map_or(&*address, |(ip, _)| ip).to_owned();
        if let Some(detail) = &refused.detail {
            self.log_connection(LogKind::Information, || {
                format!("Protocol error from {address}: {detail}")
            });
        }
        self.log_connection(LogKind::Notice, || {
            let name = client_id.unwrap_or(&ip);
            format!("Client {name} [{address}] disconnected: {}.", refused.reason)
        });
        socket.finish(&refused.answer);
        self.drop_socket(socket);
    }

    pub(super) fn refuse_silently(&mut self, place: u32, reason: &'static str) {
        let refused = mogi_core::Refused { reason, ..mogi_core::Refused::default() };
        self.refuse(place, None, &refused);
    }

    /// Closes connections that did not send a whole CONNECT in time.
    pub(super) fn check_handshakes(&mut self, now_ms: u64) {
        while let Some(&(deadline, place, serial)) = self.handshakes.front() {
            let unknown = self
                .sockets
                .get(place as usize)
                .is_some_and(|socket| socket.serial == serial && socket.owes_handshake());
            if unknown && deadline > now_ms {
                return;
            }
            self.handshakes.pop_front();
            if unknown {
                self.shared.refused.late.fetch_add(1, Ordering::Relaxed);
                self.refuse_silently(place, "exceeded timeout");
            }
        }
    }
}
