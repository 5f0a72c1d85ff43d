//! New connections through their layers: TLS handshakes within a share of the turn, files for
//! browsers, user names out of certificates.

use super::EventLoop;
use crate::net::layered::Layered;
use crate::net::shared::NameFrom;
use crate::net::socket::{Socket, State};
use mogi_codec::{Connack, Connect, Header, Properties, Reason, Version};
use mogi_core::{LogKind, Refused};
use mogi_transport::Session;
use mogi_transport::{Layers, certificate};
use std::time::{Duration, Instant};

/// How long TLS handshakes may take in a turn. What is over waits for the next one, so that those
/// who are connected wait no longer than this, and for the handshake that was begun.
const HANDSHAKE_SHARE: Duration = Duration::from_millis(2);

impl EventLoop {
    /// The layers of a new connection, which may be none; `None`: it cannot be served.
    pub(super) fn layers(&self, listener: u16) -> Option<Option<Box<Layered>>> {
        let rules = self.shared.rules(listener)?;
        let Some(plan) = rules.transport.layers() else {
            return Some(None);
        };
        match Layers::new(&plan) {
            Ok(layers) => Some(layers.map(|layers| Box::new(Layered::new(layers)))),
            Err(failure) => {
                self.shared.log.log(LogKind::Error, &format!("Error: {failure}."));
                None
            }
        }
    }

    /// Says that there is a new connection: at once, or when a proxy has said for whom.
    pub(super) fn log_new(&self, socket: &Socket, accepted: bool) {
        let Some(listener) = self.shared.listeners.get(usize::from(socket.listener)) else {
            return;
        };
        if listener.rules().transport.is_proxied() != accepted {
            self.log_connection(LogKind::Notice, || {
                format!("New connection from {} on port {}.", socket.peer, listener.port)
            });
        }
    }

    /// Goes on with a TLS handshake if there is time for one in this turn.
    pub(super) fn step_handshake(&mut self, now_ms: u64, place: u32) {
        if self.shaken >= HANDSHAKE_SHARE {
            return self.list(place);
        }
        let before = Instant::now();
        self.read_handshake(now_ms, place);
        self.shaken += before.elapsed();
        let Some(socket) = self.sockets.get(place as usize) else {
            return;
        };
        if socket.readable {
            self.list(place);
        }
    }

    /// Acts on what a new connection's layers have found besides MQTT.
    pub(super) fn after_layers(&mut self, place: u32) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if std::mem::take(&mut socket.proxied) {
            let Some(socket) = self.sockets.get(place as usize) else { return };
            self.log_new(socket, false);
        }
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if socket.asked_for.is_none() {
            return;
        }
        let rules = self.shared.rules(socket.listener);
        let folder = rules.as_ref().and_then(|rules| rules.transport.http_dir.as_deref());
        if socket.answer_with_file(folder).is_err() {
            return self.refuse_silently(place, "connection closed by client");
        }
        if socket.readable {
            self.list(place);
        }
    }

    /// Sends a new connection what it was not sent yet.
    pub(super) fn flush_handshake(&mut self, place: u32) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if socket.flush().is_err() {
            return self.refuse_silently(place, "connection closed by client");
        }
        if socket.readable {
            self.list(place);
        }
    }

    /// Turns away a connection that cannot be read.
    pub(super) fn refuse_failed(&mut self, place: u32) {
        let socket = self.sockets.get_mut(place as usize);
        let failure = socket.and_then(|socket| socket.layered.as_mut()?.take_failure());
        let refused = match failure {
            None => Refused { reason: "connection closed by client", ..Refused::default() },
            Some(failure) => {
                let detail = Some(failure.detail);
                Refused { reason: failure.reason, detail, ..Refused::default() }
            }
        };
        self.refuse(place, None, &refused);
    }

    /// Has a connection read whose peer said, before it was moved here, that it sends no more: its
    /// socket says nothing of that.
    pub(super) fn list_closed(&mut self, now_ms: u64, place: u32) {
        let socket = self.sockets.get(place as usize);
        if !socket.is_some_and(|it| it.layered.as_ref().is_some_and(|it| it.is_closed())) {
            return;
        }
        // It is read in this turn; the answer to its CONNECT goes out before.
        self.finish_turn(now_ms);
        if let Some(socket) = self.sockets.get_mut(place as usize) {
            socket.readable = true;
            self.list(place);
        }
    }

    /// Says which version of TLS and which cipher a client has, as Mosquitto does.
    pub(super) fn tell_agreed(&self, place: u32, client_id: &str) {
        if self.worker.config().log_mask & LogKind::Debug as u32 == 0 {
            return;
        }
        let socket = self.sockets.get(place as usize);
        let tls = socket.and_then(|socket| socket.layered.as_ref()?.layers.tls());
        if let Some(agreed) = tls.and_then(Session::agreed) {
            let line = format!("Client {client_id} negotiated {agreed}");
            self.shared.log.log(LogKind::Debug, &line);
        }
    }

    /// Says what is wrong with a client's TLS or WebSocket, if anything is.
    pub(super) fn tell_failure(&mut self, place: u32) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let failure = socket.layered.as_mut().and_then(|layered| layered.take_failure());
        let address = socket.address();
        if let Some(failure) = failure {
            self.log_connection(LogKind::Information, || {
                format!("Protocol error from {address}: {}", failure.detail)
            });
        }
    }

    /// Puts the name in the client's certificate in the place of its user name, where the listener
    /// wants that (`use_identity_as_username`, `use_subject_as_username`); how long the CONNECT at
    /// the begin of what it has sent is now. Whoever has a valid certificate needs no password, so
    /// there is none any more.
    ///
    /// # Errors
    /// There is no name.
    pub(super) fn identify(&mut self, place: u32, len: usize) -> Result<usize, Refused> {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return Ok(len);
        };
        let rules = self.shared.rules(socket.listener);
        let from = rules.map_or(NameFrom::Connect, |rules| rules.transport.name_from);
        if from == NameFrom::Connect || !matches!(socket.state, State::Handshake) {
            return Ok(len);
        }
        let name = certified_name(socket, from);
        let body = Header::parse(&socket.partial).ok().flatten().map_or(0, |it| it.header_len);
        let packet = socket.partial.get(body..len).unwrap_or_default();
        let Ok(connect) = Connect::decode(packet) else {
            // Whoever admits it says what is wrong with it.
            return Ok(len);
        };
        let Some(name) = name else {
            return Err(refuse(connect.version));
        };
        Ok(socket.rename(len, &name))
    }
}

/// The name in the client's certificate or of its key, be it ours or a proxy that has seen it.
fn certified_name(socket: &mut Socket, from: NameFrom) -> Option<String> {
    if let Some(name) = socket.identity.take() {
        return Some(name.into());
    }
    let session = socket.layered.as_ref()?.layers.tls()?;
    if from == NameFrom::Identity {
        return session.identity().filter(|name| !name.is_empty()).map(str::to_owned);
    }
    let certificate = session.certificate()?;
    let names = certificate::names(certificate).ok()?;
    let name = match from {
        NameFrom::Subject => Some(names.subject),
        _ => names.common_name,
    };
    name.filter(|name| !name.is_empty())
}

fn refuse(version: Version) -> Refused {
    let code = Reason::BadUserNameOrPassword;
    let mut answer = Vec::new();
    let byte = if version.is_v5() { code as u8 } else { code.as_v3_connack() };
    Connack { session_present: false, code: byte, properties: Properties::default() }
        .encode(version, &mut answer);
    let detail = Some("the client's certificate has no name to be used as user name.".to_owned());
    Refused { answer, detail, reason: "not authorised" }
}
