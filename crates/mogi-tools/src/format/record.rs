//! A message as a JSON object: `%j` and `%J`.

use super::json::Json;
use super::json_read;
use super::render::Now;
use mogi_client::Message;
use mogi_codec::properties::Value;
use mogi_codec::{Properties, PropertyId, QoS};

/// How the payload stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayloadAs {
    /// `%j`: a string.
    Text,
    /// `%J`: the value it is itself.
    Json,
}

/// The object; `None` where the payload is to be JSON and is not.
pub(super) fn record(message: &Message<'_>, payload: PayloadAs, now: &Now) -> Option<Json> {
    // An empty payload is null in both forms.
    let payload = match payload {
        _ if message.payload.is_empty() => Json::Null,
        PayloadAs::Text => Json::text(&message.payload),
        PayloadAs::Json => json_read::read(&message.payload)?,
    };
    let mut members = Vec::new();
    let mut add = |name: &str, value| members.push((name.as_bytes().to_vec(), value));
    add("tst", Json::text(now.iso_micros()));
    add("topic", Json::text(message.topic.as_bytes()));
    add("qos", Json::number(message.qos as u8));
    add("retain", Json::Bool(message.retain));
    add("payloadlen", Json::Number(message.payload.len() as f64));
    if message.qos != QoS::AtMostOnce {
        add("mid", Json::number(message.packet_id));
    }
    if !message.properties().is_empty() {
        add("properties", properties(message.properties()));
    }
    add("payload", payload);
    Some(Json::Object(members))
}

/// The properties in their order; those that may stand often are together where the first of
/// them stands.
fn properties(all: Properties<'_>) -> Json {
    let mut members: Vec<(Vec<u8>, Json)> = Vec::new();
    for property in all {
        let name: &[u8] = match property.id {
            PropertyId::UserProperty => b"user-properties",
            id => id.name().as_bytes(),
        };
        let value = match property.value {
            Value::Int(value) => Json::number(value),
            Value::Str(text) => Json::text(text),
            Value::Bytes(bytes) => Json::text(bytes),
            Value::Pair(name, value) => {
                Json::Array(vec![Json::Object(vec![(name.as_bytes().to_vec(), Json::text(value))])])
            }
        };
        match members.iter_mut().find(|(it, _)| it == name) {
            None => members.push((name.to_vec(), value)),
            Some((_, Json::Array(values))) => match value {
                Json::Array(more) => values.extend(more),
                other => values.push(other),
            },
            // A second subscription identifier, which Mosquitto's tools cannot receive.
            Some((_, first)) => {
                let only = std::mem::replace(first, Json::Null);
                *first = Json::Array(vec![only, value]);
            }
        }
    }
    Json::Object(members)
}
