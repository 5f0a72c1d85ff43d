//! Clients that show who they are by AUTH packets (section 4.12): SCRAM-SHA-256.

use super::EventLoop;
use crate::access::{Refusal, Welcome};
use crate::net::socket::{Exchanging, State, Waiting};
use mogi_auth::scram::{Exchange, METHOD};
use mogi_codec::{Auth, Header, PacketKind, PropertyBuf, PropertyId, Reason, Version};
use mogi_core::output::Output;
use mogi_core::{Admitted, AuthAnswer, AuthStep, Enhanced, Pass, handshake};

/// Bytes an AUTH packet may have before its client is known.
const MAX_AUTH_BYTES: usize = 8192;

impl EventLoop {
    /// Answers the first message of an exchange, which is in the CONNECT packet.
    pub(super) fn begin_exchange(
        &mut self,
        now_ms: u64,
        place: u32,
        admitted: Admitted,
        connect_len: usize,
    ) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let packet = &socket.partial[..connect_len];
        let (username, _) = handshake::credentials(packet);
        let data = handshake::enhanced(packet).map_or(&[][..], |(_, data)| data);
        let table = self.shared.rules(socket.listener).map_or(0, |rules| rules.core.rights);
        let begun =
            self.shared.access.scram_begin(table, data).and_then(
                |(exchange, answer)| match username.is_none_or(|name| name == exchange.username()) {
                    true => Ok((exchange, answer)),
                    false => Err(Refusal::of("the user name of CONNECT is another one")),
                },
            );
        let (exchange, answer) = match begun {
            Ok(begun) => begun,
            Err(refusal) => return self.fail(now_ms, place, admitted, connect_len, refusal),
        };
        let mut output = Output::default();
        output.append(&auth(Reason::ContinueAuthentication, &answer));
        socket.state = State::Exchanging(Box::new(Exchanging { admitted, connect_len, exchange }));
        match socket.write(&mut output, &mut self.scratch) {
            Ok((_, false)) if output.is_empty() => {}
            // A socket that takes not even this is not worth waiting for.
            _ => return self.refuse_silently(place, "connection closed by client"),
        }
        if socket.partial.len() > connect_len {
            self.step_exchange(now_ms, place);
        }
    }

    /// Takes the client's next message, if it is there.
    pub(super) fn step_exchange(&mut self, now_ms: u64, place: u32) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let State::Exchanging(exchanging) = &socket.state else {
            return;
        };
        let connect_len = exchanging.connect_len;
        let message = match next_auth(&socket.partial[connect_len..]) {
            Ok(None) => return,
            Ok(Some(message)) => Ok(message),
            Err(why) => Err(Refusal { why, code: Reason::ProtocolError }),
        };
        let state = std::mem::replace(&mut socket.state, State::Handshake);
        let State::Exchanging(exchanging) = state else {
            return;
        };
        let Exchanging { admitted, exchange, .. } = *exchanging;
        let proven = message.and_then(|(len, data)| {
            let proven = exchange.finish(&data).map_err(Refusal::of)?;
            Ok((len, proven))
        });
        match proven {
            Err(refusal) => self.fail(now_ms, place, admitted, connect_len, refusal),
            Ok((len, proven)) => {
                socket.partial.drain(connect_len..connect_len + len);
                let enhanced = Enhanced { method: METHOD.into(), data: proven.last };
                let enhanced = Some(Box::new(enhanced));
                let pass = Pass { login: proven.tag, enhanced, ..Pass::default() };
                let username = Some(proven.username);
                let waiting = Waiting { admitted, connect_len, refused: None };
                let welcome = Welcome { pass, username, ..Welcome::default() };
                self.welcome(now_ms, place, waiting, welcome);
            }
        }
    }

    /// Takes steps of connected clients that authenticate anew.
    pub(super) fn take_steps(&mut self, now_ms: u64) {
        for step in std::mem::take(&mut self.worker.effects().steps) {
            let answer = self.answer_step(&step).unwrap_or(AuthAnswer::Refused);
            self.worker.authenticated(now_ms, &step, answer);
        }
    }

    fn answer_step(&mut self, step: &AuthStep) -> Option<AuthAnswer> {
        let socket = self.sockets.get_mut(step.token as usize)?;
        if step.begins {
            let table = self.shared.rules(socket.listener)?.core.rights;
            let begun = self.shared.access.scram_begin(table, &step.data);
            let (exchange, answer) = begun.ok()?;
            // It stays who it is: its session and its rights are that user's.
            if step.username.as_deref() != Some(exchange.username()) {
                return None;
            }
            socket.exchange = Some(Box::new(exchange));
            return Some(AuthAnswer::Continue(answer));
        }
        let exchange: Exchange = *socket.exchange.take()?;
        let proven = exchange.finish(&step.data).ok()?;
        Some(AuthAnswer::Done { login: proven.tag, data: proven.last })
    }

    fn fail(
        &mut self,
        now_ms: u64,
        place: u32,
        admitted: Admitted,
        connect_len: usize,
        refusal: Refusal,
    ) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let waiting = Waiting { admitted, connect_len, refused: None };
        socket.state = State::Waiting(Box::new(waiting));
        let serial = socket.serial;
        self.verified(now_ms, place, serial, Err(refusal));
    }
}

/// The AUTH packet at the begin of `bytes`: its length, and what it says.
fn next_auth(bytes: &[u8]) -> Result<Option<(usize, Vec<u8>)>, &'static str> {
    let Some(header) = Header::parse(bytes).map_err(|_| "a malformed packet")? else {
        return Ok(None);
    };
    if header.kind != PacketKind::Auth || header.check_flags(Version::V5).is_err() {
        // [MQTT-4.12.0-2], [MQTT-3.15.1-1]
        return Err("a packet other than AUTH in an exchange");
    }
    if header.packet_len() > MAX_AUTH_BYTES {
        return Err("AUTH is too large");
    }
    let Some(body) = bytes.get(header.header_len..header.packet_len()) else {
        return Ok(None);
    };
    let auth = Auth::decode(Version::V5, body).map_err(|_| "a malformed AUTH")?;
    let method = auth.properties.str(PropertyId::AuthenticationMethod);
    if auth.reason != Reason::ContinueAuthentication || method != Some(METHOD) {
        // [MQTT-4.12.0-3], [MQTT-4.12.0-5]
        return Err("AUTH with another reason or method");
    }
    let data = auth.properties.bytes(PropertyId::AuthenticationData).unwrap_or_default();
    Ok(Some((header.packet_len(), data.to_vec())))
}

fn auth(reason: Reason, data: &[u8]) -> Vec<u8> {
    let mut properties = PropertyBuf::new();
    properties.str(PropertyId::AuthenticationMethod, METHOD);
    properties.bytes(PropertyId::AuthenticationData, data);
    let mut packet = Vec::new();
    Auth { reason, properties: properties.as_properties() }.encode(Version::V5, &mut packet);
    packet
}
