//! What a client came in with, beyond its name: a grant of rights, and for how long.
//!
//! ```text
//!  CONNECT ──► Pass ──┬──► Session: grant, asked before the tables of rights
//!                     └──► Link: until when, and how it goes on with AUTH
//! ```

use crate::authority::Access;
use crate::client::Client;
use crate::end::Ending;
use crate::event::{AuthAnswer, AuthStep, Question};
use crate::timers::Due;
use crate::worker::Worker;
use mogi_codec::topic::Shared;
use mogi_codec::{
    Auth, DecodeError, Header, PacketKind, PropertyBuf, PropertyId, RawPublish, Reason, Subscribe,
    Version,
};
use std::fmt;
use std::sync::Arc;

/// What a grant says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Allow,
    /// No.
    Deny,
    /// The tables of rights decide.
    Defer,
    /// Somebody else has to be asked first; where nobody can wait for that, it means no.
    Ask,
}

/// Rights that came with a login. It is asked by workers, so it does not wait.
pub trait Grant: fmt::Debug + Send + Sync {
    /// Whether the client may do that; topics are as in [`Authority`](crate::Authority).
    fn allows(&self, access: Access, topic: &str) -> Answer;

    /// Whether it ever says [`Answer::Ask`]. Such a grant remembers answers itself.
    fn asks(&self) -> bool {
        false
    }

    /// Finds out what it cannot say yet, and calls `done` when it can. The core never calls it: it
    /// is for those who take [`Question`]s.
    fn ask(self: Arc<Self>, access: Access, topics: Vec<String>, done: Box<dyn FnOnce() + Send>) {
        drop((access, topics));
        done();
    }
}

/// What a client came in with.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Tells what it logged in with from anything else; 0: nothing.
    pub login: u64,
    /// Rights of its own.
    pub grant: Option<Arc<dyn Grant>>,
    /// When its login ends, in milliseconds since 1970; `None`: never.
    pub until_ms: Option<u64>,
    /// How it authenticated with AUTH packets, if it did (section 4.12).
    pub enhanced: Option<Box<Enhanced>>,
}

/// Enhanced authentication (section 4.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enhanced {
    /// The method, of all AUTH packets of the connection ([MQTT-4.12.0-5]).
    pub method: Box<str>,
    /// The last word of the exchange, for CONNACK.
    pub data: Vec<u8>,
}

impl Worker {
    /// Ends a connection whose login is over.
    pub(crate) fn check_login(&mut self, key: u32, generation: u32) {
        let now_ms = self.turn.now_ms;
        let Some(Client { link: Some(link), .. }) = self.clients.current(key, generation) else {
            return;
        };
        match link.until_ms {
            Some(at_ms) if at_ms <= now_ms => self.disconnect(key, Ending::LoginOver),
            Some(at_ms) => self.timers.add(at_ms, key, generation, Due::Login),
            None => {}
        }
    }

    /// A connected client authenticates anew (section 4.12.1): an AUTH packet of its method is
    /// passed on, any other breaks the rules.
    pub(crate) fn reauthenticate(&mut self, key: u32, auth: &Auth<'_>) -> Result<(), DecodeError> {
        let Some(client) = self.clients.get_mut(key) else {
            return Ok(());
        };
        let Some(link) = &mut client.link else {
            return Ok(());
        };
        let Some(method) = &link.method else {
            // No authentication was begun ([MQTT-4.12.0-7]).
            return Err(DecodeError::protocol("AUTH without an authentication method"));
        };
        if auth.properties.str(PropertyId::AuthenticationMethod) != Some(method) {
            // [MQTT-4.12.1-1]
            return Err(DecodeError::protocol("AUTH with another authentication method"));
        }
        let begins = match (auth.reason, link.exchanging) {
            (Reason::Reauthenticate, false) => true,
            (Reason::ContinueAuthentication, true) => false,
            _ => return Err(DecodeError::protocol("AUTH with a reason that is not its turn")),
        };
        link.exchanging = true;
        let data = auth.properties.bytes(PropertyId::AuthenticationData).unwrap_or_default();
        self.turn.effects.steps.push(AuthStep {
            key,
            generation: client.generation,
            token: link.token,
            username: client.session.username.clone(),
            begins,
            data: data.to_vec(),
        });
        Ok(())
    }

    /// Answers an [`AuthStep`].
    pub fn authenticated(&mut self, now_ms: u64, step: &AuthStep, answer: AuthAnswer) {
        self.turn.now_ms = now_ms;
        let Some(client) = self.clients.current(step.key, step.generation) else {
            return;
        };
        let Some(link) = client.link.as_mut().filter(|link| link.token == step.token) else {
            return;
        };
        let (reason, data) = match answer {
            AuthAnswer::Refused => return self.disconnect(step.key, Ending::LoginOver),
            AuthAnswer::Continue(data) => (Reason::ContinueAuthentication, data),
            AuthAnswer::Done { login, data } => {
                (link.login, link.exchanging) = (login, false);
                (Reason::Success, data)
            }
        };
        let mut properties = PropertyBuf::new();
        properties
            .str(PropertyId::AuthenticationMethod, link.method.as_deref().unwrap_or_default());
        if !data.is_empty() {
            properties.bytes(PropertyId::AuthenticationData, &data);
        }
        client.ack(step.key, &mut self.turn, |version, out| {
            Auth { reason, properties: properties.as_properties() }.encode(version, out);
        });
    }

    /// Whether the packet has to wait because somebody is to be asked about it; it was asked.
    pub(crate) fn must_ask(
        &mut self,
        key: u32,
        version: Version,
        header: Header,
        packet: &[u8],
    ) -> bool {
        let Some(client) = self.clients.get_mut(key) else {
            return false;
        };
        let Some(grant) = client.session.grant.clone().filter(|grant| grant.asks()) else {
            return false;
        };
        let body = packet.get(header.header_len..).unwrap_or_default();
        let (access, topics) = match header.kind {
            PacketKind::Publish => (Access::Write, client.topic_asked(version, header, body)),
            PacketKind::Subscribe => (Access::Subscribe, client.filters_asked(version, body)),
            _ => return false,
        };
        let unknown = |topic: &String| grant.allows(access, topic) == Answer::Ask;
        let mut topics: Vec<String> = topics.into_iter().filter(unknown).collect();
        topics.dedup();
        if topics.is_empty() {
            return false;
        }
        let generation = client.generation;
        let Some(link) = &mut client.link else {
            return false;
        };
        if std::mem::replace(&mut link.asking, true) {
            // It comes again when what was asked before is known.
            return true;
        }
        let token = link.token;
        self.turn.effects.questions.push(Question {
            key,
            generation,
            token,
            grant,
            access,
            topics,
        });
        true
    }

    /// Tells that a [`Question`] was answered: the connection may be read on.
    pub fn answered(&mut self, now_ms: u64, key: u32, generation: u32) -> bool {
        self.turn.now_ms = now_ms;
        let client = self.clients.current(key, generation);
        let Some(link) = client.and_then(|client| client.link.as_mut()) else {
            return false;
        };
        std::mem::take(&mut link.asking)
    }
}

impl Client {
    /// The topic of a PUBLISH, as the broker has it; whoever deals with the packet says what is
    /// wrong with it.
    fn topic_asked(&self, version: Version, header: Header, body: &[u8]) -> Vec<String> {
        let Ok(publish) = RawPublish::decode(version, header, body) else {
            return Vec::new();
        };
        let Some(link) = &self.link else {
            return Vec::new();
        };
        let alias = publish.properties.int(PropertyId::TopicAlias);
        let known = alias.and_then(|alias| link.aliases_in.get(alias as u16));
        let topic = match (std::str::from_utf8(publish.topic), &known) {
            (Ok(""), Some(known)) => known,
            (Ok(topic), _) if !topic.is_empty() => topic,
            _ => return Vec::new(),
        };
        vec![format!("{}{topic}", link.mount.as_deref().unwrap_or_default())]
    }

    fn filters_asked(&self, version: Version, body: &[u8]) -> Vec<String> {
        let Ok(subscribe) = Subscribe::decode(version, body) else {
            return Vec::new();
        };
        let mount = self.session.mount.as_deref().unwrap_or_default();
        subscribe.filters().map(|wanted| behind(mount, wanted.filter)).collect()
    }
}

/// A filter behind a mount point.
pub(crate) fn behind(mount: &str, filter: &str) -> String {
    match Shared::parse(filter) {
        Ok(Some(shared)) => format!("$share/{}/{mount}{}", shared.group, shared.filter),
        _ => format!("{mount}{filter}"),
    }
}
