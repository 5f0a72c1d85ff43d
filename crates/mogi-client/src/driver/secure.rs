//! TLS of a client: whom it trusts, and what it shows.

use super::key_file::KeyFile;
use mogi_transport::psk;
use mogi_transport::tls_config::{self, TlsProblem};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a connection is secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A file of authorities, as PEM.
    pub cafile: Option<PathBuf>,
    /// A folder of authorities, named by hash as `openssl rehash` does.
    pub capath: Option<PathBuf>,
    /// Whether those the computer trusts are trusted.
    pub os_certs: bool,
    /// This client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The server's name is not compared with its certificate.
    pub insecure: bool,
    /// TLS 1.3 only.
    pub only_tls13: bool,
    /// A key the server knows too, in the place of certificates. It needs the feature `openssl`.
    pub psk: Option<Psk>,
    /// The protocol to ask for within TLS.
    pub alpn: Option<String>,
    /// Ciphers of TLS 1.2, in OpenSSL's notation; `None`: all there are.
    pub ciphers: Option<String>,
    /// Ciphers of TLS 1.3, with colons between them; `None`: all there are.
    pub ciphers_tls13: Option<String>,
    /// The file that gets the sessions' secrets; those of shared keys are not written.
    pub key_log: Option<PathBuf>,
}

/// A key two sides know (RFC 4279), and what it is called.
#[derive(Clone, PartialEq, Eq)]
pub struct Psk {
    /// Its name.
    pub identity: String,
    /// The key.
    pub key: Vec<u8>,
}

impl Psk {
    /// The key a hexadecimal number is, of 1 to 256 bytes.
    #[must_use]
    pub fn key_of(text: &str) -> Option<Vec<u8>> {
        psk::hex(text).filter(|key| (1..=psk::MAX_KEY_BYTES).contains(&key.len()))
    }
}

/// The key is no business of a log.
impl std::fmt::Debug for Psk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Psk").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// What sessions are made of.
///
/// # Errors
/// A file cannot be read or is not what it should be; the text names it.
pub fn client_config(options: &TlsOptions) -> io::Result<ClientConfig> {
    let provider = Arc::new(provider(options)?);
    let keys = provider.key_provider;
    let mut roots = RootCertStore::empty();
    let files = options.cafile.iter().cloned().chain(hashed(options.capath.as_deref()));
    for file in files {
        for authority in certificates(&file)? {
            roots.add(authority).map_err(|error| about(&file, error))?;
        }
    }
    if options.os_certs {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err(io::Error::other(nobody(options)));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
    let inner = verifier.build().map_err(io::Error::other)?;
    let verifier = Arc::new(Verifier { inner, insecure: options.insecure });
    let versions = if options.only_tls13 { &[&TLS13][..] } else { &[&TLS13, &TLS12] };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let identity = identity(certificate, key, keys)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
    };
    if let Some(path) = &options.key_log {
        config.key_log = Arc::new(KeyFile::new(path).map_err(|error| about(path, error))?);
    }
    config.alpn_protocols = options.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    Ok(config)
}

/// What has the ciphers asked for. Names that are not known are left out.
fn provider(options: &TlsOptions) -> io::Result<CryptoProvider> {
    let (ciphers, tls13) = (options.ciphers.as_deref(), options.ciphers_tls13.as_deref());
    tls_config::provider(ciphers, tls13, &mut Vec::new()).map_err(|problem| {
        let (list, why) = match problem {
            TlsProblem::CiphersTls13(why) => (tls13, why),
            TlsProblem::Ciphers(why)
            | TlsProblem::Certificate(why)
            | TlsProblem::Key(why)
            | TlsProblem::Authorities(why)
            | TlsProblem::Revoked(why) => (ciphers, why),
        };
        let list = list.unwrap_or_default();
        io::Error::other(format!("--ciphers: there is none of '{list}' here, but {why}"))
    })
}

/// Why nobody is trusted.
fn nobody(options: &TlsOptions) -> String {
    match &options.capath {
        Some(folder) => format!(
            "{}: there is no authority in it, named by its hash as `openssl rehash` does",
            folder.display()
        ),
        None => "there is no authority that is trusted".to_owned(),
    }
}

/// What this client shows.
fn identity(
    certificate: &Path,
    key: &Path,
    keys: &'static dyn KeyProvider,
) -> io::Result<CertifiedKey> {
    let read = |file: &Path| std::fs::read(file).map_err(|error| about(file, error));
    let both = tls_config::certified_key(&read(certificate)?, &read(key)?, keys);
    let (identity, _) = both.map_err(|problem| match problem {
        TlsProblem::Certificate(why) => about(certificate, why),
        TlsProblem::Key(why)
        | TlsProblem::Authorities(why)
        | TlsProblem::Revoked(why)
        | TlsProblem::Ciphers(why)
        | TlsProblem::CiphersTls13(why) => about(key, why),
    })?;
    Ok(identity)
}

fn about(file: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(file).map_err(|error| about(file, error))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.map_err(|error| about(file, error))?;
    if all.is_empty() {
        return Err(about(file, "there is no certificate in it"));
    }
    Ok(all)
}

/// The files of a folder whose names are hashes, as `0123abcd.0`.
fn hashed(folder: Option<&Path>) -> Vec<PathBuf> {
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    let is_hash = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.split_once('.').is_some_and(|(hash, number)| {
            hash.len() == 8
                && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
                && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    paths.filter(is_hash).collect()
}

/// rustls' own verifier, which may be told to leave names out of account.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    insecure: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        match self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                if self.insecure =>
            {
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CipherSuite, SupportedCipherSuite};

    /// What is offered after a list, in order: TLS 1.3 first.
    fn offered(list: &str) -> io::Result<Vec<CipherSuite>> {
        let options = TlsOptions { ciphers: Some(list.to_owned()), ..TlsOptions::default() };
        Ok(provider(&options)?.cipher_suites.iter().map(SupportedCipherSuite::suite).collect())
    }

    #[test]
    fn ciphers_are_those_of_the_list_in_its_order() {
        use CipherSuite::{
            TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 as ECDSA,
            TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 as RSA,
        };
        let list = "ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA:ECDHE-ECDSA-AES256-GCM-SHA384";
        let suites = offered(list).expect("two are there");
        assert_eq!(suites.len(), 5, "three are of TLS 1.3: {suites:?}");
        assert_eq!(suites[3..], [RSA, ECDSA]);
        assert_eq!(offered("HIGH").expect("all").len(), 9);
        let error = offered("AES128-SHA").expect_err("none is there").to_string();
        assert!(error.contains("none of 'AES128-SHA'") && error.contains("ECDHE-RSA-"), "{error}");
    }
}
