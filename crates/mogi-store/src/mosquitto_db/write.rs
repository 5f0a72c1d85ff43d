//! From a [`Db`] to bytes.
//!
//! Mosquitto drops without a word what it does not understand, or does not start at all; so
//! everything is checked here that [`read`](super::read) checks.

use super::chunk::{Kind, put_chunk, put_header};
use super::fields::{Fields, checked_text};
use super::read::{DUP, MAX_SUBSCRIPTION_ID, RETAIN, check_filter, check_topic};
use super::{Client, ClientMessage, Db, Message, Subscription, WriteError};
use mogi_codec::properties::put_section;
use mogi_codec::wire::{put_u16, put_u32};
use mogi_codec::{MAX_REMAINING_LENGTH, PropertyBuf, PropertyId, QoS};
use std::collections::HashSet;

/// Writes a file of [`VERSION`](super::VERSION) 6, which Mosquitto 2.0.11 and 2.1.2 load.
///
/// It says who may read what was published: create it readable for its owner alone. Mosquitto
/// 2.1 warns about others, and says that it will refuse them.
///
/// # Errors
/// If something does not fit into the format (a string of more than 65,535 bytes), refers to
/// something that is not there, or is what Mosquitto would drop or not start with: two messages
/// or clients with the same id, id 0, an empty client id, packet id 0 with QoS 1 or 2.
pub fn write(db: &Db) -> Result<Vec<u8>, WriteError> {
    let mut writing = Writing::default();
    put_header(&mut writing.out);
    writing.put_config(db)?;
    for message in &db.messages {
        writing.put_message(message)?;
    }
    for client in &db.clients {
        writing.put_client(client)?;
        for message in &client.messages {
            writing.put_client_message(client, message)?;
        }
    }
    for subscription in &db.subscriptions {
        writing.put_subscription(subscription)?;
    }
    for &id in &db.retained {
        writing.put_retained(id)?;
    }
    Ok(writing.out)
}

/// A file as far as it was written.
#[derive(Default)]
struct Writing<'a> {
    out: Vec<u8>,
    message_ids: HashSet<u64>,
    clients: HashSet<&'a str>,
}

impl<'a> Writing<'a> {
    fn put_config(&mut self, db: &Db) -> Result<(), WriteError> {
        let record = || "the configuration".to_owned();
        let last_id = db.messages.iter().map(|message| message.id).fold(db.last_id, u64::max);
        self.put(Kind::Config, record, |out| {
            out.extend_from_slice(&last_id.to_le_bytes());
            out.push(u8::from(db.clean_shutdown));
            out.push(size_of::<u64>() as u8);
            out.extend_from_slice(&[0; 6]);
        })
    }

    fn put_message(&mut self, message: &Message) -> Result<(), WriteError> {
        let record = || format!("message {}", message.id);
        let fail = |what: String| WriteError { record: record(), what };
        if message.id == 0 {
            return Err(fail("the id 0 means none".to_owned()));
        }
        if !self.message_ids.insert(message.id) {
            return Err(fail("there are two of that id".to_owned()));
        }
        let id_len = text_len(&message.source_client_id, "client id").map_err(fail)?;
        let username_len = text_len(&message.source_username, "user name").map_err(fail)?;
        let topic_len = text_len(&message.topic, "topic").map_err(fail)?;
        check_topic(&message.topic).map_err(fail)?;
        let payload_len = u32::try_from(message.payload.len()).ok();
        let payload_len = payload_len
            .filter(|&len| len <= MAX_REMAINING_LENGTH)
            .ok_or_else(|| fail(format!("a payload of {} bytes", message.payload.len())))?;
        let properties = section(&message.properties).map_err(fail)?;
        self.put(Kind::Message, record, |out| {
            out.extend_from_slice(&message.id.to_le_bytes());
            out.extend_from_slice(&message.expires_s.to_le_bytes());
            put_u32(out, payload_len);
            put_u16(out, message.source_mid);
            put_u16(out, id_len);
            put_u16(out, username_len);
            put_u16(out, topic_len);
            put_u16(out, message.source_port);
            out.push(message.qos as u8);
            out.push(u8::from(message.retain));
            out.extend_from_slice(message.source_client_id.as_bytes());
            out.extend_from_slice(message.source_username.as_bytes());
            out.extend_from_slice(message.topic.as_bytes());
            out.extend_from_slice(&message.payload);
            out.extend_from_slice(&properties);
        })
    }

    fn put_client(&mut self, client: &'a Client) -> Result<(), WriteError> {
        let record = || format!("client {:?}", client.id);
        let fail = |what: String| WriteError { record: record(), what };
        if client.id.is_empty() {
            return Err(fail("a session without a client id".to_owned()));
        }
        if !self.clients.insert(&client.id) {
            return Err(fail("there are two of that id".to_owned()));
        }
        let id_len = text_len(&client.id, "client id").map_err(fail)?;
        let username_len = text_len(&client.username, "user name").map_err(fail)?;
        self.put(Kind::Client, record, |out| {
            out.extend_from_slice(&client.session_expires_s.to_le_bytes());
            put_u32(out, client.session_expiry_interval_s);
            put_u16(out, client.last_mid);
            put_u16(out, id_len);
            put_u16(out, client.listener_port);
            put_u16(out, username_len);
            put_u32(out, 0);
            out.extend_from_slice(client.id.as_bytes());
            out.extend_from_slice(client.username.as_bytes());
        })
    }

    fn put_client_message(
        &mut self,
        client: &Client,
        message: &ClientMessage,
    ) -> Result<(), WriteError> {
        let record = || format!("message {} of client {:?}", message.message_id, client.id);
        let fail = |what: String| WriteError { record: record(), what };
        self.check_message(message.message_id).map_err(fail)?;
        if message.mid == 0 && message.qos != QoS::AtMostOnce {
            return Err(fail("packet id 0 with QoS above 0, which would be sent so".to_owned()));
        }
        let mut properties = PropertyBuf::new();
        for &id in &message.subscription_ids {
            if id == 0 || id > MAX_SUBSCRIPTION_ID {
                return Err(fail(format!("subscription identifier {id}")));
            }
            properties.int(PropertyId::SubscriptionIdentifier, id);
        }
        let properties = section(&properties).map_err(fail)?;
        let id_len = text_len(&client.id, "client id").map_err(fail)?;
        let retain = if message.retain { RETAIN } else { 0 };
        let dup = if message.dup { DUP } else { 0 };
        self.put(Kind::ClientMessage, record, |out| {
            out.extend_from_slice(&message.message_id.to_le_bytes());
            put_u16(out, message.mid);
            put_u16(out, id_len);
            out.push(message.qos as u8);
            out.push(message.state.to_u8());
            out.push(retain | dup);
            out.push(message.direction as u8);
            out.extend_from_slice(client.id.as_bytes());
            out.extend_from_slice(&properties);
        })
    }

    fn put_subscription(&mut self, subscription: &Subscription) -> Result<(), WriteError> {
        let Subscription { client_id, filter, options, identifier } = subscription;
        let record = || format!("subscription {filter:?} of client {client_id:?}");
        let fail = |what: String| WriteError { record: record(), what };
        if !self.clients.contains(&**client_id) {
            return Err(fail("there is no such client".to_owned()));
        }
        if *identifier > MAX_SUBSCRIPTION_ID {
            return Err(fail(format!("subscription identifier {identifier}")));
        }
        let id_len = text_len(client_id, "client id").map_err(fail)?;
        let filter_len = text_len(filter, "filter").map_err(fail)?;
        check_filter(filter).map_err(fail)?;
        self.put(Kind::Subscription, record, |out| {
            put_u32(out, *identifier);
            put_u16(out, id_len);
            put_u16(out, filter_len);
            out.push(options.qos as u8);
            out.push(options.encode() & !0b11);
            put_u16(out, 0);
            out.extend_from_slice(client_id.as_bytes());
            out.extend_from_slice(filter.as_bytes());
        })
    }

    fn put_retained(&mut self, id: u64) -> Result<(), WriteError> {
        let record = || format!("retained message {id}");
        self.check_message(id).map_err(|what| WriteError { record: record(), what })?;
        self.put(Kind::Retained, record, |out| out.extend_from_slice(&id.to_le_bytes()))
    }

    fn check_message(&self, id: u64) -> Result<(), String> {
        if self.message_ids.contains(&id) {
            return Ok(());
        }
        Err("there is no such message".to_owned())
    }

    fn put(
        &mut self,
        kind: Kind,
        record: impl FnOnce() -> String,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), WriteError> {
        put_chunk(&mut self.out, kind, body)
            .ok_or_else(|| WriteError { record: record(), what: "it is too long".to_owned() })
    }
}

/// The length of a string that is called `name`.
fn text_len(text: &str, name: &str) -> Result<u16, String> {
    checked_text(text.as_bytes(), name)?;
    u16::try_from(text.len()).map_err(|_| format!("{name} of {} bytes", text.len()))
}

/// The properties with their length, if they are such as a PUBLISH has; nothing where there are
/// none, as Mosquitto does it.
fn section(properties: &PropertyBuf) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let properties = properties.as_properties();
    if properties.is_empty() {
        return Ok(out);
    }
    if properties.raw().len() > MAX_REMAINING_LENGTH as usize {
        return Err(format!("properties of {} bytes", properties.raw().len()));
    }
    put_section(&mut out, properties);
    match Fields::new(&out).properties() {
        Ok(_) => Ok(out),
        Err(what) => Err(what),
    }
}
