//! `mogi store export --mosquitto-db`: the way back to Mosquitto.
//!
//! Mosquitto keeps no wills, does not know who has been given a QoS 2 message without a copy of it,
//! and writes no packet ids by themselves. What is lost on the way is said.

use super::export::options;
use super::line::with_properties;
use super::reading::{Item, Reading};
use super::{Failure, UNREADABLE, conclude};
use mogi_codec::topic::Shared;
use mogi_codec::{PropertyBuf, QoS};
use mogi_core::message::NEVER;
use mogi_core::store::{StoredDelivery, StoredSession};
use mogi_core::{Author, Message};
use mogi_store::mosquitto_db::{
    Client, ClientMessage, Db, Direction, Message as DbMessage, State, Subscription, write,
};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The topic of the message that stands for one the client has already: only its packet id counts.
const HAS_IT: &str = "mogi/released";

/// A file that is removed unless it is finished.
pub(super) struct Output {
    file: File,
    path: PathBuf,
    finished: bool,
}

/// Makes the file, readable for its owner alone.
pub(super) fn create(path: &Path) -> Result<Output, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => Ok(Output { file, path: path.to_owned(), finished: false }),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure(
            UNREADABLE,
            format!("{} is there already: move it away, or name another file", path.display()),
        )),
        Err(error) => Err(Failure(UNREADABLE, format!("cannot make {}: {error}", path.display()))),
    }
}

impl Output {
    fn finish(mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_all());
        let failed =
            |error| Failure(UNREADABLE, format!("cannot write {}: {error}", self.path.display()));
        written.map_err(failed)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.finished {
            // What is incomplete is not to be taken for whole; there is nobody to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(super) fn run(reading: &mut Reading, output: Output) -> Result<u8, Failure> {
    let mut work = Work::default();
    for at in 0..reading.sessions.len() {
        // One that ends with its connection has ended: Mosquitto would keep it for ever.
        if reading.sessions[at].record.expiry_s == 0 {
            work.losses.ended += 1;
            continue;
        }
        work.session(&reading.sessions[at]);
        reading.each_message(at, |_, item| {
            work.item(item);
            Ok::<(), Failure>(())
        })?;
        work.finish_session();
    }
    reading.each_retained(|message, _| {
        work.retained(&message);
    })?;
    work.losses.wills = reading.wills.len();
    let bytes = write(&work.db).map_err(|error| Failure(UNREADABLE, error.to_string()))?;
    let path = output.path.display().to_string();
    output.finish(&bytes)?;
    let Db { clients, subscriptions, retained, .. } = &work.db;
    eprintln!(
        "Wrote {} sessions with {} subscriptions, {} messages for them and {} retained messages \
         to {path}. Give it to the user Mosquitto runs as.",
        clients.len(),
        subscriptions.len(),
        clients.iter().map(|client| client.messages.len()).sum::<usize>(),
        retained.len()
    );
    work.losses.tell();
    Ok(conclude(reading))
}

/// What Mosquitto's file cannot hold.
#[derive(Default)]
struct Losses {
    ended: usize,
    wills: usize,
    received: usize,
    grouped: usize,
    mounted: usize,
}

impl Losses {
    fn tell(&self) {
        let lines = [
            (self.ended, "sessions that ended with their connections are left out"),
            (self.wills, "wills are left out: Mosquitto does not keep them"),
            (
                self.received,
                "packet ids of received QoS 2 messages are left out: if their publishers send \
                 these messages again, they are taken for new ones",
            ),
            (
                self.grouped,
                "messages came through a shared subscription: they stay with the member they were \
                 given to",
            ),
            (
                self.mounted,
                "sessions have a mount point: Mosquitto needs the same one at their listener",
            ),
        ];
        for (count, line) in lines.iter().filter(|(count, _)| *count > 0) {
            eprintln!("Note: {count} {line}.");
        }
    }
}

#[derive(Default)]
struct Work {
    db: Db,
    /// The messages, so that those for several clients are there once.
    ids: HashMap<Published, u64>,
    /// Those the client at hand has: the same message twice is two messages.
    of_client: HashSet<u64>,
    /// Packet ids in flight to the client at hand.
    in_use: HashSet<u16>,
    losses: Losses,
}

/// A message, and whether it is marked as retained though it was not published so.
#[derive(PartialEq, Eq)]
struct Published(Message, bool);

impl Hash for Published {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

impl Work {
    fn session(&mut self, session: &StoredSession) {
        let record = &session.record;
        self.of_client.clear();
        self.in_use = session.flights.iter().map(|flight| flight.packet_id).collect();
        self.losses.received += session.received.len();
        self.losses.mounted += usize::from(record.mount.is_some());
        let ends_at_ms = match (record.expiry_s, record.left_at_ms) {
            (u32::MAX, _) | (_, None) => 0,
            (expiry_s, Some(left_at_ms)) => left_at_ms + u64::from(expiry_s) * 1000,
        };
        self.db.clients.push(Client {
            id: record.client.to_string(),
            username: record.username.as_deref().unwrap_or_default().to_owned(),
            session_expires_s: seconds(ends_at_ms),
            session_expiry_interval_s: record.expiry_s,
            last_mid: 0,
            listener_port: 0,
            messages: Vec::new(),
        });
        for subscription in &session.subscriptions {
            self.db.subscriptions.push(Subscription {
                client_id: record.client.to_string(),
                filter: mounted(&subscription.filter, record.mount.as_deref()),
                options: options(subscription),
                identifier: subscription.id,
            });
        }
    }

    fn item(&mut self, item: Item) {
        match item {
            Item::Waiting(delivery) => {
                let mid = match delivery.qos {
                    QoS::AtMostOnce => 0,
                    _ => self.next_mid(),
                };
                self.copy(delivery, mid, State::Queued);
            }
            Item::Flight(flight) => match flight.delivery {
                Some(delivery) => {
                    let state = match delivery.qos {
                        QoS::ExactlyOnce => State::WaitForPubrec,
                        _ => State::WaitForPuback,
                    };
                    self.copy(delivery, flight.packet_id, state);
                }
                None => self.copy(released(), flight.packet_id, State::WaitForPubcomp),
            },
        }
    }

    fn copy(&mut self, delivery: StoredDelivery, mid: u16, state: State) {
        self.losses.grouped += usize::from(delivery.group.is_some());
        let message_id = self.message(delivery.message, false);
        self.of_client.insert(message_id);
        let Some(client) = self.db.clients.last_mut() else { return };
        client.last_mid = client.last_mid.max(mid);
        client.messages.push(ClientMessage {
            message_id,
            mid,
            qos: delivery.qos,
            state,
            retain: delivery.retain,
            dup: false,
            direction: Direction::Out,
            subscription_ids: delivery.ids.as_slice().to_vec(),
        });
    }

    fn finish_session(&mut self) {
        self.of_client.clear();
        self.in_use.clear();
    }

    /// Queued messages have packet ids already, in Mosquitto.
    fn next_mid(&mut self) -> u16 {
        let mut last = match self.db.clients.last() {
            Some(client) => client.messages.iter().rev().find(|it| it.mid != 0).map(|it| it.mid),
            None => None,
        }
        .unwrap_or(0);
        // No more packet ids are in use than there are.
        for _ in 0..=u16::MAX {
            last = last.checked_add(1).unwrap_or(1);
            if !self.in_use.contains(&last) {
                break;
            }
        }
        last
    }

    fn retained(&mut self, message: &Message) {
        let id = self.message(message.unsigned(), true);
        self.db.retained.push(id);
        // Their ids count from 1.
        let at = usize::try_from(id - 1).ok().and_then(|at| self.db.messages.get_mut(at));
        if let (Some(Author { client_id, username, port }), Some(known)) = (message.author(), at) {
            known.source_client_id = client_id.to_owned();
            known.source_username = username.unwrap_or_default().to_owned();
            known.source_port = port;
        }
    }

    /// The id of a message, which is added if it is new.
    fn message(&mut self, message: Message, retained: bool) -> u64 {
        let next = self.db.messages.len() as u64 + 1;
        // Retained and a copy for somebody can be one, if it was published so.
        let mark = retained && !message.view().retain;
        let key = Published(message, mark);
        match self.ids.get(&key) {
            Some(id) if !self.of_client.contains(id) => return *id,
            _ => {}
        }
        self.db.messages.push(converted(&key.0, next, mark));
        self.ids.insert(key, next);
        next
    }
}

fn converted(message: &Message, id: u64, mark: bool) -> DbMessage {
    let view = message.view();
    let expires_at_ms = if view.expires_at_ms == NEVER { 0 } else { view.expires_at_ms };
    let properties = with_properties(view.properties, |properties| {
        let mut copied = PropertyBuf::new();
        for property in properties.iter() {
            copied.push(property);
        }
        copied
    });
    DbMessage {
        id,
        expires_s: seconds(expires_at_ms),
        source_client_id: String::new(),
        source_username: String::new(),
        source_mid: 0,
        source_port: 0,
        qos: view.qos,
        retain: view.retain || mark,
        topic: message.topic().to_owned(),
        payload: view.payload.to_vec(),
        properties,
    }
}

/// Seconds that contain these milliseconds; 0 stays 0.
fn seconds(ms: u64) -> i64 {
    i64::try_from(ms.div_ceil(1000)).unwrap_or(i64::MAX)
}

/// A filter as Mosquitto knows it: behind the mount point.
fn mounted(filter: &str, mount: Option<&str>) -> String {
    let Some(mount) = mount else { return filter.to_owned() };
    match Shared::parse(filter) {
        Ok(Some(shared)) => format!("$share/{}/{mount}{}", shared.group, shared.filter),
        _ => format!("{mount}{filter}"),
    }
}

fn released() -> StoredDelivery {
    let view = mogi_core::MessageView::internal(HAS_IT, &[], QoS::ExactlyOnce, false);
    StoredDelivery {
        message: Message::new(&view, &mut Vec::new()),
        qos: QoS::ExactlyOnce,
        retain: false,
        ids: mogi_core::store::Ids::None,
        group: None,
    }
}
