//! Which connections come in: as many as there may be, and no faster than they may come.

use super::EventLoop;
use crate::net::stream::Peer;
use mogi_codec::Reason;
use mogi_core::{Memory, Refused, handshake};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

impl EventLoop {
    /// Whether another connection may be accepted now (`max_connection_rate`). Those that may not
    /// wait where the system keeps them.
    pub(super) fn door_opens(&mut self, now_ms: u64) -> bool {
        let per_second = self.shared.tuning().crowd.per_second;
        match self.turnstile.opens(per_second, now_ms) {
            Ok(()) => true,
            Err(again_ms) => {
                self.accept_again_ms = again_ms;
                count(&self.shared.refused.delayed);
                false
            }
        }
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
    /// There are as many of it as there may be.
    pub(super) fn count_late(&mut self, place: u32, connect_len: usize) -> Result<(), Refused> {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return Ok(());
        };
        let Some(address) = socket.peer.address().filter(|_| socket.counted.is_none()) else {
            return Ok(());
        };
        let limit = self.shared.tuning().crowd.per_address;
        if self.shared.crowd.enter(address, limit) {
            socket.counted = Some(address);
            return Ok(());
        }
        count(&self.shared.refused.addresses);
        let packet = socket.partial.get(..connect_len).unwrap_or_default();
        let mut refused = handshake::deny(packet, Reason::QuotaExceeded);
        refused.reason = "max_connections_per_address exceeded";
        Err(refused)
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
