//! A text all nodes share, and change only as they have seen it last.
//!
//! It is one hash: `version` counts its changes, `change` names the last one, and `document` is the
//! text. Who changes it says which version the new text was made of, so of two at the same moment
//! one learns that it was too late; and until when it may be done, so that what its writer gave up
//! is not done later, when Redis can be reached again.

use super::functions::Function;
use super::link::Link;
use super::wire::{Commands, Outcome, Reply, Request, Value, slot_of};
use super::{RedisOptions, keys::Keys};
use crate::error::StoreError;
use std::time::{Duration, Instant};

/// How long a reading or a change may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A text all nodes share. Calls block; it has a connection of its own.
pub struct Document {
    link: Link,
    key: String,
}

/// Which state of a document it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Counts its changes, from 1.
    pub version: u64,
    /// What whoever made the last change called it.
    pub change: String,
}

/// A document as it was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `None`: there is none yet.
    pub edition: Option<(Mark, Vec<u8>)>,
    /// Milliseconds since 1970 by the clock of Redis, and when that was here.
    clock: (u64, Instant),
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It is done.
    Done(Mark),
    /// Somebody else has changed it since.
    Outrun,
}

impl Document {
    /// The one of dynamic security.
    ///
    /// # Errors
    /// If files of TLS cannot be read.
    pub fn dynsec(options: &RedisOptions) -> Result<Self, StoreError> {
        let key = Keys::new(&options.prefix).dynsec();
        Ok(Self { link: Link::start(options.connection())?, key })
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        format!("'{}' in {}", self.key, self.link.place)
    }

    /// Reads it.
    ///
    /// # Errors
    /// If Redis does not answer within some seconds, or what is there is no such document.
    pub fn read(&self) -> Result<Seen, StoreError> {
        let mut commands = Commands::one(&[b"TIME"]);
        let fields = [&b"version"[..], b"change", b"document"];
        commands.begin(5).word(b"HMGET").word(self.key.as_bytes());
        for field in fields {
            commands.word(field);
        }
        let reply = self.call(Request { aside: true, ..self.request(commands) })?;
        let [time, Value::Array(found)] = &reply.values[..] else {
            let error = reply.values.get(1).and_then(Value::error).map(ToString::to_string);
            return Err(self.link.told(error.unwrap_or_else(|| "no answer".to_owned())));
        };
        let text = found.get(2).and_then(Value::bytes);
        let edition = match (mark(found), text) {
            (None, None) => None,
            (Some(mark), Some(text)) => Some((mark, text.to_vec())),
            _ => {
                let key = &self.key;
                let what = format!("'{key}' lacks one of version, change and document");
                return Err(self.link.told(what));
            }
        };
        Ok(Seen { edition, clock: (millis(time), Instant::now()) })
    }

    /// Replaces what was seen, if it is still what is there. `change`: what no other change is
    /// called.
    ///
    /// # Errors
    /// If Redis does not answer, or refuses. It may have been done all the same if the connection
    /// broke in the very moment; what was not done by then will not be done later.
    pub fn replace(&self, seen: &Seen, change: &str, text: &[u8]) -> Result<Replaced, StoreError> {
        let before = seen.edition.as_ref().map_or(0, |(mark, _)| mark.version);
        let (clock_ms, at) = seen.clock;
        let until_ms = clock_ms + (at.elapsed() + PATIENCE).as_millis() as u64;
        let mut commands = Commands::new();
        commands.begin(8).word(b"FCALL").word(Function::Replace.name()).number(1);
        commands.word(self.key.as_bytes()).number(before).word(change.as_bytes());
        commands.number(until_ms).word(text);
        let reply = self.call(Request { durable: true, ..self.request(commands) })?;
        match reply.values.first() {
            Some(Value::ServerError(error)) if error.code() == "OUTRUN" => Ok(Replaced::Outrun),
            Some(Value::ServerError(error)) => Err(self.link.told(error.to_string())),
            value => {
                let version = value.and_then(Value::int).and_then(|it| u64::try_from(it).ok());
                let version = version.ok_or_else(|| self.link.told("no answer"))?;
                Ok(Replaced::Done(Mark { version, change: change.to_owned() }))
            }
        }
    }

    /// Asks which state it has, and waits until Redis answers, however long that takes; `None`:
    /// there is none. `done` runs on the connection's thread.
    pub fn look(&self, done: impl FnOnce(Option<Mark>) + Send + 'static) {
        let words = [&b"HMGET"[..], self.key.as_bytes(), b"version", b"change"];
        let request = Request { aside: true, ..self.request(Commands::one(&words)) };
        self.link.cluster.send(request, move |outcome: Outcome| {
            let found = outcome.ok();
            let found = found.as_ref().and_then(|reply| reply.values.first()?.array());
            done(found.and_then(mark));
        });
    }

    fn request(&self, commands: Commands) -> Request {
        Request::new(slot_of(self.key.as_bytes()), commands)
    }

    fn call(&self, request: Request) -> Result<Reply, StoreError> {
        let replies = self.link.cluster.call(vec![request], PATIENCE);
        let mut replies = replies.map_err(|fault| self.link.error(fault))?;
        replies.pop().ok_or_else(|| self.link.told("no answer"))
    }
}

fn mark(found: &[Value]) -> Option<Mark> {
    let version = found.first()?.text()?.parse().ok()?;
    Some(Mark { version, change: found.get(1)?.text()?.to_owned() })
}

/// What `TIME` says.
fn millis(time: &Value) -> u64 {
    let part = |at: usize| {
        let part = time.array().and_then(|parts| parts.get(at)?.int());
        part.and_then(|part| u64::try_from(part).ok()).unwrap_or(0)
    };
    part(0).saturating_mul(1000).saturating_add(part(1) / 1000)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Server;
    use super::*;

    #[test]
    fn of_two_changes_of_one_state_one_is_outrun() {
        let server = Server::start(&[]);
        let open = || Document::dynsec(&server.options()).expect("opened");
        let (a, b) = (open(), open());
        let (by_a, by_b) = (a.read().expect("read"), b.read().expect("read"));
        assert!(by_a.edition.is_none());
        let Ok(Replaced::Done(first)) = a.replace(&by_a, "a1", b"one") else {
            panic!("nobody was before");
        };
        assert_eq!(first.version, 1);
        assert_eq!(b.replace(&by_b, "b1", b"two").expect("an answer"), Replaced::Outrun);
        // As when the answer was lost with the connection.
        assert_eq!(a.replace(&by_a, "a1", b"one").expect("done"), Replaced::Done(first.clone()));
        let by_b = b.read().expect("read");
        assert_eq!(by_b.edition, Some((first, b"one".to_vec())));
        let Ok(Replaced::Done(second)) = b.replace(&by_b, "b1", b"two") else {
            panic!("nobody was before");
        };
        assert_eq!(second, Mark { version: 2, change: "b1".to_owned() });
        let (told, tells) = std::sync::mpsc::channel();
        a.look(move |mark| told.send(mark).expect("heard"));
        assert_eq!(tells.recv().expect("told"), Some(second));
    }

    #[test]
    fn what_comes_too_late_is_not_done() {
        let server = Server::start(&[]);
        let document = Document::dynsec(&server.options()).expect("opened");
        let mut seen = document.read().expect("read");
        seen.clock.0 -= 60_000;
        let error = document.replace(&seen, "a", b"one").expect_err("too late");
        assert!(error.to_string().contains("too late"), "{error}");
        assert!(document.read().expect("read").edition.is_none());
    }

    #[test]
    fn what_is_no_document_is_told() {
        let server = Server::start(&[]);
        let document = Document::dynsec(&server.options()).expect("opened");
        server.cli(&["SET", "dynsec", "x"]);
        assert!(document.read().expect_err("text").to_string().contains("WRONGTYPE"));
        server.cli(&["DEL", "dynsec"]);
        server.cli(&["HSET", "dynsec", "document", "x"]);
        assert!(document.read().expect_err("half").to_string().contains("lacks"));
    }
}
