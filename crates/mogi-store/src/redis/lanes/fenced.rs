//! What was refused because another node owns it by now.

use crate::ops::SessionNo;
use std::sync::Arc;

/// Something of a client that belongs to another node by now was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) struct Fenced {
    pub(in crate::redis) client: Arc<str>,
    pub(in crate::redis) session: SessionNo,
    /// The epoch it was changed under.
    pub(in crate::redis) epoch: u64,
    /// QoS 2 packet ids of the session that were refused.
    pub(in crate::redis) packet_ids: Vec<u16>,
}
