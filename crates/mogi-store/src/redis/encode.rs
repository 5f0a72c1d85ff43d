//! Values of Redis and what they mean, as text a person can read wherever possible.

use super::wire::Value;
use crate::ops::{Ids, SessionRecord, StoredDelivery, StoredSubscription, StoredWill};
use mogi_codec::QoS;
use mogi_core::message::NEVER;
use mogi_core::{Author, Message, MessageView};
use std::borrow::Cow;
use std::sync::Arc;

/// Names and values, in turns.
pub(super) type Fields<'a> = Vec<Cow<'a, [u8]>>;

fn put<'a>(fields: &mut Fields<'a>, name: &'static str, value: impl Into<Cow<'a, [u8]>>) {
    fields.push(Cow::Borrowed(name.as_bytes()));
    fields.push(value.into());
}

fn put_number(fields: &mut Fields<'_>, name: &'static str, value: u64) {
    put(fields, name, value.to_string().into_bytes());
}

const fn digit(on: bool) -> &'static [u8] {
    if on { b"1" } else { b"0" }
}

const fn qos_digit(qos: QoS) -> &'static [u8] {
    match qos {
        QoS::AtMostOnce => b"0",
        QoS::AtLeastOnce => b"1",
        QoS::ExactlyOnce => b"2",
    }
}

/// A message's fields, but for those of its QoS and RETAIN.
fn put_message<'a>(fields: &mut Fields<'a>, view: &MessageView<'a>) {
    put(fields, "topic", view.topic);
    put(fields, "payload", view.payload);
    if view.expires_at_ms != NEVER {
        put_number(fields, "expires", view.expires_at_ms);
    }
    if !view.properties.is_empty() {
        put(fields, "properties", view.properties);
    }
}

/// The fields of an entry of a queue.
pub(super) fn delivery(delivery: &StoredDelivery) -> Fields<'_> {
    let view = delivery.message.view();
    let mut fields = Fields::with_capacity(12);
    put_message(&mut fields, &view);
    put(&mut fields, "qos", qos_digit(delivery.qos));
    put(&mut fields, "retain", digit(delivery.retain));
    if view.qos != delivery.qos {
        put(&mut fields, "published-qos", qos_digit(view.qos));
    }
    if view.retain != delivery.retain {
        put(&mut fields, "published-retain", digit(view.retain));
    }
    let ids = delivery.ids.as_slice();
    if !ids.is_empty() {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        put(&mut fields, "ids", ids.join(" ").into_bytes());
    }
    if let Some((name, filter)) = &delivery.group {
        put(&mut fields, "group", name.as_bytes());
        put(&mut fields, "group-filter", filter.as_bytes());
    }
    fields
}

/// The fields of a will.
pub(super) fn will<'a>(client: &'a str, will: &'a StoredWill) -> Fields<'a> {
    let view = will.message.view();
    let mut fields = Fields::new();
    put(&mut fields, "client", client.as_bytes());
    put_message(&mut fields, &view);
    put(&mut fields, "qos", qos_digit(view.qos));
    put(&mut fields, "retain", digit(view.retain));
    put_number(&mut fields, "delay", will.delay_s.into());
    if let Some(expiry_s) = will.expiry_s {
        put_number(&mut fields, "expiry", expiry_s.into());
    }
    if let Some(due_ms) = will.due_at_ms {
        put_number(&mut fields, "due", due_ms);
    }
    fields
}

/// A session's fields: those that are set, and the names of those that are not.
pub(super) fn session(record: &SessionRecord) -> (Fields<'_>, Vec<&'static str>) {
    let (mut set, mut unset) = (Fields::new(), Vec::new());
    put(&mut set, "connected", digit(record.left_at_ms.is_none()));
    match record.expiry_s {
        u32::MAX => put(&mut set, "expiry", &b"never"[..]),
        seconds => put_number(&mut set, "expiry", seconds.into()),
    }
    match record.left_at_ms {
        Some(at_ms) => put_number(&mut set, "left_at", at_ms),
        None => unset.push("left_at"),
    }
    match &record.username {
        Some(name) => put(&mut set, "username", name.as_bytes()),
        None => unset.push("username"),
    }
    match &record.mount {
        Some(mount) => put(&mut set, "mount", mount.as_bytes()),
        None => unset.push("mount"),
    }
    (set, unset)
}

/// A subscription's options.
pub(super) fn subscription(subscription: &StoredSubscription) -> String {
    let options = subscription.options;
    format!(
        "qos={} no-local={} retain-as-published={} retain-handling={} id={}",
        options & 3,
        options >> 2 & 1,
        options >> 3 & 1,
        options >> 4 & 3,
        subscription.id
    )
}

/// What is known of a retained message besides topic and payload.
pub(super) fn retained(message: &Message, version: u64) -> Vec<u8> {
    let view = message.view();
    let mut text = format!("version={version} qos={}", view.qos as u8);
    if !view.retain {
        text.push_str(" retain=0");
    }
    if view.expires_at_ms != NEVER {
        text.push_str(&format!(" expires={}", view.expires_at_ms));
    }
    if let Some(Author { client_id, username, port }) = message.author() {
        text.push_str(&format!(" client={}", word(client_id)));
        if let Some(username) = username {
            text.push_str(&format!(" username={}", word(username)));
        }
        text.push_str(&format!(" port={port}"));
    }
    let mut bytes = text.into_bytes();
    if !view.properties.is_empty() {
        bytes.extend_from_slice(b" properties=");
        bytes.extend_from_slice(view.properties);
    }
    bytes
}

/// A name without blanks: these, what is not to be seen, and `%` stand as `%` and two digits.
fn word(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter != '%' && !letter.is_whitespace() && !letter.is_control() {
            out.push(letter);
            continue;
        }
        letter
            .encode_utf8(&mut [0; 4])
            .bytes()
            .for_each(|byte| out.push_str(&format!("%{byte:02x}")));
    }
    out
}

/// What [`word`] was made of.
fn name(word: &str) -> Option<String> {
    let mut parts = word.split('%');
    let mut out = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        out.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(out).ok()
}

/// The fields of a hash or of a stream's entry as Redis gives them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a>(pub(super) &'a [Value]);

impl<'a> Found<'a> {
    /// Those of a reply.
    pub(super) fn of(value: &'a Value) -> Self {
        Self(value.array().unwrap_or_default())
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn pairs(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let (pairs, _) = self.0.as_chunks::<2>();
        pairs.iter().filter_map(|[name, value]| Some((name.bytes()?, value.bytes()?)))
    }

    pub(super) fn get(self, wanted: &str) -> Option<&'a [u8]> {
        self.pairs().find(|(name, _)| *name == wanted.as_bytes()).map(|(_, value)| value)
    }

    pub(super) fn text(self, wanted: &str) -> Option<&'a str> {
        std::str::from_utf8(self.get(wanted)?).ok()
    }

    pub(super) fn number<T: std::str::FromStr>(self, wanted: &str) -> Option<T> {
        self.text(wanted)?.parse().ok()
    }

    fn qos(self, wanted: &str) -> Option<QoS> {
        QoS::from_u8(self.number(wanted)?)
    }

    /// A number that may be missing; `None`: it is there and is none.
    fn optional<T: std::str::FromStr>(self, wanted: &str) -> Option<Option<T>> {
        match self.text(wanted) {
            None => Some(None),
            Some(text) => text.parse().ok().map(Some),
        }
    }

    fn message(self, qos: QoS, retain: bool) -> Option<Message> {
        let topic =
            self.text("topic").filter(|topic| !topic.is_empty() && topic.len() < 1 << 16)?;
        let mut view = MessageView::internal(topic, self.get("payload")?, qos, retain);
        view.expires_at_ms = self.optional("expires")?.unwrap_or(NEVER);
        view.properties = self.get("properties").unwrap_or_default();
        Some(Message::new(&view, &mut Vec::new()))
    }

    /// The entry of a queue, or the message in flight.
    pub(super) fn delivery(self) -> Option<StoredDelivery> {
        let (qos, retain) = (self.qos("qos")?, self.text("retain")? == "1");
        let published = self.text("published-qos").map_or(Some(qos), |_| self.qos("published-qos"));
        let message_retain = self.text("published-retain").map_or(retain, |text| text == "1");
        let ids: Option<Vec<u32>> =
            self.text("ids").unwrap_or("").split_whitespace().map(|id| id.parse().ok()).collect();
        let ids = match &ids?[..] {
            [] => Ids::None,
            [one] => Ids::One(*one),
            many => Ids::Many(many.into()),
        };
        let group = match (self.text("group"), self.text("group-filter")) {
            (Some(name), Some(filter)) => Some((name.into(), filter.into())),
            _ => None,
        };
        let message = self.message(published?, message_retain)?;
        Some(StoredDelivery { message, qos, retain, ids, group })
    }

    /// The will, and whose it is.
    pub(super) fn will(self) -> Option<(Arc<str>, StoredWill)> {
        let message = self.message(self.qos("qos")?, self.text("retain")? == "1")?;
        let will = StoredWill {
            message,
            expiry_s: self.optional("expiry")?,
            delay_s: self.number("delay")?,
            due_at_ms: self.optional("due")?,
        };
        Some((self.text("client")?.into(), will))
    }

    /// The session of this client.
    pub(super) fn session(self, client: &Arc<str>) -> Option<SessionRecord> {
        let expiry_s = match self.text("expiry")? {
            "never" => u32::MAX,
            seconds => seconds.parse().ok()?,
        };
        Some(SessionRecord {
            client: Arc::clone(client),
            expiry_s,
            username: self.text("username").map(Arc::from),
            mount: self.text("mount").map(Arc::from),
            left_at_ms: self.optional("left_at")?,
        })
    }
}

/// A subscription as [`subscription`] wrote it.
pub(super) fn read_subscription(filter: &[u8], text: &[u8]) -> Option<StoredSubscription> {
    let text = std::str::from_utf8(text).ok()?;
    let mut options = 0u8;
    let mut id = 0;
    for word in text.split_whitespace() {
        let (name, value) = word.split_once('=')?;
        let value: u32 = value.parse().ok()?;
        match name {
            "qos" => options |= value as u8 & 3,
            "no-local" => options |= (value as u8 & 1) << 2,
            "retain-as-published" => options |= (value as u8 & 1) << 3,
            "retain-handling" => options |= (value as u8 & 3) << 4,
            "id" => id = value,
            // Of a later version.
            _ => {}
        }
    }
    Some(StoredSubscription { filter: std::str::from_utf8(filter).ok()?.into(), options, id })
}

/// A retained message as [`retained`] wrote it, and its version.
pub(super) fn read_retained(topic: &str, payload: &[u8], meta: &[u8]) -> Option<(Message, u64)> {
    const PROPERTIES: &[u8] = b" properties=";
    let split = meta.windows(PROPERTIES.len()).position(|window| window == PROPERTIES);
    let (head, properties) = match split {
        Some(at) => (&meta[..at], &meta[at + PROPERTIES.len()..]),
        None => (meta, &[][..]),
    };
    let mut view = MessageView::internal(topic, payload, QoS::AtMostOnce, true);
    view.properties = properties;
    let (mut version, mut client, mut username, mut port) = (None, None, None, 0);
    for word in std::str::from_utf8(head).ok()?.split_whitespace() {
        match word.split_once('=')? {
            ("version", number) => version = Some(number.parse().ok()?),
            ("qos", digit) => view.qos = QoS::from_u8(digit.parse().ok()?)?,
            ("retain", digit) => view.retain = digit == "1",
            ("expires", at_ms) => view.expires_at_ms = at_ms.parse().ok()?,
            ("client", word) => client = Some(name(word)?),
            ("username", word) => username = Some(name(word)?),
            ("port", number) => port = number.parse().ok()?,
            _ => {}
        }
    }
    let valid = !topic.is_empty() && topic.len() < 1 << 16;
    let message = valid.then(|| Message::new(&view, &mut Vec::new()))?;
    let message = match &client {
        Some(client_id) => {
            message.signed(&Author { client_id, username: username.as_deref(), port })
        }
        None => message,
    };
    Some((message, version?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_authors_stand_between_blanks() {
        for it in ["", "ann", "a b", "a=b%20", "\u{3000}\u{85}\n", "ü properties=x"] {
            assert!(!word(it).contains(char::is_whitespace), "{it:?}");
            assert_eq!(name(&word(it)).as_deref(), Some(it));
        }
        assert_eq!([name("%"), name("%zz"), name("%ff")], [None, None, None]);
    }

    /// As versions wrote it that did not know authors.
    #[test]
    fn retained_messages_without_author_are_read() {
        let (message, version) = read_retained("t", b"x", b"version=7 qos=1").expect("read");
        assert_eq!((message.author(), message.payload(), version), (None, &b"x"[..], 7));
    }
}
