//! Clients that publish more than they may are not read for a while.

use super::EventLoop;
use crate::net::meter::Meter;
use crate::net::shared::BRIDGES;
use mogi_core::Allowance;
use std::sync::atomic::Ordering;

impl EventLoop {
    /// Tells the worker how much a client may publish now.
    #[inline]
    pub(super) fn allow(&mut self, now_ms: u64, place: u32, key: u32) {
        let allowed = match self.rates.limit_something() {
            true => self.reckon(now_ms, place, key),
            false => None,
        };
        self.worker.allow(allowed.unwrap_or_default());
    }

    fn reckon(&mut self, now_ms: u64, place: u32, key: u32) -> Option<Allowance> {
        let socket = self.sockets.get_mut(place as usize)?;
        if socket.listener == BRIDGES {
            return None;
        }
        if socket.meter.is_none() {
            let meter = Meter::new(&self.shared, socket.listener, self.worker.username(key))?;
            socket.meter = Some(Box::new(meter));
        }
        Some(socket.meter.as_mut()?.left(&self.rates, now_ms))
    }

    /// What a client has just published is used up.
    pub(super) fn charge(&mut self, place: u32) {
        let used = self.worker.published();
        if !self.rates.limit_something() {
            return;
        }
        let socket = self.sockets.get_mut(place as usize);
        if let Some(meter) = socket.and_then(|socket| socket.meter.as_mut()) {
            meter.take(&self.rates, used);
        }
    }

    /// Leaves a connection alone until its client may publish again. What it has sent so far is
    /// kept, and what it sends meanwhile waits in its socket.
    pub(super) fn throttle(&mut self, now_ms: u64, place: u32, key: u32, rest: &[u8]) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        let wait_ms = socket.meter.as_ref().map_or(1, |meter| meter.wait_ms(&self.rates));
        let until_ms = now_ms + wait_ms.min(LONGEST_WAIT_MS);
        socket.partial = rest.to_vec();
        (socket.parked, socket.throttled) = (true, true);
        self.throttled.insert((until_ms, place, socket.serial));
        self.worker.spare(key, place, until_ms);
        self.shared.refused.throttled.fetch_add(1, Ordering::Relaxed);
    }

    /// Goes on with those who may publish again.
    pub(super) fn check_throttled(&mut self, now_ms: u64) {
        while let Some(&(at_ms, place, serial)) = self.throttled.first() {
            if at_ms > now_ms {
                return;
            }
            self.throttled.pop_first();
            let socket = self.sockets.get_mut(place as usize);
            if let Some(socket) = socket.filter(|socket| socket.serial == serial) {
                socket.throttled = false;
                self.list(place);
            }
        }
    }
}

/// Then it is looked again, as limits may have changed since.
const LONGEST_WAIT_MS: u64 = 10_000;
