//! What the format cannot say, or Mosquitto would stumble over.

use crate::expected::{Q0, Q1, client, message, queued, subscription};
use mogi_codec::PropertyId;
use mogi_store::mosquitto_db::{Client, Db, Message, write};

fn with_message(message: Message) -> Db {
    Db { messages: vec![message], ..Db::default() }
}

fn with_client(client: Client) -> Db {
    Db { messages: vec![message(1, Q1, 1, "a", "")], clients: vec![client], ..Db::default() }
}

#[test]
fn the_record_and_the_reason_are_named() {
    let long = "x".repeat(65_536);
    let one = || message(1, Q1, 1, "a", "");
    let mut alias = one();
    alias.properties.int(PropertyId::TopicAlias, 0);
    let twice = vec![client("c", vec![]), client("c", vec![])];
    let subscribed = |filter| Db {
        clients: vec![client("c", vec![])],
        subscriptions: vec![subscription("c", filter, Q0)],
        ..Db::default()
    };
    let stranger = Db { subscriptions: vec![subscription("c", "a", Q0)], ..Db::default() };
    let cases = [
        (with_message(message(0, Q1, 1, "a", "")), "message 0 ", "the id 0 means none"),
        (Db { messages: vec![one(), one()], ..Db::default() }, "message 1 ", "two of that id"),
        (with_message(message(1, Q1, 1, &long, "")), "message 1 ", "topic of 65536 bytes"),
        (with_message(message(1, Q1, 1, "a/#", "")), "message 1 ", "wildcard in a topic name"),
        (with_message(Message { source_username: long.clone(), ..one() }), "message 1 ", "user"),
        (with_message(Message { payload: vec![0; 1 << 28], ..one() }), "message 1 ", "payload of"),
        (with_message(alias), "message 1 ", "properties: topic alias 0"),
        (with_client(client("", vec![])), "client \"\" ", "without a client id"),
        (with_client(client("a\nb", vec![])), "client \"a\\nb\" ", "control character"),
        (Db { clients: twice, ..Db::default() }, "client \"c\" ", "two of that id"),
        (
            with_client(client("c", vec![queued(2, 1, Q1, &[])])),
            "message 2 of client \"c\" ",
            "no such message",
        ),
        (
            with_client(client("c", vec![queued(1, 0, Q1, &[])])),
            "message 1 of client \"c\" ",
            "packet id 0 with QoS above 0",
        ),
        (
            with_client(client("c", vec![queued(1, 1, Q1, &[0])])),
            "message 1 of client \"c\" ",
            "subscription identifier 0",
        ),
        (subscribed("a/#/b"), "subscription \"a/#/b\" of client \"c\" ", "'#' is not"),
        (subscribed(&long), "subscription ", "filter of 65536 bytes"),
        (stranger, "subscription \"a\" of client \"c\" ", "no such client"),
        (Db { retained: vec![7], ..Db::default() }, "retained message 7 ", "no such message"),
    ];
    for (db, record, what) in cases {
        let error = write(&db).unwrap_err().to_string();
        let start = format!("{record}{}", if record.ends_with("on ") { "" } else { "cannot" });
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains(what), "{error}: not {what}");
    }
}
