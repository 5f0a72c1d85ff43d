//! What `tests/tools/mosquitto-db-fixtures.py` has put into the files.
//!
//! Ids are counted from 1 in the order in which messages were published; a moment that is not 0
//! is 1.

use mogi_codec::{
    PropertyBuf, PropertyId, QoS, RetainHandling, SubscribeOptions,
    properties::{Property, Value},
};
use mogi_store::mosquitto_db::{
    Client, ClientMessage, Db, Direction, Message, State, Subscription,
};

pub(crate) const PORT: u16 = 21983;
/// The session and message expiry intervals in the files.
const LONG_S: u32 = 3_000_000_000;

/// Mosquitto 2.0.11 or 2.1.2: where the two write different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    V20,
    V21,
}

pub(crate) fn message(id: u64, qos: QoS, mid: u16, topic: &str, payload: &str) -> Message {
    Message {
        id,
        expires_s: 0,
        source_client_id: "one".to_owned(),
        source_username: String::new(),
        source_mid: mid,
        source_port: PORT,
        qos,
        retain: false,
        topic: topic.to_owned(),
        payload: payload.into(),
        properties: PropertyBuf::new(),
    }
}

pub(crate) fn client(id: &str, messages: Vec<ClientMessage>) -> Client {
    Client {
        id: id.to_owned(),
        username: String::new(),
        session_expires_s: 0,
        session_expiry_interval_s: u32::MAX,
        last_mid: messages
            .iter()
            .map(|message| message.mid)
            .filter(|&mid| mid < 70)
            .max()
            .unwrap_or(0),
        listener_port: PORT,
        messages,
    }
}

/// A message that waits to be sent.
pub(crate) fn queued(message_id: u64, mid: u16, qos: QoS, ids: &[u32]) -> ClientMessage {
    ClientMessage {
        message_id,
        mid,
        qos,
        state: State::Queued,
        retain: false,
        dup: false,
        direction: Direction::Out,
        subscription_ids: ids.to_vec(),
    }
}

pub(crate) fn subscription(client: &str, filter: &str, qos: QoS) -> Subscription {
    Subscription {
        client_id: client.to_owned(),
        filter: filter.to_owned(),
        options: SubscribeOptions { qos, ..SubscribeOptions::default() },
        identifier: 0,
    }
}

pub(crate) use QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};

pub(crate) fn empty(_: By) -> Db {
    Db::default()
}

pub(crate) fn sessions(by: By) -> Db {
    let published = |message| Message { source_username: "publisher".to_owned(), ..message };
    let all = Message {
        expires_s: 1,
        retain: true,
        properties: all_properties(),
        ..message(1, Q2, 0x1234, "p/all", "all properties")
    };
    let bytes = Message { payload: vec![0, 1, 0xFE, 0xFF], ..message(4, Q1, 3, "größe/1", "") };
    let messages =
        [all, message(2, Q1, 2, "p/empty", ""), message(3, Q0, 0, "p/zero", "at most once"), bytes];
    let as_published = ClientMessage { retain: true, ..queued(1, 2, Q2, &[261]) };
    let for_five = vec![
        queued(1, 1, Q1, &[7]),
        as_published,
        queued(1, 3, Q1, &[]),
        queued(2, 4, Q1, &[7]),
        queued(2, 5, Q1, &[261]),
        queued(2, 6, Q1, &[]),
        queued(3, 0, Q0, &[7]),
        queued(3, 0, Q0, &[261]),
        queued(3, 0, Q0, &[]),
    ];
    let five = Client {
        username: "felicity".to_owned(),
        session_expires_s: 1,
        session_expiry_interval_s: LONG_S,
        ..client("five", for_five)
    };
    let for_four = vec![queued(3, 0, Q0, &[]), queued(4, 1, Q1, &[])];
    let four = Client { username: "felix".to_owned(), ..client("four", for_four) };
    let last = Client { username: "Zoë".to_owned(), ..client("no-subscription", vec![]) };
    Db {
        messages: messages.map(published).into(),
        clients: vec![five, four, last],
        subscriptions: session_subscriptions(by),
        retained: vec![1],
        ..Db::default()
    }
}

/// Without the shared one, which no Mosquitto writes.
fn session_subscriptions(by: By) -> Vec<Subscription> {
    let mut all = subscription("five", "p/#", Q2);
    all.identifier = 261;
    all.options.no_local = true;
    all.options.retain_as_published = true;
    let one = Subscription { identifier: 7, ..subscription("five", "p/+", Q1) };
    let zero = subscription("four", "p/zero", Q0);
    let mut other = subscription("five", "other", Q1);
    if by == By::V21 {
        all.options.retain_handling = RetainHandling::DoNotSend;
        other.options.retain_handling = RetainHandling::SendIfNew;
    }
    vec![all, one, zero, other, subscription("four", "größe/+", Q1)]
}

/// In the order they were published in; the topic alias 5 is gone.
fn all_properties() -> PropertyBuf {
    let mut properties = PropertyBuf::new();
    properties
        .int(PropertyId::PayloadFormatIndicator, 1)
        .user("b", "2")
        .user("a", "1")
        .user("b", "")
        .push(Property { id: PropertyId::CorrelationData, value: Value::Bytes(&[0, 0xFF, 0x10]) })
        .str(PropertyId::ResponseTopic, "reply/to")
        .str(PropertyId::ContentType, "text");
    properties
}

pub(crate) fn states(_: By) -> Db {
    let qos = [Q1, Q2, Q2, Q2, Q1];
    let mut messages: Vec<Message> = (1..)
        .zip(qos)
        .map(|(id, qos)| {
            message(id.into(), qos, id, &format!("out/{id}"), &format!("message {id}"))
        })
        .collect();
    let own = |message| Message { source_client_id: "half-way".to_owned(), ..message };
    messages.push(own(message(6, Q2, 77, "in/77", "not released")));
    let retained = Message { retain: true, ..message(7, Q2, 78, "in/78", "nor this") };
    messages.push(own(retained));
    let coming = |id, mid| ClientMessage {
        state: State::WaitForPubrel,
        direction: Direction::In,
        ..queued(id, mid, Q2, &[])
    };
    let sent =
        |id: u16, qos, state| ClientMessage { state, dup: true, ..queued(id.into(), id, qos, &[]) };
    let deliveries = vec![
        coming(6, 77),
        ClientMessage { retain: true, ..coming(7, 78) },
        sent(1, Q1, State::WaitForPuback),
        sent(2, Q2, State::WaitForPubrec),
        sent(3, Q2, State::WaitForPubcomp),
        queued(4, 4, Q2, &[]),
        queued(5, 5, Q1, &[]),
    ];
    Db {
        messages,
        clients: vec![client("half-way", deliveries)],
        subscriptions: vec![subscription("half-way", "out/#", Q2)],
        ..Db::default()
    }
}

pub(crate) fn retained(_: By) -> Db {
    let retained = |message| Message { retain: true, ..message };
    let topic = format!("long/{}", "t".repeat(300));
    let will =
        Message { source_client_id: "will".to_owned(), ..message(5, Q1, 0, "will", "last words") };
    let messages = [
        message(1, Q1, 1, "replaced", "new"),
        message(2, Q0, 0, "zero", "0"),
        message(3, Q2, 1, "$dollar/topic", "not for wildcards"),
        message(4, Q1, u16::MAX, &topic, &"p".repeat(2000)),
        will,
    ];
    Db { messages: messages.map(retained).into(), retained: vec![1, 2, 3, 4, 5], ..Db::default() }
}

pub(crate) fn online(by: By) -> Db {
    let stays = client("stays", vec![]);
    let ends = Client { session_expiry_interval_s: 0, ..client("v5-ends", vec![]) };
    let v5 = Client {
        session_expires_s: if by == By::V21 { 1 } else { 0 },
        session_expiry_interval_s: LONG_S,
        ..client("v5-stays", vec![])
    };
    let never = client("v5-never", vec![]);
    let clients = match by {
        By::V20 => vec![stays, ends, v5, never],
        By::V21 => vec![stays, v5, never],
    };
    let subscriptions = clients.iter().map(|client| subscription(&client.id, "a", Q1)).collect();
    Db { clean_shutdown: false, clients, subscriptions, ..Db::default() }
}

pub(crate) fn usernames(_: By) -> Db {
    let names = ["", "f", "", "", "g", "g", ""];
    let clients = names.iter().enumerate().map(|(number, name)| Client {
        username: (*name).to_owned(),
        ..client(&format!("client-{number}"), vec![])
    });
    Db { clients: clients.collect(), ..Db::default() }
}

pub(crate) fn bridge(by: By) -> Db {
    let local = Client {
        session_expiry_interval_s: if by == By::V21 { u32::MAX } else { 0 },
        listener_port: 0,
        ..client("local.remote", vec![queued(1, 1, Q1, &[])])
    };
    let mut out = subscription("local.remote", "x/#", Q1);
    out.options.no_local = true;
    out.options.retain_as_published = true;
    Db {
        messages: vec![message(1, Q1, 1, "x/1", "for the other end")],
        clients: vec![local],
        subscriptions: vec![out],
        ..Db::default()
    }
}
