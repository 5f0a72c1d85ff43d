//! An authority, and certificates it has signed: made anew for each test.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
    serial: u64,
}

/// An authority.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as PEM.
    pub authority: String,
}

/// Years a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub enum Validity {
    Usual,
    Expired,
    /// For as many days from now on.
    Days(i64),
}

impl Pki {
    /// A new authority.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let authority = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), authority }
    }

    /// A certificate for a server on this machine.
    pub fn server(&self) -> Identity {
        self.server_for(Validity::Usual)
    }

    /// The same, of a given validity.
    pub fn server_for(&self, validity: Validity) -> Identity {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("valid names");
        self.sign(params, "localhost", validity)
    }

    /// A certificate for a server elsewhere.
    pub fn server_named(&self, name: &str) -> Identity {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a valid name");
        self.sign(params, name, Validity::Usual)
    }

    /// A certificate for a client with this common name.
    pub fn client(&self, name: &str) -> Identity {
        self.client_for(name, Validity::Usual)
    }

    /// The same, of a given validity.
    pub fn client_for(&self, name: &str, validity: Validity) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, name, validity)
    }

    fn sign(&self, mut params: CertificateParams, name: &str, validity: Validity) -> Identity {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = match validity {
            Validity::Usual => (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1)),
            Validity::Expired => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Validity::Days(days) => {
                let then = std::time::SystemTime::now()
                    + std::time::Duration::from_secs(days as u64 * 24 * 3600 + 3600);
                (date_time_ymd(2020, 1, 1), then.into())
            }
        };
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem(), serial }
    }

    /// A list of certificates that are not valid any more.
    pub fn revoke(&self, identities: &[&Identity]) -> String {
        let revoked = identities.iter().map(|identity| RevokedCertParams {
            serial_number: SerialNumber::from(identity.serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list").pem().expect("as PEM")
    }
}
