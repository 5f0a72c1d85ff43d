//! TLS of a client with a key that the server knows too, by OpenSSL.

use super::secure::{Psk, TlsOptions};
use openssl::ssl::{Error, ErrorCode, Ssl, SslContextBuilder, SslMethod, SslStream, SslVersion};
use std::io::{self, ErrorKind, Read, Write};

/// Bytes a socket is read for at once.
const READ_BYTES: usize = 32 * 1024;

/// A session, without its socket.
pub(super) struct PskSession(SslStream<Pipe>);

/// What the session reads and writes instead of a socket.
#[derive(Debug, Default)]
struct Pipe {
    input: Vec<u8>,
    read: usize,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.input[self.read..];
        if rest.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.read += len;
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PskSession {
    /// Does the handshake over a socket that blocks.
    ///
    /// # Errors
    /// The options are of no use, or the server does not take the key.
    pub(super) fn connect(
        psk: &Psk,
        options: &TlsOptions,
        socket: &mut (impl Read + Write),
    ) -> io::Result<Self> {
        let mut session = Self(SslStream::new(ssl(psk, options)?, Pipe::default())?);
        loop {
            let result = session.0.connect();
            let mut out = Vec::new();
            session.take_output(&mut out);
            socket.write_all(&out)?;
            match result {
                Ok(()) => return Ok(session),
                Err(error) if error.code() == ErrorCode::WANT_READ => {}
                Err(error) => return Err(told(error)),
            }
            let mut raw = [0; READ_BYTES];
            let len = socket.read(&mut raw)?;
            if len == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            session.0.get_mut().input.extend_from_slice(&raw[..len]);
        }
    }

    /// Appends records that carry the bytes.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = self.0.ssl_write(rest).map_err(told)?;
            rest = &rest[written..];
        }
        self.take_output(out);
        Ok(())
    }

    /// Opens what was received, and appends it to `plain`; whether the server sends no more.
    ///
    /// # Errors
    /// The server breaks the rules.
    pub(super) fn open(&mut self, raw: &[u8], plain: &mut Vec<u8>) -> io::Result<bool> {
        let pipe = self.0.get_mut();
        pipe.input.drain(..pipe.read);
        pipe.read = 0;
        pipe.input.extend_from_slice(raw);
        let mut room = [0; READ_BYTES];
        loop {
            match self.0.ssl_read(&mut room) {
                Ok(len) => plain.extend_from_slice(&room[..len]),
                Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(false),
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => return Ok(true),
                Err(error) => return Err(told(error)),
            }
        }
    }

    /// Appends the record that says that no more is sent.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        // A session that is over already needs no end.
        let _ = self.0.shutdown();
        self.take_output(out);
    }

    fn take_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.0.get_mut().output);
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
    error.into_io_error().unwrap_or_else(io::Error::other)
}
