//! Where durable state goes, and the tickets that say it has arrived.
//!
//! A worker hands over the changes of one turn as one batch and goes on. What it promised because
//! of them (an acknowledgement) leaves when the store redeems the batch's ticket.

use crate::message::Message;
use std::sync::Arc;

/// A promise to tell when a batch is durable. Tickets of one store are redeemed in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The changes of one turn; all of them become durable, or none.
pub type Batch = Vec<StoreOp>;

/// One change of durable state. Clients are named by id: keys are a worker's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// The session exists, and ends so many seconds after its connection (`u32::MAX`: never; 0:
    /// with it, so that one found in the store has ended).
    SessionSet {
        /// The client id.
        client: Arc<str>,
        /// Session expiry interval in seconds.
        expiry_s: u32,
    },
    /// The session and everything of it is gone.
    SessionEnd {
        /// The client id.
        client: Arc<str>,
    },
    /// The session has this subscription.
    SubscriptionSet {
        /// The client id.
        client: Arc<str>,
        /// The filter as the client wrote it.
        filter: Arc<str>,
        /// The options byte (section 3.8.3.1).
        options: u8,
        /// The subscription identifier; 0: none.
        id: u32,
    },
    /// The session does not have it any more.
    SubscriptionEnd {
        /// The client id.
        client: Arc<str>,
        /// The filter as the client wrote it.
        filter: Arc<str>,
    },
    /// The message is on its way to the session's client.
    Enqueued {
        /// The client id.
        client: Arc<str>,
        /// The message.
        message: Message,
    },
    /// The oldest message with this packet id is on its way no more; 0: the oldest that was queued.
    Delivered {
        /// The client id.
        client: Arc<str>,
        /// The packet id.
        packet_id: u16,
    },
    /// A QoS 2 PUBLISH of the client was taken; its id is in use until released.
    Received {
        /// The client id.
        client: Arc<str>,
        /// The packet id.
        packet_id: u16,
    },
    /// The client released it.
    Released {
        /// The client id.
        client: Arc<str>,
        /// The packet id.
        packet_id: u16,
    },
    /// The topic's retained message.
    Retained {
        /// The message; its topic names the place.
        message: Message,
    },
    /// The topic has no retained message any more.
    RetainedEnd {
        /// The topic.
        topic: Arc<str>,
    },
}

/// Makes batches durable.
pub trait Store {
    /// Takes a batch. The ticket is redeemed by [`Self::poll`] once it is durable.
    fn submit(&mut self, batch: Batch) -> Ticket;

    /// Appends the tickets that were redeemed since the last call, in the order of submission.
    fn poll(&mut self, done: &mut Vec<Ticket>);
}

/// Keeps nothing and redeems every ticket at once: state lives in memory only.
#[derive(Debug, Default)]
pub struct NullStore {
    submitted: u64,
    redeemed: u64,
}

impl Store for NullStore {
    fn submit(&mut self, _batch: Batch) -> Ticket {
        self.submitted += 1;
        Ticket(self.submitted)
    }

    fn poll(&mut self, done: &mut Vec<Ticket>) {
        done.extend((self.redeemed + 1..=self.submitted).map(Ticket));
        self.redeemed = self.submitted;
    }
}
