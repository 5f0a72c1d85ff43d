//! TLS of a client with a key that the server knows too, by OpenSSL.

use super::secure::{Psk, TlsOptions};
use mogi_transport::pipe::Pipe;
use openssl::error::ErrorStack;
use openssl::ssl::{Error, ErrorCode, Ssl, SslContextBuilder, SslMethod, SslStream, SslVersion};
use std::io::{self, ErrorKind, Read, Write};

/// Bytes a socket is read for at once.
const READ_BYTES: usize = 32 * 1024;

/// A session, without its socket. Its errors are of the kind `InvalidData`.
pub struct PskSession {
    stream: SslStream<Pipe>,
    handshaking: bool,
    /// The socket has ended.
    ended: bool,
}

impl std::fmt::Debug for PskSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PskSession").field("handshaking", &self.handshaking).finish_non_exhaustive()
    }
}

impl PskSession {
    /// A session that has not begun.
    ///
    /// # Errors
    /// The options are of no use.
    pub fn new(psk: &Psk, options: &TlsOptions) -> io::Result<Self> {
        let stream = SslStream::new(ssl(psk, options)?, Pipe::default())?;
        let mut this = Self { stream, handshaking: true, ended: false };
        this.process()?;
        Ok(this)
    }

    /// Whether the handshake is not over.
    #[must_use]
    pub const fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    /// Whether there is something for the socket.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.stream.get_ref().output.is_empty()
    }

    /// Writes some of what there is for the socket; how many bytes.
    ///
    /// # Errors
    /// The socket's.
    pub fn write_tls(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        let output = &mut self.stream.get_mut().output;
        let written = socket.write(output)?;
        output.drain(..written);
        Ok(written)
    }

    /// Reads the socket once; how many bytes, 0: it has ended.
    ///
    /// # Errors
    /// The socket's.
    pub fn read_tls(&mut self, socket: &mut impl Read) -> io::Result<usize> {
        let mut raw = [0; READ_BYTES];
        let len = socket.read(&mut raw)?;
        let pipe = self.stream.get_mut();
        pipe.input.drain(..pipe.read);
        pipe.read = 0;
        pipe.input.extend_from_slice(&raw[..len]);
        self.ended |= len == 0;
        Ok(len)
    }

    /// Goes on with the handshake, if it is not over.
    ///
    /// # Errors
    /// The server does not take the key, or breaks the rules.
    pub fn process(&mut self) -> io::Result<()> {
        if !self.handshaking {
            return Ok(());
        }
        match self.stream.connect() {
            Ok(()) => self.handshaking = false,
            Err(error) if error.code() == ErrorCode::WANT_READ => {}
            Err(error) => return Err(told(error)),
        }
        Ok(())
    }

    /// Says that no more is sent.
    pub fn send_close_notify(&mut self) {
        if !self.handshaking {
            // A session that is over already needs no end.
            let _ = self.stream.shutdown();
        }
    }
}

/// What the server has sent, opened; 0 bytes: it sends no more.
impl Read for PskSession {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stream.ssl_read(buffer) {
            Ok(len) => Ok(len),
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => Ok(0),
            Err(error) if error.code() == ErrorCode::WANT_READ => match self.ended {
                true => Ok(0),
                false => Err(ErrorKind::WouldBlock.into()),
            },
            Err(error) => Err(told(error)),
        }
    }
}

/// What is to be sealed.
impl Write for PskSession {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.stream.ssl_write(bytes).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ssl(psk: &Psk, options: &TlsOptions) -> io::Result<Ssl> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_client())?;
    let lowest = if options.only_tls13 { SslVersion::TLS1_3 } else { SslVersion::TLS1_2 };
    builder.set_min_proto_version(Some(lowest))?;
    if let Some(list) = &options.ciphers {
        let none = |_| io::Error::other(format!("--ciphers: OpenSSL has none of '{list}'"));
        builder.set_cipher_list(list).map_err(none)?;
    }
    if let Some(list) = &options.ciphers_tls13 {
        let none = |_| io::Error::other(format!("ciphers of TLS 1.3: none of '{list}' is there"));
        builder.set_ciphersuites(list).map_err(none)?;
    }
    let psk = psk.clone();
    builder.set_psk_client_callback(move |_, _, identity, key| {
        let name = psk.identity.as_bytes();
        // A zero ends the name.
        if let (Some(room), Some(key)) =
            (identity.get_mut(..=name.len()), key.get_mut(..psk.key.len()))
        {
            room[..name.len()].copy_from_slice(name);
            room[name.len()] = 0;
            key.copy_from_slice(&psk.key);
            return Ok(psk.key.len());
        }
        Ok(0)
    });
    Ok(Ssl::new(&builder.build())?)
}

fn told(error: Error) -> io::Error {
    let reasons = error.ssl_error().map(ErrorStack::errors).unwrap_or_default();
    let reason = reasons.last().and_then(openssl::error::Error::reason);
    let what = match reason {
        Some(reason) => format!("TLS with a shared key: {reason}"),
        None => format!("TLS with a shared key: {error}"),
    };
    io::Error::new(ErrorKind::InvalidData, what)
}
