//! Clients that wait to be let in: who they are is looked at elsewhere.

use super::EventLoop;
use crate::access::{Caller, Login, Refusal, Welcome};
use crate::net::mailbox::Mail;
use crate::net::shared::NameFrom;
use crate::net::socket::{Socket, State, Waiting};
use mogi_core::{Admitted, LogKind, Question, handshake};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl EventLoop {
    /// An admitted client logs in.
    pub(super) fn log_in(
        &mut self,
        now_ms: u64,
        place: u32,
        admitted: Admitted,
        connect_len: usize,
    ) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let rules = self.shared.rules(socket.listener);
        let table = rules.as_ref().map_or(0, |rules| rules.core.rights);
        if rules.as_ref().is_some_and(|it| it.transport.name_from != NameFrom::Connect) {
            // Its certificate says who it is.
            return self.move_to_owner(now_ms, place, admitted, connect_len);
        }
        if handshake::enhanced(&socket.partial[..connect_len]).is_some() {
            return self.begin_exchange(now_ms, place, admitted, connect_len);
        }
        let (serial, worker, shared) = (socket.serial, self.index, Arc::clone(&self.shared));
        let tell = move |login| {
            if let Some(mailbox) = shared.mailboxes.get(usize::from(worker)) {
                mailbox.send(Mail::Verified { place, serial, login: Box::new(login) }, false);
            }
        };
        let address = socket.peer.address().map(|address| address.to_string());
        let caller = Caller {
            table,
            client_id: &admitted.client_id,
            assigned: admitted.assigned,
            packet: &socket.partial[..connect_len],
            mount: rules.as_ref().and_then(|rules| rules.core.mount_point.as_deref()),
            address: address.as_deref().unwrap_or_default(),
        };
        match self.shared.access.login(&caller, tell) {
            Login::Open => self.move_to_owner(now_ms, place, admitted, connect_len),
            login => {
                let waiting = Waiting { admitted, connect_len, refused: None };
                socket.state = State::Waiting(Box::new(waiting));
                if let Login::Refused(refusal) = login {
                    self.verified(now_ms, place, serial, Err(refusal));
                }
            }
        }
    }

    /// A login was looked at.
    pub(super) fn verified(
        &mut self,
        now_ms: u64,
        place: u32,
        serial: u64,
        login: Result<Welcome, Refusal>,
    ) {
        // The connection may be gone by now, and another in its place.
        let Some(socket) = self.waiting(place, serial) else {
            return;
        };
        let refusal = match login {
            Err(refusal) => refusal,
            Ok(welcome) => {
                let state = std::mem::replace(&mut socket.state, State::Handshake);
                // What it sent since then, or its end, is to be read.
                socket.readable = true;
                if let State::Waiting(waiting) = state {
                    self.welcome(now_ms, place, *waiting, welcome);
                }
                return self.list(place);
            }
        };
        self.note_failure(now_ms, place, refusal);
        let delay_ms = self.shared.access.delay_ms();
        let Some(Socket { state: State::Waiting(waiting), partial, .. }) =
            self.sockets.get_mut(place as usize)
        else {
            return;
        };
        let packet = partial.get(..waiting.connect_len).unwrap_or_default();
        waiting.refused = Some(handshake::deny(packet, refusal.code));
        if delay_ms == 0 {
            return self.deny(place);
        }
        self.penalties.push_back((now_ms + delay_ms, place, serial));
    }

    /// Lets a client in with what it was found to be.
    pub(super) fn welcome(&mut self, now_ms: u64, place: u32, waiting: Waiting, welcome: Welcome) {
        let Waiting { mut admitted, mut connect_len, .. } = waiting;
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let Welcome { pass, left_ms, username, client_id } = welcome;
        admitted.pass = pass;
        admitted.pass.until_ms = left_ms.map(|left_ms| now_ms.saturating_add(left_ms));
        if let Some(client_id) = client_id {
            admitted.client_id = client_id;
        }
        if let Some(username) = username {
            connect_len = socket.rename(connect_len, &username);
            let rules = self.shared.rules(socket.listener);
            if rules.is_some_and(|rules| rules.core.use_username_as_clientid) {
                admitted.client_id = username;
            }
        }
        self.move_to_owner(now_ms, place, admitted, connect_len);
    }

    /// Asks what clients may do, where their grants do not know.
    pub(super) fn take_questions(&mut self) {
        for question in std::mem::take(&mut self.worker.effects().questions) {
            let Question { key, generation, token: place, grant, access, topics } = question;
            let (worker, shared) = (usize::from(self.index), Arc::clone(&self.shared));
            let done = move || {
                if let Some(mailbox) = shared.mailboxes.get(worker) {
                    mailbox.send(Mail::Answered { place, key, generation }, false);
                }
            };
            grant.ask(access, topics, Box::new(done));
        }
    }

    /// What a client may do is known: its packet is dealt with.
    pub(super) fn answered(&mut self, now_ms: u64, place: u32, key: u32, generation: u32) {
        if self.worker.answered(now_ms, key, generation)
            && self.sockets.get(place as usize).is_some_and(|socket| socket.key() == Some(key))
        {
            self.resume(now_ms, place);
        }
    }

    /// One line in a form that programs match: the address comes before anything a client says.
    fn note_failure(&mut self, now_ms: u64, place: u32, refusal: Refusal) {
        let Some(Socket { state: State::Waiting(waiting), partial, peer, listener, .. }) =
            self.sockets.get(place as usize)
        else {
            return;
        };
        let address = peer.host();
        let (username, _) = handshake::credentials(partial);
        let user = username.unwrap_or_default().escape_debug();
        let id = waiting.admitted.client_id.escape_debug();
        let port = self.shared.listeners.get(usize::from(*listener)).map_or(0, |it| it.port);
        let log = self.shared.log;
        log.log(
            LogKind::Notice,
            &format!(
                "Login failed from {address} on port {port}: user '{user}', client '{id}': {}.",
                refusal.why
            ),
        );
        self.shared.refused.logins.fetch_add(1, Ordering::Relaxed);
        let banned = peer.address().filter(|it| self.shared.access.bans.failed(now_ms, *it));
        if banned.is_some() {
            let line = format!("Connections from {address} are refused: too many failed logins.");
            log.log(LogKind::Warning, &line);
        }
    }

    /// Tells those whose time has come that their login failed.
    pub(super) fn check_penalties(&mut self, now_ms: u64) {
        while let Some(&(at_ms, place, serial)) = self.penalties.front() {
            if at_ms > now_ms {
                return;
            }
            self.penalties.pop_front();
            if self.waiting(place, serial).is_some() {
                self.deny(place);
            }
        }
    }

    fn deny(&mut self, place: u32) {
        let Some(Socket { state: State::Waiting(waiting), .. }) =
            self.sockets.get_mut(place as usize)
        else {
            return;
        };
        let refused = waiting.refused.take().unwrap_or_default();
        let client_id = std::mem::take(&mut waiting.admitted.client_id);
        self.refuse(place, Some(&client_id), &refused);
    }

    fn waiting(&mut self, place: u32, serial: u64) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(place as usize)?;
        let waits = matches!(socket.state, State::Waiting(_)) && socket.serial == serial;
        waits.then_some(socket)
    }
}
