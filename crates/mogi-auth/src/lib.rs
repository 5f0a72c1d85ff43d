//! Who a client is and what it may do: the formats of Mosquitto's files, and what follows from
//! them.
//!
//! * `hash`, [`password_file`]: passwords, `$6$`, `$7$` and `$argon2id$`
//! * [`acl_file`]: topics by user, and patterns
//! * [`dynsec`]: the dynamic-security plugin's file, its commands, its decisions
//! * [`jwt`]: tokens, and the keys they are signed with
//! * [`grant`]: rights that come with a login
//! * [`scram`]: SCRAM-SHA-256, its verifiers and its server side
//! * [`rules`]: several of them one after the other
//! * [`filter`]: topics against the filters of rules
//!
//! **Invariants.** No socket, no file, no clock, no randomness: bytes, and the random part of a
//! salt, come in as arguments. No input leads to a panic. What a client sends is never made part
//! of a pattern.

pub mod acl_file;
pub mod dynsec;
pub mod filter;
pub mod grant;
mod hash;
pub mod jwt;
pub mod password_file;
pub mod rules;
pub mod scram;

pub use hash::{Algorithm, BadHash, PasswordHash, SALT_BYTES};

/// What a client wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Get a message of the topic.
    Read,
    /// Publish to the topic.
    Write,
    /// Subscribe to the filter.
    Subscribe,
    /// Unsubscribe from the filter.
    Unsubscribe,
}

/// A client, as far as its rights depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// Its client id.
    pub client_id: &'a str,
    /// Its user name; `None`: it has none.
    pub username: Option<&'a str>,
}

/// What a set of rules says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allow,
    /// No.
    Deny,
    /// It does not know the client: others may.
    Defer,
}
