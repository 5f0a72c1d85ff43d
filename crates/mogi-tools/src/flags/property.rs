//! `-D PACKET PROPERTY [NAME] VALUE`: properties of MQTT 5.

use super::Stop;
use super::value::{Values, int_prefix};
use crate::config::Config;
use mogi_codec::properties::{Section, Value, ValueKind, put_section};
use mogi_codec::reader::Reader;
use mogi_codec::{PacketKind, Properties, Property, PropertyBuf, PropertyId, Version};
use std::ffi::OsStr;

/// Packets by the names `-D` knows them by; `None` where a client does not choose properties.
const COMMANDS: [(&str, Option<Section>); 15] = [
    ("connect", Some(Section::Packet(PacketKind::Connect))),
    ("publish", Some(Section::Packet(PacketKind::Publish))),
    ("will", Some(Section::Will)),
    ("subscribe", Some(Section::Packet(PacketKind::Subscribe))),
    ("unsubscribe", Some(Section::Packet(PacketKind::Unsubscribe))),
    ("disconnect", Some(Section::Packet(PacketKind::Disconnect))),
    ("connack", None),
    ("puback", None),
    ("pubrec", None),
    ("pubrel", None),
    ("pubcomp", None),
    ("suback", None),
    ("unsuback", None),
    ("pingreq", None),
    ("auth", None),
];

/// How many values follow packet and property.
pub(super) fn value_count(property: Option<&OsStr>) -> usize {
    let user = PropertyId::UserProperty.name();
    let is_user = property.is_some_and(|it| it.eq_ignore_ascii_case(user));
    if is_user { 2 } else { 1 }
}

/// Adds the property to its packet.
pub(super) fn apply(config: &mut Config, it: Values<'_>) -> Result<(), Stop> {
    let (command, name) = (it.text_at(0)?, it.text_at(1)?);
    let given = "given in --property argument.";
    let known = COMMANDS.iter().find(|(it, _)| it.eq_ignore_ascii_case(command));
    let Some((_, section)) = known else {
        return Err(Stop::Wrong(format!("Invalid command {command} {given}")));
    };
    let id = PropertyId::ALL.iter().find(|id| id.name().eq_ignore_ascii_case(name));
    let Some(&id) = id else {
        return Err(Stop::Wrong(format!("Invalid property name {name} {given}")));
    };
    let refused = |why: &str| {
        Stop::Wrong(format!("{name} property not {why} for {command} in --property argument."))
    };
    let Some(section) = *section else {
        return Err(refused("supported"));
    };
    // A subscription identifier in a PUBLISH is the server's to set ([MQTT-3.3.4-6]).
    if id == PropertyId::SubscriptionIdentifier && section == Section::Packet(PacketKind::Publish) {
        return Err(refused("supported"));
    }
    if !id.allowed_in(section) {
        return Err(refused("allowed"));
    }
    let value = read_value(id, &it)?;
    let properties = properties_mut(config, section);
    properties.push(Property { id, value });
    check(properties, section)
        .map_err(|what| Stop::Wrong(format!("Property {name} of {command} is wrong: {what}.")))?;
    config.version = Version::V5;
    Ok(())
}

fn properties_mut(config: &mut Config, section: Section) -> &mut PropertyBuf {
    let all = &mut config.properties;
    match section {
        Section::Will => &mut all.will,
        Section::Packet(PacketKind::Connect) => &mut all.connect,
        Section::Packet(PacketKind::Subscribe) => &mut all.subscribe,
        Section::Packet(PacketKind::Unsubscribe) => &mut all.unsubscribe,
        Section::Packet(PacketKind::Disconnect) => &mut all.disconnect,
        Section::Packet(_) => &mut all.publish,
    }
}

fn read_value<'a>(id: PropertyId, it: &Values<'a>) -> Result<Value<'a>, Stop> {
    let max = match id.value_kind() {
        ValueKind::Str => return Ok(Value::Str(it.text_at(2)?)),
        ValueKind::Bytes => return Ok(Value::Bytes(it.text_at(2)?.as_bytes())),
        ValueKind::Pair => return Ok(Value::Pair(it.text_at(2)?, it.text_at(3)?)),
        ValueKind::Byte => u32::from(u8::MAX),
        ValueKind::U16 => u32::from(u16::MAX),
        ValueKind::U32 => u32::MAX,
        ValueKind::VarInt => mogi_codec::MAX_REMAINING_LENGTH,
    };
    let text = it.text_at(2)?;
    let value = int_prefix(text).and_then(|value| u32::try_from(value).ok());
    match value.filter(|value| *value <= max) {
        Some(value) => Ok(Value::Int(value)),
        None => Err(Stop::Wrong(format!(
            "Property value ({text}) out of range for property {}.",
            id.name()
        ))),
    }
}

/// Reads the section the way the broker will.
fn check(properties: &PropertyBuf, section: Section) -> Result<(), &'static str> {
    let mut bytes = Vec::new();
    put_section(&mut bytes, properties.as_properties());
    let read = Properties::decode(&mut Reader::new(&bytes), section);
    read.map(|_| ()).map_err(|error| error.what)
}
