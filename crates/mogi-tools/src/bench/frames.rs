//! The frames a load is made of, encoded once and patched per message.

use mogi_codec::{Connect, Properties, Publish, QoS, Subscribe, SubscribeFilter, SubscribeOptions};
use mogi_codec::{Header, PropertyBuf, PropertyId, RawPublish, Version};

/// Bytes at the front of every payload: publisher, sequence number, time of departure.
pub(super) const STAMP_LEN: usize = 16;

/// What a payload says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Which publisher sent it.
    pub(super) publisher: u32,
    /// Its place among that publisher's messages, from 0.
    pub(super) seq: u32,
    /// When it was due, in nanoseconds since the run's base.
    pub(super) due_ns: u64,
}

impl Stamp {
    /// The stamp at the front of `payload`, if it is long enough to hold one.
    #[inline]
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (publisher, rest) = payload.split_first_chunk::<4>()?;
        let (seq, rest) = rest.split_first_chunk::<4>()?;
        let (due, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            publisher: u32::from_be_bytes(*publisher),
            seq: u32::from_be_bytes(*seq),
            due_ns: u64::from_be_bytes(*due),
        })
    }

    #[inline]
    fn bytes(self) -> [u8; STAMP_LEN] {
        let mut bytes = [0; STAMP_LEN];
        bytes[..4].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.seq.to_be_bytes());
        bytes[8..].copy_from_slice(&self.due_ns.to_be_bytes());
        bytes
    }
}

/// Digits of the item number in a topic of [`Topics::Items`].
const ITEM_DIGITS: usize = 7;
/// Items a load can have: as many as the digits can say.
pub(super) const MAX_ITEMS: u32 = 10_000_000;
const ITEM_PLACEHOLDER: &str = "0000000";

/// Where a publisher publishes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    /// One topic.
    One(String),
    /// `PREFIX/nnnnnnnSUFFIX`, going round through `count` numbers from `first`.
    Items {
        /// Everything before the number, with its `/`.
        prefix: String,
        /// Everything after it.
        suffix: String,
        /// The first number.
        first: u32,
        /// How many numbers.
        count: u32,
    },
}

/// A PUBLISH ready to go except for what differs from message to message.
#[derive(Clone, Debug)]
pub(super) struct Template {
    frame: Vec<u8>,
    qos: QoS,
    publisher: u32,
    /// Where the packet identifier stands; unused at QoS 0.
    packet_id_at: usize,
    stamp_at: usize,
    /// Where the item number stands, the first number, and how many there are.
    items: Option<(usize, u32, u32)>,
}

impl Template {
    /// A PUBLISH of `size` payload bytes, at least [`STAMP_LEN`].
    pub(super) fn new(
        version: Version,
        publisher: u32,
        topics: &Topics,
        qos: QoS,
        retain: bool,
        size: usize,
    ) -> Self {
        let (topic, prefix_len, range) = match topics {
            Topics::One(topic) => (topic.clone(), 0, None),
            Topics::Items { prefix, suffix, first, count } => {
                let topic = format!("{prefix}{ITEM_PLACEHOLDER}{suffix}");
                (topic, prefix.len(), Some((*first, (*count).max(1))))
            }
        };
        let payload = vec![b'm'; size.max(STAMP_LEN)];
        let mut frame = Vec::new();
        let publish = Publish {
            dup: false,
            qos,
            retain,
            topic: &topic,
            packet_id: 1,
            properties: Properties::default(),
            payload: &payload,
        };
        publish.encode(version, &mut frame);
        let stamp_at = frame.len() - payload.len();
        let id_len = if qos == QoS::AtMostOnce { 0 } else { 2 };
        let packet_id_at = stamp_at - usize::from(version.is_v5()) - id_len;
        let topic_at = packet_id_at - topic.len();
        Self {
            frame,
            qos,
            publisher,
            packet_id_at,
            stamp_at,
            items: range.map(|(first, count)| (topic_at + prefix_len, first, count)),
        }
    }

    /// Appends the message with that number to `out`.
    #[inline]
    pub(super) fn put(&self, out: &mut Vec<u8>, seq: u32, due_ns: u64, packet_id: u16) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let frame = &mut out[start..];
        let stamp = Stamp { publisher: self.publisher, seq, due_ns };
        frame[self.stamp_at..][..STAMP_LEN].copy_from_slice(&stamp.bytes());
        if self.qos != QoS::AtMostOnce {
            frame[self.packet_id_at..][..2].copy_from_slice(&packet_id.to_be_bytes());
        }
        if let Some((at, first, count)) = self.items {
            put_digits(&mut frame[at..][..ITEM_DIGITS], first + seq % count);
        }
    }

    /// One message's length on the wire, in bytes.
    pub(super) fn frame_len(&self) -> usize {
        self.frame.len()
    }

    /// The quality of service it is published with.
    pub(super) fn qos(&self) -> QoS {
        self.qos
    }
}

/// The item number as it stands in a topic.
pub(super) fn item_name(item: u32) -> String {
    format!("{item:0width$}", width = ITEM_DIGITS)
}

fn put_digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A received PUBLISH as far as a load looks at it.
#[inline]
pub(super) fn read_publish(
    version: Version,
    header: Header,
    body: &[u8],
) -> Result<RawPublish<'_>, String> {
    RawPublish::decode(version, header, body)
        .map_err(|err| format!("the broker sent a bad PUBLISH: {err}"))
}

/// Who a client says it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    /// User name, if any.
    pub(super) username: Option<String>,
    /// Password, if any.
    pub(super) password: Option<String>,
}

/// Session Expiry Interval of a session that never expires (MQTT 5.0 section 3.1.2.11.2).
const NEVER: u32 = u32::MAX;

/// How a client connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// Whether its session outlives the connection, for ever; otherwise it begins and ends with it.
    pub(super) lasting: bool,
    /// Messages it takes unacknowledged; nothing: as the broker likes. Only MQTT 5.0 can say so.
    pub(super) receive_max: Option<u16>,
}

/// A CONNECT without keep alive.
pub(super) fn connect_frame(
    version: Version,
    client_id: &str,
    terms: Terms,
    login: &Login,
) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut properties = PropertyBuf::default();
    if version.is_v5() {
        if terms.lasting {
            properties.int(PropertyId::SessionExpiryInterval, NEVER);
        }
        if let Some(max) = terms.receive_max {
            properties.int(PropertyId::ReceiveMaximum, u32::from(max));
        }
    }
    let connect = Connect {
        version,
        bridge: false,
        clean_start: !terms.lasting,
        keep_alive_s: 0,
        properties: properties.as_properties(),
        client_id,
        will: None,
        username: login.username.as_deref(),
        password: login.password.as_deref().map(str::as_bytes),
    };
    connect.encode(&mut frame);
    frame
}

/// A DISCONNECT without a reason, which every version writes alike.
pub(super) const DISCONNECT: [u8; 2] = [0xE0, 0];
/// A PINGREQ.
pub(super) const PINGREQ: [u8; 2] = [0xC0, 0];

/// Filters in one SUBSCRIBE: few enough for any broker's packet limit.
const FILTERS_PER_PACKET: usize = 100;

/// The SUBSCRIBE packets for all `filters`, with packet ids from 1; says how many packets.
pub(super) fn put_subscribes(
    version: Version,
    qos: QoS,
    filters: &[String],
    out: &mut Vec<u8>,
) -> usize {
    let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
    let mut packets = 0;
    for chunk in filters.chunks(FILTERS_PER_PACKET) {
        let list: Vec<_> = chunk.iter().map(|filter| SubscribeFilter { filter, options }).collect();
        packets += 1;
        let packet_id = (packets % usize::from(u16::MAX)) as u16;
        Subscribe::encode(version, packet_id.max(1), Properties::default(), &list, out);
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;
    use mogi_codec::Packet;

    fn decode(version: Version, frame: &[u8]) -> Publish<'_> {
        match Packet::parse(version, frame) {
            Ok(Some((Packet::Publish(publish), len))) if len == frame.len() => publish,
            other => panic!("not one PUBLISH: {other:?}"),
        }
    }

    #[test]
    fn a_patched_frame_is_the_packet_it_claims_to_be() {
        for version in [Version::V31, Version::V311, Version::V5] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for size in [16, 64, 200, 20_000] {
                    let topics = Topics::One("bench/7".into());
                    let template = Template::new(version, 7, &topics, qos, false, size);
                    let mut frame = Vec::new();
                    template.put(&mut frame, 99, 123_456, 777);
                    let publish = decode(version, &frame);
                    let id = if qos == QoS::AtMostOnce { 0 } else { 777 };
                    assert_eq!((publish.topic, publish.packet_id), ("bench/7", id));
                    assert_eq!(publish.payload.len(), size);
                    let stamp = Stamp::read(publish.payload);
                    let expected = Stamp { publisher: 7, seq: 99, due_ns: 123_456 };
                    assert_eq!(stamp, Some(expected));
                }
            }
        }
    }

    #[test]
    fn item_topics_go_round() {
        let topics =
            Topics::Items { prefix: "b/".into(), suffix: "/x".into(), first: 300, count: 2 };
        let template = Template::new(Version::V5, 0, &topics, QoS::AtLeastOnce, true, 64);
        for (seq, topic) in [(0, "b/0000300/x"), (1, "b/0000301/x"), (2, "b/0000300/x")] {
            let mut frame = Vec::new();
            template.put(&mut frame, seq, 0, 1);
            let publish = decode(Version::V5, &frame);
            assert_eq!((publish.topic, publish.retain), (topic, true));
        }
        assert_eq!(item_name(300), "0000300");
    }

    #[test]
    fn a_lasting_session_is_asked_for_as_each_version_does() {
        for version in [Version::V311, Version::V5] {
            for lasting in [false, true] {
                let terms = Terms { lasting, receive_max: Some(7) };
                let frame = connect_frame(version, "c", terms, &Login::default());
                let Ok(Some((Packet::Connect(connect), _))) = Packet::parse(version, &frame) else {
                    panic!("no CONNECT");
                };
                assert_eq!(connect.clean_start, !lasting);
                let int = |id| connect.properties.int(id);
                let v5 = version.is_v5();
                let expiry = int(PropertyId::SessionExpiryInterval);
                assert_eq!(expiry, (v5 && lasting).then_some(NEVER));
                assert_eq!(int(PropertyId::ReceiveMaximum), v5.then_some(7));
            }
        }
    }

    #[test]
    fn a_short_payload_has_no_stamp() {
        assert_eq!(Stamp::read(&[0; STAMP_LEN - 1]), None);
    }

    #[test]
    fn many_filters_make_several_packets() {
        let filters: Vec<String> = (0..250).map(|i| format!("f/{i}/+")).collect();
        let mut out = Vec::new();
        let packets = put_subscribes(Version::V311, QoS::AtMostOnce, &filters, &mut out);
        assert_eq!(packets, 3);
        let mut rest = out.as_slice();
        let mut found = Vec::new();
        while let Some((packet, len)) = Packet::parse(Version::V311, rest).expect("well-formed") {
            let Packet::Subscribe(subscribe) = packet else {
                panic!("no SUBSCRIBE");
            };
            found.extend(subscribe.filters().map(|f| f.filter.to_owned()));
            rest = &rest[len..];
        }
        assert_eq!(found, filters);
    }
}
