//! The end of a turn: batches, log lines, writes, and sockets to close.

use super::EventLoop;
use crate::net::mailbox::Mail;
use crate::net::socket::Socket;
use mogi_core::{Close, Ending};
use std::sync::PoisonError;

impl EventLoop {
    pub(super) fn unblocked(&mut self, now_ms: u64, place: u32) {
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if !socket.blocked {
            return;
        }
        socket.blocked = false;
        match socket.key() {
            Some(key) => self.write(now_ms, key),
            None => self.flush_handshake(place),
        }
    }

    /// Ends the turn and acts on what it decided: changes for the store first, then batches, so
    /// that peers begin; then the log, the writes, and the sockets to close.
    pub(super) fn finish_turn(&mut self, now_ms: u64) {
        self.take_steps(now_ms);
        self.worker.end_turn();
        self.take_questions();
        let effects = self.worker.effects();
        let batches = std::mem::take(&mut effects.batches);
        let far = std::mem::take(&mut effects.far);
        let logs = std::mem::take(&mut effects.logs);
        // First, so that what peers hear of is in the store, or on its way there.
        self.hand_to_store();
        self.send_far(far);
        for (peer, bytes) in batches {
            if let Some(mailbox) = self.shared.mailboxes.get(usize::from(peer)) {
                mailbox.send(Mail::Batch { from: self.index, bytes }, self.together);
            }
        }
        for control in std::mem::take(&mut self.worker.effects().controls) {
            crate::access::request(&self.shared, self.index, control);
        }
        for (kind, text) in logs {
            self.shared.log.log(kind, &text);
        }
        self.write_dirty(now_ms);
        self.close_all();
        self.worker.flushed();
        let at = usize::from(self.index);
        if let Some(stats) = self.shared.stats.get(at) {
            *stats.lock().unwrap_or_else(PoisonError::into_inner) = *self.worker.stats();
        }
    }

    pub(super) fn write_dirty(&mut self, now_ms: u64) {
        let dirty = std::mem::take(&mut self.worker.effects().dirty);
        for &key in &dirty {
            self.write(now_ms, key);
        }
        // Clients that became dirty while they were written to (there is more in their queues)
        // come next turn, so that one of them cannot hold up the others.
        let effects = self.worker.effects();
        if effects.dirty.is_empty() {
            let mut dirty = dirty;
            dirty.clear();
            effects.dirty = dirty;
        }
    }

    pub(super) fn write(&mut self, now_ms: u64, key: u32) {
        let Some((place, output)) = self.worker.output(key) else {
            return;
        };
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return;
        };
        if socket.blocked {
            self.worker.wrote(now_ms, key, 0, true);
            return;
        }
        match socket.write(output, &mut self.scratch) {
            Ok((sent, blocked)) => {
                self.worker.wrote(now_ms, key, sent, blocked);
                if !blocked {
                    self.resume(now_ms, place);
                }
            }
            Err(_) => self.worker.closed(now_ms, key, place, Ending::Closed),
        }
    }

    pub(super) fn close_all(&mut self) {
        while !self.worker.effects().closes.is_empty() {
            let closes = std::mem::take(&mut self.worker.effects().closes);
            for Close { token, last, linger, reset } in closes {
                let Some(mut socket) = self.sockets.try_remove(token as usize) else {
                    continue;
                };
                if reset {
                    socket.stream.reset();
                    self.drop_socket(socket);
                    continue;
                }
                let last = if socket.blocked { &[][..] } else { &last };
                if linger || !last.is_empty() || socket.layered.is_some() {
                    socket.finish(last);
                }
                self.drop_socket(socket);
            }
        }
    }

    pub(super) fn drop_socket(&self, socket: Socket) {
        // Closing the descriptor takes it out of the readiness facility.
        self.count_out(socket.listener, socket.counted);
    }
}
