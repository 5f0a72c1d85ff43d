//! Keys tokens are signed with: PEM, a secret, or a set in JSON (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;

/// Keys that are tried for a token that names none.
const MAX_TRIED: usize = 8;
/// Keys a set may have.
const MAX_KEYS: usize = 256;
/// Bytes a secret should have (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Keys that are believed.
#[derive(Clone, Default)]
pub struct Keys {
    keys: Vec<Key>,
}

#[derive(Clone)]
pub(super) struct Key {
    name: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
    /// Tells it from another one without being it; never 0.
    pub(super) tag: u64,
}

/// The bytes are no key that could be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadKey(pub String);

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Keys {
    /// Reads a file of public keys: one or several in PEM, or a set in JSON.
    ///
    /// # Errors
    /// It is neither, or has no key that can be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadKey> {
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is no text"))?;
        if text.trim_start().starts_with('{') {
            return Self::parse_set(bytes);
        }
        let mut keys = Vec::new();
        for block in text.split("-----BEGIN ").skip(1) {
            if block.split("-----").next().is_some_and(|kind| kind.contains("PRIVATE")) {
                return Err(bad("it has a private key; the broker needs the public one"));
            }
            let pem = format!("-----BEGIN {block}");
            let pem = pem.as_bytes();
            let decoding = DecodingKey::from_rsa_pem(pem)
                .or_else(|_| DecodingKey::from_ec_pem(pem))
                .or_else(|_| DecodingKey::from_ed_pem(pem))
                .map_err(|_| bad("it has a PEM block that is no public RSA, EC or Ed25519 key"))?;
            keys.push(Key::new(None, None, decoding, pem));
        }
        match keys.is_empty() {
            true => Err(bad("it has neither a public key in PEM nor a JSON Web Key Set")),
            false => Ok(Self { keys }),
        }
    }

    /// Reads a JSON Web Key Set, or a single key. Keys of kinds that are not known, or for
    /// encryption, are left out.
    ///
    /// # Errors
    /// It is none, or nothing is left of it.
    pub fn parse_set(bytes: &[u8]) -> Result<Self, BadKey> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| bad(format!("it is no JSON: {error}")))?;
        let one = std::slice::from_ref(&value);
        let list = value.get("keys").map_or(Some(one), |keys| keys.as_array().map(Vec::as_slice));
        let list = list.ok_or_else(|| bad("its \"keys\" is no list"))?;
        if list.len() > MAX_KEYS {
            return Err(bad(format!("it has more than {MAX_KEYS} keys")));
        }
        let keys: Vec<Key> = list.iter().filter_map(Key::from_json).collect();
        match keys.is_empty() {
            true => Err(bad("it has no key of a kind that is known")),
            false => Ok(Self { keys }),
        }
    }

    /// Reads a secret: the file as it stands without the end of its line, or behind `base64:` what
    /// that stands for. Beside it what is accepted, but hardly safe.
    ///
    /// # Errors
    /// It is empty, or not base64 where it says so.
    pub fn parse_secret(bytes: &[u8]) -> Result<(Self, Option<String>), BadKey> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let secret = match bytes.strip_prefix(b"base64:") {
            Some(text) => STANDARD
                .decode(text.trim_ascii())
                .map_err(|_| bad("what follows 'base64:' is not base64"))?,
            None => bytes.to_vec(),
        };
        if secret.is_empty() {
            return Err(bad("it is empty"));
        }
        let len = secret.len();
        let doubt = (len < MIN_SECRET_BYTES).then(|| {
            format!("has {len} bytes; a secret of less than {MIN_SECRET_BYTES} can be guessed")
        });
        let key = Key::new(None, None, DecodingKey::from_secret(&secret), &secret);
        Ok((Self { keys: vec![key] }, doubt))
    }

    /// These keys and others.
    #[must_use]
    pub fn with(mut self, others: &Self) -> Self {
        self.keys.extend(others.keys.iter().cloned());
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether there is a key of that [`Claims::key`](super::Claims::key).
    pub fn knows(&self, tag: u64) -> bool {
        self.keys.iter().any(|key| key.tag == tag)
    }

    /// The keys that may have signed a token.
    pub(super) fn candidates(
        &self,
        name: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &Key> {
        let fits = move |key: &&Key| {
            let named = key.name.is_none() || name.is_none() || key.name.as_deref() == name;
            named && key.algorithms.contains(&algorithm)
        };
        self.keys.iter().filter(fits).take(MAX_TRIED)
    }
}

impl Key {
    fn new(
        name: Option<String>,
        only: Option<Algorithm>,
        decoding: DecodingKey,
        bytes: &[u8],
    ) -> Self {
        let algorithms = match only {
            Some(algorithm) => vec![algorithm],
            None => decoding.family().algorithms().to_vec(),
        };
        let hash = Sha256::digest(bytes);
        let tag = hash.iter().take(8).fold(0, |tag, byte| tag << 8 | u64::from(*byte)) | 1;
        Self { name, algorithms, decoding, tag }
    }

    /// A key of a set; `None`: it is of no use here.
    fn from_json(value: &Value) -> Option<Self> {
        let key: Jwk = serde_json::from_value(value.clone()).ok()?;
        if key.common.public_key_use == Some(PublicKeyUse::Encryption)
            || matches!(key.algorithm, AlgorithmParameters::Other(_))
        {
            return None;
        }
        let only = match key.common.key_algorithm {
            None => None,
            // One that signs nothing, or that nobody knows.
            Some(algorithm) => Some(algorithm.to_string().parse().ok()?),
        };
        let decoding = DecodingKey::from_jwk(&key).ok()?;
        let fits = only.is_none_or(|only| decoding.family().algorithms().contains(&only));
        let bytes = value.to_string();
        fits.then(|| Self::new(key.common.key_id, only, decoding, bytes.as_bytes()))
    }
}

fn bad(what: impl Into<String>) -> BadKey {
    BadKey(what.into())
}

/// Secrets do not belong in a log.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families: Vec<AlgorithmFamily> =
            self.keys.iter().map(|key| key.decoding.family()).collect();
        f.debug_struct("Keys").field("families", &families).finish()
    }
}
