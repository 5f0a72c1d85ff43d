//! Changes to bytes and back.
//!
//! A message that several changes of a record have one after the other stands there once.

use crate::coding::{self, Input};
use crate::ops::{EntryNo, SessionNo, StoreOp};
use mogi_core::Message;
use std::sync::Arc;

const SESSION_SET: u8 = 1;
const SESSION_END: u8 = 2;
const SUBSCRIPTION_SET: u8 = 3;
const SUBSCRIPTION_END: u8 = 4;
const ENQUEUED: u8 = 5;
const ASSIGNED: u8 = 6;
const RELEASED: u8 = 7;
const DELIVERED: u8 = 8;
const RECEIVED: u8 = 9;
const RECEIVED_END: u8 = 10;
const RETAINED: u8 = 11;
const RETAINED_END: u8 = 12;
const WILL_SET: u8 = 13;
const WILL_END: u8 = 14;

/// Beside the kind: the message is the one of the change before that had one.
const SAME: u8 = 0x80;

/// Appends changes to a record.
#[derive(Default)]
pub(crate) struct Writer {
    last: Option<Message>,
}

impl Writer {
    pub(crate) fn put(&mut self, op: &StoreOp, out: &mut Vec<u8>) {
        match op {
            StoreOp::SessionSet { session, record } => {
                put_head(SESSION_SET, *session, out);
                sized(out, |out| coding::put_session(record, out));
            }
            StoreOp::SessionEnd { session } => put_head(SESSION_END, *session, out),
            StoreOp::SubscriptionSet { session, subscription } => {
                put_head(SUBSCRIPTION_SET, *session, out);
                sized(out, |out| coding::put_subscription(subscription, out));
            }
            StoreOp::SubscriptionEnd { session, filter } => {
                put_head(SUBSCRIPTION_END, *session, out);
                coding::put_text(filter, out);
            }
            StoreOp::Enqueued { session, entry, delivery } => {
                let same = self.is_last(&delivery.message);
                put_head(ENQUEUED | same, *session, out);
                coding::put_u64(entry.0, out);
                sized(out, |out| coding::put_delivery(delivery, same == 0, out));
            }
            StoreOp::Assigned { session, entry, packet_id } => {
                put_head(ASSIGNED, *session, out);
                coding::put_u64(entry.0, out);
                out.extend_from_slice(&packet_id.to_le_bytes());
            }
            StoreOp::Released { session, entry } => {
                put_head(RELEASED, *session, out);
                coding::put_u64(entry.0, out);
            }
            StoreOp::Delivered { session, entry } | StoreOp::HandedOver { session, entry, .. } => {
                put_head(DELIVERED, *session, out);
                coding::put_u64(entry.0, out);
            }
            StoreOp::Received { session, packet_id, .. } => {
                put_head(RECEIVED, *session, out);
                out.extend_from_slice(&packet_id.to_le_bytes());
            }
            StoreOp::ReceivedEnd { session, packet_id } => {
                put_head(RECEIVED_END, *session, out);
                out.extend_from_slice(&packet_id.to_le_bytes());
            }
            StoreOp::Retained { message, version } => {
                let same = self.is_last(message);
                put_head(RETAINED | same, SessionNo(*version), out);
                if same == 0 {
                    sized(out, |out| out.extend_from_slice(message.as_bytes()));
                }
            }
            StoreOp::RetainedEnd { topic, version } => {
                put_head(RETAINED_END, SessionNo(*version), out);
                coding::put_text(topic, out);
            }
            StoreOp::WillSet { client, will } => {
                out.push(WILL_SET);
                sized(out, |out| coding::put_will(client, will, out));
            }
            StoreOp::WillEnd { client } | StoreOp::WillTaken { client, .. } => {
                out.push(WILL_END);
                coding::put_text(client, out);
            }
        }
    }

    /// [`SAME`] if the message stands in the record already; it is the last one from now on.
    fn is_last(&mut self, message: &Message) -> u8 {
        if self.last.as_ref().is_some_and(|last| last.is(message)) {
            return SAME;
        }
        self.last = Some(message.clone());
        0
    }
}

/// Reads the changes of a record; whether all of them could be read.
pub(crate) fn read(changes: &[u8], mut each: impl FnMut(StoreOp)) -> bool {
    let mut input = Input::new(changes);
    let mut last = None;
    while !input.rest().is_empty() {
        let Some(op) = read_one(&mut input, &mut last) else { return false };
        each(op);
    }
    true
}

fn read_one(input: &mut Input<'_>, last: &mut Option<Message>) -> Option<StoreOp> {
    let kind = input.u8()?;
    let same = kind & SAME != 0;
    let op = match kind & !SAME {
        WILL_SET => {
            let (client, will) = coding::will(input.part()?)?;
            return Some(StoreOp::WillSet { client, will: Arc::new(will) });
        }
        WILL_END => return Some(StoreOp::WillEnd { client: input.text()? }),
        RETAINED => {
            let version = input.u64()?;
            if !same {
                *last = Some(Message::from_bytes(input.part()?.rest())?);
            }
            return Some(StoreOp::Retained { message: last.clone()?, version });
        }
        RETAINED_END => {
            let version = input.u64()?;
            return Some(StoreOp::RetainedEnd { topic: input.text()?, version });
        }
        op => op,
    };
    let session = SessionNo(input.u64()?);
    Some(match op {
        SESSION_SET => StoreOp::SessionSet { session, record: coding::session(input.part()?)? },
        SESSION_END => StoreOp::SessionEnd { session },
        SUBSCRIPTION_SET => {
            let subscription = coding::subscription(input.part()?)?;
            StoreOp::SubscriptionSet { session, subscription }
        }
        SUBSCRIPTION_END => StoreOp::SubscriptionEnd { session, filter: input.text()? },
        ENQUEUED => {
            let entry = EntryNo(input.u64()?);
            let delivery =
                coding::delivery(input.part()?, if same { last.as_ref() } else { None })?;
            *last = Some(delivery.message.clone());
            StoreOp::Enqueued { session, entry, delivery }
        }
        ASSIGNED => {
            let entry = EntryNo(input.u64()?);
            StoreOp::Assigned { session, entry, packet_id: input.u16()? }
        }
        RELEASED => StoreOp::Released { session, entry: EntryNo(input.u64()?) },
        DELIVERED => StoreOp::Delivered { session, entry: EntryNo(input.u64()?) },
        RECEIVED => StoreOp::Received { session, packet_id: input.u16()?, follows: 0 },
        RECEIVED_END => StoreOp::ReceivedEnd { session, packet_id: input.u16()? },
        _ => return None,
    })
}

fn put_head(kind: u8, number: SessionNo, out: &mut Vec<u8>) {
    out.push(kind);
    coding::put_u64(number.0, out);
}

/// Puts something whose length stands before it.
fn sized(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    coding::put_u32(0, out);
    put(out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}
