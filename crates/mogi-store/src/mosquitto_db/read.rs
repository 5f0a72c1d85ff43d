//! From bytes to a [`Db`].
//!
//! What a chunk refers to has to stand before it, as Mosquitto writes it: when it reads, it drops
//! deliveries of messages it has not read yet.

use super::chunk::{Chunk, Chunks, HEADER_LEN, Kind};
use super::fields::{Fields, Result as FieldResult, checked_text};
use super::{
    Client, ClientMessage, Damage, Db, DbError, Direction, Message, State, Subscription, VERSION,
};
use mogi_codec::properties::Value;
use mogi_codec::{
    MAX_REMAINING_LENGTH, PropertyBuf, PropertyId, QoS, SubscribeOptions, Version, topic,
};
use std::collections::{HashMap, HashSet};

/// How many damages [`read_lossy`] describes; the others are counted.
pub const MAX_DAMAGES: usize = 1000;

/// Reads a file.
///
/// That a file was cut off between two chunks cannot be seen: nothing marks the end.
///
/// # Errors
/// If it is no `mosquitto.db`, is of another version than [`VERSION`], or if anything in it is
/// not as Mosquitto 2.0 and 2.1 write it.
pub fn read(bytes: &[u8]) -> Result<Db, DbError> {
    let mut reading = Reading::default();
    for chunk in Chunks::new(bytes)? {
        chunk.and_then(|chunk| reading.add(chunk)).map_err(DbError::Damaged)?;
    }
    reading.check_configured().map_err(DbError::Damaged)?;
    Ok(reading.db)
}

/// What could be taken from a damaged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// What is healthy.
    pub db: Db,
    /// What was skipped and why, the first [`MAX_DAMAGES`] of it. Where a message is skipped, so
    /// are its deliveries; where a client is, its subscriptions and messages.
    pub skipped: Vec<Damage>,
    /// How much was skipped in all.
    pub skipped_count: usize,
}

/// Reads what is healthy in a file.
///
/// # Errors
/// If it is no `mosquitto.db`, or of another version than [`VERSION`].
pub fn read_lossy(bytes: &[u8]) -> Result<Recovered, DbError> {
    let mut reading = Reading::default();
    let mut skipped = Vec::new();
    let mut skipped_count = 0;
    let mut note = |result: Result<(), Damage>| {
        if let Err(damage) = result {
            skipped_count += 1;
            if skipped.len() < MAX_DAMAGES {
                skipped.push(damage);
            }
        }
    };
    for chunk in Chunks::new(bytes)? {
        note(chunk.and_then(|chunk| reading.add(chunk)));
    }
    note(reading.check_configured());
    Ok(Recovered { db: reading.db, skipped, skipped_count })
}

/// A file as far as it was read.
#[derive(Default)]
struct Reading<'a> {
    db: Db,
    configured: bool,
    message_ids: HashSet<u64>,
    /// Where each client stands in the list.
    clients: HashMap<&'a str, usize>,
    /// The last user name that was not a leftover.
    last_username: &'a [u8],
    /// Whether the last client had a leftover in the place of a user name.
    stale_username: bool,
}

impl<'a> Reading<'a> {
    fn add(&mut self, chunk: Chunk<'a>) -> Result<(), Damage> {
        let fields = Fields::new(chunk.body);
        let result = match chunk.kind {
            Kind::Config => self.add_config(fields),
            Kind::Message => self.add_message(fields),
            Kind::ClientMessage => self.add_client_message(fields),
            Kind::Retained => self.add_retained(fields),
            Kind::Subscription => self.add_subscription(fields),
            Kind::Client => self.add_client(fields),
        };
        result.map_err(|what| chunk.damage(what))
    }

    fn check_configured(&self) -> Result<(), Damage> {
        if self.configured {
            return Ok(());
        }
        let what = "there is none, and every file has one; was the file cut short?".to_owned();
        Err(Damage { offset: HEADER_LEN, chunk: Kind::Config.name(), what })
    }

    fn add_config(&mut self, mut fields: Fields<'a>) -> FieldResult<()> {
        let last_id = fields.id()?;
        let clean_shutdown = fields.flag("the mark of a clean shutdown")?;
        let id_len = fields.u8()?;
        if id_len != 8 {
            return Err(format!("message ids of {id_len} bytes; all known Mosquittos use 8"));
        }
        fields.skip(6)?;
        fields.finish()?;
        if self.configured {
            return Err("there is one already".to_owned());
        }
        self.configured = true;
        self.db.version = VERSION;
        self.db.last_id = last_id;
        self.db.clean_shutdown = clean_shutdown;
        Ok(())
    }

    fn add_message(&mut self, fields: Fields<'a>) -> FieldResult<()> {
        let message = read_message(fields)?;
        if message.id == 0 {
            return Err("message id 0".to_owned());
        }
        if !self.message_ids.insert(message.id) {
            return Err(format!("a second message with the id {}", message.id));
        }
        self.db.messages.push(message);
        Ok(())
    }

    fn add_client(&mut self, mut fields: Fields<'a>) -> FieldResult<()> {
        let session_expires_s = fields.time()?;
        let session_expiry_interval_s = fields.u32()?;
        let last_mid = fields.u16()?;
        let id_len = fields.u16()?;
        let listener_port = fields.u16()?;
        let username_len = fields.u16()?;
        fields.skip(4)?;
        let id = fields.text(id_len, "client id")?;
        let username = fields.bytes(usize::from(username_len), "user name")?;
        fields.finish()?;
        let username = self.username(username)?.to_owned();
        if id.is_empty() {
            return Err("the client id is empty".to_owned());
        }
        if self.clients.contains_key(id) {
            return Err(format!("a second client {id:?}"));
        }
        self.clients.insert(id, self.db.clients.len());
        self.db.clients.push(Client {
            id: id.to_owned(),
            username,
            session_expires_s,
            session_expiry_interval_s,
            last_mid,
            listener_port,
            messages: Vec::new(),
        });
        Ok(())
    }

    /// The user name of the next client.
    ///
    /// For a client without one, Mosquitto 2.0.11 writes that of the client before it, as long
    /// as the name's length with its two bytes swapped: the name, a zero, and other memory. For
    /// another one after that, it swaps the length back, and only the name is there.
    fn username(&mut self, bytes: &'a [u8]) -> FieldResult<&'a str> {
        let last = self.last_username;
        let rest = bytes.strip_prefix(last).unwrap_or_default();
        let swapped = bytes.len() == usize::from((last.len() as u16).swap_bytes());
        let again = self.stale_username && bytes == last;
        self.stale_username = again || swapped && rest.first() == Some(&0);
        if self.stale_username {
            return Ok("");
        }
        self.last_username = bytes;
        checked_text(bytes, "user name")
    }

    fn add_client_message(&mut self, fields: Fields<'a>) -> FieldResult<()> {
        let (id, message) = read_client_message(fields)?;
        self.check_message(message.message_id)?;
        let client = self.clients.get(id).and_then(|&at| self.db.clients.get_mut(at));
        client.ok_or_else(|| unknown_client(id))?.messages.push(message);
        Ok(())
    }

    fn add_subscription(&mut self, mut fields: Fields<'a>) -> FieldResult<()> {
        let identifier = fields.u32()?;
        let id_len = fields.u16()?;
        let filter_len = fields.u16()?;
        let qos = fields.qos()?;
        let options = fields.u8()?;
        fields.skip(2)?;
        let client_id = fields.text(id_len, "client id")?;
        let filter = fields.text(filter_len, "filter")?;
        fields.finish()?;
        if options & 0b11 != 0 {
            return Err(format!("unknown option in 0x{options:02X}"));
        }
        let options = SubscribeOptions::decode(Version::V5, options | qos as u8)
            .map_err(|error| error.what.to_owned())?;
        check_filter(filter)?;
        if identifier > MAX_SUBSCRIPTION_ID {
            return Err(format!("subscription identifier {identifier}"));
        }
        if !self.clients.contains_key(client_id) {
            return Err(unknown_client(client_id));
        }
        self.db.subscriptions.push(Subscription {
            client_id: client_id.to_owned(),
            filter: filter.to_owned(),
            options,
            identifier,
        });
        Ok(())
    }

    fn add_retained(&mut self, mut fields: Fields<'a>) -> FieldResult<()> {
        let id = fields.id()?;
        fields.finish()?;
        self.check_message(id)?;
        self.db.retained.push(id);
        Ok(())
    }

    fn check_message(&self, id: u64) -> FieldResult<()> {
        if self.message_ids.contains(&id) {
            return Ok(());
        }
        Err(format!("it refers to message {id}, which does not stand before it"))
    }
}

/// The largest subscription identifier there is.
pub(super) const MAX_SUBSCRIPTION_ID: u32 = 268_435_455;

/// Whether `filter` is one a client can subscribe to.
pub(super) fn check_filter(filter: &str) -> FieldResult<()> {
    topic::check_filter(filter).map_err(|error| format!("filter {filter:?}: {}", error.what))
}

/// Whether `name` is one a client can publish to.
pub(super) fn check_topic(name: &str) -> FieldResult<()> {
    topic::check_name(name).map_err(|error| format!("topic {name:?}: {}", error.what))
}

fn unknown_client(id: &str) -> String {
    format!("it refers to client {id:?}, which does not stand before it")
}

fn read_message(mut fields: Fields<'_>) -> FieldResult<Message> {
    let id = fields.id()?;
    let expires_s = fields.time()?;
    let payload_len = fields.u32()?;
    let source_mid = fields.u16()?;
    let id_len = fields.u16()?;
    let username_len = fields.u16()?;
    let topic_len = fields.u16()?;
    let source_port = fields.u16()?;
    let qos = fields.qos()?;
    let retain = fields.flag("the RETAIN flag")?;
    let source_client_id = fields.text(id_len, "client id")?.to_owned();
    let source_username = fields.text(username_len, "user name")?.to_owned();
    let topic = fields.text(topic_len, "topic")?.to_owned();
    check_topic(&topic)?;
    let payload_len = usize::try_from(payload_len).unwrap_or(usize::MAX);
    if payload_len > MAX_REMAINING_LENGTH as usize {
        return Err(format!("a payload of {payload_len} bytes, more than MQTT allows"));
    }
    let payload = fields.bytes(payload_len, "payload")?.to_vec();
    let properties = fields.properties()?;
    Ok(Message {
        id,
        expires_s,
        source_client_id,
        source_username,
        source_mid,
        source_port,
        qos,
        retain,
        topic,
        payload,
        properties,
    })
}

/// The client's id, and the message.
fn read_client_message<'a>(mut fields: Fields<'a>) -> FieldResult<(&'a str, ClientMessage)> {
    let message_id = fields.id()?;
    let mid = fields.u16()?;
    let id_len = fields.u16()?;
    let qos = fields.qos()?;
    let state = State::from_u8(fields.u8()?);
    let flags = fields.u8()?;
    let direction = match fields.u8()? {
        0 => Direction::In,
        1 => Direction::Out,
        other => return Err(format!("direction {other}")),
    };
    let id = fields.text(id_len, "client id")?;
    let subscription_ids = subscription_ids(&fields.properties()?)?;
    if flags & !(RETAIN | DUP) != 0 {
        return Err(format!("unknown flag in 0x{flags:02X}"));
    }
    if mid == 0 && qos != QoS::AtMostOnce {
        return Err("packet id 0 with QoS above 0".to_owned());
    }
    let retain = flags & RETAIN != 0;
    let dup = flags & DUP != 0;
    let message =
        ClientMessage { message_id, mid, qos, state, retain, dup, direction, subscription_ids };
    Ok((id, message))
}

/// The RETAIN flag of a delivery.
pub(super) const RETAIN: u8 = 0x10;
/// The DUP flag of a delivery.
pub(super) const DUP: u8 = 0x01;

fn subscription_ids(properties: &PropertyBuf) -> FieldResult<Vec<u32>> {
    let ids = properties.as_properties().iter().map(|property| match property.value {
        Value::Int(id) if property.id == PropertyId::SubscriptionIdentifier => Ok(id),
        _ => Err(format!("a property {}, which belongs to the message", property.id.name())),
    });
    ids.collect()
}
