//! Mosquitto's persistence file, `mosquitto.db`: sessions, subscriptions, queued and retained
//! messages of somebody who moves to mogi, and the way back.
//!
//! The format is described in `docs/mosquitto-db.md`. A file is a header and a list of chunks:
//!
//! * [`read`] takes a file apart, or says what is wrong with it and where;
//! * [`read_lossy`] takes what is healthy in a damaged one, and lists what it skipped;
//! * [`write`] makes a file that Mosquitto 2.0 and 2.1 load.
//!
//! **Invariants.** Bytes in, structs out, and back: no files and no clock. Whatever the bytes
//! are, there is no panic, and memory grows with what is in the file, never with what a length in
//! it claims. What `read` returned, `write` accepts, and `read` returns again.

mod chunk;
mod error;
mod fields;
mod read;
mod write;

pub use error::{Damage, DbError, WriteError};
pub use read::{MAX_DAMAGES, Recovered, read, read_lossy};
pub use write::write;

use mogi_codec::{PropertyBuf, QoS, SubscribeOptions};

/// The version of the format: the only one Mosquitto 2.0 and 2.1 write, and the only one read
/// and written here.
pub const VERSION: u32 = 6;

/// What stands in one file.
///
/// Messages come before the clients that wait for them, as in the file. All lists keep the
/// file's order, which differs between Mosquitto's versions and means something only where it is
/// said to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Db {
    /// The version in the header. [`write`] does not look at it: it always writes [`VERSION`].
    pub version: u32,
    /// The highest id the broker had given to a message. [`write`] raises it to the highest one
    /// in `messages`: Mosquitto 2.0 goes on counting from here.
    pub last_id: u64,
    /// Whether the broker wrote the file when it stopped, and not in the midst of its work
    /// (`SIGUSR1`, `autosave_interval`).
    pub clean_shutdown: bool,
    /// Messages that somebody waits for or that are retained, each once.
    pub messages: Vec<Message>,
    /// Sessions, each with its messages.
    pub clients: Vec<Client>,
    /// The subscriptions of all sessions. Mosquitto leaves shared subscriptions out when it
    /// writes, and understands them when it reads.
    pub subscriptions: Vec<Subscription>,
    /// The ids of retained messages. That a message is retained is said here, and not by its
    /// [`Message::retain`].
    pub retained: Vec<u64>,
}

impl Default for Db {
    fn default() -> Self {
        Self {
            version: VERSION,
            last_id: 0,
            clean_shutdown: true,
            messages: Vec::new(),
            clients: Vec::new(),
            subscriptions: Vec::new(),
            retained: Vec::new(),
        }
    }
}

/// A published message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the rest of the file calls it by: not 0, and no other message's.
    pub id: u64,
    /// When it expires, in seconds of Unix time; 0: never.
    pub expires_s: i64,
    /// The client that published it; empty: the broker.
    pub source_client_id: String,
    /// That client's user name; empty: none.
    pub source_username: String,
    /// The packet id it was published with; 0 for QoS 0 and for what the broker published.
    pub source_mid: u16,
    /// The port of the listener it came through; 0: none.
    pub source_port: u16,
    /// The QoS it was published with. A client's copy has its own.
    pub qos: QoS,
    /// Whether it was published with the RETAIN flag.
    pub retain: bool,
    /// The topic name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The MQTT 5 properties, in the order they were published in. The expiry interval is not
    /// among them: see `expires_s`.
    pub properties: PropertyBuf,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client id, not empty, and no other session's.
    pub id: String,
    /// The user it last connected as; empty: none.
    pub username: String,
    /// When the session ends unless the client comes back, in seconds of Unix time; 0: unknown
    /// or never. Mosquitto 2.0 writes 0 for connected clients.
    pub session_expires_s: i64,
    /// The session expiry interval in seconds; `u32::MAX`: never, as every session of MQTT 3
    /// (whose end, if `persistent_client_expiration` gave it one, is in `session_expires_s`).
    /// Mosquitto 2.0 also writes 0 for sessions that must not be lost: those of its own bridges.
    pub session_expiry_interval_s: u32,
    /// The packet id that was last given to an outgoing message; 0: none.
    pub last_mid: u16,
    /// The port of the listener it was connected to; 0: not known.
    pub listener_port: u16,
    /// Messages on their way, in the order they are to be sent in (each direction by itself).
    pub messages: Vec<ClientMessage>,
}

/// A message on its way to a client, or from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMessage {
    /// Which message: a [`Message::id`].
    pub message_id: u64,
    /// The packet id. Queued messages have one already; 0 for QoS 0 and only there.
    pub mid: u16,
    /// The QoS of this delivery.
    pub qos: QoS,
    /// How far the delivery got.
    pub state: State,
    /// Whether it is sent with the RETAIN flag.
    pub retain: bool,
    /// Whether it was sent before.
    pub dup: bool,
    /// From the client or to it.
    pub direction: Direction,
    /// The identifiers of the subscriptions it comes from, each 1 to 268,435,455.
    pub subscription_ids: Vec<u32>,
}

/// Where a [`ClientMessage`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the client to the broker: a QoS 2 message that waits for its PUBREL.
    In = 0,
    /// From the broker to the client.
    Out = 1,
}

/// How far a delivery got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// QoS 1, sent.
    WaitForPuback,
    /// QoS 2, sent.
    WaitForPubrec,
    /// QoS 2 from the client: PUBREC is sent, and the message is not passed on yet.
    WaitForPubrel,
    /// QoS 2, PUBREC came and PUBREL is sent.
    WaitForPubcomp,
    /// Not sent yet.
    Queued,
    /// A number that no file seen so far had. Both Mosquittos load them.
    Other(u8),
}

impl State {
    /// The state with this number.
    pub const fn from_u8(number: u8) -> Self {
        match number {
            3 => Self::WaitForPuback,
            5 => Self::WaitForPubrec,
            7 => Self::WaitForPubrel,
            9 => Self::WaitForPubcomp,
            11 => Self::Queued,
            other => Self::Other(other),
        }
    }

    /// Its number in the file.
    pub const fn to_u8(self) -> u8 {
        match self {
            Self::WaitForPuback => 3,
            Self::WaitForPubrec => 5,
            Self::WaitForPubrel => 7,
            Self::WaitForPubcomp => 9,
            Self::Queued => 11,
            Self::Other(number) => number,
        }
    }
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Whose: a [`Client::id`].
    pub client_id: String,
    /// The topic filter, `$share/GROUP/FILTER` for a shared one.
    pub filter: String,
    /// QoS and the MQTT 5 options. Mosquitto 2.0 always writes retain handling 0.
    pub options: SubscribeOptions,
    /// The subscription identifier, at most 268,435,455; 0: none.
    pub identifier: u32,
}
