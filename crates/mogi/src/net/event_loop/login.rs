//! Clients that wait to be let in: their passwords are checked elsewhere.

use super::EventLoop;
use crate::access::{Login, Refusal};
use crate::net::mailbox::Mail;
use crate::net::shared::NameFrom;
use crate::net::socket::{Socket, State, Waiting};
use mogi_core::{Admitted, LogKind, handshake};
use std::sync::Arc;

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
        if rules.is_some_and(|it| it.transport.name_from != NameFrom::Connect) {
            // Its certificate says who it is.
            return self.move_to_owner(now_ms, place, admitted, connect_len);
        }
        let (serial, worker, shared) = (socket.serial, self.index, Arc::clone(&self.shared));
        let tell = move |login| {
            if let Some(mailbox) = shared.mailboxes.get(usize::from(worker)) {
                mailbox.send(Mail::Verified { place, serial, login }, false);
            }
        };
        let packet = &socket.partial[..connect_len];
        match self.shared.access.login(table, &admitted.client_id, packet, tell) {
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

    /// A password was checked.
    pub(super) fn verified(
        &mut self,
        now_ms: u64,
        place: u32,
        serial: u64,
        login: Result<u64, Refusal>,
    ) {
        // The connection may be gone by now, and another in its place.
        let Some(socket) = self.waiting(place, serial) else {
            return;
        };
        let refusal = match login {
            Err(refusal) => refusal,
            Ok(login) => {
                let state = std::mem::replace(&mut socket.state, State::Handshake);
                // What it sent since then, or its end, is to be read.
                socket.readable = true;
                if let State::Waiting(waiting) = state {
                    let Waiting { mut admitted, connect_len, .. } = *waiting;
                    admitted.login = login;
                    self.move_to_owner(now_ms, place, admitted, connect_len);
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
