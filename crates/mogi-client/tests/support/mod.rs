//! A server's half of the conversation, and events as text.
#![allow(dead_code, clippy::unwrap_used)]

use mogi_client::{Client, Event, Options, PublishRequest};
use mogi_codec::{Connack, Packet, Properties, PropertyBuf, Publish, QoS, Version};

/// A client that `CONNACK` with these properties has just accepted.
pub(crate) fn connected(version: Version, properties: &PropertyBuf) -> Client {
    connect(Options::new(version, "me".to_owned()), properties)
}

pub(crate) fn connect(options: Options, properties: &PropertyBuf) -> Client {
    let version = options.version;
    let mut client = Client::new(options);
    client.connect(0);
    sent(&mut client);
    let mut bytes = Vec::new();
    connack(version, false, properties, &mut bytes);
    assert_eq!(feed(&mut client, &bytes), ["Connected false"]);
    client
}

pub(crate) fn connack(
    version: Version,
    session_present: bool,
    properties: &PropertyBuf,
    out: &mut Vec<u8>,
) {
    Connack { session_present, code: 0, properties: properties.as_properties() }
        .encode(version, out);
}

pub(crate) fn publish(
    topic: &str,
    payload: &[u8],
    qos: QoS,
    packet_id: u16,
    dup: bool,
    version: Version,
    out: &mut Vec<u8>,
) {
    Publish {
        dup,
        qos,
        retain: false,
        topic,
        packet_id,
        properties: Properties::default(),
        payload,
    }
    .encode(version, out);
}

pub(crate) fn request<'a>(topic: &'a str, payload: &'a [u8], qos: QoS) -> PublishRequest<'a> {
    PublishRequest { topic, payload, qos, retain: false, properties: Properties::default() }
}

/// Everything the client tells about these bytes.
pub(crate) fn events<'a>(client: &mut Client, input: &mut &'a [u8]) -> Vec<Event<'a>> {
    let mut events = Vec::new();
    while let Some(event) = client.next_event(0, input).unwrap() {
        events.push(event);
    }
    events
}

pub(crate) fn feed(client: &mut Client, mut bytes: &[u8]) -> Vec<String> {
    events(client, &mut bytes).iter().map(text).collect()
}

pub(crate) fn text(event: &Event<'_>) -> String {
    match event {
        Event::Connected { session_present, .. } => format!("Connected {session_present}"),
        Event::Refused { code, .. } => format!("Refused {code}"),
        Event::Message(message) => {
            let payload = String::from_utf8_lossy(&message.payload);
            format!("Message {} {payload}", message.topic)
        }
        Event::Published { packet_id, reason, .. } => {
            format!("Published {packet_id} 0x{:02X}", *reason as u8)
        }
        Event::Subscribed { packet_id, codes, .. } => format!("Subscribed {packet_id} {codes:?}"),
        Event::Unsubscribed { packet_id, codes, .. } => {
            format!("Unsubscribed {packet_id} {codes:?}")
        }
        Event::Disconnected { reason, .. } => format!("Disconnected 0x{:02X}", *reason as u8),
    }
}

/// Takes the output.
pub(crate) fn sent(client: &mut Client) -> Vec<u8> {
    let out = client.output().to_vec();
    client.written(out.len());
    out
}

/// Takes the output as text, one packet each.
pub(crate) fn sent_kinds(client: &mut Client, version: Version) -> Vec<String> {
    let out = sent(client);
    let mut rest = &out[..];
    let mut kinds = Vec::new();
    while let Some((packet, len)) = Packet::parse(version, rest).unwrap() {
        rest = &rest[len..];
        kinds.push(match packet {
            Packet::Publish(publish) => {
                let dup = if publish.dup { " dup" } else { "" };
                format!("PUBLISH {}{dup}", publish.packet_id)
            }
            Packet::Puback(ack) => format!("PUBACK {}", ack.packet_id),
            Packet::Pubrec(ack) => format!("PUBREC {}", ack.packet_id),
            Packet::Pubrel(ack) => format!("PUBREL {}", ack.packet_id),
            Packet::Pubcomp(ack) => format!("PUBCOMP {}", ack.packet_id),
            other => format!("{other:?}"),
        });
    }
    kinds
}
