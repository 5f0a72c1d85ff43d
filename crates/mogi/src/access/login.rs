//! A client's CONNECT: let in, turned away, or in need of a password.

use super::Access;
use mogi_auth::rules::{Entry, RuleSet};
use mogi_auth::{PasswordHash, Who};
use mogi_codec::Reason;
use mogi_core::handshake::credentials;
use mogi_core::{Judgement, Standing};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// What is known of a CONNECT at once.
#[derive(Debug)]
pub(crate) enum Login {
    /// It comes in; it logged in with nothing.
    Open,
    /// It does not.
    Refused(Refusal),
    /// Its password is checked elsewhere; what comes of it is told later.
    Waits,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// For the log; the client is told nothing of it.
    pub(crate) why: &'static str,
    pub(crate) code: Reason,
}

impl Refusal {
    const fn of(why: &'static str) -> Self {
        Self { why, code: Reason::NotAuthorized }
    }
}

impl Access {
    /// Judges an admitted CONNECT packet. `tell` gets the verdict if that takes time: what the
    /// client logged in with, or why not.
    pub(crate) fn login(
        &self,
        table: u16,
        client_id: &str,
        packet: &[u8],
        tell: impl FnOnce(Result<u64, Refusal>) + Send + 'static,
    ) -> Login {
        let Some(set) = self.set(table) else {
            return Login::Refused(Refusal::of("the listener has no rules"));
        };
        let (username, password) = credentials(packet);
        let hash = match set.entry(&Who { client_id, username }) {
            Entry::Open => return Login::Open,
            Entry::Refused(why) => return Login::Refused(Refusal::of(why)),
            Entry::Password(hash) => hash.clone(),
        };
        let Some(password) = password.map(<[u8]>::to_vec) else {
            return Login::Refused(Refusal::of("no password"));
        };
        let job = move || {
            let right = hash.verify(&password);
            tell(if right { Ok(tag(&hash)) } else { Err(Refusal::of("wrong password")) });
        };
        match self.pool.submit(Box::new(job)) {
            true => Login::Waits,
            false => Login::Refused(Refusal {
                why: "too many passwords wait to be checked",
                code: Reason::ServerBusy,
            }),
        }
    }

    /// What becomes of a session when files were read again: who is connected and could not log in
    /// as it did has to leave.
    pub(super) fn judge(&self, standing: &Standing<'_>) -> Judgement {
        let set = standing.rights.and_then(|table| self.set(table));
        let welcome = match (set, standing.login) {
            (Some(set), Some(login)) => could_log_in(&set, standing, login),
            _ => true,
        };
        if welcome { Judgement::Check } else { Judgement::Leave }
    }
}

fn could_log_in(set: &RuleSet, standing: &Standing<'_>, login: u64) -> bool {
    let who = Who { client_id: standing.client_id, username: standing.username };
    match set.entry(&who) {
        Entry::Open => true,
        Entry::Refused(_) => false,
        Entry::Password(hash) => tag(hash) == login,
    }
}

/// Tells a password from another without being one; never 0.
fn tag(hash: &PasswordHash) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash.to_string().hash(&mut hasher);
    hasher.finish() | 1
}
