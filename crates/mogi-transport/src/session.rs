//! A TLS session of a server, whoever does the cryptography: rustls, or, for keys that are shared
//! beforehand, OpenSSL.

use crate::Failure;
#[cfg(feature = "openssl")]
use crate::psk_tls::{PskConfig, PskTls};
use crate::tls::Tls;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;

/// What all sessions of a listener are made of.
#[derive(Clone, Debug)]
pub enum Sessions {
    /// A certificate.
    Certificate(Arc<ServerConfig>),
    /// Keys that clients have as well.
    #[cfg(feature = "openssl")]
    Psk(PskConfig),
}

impl From<Arc<ServerConfig>> for Sessions {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::Certificate(config)
    }
}

/// A TLS session. What its functions do is said at [`Tls`].
#[cfg_attr(
    feature = "openssl",
    expect(clippy::large_enum_variant, reason = "nearly all sessions are the large ones")
)]
#[derive(Debug)]
pub enum Session {
    /// With a certificate.
    Certificate(Tls),
    /// With a shared key.
    #[cfg(feature = "openssl")]
    Psk(Box<PskTls>),
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

impl Session {
    /// A session that waits for its client's first message.
    ///
    /// # Errors
    /// The configuration does not do for a session.
    pub fn new(sessions: Sessions) -> Result<Self, Failure> {
        match sessions {
            Sessions::Certificate(config) => Tls::new(config).map(Self::Certificate),
            #[cfg(feature = "openssl")]
            Sessions::Psk(config) => Ok(Self::Psk(Box::new(PskTls::new(&config)?))),
        }
    }

    /// As [`Tls::is_handshaking`].
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        each!(self, it => it.is_handshaking())
    }

    /// As [`Tls::is_closed`].
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        each!(self, it => it.is_closed())
    }

    /// As [`Tls::certificate`].
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Certificate(tls) => tls.certificate(),
            #[cfg(feature = "openssl")]
            Self::Psk(_) => None,
        }
    }

    /// Whose key the client has, if it is one that was shared beforehand.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        match self {
            Self::Certificate(_) => None,
            #[cfg(feature = "openssl")]
            Self::Psk(psk) => psk.identity(),
        }
    }

    /// As [`Tls::agreed`].
    #[must_use]
    pub fn agreed(&self) -> Option<String> {
        each!(self, it => it.agreed())
    }

    /// As [`Tls::kept`].
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        each!(self, it => it.kept())
    }

    /// As [`Tls::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open(
        &mut self,
        raw: &mut [u8],
        plain: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, Failure> {
        each!(self, it => it.open(raw, plain, out))
    }

    /// As [`Tls::seal`].
    ///
    /// # Errors
    /// As there.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        each!(self, it => it.seal(plain, out))
    }

    /// As [`Tls::close`].
    pub fn close(&mut self, out: &mut Vec<u8>) {
        each!(self, it => it.close(out));
    }
}
