//! Messages of QoS 1 and 2 on their way to the server (section 4.3, 4.4).
//!
//! ```text
//!   oldest                                newest
//!   [ 7 PUBREL | 8 PUBLISH | 9 PUBLISH | 10 PUBLISH ]
//!     '------ sent, awaiting ------'      '- waits for the window
//! ```
//! They keep their order, and what is sent again after a reconnect is sent in that order too
//! ([MQTT-4.6.0-1]).

use mogi_codec::{Ack, PacketKind, QoS, Reason, Version};
use std::collections::VecDeque;

/// The in-flight window of one session. Never longer than the window it was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    entries: VecDeque<Entry>,
    /// Entries that may be unacknowledged on this connection.
    window: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    packet_id: u16,
    awaits: Awaits,
    /// The encoded PUBLISH with its whole topic; empty once PUBREC arrived.
    frame: Vec<u8>,
    /// Whether it was sent on this connection.
    sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    Puback,
    Pubrec,
    Pubcomp,
}

/// What an acknowledgement meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acked {
    /// The message is done.
    Done,
    /// The handshake goes on: answer with PUBREL.
    Release,
    /// There is no such message.
    Unknown,
    /// There is, and it has another QoS.
    Mismatch,
}

impl Outgoing {
    /// Messages that are not done.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Messages that may be added now.
    pub(crate) fn room(&self) -> usize {
        self.window.saturating_sub(self.entries.len())
    }

    pub(crate) fn contains(&self, packet_id: u16) -> bool {
        self.entries.iter().any(|entry| entry.packet_id == packet_id)
    }

    /// Adds a message that was sent just now; there has to be room.
    pub(crate) fn push(&mut self, packet_id: u16, qos: QoS, frame: Vec<u8>) {
        debug_assert!(self.room() > 0);
        let awaits = match qos {
            QoS::ExactlyOnce => Awaits::Pubrec,
            _ => Awaits::Puback,
        };
        self.entries.push_back(Entry { packet_id, awaits, frame, sent: true });
    }

    /// An acknowledgement of this kind arrived.
    pub(crate) fn acknowledged(
        &mut self,
        kind: PacketKind,
        packet_id: u16,
        reason: Reason,
    ) -> Acked {
        let found = self.entries.iter().position(|it| it.packet_id == packet_id);
        let Some(at) = found else {
            return Acked::Unknown;
        };
        let entry = &mut self.entries[at];
        match (entry.awaits, kind) {
            (Awaits::Puback, PacketKind::Puback) | (Awaits::Pubcomp, PacketKind::Pubcomp) => {}
            // A server may answer a repeated PUBLISH although PUBREL is under way.
            (Awaits::Pubcomp, PacketKind::Pubrec) if !reason.is_error() => return Acked::Release,
            (Awaits::Pubrec, PacketKind::Pubrec) if !reason.is_error() => {
                entry.awaits = Awaits::Pubcomp;
                // [MQTT-4.3.3-6]: it must not be sent again.
                entry.frame = Vec::new();
                return Acked::Release;
            }
            // A refused message ends here ([MQTT-4.3.3-4]).
            (Awaits::Pubrec | Awaits::Pubcomp, PacketKind::Pubrec) => {}
            _ => return Acked::Mismatch,
        }
        self.entries.remove(at);
        Acked::Done
    }

    /// A connection began. Where the server has the session, what is not done is sent again
    /// ([MQTT-4.4.0-1]). Where it has not, messages it never confirmed are new to it; those it
    /// has taken over with PUBREC are done, and their packet ids are returned.
    pub(crate) fn resume(&mut self, session_present: bool, window: usize) -> Vec<u16> {
        self.window = window;
        let mut done = Vec::new();
        self.entries.retain_mut(|entry| {
            if session_present {
                if let Some(first) = entry.frame.first_mut() {
                    *first |= 0x08;
                }
            } else if entry.awaits == Awaits::Pubcomp {
                done.push(entry.packet_id);
                return false;
            } else if let Some(first) = entry.frame.first_mut() {
                *first &= !0x08;
            }
            entry.sent = false;
            true
        });
        done
    }

    /// Sends what the window allows and was not sent on this connection; tells for each whether
    /// it is a PUBLISH, and its packet id.
    pub(crate) fn pump(
        &mut self,
        version: Version,
        out: &mut Vec<u8>,
        mut sent: impl FnMut(PacketKind, u16),
    ) {
        for entry in self.entries.iter_mut().take(self.window) {
            if entry.sent {
                continue;
            }
            entry.sent = true;
            if entry.awaits == Awaits::Pubcomp {
                let ack = Ack::new(entry.packet_id, Reason::Success);
                ack.encode(version, PacketKind::Pubrel, out);
                sent(PacketKind::Pubrel, entry.packet_id);
            } else {
                out.extend_from_slice(&entry.frame);
                sent(PacketKind::Publish, entry.packet_id);
            }
        }
    }
}
