//! Reads sessions: what is known of them, what waits for them, what is in flight to them.

use super::encode::{self, Found};
use super::functions::Function;
use super::journal;
use super::keys::{Keys, Of, Tag, cause_of, entry_of};
use super::link::Link;
use super::wire::{Commands, Reply, Request, Value};
use crate::error::StoreError;
use crate::ops::{Cause, EntryNo, SessionNo, StoredFlight, StoredSession, StoredWaiting};
use crate::store::Damage;
use std::sync::Arc;

/// What is asked of each session at once.
const PARTS: [Of; 4] = [Of::Session, Of::Subs, Of::Recv, Of::Inflight];

/// So many of them an idle session has.
const OF_IDLE: usize = 2;

/// Behind this stands what waits first.
const FIRST: &[u8] = b"-";

/// Commands that read all of a session but its messages.
pub(super) fn commands(keys: &Keys, tag: &Tag) -> Commands {
    let mut commands = Commands::new();
    for part in PARTS {
        commands.push(&[b"HGETALL", keys.of(tag, part).as_bytes()]);
    }
    commands.append(&waiting_command(keys, tag, FIRST));
    commands
}

/// The same of one session of many, of which few have something waiting: [`Partial::rest`] asks
/// for that. Of an `idle` one, to and from which nothing is on its way, less is read.
pub(super) fn commands_of_many(keys: &Keys, tag: &Tag, idle: bool) -> Commands {
    let mut commands = Commands::new();
    for part in PARTS.into_iter().take(if idle { OF_IDLE } else { PARTS.len() }) {
        commands.push(&[b"HGETALL", keys.of(tag, part).as_bytes()]);
    }
    commands.push(&[b"XLEN", keys.of(tag, Of::Queue).as_bytes()]);
    commands
}

/// Commands that read whether there is a session and whether something waits for it, which
/// [`Partial::rest`] asks for then.
pub(super) fn commands_of_waiting(keys: &Keys, tag: &Tag) -> Commands {
    let mut commands = Commands::new();
    commands.push(&[b"HGETALL", keys.of(tag, Of::Session).as_bytes()]);
    commands.push(&[b"XLEN", keys.of(tag, Of::Queue).as_bytes()]);
    commands
}

fn waiting_command(keys: &Keys, tag: &Tag, behind: &[u8]) -> Commands {
    let queue = keys.of(tag, Of::Queue);
    Commands::one(&[b"FCALL_RO", Function::Waiting.name(), b"1", queue.as_bytes(), behind])
}

/// A session as far as it was read, and whose it is.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(super) client: Arc<str>,
    pub(super) tag: Tag,
    pub(super) session: StoredSession,
    /// The node that owns it and its epoch, as far as it was claimed.
    pub(super) owner: Option<Arc<str>>,
    pub(super) epoch: u64,
    /// What follows from received packet ids and handed over entries, and may not be in all queues.
    pub(super) pending: Vec<(Cause, journal::Parts)>,
    /// Packet ids of messages in flight that are still to be read.
    flights: Vec<(EntryNo, u16)>,
    /// Behind which id to go on reading what waits; empty: that is all.
    behind: Vec<u8>,
}

/// Reads the replies to [`commands`], [`commands_of_many`] or [`commands_of_waiting`]; `None` if
/// there is no session.
pub(super) fn begin(
    client: &Arc<str>,
    tag: &Tag,
    values: &[Value],
    damage: &mut Damage,
) -> Option<Partial> {
    const NONE: &Value = &Value::Nil;
    let (hash, subs, recv, inflight, waiting) = match values {
        [hash, waiting] => (hash, NONE, NONE, NONE, waiting),
        [hash, subs, waiting] => (hash, subs, NONE, NONE, waiting),
        [hash, subs, recv, inflight, waiting] => (hash, subs, recv, inflight, waiting),
        _ => return None,
    };
    let hash = Found::of(hash);
    let number: u64 = hash.number("no")?;
    let Some(record) = hash.session(client) else {
        damage.records += 1;
        damage.note(|| format!("session:{{{client}}} has not the fields of a session"));
        return None;
    };
    let mut session = StoredSession {
        session: SessionNo(number),
        record,
        subscriptions: Vec::new(),
        received: Vec::new(),
        flights: Vec::new(),
        waiting: Vec::new(),
    };
    for (filter, options) in Found::of(subs).pairs() {
        match encode::read_subscription(filter, options) {
            Some(subscription) => session.subscriptions.push(subscription),
            None => strange(damage, "subs", client),
        }
    }
    let pending = read_received(recv, &mut session, damage);
    let mut flights = Vec::new();
    for (id, packet_id) in Found::of(inflight).pairs() {
        match (entry_of(id), parsed(packet_id)) {
            (Some(entry), Some(packet_id)) => flights.push((entry, packet_id)),
            _ => strange(damage, "inflight", client),
        }
    }
    flights.sort_unstable();
    let mut partial = Partial {
        client: Arc::clone(client),
        tag: tag.clone(),
        session,
        owner: hash.text("node").filter(|node| !node.is_empty()).map(Arc::from),
        epoch: hash.number("epoch").unwrap_or(0),
        pending,
        flights,
        behind: Vec::new(),
    };
    match waiting {
        Value::Int(0) => {}
        Value::Int(_) => partial.behind = FIRST.to_vec(),
        list => partial.take_waiting(list, damage),
    }
    Some(partial)
}

/// Reads what was received at QoS 2; what follows from it may not be in all queues.
fn read_received(
    recv: &Value,
    session: &mut StoredSession,
    damage: &mut Damage,
) -> Vec<(Cause, journal::Parts)> {
    let mut pending = Vec::new();
    for (field, state) in Found::of(recv).pairs() {
        let Some(cause) = cause_of(field) else {
            strange(damage, "recv", &session.record.client);
            continue;
        };
        if let Cause::PacketId(packet_id) = cause {
            session.received.push(packet_id);
        }
        if state != b"received" {
            match journal::read(state) {
                Some(parts) => pending.push((cause, parts)),
                None => strange(damage, "recv", &session.record.client),
            }
        }
    }
    pending.sort_by_key(|(_, parts)| journal::first_number(parts));
    pending
}

/// Reads what is left to read of all of them.
pub(super) fn complete(
    link: &Link,
    keys: &Keys,
    partials: &mut [Partial],
    damage: &mut Damage,
) -> Result<(), StoreError> {
    loop {
        let mut requests = Vec::new();
        let mut of = Vec::new();
        for (at, partial) in partials.iter().enumerate() {
            let commands = partial.rest(keys);
            if !commands.is_empty() {
                requests.push(Request::new(partial.tag.slot, commands));
                of.push(at);
            }
        }
        if requests.is_empty() {
            break;
        }
        for (at, Reply { values, .. }) in of.into_iter().zip(link.call(requests)?) {
            if let Some(partial) = partials.get_mut(at) {
                partial.take_rest(&values, damage);
            }
        }
    }
    Ok(())
}

/// Messages in flight asked for at once, of one session.
const FLIGHTS: usize = 256;

impl Partial {
    /// The session, once all of it was read.
    pub(super) fn finish(mut self) -> StoredSession {
        self.session.waiting.sort_unstable_by_key(|waiting| waiting.entry);
        self.session.flights.sort_unstable_by_key(|flight| flight.entry);
        self.session
    }

    /// What reads more of it; nothing: that was all.
    pub(super) fn rest(&self, keys: &Keys) -> Commands {
        let mut commands = Commands::new();
        let prefix = keys.flights(&self.tag);
        for (_, packet_id) in self.flights.iter().take(FLIGHTS) {
            commands.push(&[b"HGETALL", format!("{prefix}{packet_id}").as_bytes()]);
        }
        if !self.behind.is_empty() {
            commands.append(&waiting_command(keys, &self.tag, &self.behind));
        }
        commands
    }

    /// Takes the replies to [`Self::rest`].
    pub(super) fn take_rest(&mut self, values: &[Value], damage: &mut Damage) {
        let count = self.flights.len().min(FLIGHTS);
        let (flights, waiting) = values.split_at(count.min(values.len()));
        for ((entry, packet_id), value) in self.flights.drain(..count).zip(flights) {
            let found = Found::of(value);
            // It ended between two reads, and its packet id may be another's by now.
            if found.get("entry").and_then(entry_of) != Some(entry) {
                continue;
            }
            let delivery = match found.text("state") {
                Some("released") => None,
                Some("sent") if found.delivery().is_some() => found.delivery(),
                _ => {
                    damage.records += 1;
                    let client = &self.client;
                    damage.note(|| format!("msg:{{{client}}}:{packet_id} is no message in flight"));
                    continue;
                }
            };
            self.session.flights.push(StoredFlight { entry, packet_id, delivery });
        }
        if let Some(waiting) = waiting.first() {
            self.take_waiting(waiting, damage);
        }
    }

    fn take_waiting(&mut self, value: &Value, damage: &mut Damage) {
        let list = value.array().unwrap_or_default();
        let (rows, last) = list.as_chunks::<3>();
        for [id, weight, grouped] in rows {
            let entry = id.bytes().and_then(entry_of);
            match (entry, weight.int()) {
                (Some(entry), Some(weight)) => self.session.waiting.push(StoredWaiting {
                    entry,
                    weight: u32::try_from(weight).unwrap_or(u32::MAX),
                    grouped: grouped.bytes() == Some(b"1"),
                }),
                _ => strange(damage, "queue", &self.client),
            }
        }
        self.behind = last.first().and_then(Value::bytes).unwrap_or_default().to_vec();
    }
}

fn parsed(bytes: &[u8]) -> Option<u16> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn strange(damage: &mut Damage, what: &str, client: &str) {
    damage.records += 1;
    damage.note(|| format!("{what}:{{{client}}} holds something mogi has not written"));
}
