//! Tokens at CONNECT: believed with keys of files and of an address (`jwt_*`).

use super::web::Service;
use crate::net::shared::LogSink;
use mogi_auth::Who;
use mogi_auth::grant::Granted;
use mogi_auth::jwt::{BadToken, Claims, Keys};
use mogi_auth::rules::Tokens;
use mogi_core::{Access, Answer, Grant, LogKind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How often keys are fetched at most because a token names one that is not known.
const FETCH_PAUSE: Duration = Duration::from_secs(10);

/// Keys that somebody publishes (`jwt_jwks_url`).
pub(super) struct KeySet {
    service: Service,
    refresh: Duration,
    keys: RwLock<Arc<Keys>>,
    /// When they were fetched last, or when that was tried.
    fetched: Mutex<Option<Instant>>,
    log: &'static dyn LogSink,
}

impl KeySet {
    pub(super) fn new(service: Service, refresh: Duration, log: &'static dyn LogSink) -> Self {
        Self { service, refresh, keys: RwLock::default(), fetched: Mutex::new(None), log }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the keys if they were not since `age`. One fetches while the others wait; what is
    /// known stays known while they cannot be had.
    fn fetch(&self, age: Duration) -> Arc<Keys> {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if fetched.is_some_and(|at| at.elapsed() < age) {
            return self.keys();
        }
        if let Some(answer) = self.service.get() {
            match (answer.status, Keys::parse_set(&answer.body)) {
                (200, Ok(keys)) => {
                    *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                }
                (200, Err(error)) => {
                    let line = format!("Warning: jwt_jwks_url has no keys: {error}.");
                    self.log.log(LogKind::Warning, &line);
                }
                (status, _) => {
                    let line = format!("Warning: jwt_jwks_url answers with status {status}.");
                    self.log.log(LogKind::Warning, &line);
                }
            }
        }
        *fetched = Some(Instant::now());
        self.keys()
    }
}

/// Believes a token or not; it takes time where keys have to be fetched.
pub(super) fn verify(
    tokens: &Tokens,
    set: Option<&KeySet>,
    password: &[u8],
    now_s: u64,
) -> Result<Claims, BadToken> {
    let Ok(token) = std::str::from_utf8(password) else {
        return Err(BadToken::NotAToken);
    };
    let first = tokens.rules.verify(&tokens.keys, token, now_s);
    let (Err(BadToken::UnknownKey | BadToken::Refused(_)), Some(set)) = (&first, set) else {
        return first;
    };
    let known = set.fetch(set.refresh);
    match tokens.rules.verify(&known, token, now_s) {
        // Keys change, and tokens of a new one come before the old ones are too old.
        Err(BadToken::UnknownKey) => tokens.rules.verify(&set.fetch(FETCH_PAUSE), token, now_s),
        outcome => outcome,
    }
}

/// The rights in a token.
#[derive(Debug)]
pub(super) struct TokenGrant {
    pub(super) client_id: String,
    pub(super) username: String,
    pub(super) granted: Granted,
}

impl Grant for TokenGrant {
    fn allows(&self, access: Access, topic: &str) -> Answer {
        let who = Who { client_id: &self.client_id, username: Some(&self.username) };
        match self.granted.allows(&who, super::own(access), topic) {
            true => Answer::Allow,
            false => Answer::Deny,
        }
    }
}
