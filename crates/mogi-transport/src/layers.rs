//! All that lies between a socket and MQTT, one on top of the other:
//!
//! ```text
//!   socket ─► PROXY header ─► TLS ─► HTTP request, then WebSocket frames ─► MQTT
//! ```

use crate::Failure;
use crate::frames::{self, Frames};
use crate::proxy::{self, Proxied, ProxyRules};
use crate::session::{Session, Sessions};
use crate::tls::MAX_SEAL_BYTES;
use crate::upgrade::{self, Request, WebSocketRules};
use std::net::IpAddr;
use std::sync::Arc;

/// Which layers a connection has.
#[derive(Clone, Default)]
pub struct LayersPlan {
    /// A PROXY header comes first.
    pub proxy: Option<ProxyRules>,
    /// Then TLS.
    pub tls: Option<Sessions>,
    /// Then WebSocket.
    pub websocket: Option<Arc<WebSocketRules>>,
}

/// The layers of a connection.
#[derive(Debug)]
pub struct Layers {
    proxy: Option<ProxyRules>,
    tls: Option<Session>,
    websocket: Option<WebSocket>,
    /// The beginning of a PROXY header.
    kept: Vec<u8>,
    /// What the PROXY header said.
    proxied: Option<Proxied>,
    /// The client's address as an HTTP proxy says.
    forwarded_for: Option<IpAddr>,
}

#[derive(Debug)]
enum WebSocket {
    /// The request is not complete.
    Head(Arc<WebSocketRules>, Vec<u8>),
    Open(Frames),
    /// It was no WebSocket.
    Answered,
}

/// What came of received bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// MQTT bytes, at the front of the buffer.
    pub filled: usize,
    /// The client sends no more.
    pub closed: bool,
    /// The client asks for a file: its path, and whether it wants only the head of the answer.
    pub file: Option<(String, bool)>,
}

impl Layers {
    /// The layers of a new connection; `None`: there are none.
    ///
    /// # Errors
    /// TLS cannot begin.
    pub fn new(plan: &LayersPlan) -> Result<Option<Self>, Failure> {
        let LayersPlan { proxy, tls, websocket } = plan;
        if proxy.is_none() && tls.is_none() && websocket.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            proxy: *proxy,
            tls: tls.clone().map(Session::new).transpose()?,
            websocket: websocket.clone().map(|rules| WebSocket::Head(rules, Vec::new())),
            kept: Vec::new(),
            proxied: None,
            forwarded_for: None,
        }))
    }

    /// Whether the next bytes may cost far more than others: a TLS handshake's.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(Session::is_handshaking)
    }

    /// Whether there was only a PROXY header, and it is behind us: the rest is MQTT as it comes.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.proxy.is_none() && self.tls.is_none() && self.websocket.is_none()
    }

    /// The TLS session, if there is one.
    #[must_use]
    pub const fn tls(&self) -> Option<&Session> {
        self.tls.as_ref()
    }

    /// What the PROXY header said, once it is there; it is taken once.
    pub const fn take_proxied(&mut self) -> Option<Proxied> {
        self.proxied.take()
    }

    /// The client's address, as a proxy before its WebSocket said; it is taken once.
    pub const fn take_forwarded_for(&mut self) -> Option<IpAddr> {
        self.forwarded_for.take()
    }

    /// Bytes of the socket that come before those received next: to be put in front of them.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        match &self.tls {
            Some(tls) if self.kept.is_empty() => tls.kept(),
            _ => &self.kept,
        }
    }

    /// Takes what the socket has given, [`Self::kept`] before it, and puts the MQTT bytes in it at
    /// the front of `plain`, which has to have as much room and 64 bytes more. What has to be sent
    /// in answer is appended to `out`; `may_answer_ping` is false while earlier answers wait.
    ///
    /// # Errors
    /// The connection is to be closed, when what is in `out` was sent.
    pub fn receive(
        &mut self,
        raw: &mut [u8],
        plain: &mut [u8],
        may_answer_ping: bool,
        out: &mut Vec<u8>,
    ) -> Result<Received, Failure> {
        let mut start = 0;
        if let Some(rules) = self.proxy {
            let Some((len, proxied)) = proxy::parse(rules, raw)? else {
                self.kept = raw.to_vec();
                return Ok(Received::default());
            };
            start = len;
            self.kept = Vec::new();
            self.proxied = Some(proxied);
            self.proxy = None;
        }
        let raw = &mut raw[start..];
        let front = match &self.websocket {
            Some(WebSocket::Open(frames)) => frames.kept(),
            _ => 0,
        };
        let mut received = Received::default();
        let opened = match &mut self.tls {
            Some(tls) => {
                let filled = tls.open(raw, &mut plain[front..], out)?;
                received.closed = tls.is_closed();
                filled
            }
            None => {
                plain[front..front + raw.len()].copy_from_slice(raw);
                raw.len()
            }
        };
        let end = front + opened;
        if self.websocket.is_none() {
            received.filled = opened;
            return Ok(received);
        }
        let mut answers = Vec::new();
        let result = self.receive_frames(plain, end, may_answer_ping, &mut received, &mut answers);
        self.seal(&answers, out)?;
        result.map(|()| received)
    }

    /// The WebSocket's part: `plain[..end]` is what has come for it.
    fn receive_frames(
        &mut self,
        plain: &mut [u8],
        end: usize,
        may_answer_ping: bool,
        received: &mut Received,
        answers: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut end = end;
        if let Some(WebSocket::Head(rules, head)) = &mut self.websocket {
            let before = head.len();
            head.extend_from_slice(&plain[..end]);
            let Some((len, request)) = upgrade::read(rules, head) else {
                return Ok(());
            };
            // What follows the head came with the last bytes, as the head was not complete before.
            let rest = len.saturating_sub(before)..end;
            end = rest.len();
            plain.copy_within(rest, 0);
            self.websocket = Some(match request {
                Request::Upgrade { answer, forwarded_for } => {
                    answers.extend(answer);
                    self.forwarded_for = forwarded_for;
                    WebSocket::Open(Frames::default())
                }
                Request::Get { path, head } => {
                    received.file = Some((path, head));
                    WebSocket::Answered
                }
                Request::Refused { answer, why } => {
                    answers.extend(answer);
                    return Err(Failure::new("WebSocket error", format!("HTTP: {why}.")));
                }
            });
        }
        if let Some(WebSocket::Open(frames)) = &mut self.websocket {
            received.filled = frames.receive(&mut plain[..end], may_answer_ping, answers)?;
            received.closed |= frames.is_closed();
        }
        Ok(())
    }

    /// Whether what is sent is sealed, so that [`Self::seal`] is needed.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.tls.is_some()
    }

    /// Appends what stands before `len` MQTT bytes.
    pub fn put_header(&self, len: usize, to: &mut Vec<u8>) {
        if let Some(WebSocket::Open(_)) = self.websocket {
            frames::put_header(len, to);
        }
    }

    /// Appends bytes to `out` as they go to the socket.
    ///
    /// # Errors
    /// The TLS session is over.
    pub fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let Some(tls) = &mut self.tls else {
            out.extend_from_slice(bytes);
            return Ok(());
        };
        for part in bytes.chunks(MAX_SEAL_BYTES) {
            tls.seal(part, out)?;
        }
        Ok(())
    }

    /// Appends what ends the conversation in good order.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if self.is_handshaking() {
            return;
        }
        if let Some(WebSocket::Open(frames)) = &mut self.websocket {
            let mut last = Vec::new();
            frames.close(&mut last);
            if self.seal(&last, out).is_err() {
                return;
            }
        }
        if let Some(tls) = &mut self.tls {
            tls.close(out);
        }
    }
}

#[cfg(test)]
mod tests;
