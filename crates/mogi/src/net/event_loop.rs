//! A worker's turns: read everything that is ready, decide, write once per dirty connection.

use crate::net::alarm::Alarm;
use crate::net::mailbox::{Mail, Moved};
use crate::net::shared::Shared;
use crate::net::socket::{Socket, State};
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use mogi_core::{Arrival, Close, Ending, LogKind, Next, Worker};
use slab::Slab;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Bytes read at once.
const READ_BYTES: usize = 128 * 1024;
/// Flushes, of a megabyte or more each, that one connection or all batches of peers may cause in
/// a turn: 128 KiB of tiny messages for a thousand subscriptions each are not for one turn.
const FLUSHES: usize = 4;
/// Readiness events taken at once.
const EVENTS: usize = 1024;
/// Connections accepted before anything else is looked at.
const ACCEPTS: usize = 64;
/// How long accepting pauses when the process has no file descriptors left.
const ACCEPT_PAUSE_MS: u64 = 100;

/// The token of the mailbox's waker.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// The token of the signal pipe, which only worker 0 has.
pub(crate) const SIGNALS: Token = Token(usize::MAX - 1);
/// The token of the loop's alarm.
const ALARM: Token = Token(usize::MAX - 2);
/// Listener `n` has the token `LISTENERS + n`.
const LISTENERS: usize = 1 << 40;

/// What only worker 0 does besides its connections.
pub(crate) struct FrontDoor {
    pub(crate) listeners: Vec<(u16, TcpListener)>,
    /// Called once per loop: signals, `$SYS`, whatever is due. Says when it wants to be called
    /// next, in milliseconds.
    pub(crate) chores: Box<dyn FnMut(&mut Worker, &Shared, u64, bool) -> Option<u64> + Send>,
}

/// The loop of one worker.
pub(crate) struct EventLoop {
    index: u16,
    poll: Poll,
    shared: Arc<Shared>,
    worker: Worker,
    sockets: Slab<Socket>,
    serial: u64,
    /// Sockets that may have something to read.
    ready: VecDeque<u32>,
    /// Connections without a complete CONNECT: deadline, place, serial.
    handshakes: VecDeque<(u64, u32, u64)>,
    /// Batches of peers, with how much of each was dealt with.
    batches: VecDeque<(u16, Vec<u8>, usize)>,
    mail: Vec<Mail>,
    buffer: Vec<u8>,
    front_door: Option<FrontDoor>,
    accepting: bool,
    accept_again_ms: u64,
    chores_ms: Option<u64>,
    alarm: Alarm,
    events: Events,
    /// Run by the thread that runs all loops.
    together: bool,
    /// The last turn left something to do.
    again: bool,
    turns: u64,
    /// Messages and turns up to when [`Self::messages_per_turn`] was asked last.
    asked: (u64, u64),
    /// How long the last turn waited.
    slept: Duration,
    stopping: bool,
}

/// What a loop wants after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Another turn at once.
    Again,
    /// Another turn when something happens.
    Wait,
    /// Nothing more: the broker has stopped.
    Stopped,
}

impl EventLoop {
    pub(crate) fn new(
        index: u16,
        poll: Poll,
        shared: Arc<Shared>,
        front_door: Option<FrontDoor>,
    ) -> io::Result<Self> {
        let worker = Worker::new(index, Arc::clone(&shared.node), Arc::clone(&shared.core));
        let mut this = Self {
            index,
            poll,
            shared,
            worker,
            sockets: Slab::new(),
            serial: 0,
            ready: VecDeque::new(),
            handshakes: VecDeque::new(),
            batches: VecDeque::new(),
            mail: Vec::new(),
            buffer: vec![0; READ_BYTES],
            front_door,
            accepting: false,
            accept_again_ms: 0,
            chores_ms: Some(0),
            alarm: Alarm::new()?,
            events: Events::with_capacity(EVENTS),
            together: false,
            again: false,
            turns: 0,
            asked: (0, 0),
            slept: Duration::ZERO,
            stopping: false,
        };
        if let Some(door) = &mut this.front_door {
            for (at, (_, listener)) in door.listeners.iter_mut().enumerate() {
                let token = Token(LISTENERS + at);
                this.poll
                    .registry()
                    .register(listener, token, Interest::READABLE)?;
            }
            this.accepting = !door.listeners.is_empty();
        }
        this.alarm.register(this.poll.registry(), ALARM)?;
        Ok(this)
    }

    /// One turn: takes what has happened, waiting for it if `wait`, and acts on it.
    ///
    /// # Errors
    /// The readiness facility of the system fails.
    pub(crate) fn turn(&mut self, wait: bool) -> io::Result<Then> {
        let timeout = if wait && !self.again {
            None
        } else {
            Some(Duration::ZERO)
        };
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let before = Instant::now();
        let polled = self.poll.poll(&mut events, timeout);
        if timeout.is_none() {
            self.slept = before.elapsed();
        }
        match polled {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result?,
        }
        self.turns += 1;
        let now_ms = self.shared.now_ms();
        let mut signalled = false;
        for event in &events {
            match event.token() {
                WAKER => {}
                ALARM => self.alarm.rang(),
                SIGNALS => signalled = true,
                Token(place) if place >= LISTENERS => self.accepting = true,
                Token(place) => self.note_event(now_ms, place as u32, event),
            }
        }
        let full = events.iter().count() == EVENTS;
        self.events = events;
        self.open_mail(now_ms);
        self.take_batches(now_ms, FLUSHES);
        self.read_ready(now_ms);
        self.accept(now_ms);
        self.do_what_is_due(now_ms, signalled);
        self.finish_turn(now_ms);
        if self.stopping {
            self.worker.disconnect_all(now_ms);
            self.finish_turn(now_ms);
            return Ok(Then::Stopped);
        }
        let then = if full || self.has_work() {
            Then::Again
        } else {
            self.set_alarm()
        };
        self.again = then == Then::Again;
        Ok(then)
    }

    /// A turn that waits if there is nothing to do, and how long it waited.
    ///
    /// # Errors
    /// As [`Self::turn`].
    pub(crate) fn turn_metered(&mut self) -> io::Result<(Then, Duration)> {
        self.slept = Duration::ZERO;
        let then = self.turn(true)?;
        Ok((then, self.slept))
    }

    /// Messages received and sent per turn since this was asked last.
    pub(crate) fn messages_per_turn(&mut self) -> u64 {
        let stats = self.worker.stats();
        let messages = stats.publish_received + stats.publish_sent;
        let per_turn = (messages - self.asked.0) / (self.turns - self.asked.1).max(1);
        self.asked = (messages, self.turns);
        per_turn
    }

    /// The worker's number.
    pub(crate) const fn index(&self) -> u16 {
        self.index
    }

    /// Whether the loop has ended because the broker stops.
    pub(crate) const fn has_stopped(&self) -> bool {
        self.stopping
    }

    fn do_what_is_due(&mut self, now_ms: u64, signalled: bool) {
        let due = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        self.check_handshakes(now_ms);
        if due(self.worker.next_timeout_ms()) {
            self.worker.tick(now_ms);
        }
        if let Some(door) = &mut self.front_door
            && (signalled || due(self.chores_ms))
        {
            self.chores_ms = (door.chores)(&mut self.worker, &self.shared, now_ms, signalled);
        }
    }

    /// Whether something is left to do without anything happening.
    fn has_work(&mut self) -> bool {
        !self.batches.is_empty()
            || !self.worker.effects().dirty.is_empty()
            || !self.ready.is_empty() && !self.peers_are_full()
            || self.accepting && self.accept_again_ms == 0
    }

    /// Has the loop woken when the next thing is due.
    fn set_alarm(&mut self) -> Then {
        let accept_ms =
            (self.accepting && self.accept_again_ms != 0).then_some(self.accept_again_ms);
        let handshake_ms = self.handshakes.front().map(|entry| entry.0);
        let chores_ms = self.front_door.as_ref().and(self.chores_ms);
        let next = [
            chores_ms,
            self.worker.next_timeout_ms(),
            handshake_ms,
            accept_ms,
        ];
        match next.into_iter().flatten().min() {
            Some(at_ms) if !self.alarm.set(at_ms, self.shared.now_ms()) => Then::Again,
            _ => Then::Wait,
        }
    }

    /// Whether there is mail it has not seen, for the thread that runs several loops.
    pub(crate) fn has_mail(&self) -> bool {
        self.shared.mailboxes[usize::from(self.index)].has_mail()
    }

    /// The readiness facility, for the thread that waits for several loops.
    pub(crate) fn poll_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Says whether the loop is run by the thread that runs all of them.
    pub(crate) const fn set_together(&mut self, together: bool) {
        self.together = together;
    }

    fn note_event(&mut self, now_ms: u64, place: u32, event: &Event) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.readable = true;
            socket.read_closed |= event.is_read_closed() || event.is_error();
            self.list(place);
        }
        if event.is_writable() {
            self.unblocked(now_ms, place);
        }
    }

    /// Puts a socket on the list of those to be read.
    fn list(&mut self, place: u32) {
        if let Some(socket) = self.sockets.get_mut(place as usize)
            && !socket.listed
            && !socket.draining
        {
            socket.listed = true;
            self.ready.push_back(place);
        }
    }

    fn unblocked(&mut self, now_ms: u64, place: u32) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if !socket.blocked {
            return;
        }
        socket.blocked = false;
        if let Some(key) = socket.key() {
            self.write(now_ms, key);
        }
    }

    /// Reads each ready connection once.
    fn read_ready(&mut self, now_ms: u64) {
        for _ in 0..self.ready.len() {
            if self.peers_are_full() {
                return;
            }
            let Some(place) = self.ready.pop_front() else {
                return;
            };
            let Some(socket) = self.sockets.get_mut(place as usize) else {
                continue;
            };
            socket.listed = false;
            match socket.state {
                State::Handshake => self.read_handshake(now_ms, place),
                State::Client(key) => self.read_client(now_ms, place, key),
            }
            if self
                .sockets
                .get(place as usize)
                .is_some_and(|socket| socket.readable)
            {
                self.list(place);
            }
        }
    }

    /// Whether a peer's mailbox is so full that nothing more may be read; it wakes us.
    fn peers_are_full(&self) -> bool {
        self.shared
            .mailboxes
            .iter()
            .enumerate()
            .any(|(peer, mailbox)| peer != usize::from(self.index) && mailbox.is_full(self.index))
    }

    fn read_client(&mut self, now_ms: u64, place: u32, key: u32) {
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
            socket
                .read(&mut buffer[kept..])
                .map(|read| (read, kept + read))
        } else {
            socket.read(&mut buffer).map(|read| {
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
            Err(_) => self.worker.closed(now_ms, key, place, Ending::Closed),
        }
        self.buffer = buffer;
    }

    /// Hands bytes to the core until it has dealt with all complete packets, or has done enough for
    /// one turn; what is left is kept.
    fn hand_over(&mut self, now_ms: u64, place: u32, key: u32, bytes: &[u8]) {
        let mut rest = bytes;
        let mut flushes = 0;
        while !rest.is_empty() {
            let received = self.worker.received(now_ms, key, place, rest);
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
                Next::Read(need) => {
                    if let Some(socket) = self.sockets.get_mut(place as usize) {
                        socket.partial = rest.to_vec();
                        socket.need = need;
                    }
                    return;
                }
                Next::Drain => {
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
    fn park(&mut self, place: u32, rest: &[u8]) {
        if let Some(socket) = self.sockets.get_mut(place as usize) {
            socket.partial = rest.to_vec();
            socket.parked = true;
        }
        self.list(place);
    }

    /// A connection whose output has drained is read again, beginning with what was kept.
    fn resume(&mut self, now_ms: u64, place: u32) {
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

    /// Ends the turn and acts on what it decided: batches first, so that peers begin; then the
    /// log, the writes, and the sockets to close.
    fn finish_turn(&mut self, now_ms: u64) {
        self.worker.end_turn();
        let effects = self.worker.effects();
        let batches = std::mem::take(&mut effects.batches);
        let logs = std::mem::take(&mut effects.logs);
        let store = effects.store.take();
        for (peer, bytes) in batches {
            if let Some(mailbox) = self.shared.mailboxes.get(usize::from(peer)) {
                mailbox.send(
                    Mail::Batch {
                        from: self.index,
                        bytes,
                    },
                    self.together,
                );
            }
        }
        for (kind, text) in logs {
            self.shared.log.log(kind, &text);
        }
        if let Some((turn, _)) = store {
            // State lives in memory: what is to be durable is so at once.
            self.worker.stored(now_ms, turn);
        }
        self.write_dirty(now_ms);
        self.close_all();
        self.worker.flushed();
        let at = usize::from(self.index);
        if let Some(stats) = self.shared.stats.get(at) {
            *stats.lock().unwrap_or_else(PoisonError::into_inner) = *self.worker.stats();
        }
    }

    fn write_dirty(&mut self, now_ms: u64) {
        let dirty = std::mem::take(&mut self.worker.effects().dirty);
        for &key in &dirty {
            self.write(now_ms, key);
        }
        // Clients that became dirty while they were written to (there is more in their queues)
        // come next turn, so that one of them cannot hold up the others.
        let effects = self.worker.effects();
        if effects.dirty.is_empty() {
            let mut dirty = dirty;
            dirty.clear();
            effects.dirty = dirty;
        }
    }

    fn write(&mut self, now_ms: u64, key: u32) {
        let Some((place, output)) = self.worker.output(key) else {
            return;
        };
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if socket.blocked {
            self.worker.wrote(now_ms, key, 0, true);
            return;
        }
        match socket.write(output) {
            Ok((sent, blocked)) => {
                self.worker.wrote(now_ms, key, sent, blocked);
                if !blocked {
                    self.resume(now_ms, place);
                }
            }
            Err(_) => self.worker.closed(now_ms, key, place, Ending::Closed),
        }
    }

    fn close_all(&mut self) {
        while !self.worker.effects().closes.is_empty() {
            let closes = std::mem::take(&mut self.worker.effects().closes);
            for Close { token, last, linger } in closes {
                let Some(mut socket) = self.sockets.try_remove(token as usize) else {
                    continue;
                };
                let last = if socket.blocked { &[][..] } else { &last };
                if linger || !last.is_empty() {
                    socket.finish(last);
                }
                self.drop_socket(socket);
            }
        }
    }

    fn drop_socket(&self, socket: Socket) {
        // Closing the descriptor takes it out of the readiness facility.
        self.shared.release_connection(socket.listener);
    }

    /// Deals with what peers sent, until that has caused `flushes` flushes.
    fn take_batches(&mut self, now_ms: u64, flushes: usize) {
        let mut left = flushes;
        while let Some((from, bytes, done)) = self.batches.pop_front() {
            let done = done + self.worker.peer_batch(now_ms, from, &bytes[done..]);
            if done < bytes.len() {
                self.batches.push_front((from, bytes, done));
                self.finish_turn(now_ms);
                left -= 1;
                if left == 0 {
                    return;
                }
                continue;
            }
            let mut waiting =
                self.shared.mailboxes[usize::from(self.index)].dealt_with(bytes.len());
            self.worker.recycle(from, bytes);
            while waiting != 0 {
                let peer = waiting.trailing_zeros() as usize;
                waiting &= waiting - 1;
                if let Some(mailbox) = self.shared.mailboxes.get(peer) {
                    mailbox.ring(self.together);
                }
            }
        }
    }

    fn open_mail(&mut self, now_ms: u64) {
        let mut mail = std::mem::take(&mut self.mail);
        self.shared.mailboxes[usize::from(self.index)].take(&mut mail);
        for mail in mail.drain(..) {
            match mail {
                Mail::Batch { from, bytes } => self.batches.push_back((from, bytes, 0)),
                Mail::Arrival(moved) => self.arrive(now_ms, *moved),
                Mail::Measure => self.worker.measure(),
                Mail::PublishWills => {
                    self.worker.publish_wills(now_ms);
                    self.finish_turn(now_ms);
                    let shared = &self.shared;
                    let done = shared.wills_published.fetch_add(1, Ordering::AcqRel) + 1;
                    if done == shared.mailboxes.len() {
                        shared.send_all(|| Mail::Stop);
                    }
                }
                Mail::Stop => {
                    // What the others sent before they stopped is still delivered.
                    self.take_batches(now_ms, usize::MAX);
                    self.finish_turn(now_ms);
                    self.stopping = true;
                }
            }
        }
        self.mail = mail;
    }

    fn accept(&mut self, now_ms: u64) {
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
        self.front_door = Some(door);
    }

    /// Accepts a share of what waits; whether that was all.
    fn accept_from(&mut self, now_ms: u64, number: u16, listener: &TcpListener) -> bool {
        for _ in 0..ACCEPTS {
            match listener.accept() {
                Ok((stream, peer)) => self.admit(now_ms, stream, number, peer),
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
    fn accept_failed(&mut self, now_ms: u64, error: &io::Error) -> bool {
        let exhausted = matches!(
            error.raw_os_error(),
            Some(nix::libc::EMFILE | nix::libc::ENFILE | nix::libc::ENOBUFS | nix::libc::ENOMEM)
        );
        if exhausted {
            self.accept_again_ms = now_ms + ACCEPT_PAUSE_MS;
            self.shared.log.log(
                LogKind::Error,
                &format!("Unable to accept new connection, system socket count has been exceeded. Try increasing \"ulimit -n\" or equivalent ({error})."),
            );
        }
        exhausted
    }

    fn admit(
        &mut self,
        now_ms: u64,
        stream: mio::net::TcpStream,
        listener: u16,
        peer: std::net::SocketAddr,
    ) {
        let address = peer.ip().to_canonical();
        if !self.shared.admit_connection(listener) {
            self.log_connection(LogKind::Notice, || {
                format!("Client connection from {address} denied: max_connections exceeded.")
            });
            return;
        }
        let port = self
            .shared
            .listeners
            .get(usize::from(listener))
            .map_or(0, |l| l.port);
        self.log_connection(LogKind::Notice, || {
            format!(
                "New connection from {address}:{} on port {port}.",
                peer.port()
            )
        });
        self.serial += 1;
        let socket = Socket::new(stream, peer, listener, self.serial);
        if let Some(place) = self.keep(socket) {
            let deadline = now_ms + self.shared.connect_timeout_ms;
            self.handshakes.push_back((deadline, place, self.serial));
        }
    }

    fn log_connection(&self, kind: LogKind, line: impl FnOnce() -> String) {
        if self.shared.core.connection_messages && self.shared.core.log_mask & kind as u32 != 0 {
            self.shared.log.log(kind, &line());
        }
    }

    /// Registers a socket, once and for all.
    fn keep(&mut self, mut socket: Socket) -> Option<u32> {
        let entry = self.sockets.vacant_entry();
        let place = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(&mut socket.stream, Token(place), interest);
        if registered.is_err() {
            self.shared.release_connection(socket.listener);
            return None;
        }
        entry.insert(socket);
        Some(place as u32)
    }

    fn read_handshake(&mut self, now_ms: u64, place: u32) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = match self.sockets.get_mut(place as usize) {
            Some(socket) => socket.read(&mut buffer),
            None => Ok(0),
        };
        match result {
            Ok(0) => self.refuse_silently(place, "connection closed by client"),
            Ok(read) => {
                let Some(socket) = self.sockets.get_mut(place as usize) else {
                    return;
                };
                socket.partial.extend_from_slice(&buffer[..read]);
                self.buffer = buffer;
                self.try_admit(now_ms, place);
                return;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.refuse_silently(place, "connection closed by client"),
        }
        self.buffer = buffer;
    }

    fn try_admit(&mut self, now_ms: u64, place: u32) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let len = match mogi_core::handshake::connect_len(&socket.partial) {
            Ok(Some(len)) if socket.partial.len() >= len => len,
            Ok(_) => return,
            Err(refused) => return self.refuse(place, None, &refused),
        };
        let Some(listener) = self.shared.listeners.get(usize::from(socket.listener)) else {
            return;
        };
        let packet = &socket.partial[..len];
        let admitted = mogi_core::handshake::admit(
            packet,
            &self.shared.core,
            &listener.core,
            crate::net::shared::fresh_id,
        );
        match admitted {
            Ok(admitted) => self.move_to_owner(now_ms, place, admitted, len),
            Err(refused) => self.refuse(place, None, &refused),
        }
    }

    /// Gives an admitted connection to the worker that owns its client id.
    fn move_to_owner(
        &mut self,
        now_ms: u64,
        place: u32,
        admitted: mogi_core::Admitted,
        connect_len: usize,
    ) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let owner = self.shared.node.owner(&admitted.client_id);
        let address = socket.address();
        let bytes = std::mem::take(&mut socket.partial);
        let mogi_core::Admitted {
            client_id,
            assigned,
        } = admitted;
        if owner == self.index {
            return self.begin(
                now_ms,
                place,
                &client_id,
                assigned,
                &address,
                &bytes,
                connect_len,
            );
        }
        let Some(mut socket) = self.sockets.try_remove(place as usize) else {
            return;
        };
        if self.poll.registry().deregister(&mut socket.stream).is_err() {
            self.shared.release_connection(socket.listener);
            return;
        }
        let (stream, peer, listener) = (socket.stream, socket.peer, socket.listener);
        let moved = Moved {
            stream,
            peer,
            listener,
            address,
            client_id,
            assigned,
            bytes,
            connect_len,
        };
        if let Some(mailbox) = self.shared.mailboxes.get(usize::from(owner)) {
            mailbox.send(Mail::Arrival(Box::new(moved)), self.together);
        }
    }

    fn arrive(&mut self, now_ms: u64, moved: Moved) {
        self.serial += 1;
        let socket = Socket::new(moved.stream, moved.peer, moved.listener, self.serial);
        let Some(place) = self.keep(socket) else {
            return;
        };
        let Moved {
            client_id,
            assigned,
            address,
            bytes,
            connect_len,
            ..
        } = moved;
        self.begin(
            now_ms,
            place,
            &client_id,
            assigned,
            &address,
            &bytes,
            connect_len,
        );
        self.list(place);
    }

    /// Connects an admitted client to its session.
    #[allow(clippy::too_many_arguments)] // They are the fields of `Moved`, borrowed.
    fn begin(
        &mut self,
        now_ms: u64,
        place: u32,
        client_id: &str,
        assigned: bool,
        address: &str,
        bytes: &[u8],
        connect_len: usize,
    ) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let Some(listener) = shared.listeners.get(usize::from(socket.listener)) else {
            return;
        };
        let (packet, rest) = bytes.split_at(connect_len);
        let arrival = Arrival {
            token: place,
            packet,
            client_id,
            assigned,
            address,
            listener: &listener.core,
        };
        match self.worker.connect(now_ms, &arrival) {
            Ok(key) => {
                socket.state = State::Client(key);
                self.hand_over(now_ms, place, key, rest);
            }
            Err(refused) => self.refuse(place, Some(client_id), &refused),
        }
    }

    /// Turns a connection away that never became a client's.
    fn refuse(&mut self, place: u32, client_id: Option<&str>, refused: &mogi_core::Refused) {
        let Some(mut socket) = self.sockets.try_remove(place as usize) else {
            return;
        };
        let address = socket.address();
        let ip = address
            .rsplit_once(':')
            .map_or(&*address, |(ip, _)| ip)
            .to_owned();
        if let Some(detail) = &refused.detail {
            self.log_connection(LogKind::Information, || {
                format!("Protocol error from {address}: {detail}")
            });
        }
        self.log_connection(LogKind::Notice, || {
            let name = client_id.unwrap_or(&ip);
            format!(
                "Client {name} [{address}] disconnected: {}.",
                refused.reason
            )
        });
        socket.finish(&refused.answer);
        self.drop_socket(socket);
    }

    fn refuse_silently(&mut self, place: u32, reason: &'static str) {
        let refused = mogi_core::Refused {
            reason,
            ..mogi_core::Refused::default()
        };
        self.refuse(place, None, &refused);
    }

    /// Closes connections that did not send a whole CONNECT in time.
    fn check_handshakes(&mut self, now_ms: u64) {
        while let Some(&(deadline, place, serial)) = self.handshakes.front() {
            if deadline > now_ms {
                return;
            }
            self.handshakes.pop_front();
            let late = self.sockets.get(place as usize).is_some_and(|socket| {
                socket.serial == serial && matches!(socket.state, State::Handshake)
            });
            if late {
                self.refuse_silently(place, "exceeded timeout");
            }
        }
    }
}
