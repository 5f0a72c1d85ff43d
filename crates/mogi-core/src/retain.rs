//! A message with RETAIN comes in: what becomes of the topic's retained message, here, in the store
//! and on other nodes.

use crate::authority::Source;
use crate::event::LogKind;
use crate::message::{Message, MessageView};
use crate::node::Node;
use crate::peer::Outbox;
use crate::retained::{Room, Stored};
use crate::store::StoreOp;
use crate::turn::{SharedCopy, Turn};
use std::sync::Arc;

/// A change of a topic's retained message that is not to be seen yet.
#[derive(Debug)]
pub(crate) struct Promised {
    /// What is to be kept, or the topic of which nothing is kept any more.
    change: Result<Message, String>,
    version: u64,
    source: Option<Arc<Source>>,
    /// The nodes that will be told of it.
    nodes: u64,
}

impl Promised {
    /// It happens now. Nodes that joined since then were told all there was, but not this.
    pub(crate) fn keep(self, node: &Node, outbox: &mut Outbox) {
        let Self { change, version, source, nodes } = self;
        let told = change.as_ref().map_err(String::as_str);
        let now = node.cluster.as_ref().map_or(0, |cluster| cluster.nodes());
        outbox.far.retained(now & !nodes, told, version);
        match change {
            Ok(message) => {
                node.retained.restore_from(message.unsigned(), version, source);
            }
            Err(topic) => node.retained.remove_as_of(&topic, version),
        }
    }
}

/// Keeps or deletes the topic's retained message ([MQTT-3.3.1-5], [MQTT-3.3.1-6]). It is done
/// before the message is routed; see [`crate::retained`].
pub(crate) fn retain(
    node: &Node,
    turn: &mut Turn,
    outbox: &mut Outbox,
    view: &MessageView<'_>,
    shared: &mut SharedCopy,
    source: Option<Arc<Source>>,
) {
    let others = other_nodes(node, view);
    if view.payload.is_empty() {
        let topic = view.topic_text();
        let version = node.retained.remove(turn.now_ms, &topic);
        outbox.far.retained(others, Err(&topic), version);
        turn.durable(|| StoreOp::RetainedEnd { topic: view.topic_text().into(), version });
        return;
    }
    let message: Message = shared.get(view, &mut turn.scratch);
    match node.retained.set(turn.now_ms, message.clone(), room(turn, view), source.clone()) {
        Stored::Full => note_full(turn, view),
        Stored::Done(_) if view.topic.starts_with(b"$SYS/") => {}
        Stored::Done(version) => {
            let message = signed(turn, message, source.as_deref());
            outbox.far.retained(others, Ok(&message), version);
            turn.durable(|| StoreOp::Retained { message, version });
        }
    }
}

/// As [`retain`], but here it is done when the packet id is durable: see [`crate::deferred`].
pub(crate) fn retain_later(
    node: &Node,
    turn: &mut Turn,
    outbox: &mut Outbox,
    view: &MessageView<'_>,
    shared: &mut SharedCopy,
    source: Option<Arc<Source>>,
) -> Option<Promised> {
    let others = other_nodes(node, view);
    let removes = view.payload.is_empty();
    let room = if removes { Room::default() } else { room(turn, view) };
    let promised = node.retained.promise(turn.now_ms, view.topic, view.weight(), room);
    let Stored::Done(version) = promised else {
        note_full(turn, view);
        return None;
    };
    if removes {
        let topic = view.topic_text().into_owned();
        outbox.far.retained(others, Err(&topic), version);
        turn.durable(|| StoreOp::RetainedEnd { topic: topic.as_str().into(), version });
        return Some(Promised { change: Err(topic), version, source, nodes: others });
    }
    let message = shared.get(view, &mut turn.scratch);
    let message = signed(turn, message, source.as_deref());
    outbox.far.retained(others, Ok(&message), version);
    turn.durable(|| StoreOp::Retained { message: message.clone(), version });
    Some(Promised { change: Ok(message), version, source, nodes: others })
}

/// The message as the store and other nodes get it.
fn signed(turn: &Turn, message: Message, source: Option<&Source>) -> Message {
    match source {
        Some(source) if turn.cfg.durable => source.sign(&message, &turn.rights),
        _ => message,
    }
}

/// How much may be retained. What the broker says of itself always has room.
fn room(turn: &Turn, view: &MessageView<'_>) -> Room {
    let cfg = &turn.cfg;
    match view.topic.starts_with(b"$SYS/") {
        true => Room { messages: cfg.max_retained_messages, bytes: 0 },
        false => Room { messages: cfg.max_retained_messages, bytes: cfg.max_retained_bytes },
    }
}

fn note_full(turn: &mut Turn, view: &MessageView<'_>) {
    turn.stats.retained_refused += 1;
    turn.log(LogKind::Warning, || {
        let topic = view.topic_text();
        format!(
            "Retained message on '{topic}' not kept: max_retained_messages or max_retained_bytes \
             reached."
        )
    });
}

/// The nodes that are told of a retained message.
fn other_nodes(node: &Node, view: &MessageView<'_>) -> u64 {
    match view.topic.starts_with(b"$SYS/") {
        true => 0,
        false => node.cluster.as_ref().map_or(0, |cluster| cluster.nodes()),
    }
}
