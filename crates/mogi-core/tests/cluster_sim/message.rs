//! Published messages as the simulation knows them, and payloads that say which one they are.

use mogi_codec::QoS;

/// A message somebody published, or left as a will.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) id: u32,
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Whether its payload is empty.
    pub(crate) empty: bool,
    /// When it was first sent.
    pub(crate) sent_at: u64,
    pub(crate) sends: u32,
    /// The connection it was first sent on.
    pub(crate) token: u32,
    /// When its publisher learnt that it had arrived.
    pub(crate) acked_at: Option<u64>,
    pub(crate) will: bool,
    /// Whether its publisher's session ends with the connection.
    pub(crate) brief: bool,
}

/// The payload of message `id`.
pub(crate) fn payload(id: u32) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

/// The message a payload belongs to; none if it is empty.
pub(crate) fn id_of(payload: &[u8]) -> Option<u32> {
    let (head, _) = payload.split_first_chunk::<4>()?;
    Some(u32::from_be_bytes(*head))
}
