//! Why a certificate is not trusted, in words for people.

use rustls::{AlertDescription, CertificateError};

/// What is wrong whoever shows it, behind "the certificate …"; `authority`: who should have signed
/// it. `None`: whoever asks knows better.
pub(crate) fn distrust(wrong: &CertificateError, authority: &str) -> Option<String> {
    match wrong {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Some(format!("is not signed by an authority in {authority}"))
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Some(format!("has expired ({wrong})"))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some(format!("is not valid yet ({wrong}); is the clock right?"))
        }
        _ => None,
    }
}

/// Whether a peer says with this alert that it does not take the certificate it was shown.
pub(crate) const fn is_of_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError
    )
}
