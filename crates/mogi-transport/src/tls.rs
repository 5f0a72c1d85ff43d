//! A TLS session of a server, without its socket.

use crate::Failure;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use std::sync::Arc;

/// Bytes a client may send that are no complete record, or no complete message of the handshake:
/// as many as a handshake message may have.
pub const MAX_KEPT_BYTES: usize = 65_536;
/// Bytes one call of [`Tls::seal`] takes.
pub const MAX_SEAL_BYTES: usize = 32 * 1024;
/// Bytes a TLS record has besides what it carries, at most. (RFC 5246 6.2.3, RFC 8446 5.2)
const RECORD_OVERHEAD: usize = 256;
/// Bytes a record carries at most.
const RECORD_BYTES: usize = 16 * 1024;

/// What the log says went wrong.
const REASON: &str = "TLS error";

/// A TLS session.
pub struct Tls {
    session: UnbufferedServerConnection,
    /// What the session has seen and could not deal with yet. It is shown them at every call: it
    /// remembers positions in there.
    kept: Vec<u8>,
    /// The client has said that it sends no more.
    closed: bool,
    /// The session has failed; it is not asked for anything any more.
    failed: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl Tls {
    /// A session that waits for its client's first message.
    ///
    /// # Errors
    /// The configuration does not do for a session.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, Failure> {
        let session = UnbufferedServerConnection::new(config);
        let session = session.map_err(|error| Failure::new(REASON, error.to_string()))?;
        Ok(Self { session, kept: Vec::new(), closed: false, failed: false })
    }

    /// Whether the handshake is not over.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Whether the client has said that it sends no more.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The client's certificate, once the handshake is over.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.session.peer_certificates()?.first()
    }

    /// What was agreed on, as in `TLSv1.3 cipher TLS_AES_256_GCM_SHA384`.
    #[must_use]
    pub fn agreed(&self) -> Option<String> {
        let version = match self.session.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => return None,
        };
        let suite = self.session.negotiated_cipher_suite()?.suite();
        let name = suite.as_str().unwrap_or("unknown").replace("TLS13_", "TLS_");
        Some(format!("{version} cipher {name}"))
    }

    /// Bytes that [`Self::open`] wants before those received next.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Opens received records, [`Self::kept`] before them, into `plain`, which has room for as much
    /// as `raw` has: how many bytes there are. What has to be sent in answer is appended to `out`.
    ///
    /// # Errors
    /// The client breaks the rules, or is refused; the alert that tells it so is in `out`.
    pub fn open(
        &mut self,
        raw: &mut [u8],
        plain: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, Failure> {
        let (mut consumed, mut filled) = (0, 0);
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.session.process_tls_records(&mut raw[consumed..]);
            let mut more = true;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|e| Failure::new(REASON, e.to_string()))?;
                        discard += record.discard;
                        let end = filled + record.payload.len();
                        let Some(room) = plain.get_mut(filled..end) else {
                            self.failed = true;
                            return Err(Failure::new(REASON, "TLS: more than was received."));
                        };
                        room.copy_from_slice(record.payload);
                        filled = end;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.closed = true,
                Ok(_) => more = false,
                Err(error) => {
                    self.failed = true;
                    self.alert(&mut raw[consumed + discard..], out);
                    return Err(Failure::new(REASON, format!("TLS: {error}.")));
                }
            }
            consumed += discard;
            if !more {
                break;
            }
        }
        let rest = &raw[consumed..];
        if rest.len() > MAX_KEPT_BYTES {
            self.failed = true;
            return Err(Failure::new(REASON, "TLS: a message of the handshake is too large."));
        }
        // Most of the time there is nothing, and an idle connection holds no buffer.
        self.kept = rest.to_vec();
        Ok(filled)
    }

    /// After a failure: what tells the client. The session is asked once: it hands out what it has
    /// to say first, and would look at the client's bytes again if asked further.
    fn alert(&mut self, rest: &mut [u8], out: &mut Vec<u8>) {
        let state = self.session.process_tls_records(rest).state;
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = state {
            // Without the alert the client sees only that the connection ends.
            let _ = encode(&mut data, out);
        }
    }

    /// Appends records that carry `plain`, of at most [`MAX_SEAL_BYTES`] bytes.
    ///
    /// # Errors
    /// The session is over.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        self.write(out, plain.len(), |traffic, room| traffic.encrypt(plain, room))
    }

    /// Appends the record that says that no more is sent.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if !self.failed && !self.session.is_handshaking() {
            // A session that is over already needs no end.
            let _ = self.write(out, 0, |traffic, room| traffic.queue_close_notify(room));
        }
    }

    fn write(
        &mut self,
        out: &mut Vec<u8>,
        len: usize,
        mut put: impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Failure> {
        if self.failed {
            return Err(Failure::new(REASON, "TLS: the session is over."));
        }
        let mut consumed = 0;
        let result = loop {
            let status = self.session.process_tls_records(&mut self.kept[consumed..]);
            consumed += status.discard;
            match status.state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.closed = true,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let start = out.len();
                    let records = len / RECORD_BYTES + 1;
                    out.resize(start + len + records * RECORD_OVERHEAD, 0);
                    let result = put(&mut traffic, &mut out[start..]);
                    out.truncate(start + result.as_ref().map_or(0, |written| *written));
                    break result.map(drop).map_err(|e| Failure::new(REASON, e.to_string()));
                }
                Ok(_) => break Err(Failure::new(REASON, "TLS: the session is over.")),
                Err(error) => break Err(Failure::new(REASON, format!("TLS: {error}."))),
            }
        };
        self.failed = result.is_err();
        self.kept.drain(..consumed);
        result
    }
}

type Traffic<'a> = rustls::unbuffered::WriteTraffic<'a, rustls::server::ServerConnectionData>;
type Encode<'a> = rustls::unbuffered::EncodeTlsData<'a, rustls::server::ServerConnectionData>;

/// Appends a message of the session's own.
fn encode(data: &mut Encode<'_>, out: &mut Vec<u8>) -> Result<(), Failure> {
    let start = out.len();
    let mut room = 1024;
    loop {
        out.resize(start + room, 0);
        match data.encode(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) if needed.required_size > room => {
                room = needed.required_size;
            }
            Err(error) => {
                out.truncate(start);
                return Err(Failure::new(REASON, error.to_string()));
            }
        }
    }
}
