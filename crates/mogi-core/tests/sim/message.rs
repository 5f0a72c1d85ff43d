//! Published messages as the simulation knows them, and payloads that say which one they are.

use mogi_codec::QoS;

/// A message somebody published, or left as a will.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) id: u32,
    pub(crate) publisher: usize,
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Bytes of payload; 0 clears the retained message.
    pub(crate) len: usize,
    /// Whether it carries a user property naming it.
    pub(crate) property: bool,
    pub(crate) expiry_s: Option<u32>,
    /// When it was first sent.
    pub(crate) sent_at: u64,
    /// How often it was sent.
    pub(crate) sends: usize,
    /// Simulated time by which the broker had it for sure, in milliseconds.
    pub(crate) taken_ms: Option<u64>,
    /// When its publisher learnt that it had arrived.
    pub(crate) acked_at: Option<u64>,
    pub(crate) will: bool,
}

/// The payload of message `id`.
pub(crate) fn payload(id: u32, len: usize) -> Vec<u8> {
    let head = id.to_be_bytes();
    let byte = |at: usize| head.get(at).copied().unwrap_or(at as u8 ^ id as u8);
    (0..len).map(byte).collect()
}

/// The message a payload belongs to; none if it is empty.
pub(crate) fn id_of(payload: &[u8]) -> Option<u32> {
    let (head, _) = payload.split_first_chunk::<4>()?;
    Some(u32::from_be_bytes(*head))
}

/// The QoS a subscription at `granted` gets a message published at `published` with.
pub(crate) fn effective(published: QoS, granted: QoS, upgrade: bool) -> QoS {
    if upgrade { granted } else { published.min(granted) }
}
