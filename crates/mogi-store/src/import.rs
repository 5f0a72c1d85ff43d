//! Mosquitto's sessions and messages as the first changes of a new store.
//!
//! What the file does not say is decided in favour of the user's data: an end that is not known is
//! far away. A QoS 2 message Mosquitto has taken and not passed on yet is passed on here, because
//! its publisher will only send PUBREL for it.

use crate::mosquitto_db::{Client, ClientMessage, Db, Direction, Message as DbMessage, State};
use crate::ops::{
    EntryNo, Ids, SessionNo, SessionRecord, StoreOp, StoredDelivery, StoredSubscription,
};
use mogi_codec::QoS;
use mogi_codec::topic::{Shared, matches};
use mogi_core::message::NEVER;
use mogi_core::{Author, Message, MessageView};
use std::collections::{HashMap, HashSet};

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// The changes, for one commit of an empty store.
    pub ops: Vec<StoreOp>,
    /// Sessions.
    pub sessions: usize,
    /// Their subscriptions.
    pub subscriptions: usize,
    /// Messages on their way to them.
    pub entries: usize,
    /// Retained messages.
    pub retained: usize,
    /// Sessions that had ended with their connection, and messages that had expired.
    pub left_out: usize,
}

/// Turns a file into changes. `now_ms` is the time, in milliseconds since 1970.
pub fn import(db: &Db, now_ms: u64) -> Import {
    let mut work = Work::new(db, now_ms);
    for client in &db.clients {
        work.session(client);
    }
    work.subscriptions();
    for client in &db.clients {
        work.messages(client);
    }
    work.retained();
    work.out
}

struct Work<'a> {
    db: &'a Db,
    now_ms: u64,
    out: Import,
    /// By id: the message, unless it has expired.
    messages: HashMap<u64, (&'a DbMessage, Message)>,
    sessions: HashMap<&'a str, SessionNo>,
    entries: u64,
}

impl<'a> Work<'a> {
    fn new(db: &'a Db, now_ms: u64) -> Self {
        let mut out = Import::default();
        let mut messages = HashMap::new();
        for message in &db.messages {
            match converted(message, now_ms) {
                Some(converted) => drop(messages.insert(message.id, (message, converted))),
                None => out.left_out += 1,
            }
        }
        Self { db, now_ms, out, messages, sessions: HashMap::new(), entries: 0 }
    }

    fn session(&mut self, client: &'a Client) {
        let Some((expiry_s, left_at_ms)) = times(client, self.now_ms) else {
            self.out.left_out += 1;
            return;
        };
        self.out.sessions += 1;
        let session = SessionNo(self.out.sessions as u64);
        self.sessions.insert(&client.id, session);
        let username = &client.username;
        let record = SessionRecord {
            client: client.id.as_str().into(),
            expiry_s,
            username: (!username.is_empty()).then(|| username.as_str().into()),
            mount: None,
            left_at_ms,
        };
        self.out.ops.push(StoreOp::SessionSet { session, record });
    }

    fn subscriptions(&mut self) {
        for subscription in &self.db.subscriptions {
            let Some(&session) = self.sessions.get(subscription.client_id.as_str()) else {
                continue;
            };
            self.out.subscriptions += 1;
            let subscription = StoredSubscription {
                filter: subscription.filter.as_str().into(),
                options: subscription.options.encode(),
                id: subscription.identifier,
            };
            self.out.ops.push(StoreOp::SubscriptionSet { session, subscription });
        }
    }

    fn messages(&mut self, client: &Client) {
        let Some(&session) = self.sessions.get(client.id.as_str()) else {
            return;
        };
        for copy in &client.messages {
            let Some((known, message)) = self.messages.get(&copy.message_id) else {
                continue;
            };
            let (known, message) = (*known, message.clone());
            match copy.direction {
                Direction::Out => self.outgoing(session, copy, message),
                Direction::In => self.incoming(session, copy, known, &message),
            }
        }
    }

    fn outgoing(&mut self, session: SessionNo, copy: &ClientMessage, message: Message) {
        let ids = match copy.subscription_ids[..] {
            [] => Ids::None,
            [id] => Ids::from_id(id),
            _ => Ids::Many(copy.subscription_ids.clone().into()),
        };
        let (qos, retain) = (copy.qos, copy.retain);
        let delivery = StoredDelivery { message, qos, retain, ids, group: None };
        let entry = self.enqueue(session, delivery);
        if copy.state == State::Queued || copy.mid == 0 {
            return;
        }
        self.out.ops.push(StoreOp::Assigned { session, entry, packet_id: copy.mid });
        if copy.state == State::WaitForPubcomp {
            self.out.ops.push(StoreOp::Released { session, entry });
        }
    }

    /// PUBREC was sent, and nobody has the message yet.
    fn incoming(
        &mut self,
        session: SessionNo,
        copy: &ClientMessage,
        known: &DbMessage,
        message: &Message,
    ) {
        self.out.ops.push(StoreOp::Received { session, packet_id: copy.mid, follows: 0 });
        let mut given: HashSet<(&str, &str)> = HashSet::new();
        for subscription in &self.db.subscriptions {
            let filter = &subscription.filter;
            let qos = subscription.options.qos.min(copy.qos);
            let shared = !matches!(Shared::parse(filter), Ok(None));
            if shared || qos == QoS::AtMostOnce || !matches(filter, message.topic()) {
                continue;
            }
            let Some(&session) = self.sessions.get(subscription.client_id.as_str()) else {
                continue;
            };
            if given.insert((&subscription.client_id, filter)) {
                let ids = Ids::from_id(subscription.identifier);
                let retain = copy.retain && subscription.options.retain_as_published;
                let message = message.clone();
                self.enqueue(session, StoredDelivery { message, qos, retain, ids, group: None });
            }
        }
        if copy.retain {
            self.retain(signed(message, known));
        }
    }

    fn enqueue(&mut self, session: SessionNo, delivery: StoredDelivery) -> EntryNo {
        self.entries += 1;
        self.out.entries += 1;
        let entry = EntryNo(self.entries);
        self.out.ops.push(StoreOp::Enqueued { session, entry, delivery });
        entry
    }

    fn retained(&mut self) {
        for id in &self.db.retained {
            let Some((message, converted)) = self.messages.get(id) else {
                continue;
            };
            if !message.topic.starts_with("$SYS/") {
                self.retain(signed(converted, message));
            }
        }
    }

    fn retain(&mut self, message: Message) {
        self.out.retained += 1;
        let version = self.out.retained as u64;
        self.out.ops.push(StoreOp::Retained { message, version });
    }
}

/// Session expiry interval and since when the client is away; `None`: the session has ended.
fn times(client: &Client, now_ms: u64) -> Option<(u32, Option<u64>)> {
    let interval_s = client.session_expiry_interval_s;
    let ends_ms = u64::try_from(client.session_expires_s).unwrap_or(0) * 1000;
    match (interval_s, ends_ms) {
        // Mosquitto 2.0 writes this for its bridges, whose sessions last, and for clients whose
        // sessions ended with their connection.
        (0, _) => client.id.starts_with("local.").then_some((u32::MAX, None)),
        (_, 0) => Some((interval_s, None)),
        (u32::MAX, _) => {
            // `persistent_client_expiration` limits what the client asked for.
            let left_s = ends_ms.saturating_sub(now_ms).div_ceil(1000).max(1);
            let left_s = u32::try_from(left_s).unwrap_or(u32::MAX);
            Some((left_s, Some(now_ms)))
        }
        _ => Some((interval_s, Some(ends_ms.saturating_sub(u64::from(interval_s) * 1000)))),
    }
}

fn converted(message: &DbMessage, now_ms: u64) -> Option<Message> {
    let expires_at_ms = match u64::try_from(message.expires_s) {
        Ok(0) | Err(_) => NEVER,
        Ok(seconds) => seconds * 1000,
    };
    if expires_at_ms <= now_ms || message.topic.is_empty() {
        return None;
    }
    let view = MessageView {
        qos: message.qos,
        retain: message.retain,
        topic: message.topic.as_bytes(),
        properties: message.properties.as_properties().raw(),
        payload: &message.payload,
        expires_at_ms,
        frame: None,
    };
    Some(Message::new(&view, &mut Vec::new()))
}

/// A message that is retained, with who published it: its right to may be asked about.
fn signed(message: &Message, known: &DbMessage) -> Message {
    let client_id = known.source_client_id.as_str();
    if client_id.is_empty() {
        return message.clone();
    }
    let username = Some(known.source_username.as_str()).filter(|name| !name.is_empty());
    message.signed(&Author { client_id, username, port: known.source_port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::mosquitto_db::read;
    use crate::store::{Loaded, Store};

    /// The fixtures' description stands beside them.
    #[test]
    fn files_of_both_mosquittos_become_sessions() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut files = 0;
        for entry in walk(&dir) {
            let bytes = std::fs::read(&entry).expect("a fixture");
            let db = read(&bytes).expect("a good file");
            let import = import(&db, 1_000_000_000_000);
            let mut store = MemoryStore::new();
            store.commit(&[&import.ops]).expect("memory");
            let (mut sessions, mut entries, mut retained) = (0, 0, 0);
            let visit = &mut |loaded| match loaded {
                Loaded::Session(session) => {
                    sessions += 1;
                    entries += session.flights.len() + session.waiting.len();
                }
                Loaded::Retained { .. } => retained += 1,
                _ => {}
            };
            store.load(visit).expect("memory");
            assert_eq!((sessions, entries), (import.sessions, import.entries), "{entry:?}");
            assert!(retained <= import.retained);
            files += 1;
        }
        assert!(files > 5, "{files} fixtures");
    }

    fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).expect("fixtures").flatten() {
            let path = entry.path();
            if path.is_dir() {
                found.extend(walk(&path));
            } else if path.extension().is_some_and(|extension| extension == "db") {
                found.push(path);
            }
        }
        found
    }

    #[test]
    fn a_session_keeps_its_end() {
        let client = |interval: u32, ends_s: i64| Client {
            id: "c".to_owned(),
            username: String::new(),
            session_expires_s: ends_s,
            session_expiry_interval_s: interval,
            last_mid: 0,
            listener_port: 0,
            messages: Vec::new(),
        };
        let now_ms = 1_000_000;
        assert_eq!(times(&client(0, 0), now_ms), None);
        assert_eq!(times(&client(60, 0), now_ms), Some((60, None)));
        assert_eq!(times(&client(u32::MAX, 0), now_ms), Some((u32::MAX, None)));
        assert_eq!(times(&client(60, 1030), now_ms), Some((60, Some(970_000))));
        assert_eq!(times(&client(u32::MAX, 1030), now_ms), Some((30, Some(now_ms))));
        let bridge = Client { id: "local.x".to_owned(), ..client(0, 0) };
        assert_eq!(times(&bridge, now_ms), Some((u32::MAX, None)));
    }
}
