//! TLS of bridges: `bridge_cafile` and what stands beside it.

use super::Note;
use super::builder::Builder;
use super::value::{Line, Problem};
use crate::bridge::plan::SecurePlan;
use crate::net::certificates::hashed_files;
use mogi_client::{Psk, TlsOptions};
use mogi_core::LogKind;
use mogi_transport::tls_config::{self, TlsProblem};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// These options of a bridge. What they mean is said in the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct BridgeTls {
    pub(crate) cafile: Option<String>,
    pub(crate) capath: Option<String>,
    pub(crate) certfile: Option<String>,
    pub(crate) keyfile: Option<String>,
    pub(crate) ciphers: Option<String>,
    pub(crate) ciphers_tls13: Option<String>,
    pub(crate) alpn: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) only_tls13: bool,
    pub(crate) os_certs: bool,
    pub(crate) psk: Option<String>,
    pub(crate) psk_identity: Option<String>,
}

pub(super) fn bridge_tls_version(to: &mut Builder, line: &Line) -> Result<(), Problem> {
    to.bridge().tls.only_tls13 = match line.text()? {
        "tlsv1.2" => false,
        "tlsv1.3" => true,
        old @ ("tlsv1" | "tlsv1.0" | "tlsv1.1") => {
            return Err(Problem::new(format!(
                "Error: 'bridge_tls_version {old}' is broken and not built into mogi: use tlsv1.2."
            )));
        }
        other => return Err(line.invalid(other)),
    };
    Ok(())
}

impl BridgeTls {
    pub(super) const fn new() -> Self {
        Self {
            cafile: None,
            capath: None,
            certfile: None,
            keyfile: None,
            ciphers: None,
            ciphers_tls13: None,
            alpn: None,
            insecure: false,
            only_tls13: false,
            os_certs: false,
            psk: None,
            psk_identity: None,
        }
    }

    /// As with Mosquitto there is TLS as soon as it is said who is trusted.
    const fn is_on(&self) -> bool {
        self.is_trusting() || self.psk.is_some()
    }

    /// Whether it is said who is trusted.
    const fn is_trusting(&self) -> bool {
        self.cafile.is_some() || self.capath.is_some() || self.os_certs
    }

    /// Whether these go together.
    ///
    /// # Errors
    /// They do not: what is wrong, for a person.
    pub(super) fn check(&self, bridge: &str, notes: &mut Vec<Note>) -> Result<(), String> {
        if self.insecure {
            let text = format!("Warning: Bridge '{bridge}' using insecure mode.");
            notes.push((LogKind::Warning, text));
        }
        if self.psk.is_some() || self.psk_identity.is_some() {
            return self.check_psk();
        }
        if !self.is_on() {
            for name in self.idle() {
                let text = format!(
                    "Warning: '{name}' of bridge '{bridge}' has no effect, and its connection is \
                     not encrypted: TLS is on with 'bridge_cafile', 'bridge_capath' or \
                     'bridge_tls_use_os_certs'."
                );
                notes.push((LogKind::Warning, text));
            }
            return Ok(());
        }
        if self.certfile.is_some() != self.keyfile.is_some() {
            return Err("bridge_certfile and bridge_keyfile need each other".to_owned());
        }
        let mut doubts = Vec::new();
        let (ciphers, tls13) = (self.ciphers.as_deref(), self.ciphers_tls13.as_deref());
        tls_config::provider(ciphers, tls13, &mut doubts).map_err(|problem| {
            let (option, list, why) = match problem {
                TlsProblem::CiphersTls13(why) => ("bridge_ciphers_tls1.3", tls13, why),
                TlsProblem::Ciphers(why)
                | TlsProblem::Certificate(why)
                | TlsProblem::Key(why)
                | TlsProblem::Authorities(why)
                | TlsProblem::Revoked(why) => ("bridge_ciphers", ciphers, why),
            };
            let list = list.unwrap_or_default();
            format!("nothing is left of {option} \"{list}\": {why}")
        })?;
        let of_bridges = |doubt: String| {
            let doubt = doubt.replace("'ciphers", "'bridge_ciphers");
            (LogKind::Warning, format!("Warning: Bridge '{bridge}': {doubt}"))
        };
        notes.extend(doubts.into_iter().map(of_bridges));
        Ok(())
    }

    /// Whether a shared key goes together with the rest.
    fn check_psk(&self) -> Result<(), String> {
        if cfg!(not(feature = "openssl")) {
            let name = if self.psk.is_some() { "bridge_psk" } else { "bridge_identity" };
            return Err(format!(
                "'{name}' is not built into this mogi: it needs one that was built with the \
                 feature 'openssl'"
            ));
        }
        let certified = self.certfile.is_some() || self.keyfile.is_some();
        if self.is_trusting() || certified {
            return Err("cannot use both certificates and a shared key".to_owned());
        }
        match (&self.psk, &self.psk_identity) {
            (Some(key), Some(_)) if Psk::key_of(key).is_some() => Ok(()),
            (Some(_), Some(_)) => {
                Err("bridge_psk is no hexadecimal number of 1 to 256 bytes".to_owned())
            }
            _ => Err("bridge_psk and bridge_identity need each other".to_owned()),
        }
    }

    /// Options that stand there and do nothing without TLS.
    fn idle(&self) -> impl Iterator<Item = &'static str> {
        [
            ("bridge_certfile", self.certfile.is_some()),
            ("bridge_keyfile", self.keyfile.is_some()),
            ("bridge_alpn", self.alpn.is_some()),
            ("bridge_ciphers", self.ciphers.is_some()),
            ("bridge_ciphers_tls1.3", self.ciphers_tls13.is_some()),
            ("bridge_insecure", self.insecure),
            ("bridge_tls_version", self.only_tls13),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
    }

    /// What the bridge is to do, if there is TLS.
    pub(super) fn plan(&self, bridge: &str) -> Option<SecurePlan> {
        let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
        let key = self.psk.as_deref().and_then(Psk::key_of);
        let psk = self.psk_identity.clone().zip(key).map(|(identity, key)| Psk { identity, key });
        let options = TlsOptions {
            cafile: path(&self.cafile),
            capath: path(&self.capath),
            os_certs: self.os_certs,
            identity: path(&self.certfile).zip(path(&self.keyfile)),
            insecure: self.insecure,
            only_tls13: self.only_tls13,
            alpn: self.alpn.clone(),
            ciphers: self.ciphers.clone(),
            ciphers_tls13: self.ciphers_tls13.clone(),
            psk,
            key_log: None,
        };
        let contents = contents(&options);
        self.is_on().then(|| SecurePlan { bridge: bridge.to_owned(), options, contents })
    }
}

/// What is in the files; one that cannot be read counts as well.
fn contents(options: &TlsOptions) -> [u8; 32] {
    let (certificate, key) = options.identity.as_ref().map(|(a, b)| (a.clone(), b.clone())).unzip();
    let files = options.cafile.clone().into_iter().chain(certificate).chain(key);
    let mut hash = Sha256::new();
    for file in files.chain(hashed_files(options.capath.as_deref())) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().into()
}
