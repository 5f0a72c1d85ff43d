//! The socket to the other broker, within TLS where that is wanted.

use super::secure::{Secure, With, tell};
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
    session: Session,
    /// With whom, for what is said of errors.
    secure: Secure,
}

/// A TLS session.
enum Session {
    Certificate(Box<ClientConnection>),
    #[cfg(feature = "openssl")]
    Psk(mogi_client::PskSession),
}

/// Does the same for each kind of session.
macro_rules! each {
    ($self:expr, $session:ident => $does:expr) => {
        match $self {
            Session::Certificate($session) => $does,
            #[cfg(feature = "openssl")]
            Session::Psk($session) => $does,
        }
    };
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
        let session = match &secure.with {
            With::Certificate { config, name } => {
                let session = ClientConnection::new(config.clone(), name.clone());
                let session = session.map_err(|error| of_tls(&error, &secure))?;
                Session::Certificate(Box::new(session))
            }
            #[cfg(feature = "openssl")]
            With::Psk(psk) => {
                let session = mogi_client::PskSession::new(psk, secure.options());
                Session::Psk(session.map_err(|error| of_key(&error, &secure))?)
            }
        };
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
            if !each!(&self.session, it => it.is_handshaking()) {
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
        while each!(&self.session, it => it.wants_write()) {
            match each!(&mut self.session, it => it.write_tls(&mut self.stream)) {
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
        let read = each!(&mut self.session, it => it.read_tls(&mut self.stream))?;
        let processed = match &mut self.session {
            Session::Certificate(session) => {
                session.process_new_packets().map(drop).map_err(|e| of_tls(&e, &self.secure))
            }
            #[cfg(feature = "openssl")]
            Session::Psk(session) => session.process().map_err(|e| of_key(&e, &self.secure)),
        };
        if let Err(error) = processed {
            // The alert that says why; without it the other side sees only the end.
            let _ = self.send();
            return Err(error);
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

/// Why a shared key did not do.
#[cfg(feature = "openssl")]
fn of_key(error: &io::Error, secure: &Secure) -> io::Error {
    let Secure { place, .. } = secure;
    let text = format!("{place}: {error}: are 'bridge_identity' and 'bridge_psk' known there?");
    io::Error::new(ErrorKind::InvalidData, text)
}

impl Session {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Certificate(session) => session.reader().read(buf),
            #[cfg(feature = "openssl")]
            Self::Psk(session) => session.read(buf),
        }
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Certificate(session) => session.writer().write(buf),
            #[cfg(feature = "openssl")]
            Self::Psk(session) => session.write(buf),
        }
    }
}

impl Read for Secured {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.read(buf) {
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
        let len = self.session.write(&buf[..buf.len().min(SEAL_BYTES)])?;
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
            each!(&mut secured.session, it => it.send_close_notify());
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
