//! TLS with keys that both sides know beforehand (RFC 4279): whose they are, and what a listener
//! asks for. The sessions need OpenSSL, which is there with the feature `openssl`.

use crate::session::Sessions;
use std::collections::BTreeMap;
use std::fmt;

/// What a listener asks for.
#[derive(Clone, Debug, Default)]
pub struct PskRules {
    /// Which key is asked for, told to clients of TLS 1.2 (`psk_hint`).
    pub hint: String,
    /// TLS 1.3 only, else 1.2 too (`tls_version`).
    pub only_tls13: bool,
    /// TLS 1.2 ciphers in OpenSSL's notation (`ciphers`).
    pub ciphers: Option<String>,
    /// TLS 1.3 ciphers (`ciphers_tls1.3`).
    pub ciphers_tls13: Option<String>,
}

/// Keys by identity (`psk_file`).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PskKeys(BTreeMap<String, Vec<u8>>);

/// Bytes a key may have; OpenSSL takes no more.
pub const MAX_KEY_BYTES: usize = 256;

/// Which line of a file is wrong, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadKeys {
    /// From 1.
    pub line: usize,
    /// In words.
    pub what: String,
}

/// Which option is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PskProblem {
    /// `psk_hint`
    Hint(String),
    /// `ciphers`
    Ciphers(String),
    /// `ciphers_tls1.3`
    CiphersTls13(String),
    /// Anything else.
    Other(String),
}

impl PskKeys {
    /// Reads lines `identity:key`, the key in hexadecimal. Empty lines, those that begin with `#`
    /// and those without a colon are left out, as by Mosquitto.
    ///
    /// # Errors
    /// A key cannot be read, is empty or too long, or an identity stands twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadKeys> {
        let mut keys = BTreeMap::new();
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let bad = |what: String| BadKeys { line: at + 1, what };
            let text = std::str::from_utf8(line).map_err(|_| bad("no UTF-8".to_owned()))?;
            let text = text.trim_end();
            let Some((identity, key)) = text.split_once(':').filter(|_| !text.starts_with('#'))
            else {
                continue;
            };
            let name = identity.escape_debug();
            let key = hex(key).ok_or_else(|| {
                bad(format!("the key of '{name}' is no hexadecimal number of whole bytes"))
            })?;
            if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
                return Err(bad(format!(
                    "the key of '{name}' has 0 or over {MAX_KEY_BYTES} bytes"
                )));
            }
            if keys.insert(identity.to_owned(), key).is_some() {
                return Err(bad(format!("'{name}' stands in the file twice")));
            }
        }
        Ok(Self(keys))
    }

    /// The key of an identity.
    #[must_use]
    pub fn get(&self, identity: &str) -> Option<&[u8]> {
        self.0.get(identity).map(Vec::as_slice)
    }
}

/// Keys are no business of a log.
impl fmt::Debug for PskKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PskKeys").field(&self.0.len()).finish()
    }
}

/// The bytes a hexadecimal number has; as OpenSSL reads it, one digit alone is a byte.
#[must_use]
pub fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let odd = text.len() % 2;
    let head = text.get(..odd).filter(|head| !head.is_empty());
    let pairs = text.as_bytes().get(odd..).unwrap_or_default().chunks(2);
    let pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok());
    head.into_iter().chain(pairs).map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

/// Puts together what sessions are made of.
///
/// # Errors
/// The first of the options that is wrong.
#[cfg(feature = "openssl")]
pub fn build(keys: PskKeys, rules: &PskRules) -> Result<Sessions, PskProblem> {
    crate::psk_tls::PskConfig::new(keys, rules).map(Sessions::Psk)
}

/// Puts together what sessions are made of, where there is an OpenSSL.
///
/// # Errors
/// There is none.
#[cfg(not(feature = "openssl"))]
pub fn build(_: PskKeys, _: &PskRules) -> Result<Sessions, PskProblem> {
    Err(PskProblem::Other("this mogi was built without the feature 'openssl'".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_mosquitto_does() {
        let keys = PskKeys::parse(b"# c:ab\n\nann:00ff\r\nno key\nbob:ABC\n").expect("read");
        assert_eq!(keys.get("ann"), Some(&[0, 255][..]));
        assert_eq!(keys.get("bob"), Some(&[0xA, 0xBC][..]));
        assert_eq!((keys.get("# c"), keys.get("no key"), keys.get("")), (None, None, None));
        assert_eq!(format!("{keys:?}"), "PskKeys(2)");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!("x:{}", "ab".repeat(MAX_KEY_BYTES + 1));
        for (file, line) in
            [("ann:xyz", 1), ("\nann:", 2), (&*long, 1), ("a:ab\na:ab", 2), ("a:+1", 1)]
        {
            let bad = PskKeys::parse(file.as_bytes()).expect_err(file);
            assert_eq!(bad.line, line, "{file}: {}", bad.what);
            assert!(!bad.what.contains("xyz"), "{}", bad.what);
        }
    }
}
