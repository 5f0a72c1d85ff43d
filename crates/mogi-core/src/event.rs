//! What a turn leaves behind for the outside: log lines, sockets to close, batches for peers.

use crate::authority::Access;
use crate::cluster::FarBatch;
use crate::pass::Grant;
use crate::store::{Batch, EntryNo, SessionNo};
use std::sync::Arc;

/// The kinds of log lines, `log_type` in mosquitto.conf(5); each is a bit of
/// [`CoreConfig::log_mask`](crate::CoreConfig::log_mask).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LogKind {
    /// Something does not work.
    Error = 1,
    /// Something works otherwise than its owner may expect.
    Warning = 2,
    /// Something worth knowing happened.
    Notice = 4,
    /// Ordinary events.
    Information = 8,
    /// Every packet.
    Debug = 16,
    /// Every subscription.
    Subscribe = 32,
    /// Every cancelled subscription.
    Unsubscribe = 64,
}

/// A socket to close, after an attempt to send what is left for it.
#[derive(Debug)]
pub struct Close {
    /// The socket's token.
    pub token: u32,
    /// The last bytes for it, such as a DISCONNECT with the reason.
    pub last: Vec<u8>,
    /// Whether the peer should have the chance to read them: it does not know yet that the
    /// connection ends.
    pub linger: bool,
    /// Whether it ends with a reset: an orderly close would say that what the client waited for is
    /// durable.
    pub reset: bool,
}

/// The changes of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The turn's number.
    pub turn: u64,
    /// The changes.
    pub batch: Batch,
    /// Who waits for them. If somebody does, they are to be answered with
    /// [`Worker::stored`](crate::Worker::stored) and this or a later turn's number.
    pub wait: Wait,
    /// How many changes of interest other nodes have to know of before this is answered; 0: none.
    pub told: u64,
}

/// Who waits for changes to be durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// Nobody: they may wait for others.
    #[default]
    Nobody,
    /// Somebody, for these changes.
    ForThis,
    /// Somebody, for changes of earlier turns as well, which nobody waited for then.
    ForAll,
}

/// Entries of a session that are to be fetched from the store, behind all changes handed over so
/// far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The client's key.
    pub key: u32,
    /// Tells it from an earlier client with that key.
    pub generation: u32,
    /// Tells the question from others of the client.
    pub question: u32,
    /// The session.
    pub session: SessionNo,
    /// Its entries, in the order they are wanted.
    pub entries: Vec<EntryNo>,
}

/// A request on `$CONTROL/`, of a client who may publish there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The client's key.
    pub key: u32,
    /// Tells it from an earlier client with that key.
    pub generation: u32,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Its user name.
    pub username: Option<Arc<str>>,
    /// A rule lets it publish there, and not only the lack of any.
    pub entitled: bool,
    /// The topic.
    pub topic: String,
    /// The request.
    pub payload: Vec<u8>,
}

/// Something a client's grant cannot say yet: it is to be asked with [`Grant::ask`], and what then
/// is known is told with [`Worker::answered`](crate::Worker::answered).
#[derive(Debug)]
pub struct Question {
    /// The client's key.
    pub key: u32,
    /// Tells it from an earlier client with that key.
    pub generation: u32,
    /// The client's socket.
    pub token: u32,
    /// Who is asked.
    pub grant: Arc<dyn Grant>,
    /// What the client wants to do.
    pub access: Access,
    /// With what.
    pub topics: Vec<String>,
}

/// A step of a connected client that authenticates anew (section 4.12.1); it is answered with
/// [`Worker::authenticated`](crate::Worker::authenticated).
#[derive(Debug)]
pub struct AuthStep {
    /// The client's key.
    pub key: u32,
    /// Tells it from an earlier client with that key.
    pub generation: u32,
    /// The client's socket.
    pub token: u32,
    /// Its user name.
    pub username: Option<Arc<str>>,
    /// Whether it is the first one.
    pub begins: bool,
    /// What the client says.
    pub data: Vec<u8>,
}

/// What a client that authenticates anew is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthAnswer {
    /// To go on (0x18).
    Continue(Vec<u8>),
    /// That it is done (0x00).
    Done {
        /// What it has logged in with, as in [`Pass`](crate::Pass).
        login: u64,
        /// The last word of the method.
        data: Vec<u8>,
    },
    /// That its connection ends ([MQTT-4.12.1-2]).
    Refused,
}

/// What happened, for those who do something about it.
#[derive(Debug, Default)]
pub struct Effects {
    /// Clients with output to be sent.
    pub dirty: Vec<u32>,
    /// Sockets to close.
    pub closes: Vec<Close>,
    /// Messages for peers: (peer, bytes). One batch per peer and turn.
    pub batches: Vec<(u16, Vec<u8>)>,
    /// Messages for other nodes.
    pub far: Vec<FarBatch>,
    /// Changes to be made durable, if there are any.
    pub store: Option<Changes>,
    /// Entries to be fetched from the store; each is answered with
    /// [`Worker::fetched`](crate::Worker::fetched).
    pub fetches: Vec<Fetch>,
    /// Where there are other nodes: clients of which nothing is left here.
    pub forgotten: Vec<Arc<str>>,
    /// Requests on `$CONTROL/`; what is answered goes to [`Worker::tell`](crate::Worker::tell).
    pub controls: Vec<Control>,
    /// Clients that authenticate anew.
    pub steps: Vec<AuthStep>,
    /// What is to be found out before clients go on.
    pub questions: Vec<Question>,
    /// Log lines.
    pub logs: Vec<(LogKind, String)>,
}
