//! Hashed passwords, in the forms `mosquitto_passwd` writes.
//!
//! | begins with | layout | algorithm |
//! |---|---|---|
//! | `$6$` | `$6$SALT$HASH` | SHA-512 of password and salt |
//! | `$7$` | `$7$ITERATIONS$SALT$HASH` | PBKDF2 with HMAC-SHA-512, 64 bytes |
//! | `$argon2id$` | `$argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH` | Argon2id |
//!
//! Salt and hash are base64, with padding in the first two.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha512};
use std::fmt;
use subtle::ConstantTimeEq;

/// Bytes of a new salt, as Mosquitto 2.1 makes it.
pub const SALT_BYTES: usize = 64;
/// Bytes of a salt of Mosquitto 2.0.
const OLD_SALT_BYTES: usize = 12;
/// Bytes of a hash.
const HASH_BYTES: usize = 64;
/// Iterations of a new `$7$` hash, as in Mosquitto 2.1.
const ITERATIONS: u32 = 1000;
/// Argon2id as Mosquitto uses it: KiB of memory, passes, lanes.
const ARGON2: (u32, u32, u32) = (47_104, 1, 1);
/// What a file may ask for at most; with more a login would stand still.
const ARGON2_MAX: (u32, u32, u32) = (1 << 20, 64, 64);
/// Iterations a file may ask for at most.
const ITERATIONS_MAX: u32 = 10_000_000;

/// How a new password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `$6$`, the default until Mosquitto 1.6.
    Sha512,
    /// `$7$` with so many iterations; `None`: as many as Mosquitto 2.1 uses.
    Pbkdf2(Option<u32>),
    /// `$argon2id$`.
    Argon2id,
}

/// A hashed password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    kind: Kind,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sha512,
    Pbkdf2 { iterations: u32 },
    Argon2id { kib: u32, passes: u32, lanes: u32 },
}

/// The text is no hash of a known form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHash(pub &'static str);

impl fmt::Display for BadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl PasswordHash {
    /// Hashes a password. `salt` is to be random.
    ///
    /// # Errors
    /// The algorithm refuses its parameters.
    pub fn new(
        algorithm: Algorithm,
        password: &[u8],
        salt: &[u8; SALT_BYTES],
    ) -> Result<Self, BadHash> {
        let kind = match algorithm {
            Algorithm::Sha512 => Kind::Sha512,
            Algorithm::Pbkdf2(iterations) => {
                Kind::Pbkdf2 { iterations: iterations.unwrap_or(ITERATIONS).max(1) }
            }
            Algorithm::Argon2id => {
                let (kib, passes, lanes) = ARGON2;
                Kind::Argon2id { kib, passes, lanes }
            }
        };
        let salt = salt.to_vec();
        let hash = kind.derive(password, &salt, HASH_BYTES)?;
        Ok(Self { kind, salt, hash })
    }

    /// Reads a hash as it stands in a file.
    ///
    /// # Errors
    /// It is none, or one no login could be checked against.
    pub fn parse(text: &str) -> Result<Self, BadHash> {
        if let Some(rest) = text.strip_prefix("$6$") {
            let (salt, hash) = rest.split_once('$').ok_or(BadHash("no hash behind the salt"))?;
            return Self::decode(Kind::Sha512, salt, hash);
        }
        if let Some(rest) = text.strip_prefix("$7$") {
            let (iterations, rest) = rest.split_once('$').ok_or(BadHash("no salt"))?;
            let (salt, hash) = rest.split_once('$').ok_or(BadHash("no hash behind the salt"))?;
            return Self::decode(Self::pbkdf2(iterations.parse().ok())?, salt, hash);
        }
        if let Some(rest) = text.strip_prefix("$argon2id$") {
            return Self::parse_argon2(rest);
        }
        Err(BadHash("not a password hash: it begins with neither $6$, $7$ nor $argon2id$"))
    }

    /// Puts a hash together whose parts stand apart, as in the files of dynamic security of
    /// Mosquitto 2.0.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_parts(hash: &str, salt: &str, iterations: u32) -> Result<Self, BadHash> {
        Self::decode(Self::pbkdf2(Some(iterations))?, salt, hash)
    }

    /// Whether it is that password's. It takes milliseconds, as it is meant to.
    pub fn verify(&self, password: &[u8]) -> bool {
        match self.kind.derive(password, &self.salt, self.hash.len()) {
            Ok(hash) => bool::from(hash.ct_eq(&self.hash)),
            Err(_) => false,
        }
    }

    fn pbkdf2(iterations: Option<u32>) -> Result<Kind, BadHash> {
        let iterations = iterations.filter(|n| (1..=ITERATIONS_MAX).contains(n));
        let iterations = iterations.ok_or(BadHash("iterations are not 1 to 10000000"))?;
        Ok(Kind::Pbkdf2 { iterations })
    }

    fn decode(kind: Kind, salt: &str, hash: &str) -> Result<Self, BadHash> {
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| BadHash("not base64"));
        let (salt, hash) = (bytes(salt)?, bytes(hash)?);
        if salt.len() != SALT_BYTES && salt.len() != OLD_SALT_BYTES {
            return Err(BadHash("the salt has neither 12 nor 64 bytes"));
        }
        if hash.len() != HASH_BYTES {
            return Err(BadHash("the hash does not have 64 bytes"));
        }
        Ok(Self { kind, salt, hash })
    }

    /// What follows `$argon2id$`.
    fn parse_argon2(rest: &str) -> Result<Self, BadHash> {
        let mut parts = rest.split('$');
        let mut next = || parts.next().ok_or(BadHash("a part of the $argon2id$ hash is missing"));
        if next()? != "v=19" {
            return Err(BadHash("not version 19 of $argon2id$"));
        }
        let mut numbers = [0; 3];
        let mut given = next()?.split(',');
        for (slot, name) in numbers.iter_mut().zip(["m=", "t=", "p="]) {
            let number = given.next().and_then(|text| text.strip_prefix(name)?.parse().ok());
            *slot = number.ok_or(BadHash("not m=KIB,t=PASSES,p=LANES"))?;
        }
        let [kib, passes, lanes] = numbers;
        if kib > ARGON2_MAX.0 || passes > ARGON2_MAX.1 || lanes > ARGON2_MAX.2 {
            return Err(BadHash("more memory, passes or lanes than a login may take"));
        }
        let bytes = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| BadHash("not base64"));
        let (salt, hash) = (bytes(next()?)?, bytes(next()?)?);
        let kind = Kind::Argon2id { kib, passes, lanes };
        if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&hash.len()) {
            return Err(BadHash("salt or hash of an unusual length"));
        }
        kind.argon2(hash.len())?;
        Ok(Self { kind, salt, hash })
    }
}

impl Kind {
    fn derive(self, password: &[u8], salt: &[u8], len: usize) -> Result<Vec<u8>, BadHash> {
        match self {
            Self::Sha512 => {
                Ok(Sha512::new().chain_update(password).chain_update(salt).finalize().to_vec())
            }
            Self::Pbkdf2 { iterations } => {
                let mut hash = vec![0; len];
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut hash);
                Ok(hash)
            }
            Self::Argon2id { .. } => {
                let mut hash = vec![0; len];
                self.argon2(len)?
                    .hash_password_into(password, salt, &mut hash)
                    .map_err(|_| BadHash("Argon2 refuses password or salt"))?;
                Ok(hash)
            }
        }
    }

    fn argon2(self, len: usize) -> Result<argon2::Argon2<'static>, BadHash> {
        let Self::Argon2id { kib, passes, lanes } = self else {
            return Err(BadHash("not an $argon2id$ hash"));
        };
        let params = argon2::Params::new(kib, passes, lanes, Some(len))
            .map_err(|_| BadHash("parameters Argon2 does not take"))?;
        Ok(argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params))
    }
}

/// As it stands in a file.
impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, hash) = (STANDARD.encode(&self.salt), STANDARD.encode(&self.hash));
        match self.kind {
            Kind::Sha512 => write!(f, "$6${salt}${hash}"),
            Kind::Pbkdf2 { iterations } => write!(f, "$7${iterations}${salt}${hash}"),
            Kind::Argon2id { kib, passes, lanes } => {
                let (salt, hash) = (salt.trim_end_matches('='), hash.trim_end_matches('='));
                write!(f, "$argon2id$v=19$m={kib},t={passes},p={lanes}${salt}${hash}")
            }
        }
    }
}

/// Not even a hash belongs in a log.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; SALT_BYTES] = [7; SALT_BYTES];

    #[test]
    fn each_form_is_read_back_and_knows_its_password() {
        for algorithm in [Algorithm::Sha512, Algorithm::Pbkdf2(None), Algorithm::Pbkdf2(Some(3))] {
            let hash = PasswordHash::new(algorithm, b"secret", &SALT).expect("hashed");
            let again = PasswordHash::parse(&hash.to_string()).expect("read back");
            assert_eq!(again, hash);
            assert!(again.verify(b"secret"));
            assert!(!again.verify(b"Secret") && !again.verify(b""));
        }
    }

    #[test]
    fn argon2id_is_read_back() {
        let hash = PasswordHash::new(Algorithm::Argon2id, b"secret", &SALT).expect("hashed");
        let text = hash.to_string();
        assert!(text.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{text}");
        let again = PasswordHash::parse(&text).expect("read back");
        assert!(again.verify(b"secret") && !again.verify(b"x"));
        // Made by the reference implementation: argon2 somesalt -id -t 2 -m 16 -p 1 -l 32.
        let reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$\
                         CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let hash = PasswordHash::parse(reference).expect("read");
        assert!(hash.verify(b"password"));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let long = "A".repeat(88);
        for text in [
            "",
            "plain",
            "$5$AAAA$AAAA",
            "$6$AAAA",
            "$6$AAAA$AAAA",
            "$7$AAAA$AAAA",
            "$7$0$AAAA$AAAA",
            "$7$4294967296$AAAA$AAAA",
            "$7$1000$!$!",
            "$argon2id$v=16$m=16,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
            "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
            "$argon2id$v=19$m=16,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
            "$argon2id$v=19$m=16$c29tZXNhbHQ",
            &format!("$6${long}${long}"),
        ] {
            assert!(PasswordHash::parse(text).is_err(), "{text}");
        }
    }
}
