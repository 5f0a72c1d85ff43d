//! The packets as text, for people who ask what is going on.

use crate::PublishRequest;
use mogi_codec::{Publish, QoS, SubscribeFilter};
use std::collections::VecDeque;

/// Lines that nobody fetched yet, at most; older ones go first.
const KEPT_MAX: usize = 1024;

/// One line for each packet, worded like those of Mosquitto's tools: scripts read them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub(crate) fn enable(&mut self) {
        self.lines.get_or_insert_default();
    }

    pub(crate) fn pop(&mut self) -> Option<String> {
        self.lines.as_mut()?.pop_front()
    }

    /// Adds the line, which is only made where somebody wants it.
    pub(crate) fn add(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == KEPT_MAX {
                lines.pop_front();
            }
            lines.push_back(line());
        }
    }

    pub(crate) fn sent_publish(&mut self, dup: bool, packet_id: u16, request: &PublishRequest<'_>) {
        self.add(|| {
            let PublishRequest { topic, qos, retain, .. } = *request;
            let len = request.payload.len();
            let text = publish_text(dup, qos, retain, packet_id, topic, len);
            format!("sending PUBLISH {text}")
        });
    }

    pub(crate) fn received_publish(&mut self, publish: &Publish<'_>, topic: &str) {
        self.add(|| {
            let &Publish { dup, qos, retain, packet_id, payload, .. } = publish;
            let text = publish_text(dup, qos, retain, packet_id, topic, payload.len());
            format!("received PUBLISH {text}")
        });
    }

    pub(crate) fn sent_subscribe(&mut self, packet_id: u16, filters: &[SubscribeFilter<'_>]) {
        for SubscribeFilter { filter, options } in filters {
            self.add(|| {
                let options = options.encode();
                format!(
                    "sending SUBSCRIBE (Mid: {packet_id}, Topic: {filter}, QoS: {}, \
                     Options: 0x{:02x})",
                    options & 0b11,
                    options & !0b11
                )
            });
        }
    }
}

fn publish_text(
    dup: bool,
    qos: QoS,
    retain: bool,
    packet_id: u16,
    topic: &str,
    len: usize,
) -> String {
    format!(
        "(d{}, q{}, r{}, m{packet_id}, '{topic}', ... ({len} bytes))",
        u8::from(dup),
        qos as u8,
        u8::from(retain)
    )
}
