//! A packet in one readable line, so that a fixture can say what it holds.

use mogi_codec::properties::Value;
use mogi_codec::{Ack, Connack, Connect, Packet, Properties, Publish, QoS, Subscribe};
use std::fmt::Write as _;

/// One line that says everything about `packet`.
pub(crate) fn describe(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Connect(packet) => connect(packet),
        Packet::Connack(packet) => connack(packet),
        Packet::Publish(packet) => publish(packet),
        Packet::Puback(packet) => ack("PUBACK", packet),
        Packet::Pubrec(packet) => ack("PUBREC", packet),
        Packet::Pubrel(packet) => ack("PUBREL", packet),
        Packet::Pubcomp(packet) => ack("PUBCOMP", packet),
        Packet::Subscribe(packet) => subscribe(packet),
        Packet::Suback(p) => codes("SUBACK", p.packet_id, p.codes, p.properties),
        Packet::Unsubscribe(packet) => {
            let mut text = format!("UNSUBSCRIBE id={}", packet.packet_id);
            for filter in packet.filters() {
                let _ = write!(text, " {filter:?}");
            }
            text + &properties(packet.properties)
        }
        Packet::Unsuback(p) => codes("UNSUBACK", p.packet_id, p.codes, p.properties),
        Packet::Pingreq => "PINGREQ".into(),
        Packet::Pingresp => "PINGRESP".into(),
        Packet::Disconnect(packet) => {
            let reason = packet.reason as u8;
            format!("DISCONNECT {reason:#04x}{}", properties(packet.properties))
        }
        Packet::Auth(packet) => {
            let reason = packet.reason as u8;
            format!("AUTH {reason:#04x}{}", properties(packet.properties))
        }
    }
}

fn connect(packet: &Connect<'_>) -> String {
    let mut text = format!("CONNECT v{}", packet.version as u8);
    for (flag, name) in [(packet.bridge, " bridge"), (packet.clean_start, " clean")] {
        text += if flag { name } else { "" };
    }
    let _ = write!(text, " keep={} client={:?}", packet.keep_alive_s, packet.client_id);
    if let Some(will) = packet.will {
        let retain = if will.retain { "r" } else { "" };
        let (topic, payload) = (will.topic, bytes(will.payload));
        let _ = write!(text, " will[q{}{retain} {topic:?}={payload}", will.qos as u8);
        text += &properties(will.properties);
        text += "]";
    }
    if let Some(username) = packet.username {
        let _ = write!(text, " user={username:?}");
    }
    if let Some(password) = packet.password {
        let _ = write!(text, " pass={}", bytes(password));
    }
    text + &properties(packet.properties)
}

fn connack(packet: &Connack<'_>) -> String {
    let present = if packet.session_present { " present" } else { "" };
    format!("CONNACK {:#04x}{present}{}", packet.code, properties(packet.properties))
}

fn publish(packet: &Publish<'_>) -> String {
    let mut text = format!("PUBLISH q{}", packet.qos as u8);
    for (flag, name) in [(packet.dup, " dup"), (packet.retain, " retain")] {
        text += if flag { name } else { "" };
    }
    if packet.qos != QoS::AtMostOnce {
        let _ = write!(text, " id={}", packet.packet_id);
    }
    let _ = write!(text, " {:?}={}", packet.topic, bytes(packet.payload));
    text + &properties(packet.properties)
}

fn ack(name: &str, packet: &Ack<'_>) -> String {
    let reason = packet.reason as u8;
    format!("{name} id={} {reason:#04x}{}", packet.packet_id, properties(packet.properties))
}

fn subscribe(packet: &Subscribe<'_>) -> String {
    let mut text = format!("SUBSCRIBE id={}", packet.packet_id);
    for filter in packet.filters() {
        let options = filter.options;
        let _ = write!(text, " {:?}:q{}", filter.filter, options.qos as u8);
        text += if options.no_local { "n" } else { "" };
        text += if options.retain_as_published { "p" } else { "" };
        match options.retain_handling as u8 {
            0 => {}
            handling => {
                let _ = write!(text, "h{handling}");
            }
        }
    }
    text + &properties(packet.properties)
}

fn codes(name: &str, id: u16, codes: &[u8], section: Properties<'_>) -> String {
    format!("{name} id={id} codes={}{}", bytes(codes), properties(section))
}

fn properties(section: Properties<'_>) -> String {
    let mut text = String::new();
    for property in section {
        let _ = write!(text, " {}=", property.id.name());
        let _ = match property.value {
            Value::Int(value) => write!(text, "{value}"),
            Value::Str(value) => write!(text, "{value:?}"),
            Value::Bytes(value) => write!(text, "{}", bytes(value)),
            Value::Pair(name, value) => write!(text, "{name:?}:{value:?}"),
        };
    }
    text
}

fn bytes(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
