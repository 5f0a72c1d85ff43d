//! Packets of connected clients, one after the other.

use crate::end::Ending;
use crate::event::LogKind;
use crate::inflight::Stage;
use crate::link::Link;
use crate::store::{EntryNo, StoreOp};
use crate::worker::Worker;
use mogi_codec::{
    Ack, Auth, DecodeError, Disconnect, Header, PacketKind, PropertyId, Reason, Subscribe,
    Unsubscribe, Version,
};

/// What became of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes that were dealt with; the rest belongs to a packet that is not complete, or waits.
    pub consumed: usize,
    /// What the driver does next.
    pub next: Next,
}

/// What the driver does after handing over bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Reads on when there is more. The packet that is begun needs at least so many bytes in all.
    Read(usize),
    /// Writes what is dirty, then hands over the rest again.
    Flush,
    /// Waits until the connection's output has drained, then hands over the rest again.
    Drain,
    /// Waits until the store has caught up, then hands over the rest again.
    Store,
    /// Waits until the client may publish again ([`Worker::allow`]), then hands over the rest.
    Throttle,
    /// Waits until a [`Question`](crate::Question) is answered, then hands over the rest again.
    Ask,
    /// The connection is gone.
    Gone,
}

/// How much is published, or may be. By default there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// PUBLISH packets.
    pub messages: u32,
    /// Their bytes. The last one may exceed it.
    pub bytes: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { messages: u32::MAX, bytes: u64::MAX }
    }
}

/// Pending output from which on a connection is not read: it has to take its answers first.
const DRAIN_BYTES: usize = 512 * 1024;

type Outcome = Result<(), Ending>;

impl Worker {
    /// Deals with bytes of a connection, packet by packet. The bytes of one call were read in one
    /// go, so that what was acknowledged before they were sent is seen when they are routed.
    pub fn received(&mut self, now_ms: u64, key: u32, token: u32, bytes: &[u8]) -> Received {
        self.turn.now_ms = now_ms;
        let mut interest_version = self.node.interest.version();
        let mut consumed = 0;
        let Some(link) = self.link_mut(key, token) else {
            return Received { consumed, next: Next::Gone };
        };
        link.last_received_ms = now_ms;
        let version = link.version;
        let next = loop {
            if self.turn.is_full() {
                break Next::Flush;
            }
            if let Some(wait) = self.must_wait(key) {
                break wait;
            }
            let rest = &bytes[consumed..];
            let header = match Header::parse(rest) {
                Ok(Some(header)) => header,
                Ok(None) => break Next::Read(0),
                Err(error) => {
                    self.disconnect(key, Ending::Broken(error));
                    break Next::Gone;
                }
            };
            if let Err(ending) = self.check_header(version, header) {
                self.disconnect(key, ending);
                break Next::Gone;
            }
            let Some(packet) = rest.get(..header.packet_len()) else {
                break Next::Read(header.packet_len());
            };
            if self.turn.rights.has_grants() && self.must_ask(key, version, header, packet) {
                break Next::Ask;
            }
            if header.kind == PacketKind::Publish {
                let (used, allowed) = (&mut self.turn.published, self.turn.allowance);
                if used.messages >= allowed.messages || used.bytes >= allowed.bytes {
                    break Next::Throttle;
                }
                used.messages = used.messages.wrapping_add(1);
                used.bytes += packet.len() as u64;
            }
            consumed += packet.len();
            self.turn.stats.packets_received += 1;
            self.turn.gated = false;
            if let Err(ending) = self.packet(key, version, header, packet, interest_version) {
                self.disconnect(key, ending);
                break Next::Gone;
            }
            let writes = self.turn.gated;
            if self.turn.store_full
                && let Some(link) = self.link_mut(key, token)
            {
                link.writes = writes;
            }
            if matches!(header.kind, PacketKind::Subscribe | PacketKind::Unsubscribe) {
                // Its own groups count for what the client sends next.
                interest_version = self.node.interest.version();
            }
        };
        self.turn.stats.bytes_received += consumed as u64;
        if std::mem::take(&mut self.turn.pump_due)
            && let Some(client) = self.clients.get_mut(key)
        {
            client.pump(key, &mut self.turn);
        }
        Received { consumed, next }
    }

    /// From now on so much may be published; whoever calls [`Self::received`] with several
    /// connections says so before each.
    pub const fn allow(&mut self, allowance: Allowance) {
        self.turn.allowance = allowance;
        self.turn.published = Allowance { messages: 0, bytes: 0 };
    }

    /// What was published since [`Self::allow`].
    pub const fn published(&self) -> Allowance {
        self.turn.published
    }

    /// A connection is not read until then on purpose: its client need not say that it is alive.
    pub fn spare(&mut self, key: u32, token: u32, until_ms: u64) {
        if let Some(link) = self.link_mut(key, token) {
            link.last_received_ms = link.last_received_ms.max(until_ms);
        }
    }

    #[inline]
    fn must_wait(&mut self, key: u32) -> Option<Next> {
        let link = self.clients.get_mut(key)?.link.as_ref()?;
        if link.blocked && link.pending() >= DRAIN_BYTES {
            return Some(Next::Drain);
        }
        // Whoever sends nothing that is to be durable goes on.
        let writes = link.writes || !link.held.is_empty();
        (self.turn.store_full && writes).then_some(Next::Store)
    }

    /// What can be judged before the whole packet is there.
    #[inline]
    fn check_header(&self, version: Version, header: Header) -> Outcome {
        header.check_flags(version).map_err(Ending::Broken)?;
        let limit = match header.kind {
            PacketKind::Publish => match self.turn.cfg.max_packet_size {
                0 => usize::MAX,
                limit => limit as usize,
            },
            // Mosquitto's compiled-in limits for packets that carry no message.
            PacketKind::Subscribe | PacketKind::Unsubscribe | PacketKind::Auth => MAX_LISTS_BYTES,
            _ => MAX_SMALL_BYTES,
        };
        if header.packet_len() <= limit {
            return Ok(());
        }
        let what = "packet larger than max_packet_size";
        Err(Ending::Broken(DecodeError::new(Reason::PacketTooLarge, what)))
    }

    #[inline]
    fn packet(
        &mut self,
        key: u32,
        version: Version,
        header: Header,
        packet: &[u8],
        interest_version: u64,
    ) -> Outcome {
        let body = &packet[header.header_len..];
        let broken = Ending::Broken;
        match header.kind {
            PacketKind::Publish => self.publish(key, version, header, packet, interest_version),
            PacketKind::Puback | PacketKind::Pubrec | PacketKind::Pubrel | PacketKind::Pubcomp => {
                let ack = Ack::decode(version, header.kind, body).map_err(broken)?;
                self.acknowledgement(key, header.kind, &ack)
            }
            PacketKind::Pingreq if body.is_empty() => {
                self.pong(key);
                Ok(())
            }
            PacketKind::Pingreq => Err(broken(DecodeError::malformed("PINGREQ with a body"))),
            PacketKind::Subscribe => {
                let subscribe = Subscribe::decode(version, body).map_err(broken)?;
                self.subscribe(key, &subscribe).map_err(broken)
            }
            PacketKind::Unsubscribe => {
                let unsubscribe = Unsubscribe::decode(version, body).map_err(broken)?;
                self.unsubscribe(key, &unsubscribe);
                Ok(())
            }
            PacketKind::Disconnect => {
                let disconnect = Disconnect::decode(version, body).map_err(broken)?;
                self.client_disconnects(key, &disconnect)
            }
            PacketKind::Connect => Err(Ending::SecondConnect),
            PacketKind::Auth => {
                let auth = Auth::decode(version, body).map_err(broken)?;
                self.reauthenticate(key, &auth).map_err(broken)
            }
            PacketKind::Connack
            | PacketKind::Suback
            | PacketKind::Unsuback
            | PacketKind::Pingresp => {
                Err(broken(DecodeError::protocol("packet only a server may send")))
            }
        }
    }

    fn pong(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let id = &client.id;
        self.turn.log(LogKind::Debug, || format!("Received PINGREQ from {id}"));
        self.turn.log(LogKind::Debug, || format!("Sending PINGRESP to {id}"));
        // [MQTT-3.12.4-1]. It answers nothing durable, so it overtakes what waits for tickets.
        if client.link.as_ref().is_some_and(|link| link.open) {
            let Some(link) = &mut client.link else { return };
            self.turn.stats.packets_sent += 1;
            let out = crate::client::output(link, key, &mut self.turn);
            out.bytes().extend_from_slice(&[(PacketKind::Pingresp as u8) << 4, 0]);
        } else {
            client.ack(key, &mut self.turn, |_, out| {
                out.extend_from_slice(&[(PacketKind::Pingresp as u8) << 4, 0]);
            });
        }
    }

    /// PUBACK, PUBREC and PUBCOMP of a receiver, PUBREL of a publisher (section 4.3).
    fn acknowledgement(&mut self, key: u32, kind: PacketKind, ack: &Ack<'_>) -> Outcome {
        let Some(client) = self.clients.get_mut(key) else {
            return Ok(());
        };
        let id = &client.id;
        let packet_id = ack.packet_id;
        self.turn.log(LogKind::Debug, || {
            let (name, code) = (kind.name(), ack.reason as u8);
            match kind {
                PacketKind::Puback | PacketKind::Pubcomp => {
                    format!("Received {name} from {id} (Mid: {packet_id}, RC:{code})")
                }
                _ => format!("Received {name} from {id} (Mid: {packet_id})"),
            }
        });
        if kind == PacketKind::Pubrel {
            self.released(key, packet_id);
            return Ok(());
        }
        let Some((at, flight)) = client.session.inflight.find(packet_id) else {
            return self.unknown_acknowledgement(key, kind, ack);
        };
        if kind == PacketKind::Pubrec && flight.stage == Stage::Released {
            // A repeat of what was answered already; the answer may have been lost.
            self.release_flight(key, packet_id, Reason::Success);
            return Ok(());
        }
        if kind != flight.awaits() {
            return Err(Ending::Broken(DecodeError::protocol(
                "acknowledgement of the wrong kind for its message",
            )));
        }
        if kind == PacketKind::Pubrec && !ack.reason.is_error() {
            // [MQTT-4.3.3-4]; the message itself is not needed any more ([MQTT-4.3.3-6]).
            let entry = client.session.inflight.arrived(at);
            let session = client.session.number;
            if entry != EntryNo::NONE {
                // PUBREL waits: after it the client takes the id for that of another message.
                self.turn.durable(|| StoreOp::Released { session, entry });
            }
            self.release_flight(key, packet_id, Reason::Success);
            return Ok(());
        }
        // PUBACK, PUBCOMP, or PUBREC with an error: done ([MQTT-4.4.0-2]).
        let entry = client.session.inflight.end(at);
        client.forget_entry(&mut self.turn, entry);
        self.turn.pump_due = true;
        Ok(())
    }

    fn release_flight(&mut self, key: u32, packet_id: u16, reason: Reason) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let id = &client.id;
        self.turn.log(LogKind::Debug, || format!("Sending PUBREL to {id} (m{packet_id})"));
        client.ack(key, &mut self.turn, |version, out| {
            Ack::new(packet_id, reason).encode(version, PacketKind::Pubrel, out);
        });
    }

    /// An id nothing is in flight with: PUBACK and PUBCOMP mean nothing then, PUBREC is answered
    /// so that the client's exchange ends (section 4.3.3; 0x92 in 5.0).
    fn unknown_acknowledgement(&mut self, key: u32, kind: PacketKind, ack: &Ack<'_>) -> Outcome {
        // A PUBREC with an error has ended the exchange already ([MQTT-4.3.3-4]).
        if kind == PacketKind::Pubrec && !ack.reason.is_error() {
            self.release_flight(key, ack.packet_id, Reason::PacketIdentifierNotFound);
        }
        Ok(())
    }

    /// PUBREL: the publisher will not repeat the message ([MQTT-4.3.3-11]).
    fn released(&mut self, key: u32, packet_id: u16) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let known = client.session.received.remove(packet_id);
        let id = &client.id;
        if known && client.session.expiry.outlives_connection() {
            let session = client.session.number;
            self.turn.durable(|| StoreOp::ReceivedEnd { session, packet_id });
        }
        self.turn.log(LogKind::Debug, || format!("Sending PUBCOMP to {id} (m{packet_id})"));
        let reason = if known { Reason::Success } else { Reason::PacketIdentifierNotFound };
        client.ack(key, &mut self.turn, |version, out| {
            Ack::new(packet_id, reason).encode(version, PacketKind::Pubcomp, out);
        });
    }

    fn client_disconnects(&mut self, key: u32, disconnect: &Disconnect<'_>) -> Outcome {
        let Some(client) = self.clients.get_mut(key) else {
            return Ok(());
        };
        let id = &client.id;
        self.turn.log(LogKind::Debug, || format!("Received DISCONNECT from {id}"));
        if let Some(expiry_s) = disconnect.properties.int(PropertyId::SessionExpiryInterval) {
            let wanted = crate::session::Expiry::from_s(expiry_s);
            let had = client.session.expiry;
            if !had.outlives_connection() && wanted.outlives_connection() {
                // [MQTT-3.14.2-2]
                return Err(Ending::Broken(DecodeError::protocol(
                    "DISCONNECT gives a session expiry to a session that had none",
                )));
            }
            client.session.expiry = wanted.capped(self.turn.cfg.persistent_client_expiration_s);
            self.persist_session(key);
        }
        Err(Ending::ByClient(disconnect.reason))
    }
}

/// Bytes a SUBSCRIBE, UNSUBSCRIBE or AUTH may have.
const MAX_LISTS_BYTES: usize = 1_000_000;
/// Bytes any other packet but PUBLISH may have.
const MAX_SMALL_BYTES: usize = 100_000;

/// Whether reason strings may be sent to this client ([MQTT-3.1.2-29]).
pub(crate) const fn wants_reasons(link: &Link) -> bool {
    link.version.is_v5() && link.problem_information
}
