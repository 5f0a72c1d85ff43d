//! Packets a client could send, made from few topics and ids so that they meet.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use mogi_codec::{
    Ack, Connect, Disconnect, PacketKind, Properties, PropertyBuf, PropertyId as Id, Publish, QoS,
    Reason, RetainHandling, Subscribe, SubscribeFilter, SubscribeOptions, Unsubscribe, Version,
    Will,
};

const TOPICS: [&str; 7] = ["a", "a/b", "a/b/c", "", "/", "$SYS/x", "a/+"];

const FILTERS: [&str; 12] = [
    "a",
    "a/b",
    "a/+",
    "a/#",
    "#",
    "+/b",
    "$SYS/#",
    "$share/g/a",
    "$share/g/#",
    "$share/h/a/+",
    "a/#/b",
    "",
];

/// A CONNECT of one of two ids for each slot, so that sessions are taken over.
pub fn connect(choices: &mut Unstructured<'_>, slot: usize) -> Result<Vec<u8>> {
    let version = *choices.choose(&[Version::V31, Version::V311, Version::V5])?;
    let ids = [["x", "y"], ["y", "z"], ["z", ""], ["x", "w"]];
    let mut properties = PropertyBuf::new();
    let mut will_properties = PropertyBuf::new();
    if version.is_v5() {
        for (id, most) in [
            (Id::SessionExpiryInterval, u32::MAX),
            (Id::ReceiveMaximum, 4),
            (Id::MaximumPacketSize, 80),
            (Id::TopicAliasMaximum, 3),
            (Id::RequestProblemInformation, 1),
        ] {
            maybe_int(choices, &mut properties, id, most)?;
        }
        maybe_int(choices, &mut will_properties, Id::WillDelayInterval, 300)?;
        maybe_int(choices, &mut will_properties, Id::MessageExpiryInterval, 300)?;
    }
    let will = if choices.arbitrary()? {
        Some(Will {
            qos: qos(choices)?,
            retain: choices.arbitrary()?,
            properties: will_properties.as_properties(),
            topic: choices.choose(&TOPICS)?,
            payload: b"will",
        })
    } else {
        None
    };
    let packet = Connect {
        version,
        bridge: choices.arbitrary()?,
        clean_start: choices.arbitrary()?,
        keep_alive_s: choices.int_in_range(0..=3)? * 30,
        properties: properties.as_properties(),
        client_id: choices.choose(&ids[slot % ids.len()])?,
        will,
        username: None,
        password: None,
    };
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    Ok(bytes)
}

/// Any other packet.
pub fn packet(choices: &mut Unstructured<'_>, version: Version) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let packet_id = choices.int_in_range(1..=6)?;
    match choices.int_in_range(0..=9)? {
        0..=3 => publish(choices, version, packet_id, &mut bytes)?,
        4 | 5 => subscribe(choices, version, packet_id, &mut bytes)?,
        6 => {
            let filters = [*choices.choose(&FILTERS)?, *choices.choose(&FILTERS)?];
            let properties = Properties::default();
            Unsubscribe::encode(version, packet_id, properties, &filters, &mut bytes);
        }
        7 | 8 => {
            let kinds =
                [PacketKind::Puback, PacketKind::Pubrec, PacketKind::Pubrel, PacketKind::Pubcomp];
            let kind = *choices.choose(&kinds)?;
            let reasons =
                [Reason::Success, Reason::QuotaExceeded, Reason::PacketIdentifierNotFound];
            let reason = *choices.choose(&reasons)?;
            Ack::new(packet_id, reason).encode(version, kind, &mut bytes);
        }
        _ if choices.ratio(1, 4)? => {
            let reasons = [Reason::Success, Reason::DisconnectWithWill, Reason::UnspecifiedError];
            let reason = *choices.choose(&reasons)?;
            let mut properties = PropertyBuf::new();
            if version.is_v5() {
                maybe_int(choices, &mut properties, Id::SessionExpiryInterval, 100)?;
            }
            let properties = properties.as_properties();
            Disconnect { reason, properties }.encode(version, &mut bytes);
        }
        _ => bytes.extend_from_slice(&[0xC0, 0]),
    }
    Ok(bytes)
}

fn publish(
    choices: &mut Unstructured<'_>,
    version: Version,
    packet_id: u16,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    let mut properties = PropertyBuf::new();
    if version.is_v5() {
        maybe_int(choices, &mut properties, Id::TopicAlias, 4)?;
        maybe_int(choices, &mut properties, Id::MessageExpiryInterval, 300)?;
        if choices.ratio(1, 4)? {
            properties.user("name", "value").str(Id::ResponseTopic, "a/b");
        }
    }
    let qos = qos(choices)?;
    // Beyond the size at which a payload is referred to instead of copied, and beyond the limit.
    let sizes = [0, 1, 10, 900, 1001, 2900];
    let payload = vec![b'p'; *choices.choose(&sizes)?];
    let packet = Publish {
        dup: qos != QoS::AtMostOnce && choices.arbitrary()?,
        qos,
        retain: choices.arbitrary()?,
        topic: choices.choose(&TOPICS)?,
        packet_id: if qos == QoS::AtMostOnce { 0 } else { packet_id },
        properties: properties.as_properties(),
        payload: &payload,
    };
    packet.encode(version, bytes);
    Ok(())
}

fn subscribe(
    choices: &mut Unstructured<'_>,
    version: Version,
    packet_id: u16,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    let mut properties = PropertyBuf::new();
    if version.is_v5() {
        maybe_int(choices, &mut properties, Id::SubscriptionIdentifier, 300)?;
    }
    let mut filters = Vec::new();
    for _ in 0..choices.int_in_range(1..=3)? {
        let options = SubscribeOptions {
            qos: qos(choices)?,
            no_local: version.is_v5() && choices.arbitrary()?,
            retain_as_published: version.is_v5() && choices.arbitrary()?,
            retain_handling: match version {
                Version::V5 => *choices.choose(&[
                    RetainHandling::Send,
                    RetainHandling::SendIfNew,
                    RetainHandling::DoNotSend,
                ])?,
                _ => RetainHandling::Send,
            },
        };
        filters.push(SubscribeFilter { filter: choices.choose(&FILTERS)?, options });
    }
    Subscribe::encode(version, packet_id, properties.as_properties(), &filters, bytes);
    Ok(())
}

fn maybe_int(
    choices: &mut Unstructured<'_>,
    properties: &mut PropertyBuf,
    id: Id,
    most: u32,
) -> Result<()> {
    if choices.ratio(1, 3)? {
        properties.int(id, choices.int_in_range(0..=most)?);
    }
    Ok(())
}

fn qos(choices: &mut Unstructured<'_>) -> Result<QoS> {
    Ok(*choices.choose(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])?)
}
