//! A TLS session by OpenSSL with a shared key, without its socket.

use crate::Failure;
use crate::pipe::Pipe;
use crate::psk::{PskKeys, PskProblem, PskRules};
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    Error, ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef,
    SslSessionCacheMode, SslStream, SslVersion,
};
use std::ffi::CString;
use std::sync::OnceLock;

/// What the log says went wrong.
const REASON: &str = "TLS error";
/// Bytes before a record: its type, version and length. (RFC 5246 6.2.1)
const HEADER: usize = 5;
/// Bytes a record has behind its header, at most. (RFC 5246 6.2.3)
const MAX_RECORD: usize = (16 << 10) + 2048;
/// The types of records there are. (RFC 5246 6.2.1, RFC 6520)
const TYPES: std::ops::RangeInclusive<u8> = 20..=24;

/// What all sessions of a listener are made of.
#[derive(Clone)]
pub struct PskConfig {
    context: SslContext,
    /// Where a session keeps whose key its client has.
    identity: Index<Ssl, String>,
}

impl std::fmt::Debug for PskConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PskConfig").finish_non_exhaustive()
    }
}

impl PskConfig {
    pub(crate) fn new(keys: PskKeys, rules: &PskRules) -> Result<Self, PskProblem> {
        let other = |error: ErrorStack| PskProblem::Other(error.to_string());
        let mut builder = SslContextBuilder::new(SslMethod::tls_server()).map_err(other)?;
        let lowest = if rules.only_tls13 { SslVersion::TLS1_3 } else { SslVersion::TLS1_2 };
        builder.set_min_proto_version(Some(lowest)).map_err(other)?;
        builder.set_mode(SslMode::RELEASE_BUFFERS);
        // A resumed session would not look at the keys again.
        builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_num_tickets(0).map_err(other)?;
        let hint = CString::new(rules.hint.as_str());
        let hint = hint.map_err(|error| PskProblem::Hint(error.to_string()))?;
        let set = mogi_psk_hint::set(&mut builder, &hint);
        set.map_err(|error| PskProblem::Hint(error.to_string()))?;
        if let Some(list) = &rules.ciphers {
            let set = builder.set_cipher_list(list);
            set.map_err(|error| PskProblem::Ciphers(error.to_string()))?;
        }
        if let Some(list) = &rules.ciphers_tls13 {
            let set = builder.set_ciphersuites(list);
            set.map_err(|error| PskProblem::CiphersTls13(error.to_string()))?;
        }
        let index = identity_index().map_err(other)?;
        builder.set_psk_server_callback(move |ssl, identity, room| {
            Ok(find(&keys, index, ssl, identity, room))
        });
        Ok(Self { context: builder.build(), identity: index })
    }
}

/// Where sessions keep whose key their client has: one place, however often files are read.
fn identity_index() -> Result<Index<Ssl, String>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, String>> = OnceLock::new();
    match INDEX.get() {
        Some(index) => Ok(*index),
        None => Ssl::new_ex_index().map(|index| *INDEX.get_or_init(|| index)),
    }
}

/// Puts the key of an identity into `room`: how many bytes it has; 0: there is none.
fn find(
    keys: &PskKeys,
    index: Index<Ssl, String>,
    ssl: &mut SslRef,
    identity: Option<&[u8]>,
    room: &mut [u8],
) -> usize {
    let identity = identity.and_then(|identity| std::str::from_utf8(identity).ok());
    let Some(identity) = identity else { return 0 };
    let Some((key, room)) =
        keys.get(identity).and_then(|key| Some((key, room.get_mut(..key.len())?)))
    else {
        return 0;
    };
    room.copy_from_slice(key);
    ssl.set_ex_data(index, identity.to_owned());
    key.len()
}

/// A TLS session with a shared key.
pub struct PskTls {
    stream: SslStream<Pipe>,
    identity: Index<Ssl, String>,
    /// The begin of a record.
    kept: Vec<u8>,
    handshaking: bool,
    closed: bool,
    failed: bool,
}

impl std::fmt::Debug for PskTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PskTls").field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl PskTls {
    pub(crate) fn new(config: &PskConfig) -> Result<Self, Failure> {
        let failed = |error: ErrorStack| Failure::new(REASON, error.to_string());
        let ssl = Ssl::new(&config.context).map_err(failed)?;
        let stream = SslStream::new(ssl, Pipe::default()).map_err(failed)?;
        let identity = config.identity;
        Ok(Self {
            stream,
            identity,
            kept: Vec::new(),
            handshaking: true,
            closed: false,
            failed: false,
        })
    }

    pub(crate) const fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn identity(&self) -> Option<&str> {
        let found = (!self.handshaking).then(|| self.stream.ssl().ex_data(self.identity))?;
        found.map(String::as_str)
    }

    pub(crate) fn agreed(&self) -> Option<String> {
        let ssl = self.stream.ssl();
        let cipher = ssl.current_cipher().filter(|_| !self.handshaking)?;
        Some(format!("{} cipher {}", ssl.version_str(), cipher.name()))
    }

    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    pub(crate) fn open(
        &mut self,
        raw: &mut [u8],
        plain: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, Failure> {
        // Only whole records, so that what comes out is never more than what has come in.
        let whole = whole_records(raw);
        self.kept = raw[whole..].to_vec();
        let pipe = self.stream.get_mut();
        pipe.input.extend_from_slice(&raw[..whole]);
        let result = self.advance(plain);
        let pipe = self.stream.get_mut();
        out.append(&mut pipe.output);
        // An idle connection holds no buffer.
        (pipe.input, pipe.output, pipe.read) = (Vec::new(), Vec::new(), 0);
        self.failed |= result.is_err();
        result
    }

    fn advance(&mut self, plain: &mut [u8]) -> Result<usize, Failure> {
        if self.handshaking {
            match self.stream.accept() {
                Ok(()) => self.handshaking = false,
                Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(0),
                Err(error) => return Err(failure(&error)),
            }
        }
        let mut filled = 0;
        loop {
            let room = &mut plain[filled..];
            if room.is_empty() {
                return Ok(filled);
            }
            match self.stream.ssl_read(room) {
                Ok(read) => filled += read,
                Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(filled),
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                    self.closed = true;
                    return Ok(filled);
                }
                Err(error) => return Err(failure(&error)),
            }
        }
    }

    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        if self.failed || self.handshaking {
            return Err(Failure::new(REASON, "TLS: the session is over."));
        }
        let mut rest = plain;
        while !rest.is_empty() {
            match self.stream.ssl_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) => {
                    self.failed = true;
                    return Err(failure(&error));
                }
            }
        }
        out.append(&mut self.stream.get_mut().output);
        self.stream.get_mut().output = Vec::new();
        Ok(())
    }

    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        if !self.failed && !self.handshaking {
            // A session that is over already needs no end.
            let _ = self.stream.shutdown();
            out.append(&mut self.stream.get_mut().output);
        }
    }
}

/// How many of the bytes are whole records. What is none is shown to OpenSSL, which says so.
fn whole_records(raw: &[u8]) -> usize {
    let mut at = 0;
    while let Some(header) = raw.get(at..at + HEADER) {
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if !TYPES.contains(&header[0]) || len > MAX_RECORD {
            return raw.len();
        }
        if raw.len() < at + HEADER + len {
            break;
        }
        at += HEADER + len;
    }
    at
}

fn failure(error: &Error) -> Failure {
    let reasons = error.ssl_error().map(ErrorStack::errors).unwrap_or_default();
    let reason = reasons.last().and_then(openssl::error::Error::reason);
    let what = match reason {
        // The key differs: what the client has sealed with it cannot be opened.
        Some(
            "decryption failed or bad record mac"
            | "digest check failed"
            | "binder does not verify",
        ) => "the client has another key than the psk_file".to_owned(),
        Some("psk identity not found") => "the psk_file has no such identity".to_owned(),
        Some("no suitable signature algorithm" | "no shared cipher") => {
            "the client shows no key of the psk_file, or has no cipher in common".to_owned()
        }
        Some(other) => other.to_owned(),
        None => error.to_string(),
    };
    Failure::new(REASON, format!("TLS: {what}."))
}
