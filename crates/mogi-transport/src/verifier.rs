//! Who verifies clients' certificates.
//!
//! What rustls' own verifier does, and what it does not but OpenSSL does, and people's certificates
//! rely on: certificates of version 1, which `openssl x509 -req` makes where it is not told
//! otherwise, and leaving dates out of account (`disable_client_cert_date_checks`).

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::prelude::{
    CertificateRevocationList, FromDer, SubjectPublicKeyInfo, X509Certificate, X509Version,
};

#[derive(Debug)]
pub(crate) struct Verifier {
    inner: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
    authorities: Vec<CertificateDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    check_dates: bool,
}

impl Verifier {
    /// # Errors
    /// There is no authority, or a list of revoked certificates cannot be read: why.
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        authorities: Vec<CertificateDer<'static>>,
        revoked: Vec<CertificateRevocationListDer<'static>>,
        check_dates: bool,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let builder = if revoked.is_empty() {
            builder
        } else {
            // As OpenSSL: the client's certificate is looked up, not those above it.
            let builder = builder.with_crls(revoked.iter().cloned());
            builder.only_check_end_entity_revocation().enforce_revocation_expiration()
        };
        let inner = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { inner, provider, authorities, revoked, check_dates })
    }

    /// Verifies a certificate of version 1: one that an authority has signed itself.
    fn verify_v1(&self, certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let validity = certificate.validity();
        if self.check_dates && validity.not_before.timestamp() > now_s {
            return Err(CertificateError::NotValidYet.into());
        }
        if self.check_dates && validity.not_after.timestamp() < now_s {
            return Err(CertificateError::Expired.into());
        }
        let signed = certificate.tbs_certificate.as_ref();
        for authority in &self.authorities {
            let Ok((_, authority)) = X509Certificate::from_der(authority) else {
                continue;
            };
            if authority.subject().as_raw() == certificate.issuer().as_raw()
                && self.signed_by(authority.public_key(), signed, &certificate.signature_value.data)
            {
                return self.look_up(certificate, &authority, now_s);
            }
        }
        Err(CertificateError::UnknownIssuer.into())
    }

    /// Whether the key has signed the data, by any of the algorithms that are good enough: with
    /// the wrong one no signature is valid.
    fn signed_by(&self, key: &SubjectPublicKeyInfo<'_>, data: &[u8], signature: &[u8]) -> bool {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let key = &key.subject_public_key.data;
        algorithms.iter().any(|it| it.verify_signature(key, data, signature).is_ok())
    }

    /// Looks a certificate up in the list of its authority.
    fn look_up(
        &self,
        certificate: &X509Certificate<'_>,
        authority: &X509Certificate<'_>,
        now_s: i64,
    ) -> Result<(), Error> {
        if self.revoked.is_empty() {
            return Ok(());
        }
        for list in &self.revoked {
            let Ok((_, list)) = CertificateRevocationList::from_der(list) else {
                continue;
            };
            let signed = list.tbs_cert_list.as_ref();
            if list.issuer().as_raw() != certificate.issuer().as_raw()
                || !self.signed_by(authority.public_key(), signed, &list.signature_value.data)
            {
                continue;
            }
            if list.next_update().is_some_and(|until| until.timestamp() < now_s) {
                return Err(CertificateError::ExpiredRevocationList.into());
            }
            let serial = certificate.raw_serial();
            if list.iter_revoked_certificates().any(|it| it.raw_serial() == serial) {
                return Err(CertificateError::Revoked.into());
            }
            return Ok(());
        }
        Err(CertificateError::UnknownRevocationStatus.into())
    }
}

/// The certificate, if it is of version 1.
fn version_1<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    (certificate.version() == X509Version::V1).then_some(certificate)
}

/// Whether only the date keeps a certificate from being accepted.
const fn is_date(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
        )
    )
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(certificate) = version_1(end_entity) {
            self.verify_v1(&certificate, now)?;
            return Ok(ClientCertVerified::assertion());
        }
        let result = self.inner.verify_client_cert(end_entity, intermediates, now);
        match result {
            Err(error) if !self.check_dates && is_date(&error) => {
                let names = crate::certificate::names(end_entity).map_err(|_| error)?;
                // A day on which it was valid.
                let then_s = u64::try_from(names.not_before_s).unwrap_or(0) + 1;
                let then = UnixTime::since_unix_epoch(Duration::from_secs(then_s));
                self.inner.verify_client_cert(end_entity, intermediates, then)
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
        let Some(version_1) = version_1(certificate) else {
            return self.inner.verify_tls12_signature(message, certificate, signed);
        };
        let known = self.provider.signature_verification_algorithms.mapping;
        let key = &version_1.public_key().subject_public_key.data;
        let algorithms = known.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let mut algorithms = algorithms.flat_map(|(_, algorithms)| algorithms.iter());
        if algorithms.any(|it| it.verify_signature(key, message, signed.signature()).is_ok()) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Some(version_1) = version_1(certificate) else {
            return self.inner.verify_tls13_signature(message, certificate, signed);
        };
        let key = SubjectPublicKeyInfoDer::from(version_1.public_key().raw);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
