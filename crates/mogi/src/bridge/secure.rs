//! TLS of bridges: what is shown and trusted, and why it fails, in words for people.

use super::plan::{Address, SecurePlan};
use crate::net::distrust;
use mogi_client::{TlsOptions, client_config};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error};
use std::sync::Arc;

/// What a TLS session to the other broker is made of.
#[derive(Clone)]
pub(super) struct Secure {
    pub(super) with: With,
    /// The other broker, as the log calls it.
    pub(super) place: String,
    plan: SecurePlan,
}

/// How the two know each other.
#[derive(Clone)]
pub(super) enum With {
    Certificate {
        config: Arc<ClientConfig>,
        /// Whom the other broker's certificate has to name.
        name: ServerName<'static>,
    },
    /// By a key (`bridge_psk`).
    #[cfg(feature = "openssl")]
    Psk(mogi_client::Psk),
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secure").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Secure {
    /// Reads the files of a bridge, which takes as long as they need.
    ///
    /// # Errors
    /// One of them cannot be read or is not what it should be: why, for the log.
    pub(super) fn load(plan: &SecurePlan, address: &Address) -> Result<Self, String> {
        let about = |why: String| format!("TLS of bridge '{}': {why}", plan.bridge);
        let (place, plan) = (address.to_string(), plan.clone());
        #[cfg(feature = "openssl")]
        if let Some(psk) = &plan.options.psk {
            return Ok(Self { with: With::Psk(psk.clone()), place, plan });
        }
        let config = client_config(&plan.options).map_err(|error| about(said(&plan, &error)))?;
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| about(format!("'{}' is no name of a host", address.host)))?;
        Ok(Self { with: With::Certificate { config: Arc::new(config), name }, place, plan })
    }

    /// What the configuration says.
    #[cfg(feature = "openssl")]
    pub(super) const fn options(&self) -> &TlsOptions {
        &self.plan.options
    }
}

/// What is wrong with a file, and which option names it.
fn said(plan: &SecurePlan, error: &std::io::Error) -> String {
    let text = crate::log::why(error);
    let TlsOptions { cafile, capath, identity, .. } = &plan.options;
    let pair = identity.as_ref();
    let options = [
        ("bridge_cafile", cafile.as_ref()),
        ("bridge_capath", capath.as_ref()),
        ("bridge_certfile", pair.map(|(certificate, _)| certificate)),
        ("bridge_keyfile", pair.map(|(_, key)| key)),
    ];
    let named = |file: &std::path::PathBuf| text.starts_with(&*file.to_string_lossy());
    let option = options.into_iter().find(|(_, file)| file.is_some_and(named));
    option.map_or_else(|| text.clone(), |(option, _)| format!("{option} {text}"))
}

/// Why TLS has failed, and what to do about it.
pub(super) fn tell(error: &Error, secure: &Secure) -> String {
    let Secure { place, plan, .. } = secure;
    let why = match error {
        Error::InvalidCertificate(wrong) => {
            format!("the certificate of {place} {}", distrust(wrong, secure))
        }
        Error::AlertReceived(alert) => {
            format!("{place} refuses: {}", refusal(*alert, &plan.options))
        }
        Error::InvalidMessage(_) | Error::PeerMisbehaved(_) => {
            format!("{place} answers with something else ({error}): is TLS on there?")
        }
        Error::PeerIncompatible(_) => {
            format!("{place} and this bridge have nothing in common ({error})")
        }
        other => format!("{place}: {other}"),
    };
    format!("TLS of bridge '{}': {why}", plan.bridge)
}

fn distrust(wrong: &CertificateError, secure: &Secure) -> String {
    let options = &secure.plan.options;
    let shown = |path: &std::path::PathBuf| path.display().to_string();
    let file = options.cafile.as_ref().map(|path| format!("bridge_cafile {}", shown(path)));
    let folder = options.capath.as_ref().map(|path| format!("bridge_capath {}", shown(path)));
    let system = options.os_certs.then(|| "bridge_tls_use_os_certs".to_owned());
    let whom: Vec<String> = [file, folder, system].into_iter().flatten().collect();
    if let Some(why) = distrust::distrust(wrong, &whom.join(" or ")) {
        return why;
    }
    match wrong {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let name = match &secure.with {
                With::Certificate { name, .. } => name.to_str(),
                #[cfg(feature = "openssl")]
                With::Psk(_) => "".into(),
            };
            format!(
                "is for another host than '{name}' ({wrong}). Give it that subjectAltName, or \
                 name its host in 'address'; 'bridge_insecure true' does not compare them"
            )
        }
        other => format!("is of no use{} ({other})", known(&format!("{other:?}"))),
    }
}

/// What people's own certificates often are, of which rustls has only a name.
fn known(name: &str) -> &'static str {
    if name.contains("UnsupportedCertVersion") {
        return ": it is of version 1, make it anew with 'openssl x509 -req -extfile' and a \
                subjectAltName";
    }
    if name.contains("CaUsedAsEndEntity") {
        return ": it is that of an authority, a server needs one that is signed by it";
    }
    ""
}

fn refusal(alert: AlertDescription, options: &TlsOptions) -> String {
    use AlertDescription as Alert;
    let shown = options.identity.as_ref().map(|(file, _)| file.display().to_string());
    match (alert, shown) {
        (Alert::CertificateRequired | Alert::HandshakeFailure, None) => format!(
            "it may want a certificate of this bridge: 'bridge_certfile' and 'bridge_keyfile' \
             ({alert:?})"
        ),
        (alert, Some(file)) if distrust::is_of_certificate(alert) => {
            format!("it does not take the certificate in bridge_certfile {file} ({alert:?})")
        }
        (Alert::ProtocolVersion, _) => {
            "it speaks another version of TLS ('bridge_tls_version')".to_owned()
        }
        (Alert::NoApplicationProtocol, _) => {
            let name = options.alpn.as_deref().unwrap_or_default();
            format!("it knows no protocol '{name}' ('bridge_alpn')")
        }
        (Alert::UnrecognisedName, _) => "it has no host of that name".to_owned(),
        (alert, _) => format!("{alert:?}"),
    }
}
