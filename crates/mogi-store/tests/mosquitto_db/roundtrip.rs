//! Any content, written and read again.

use mogi_codec::{PropertyBuf, PropertyId, QoS, RetainHandling, SubscribeOptions};
use mogi_store::mosquitto_db::{
    Client, ClientMessage, Db, Direction, Message, State, Subscription, VERSION, read, write,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const TEXT: &str = "[a-zé/ $]{0,12}";
const TOPIC: &str = "[a-zé/ $]{1,12}";

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn message() -> impl Strategy<Value = Message> {
    let source = (TEXT, TEXT, any::<u16>(), any::<u16>());
    let content = (TOPIC, vec(any::<u8>(), 0..40), vec((TEXT, TEXT), 0..3), TEXT);
    (source, content, qos(), any::<bool>(), any::<i64>()).prop_map(
        |(source, (topic, payload, users, content_type), qos, retain, expires_s)| {
            let mut properties = PropertyBuf::new();
            for (name, value) in &users {
                properties.user(name, value);
            }
            if !content_type.is_empty() {
                properties.str(PropertyId::ContentType, &content_type);
            }
            let (source_client_id, source_username, source_mid, source_port) = source;
            Message {
                id: 0,
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
            }
        },
    )
}

fn delivery(messages: Vec<u64>) -> impl Strategy<Value = ClientMessage> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let ids = vec(1..=268_435_455u32, 0..4);
    (any::<Index>(), 1u16.., qos(), any::<u8>(), flags, ids).prop_map(
        move |(which, mid, qos, state, (retain, dup, out), subscription_ids)| ClientMessage {
            message_id: *which.get(&messages),
            mid,
            qos,
            state: State::from_u8(state),
            retain,
            dup,
            direction: if out { Direction::Out } else { Direction::In },
            subscription_ids,
        },
    )
}

fn client(messages: Vec<u64>) -> impl Strategy<Value = Client> {
    let most = if messages.is_empty() { 0 } else { 4 };
    let numbers = (any::<i64>(), any::<u32>(), any::<u16>(), any::<u16>());
    (TEXT, numbers, vec(delivery(messages), 0..=most)).prop_map(
        |(username, (session_expires_s, interval, last_mid, listener_port), messages)| Client {
            id: String::new(),
            username,
            session_expires_s,
            session_expiry_interval_s: interval,
            last_mid,
            listener_port,
            messages,
        },
    )
}

fn subscription(clients: Vec<String>) -> impl Strategy<Value = Subscription> {
    let handling =
        select(vec![RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]);
    let filter = prop_oneof![TOPIC, Just("$share/g/+/#".to_owned()), Just("#".to_owned())];
    let options = (qos(), any::<bool>(), any::<bool>(), handling);
    (select(clients), filter, options, 0..=268_435_455u32).prop_filter_map(
        "no filter",
        |(client_id, filter, (qos, no_local, retain_as_published, retain_handling), identifier)| {
            mogi_codec::topic::check_filter(&filter).ok()?;
            let options = SubscribeOptions { qos, no_local, retain_as_published, retain_handling };
            Some(Subscription { client_id, filter, options, identifier })
        },
    )
}

pub(crate) fn db() -> impl Strategy<Value = Db> {
    (vec(message(), 0..5), 1..u64::MAX - 10, any::<bool>())
        .prop_flat_map(|(mut messages, first, clean_shutdown)| {
            let ids: Vec<u64> = (first..).take(messages.len()).collect();
            for (message, &id) in messages.iter_mut().zip(&ids) {
                message.id = id;
            }
            let last_id = first + 10;
            let retained = if ids.is_empty() {
                Just(vec![]).boxed()
            } else {
                vec(select(ids.clone()), 0..3).boxed()
            };
            let clients = vec(client(ids), 0..4);
            (Just((messages, last_id, clean_shutdown)), clients, retained)
        })
        .prop_flat_map(|(start, mut clients, retained)| {
            for (number, client) in clients.iter_mut().enumerate() {
                client.id = format!("client {number}");
            }
            let ids: Vec<String> = clients.iter().map(|client| client.id.clone()).collect();
            let subscriptions = if ids.is_empty() {
                Just(vec![]).boxed()
            } else {
                vec(subscription(ids), 0..5).boxed()
            };
            (Just(start), Just(clients), Just(retained), subscriptions)
        })
        .prop_map(|((messages, last_id, clean_shutdown), clients, retained, subscriptions)| Db {
            version: VERSION,
            last_id,
            clean_shutdown,
            messages,
            clients,
            subscriptions,
            retained,
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(db in db()) {
        prop_assert_eq!(read(&write(&db).unwrap()).unwrap(), db);
    }
}

#[test]
fn the_last_id_is_raised_to_the_highest_there_is() {
    let message = crate::expected::message(700, QoS::AtMostOnce, 0, "a", "");
    let db = Db { last_id: 3, messages: vec![message], ..Db::default() };
    assert_eq!(read(&write(&db).unwrap()).unwrap().last_id, 700);
}
