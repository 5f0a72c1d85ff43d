//! SCRAM-SHA-256 (RFC 5802, RFC 7677): a client shows that it knows its password without sending
//! it, and the broker that it knows the client.
//!
//! ```text
//!  client-first   n,,n=USER,r=NONCE            ──►  in CONNECT or AUTH 0x19
//!  server-first   r=NONCE+OURS,s=SALT,i=N      ◄──  in AUTH 0x18
//!  client-final   c=biws,r=NONCE+OURS,p=PROOF  ──►  in AUTH 0x18
//!  server-final   v=SIGNATURE                  ◄──  in CONNACK or AUTH 0x00
//! ```
//! Verifiers stand one a line in a file, as PostgreSQL writes them:
//! `USER:SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY`, the last three in base64.

use crate::password_file::{Problem, entry};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use subtle::ConstantTimeEq;

/// The name of the method.
pub const METHOD: &str = "SCRAM-SHA-256";
/// Bytes of a new verifier's salt.
pub const SALT_BYTES: usize = 16;
/// Bytes of the broker's part of the nonce.
pub const NONCE_BYTES: usize = 18;
/// Iterations of a new verifier; RFC 7677 asks for 4096 at least, and only the client pays them.
pub const ITERATIONS: u32 = 15_000;
/// Bytes a message of the client may have.
const MAX_MESSAGE_BYTES: usize = 4096;

type Key = [u8; 32];

/// What is known of a user instead of the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored: Key,
    server: Key,
}

/// Users and their verifiers.
#[derive(Clone, Debug, Default)]
pub struct ScramFile {
    users: HashMap<Box<str>, Verifier>,
}

/// An exchange that was begun.
#[derive(Debug)]
pub struct Exchange {
    username: String,
    /// `None`: there is no such user, which the client learns no earlier than that of a wrong
    /// password.
    verifier: Option<Verifier>,
    /// What the proof is about, but for its last part.
    said: String,
    /// The whole nonce.
    nonce: String,
    /// The client's header of channel binding, as it has to repeat it.
    header: String,
}

/// A user who has shown to know the password.
#[derive(Debug, PartialEq, Eq)]
pub struct Proven {
    /// The user.
    pub username: String,
    /// What shows the client that the broker knows it.
    pub last: Vec<u8>,
    /// Tells the verifier from others; never 0.
    pub tag: u64,
}

impl Verifier {
    /// Makes a verifier. `salt` is to be random.
    pub fn new(password: &[u8], salt: &[u8; SALT_BYTES], iterations: u32) -> Self {
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
        let stored = Sha256::digest(mac(&salted, b"Client Key")).into();
        let server = mac(&salted, b"Server Key");
        Self { iterations, salt: salt.to_vec(), stored, server }
    }

    /// Reads what stands behind the user's name.
    ///
    /// # Errors
    /// It is no verifier: what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "not SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY";
        let rest = text.strip_prefix(METHOD).and_then(|rest| rest.strip_prefix('$')).ok_or(FORM)?;
        let (first, second) = rest.split_once('$').ok_or(FORM)?;
        let (iterations, salt) = first.split_once(':').ok_or(FORM)?;
        let (stored, server) = second.split_once(':').ok_or(FORM)?;
        let iterations = iterations.parse().ok().filter(|n| (1..=10_000_000).contains(n));
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| "not base64");
        let key = |text: &str| -> Result<Key, &'static str> {
            bytes(text)?.try_into().map_err(|_| "a key that does not have 32 bytes")
        };
        Ok(Self {
            iterations: iterations.ok_or("iterations are not 1 to 10000000")?,
            salt: bytes(salt)?,
            stored: key(stored)?,
            server: key(server)?,
        })
    }

    /// Tells the verifier from others without being it; never 0.
    pub fn tag(&self) -> u64 {
        let hash = Sha256::digest(self.stored);
        hash.iter().take(8).fold(0, |tag, byte| tag << 8 | u64::from(*byte)) | 1
    }
}

/// As it stands in a file.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored, &self.server].map(|bytes| STANDARD.encode(bytes));
        write!(f, "{METHOD}${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// Not even a verifier belongs in a log.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramFile {
    /// Reads a file; lines are skipped as in a password file.
    ///
    /// # Errors
    /// As with [`PasswordFile`](crate::password_file::PasswordFile), the whole file is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut users = HashMap::new();
        for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let problem = |what: String| Problem { line: at + 1, what };
            let Some((user, verifier)) = entry(line) else {
                continue;
            };
            let (Ok(user), Ok(text)) = (std::str::from_utf8(user), std::str::from_utf8(verifier))
            else {
                return Err(problem("not UTF-8".to_owned()));
            };
            if user.is_empty() {
                return Err(problem("the user name is empty".to_owned()));
            }
            let verifier = Verifier::parse(text).map_err(|error| {
                problem(format!("the verifier of '{}': {error}", user.escape_debug()))
            })?;
            if users.insert(user.into(), verifier).is_some() {
                return Err(problem(format!("user '{}' a second time", user.escape_debug())));
            }
        }
        Ok(Self { users })
    }

    /// The verifier of a user.
    pub fn get(&self, user: &str) -> Option<&Verifier> {
        self.users.get(user)
    }

    /// Takes the client's first message; what it is answered. `nonce` is to be random, and
    /// `secret` the same for a long time: of it a salt is made for users who do not exist.
    ///
    /// # Errors
    /// The message breaks the rules of the method.
    pub fn begin(
        &self,
        first: &[u8],
        nonce: &[u8; NONCE_BYTES],
        secret: &[u8],
    ) -> Result<(Exchange, Vec<u8>), &'static str> {
        let text = message(first)?;
        // GS2 header: no channel binding is offered, so none may be asked for.
        let (flag, rest) = text.split_once(',').ok_or("no first message of SCRAM")?;
        let (authzid, bare) = rest.split_once(',').ok_or("no first message of SCRAM")?;
        match flag {
            "n" | "y" => {}
            _ => return Err("channel binding is not offered"),
        }
        let mut parts = bare.split(',');
        let name = parts.next().and_then(|part| part.strip_prefix("n=")).ok_or("no user name")?;
        let username = unescape(name).ok_or("a malformed user name")?;
        if !authzid.is_empty() && authzid.strip_prefix("a=") != Some(name) {
            return Err("another identity is asked for");
        }
        let theirs = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or("no nonce")?;
        if theirs.is_empty() || username.is_empty() {
            return Err("an empty user name or nonce");
        }
        let verifier = self.users.get(&*username).cloned();
        let (salt, iterations) = match &verifier {
            Some(verifier) => (verifier.salt.clone(), verifier.iterations),
            None => (mac(secret, username.as_bytes())[..SALT_BYTES].to_vec(), ITERATIONS),
        };
        let nonce = format!("{theirs}{}", STANDARD.encode(nonce));
        let answer = format!("r={nonce},s={},i={iterations}", STANDARD.encode(salt));
        let said = format!("{bare},{answer}");
        let header = STANDARD.encode(format!("{flag},{authzid},"));
        Ok((Exchange { username, verifier, said, nonce, header }, answer.into_bytes()))
    }
}

impl Exchange {
    /// Takes the client's last message.
    ///
    /// # Errors
    /// The proof is wrong, or the message breaks the rules of the method.
    pub fn finish(self, last: &[u8]) -> Result<Proven, &'static str> {
        let text = message(last)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or("no proof")?;
        let mut parts = without_proof.split(',');
        let header = parts.next().and_then(|part| part.strip_prefix("c="));
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        if header != Some(&self.header) || nonce != Some(&self.nonce) {
            return Err("a message of another exchange");
        }
        let proof: Key = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or("a malformed proof")?;
        let verifier = self.verifier.ok_or("unknown user")?;
        let said = format!("{},{without_proof}", self.said);
        let signature = mac(&verifier.stored, said.as_bytes());
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        let stored: Key = Sha256::digest(client_key).into();
        if !bool::from(stored.ct_eq(&verifier.stored)) {
            return Err("wrong password");
        }
        let last = format!("v={}", STANDARD.encode(mac(&verifier.server, said.as_bytes())));
        Ok(Proven { username: self.username, last: last.into_bytes(), tag: verifier.tag() })
    }

    /// The user that logs in.
    pub fn username(&self) -> &str {
        &self.username
    }
}

fn message(bytes: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(bytes).ok().filter(|_| bytes.len() <= MAX_MESSAGE_BYTES);
    text.ok_or("no message of SCRAM")
}

/// `=2C` and `=3D` stand for `,` and `=`.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match part.get(..2)? {
            "2C" => (',', &part[2..]),
            "3D" => ('=', &part[2..]),
            _ => return None,
        };
        plain.push(sign);
        plain.push_str(rest);
    }
    Some(plain)
}

fn mac(key: &[u8], text: &[u8]) -> Key {
    // Keys of any length are taken; with none the result is of no use to anybody.
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(text);
            mac.finalize().into_bytes().into()
        }
        Err(_) => Sha256::digest(text).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, 3: user and password are "user" and "pencil".
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";

    fn file() -> ScramFile {
        let salt: [u8; SALT_BYTES] =
            STANDARD.decode(SALT).expect("base64").try_into().expect("16 bytes");
        let line = format!("user:{}\n", Verifier::new(b"pencil", &salt, 4096));
        ScramFile::parse(line.as_bytes()).expect("a file")
    }

    /// An exchange with the nonce of the example, which is no base64.
    fn example(file: &ScramFile) -> Exchange {
        let (mut exchange, answer) = file.begin(FIRST.as_bytes(), &[0; 18], b"x").expect("begun");
        let nonce = exchange.nonce.clone();
        let theirs = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let answer = String::from_utf8(answer).expect("text").replace(&nonce, theirs);
        assert_eq!(answer, format!("r={theirs},s={SALT},i=4096"));
        exchange.said = exchange.said.replace(&nonce, theirs);
        exchange.nonce = theirs.to_owned();
        exchange
    }

    #[test]
    fn the_example_of_rfc_7677_is_right() {
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let file = file();
        let proven = example(&file).finish(last.as_bytes()).expect("proven");
        assert_eq!(proven.username, "user");
        assert_eq!(proven.last, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(Some(proven.tag), file.get("user").map(Verifier::tag));
        let wrong = last.replace("p=dHzb", "p=dHzc");
        assert_eq!(example(&file).finish(wrong.as_bytes()), Err("wrong password"));
        let other = last.replace("c=biws", "c=eSws");
        assert_eq!(example(&file).finish(other.as_bytes()), Err("a message of another exchange"));
        let nonce = last.replace("%hv", "%hw");
        assert_eq!(example(&file).finish(nonce.as_bytes()), Err("a message of another exchange"));
    }

    #[test]
    fn nobody_learns_who_exists() {
        let file = file();
        let ask = |user: &str| {
            let first = format!("n,,n={user},r=abc");
            let (exchange, answer) =
                file.begin(first.as_bytes(), &[1; 18], b"secret").expect("begun");
            (exchange, String::from_utf8(answer).expect("text"))
        };
        let (exchange, answer) = ask("nobody");
        assert_eq!(answer, ask("nobody").1, "the same salt again");
        assert_ne!(answer, ask("nobody2").1);
        let nonce = &exchange.nonce;
        let last = format!("c=biws,r={nonce},p={}", STANDARD.encode([0; 32]));
        assert_eq!(exchange.finish(last.as_bytes()), Err("unknown user"));
    }

    #[test]
    fn what_is_no_first_message_is_refused() {
        for first in [
            "",
            "n",
            "n,,",
            "n,,n=,r=x",
            "n,,n=a",
            "n,,n=a,r=",
            "n,,m=x,n=a,r=b",
            "n,,n=a=,r=b",
            "n,,n=a=2c,r=b",
            "p=tls-unique,,n=a,r=b",
            "n,a=other,n=a,r=b",
        ] {
            assert!(file().begin(first.as_bytes(), &[0; 18], b"").is_err(), "{first}");
        }
        let (exchange, _) = file().begin(b"y,a=u=2Cv,n=u=2Cv,r=b", &[0; 18], b"").expect("begun");
        assert_eq!(exchange.username(), "u,v");
    }

    #[test]
    fn files_are_refused_as_a_whole() {
        let good = file().get("user").expect("there").to_string();
        for text in [
            "a:plain".to_owned(),
            format!(":{good}"),
            format!("a:{good}\na:{good}"),
            format!("a:{}", good.replace(":", "$")),
            format!("a:{}", good.replace("4096", "0")),
            "a:SCRAM-SHA-256$4096:AAAA$AAAA:AAAA".to_owned(),
        ] {
            assert!(ScramFile::parse(text.as_bytes()).is_err(), "{text}");
        }
        let text = format!("# users\n\na:{good}\nb:{good}\n");
        assert!(ScramFile::parse(text.as_bytes()).is_ok_and(|file| file.get("b").is_some()));
    }
}
