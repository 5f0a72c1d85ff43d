//! Sockets within TLS, WebSocket, or both.

use super::dial::{Address, DialOptions, Stream};
use super::secure::{self, Psk, TlsOptions};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// Bytes a socket is read for at once.
const READ_BYTES: usize = 32 * 1024;
/// Bytes that are framed and sealed together.
const WRITE_BYTES: usize = 32 * 1024;

/// A socket within something.
pub struct Wrapped {
    socket: Stream,
    tls: Option<Session>,
    websocket: Option<WebSocket<Pipe>>,
    /// Received and not read.
    received: Vec<u8>,
    /// To be sent.
    out: Vec<u8>,
    /// The server sends no more.
    ended: bool,
    /// We have said goodbye: what comes now is not looked at. Some servers end in ways no TLS
    /// session should see then.
    closed: bool,
}

/// A TLS session.
enum Session {
    Certificate(Box<ClientConnection>),
    #[cfg(feature = "openssl")]
    Psk(super::psk::PskSession),
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// What a WebSocket reads from and writes to.
#[derive(Default)]
struct Pipe {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Wrapped {
    /// Has a socket that blocks speak TLS and WebSocket, as far as that is wanted.
    ///
    /// # Errors
    /// The server does not, or is not trusted.
    pub(super) fn new(socket: Stream, address: &Address, how: &DialOptions) -> io::Result<Self> {
        let host = match address {
            Address::Tcp { host, .. } => host.clone(),
            Address::Unix(_) => "localhost".to_owned(),
        };
        let mut this = Self {
            socket,
            tls: None,
            websocket: None,
            received: Vec::new(),
            out: Vec::new(),
            ended: false,
            closed: false,
        };
        if let Some(tls) = &how.tls {
            this.tls = Some(Session::new(tls, &host, &mut this.socket)?);
        }
        if !how.websocket {
            return Ok(this);
        }
        let scheme = if how.tls.is_some() { "wss" } else { "ws" };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let url = format!("{scheme}://{host}/mqtt");
        let mut request = url.into_client_request().map_err(io::Error::other)?;
        let protocol = HeaderValue::from_static("mqtt"); // [MQTT-6.0.0-3]
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (websocket, _) = tungstenite::client(request, Blocking(this))
            .map_err(|error| io::Error::other(error.to_string()))?;
        // The server says nothing before it is spoken to, so nothing is left in there.
        let Blocking(mut this) = websocket.into_inner();
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let websocket = WebSocket::from_raw_socket(Pipe::default(), Role::Client, Some(config));
        this.websocket = Some(websocket);
        Ok(this)
    }

    pub(super) const fn socket(&self) -> &Stream {
        &self.socket
    }

    /// Whether something that was taken is not sent yet.
    pub(super) const fn is_pending(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether there is something to read that the socket knows nothing of.
    pub(super) const fn is_buffered(&self) -> bool {
        !self.received.is_empty()
    }

    /// Says goodbye within the layers.
    pub(super) fn close(&mut self) {
        if let Some(websocket) = &mut self.websocket {
            // Where that fails the conversation is over already.
            let _ = websocket.close(None);
        }
        let _ = self.seal(&[]);
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.out);
        }
        let _ = self.flush();
        self.closed = true;
    }

    /// Appends to what is to be sent: what the WebSocket has, then `bytes`, through TLS.
    fn seal(&mut self, bytes: &[u8]) -> io::Result<()> {
        let framed = self.websocket.as_mut().map(|it| std::mem::take(&mut it.get_mut().output));
        let Some(tls) = &mut self.tls else {
            self.out.extend(framed.unwrap_or_default());
            self.out.extend_from_slice(bytes);
            return Ok(());
        };
        tls.seal(&framed.unwrap_or_default(), &mut self.out)?;
        tls.seal(bytes, &mut self.out)
    }

    /// Reads the socket once.
    fn fill(&mut self) -> io::Result<()> {
        let mut raw = [0; READ_BYTES];
        let len = self.socket.read(&mut raw)?;
        self.ended |= len == 0;
        if self.closed {
            return Ok(());
        }
        let mut plain = Vec::new();
        match &mut self.tls {
            None => plain.extend_from_slice(&raw[..len]),
            Some(tls) => self.ended |= tls.open(&raw[..len], &mut plain)?,
        }
        match &mut self.websocket {
            None => self.received.extend(plain),
            Some(websocket) => {
                websocket.get_mut().input.extend(plain);
                loop {
                    match websocket.read() {
                        Ok(Message::Binary(bytes)) => self.received.extend(bytes),
                        Ok(_) => {}
                        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                            self.ended = true;
                            break;
                        }
                        Err(error) => return Err(io::Error::other(error)),
                    }
                }
            }
        }
        // Pongs, new keys.
        self.seal(&[])?;
        self.flush()
    }
}

impl Session {
    /// Does the handshake over a socket that blocks.
    fn new(options: &TlsOptions, host: &str, socket: &mut Stream) -> io::Result<Self> {
        if let Some(psk) = &options.psk {
            return Self::with_key(psk, options, socket);
        }
        let config = Arc::new(secure::client_config(options)?);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        session.set_buffer_limit(None);
        while session.is_handshaking() {
            session.complete_io(socket)?;
        }
        Ok(Self::Certificate(Box::new(session)))
    }

    #[cfg(feature = "openssl")]
    fn with_key(psk: &Psk, options: &TlsOptions, socket: &mut Stream) -> io::Result<Self> {
        let mut session = super::psk::PskSession::new(psk, options)?;
        loop {
            while session.wants_write() {
                session.write_tls(socket)?;
            }
            if !session.is_handshaking() {
                return Ok(Self::Psk(session));
            }
            if session.read_tls(socket)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            session.process()?;
        }
    }

    #[cfg(not(feature = "openssl"))]
    fn with_key(_: &Psk, _: &TlsOptions, _: &mut Stream) -> io::Result<Self> {
        Err(io::Error::other("TLS with shared keys needs the feature 'openssl'"))
    }

    /// Appends records that carry the bytes, and what the session itself has to say.
    fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Certificate(tls) => {
                tls.writer().write_all(bytes)?;
                while tls.wants_write() {
                    tls.write_tls(out)?;
                }
                Ok(())
            }
            #[cfg(feature = "openssl")]
            Self::Psk(psk) => {
                psk.write_all(bytes)?;
                while psk.wants_write() {
                    psk.write_tls(out)?;
                }
                Ok(())
            }
        }
    }

    /// Opens what was received, and appends it to `plain`; whether the server sends no more.
    fn open(&mut self, raw: &[u8], plain: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Self::Certificate(tls) => {
                let (mut rest, mut ended) = (raw, false);
                while !rest.is_empty() {
                    tls.read_tls(&mut rest)?;
                    let state = tls.process_new_packets().map_err(io::Error::other)?;
                    ended |= state.peer_has_closed();
                    let start = plain.len();
                    plain.resize(start + state.plaintext_bytes_to_read(), 0);
                    tls.reader().read_exact(&mut plain[start..])?;
                }
                Ok(ended)
            }
            #[cfg(feature = "openssl")]
            Self::Psk(psk) => {
                let mut rest = raw;
                while !rest.is_empty() {
                    psk.read_tls(&mut rest)?;
                }
                let before = plain.len();
                match psk.read_to_end(plain) {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                    // What came before counts.
                    Err(_) if plain.len() > before => Ok(true),
                    Err(error) => Err(error),
                }
            }
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Certificate(tls) => {
                tls.send_close_notify();
                // Where that fails the conversation is over already.
                let _ = tls.write_tls(out);
            }
            #[cfg(feature = "openssl")]
            Self::Psk(psk) => {
                psk.send_close_notify();
                let _ = psk.write_tls(out);
            }
        }
    }
}

impl Read for Wrapped {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.received.is_empty() && !self.ended {
            let filled = self.fill();
            // After what breaks the rules nothing that comes is worth reading.
            self.ended |= filled.as_ref().is_err_and(|error| error.kind() != ErrorKind::WouldBlock);
            // What the server said before it closed, such as why, comes before the error.
            if self.received.is_empty() {
                filled?;
            }
        }
        if self.received.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = self.received.len().min(buf.len());
        buf[..len].copy_from_slice(&self.received[..len]);
        self.received.drain(..len);
        Ok(len)
    }
}

impl Write for Wrapped {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if self.is_pending() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let buf = &buf[..buf.len().min(WRITE_BYTES)];
        if let Some(websocket) = &mut self.websocket {
            let message = Message::Binary(buf.to_vec().into());
            websocket.send(message).map_err(io::Error::other)?;
            self.seal(&[])?;
        } else {
            self.seal(buf)?;
        }
        self.flush()?;
        Ok(buf.len())
    }

    /// Sends what the socket takes.
    fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            if sent == self.out.len() {
                break Ok(());
            }
            match self.socket.write(&self.out[sent..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.out.drain(..sent);
        result
    }
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = self.input.len().min(buf.len());
        buf[..len].copy_from_slice(&self.input[..len]);
        self.input.drain(..len);
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that blocks, for the handshake: that there was nothing to read in what came is no
/// reason to stop, that nothing came in time is one.
struct Blocking(Wrapped);

impl Read for Blocking {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.0.received.is_empty() && !self.0.ended {
            self.0.fill()?;
        }
        self.0.read(buf)
    }
}

impl Write for Blocking {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
