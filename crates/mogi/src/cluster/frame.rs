//! What goes over a link: MQTT 5 packets with frames in them.
//!
//! ```text
//!  CONNECT   client id: the node's; user properties: mogi-link 1, cluster, incarnation
//!  CONNACK   user properties: mogi-link 1, incarnation
//!  PUBLISH   QoS 1; topic: the kind; payload: | sequence number 8 | the frame |
//!  PUBREC    the frame is taken, and all before it; only sent where PUBACK has to wait
//!  PUBACK    what it and those before it tell is known to all workers, and counts from now on
//!  PINGREQ, PINGRESP
//! ```

use mogi_codec::properties::Value;
use mogi_codec::{
    Ack, Connack, Connect, DecodeError, Header, PacketKind, Properties, PropertyBuf, PropertyId,
    Publish, QoS, Reason, Version,
};

/// Bytes a packet of a link may have.
pub(super) const PACKET_MAX: usize = 64 << 20;

/// The version of links this release speaks.
const LINK: &str = "1";

/// The kinds of frames, which are topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes: [`mogi_core::cluster::change::Change`].
    Changes,
    /// Messages: [`mogi_core::cluster::FarBatch`].
    Messages,
    /// Something got lost: whoever reads this looks into the store.
    Gap,
    /// Users or rights have changed in the store: whoever reads this puts them in force.
    Rights,
    /// Somebody waits to hear that the messages before it are taken.
    Ask,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Changes, Self::Messages, Self::Gap, Self::Rights, Self::Ask];

    const fn topic(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Messages => "messages",
            Self::Gap => "gap",
            Self::Rights => "rights",
            Self::Ask => "ask",
        }
    }

    fn from_topic(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.topic() == topic)
    }
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) node: String,
    pub(super) cluster: String,
    pub(super) incarnation: u64,
}

impl Hello {
    pub(super) fn connect(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut properties = PropertyBuf::new();
        properties.user("mogi-link", LINK);
        properties.user("cluster", &self.cluster);
        properties.user("incarnation", &self.incarnation.to_string());
        Connect {
            version: Version::V5,
            bridge: false,
            clean_start: true,
            keep_alive_s: 0,
            properties: properties.as_properties(),
            client_id: &self.node,
            will: None,
            username: None,
            password: None,
        }
        .encode(&mut out);
        out
    }

    /// The hello of a CONNECT.
    ///
    /// # Errors
    /// It is none of a link: a line for the log.
    pub(super) fn of_connect(body: &[u8]) -> Result<Self, String> {
        let connect = Connect::decode(body).map_err(|error| error.to_string())?;
        let node = connect.client_id.to_owned();
        let (cluster, incarnation) = common(connect.properties)?;
        Ok(Self { node, cluster: cluster.unwrap_or_default(), incarnation })
    }

    pub(super) fn connack(incarnation: u64, reason: Reason) -> Vec<u8> {
        let mut out = Vec::new();
        let mut properties = PropertyBuf::new();
        properties.user("mogi-link", LINK);
        properties.user("incarnation", &incarnation.to_string());
        let properties = properties.as_properties();
        Connack { session_present: false, code: reason as u8, properties }
            .encode(Version::V5, &mut out);
        out
    }

    /// What a CONNACK says.
    ///
    /// # Errors
    /// The link is refused: a line for the log.
    pub(super) fn of_connack(body: &[u8]) -> Result<Answer, String> {
        let connack = Connack::decode(Version::V5, body).map_err(|error| error.to_string())?;
        if connack.code == Reason::SessionTakenOver as u8 {
            return Ok(Answer::Dead);
        }
        if connack.code != 0 {
            let reason = Reason::from_u8(connack.code).map_or("unknown", Reason::text);
            return Err(format!("it refuses the link ({reason})"));
        }
        Ok(Answer::Welcome(common(connack.properties)?.1))
    }
}

/// What whoever is at the other end makes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It takes it. This is its incarnation.
    Welcome(u64),
    /// It has taken this start of the node for dead.
    Dead,
}

fn common(properties: Properties<'_>) -> Result<(Option<String>, u64), String> {
    let user = |name: &str| {
        properties.iter().find_map(|property| match property.value {
            Value::Pair(key, value) if property.id == PropertyId::UserProperty && key == name => {
                Some(value.to_owned())
            }
            _ => None,
        })
    };
    match user("mogi-link").as_deref() {
        None => return Err("it is no mogi broker".to_owned()),
        Some(LINK) => {}
        Some(other) => return Err(format!("its links are of version {other}, not {LINK}")),
    }
    let incarnation = user("incarnation").and_then(|text| text.parse().ok());
    Ok((user("cluster"), incarnation.ok_or("it does not say which start of it this is")?))
}

/// The packet id of a frame: the low bits of its number, and never 0.
pub(super) const fn packet_id(seq: u64) -> u16 {
    (seq % 0xFFFF) as u16 + 1
}

/// Appends a frame as a packet.
pub(super) fn put(kind: Kind, seq: u64, frame: &[u8], out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(8 + frame.len());
    payload.extend_from_slice(&seq.to_be_bytes());
    payload.extend_from_slice(frame);
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: kind.topic(),
        packet_id: packet_id(seq),
        properties: Properties::default(),
        payload: &payload,
    }
    .encode(Version::V5, out);
}

/// Appends the acknowledgement of a frame.
pub(super) fn put_ack(seq: u64, out: &mut Vec<u8>) {
    Ack::new(packet_id(seq), Reason::Success).encode(Version::V5, PacketKind::Puback, out);
}

/// Appends word that a frame is taken, of which more is yet to be said.
pub(super) fn put_taken(seq: u64, out: &mut Vec<u8>) {
    Ack::new(packet_id(seq), Reason::Success).encode(Version::V5, PacketKind::Pubrec, out);
}

/// A packet that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived<'a> {
    /// A frame; of a kind that is not known if there is none.
    Frame(Option<Kind>, u64, &'a [u8]),
    /// The acknowledgement of the frame with that packet id.
    Ack(u16),
    /// The frame with that packet id is taken.
    Taken(u16),
    /// Anything else that may come.
    Other,
}

/// The first packet of `bytes` and its length; `None`: it is not complete.
///
/// # Errors
/// That does not belong on a link.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Arrived<'_>, usize)>, DecodeError> {
    let Some(header) = Header::parse(bytes)? else {
        return Ok(None);
    };
    let len = header.header_len + header.remaining;
    if len > PACKET_MAX {
        return Err(DecodeError::malformed("packet too large for a link"));
    }
    let Some(body) = bytes.get(header.header_len..len) else {
        return Ok(None);
    };
    let arrived = match header.kind {
        PacketKind::Publish => {
            let publish = Publish::decode(Version::V5, header, body)?;
            let cut = DecodeError::malformed("frame without a number");
            let (seq, frame) = publish.payload.split_at_checked(8).ok_or(cut)?;
            let mut number = [0; 8];
            number.copy_from_slice(seq);
            Arrived::Frame(Kind::from_topic(publish.topic), u64::from_be_bytes(number), frame)
        }
        PacketKind::Puback => {
            Arrived::Ack(Ack::decode(Version::V5, PacketKind::Puback, body)?.packet_id)
        }
        PacketKind::Pubrec => {
            Arrived::Taken(Ack::decode(Version::V5, PacketKind::Pubrec, body)?.packet_id)
        }
        _ => Arrived::Other,
    };
    Ok(Some((arrived, len)))
}

/// The body of the whole first packet, if it is of that kind.
pub(super) fn body_of(kind: PacketKind, bytes: &[u8]) -> Result<Option<&[u8]>, DecodeError> {
    let Some(header) = Header::parse(bytes)? else {
        return Ok(None);
    };
    if header.kind != kind {
        return Err(DecodeError::malformed("another packet was due"));
    }
    Ok(bytes.get(header.header_len..header.header_len + header.remaining))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_acknowledgements_come_back() {
        let mut out = Vec::new();
        put(Kind::Messages, 70_000, b"abc", &mut out);
        let frame = out.len();
        put_ack(70_000, &mut out);
        let (first, len) = parse(&out).unwrap().unwrap();
        assert_eq!((first, len), (Arrived::Frame(Some(Kind::Messages), 70_000, b"abc"), frame));
        let (second, _) = parse(&out[len..]).unwrap().unwrap();
        assert_eq!(second, Arrived::Ack(packet_id(70_000)));
        let mut taken = Vec::new();
        put_taken(70_000, &mut taken);
        assert_eq!(parse(&taken).unwrap().unwrap().0, Arrived::Taken(packet_id(70_000)));
        assert_eq!(parse(&out[..frame - 1]), Ok(None));
    }

    #[test]
    fn a_hello_is_understood_and_a_stranger_is_not() {
        let hello = Hello { node: "a".into(), cluster: "home".into(), incarnation: 7 };
        let connect = hello.connect();
        let body = body_of(PacketKind::Connect, &connect).unwrap().unwrap();
        assert_eq!(Hello::of_connect(body), Ok(hello));
        let connack = Hello::connack(9, Reason::Success);
        let body = body_of(PacketKind::Connack, &connack).unwrap().unwrap();
        assert_eq!(Hello::of_connack(body), Ok(Answer::Welcome(9)));
        let refusal = Hello::connack(9, Reason::NotAuthorized);
        let body = body_of(PacketKind::Connack, &refusal).unwrap().unwrap();
        assert!(Hello::of_connack(body).is_err());
    }
}
