//! Publishing a fixed number of messages and knowing that the broker has them all.

use super::dial::{Net, unexpected};
use super::frames::{DISCONNECT, PINGREQ};
use super::link::{BACKLOG_LIMIT, Ended, Link};
use mogi_codec::{Ack, Header, PacketKind, QoS, Version};
use std::time::{Duration, Instant};

/// How long nothing may move before storing is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Publishes `items` messages, which `put` appends by number and packet identifier, at most
/// `window` of them unacknowledged, and says goodbye. At QoS 0 the answer to a PINGREQ behind the
/// last one tells that the broker has taken them.
///
/// # Errors
/// When the broker refuses one, stops answering, or goes away.
pub(super) fn publish_items(
    net: &mut Net,
    link: &mut Link,
    qos: QoS,
    (items, window): (u32, u32),
    put: impl Fn(&mut Vec<u8>, u32, u16),
) -> Result<(), String> {
    let mut store = Store {
        version: net.version,
        acked: qos != QoS::AtMostOnce,
        items,
        window,
        sent: 0,
        settled: 0,
        answered: false,
    };
    let mut last_progress = Instant::now();
    while !store.done() {
        let before = (link.backlog(), store.settled);
        store.fill(&mut link.out, &put);
        if let Err(ended) = store.exchange(net, link) {
            return Err(format!("storing: {ended}"));
        }
        if (link.backlog(), store.settled) != before {
            last_progress = Instant::now();
        } else if last_progress.elapsed() > PATIENCE {
            let Store { settled, sent, .. } = store;
            return Err(format!("storing: no progress, {sent} sent, {settled} acknowledged"));
        }
    }
    link.out.extend_from_slice(&DISCONNECT);
    link.flush().map(|_| ()).map_err(|ended| format!("storing: {ended}"))
}

struct Store {
    version: Version,
    /// Whether every message is acknowledged.
    acked: bool,
    items: u32,
    window: u32,
    sent: u32,
    settled: u32,
    /// Whether the PINGREQ was.
    answered: bool,
}

impl Store {
    fn done(&self) -> bool {
        if self.acked { self.settled == self.items } else { self.answered }
    }

    fn fill(&mut self, out: &mut Vec<u8>, put: &impl Fn(&mut Vec<u8>, u32, u16)) {
        if self.sent == self.items {
            return;
        }
        let room = if self.acked {
            self.window.saturating_sub(self.sent - self.settled)
        } else {
            u32::MAX
        };
        for _ in 0..room {
            if self.sent == self.items || out.len() > BACKLOG_LIMIT {
                break;
            }
            // From 1 to 65,535, round and round.
            let packet_id = (self.sent % u32::from(u16::MAX)) as u16 + 1;
            put(out, self.sent, packet_id);
            self.sent += 1;
        }
        if self.sent == self.items && !self.acked {
            out.extend_from_slice(&PINGREQ);
        }
    }

    fn exchange(&mut self, net: &mut Net, link: &mut Link) -> Result<(), Ended> {
        link.flush()?;
        let more = !self.acked && self.sent < self.items && link.backlog() == 0;
        let wait = Duration::from_millis(if more { 0 } else { 100 });
        net.wait(Some(wait)).map_err(Ended::Refused)?;
        link.read(&mut net.scratch, |header, body, out| self.on_packet(header, body, out))
    }

    fn on_packet(&mut self, header: Header, body: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        match header.kind {
            PacketKind::Pingresp => self.answered = true,
            PacketKind::Puback | PacketKind::Pubrec | PacketKind::Pubcomp => {
                let ack = Ack::decode(self.version, header.kind, body)
                    .map_err(|err| format!("bad {}: {err}", header.kind.name()))?;
                if ack.reason.is_error() {
                    return Err(format!("a message was refused: {}", ack.reason.text()));
                }
                if header.kind == PacketKind::Pubrec {
                    let release = Ack::new(ack.packet_id, mogi_codec::Reason::Success);
                    release.encode(self.version, PacketKind::Pubrel, out);
                } else {
                    self.settled += 1;
                }
            }
            _ => return Err(unexpected(header)),
        }
        Ok(())
    }
}
