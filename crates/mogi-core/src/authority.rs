//! What clients may do with topics: asked of whoever knows, remembered until that changes.
//!
//! ```text
//!  message, filter ──► Gate of the session ──► Authority of its listener
//!                      what was asked lately     read-only, replaced as a whole
//! ```
//! Where nobody limits anything, all of it is one comparison.

use crate::author::Author;
use crate::client::Client;
use crate::clients::Clients;
use crate::link::Link;
use crate::map::Map;
use crate::message::Message;
use crate::pass::{Answer, Grant, behind};
use crate::session::Session;
use crate::turn::Turn;
use std::fmt;
use std::sync::Arc;

/// What a client wants to do.
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

/// Knows what clients may do. It is asked by workers, so it neither waits nor locks.
pub trait Authority: fmt::Debug + Send + Sync {
    /// Whether the client may do that. Topic and filter are those of the broker: behind the mount
    /// point, and filters of shared subscriptions with their `$share/GROUP/`.
    fn allows(&self, client_id: &str, username: Option<&str>, access: Access, topic: &str) -> bool;
}

/// The table of sessions whose listener is not known: they were restored.
pub(crate) const NO_TABLE: u16 = u16::MAX;

/// The table of clients that may do everything: the broker's own ends of bridges. Whoever writes
/// the configuration says what a bridge carries; as in Mosquitto nobody else is asked.
pub const UNLIMITED: u16 = u16::MAX - 1;

/// What counts for all clients at a time.
#[derive(Clone, Debug)]
pub struct Rights {
    /// By [`ListenerConfig::rights`](crate::ListenerConfig::rights); `None`: everything is allowed.
    tables: Arc<[Option<Arc<dyn Authority>>]>,
    /// The ports of their listeners, by which a table is found again after a restart.
    ports: Arc<[u16]>,
    epoch: u64,
    /// No table limits anything.
    open: bool,
    /// Clients may have rights of their own.
    granted: bool,
    /// Requests on `$CONTROL/` are taken.
    control: bool,
}

impl Default for Rights {
    fn default() -> Self {
        Self::new(Vec::new(), 0, false)
    }
}

impl Rights {
    /// What counts from `epoch` on, which rises with every change. `control`: requests on
    /// `$CONTROL/` are taken from those who may publish there.
    pub fn new(tables: Vec<Option<Arc<dyn Authority>>>, epoch: u64, control: bool) -> Self {
        let open = tables.iter().all(Option::is_none);
        let ports = Arc::default();
        Self { tables: tables.into(), ports, epoch, open, granted: false, control }
    }

    /// The ports of the tables' listeners, in their order; 0: none.
    pub fn with_ports(self, ports: &[u16]) -> Self {
        Self { ports: ports.into(), ..self }
    }

    /// Clients may come in with rights of their own ([`Grant`](crate::Grant)).
    pub fn with_grants(self) -> Self {
        Self { open: false, granted: true, ..self }
    }

    /// Whether nothing is limited.
    #[inline]
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// Whether clients may have rights of their own.
    #[inline]
    pub(crate) const fn has_grants(&self) -> bool {
        self.granted
    }

    pub(crate) const fn takes_control(&self) -> bool {
        self.control
    }

    /// Who decides about clients of that table. Where there is but one, it knows all of them,
    /// unless they have rights of their own: those of restored sessions are known when they are
    /// back, and what waits for them is asked about again then.
    fn table(&self, table: u16) -> Option<&dyn Authority> {
        if table == UNLIMITED {
            return None;
        }
        let only = self.tables.len() == 1 && !self.granted;
        let at = if only { 0 } else { usize::from(table) };
        self.tables.get(at)?.as_deref()
    }
}

impl Rights {
    /// The table of the listener with that port.
    fn table_at(&self, port: u16) -> u16 {
        let found = self.ports.iter().position(|&it| it == port && port != 0);
        found.and_then(|at| u16::try_from(at).ok()).unwrap_or(NO_TABLE)
    }

    fn port_of(&self, table: u16) -> u16 {
        self.ports.get(usize::from(table)).copied().unwrap_or(0)
    }
}

/// Answers a session remembers.
const REMEMBERED: usize = 256;

/// What a session was told lately about topics.
#[derive(Debug)]
pub(crate) struct Gate {
    epoch: u64,
    /// By topic, two bits each for reading and for writing: known, allowed.
    answers: Map<Box<[u8]>, u8>,
}

/// Who retained a message.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    client_id: Arc<str>,
    username: Option<Arc<str>>,
    grant: Option<Arc<dyn Grant>>,
    place: Place,
}

/// Where a source has its rights.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In this table.
    Table(u16),
    /// In that of the listener with this port: it published before the broker started, or through
    /// another node.
    Port(u16),
}

/// Who retains a message, if that matters later (`check_retain_source`): it may be asked for later
/// as well, so it is known wherever anybody's rights are limited.
pub(crate) fn source_of(
    clients: &Clients,
    turn: &Turn,
    origin: Option<u32>,
) -> Option<Arc<Source>> {
    let origin = origin.filter(|_| turn.cfg.check_retain_source || !turn.rights.is_open());
    Some(clients.get(origin?)?.as_source())
}

impl Source {
    pub(crate) fn of_author(author: &Author<'_>) -> Self {
        Self {
            client_id: author.client_id.into(),
            username: author.username.map(Arc::from),
            grant: None,
            place: Place::Port(author.port),
        }
    }

    /// The message as stores and other nodes get it. Those with rights of their own cannot be asked
    /// about later, and nobody asks about the broker's own.
    pub(crate) fn sign(&self, message: &Message, rights: &Rights) -> Message {
        let port = match self.place {
            _ if self.grant.is_some() => return message.clone(),
            Place::Table(UNLIMITED) => return message.clone(),
            Place::Table(table) => rights.port_of(table),
            Place::Port(port) => port,
        };
        let username = self.username.as_deref();
        message.signed(&Author { client_id: &self.client_id, username, port })
    }

    /// Whether it may publish to the topic today.
    pub(crate) fn may_write(&self, turn: &Turn, topic: &str) -> bool {
        let granted = self.grant.as_ref().map(|it| it.allows(Access::Write, topic));
        match granted {
            // Nobody can be asked here; it might publish when it did.
            Some(Answer::Allow | Answer::Ask) => return true,
            Some(Answer::Deny) => return false,
            Some(Answer::Defer) | None => {}
        }
        let table = match self.place {
            Place::Table(table) => table,
            Place::Port(port) => turn.rights.table_at(port),
        };
        turn.rights.table(table).is_none_or(|authority| {
            let username = self.username.as_deref();
            authority.allows(&self.client_id, username, Access::Write, topic)
        })
    }
}

impl Client {
    /// Whether the client may read from, or publish to, a topic.
    #[inline]
    pub(crate) fn may(&mut self, turn: &Turn, access: Access, topic: &[u8]) -> bool {
        turn.rights.is_open() || self.ask(turn, access, topic)
    }

    /// Whether the client may subscribe to, or unsubscribe from, a filter.
    pub(crate) fn may_filter(&self, turn: &Turn, access: Access, filter: &str) -> bool {
        turn.rights.is_open() || self.judge_filter(turn, access, filter) == Answer::Allow
    }

    /// The same; [`Answer::Ask`]: nobody knows yet.
    pub(crate) fn judge_filter(&self, turn: &Turn, access: Access, filter: &str) -> Answer {
        let mounted = self.session.mount.as_deref().map(|mount| behind(mount, filter));
        let filter = mounted.as_deref().unwrap_or(filter);
        self.session.decide(&self.id, turn, access, filter)
    }

    /// Whether a rule lets the client publish to the topic, and not the lack of any.
    pub(crate) fn is_entitled(&self, turn: &Turn, topic: &str) -> bool {
        self.session.ruling(&self.id, turn, Access::Write, topic) == Some(Answer::Allow)
    }

    fn ask(&mut self, turn: &Turn, access: Access, topic: &[u8]) -> bool {
        if self.session.grant.as_ref().is_some_and(|grant| grant.asks()) {
            let Ok(text) = std::str::from_utf8(topic) else {
                return true;
            };
            return self.session.decide(&self.id, turn, access, text) == Answer::Allow;
        }
        let shift = if access == Access::Read { 0 } else { 2 };
        let gate = self.session.gate.get_or_insert_with(|| {
            let answers = Map::with_hasher(turn.node.hash());
            Box::new(Gate { epoch: turn.rights.epoch, answers })
        });
        if gate.epoch != turn.rights.epoch {
            gate.epoch = turn.rights.epoch;
            gate.answers.clear();
        }
        let known = gate.answers.get(topic).copied().unwrap_or(0);
        if known >> shift & 1 != 0 {
            return known >> shift & 2 != 0;
        }
        // What is no text is no topic, and is refused as such later.
        let Ok(text) = std::str::from_utf8(topic) else {
            return true;
        };
        let allowed = self.session.decide(&self.id, turn, access, text) == Answer::Allow;
        if let Some(gate) = &mut self.session.gate {
            if gate.answers.len() >= REMEMBERED {
                gate.answers.clear();
            }
            let answer = 1 | u8::from(allowed) << 1;
            gate.answers.insert(topic.into(), known | answer << shift);
        }
        allowed
    }

    /// The client as the source of a retained message.
    pub(crate) fn as_source(&self) -> Arc<Source> {
        Arc::new(Source {
            client_id: Arc::clone(&self.id),
            username: self.session.username.clone(),
            grant: self.session.grant.clone(),
            place: Place::Table(self.session.table),
        })
    }
}

impl Session {
    /// What nobody says anything about is allowed.
    fn decide(&self, client_id: &str, turn: &Turn, access: Access, topic: &str) -> Answer {
        self.ruling(client_id, turn, access, topic).unwrap_or(Answer::Allow)
    }

    /// What came with the login is asked first, then what counts for its listener; `None`: nobody
    /// says anything about topics.
    fn ruling(&self, client_id: &str, turn: &Turn, access: Access, topic: &str) -> Option<Answer> {
        let granted = self.grant.as_ref().map(|grant| grant.allows(access, topic));
        if let Some(Answer::Allow | Answer::Deny | Answer::Ask) = granted {
            return granted;
        }
        let table = turn.rights.table(self.table)?;
        Some(match table.allows(client_id, self.username.as_deref(), access, topic) {
            true => Answer::Allow,
            false => Answer::Deny,
        })
    }
}

/// A session, for those who decide whether it may stay.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its client id.
    pub client_id: &'a str,
    /// Its user name.
    pub username: Option<&'a str>,
    /// Its listener's [`ListenerConfig::rights`](crate::ListenerConfig::rights); `None`: not known.
    pub rights: Option<u16>,
    /// What it logged in with, as [`Admitted::login`](crate::Admitted::login); `None`: it is away.
    pub login: Option<u64>,
}

impl<'a> Standing<'a> {
    pub(crate) fn of(client: &'a Client) -> Self {
        let table = client.session.table;
        Self {
            client_id: &client.id,
            username: client.session.username.as_deref(),
            rights: (table != NO_TABLE).then_some(table),
            login: client.link.as_deref().map(|link: &Link| link.login),
        }
    }
}

/// What becomes of a session whose rights have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing.
    Stay,
    /// Subscriptions it may not have any more end.
    Check,
    /// Those, and its connection.
    Leave,
}
