//! Packets that are kept back until what they promise is durable, and those behind them.

use crate::client::{Client, output};
use crate::event::Wait;
use crate::link::Link;
use crate::turn::Turn;
use mogi_codec::Version;

impl Client {
    /// Sends an acknowledgement: at once, or with this turn's ticket if the packet it answers
    /// changed durable state, or behind those that wait already, so that acknowledgements keep
    /// their order ([MQTT-4.6.0-2], [MQTT-4.6.0-3]).
    pub(crate) fn ack(
        &mut self,
        key: u32,
        turn: &mut Turn,
        put: impl FnOnce(Version, &mut Vec<u8>),
    ) {
        let Some(link) = &mut self.link else { return };
        turn.stats.packets_sent += 1;
        if !turn.gated && link.held.is_empty() && link.open {
            put(link.version, output(link, key, turn).bytes());
            return;
        }
        let (version, until) = (link.version, turn.gated.then_some(turn.seq));
        hold(link, key, turn, until, |out| put(version, out));
    }

    /// Sends the acknowledgements of turns that are durable, in order.
    pub(crate) fn release(&mut self, key: u32, turn: &mut Turn) {
        let Some(link) = &mut self.link else { return };
        while let Some((seq, _)) = link.held.front()
            && turn.done.contains(*seq)
        {
            let Some((_, bytes)) = link.held.pop_front() else {
                break;
            };
            link.open = true;
            output(link, key, turn).bytes().extend_from_slice(&bytes);
        }
        if link.open {
            self.pump(key, turn);
        }
    }
}

/// Keeps a packet back `until` the changes of that turn are durable; if it waits for none, as long
/// as those before it, as this turn may never be written down. How long it is.
pub(crate) fn hold(
    link: &mut Link,
    key: u32,
    turn: &mut Turn,
    until: Option<u64>,
    put: impl FnOnce(&mut Vec<u8>),
) -> usize {
    match until {
        Some(seq) if seq == turn.seq => turn.wait = turn.wait.max(Wait::ForThis),
        Some(_) => turn.wait = Wait::ForAll,
        None => {}
    }
    if link.held.is_empty() {
        turn.holders.push(key);
    }
    let last = link.held.back().map(|(seq, _)| *seq);
    if last.is_none() || until > last {
        link.held.push_back((until.unwrap_or(turn.seq), Vec::new()));
    }
    let Some((_, bytes)) = link.held.back_mut() else {
        return 0;
    };
    let before = bytes.len();
    put(bytes);
    bytes.len() - before
}
