//! Who may come in, and do what: real clients, real files, and Mosquitto's own tools.

mod support;

#[path = "access/drain.rs"]
mod drain;
#[path = "access/dynsec.rs"]
mod dynsec;
#[path = "access/https.rs"]
mod https;
#[path = "access/login.rs"]
mod login;
#[path = "access/reload.rs"]
mod reload;
#[path = "access/scram.rs"]
mod scram;
#[path = "access/service.rs"]
mod service;
#[path = "access/services.rs"]
mod services;
#[path = "access/sources.rs"]
mod sources;
#[path = "access/tokens.rs"]
mod tokens;
#[path = "access/tools.rs"]
mod tools;
#[path = "access/topics.rs"]
mod topics;

use mogi_auth::{Algorithm, PasswordHash, SALT_BYTES};
use support::{Client, Dial, Version};

/// A password file.
fn passwords(users: &[(&str, &str)]) -> String {
    let line = |(user, password): &(&str, &str)| {
        let salt = [7; SALT_BYTES];
        let hash = PasswordHash::new(Algorithm::Pbkdf2(Some(5)), password.as_bytes(), &salt);
        format!("{user}:{}\n", hash.expect("hashed"))
    };
    users.iter().map(line).collect()
}

/// A client that logs in.
fn login(version: Version, id: &str, user: &str, password: &str) -> Dial {
    Dial::new(version, id).username(user).password(password)
}

/// What SUBSCRIBE is answered with.
fn subscribe_code(client: &mut Client, filter: &str) -> u8 {
    let suback = client.subscribe_with(&[(filter, 1)], &mogi_codec::PropertyBuf::new());
    *suback.codes().last().expect("a code")
}
