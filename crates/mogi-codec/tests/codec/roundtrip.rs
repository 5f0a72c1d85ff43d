//! What is encoded decodes to what it was.

use crate::arbitrary::{Owned, packet};
use crate::golden::encode;
use mogi_codec::{Packet, PacketKind, Version};
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_packet_of_every_version_comes_back((version, owned) in packet()) {
        let mut wire = vec![0xEE; 3];
        owned.encode(version, &mut wire);
        let wire = &wire[3..];
        let parsed = Packet::parse(version, wire);
        let Ok(Some((packet, len))) = parsed else {
            return Err(TestCaseError::fail(format!("{parsed:?}")));
        };
        prop_assert_eq!(len, wire.len());
        same(version, &owned, &packet)?;
        let mut again = Vec::new();
        encode(version, &packet, &mut again);
        prop_assert_eq!(again, wire);
    }
}

fn same(version: Version, owned: &Owned, packet: &Packet<'_>) -> Result<(), TestCaseError> {
    match (owned, packet) {
        (Owned::Connect { .. }, Packet::Connect(found)) => {
            prop_assert_eq!(*found, owned.as_connect(version));
        }
        (Owned::Connack(present, code, properties), Packet::Connack(found)) => {
            prop_assert_eq!((found.session_present, found.code), (*present, *code));
            prop_assert_eq!(found.properties, properties.as_properties());
        }
        (Owned::Publish { .. }, Packet::Publish(found)) => {
            prop_assert_eq!(*found, owned.as_publish());
        }
        (Owned::Ack(kind, id, reason, properties), found) => {
            let (found_kind, found) = match found {
                Packet::Puback(ack) => (PacketKind::Puback, ack),
                Packet::Pubrec(ack) => (PacketKind::Pubrec, ack),
                Packet::Pubrel(ack) => (PacketKind::Pubrel, ack),
                Packet::Pubcomp(ack) => (PacketKind::Pubcomp, ack),
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            prop_assert_eq!((found_kind, found.packet_id, found.reason), (*kind, *id, *reason));
            prop_assert_eq!(found.properties, properties.as_properties());
        }
        (Owned::Subscribe(id, properties, filters), Packet::Subscribe(found)) => {
            prop_assert_eq!((found.packet_id, found.properties), (*id, properties.as_properties()));
            let found: Vec<_> =
                found.filters().map(|filter| (filter.filter.to_owned(), filter.options)).collect();
            prop_assert_eq!(&found, filters);
        }
        (Owned::Unsubscribe(id, properties, filters), Packet::Unsubscribe(found)) => {
            prop_assert_eq!((found.packet_id, found.properties), (*id, properties.as_properties()));
            prop_assert_eq!(&found.filters().collect::<Vec<_>>(), filters);
        }
        (Owned::Codes(PacketKind::Suback, id, properties, codes), Packet::Suback(found)) => {
            prop_assert_eq!((found.packet_id, found.codes), (*id, codes.as_slice()));
            prop_assert_eq!(found.properties, properties.as_properties());
        }
        (Owned::Codes(PacketKind::Unsuback, id, properties, codes), Packet::Unsuback(found)) => {
            prop_assert_eq!((found.packet_id, found.codes), (*id, codes.as_slice()));
            prop_assert_eq!(found.properties, properties.as_properties());
        }
        (Owned::Empty(PacketKind::Pingreq), Packet::Pingreq)
        | (Owned::Empty(PacketKind::Pingresp), Packet::Pingresp) => {}
        (Owned::Reason(PacketKind::Disconnect, reason, properties), Packet::Disconnect(found)) => {
            prop_assert_eq!(found.reason, *reason);
            prop_assert_eq!(found.properties, properties.as_properties());
        }
        (Owned::Reason(PacketKind::Auth, reason, properties), Packet::Auth(found)) => {
            prop_assert_eq!(found.reason, *reason);
            prop_assert_eq!(found.properties, properties.as_properties());
        }
        (_, other) => return Err(TestCaseError::fail(format!("another kind: {other:?}"))),
    }
    Ok(())
}
