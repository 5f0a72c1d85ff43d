//! Users and rights that another service knows (`http_auth_url`, `http_acl_url`).
//!
//! | it answers | that means |
//! |---|---|
//! | 200 with nothing, `allow`, `ok`, `true`; 204 | yes |
//! | 200 with `{"result": "allow"}`, `{"result": "ok"}`, `{"ok": true}`, `{"allow": true}` | yes |
//! | 200 with `deny`, `false`, `{"result": "deny"}`, `{"result": "ignore"}`, `{"ok": false}` | no |
//! | 400, 401, 403, 404 | no |
//! | anything else, or nothing in time | that it is broken; the client is refused |

use super::memory::Memory;
use super::pool::Pool;
use super::web::{Answer as HttpAnswer, Service};
use mogi_auth::Who;
use mogi_auth::grant::Granted;
use mogi_core::{Access, Answer, Grant};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Answers about topics that a session remembers.
const REMEMBERED: usize = 256;
/// How long a broken service's "no" counts.
const NO_ANSWER: Duration = Duration::from_secs(1);

/// The services of a listener, and what they answered.
pub(super) struct Remote {
    pub(super) auth: Service,
    pub(super) acl: Option<Service>,
    pub(super) logins: Memory<Option<Known>>,
    pub(super) answers: Memory<bool>,
    pub(super) pool: Arc<Pool>,
    /// How long an answer about a topic counts.
    pub(super) time: Duration,
    /// Makes questions unlike those of any other process.
    pub(super) salt: [u8; 32],
}

/// A client that asks to be let in.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) client_id: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    /// The address it comes from; empty: by a Unix socket.
    pub(super) address: String,
    /// The topic of its will, which is asked about at once.
    pub(super) will: Option<String>,
}

/// A user the service knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    superuser: bool,
    granted: Option<Granted>,
    /// When the login ends, in seconds since 1970.
    pub(super) end_s: Option<u64>,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// The service says so.
    Denied,
    /// The service says nothing that could be understood.
    NoAnswer,
}

impl Remote {
    /// Asks whether a client may come in; it takes time.
    pub(super) fn log_in(self: &Arc<Self>, asker: &Asker) -> Result<(Known, RemoteGrant), No> {
        let question = self.question(&[
            asker.client_id.as_bytes(),
            asker.username.as_deref().unwrap_or_default().as_bytes(),
            &[u8::from(asker.username.is_some()), u8::from(asker.password.is_some())],
            asker.password.as_deref().unwrap_or_default(),
            asker.address.as_bytes(),
        ]);
        let known = match self.logins.get(&question) {
            Some(known) => known,
            None => {
                let known = self.ask_login(asker)?;
                self.logins.put(question, known.clone());
                known
            }
        };
        let known = known.ok_or(No::Denied)?;
        let grant = RemoteGrant {
            remote: Arc::clone(self),
            client_id: asker.client_id.clone(),
            username: asker.username.clone(),
            known: known.clone(),
            answers: Mutex::default(),
        };
        if let Some(will) = asker.will.as_ref().filter(|_| grant.asks()) {
            grant.find_out(Access::Write, will);
        }
        Ok((known, grant))
    }

    /// Forgets what was answered.
    pub(super) fn forget(&self) {
        self.logins.clear();
        self.answers.clear();
    }

    fn ask_login(&self, asker: &Asker) -> Result<Option<Known>, No> {
        let mut body = json!({
            "clientid": asker.client_id,
            "username": asker.username,
            "ipaddress": asker.address,
        });
        match asker.password.as_deref().map(std::str::from_utf8) {
            None => body["password"] = Value::Null,
            Some(Ok(text)) => body["password"] = json!(text),
            // What is no text comes as what it is.
            Some(Err(_)) => {
                let bytes = asker.password.as_deref().unwrap_or_default();
                body["password_hex"] =
                    json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            }
        }
        let answer = self.auth.post(body.to_string().as_bytes()).ok_or(No::NoAnswer)?;
        read_login(&answer).map_err(|why| {
            self.auth.made_no_sense(why);
            No::NoAnswer
        })
    }

    /// Nobody finds out a password from what is remembered of it, nor makes two questions one.
    fn question(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(self.salt);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

/// What a service says of a login; `None`: no.
fn read_login(answer: &HttpAnswer) -> Result<Option<Known>, &'static str> {
    if !read_verdict(answer)? {
        return Ok(None);
    }
    let Ok(Value::Object(told)) = serde_json::from_slice::<Value>(&answer.body) else {
        return Ok(Some(Known::default()));
    };
    let flag = |name: &str| match told.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or("its is_superuser is neither true nor false"),
    };
    let granted = match told.get("acl") {
        None | Some(Value::Null) => None,
        Some(rules) => {
            let mut granted = Granted::default();
            granted.parse(rules).map_err(|_| "its acl is not understood")?;
            Some(granted)
        }
    };
    let end_s = match told.get("expire_at") {
        None | Some(Value::Null) => None,
        Some(end) => Some(end.as_u64().ok_or("its expire_at is no time in seconds since 1970")?),
    };
    Ok(Some(Known { superuser: flag("is_superuser")? || flag("superuser")?, granted, end_s }))
}

/// Yes or no.
fn read_verdict(answer: &HttpAnswer) -> Result<bool, &'static str> {
    match answer.status {
        200 => {}
        204 => return Ok(true),
        400 | 401 | 403 | 404 => return Ok(false),
        _ => return Err("a status that says neither yes nor no"),
    }
    let unclear = "a body that says neither yes nor no";
    let text = std::str::from_utf8(&answer.body).map_err(|_| unclear)?.trim();
    let word = |word: &str| match word {
        "allow" | "ok" | "true" => Ok(true),
        "deny" | "ignore" | "false" => Ok(false),
        _ => Err(unclear),
    };
    let Some(Value::Object(told)) = serde_json::from_str::<Value>(text).ok() else {
        // RabbitMQ's services add tags behind the word.
        let first = text.split_whitespace().next().unwrap_or("allow");
        return word(&first.to_ascii_lowercase());
    };
    let verdict = ["result", "ok", "allow"].iter().find_map(|name| told.get(*name));
    match verdict {
        Some(Value::Bool(yes)) => Ok(*yes),
        Some(Value::String(text)) => word(&text.to_ascii_lowercase()),
        _ => Err(unclear),
    }
}

/// What a client the service let in may do.
pub(super) struct RemoteGrant {
    remote: Arc<Remote>,
    client_id: String,
    username: Option<String>,
    known: Known,
    /// By access and topic: until when, and what.
    answers: Mutex<HashMap<(bool, String), (Instant, bool)>>,
}

impl RemoteGrant {
    fn who(&self) -> Who<'_> {
        Who { client_id: &self.client_id, username: self.username.as_deref() }
    }

    /// Asks the service about a topic; it takes time.
    fn find_out(&self, access: Access, topic: &str) {
        let Some(acl) = &self.remote.acl else {
            return;
        };
        let writes = access == Access::Write;
        let question = self.remote.question(&[
            self.client_id.as_bytes(),
            self.username.as_deref().unwrap_or_default().as_bytes(),
            &[u8::from(self.username.is_some()), u8::from(writes)],
            topic.as_bytes(),
        ]);
        if let Some(allowed) = self.remote.answers.get(&question) {
            return self.learn(writes, topic, allowed, self.remote.time);
        }
        let body = json!({
            "clientid": self.client_id,
            "username": self.username,
            "topic": topic,
            "action": if writes { "publish" } else { "subscribe" },
            // As mosquitto-go-auth says it.
            "acc": if writes { 2 } else { 4 },
        });
        let answer = acl.post(body.to_string().as_bytes());
        let verdict = answer.and_then(|answer| match read_verdict(&answer) {
            Ok(allowed) => Some(allowed),
            Err(why) => {
                acl.made_no_sense(why);
                None
            }
        });
        match verdict {
            Some(allowed) => {
                self.remote.answers.put(question, allowed);
                self.learn(writes, topic, allowed, self.remote.time);
            }
            // Whoever cannot be asked allows nothing.
            None => self.learn(writes, topic, false, NO_ANSWER),
        }
    }

    fn learn(&self, writes: bool, topic: &str, allowed: bool, time: Duration) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= REMEMBERED {
            let now = Instant::now();
            answers.retain(|_, (until, _)| *until > now);
            if answers.len() >= REMEMBERED {
                answers.clear();
            }
        }
        // What was just found out is still known when it is asked for.
        let until = Instant::now() + time.max(NO_ANSWER);
        answers.insert((writes, topic.to_owned()), (until, allowed));
    }
}

impl Grant for RemoteGrant {
    fn allows(&self, access: Access, topic: &str) -> Answer {
        if self.known.superuser {
            return Answer::Allow;
        }
        if let Some(granted) = &self.known.granted {
            return match granted.allows(&self.who(), super::own(access), topic) {
                true => Answer::Allow,
                false => Answer::Deny,
            };
        }
        if self.remote.acl.is_none() {
            return Answer::Defer;
        }
        if matches!(access, Access::Read | Access::Unsubscribe) {
            // Who may subscribe gets what is published.
            return Answer::Allow;
        }
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.get(&(access == Access::Write, topic.to_owned())) {
            Some((until, allowed)) if *until > Instant::now() => match allowed {
                true => Answer::Allow,
                false => Answer::Deny,
            },
            _ => Answer::Ask,
        }
    }

    fn asks(&self) -> bool {
        self.remote.acl.is_some() && !self.known.superuser && self.known.granted.is_none()
    }

    fn ask(self: Arc<Self>, access: Access, topics: Vec<String>, done: Box<dyn FnOnce() + Send>) {
        let done = Arc::new(Mutex::new(Some(done)));
        let tell = |done: &Mutex<Option<Box<dyn FnOnce() + Send>>>| {
            if let Some(done) = done.lock().unwrap_or_else(PoisonError::into_inner).take() {
                done();
            }
        };
        let (own, topics) = (Arc::clone(&self), Arc::new(topics));
        let (job_topics, job_done) = (Arc::clone(&topics), Arc::clone(&done));
        let job = move || {
            job_topics.iter().for_each(|topic| own.find_out(access, topic));
            tell(&job_done);
        };
        if !self.remote.pool.submit(Box::new(job)) {
            let refuse = |topic: &String| {
                self.learn(access == Access::Write, topic, false, NO_ANSWER);
            };
            topics.iter().for_each(refuse);
            tell(&done);
        }
    }
}

/// Without the services, which would be asked for their own.
impl fmt::Debug for RemoteGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteGrant").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str) -> Result<bool, &'static str> {
        read_verdict(&HttpAnswer { status, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn services_of_several_kinds_are_understood() {
        for (status, body) in [
            (200, ""),
            (200, "allow"),
            (200, "allow administrator"),
            (200, "OK\n"),
            (200, "true"),
            (200, r#"{"result": "allow", "is_superuser": false}"#),
            (200, r#"{"result": "ok"}"#),
            (200, r#"{"ok": true, "error": ""}"#),
            (204, ""),
        ] {
            assert_eq!(verdict(status, body), Ok(true), "{status} {body}");
        }
        for (status, body) in [
            (200, "deny"),
            (200, "false"),
            (200, r#"{"result": "deny"}"#),
            (200, r#"{"result": "ignore"}"#),
            (200, r#"{"ok": false, "error": "no"}"#),
            (401, "whatever"),
            (403, r#"{"result": "allow"}"#),
            (404, ""),
        ] {
            assert_eq!(verdict(status, body), Ok(false), "{status} {body}");
        }
        for (status, body) in [
            (200, "<html>allow</html>"),
            (200, "{}"),
            (200, r#"{"result": 1}"#),
            (200, r#"{"result": {"error": "not_allowed"}}"#),
            (302, ""),
            (500, "allow"),
        ] {
            assert!(verdict(status, body).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn a_login_may_come_with_rights_and_an_end() {
        let read = |body: &str| read_login(&HttpAnswer { status: 200, body: body.into() });
        let known = read(r#"{"result": "allow", "acl": ["read a"], "expire_at": 1700000000}"#);
        let known = known.expect("understood").expect("let in");
        assert!(known.granted.is_some() && known.end_s == Some(1_700_000_000));
        assert!(read(r#"{"result": "allow", "acl": "all"}"#).is_err());
        assert!(read(r#"{"result": "allow", "is_superuser": "yes"}"#).is_err());
        assert!(read(r#"{"result": "deny", "acl": "all"}"#).expect("understood").is_none());
    }
}
