//! What a client may expect of the broker, checked on every packet that is sent to it.

use mogi_codec::{Connect, Header, Packet, PacketKind, PropertyId, QoS, Version};
use std::collections::BTreeSet;

/// One connection's view of the broker.
#[derive(Debug)]
pub struct Watch {
    version: Version,
    max_packet_size: usize,
    alias_max: u32,
    receive_max: usize,
    /// Received bytes that are no packet yet.
    buf: Vec<u8>,
    connected: bool,
    ended: bool,
    /// Packet ids the broker has in flight to this client.
    inflight: BTreeSet<u16>,
    /// Packet ids the client has sent a PUBREC for.
    pubrecs: BTreeSet<u16>,
    /// Whether the client has sent something that may have confused the flow control: then the
    /// broker owes it nothing.
    wild: bool,
}

impl Watch {
    /// From the connection's CONNECT; 3.1.1 without limits where there is none.
    pub fn new(connect: &[u8]) -> Self {
        let parsed = Packet::parse(Version::V5, connect);
        let connect: Option<Connect<'_>> = match parsed {
            Ok(Some((Packet::Connect(connect), _))) => Some(connect),
            _ => None,
        };
        let int = |id| connect.and_then(|it| it.properties.int(id));
        Self {
            version: connect.map_or(Version::V311, |it| it.version),
            max_packet_size: int(PropertyId::MaximumPacketSize).unwrap_or(u32::MAX) as usize,
            alias_max: int(PropertyId::TopicAliasMaximum).unwrap_or(0),
            receive_max: int(PropertyId::ReceiveMaximum).unwrap_or(0xFFFF) as usize,
            buf: Vec::new(),
            connected: false,
            ended: false,
            inflight: BTreeSet::new(),
            pubrecs: BTreeSet::new(),
            wild: false,
        }
    }

    pub const fn version(&self) -> Version {
        self.version
    }

    /// The client sends this.
    pub fn sent(&mut self, mut bytes: &[u8]) {
        while let Ok(Some((packet, len))) = Packet::parse(self.version, bytes) {
            match packet {
                Packet::Puback(ack) | Packet::Pubcomp(ack) => {
                    self.inflight.remove(&ack.packet_id);
                }
                Packet::Pubrec(ack) => {
                    self.pubrecs.insert(ack.packet_id);
                    if ack.reason.is_error() {
                        self.inflight.remove(&ack.packet_id);
                    }
                }
                _ => {}
            }
            bytes = &bytes[len..];
        }
        self.wild |= !bytes.is_empty();
    }

    /// The broker sends this.
    pub fn received(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
        let buf = std::mem::take(&mut self.buf);
        let mut rest = &*buf;
        while let Some(header) = Header::parse(rest).expect("the broker sends packets") {
            let Some(packet) = rest.get(..header.packet_len()) else {
                break;
            };
            self.check(packet);
            rest = &rest[packet.len()..];
        }
        self.buf = rest.to_vec();
    }

    fn check(&mut self, bytes: &[u8]) {
        // A refusal may come before the version is known; only 5.0 has properties.
        let version = match bytes {
            _ if self.connected => self.version,
            [_, 2, ..] => Version::V311,
            _ => Version::V5,
        };
        let packet = match Packet::parse(version, bytes) {
            Ok(Some((packet, _))) => packet,
            other => panic!("sent {bytes:02x?}: {other:?}"),
        };
        assert!(!self.ended, "{packet:?} after the end");
        assert_eq!(self.connected, !matches!(packet, Packet::Connack(_)), "{packet:?}");
        assert!(bytes.len() <= self.max_packet_size, "{packet:?} is too large");
        match packet {
            Packet::Connack(connack) => {
                self.connected = true;
                self.ended = connack.code != 0;
                assert!(connack.code == 0 || !connack.session_present);
            }
            Packet::Publish(publish) => {
                let alias = publish.properties.int(PropertyId::TopicAlias).unwrap_or(0);
                assert!(alias <= self.alias_max, "{publish:?}");
                if publish.qos != QoS::AtMostOnce {
                    let free = self.inflight.insert(publish.packet_id);
                    assert!(free || self.wild, "{publish:?} has an id in use");
                    let count = self.inflight.len();
                    assert!(count <= self.receive_max || self.wild, "{count} in flight");
                }
            }
            // A QoS 2 flow that goes on after a reconnect is in flight too. A PUBREL that answers
            // a PUBREC says nothing new: the PUBREC may have been about no message at all.
            Packet::Pubrel(ack) => {
                if !self.pubrecs.contains(&ack.packet_id) {
                    self.inflight.insert(ack.packet_id);
                }
            }
            Packet::Disconnect(disconnect) => {
                assert!(self.version.is_v5());
                assert!(!disconnect.properties.has(PropertyId::SessionExpiryInterval));
                self.ended = true;
            }
            Packet::Puback(_) | Packet::Pubrec(_) | Packet::Pubcomp(_) => {}
            Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp => {}
            other => panic!("a broker does not send {:?}", kind_of(&other)),
        }
    }
}

fn kind_of(packet: &Packet<'_>) -> Option<PacketKind> {
    match packet {
        Packet::Connect(_) => Some(PacketKind::Connect),
        Packet::Subscribe(_) => Some(PacketKind::Subscribe),
        Packet::Unsubscribe(_) => Some(PacketKind::Unsubscribe),
        Packet::Auth(_) => Some(PacketKind::Auth),
        _ => None,
    }
}
