//! What all TLS sessions of a listener share: certificates, and what is agreed to.

use crate::certificate;
use crate::verifier::Verifier;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{KeyLog, ServerConfig, SupportedCipherSuite};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

mod ciphers;

/// The contents of a listener's files, as PEM.
#[derive(Clone, Default)]
pub struct TlsFiles {
    /// The server's certificate and those between it and its authority (`certfile`).
    pub certificates: Vec<u8>,
    /// Its key (`keyfile`).
    pub key: Vec<u8>,
    /// Authorities of clients' certificates (`cafile`, `capath`).
    pub authorities: Vec<Vec<u8>>,
    /// Certificates that are not valid any more (`crlfile`).
    pub revoked: Option<Vec<u8>>,
}

/// What a listener asks for.
#[derive(Clone, Debug, Default)]
pub struct TlsRules {
    /// TLS 1.3 only, else 1.2 too (`tls_version`).
    pub only_tls13: bool,
    /// TLS 1.2 ciphers in OpenSSL's notation (`ciphers`).
    pub ciphers: Option<String>,
    /// TLS 1.3 ciphers (`ciphers_tls1.3`).
    pub ciphers_tls13: Option<String>,
    /// Clients need a certificate (`require_certificate`).
    pub require_certificate: bool,
    /// Its dates do not count (`disable_client_cert_date_checks`).
    pub ignore_dates: bool,
    /// Where the sessions' secrets are written, to look into what was recorded.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

/// Which option of a listener is wrong, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// `certfile`
    Certificate(String),
    /// `keyfile`
    Key(String),
    /// `cafile` or `capath`
    Authorities(String),
    /// `crlfile`
    Revoked(String),
    /// `ciphers`
    Ciphers(String),
    /// `ciphers_tls1.3`
    CiphersTls13(String),
}

/// What sessions are made of.
#[derive(Clone)]
pub struct TlsConfig {
    /// For [`crate::tls::Tls`].
    pub server: Arc<ServerConfig>,
    /// Seconds since 1970 after which the server's certificate is not valid any more.
    pub not_after_s: i64,
    /// What was asked for and is left out.
    pub doubts: Vec<String>,
}

/// Puts together what sessions are made of.
///
/// # Errors
/// The first of the options that is wrong.
pub fn build(files: &TlsFiles, rules: &TlsRules) -> Result<TlsConfig, TlsProblem> {
    let mut doubts = Vec::new();
    let provider =
        Arc::new(provider(rules.ciphers.as_deref(), rules.ciphers_tls13.as_deref(), &mut doubts)?);
    let (key, not_after_s) = certified_key(&files.certificates, &files.key, provider.key_provider)?;
    let versions = if rules.only_tls13 { &[&TLS13][..] } else { &[&TLS13, &TLS12] };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| TlsProblem::Ciphers(error.to_string()))?;
    let authorities = authorities(files)?;
    let revoked = revoked(files)?;
    let builder = if rules.require_certificate {
        let verifier = Verifier::new(provider, authorities, revoked, !rules.ignore_dates);
        let verifier = verifier.map_err(TlsProblem::Authorities)?;
        builder.with_client_cert_verifier(Arc::new(verifier))
    } else {
        builder.with_no_client_auth()
    };
    let resolver = SingleCertAndKey::from(key);
    let mut server = builder.with_cert_resolver(Arc::new(resolver));
    if let Some(log) = &rules.key_log {
        server.key_log = Arc::clone(log);
    }
    server.session_storage = Arc::new(NoServerSessionStorage {});
    if rules.require_certificate {
        // A resumed session would not look at the list of revoked certificates again.
        server.send_tls13_tickets = 0;
    } else if let Ok(ticketer) = Ticketer::new() {
        // The client keeps the session, sealed: resuming it costs no memory here. One ticket is
        // what a client needs to come back.
        server.ticketer = ticketer;
        server.send_tls13_tickets = 1;
    }
    Ok(TlsConfig { server: Arc::new(server), not_after_s, doubts })
}

/// Cryptography with the ciphers of two lists: of TLS 1.2 in OpenSSL's notation, and of TLS 1.3.
/// `None`: all there are. What a list has and is left out is appended to `doubts`.
///
/// # Errors
/// A list leaves none: those there are to choose from.
pub fn provider(
    ciphers: Option<&str>,
    ciphers_tls13: Option<&str>,
    doubts: &mut Vec<String>,
) -> Result<CryptoProvider, TlsProblem> {
    let mut provider = aws_lc_rs::default_provider();
    let is_13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    let (tls13, tls12): (Vec<_>, Vec<_>) = provider.cipher_suites.iter().copied().partition(is_13);
    let tls13 = match ciphers_tls13 {
        Some(list) => ciphers::tls13(list, &tls13, doubts).map_err(TlsProblem::CiphersTls13)?,
        None => tls13,
    };
    let tls12 = match ciphers {
        Some(list) => ciphers::tls12(list, &tls12, doubts).map_err(TlsProblem::Ciphers)?,
        None => tls12,
    };
    provider.cipher_suites = tls13.into_iter().chain(tls12).collect();
    Ok(provider)
}

/// A certificate with those above it and its key, both as PEM, and when it expires, in seconds
/// since 1970.
///
/// # Errors
/// One of them cannot be read, or they do not belong together.
pub fn certified_key(
    certificates: &[u8],
    key: &[u8],
    keys: &'static dyn KeyProvider,
) -> Result<(CertifiedKey, i64), TlsProblem> {
    let wrong = |what: &str| TlsProblem::Certificate(what.to_owned());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.map_err(|error| TlsProblem::Certificate(pem_problem(&error)))?;
    let first = chain.first().ok_or_else(|| wrong("there is no certificate in PEM in it"))?;
    let names = certificate::names(first).map_err(TlsProblem::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        let text = String::from_utf8_lossy(key);
        TlsProblem::Key(if text.contains("ENCRYPTED") {
            "it is encrypted; write it anew with `openssl pkey`".to_owned()
        } else {
            pem_problem(&error)
        })
    })?;
    let key = keys.load_private_key(key).map_err(|error| TlsProblem::Key(error.to_string()))?;
    // Not left to rustls, which reads no certificate of version 1.
    let (_, parsed) = X509Certificate::from_der(first).map_err(|e| wrong(&e.to_string()))?;
    if key.public_key().is_some_and(|public| public.as_ref() != parsed.public_key().raw) {
        return Err(TlsProblem::Key("it does not belong to the certificate".to_owned()));
    }
    Ok((CertifiedKey::new(chain, key), names.not_after_s))
}

fn pem_problem(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => "there is none in PEM in it".to_owned(),
        other => other.to_string(),
    }
}

fn authorities(files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let mut all = Vec::new();
    for file in &files.authorities {
        let before = all.len();
        for authority in CertificateDer::pem_slice_iter(file) {
            let authority = authority.map_err(|e| TlsProblem::Authorities(pem_problem(&e)))?;
            certificate::names(&authority).map_err(TlsProblem::Authorities)?;
            all.push(authority);
        }
        if all.len() == before {
            let what = "there is no certificate in PEM in it".to_owned();
            return Err(TlsProblem::Authorities(what));
        }
    }
    Ok(all)
}

fn revoked(files: &TlsFiles) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsProblem> {
    let Some(file) = &files.revoked else {
        return Ok(Vec::new());
    };
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(file).collect();
    let lists = lists.map_err(|error| TlsProblem::Revoked(pem_problem(&error)))?;
    if lists.is_empty() {
        return Err(TlsProblem::Revoked("there is no list in PEM in it".to_owned()));
    }
    Ok(lists)
}
