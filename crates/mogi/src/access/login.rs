//! A client's CONNECT: let in, turned away, or looked at elsewhere: its password hashed, its token
//! believed, a service asked.

use super::remote::{Asker, No};
use super::tokens::{KeySet, TokenGrant, verify};
use super::{Access, Services};
use mogi_auth::jwt::{BadToken, Claims};
use mogi_auth::rules::{Entry, RuleSet};
use mogi_auth::{PasswordHash, Who};
use mogi_codec::Reason;
use mogi_core::handshake::{credentials, will_topic};
use mogi_core::{Grant, Judgement, Pass, Standing};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is known of a CONNECT at once.
#[derive(Debug)]
pub(crate) enum Login {
    /// It comes in; it logged in with nothing.
    Open,
    /// It does not.
    Refused(Refusal),
    /// It is looked at elsewhere; what comes of it is told later.
    Waits,
}

/// A client that may come in.
#[derive(Debug, Default)]
pub(crate) struct Welcome {
    pub(crate) pass: Pass,
    /// Milliseconds until its login ends; `None`: it does not.
    pub(crate) left_ms: Option<u64>,
    /// Its user name, if that is not the one of its CONNECT.
    pub(crate) username: Option<String>,
    /// Its client id, if its CONNECT has none.
    pub(crate) client_id: Option<String>,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// For the log; the client is told nothing of it.
    pub(crate) why: &'static str,
    pub(crate) code: Reason,
}

impl Refusal {
    pub(crate) const fn of(why: &'static str) -> Self {
        Self { why, code: Reason::NotAuthorized }
    }

    const fn unavailable(why: &'static str) -> Self {
        Self { why, code: Reason::ServerUnavailable }
    }
}

/// A CONNECT, as far as its login depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// The rules of its listener.
    pub(crate) table: u16,
    pub(crate) client_id: &'a str,
    /// The broker made the client id.
    pub(crate) assigned: bool,
    /// The CONNECT packet.
    pub(crate) packet: &'a [u8],
    /// What stands before its topics.
    pub(crate) mount: Option<&'a str>,
    /// The address it comes from; empty: by a Unix socket.
    pub(crate) address: &'a str,
}

type Verdict = Result<Welcome, Refusal>;

impl Access {
    /// Judges an admitted CONNECT packet. `tell` gets the verdict if that takes time.
    pub(crate) fn login(
        &self,
        caller: &Caller<'_>,
        tell: impl FnOnce(Verdict) + Send + 'static,
    ) -> Login {
        let Some(set) = self.set(caller.table) else {
            return Login::Refused(Refusal::of("the listener has no rules"));
        };
        let (username, password) = credentials(caller.packet);
        let who = Who { client_id: caller.client_id, username };
        let hash = match set.entry(&who, password.is_some()) {
            Entry::Open => return Login::Open,
            Entry::Refused(why) => return Login::Refused(Refusal::of(why)),
            Entry::Password(hash) => hash.clone(),
            Entry::Further => return self.look_further(set, caller, tell),
        };
        let Some(password) = password.map(<[u8]>::to_vec) else {
            return Login::Refused(Refusal::of("no password"));
        };
        let job = move || {
            let pass = Pass { login: tag(&hash), ..Pass::default() };
            tell(match hash.verify(&password) {
                true => Ok(Welcome { pass, ..Welcome::default() }),
                false => Err(Refusal::of("wrong password")),
            });
        };
        waits(self.pool.submit(Box::new(job)))
    }

    /// Tokens and services: those who ask others have threads of their own, so that passwords are
    /// not behind a service that is slow.
    fn look_further(
        &self,
        set: Arc<RuleSet>,
        caller: &Caller<'_>,
        tell: impl FnOnce(Verdict) + Send + 'static,
    ) -> Login {
        let (username, password) = credentials(caller.packet);
        let mount = caller.mount.unwrap_or_default();
        let asker = Asker {
            client_id: caller.client_id.to_owned(),
            username: username.map(str::to_owned),
            password: password.map(<[u8]>::to_vec),
            address: caller.address.to_owned(),
            will: will_topic(caller.packet).map(|topic| format!("{mount}{topic}")),
        };
        let assigned = caller.assigned;
        let services = self.services.get(usize::from(caller.table)).cloned().unwrap_or_default();
        let pool = match services.is_asked() {
            true => &self.asking,
            false => &self.pool,
        };
        let job = move || tell(find_out(&set, &services, &asker, assigned));
        waits(pool.submit(Box::new(job)))
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

const fn waits(submitted: bool) -> Login {
    match submitted {
        true => Login::Waits,
        false => Login::Refused(Refusal {
            why: "too many logins wait to be checked",
            code: Reason::ServerBusy,
        }),
    }
}

/// Looks at a login for as long as it takes.
fn find_out(set: &RuleSet, services: &Services, asker: &Asker, assigned: bool) -> Verdict {
    if let (Some(tokens), Some(password)) = (set.tokens(), &asker.password) {
        let keys: Option<&KeySet> = services.keys.as_deref();
        match verify(tokens, keys, password, now_s()) {
            Ok(claims) => {
                let fixed = tokens.keys.knows(claims.key);
                return welcome_token(claims, asker, assigned, fixed);
            }
            Err(BadToken::NotAToken) => {}
            Err(BadToken::UnknownKey) => {
                return Err(Refusal::of("the token is signed with a key that is not known"));
            }
            Err(BadToken::Refused(why)) => return Err(Refusal::of(why)),
        }
    }
    let Some(remote) = &services.remote else {
        return Err(Refusal::of(match asker.password {
            Some(_) => "unknown user, and the password is no token",
            None => "no token",
        }));
    };
    match remote.log_in(asker) {
        Ok((known, grant)) => {
            let left_ms = left_ms(known.end_s);
            if left_ms == Some(0) {
                return Err(Refusal::of("the login has expired"));
            }
            let grant: Arc<dyn Grant> = Arc::new(grant);
            let pass = Pass { login: ELSEWHERE, grant: Some(grant), ..Pass::default() };
            Ok(Welcome { pass, left_ms, ..Welcome::default() })
        }
        Err(No::Denied) => Err(Refusal::of("refused by http_auth_url")),
        Err(No::NoAnswer) => Err(Refusal::unavailable("http_auth_url does not answer")),
    }
}

/// What those have logged in with whom a service let in, or a key that is not in a file.
const ELSEWHERE: u64 = 2;

fn welcome_token(claims: Claims, asker: &Asker, assigned: bool, fixed: bool) -> Verdict {
    let client_id = match claims.client_id {
        Some(own) if assigned => Some(own),
        Some(own) if own != asker.client_id => {
            return Err(Refusal::of("the token is for another client id (jwt_clientid_claim)"));
        }
        _ => None,
    };
    let grant = claims.granted.map(|granted| {
        let client_id = client_id.clone().unwrap_or_else(|| asker.client_id.clone());
        let username = claims.username.clone();
        Arc::new(TokenGrant { client_id, username, granted }) as Arc<dyn Grant>
    });
    let login = if fixed { claims.key } else { ELSEWHERE };
    let pass = Pass { login, grant, ..Pass::default() };
    let left_ms = left_ms(claims.end_s);
    Ok(Welcome { pass, left_ms, username: Some(claims.username), client_id })
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How long it is until then by the clock on the wall.
fn left_ms(end_s: Option<u64>) -> Option<u64> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_millis());
    end_s.map(|end_s| end_s.saturating_mul(1000).saturating_sub(now_ms as u64))
}

fn could_log_in(set: &RuleSet, standing: &Standing<'_>, login: u64) -> bool {
    let who = Who { client_id: standing.client_id, username: standing.username };
    let verifier = standing.username.and_then(|name| set.scram()?.get(name));
    if verifier.is_some_and(|verifier| verifier.tag() == login) {
        return true;
    }
    match set.entry(&who, true) {
        Entry::Open => true,
        Entry::Refused(_) => false,
        Entry::Password(hash) => tag(hash) == login,
        Entry::Further => {
            let nameless = login == 0 && standing.username.is_none() && set.allow_anonymous;
            let known = set.tokens().is_some_and(|tokens| tokens.keys.knows(login));
            nameless || known || login == ELSEWHERE
        }
    }
}

/// Tells a password from another without being one; never 0.
fn tag(hash: &PasswordHash) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash.to_string().hash(&mut hasher);
    hasher.finish() | 1
}
