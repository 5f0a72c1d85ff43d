//! The socket to the other broker, within TLS where that is wanted.

use super::secure::{Secure, tell};
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ClientConnection;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

/// Bytes that are sealed together.
const SEAL_BYTES: usize = 32 * 1024;

/// A connection to the other broker.
#[derive(Debug)]
pub(super) enum Link {
    Plain(TcpStream),
    Secured(Box<Secured>),
}

/// A socket within TLS. Its errors are of the kind `InvalidData` where it is not the socket's.
pub(super) struct Secured {
    stream: TcpStream,
    session: ClientConnection,
    /// With whom, for what is said of errors.
    secure: Secure,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Secured {
    /// TLS that has not begun, on a socket that is connected.
    ///
    /// # Errors
    /// The configuration does not do for a session.
    pub(super) fn new(stream: TcpStream, secure: Secure) -> io::Result<Self> {
        let session = ClientConnection::new(secure.config.clone(), secure.name.clone());
        let session = session.map_err(|error| of_tls(&error, &secure))?;
        Ok(Self { stream, session, secure })
    }

    /// Goes on with the handshake as far as the socket lets it; whether it is done.
    ///
    /// # Errors
    /// The socket is broken, or the other side does not speak TLS or is not trusted.
    pub(super) fn handshake(&mut self) -> io::Result<bool> {
        match self.shake_hands() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn shake_hands(&mut self) -> io::Result<()> {
        loop {
            self.send()?;
            if !self.session.is_handshaking() {
                return Ok(());
            }
            match self.receive() {
                Ok(true) => {}
                Ok(false) => return Err(self.ended()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what is sealed.
    fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the socket once; whether there was anything before its end.
    fn receive(&mut self) -> io::Result<bool> {
        let read = self.session.read_tls(&mut self.stream)?;
        if let Err(error) = self.session.process_new_packets() {
            // The alert that says why; without it the other side sees only the end.
            let _ = self.send();
            return Err(of_tls(&error, &self.secure));
        }
        Ok(read > 0)
    }

    /// The other side has closed the connection before the handshake was over.
    fn ended(&self) -> io::Error {
        let place = &self.secure.place;
        let text = format!("TLS: {place} closes the connection in the handshake: is TLS on there?");
        io::Error::new(ErrorKind::InvalidData, text)
    }
}

fn of_tls(error: &rustls::Error, secure: &Secure) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, tell(error, secure))
}

impl Read for Secured {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Closed without the word for it, as many do.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            self.receive()?;
            match self.send() {
                // It is sent with what comes next, or when there is room again.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                sent => sent?,
            }
        }
    }
}

impl Write for Secured {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.send()?;
        let len = self.session.writer().write(&buf[..buf.len().min(SEAL_BYTES)])?;
        match self.send() {
            // It is taken; that there is no room is told to whoever comes next.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            sent => sent?,
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Link {
    const fn stream(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secured(secured) => &mut secured.stream,
        }
    }

    /// Says that nothing more is sent.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn shutdown(&mut self) -> io::Result<()> {
        if let Self::Secured(secured) = self {
            secured.session.send_close_notify();
            // The socket's end says the same to most.
            let _ = secured.send();
        }
        self.stream().shutdown(Shutdown::Write)
    }
}

impl Read for Link {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buf),
            Self::Secured(secured) => secured.read(buf),
        }
    }
}

impl Write for Link {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buf),
            Self::Secured(secured) => secured.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Secured(secured) => secured.flush(),
        }
    }
}

impl Source for Link {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.stream().register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.stream().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream().deregister(registry)
    }
}
