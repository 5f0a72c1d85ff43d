//! Which connections come in: as many as there may be, and no faster than they may come.

use super::EventLoop;
use crate::net::crowd::Entry;
use crate::net::stream::{Peer, Stream};
use mogi_codec::Reason;
use mogi_core::{LogKind, Memory, Refused, handshake};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why addresses are shut out.
pub(super) const TOO_MANY_LOGINS: &str = "too many failed logins";

const TOO_FAST: &str = "max_connection_rate exceeded";

impl EventLoop {
    /// Whether another connection may be accepted now (`max_connection_rate`). Those that wait do
    /// so where the system keeps them.
    pub(super) fn door_opens(&mut self, now_ms: u64) -> Entry {
        let entry = self.turnstile.opens(&self.shared.tuning().crowd, now_ms);
        if let Entry::Later(again_ms) = entry {
            self.accept_again_ms = again_ms;
            count(&self.shared.refused.delayed);
        }
        entry
    }

    /// A connection that comes where too many wait is heard out, as far as that costs little, and
    /// told so ([MQTT-3.2.2-8]: 0x9F). TLS costs what the limit is there to save: it is closed.
    pub(super) fn send_away(&mut self, now_ms: u64, stream: Stream, listener: u16, peer: Peer) {
        count(&self.shared.refused.crowded);
        let rules = self.shared.rules(listener);
        if rules.is_none_or(|rules| rules.transport.is_encrypted()) {
            return self.log_connection(LogKind::Notice, || {
                let host = peer.host();
                format!("Client connection from {host} denied: {TOO_FAST}.")
            });
        }
        let Some(place) = self.admit(now_ms, stream, listener, peer) else {
            return;
        };
        if let Some(socket) = self.sockets.get_mut(place as usize) {
            socket.turned_away = true;
        }
        self.attend(now_ms, place);
    }

    /// The answer to a client that is turned away.
    pub(super) fn too_fast(packet: &[u8]) -> Refused {
        let refused = handshake::deny(packet, Reason::ConnectionRateExceeded);
        Refused { reason: TOO_FAST, ..refused }
    }

    /// Counts a new connection in: the address it is counted under, if that is known by now.
    ///
    /// # Errors
    /// It may not come in: why. Nobody is told, as it costs more to hear it out first.
    pub(super) fn count_in(
        &self,
        listener: u16,
        peer: &Peer,
    ) -> Result<Option<IpAddr>, &'static str> {
        let (refused, limits) = (&self.shared.refused, self.shared.tuning().crowd);
        if self.shared.pressure.get(&self.shared.node) == Memory::Full {
            count(&refused.memory);
            return Err("memory_limit reached");
        }
        if limits.pending != 0 && self.pending >= limits.pending {
            count(&refused.pending);
            return Err("max_pending_connections exceeded");
        }
        // A proxy says later whose connection it is.
        let rules = self.shared.rules(listener);
        let hidden = rules.is_some_and(|rules| rules.transport.hides_address());
        let address = peer.address().filter(|_| !hidden);
        if let Some(address) = address
            && !self.shared.crowd.enter(address, limits.per_address)
        {
            count(&refused.addresses);
            return Err("max_connections_per_address exceeded");
        }
        if !self.shared.admit_connection(listener) {
            if let Some(address) = address {
                self.shared.crowd.leave(address);
            }
            count(&refused.connections);
            return Err("max_connections exceeded");
        }
        Ok(address)
    }

    /// Counts a connection in under an address that is known only now.
    ///
    /// # Errors
    /// There are as many of it as there may be, or it is shut out.
    pub(super) fn count_late(
        &mut self,
        now_ms: u64,
        place: u32,
        connect_len: usize,
    ) -> Result<(), Refused> {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return Ok(());
        };
        let Some(address) = socket.peer.address().filter(|_| socket.counted.is_none()) else {
            return Ok(());
        };
        let packet = socket.partial.get(..connect_len).unwrap_or_default();
        let refused = &self.shared.refused;
        if self.shared.access.bans.holds(now_ms, address) {
            count(&refused.banned);
            let answer = handshake::deny(packet, Reason::Banned);
            return Err(Refused { reason: TOO_MANY_LOGINS, ..answer });
        }
        let limit = self.shared.tuning().crowd.per_address;
        if self.shared.crowd.enter(address, limit) {
            socket.counted = Some(address);
            return Ok(());
        }
        count(&refused.addresses);
        let answer = handshake::deny(packet, Reason::QuotaExceeded);
        Err(Refused { reason: "max_connections_per_address exceeded", ..answer })
    }

    /// Counts a connection out.
    pub(super) fn count_out(&self, listener: u16, counted: Option<IpAddr>) {
        self.shared.release_connection(listener);
        if let Some(address) = counted {
            self.shared.crowd.leave(address);
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
