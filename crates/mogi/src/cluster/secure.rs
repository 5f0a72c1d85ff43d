//! TLS of links: each end shows a certificate of the cluster's authority, and wants to see one.
//!
//! A certificate has to name the host of `cluster_advertise` of the node that shows it, whichever
//! end that is: another one of the same authority, such as a client's, makes nobody a node.

use crate::broker::plan::TlsPlan;
use crate::log::why;
use crate::net::{certificates, distrust};
use mogi_client::{TlsOptions, client_config};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{AlertDescription, CertificateError, Error};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What both ends set, for a log line.
const OPTIONS: &str = "cluster_cafile, cluster_certfile and cluster_keyfile";

/// A link's bytes, in the clear or within TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// What the configuration says about TLS of links.
#[derive(Clone, Debug)]
pub(crate) struct SecurePlan {
    /// `cluster_cafile`, `cluster_certfile` and `cluster_keyfile`.
    pub(crate) files: TlsPlan,
    /// Certificates may name any host (`cluster_insecure`).
    pub(crate) insecure: bool,
}

/// What TLS of links is made of, as of the last look into the files.
pub(crate) struct Secure {
    plan: SecurePlan,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    /// Seconds since 1970 after which this node's certificate is not valid any more.
    pub(crate) not_after_s: i64,
}

impl Secure {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be read or is not what it should be: a line for the log.
    pub(crate) fn load(plan: &SecurePlan) -> Result<Self, String> {
        let SecurePlan { files, insecure } = plan;
        let config = certificates::load(files)?;
        let options = TlsOptions {
            cafile: files.cafile.clone(),
            identity: Some((files.certfile.clone(), files.keyfile.clone())),
            insecure: *insecure,
            only_tls13: true,
            ..TlsOptions::default()
        };
        let client = client_config(&options).map_err(|error| why(&error))?;
        Ok(Self {
            plan: plan.clone(),
            acceptor: TlsAcceptor::from(config.server),
            connector: TlsConnector::from(Arc::new(client)),
            not_after_s: config.not_after_s,
        })
    }

    /// Shakes hands with whoever has connected; what it has shown is to be [checked](Self::check).
    ///
    /// # Errors
    /// It speaks no TLS, or has no certificate of the cluster's authority: why, for the log.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(Box<dyn Stream>, Option<CertificateDer<'static>>), String> {
        let stream = self.acceptor.accept(stream).await.map_err(|error| self.tell(&error))?;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown.and_then(|chain| chain.first()).map(|it| it.clone().into_owned());
        Ok((Box::new(stream), shown))
    }

    /// Whether that certificate is for the node with this `HOST:PORT`.
    ///
    /// # Errors
    /// It is not: why, for the log.
    pub(super) fn check(
        &self,
        shown: Option<&CertificateDer<'_>>,
        address: &str,
    ) -> Result<(), String> {
        if self.plan.insecure {
            return Ok(());
        }
        let shown = shown.ok_or("it has shown no certificate")?;
        let name = name_of(address)?;
        let parsed = ParsedCertificate::try_from(shown).map_err(|error| error.to_string())?;
        verify_server_name(&parsed, &name).map_err(|error| self.tell(&io::Error::other(error)))
    }

    /// Shakes hands with the node at this `HOST:PORT`.
    ///
    /// # Errors
    /// It speaks no TLS, or has no certificate of the cluster's authority: why, for the log.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        address: &str,
    ) -> Result<Box<dyn Stream>, String> {
        let name = name_of(address)?;
        let connected = self.connector.connect(name, stream).await;
        Ok(Box::new(connected.map_err(|error| self.tell(&error))?))
    }

    /// Why TLS has failed, and what to do about it.
    pub(super) fn tell(&self, error: &io::Error) -> String {
        let files = &self.plan.files;
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match cause {
            Some(Error::NoCertificatesPresented) => "it shows no certificate".to_owned(),
            Some(Error::InvalidCertificate(wrong)) => {
                let authority = files.cafile.as_deref().unwrap_or_else(|| "".as_ref());
                format!("its certificate {}", distrust(wrong, &authority.display().to_string()))
            }
            Some(Error::AlertReceived(alert)) => refusal(*alert, files),
            Some(Error::InvalidMessage(_) | Error::PeerMisbehaved(_)) => {
                format!("it does not speak TLS; nodes have {OPTIONS} set")
            }
            Some(other) => format!("TLS has failed ({other})"),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                format!("it ended the TLS handshake; nodes have {OPTIONS} set")
            }
            None => why(error),
        }
    }
}

/// What a node in the clear reads of one that speaks TLS.
///
/// # Errors
/// It is that: what to do about it, for the log.
pub(super) fn no_tls(bytes: &[u8]) -> Result<(), String> {
    // A record with an alert or a handshake, and the version that all of them bear (RFC 8446 5.1).
    if let [0x15 | 0x16, 0x03, ..] = bytes {
        return Err(format!("it speaks TLS: set {OPTIONS} here too"));
    }
    Ok(())
}

/// The host of `HOST:PORT`, as certificates name it.
fn name_of(address: &str) -> Result<ServerName<'static>, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host.clone())
        .map_err(|_| format!("'{host}' is no name of a host a certificate could be for"))
}

fn distrust(wrong: &CertificateError, authority: &str) -> String {
    if let Some(why) = distrust::distrust(wrong, &format!("cluster_cafile {authority}")) {
        return why;
    }
    match wrong {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "is for another host than the one in its cluster_advertise ({wrong}). Give it \
                 that subjectAltName; 'cluster_insecure true' does not compare them"
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!(
                "is not for both ends of a link: its extendedKeyUsage has to be serverAuth and \
                 clientAuth, or not there at all ({wrong})"
            )
        }
        other => format!("is of no use ({other})"),
    }
}

fn refusal(alert: AlertDescription, files: &TlsPlan) -> String {
    if alert == AlertDescription::CertificateRequired || distrust::is_of_certificate(alert) {
        let file = files.certfile.display();
        return format!("it does not take the certificate in cluster_certfile {file} ({alert:?})");
    }
    format!("it refuses TLS ({alert:?})")
}
