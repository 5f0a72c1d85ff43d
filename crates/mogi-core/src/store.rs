//! Changes of durable state, as a worker writes them down, and what a store gives back at a start.
//!
//! A worker hands over the changes of one turn as one [`Batch`] and goes on. What it promised
//! because of them (an acknowledgement) leaves when the driver tells that the batch is durable
//! ([`Worker::stored`](crate::Worker::stored)).
//!
//! ```text
//!  session ──┬─ record          who, for how long, since when away
//!   (number) ├─ subscriptions   by filter
//!            ├─ received        QoS 2 packet ids of its publisher's side
//!            └─ entries         messages on their way to it, by number:
//!                 Enqueued ──► Assigned (packet id, QoS 2) ──► Released (PUBREC) ──► Delivered
//!  retained, by topic           the newest version wins, whatever the order of the batches
//!  wills, by client id          of connected clients, and those that are due later
//! ```
//! **What a store has to keep to.** A batch becomes durable as a whole or not at all. Batches
//! become durable in the order in which they were handed over, those of all workers together.
//! Changes of what is not there (any more) are no error: an `Enqueued` may come after its
//! session's `SessionEnd`, and then counts for nothing.

use crate::message::{Message, MessageView};
pub use crate::route::Ids;
use mogi_codec::QoS;
use std::sync::Arc;

/// A session's number: no other session ever has it, not even one of the same client id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNo(pub u64);

/// An entry's number: no other entry of any session has it. Messages of one publisher to one
/// session have rising numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryNo(pub u64);

impl SessionNo {
    /// No session has it.
    pub const NONE: Self = Self(0);
}

impl EntryNo {
    /// No entry has it.
    pub const NONE: Self = Self(0);
}

/// The changes of one turn; all of them become durable, or none.
pub type Batch = Vec<StoreOp>;

/// One change of durable state. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// The session exists, and this is what it is.
    SessionSet {
        /// The session.
        session: SessionNo,
        /// What is known of it.
        record: SessionRecord,
    },
    /// The session and everything of it is gone, but for the will.
    SessionEnd {
        /// The session.
        session: SessionNo,
    },
    /// The session has this subscription.
    SubscriptionSet {
        /// The session.
        session: SessionNo,
        /// The filter and how it is served.
        subscription: StoredSubscription,
    },
    /// The session does not have it any more.
    SubscriptionEnd {
        /// The session.
        session: SessionNo,
        /// The filter as the client wrote it.
        filter: Arc<str>,
    },
    /// A message is on its way to the session's client.
    Enqueued {
        /// The session.
        session: SessionNo,
        /// Its number.
        entry: EntryNo,
        /// The message, and how the client gets it.
        delivery: StoredDelivery,
    },
    /// It is about to be sent with this packet id.
    Assigned {
        /// The session.
        session: SessionNo,
        /// The entry's number.
        entry: EntryNo,
        /// The packet id.
        packet_id: u16,
    },
    /// The client has it (PUBREC): only the packet id counts from now on.
    Released {
        /// The session.
        session: SessionNo,
        /// The entry's number.
        entry: EntryNo,
    },
    /// It is on its way no more: acknowledged, expired, dropped or given to another.
    Delivered {
        /// The session.
        session: SessionNo,
        /// The entry's number.
        entry: EntryNo,
    },
    /// It is given to another member of its group.
    HandedOver {
        /// The session.
        session: SessionNo,
        /// The entry's number.
        entry: EntryNo,
        /// How many of the next changes give it to the other: they are to be seen only if it is
        /// taken from this one.
        follows: u32,
    },
    /// A QoS 2 PUBLISH of the client was taken; its packet id is in use until released.
    Received {
        /// The session.
        session: SessionNo,
        /// The packet id.
        packet_id: u16,
        /// How many of the next changes became necessary by it: what of its message is in them is
        /// to be seen only if the packet id is taken.
        follows: u32,
    },
    /// The client released it (PUBREL).
    ReceivedEnd {
        /// The session.
        session: SessionNo,
        /// The packet id.
        packet_id: u16,
    },
    /// The topic's retained message.
    Retained {
        /// The message; its topic names the place.
        message: Message,
        /// Rises with every change of any retained message: an older one changes nothing.
        version: u64,
    },
    /// The topic has no retained message any more.
    RetainedEnd {
        /// The topic.
        topic: Arc<str>,
        /// As of [`StoreOp::Retained`].
        version: u64,
    },
    /// The client's will.
    WillSet {
        /// The client id.
        client: Arc<str>,
        /// The will.
        will: Arc<StoredWill>,
    },
    /// It will not be published.
    WillEnd {
        /// The client id.
        client: Arc<str>,
    },
    /// It is published.
    WillTaken {
        /// The client id.
        client: Arc<str>,
        /// How many of the next changes are its message: they are to be seen only if the will is
        /// taken.
        follows: u32,
    },
}

/// What other changes follow from: [`StoreOp::Received`], [`StoreOp::HandedOver`] or
/// [`StoreOp::WillTaken`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A packet id that was received.
    PacketId(u16),
    /// An entry that was handed over.
    Entry(EntryNo),
    /// The will of a client.
    Will(Arc<str>),
}

/// What is known of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The client id.
    pub client: Arc<str>,
    /// Session expiry interval in seconds (`u32::MAX`: never; 0: it ends with its connection, so
    /// that one found in the store has ended).
    pub expiry_s: u32,
    /// The user name it belongs to.
    pub username: Option<Arc<str>>,
    /// What stands before its topics and filters (`mount_point`).
    pub mount: Option<Arc<str>>,
    /// Since when the client is away; `None`: it is connected, or was when the broker ended.
    pub left_at_ms: Option<u64>,
}

/// A subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// The filter as the client wrote it.
    pub filter: Arc<str>,
    /// The options byte (section 3.8.3.1).
    pub options: u8,
    /// The subscription identifier; 0: none.
    pub id: u32,
}

/// A message on its way to one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDelivery {
    /// The message; receivers of the same turn share it.
    pub message: Message,
    /// The QoS the client gets it with; 0 for those who are away only (`queue_qos0_messages`).
    pub qos: QoS,
    /// The RETAIN flag the client gets it with.
    pub retain: bool,
    /// Its subscription identifiers.
    pub ids: Ids,
    /// The shared group it came through, as (name, filter behind the mount point).
    pub group: Option<(Arc<str>, Arc<str>)>,
}

/// A will, of a client whether its session outlives the connection or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWill {
    /// The message; its expiry is not counted yet.
    pub message: Message,
    /// Message expiry interval in seconds, counted from its publication.
    pub expiry_s: Option<u32>,
    /// Will delay interval in seconds.
    pub delay_s: u32,
    /// When it is published; `None`: the client is connected, or was when the broker ended.
    pub due_at_ms: Option<u64>,
}

/// A session as a store gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Its number.
    pub session: SessionNo,
    /// What is known of it.
    pub record: SessionRecord,
    /// Its subscriptions.
    pub subscriptions: Vec<StoredSubscription>,
    /// QoS 2 packet ids received and not released.
    pub received: Vec<u16>,
    /// Messages that have a packet id, by their numbers.
    pub flights: Vec<StoredFlight>,
    /// Messages that wait, by their numbers; they are fetched when the client is there.
    pub waiting: Vec<StoredWaiting>,
}

/// A message that was sent, or was about to be, when the broker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFlight {
    /// The entry's number.
    pub entry: EntryNo,
    /// Its packet id.
    pub packet_id: u16,
    /// The message; `None`: the client has it, and PUBREL is due ([`StoreOp::Released`]).
    pub delivery: Option<StoredDelivery>,
}

/// A message that waits in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredWaiting {
    /// The entry's number.
    pub entry: EntryNo,
    /// Topic, properties and payload, in bytes.
    pub weight: u32,
    /// Whether it came through a shared group.
    pub grouped: bool,
}

impl StoredWaiting {
    pub(crate) fn of(entry: EntryNo, view: &MessageView<'_>, grouped: bool) -> Self {
        Self { entry, weight: view.weight() as u32, grouped }
    }
}
