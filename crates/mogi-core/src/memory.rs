//! What becomes of messages while there is no memory to keep them.

use crate::end::Ending;
use crate::worker::Worker;
use mogi_codec::{DecodeError, QoS, RawPublish, Reason, Version};

/// How much memory there is left (`memory_limit`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// Enough.
    #[default]
    Enough,
    /// So little that nobody new is let in: those who are there need it.
    Tight,
    /// None: what would have to be kept is refused as well.
    Full,
}

impl Worker {
    /// Whether a message would have to be kept. One that was taken before and comes again is only
    /// answered.
    #[cold]
    pub(crate) fn needs_memory(&self, key: u32, publish: &RawPublish<'_>) -> bool {
        let client = self.clients.get(key);
        let known = publish.qos == QoS::ExactlyOnce
            && client.is_some_and(|client| client.session.received.contains(publish.packet_id));
        let removes = publish.retain && publish.payload.is_empty();
        !known && !removes && (publish.qos != QoS::AtMostOnce || publish.retain)
    }

    /// There is no memory to keep a message (`memory_limit`). A publisher that cannot be told is
    /// disconnected, as by Mosquitto: acknowledged the message would be lost, so it comes again.
    #[cold]
    pub(crate) fn refuse_for_memory(
        &mut self,
        key: u32,
        version: Version,
        publish: &RawPublish<'_>,
        topic: &[u8],
    ) -> Result<(), Ending> {
        self.turn.stats.memory_refused += 1;
        publish.checked().map_err(Ending::Broken)?;
        let why = "no memory left for messages that have to be kept (memory_limit)";
        if version.is_v5() || publish.qos == QoS::AtMostOnce {
            self.refuse(key, publish, topic, Reason::QuotaExceeded, why);
            return Ok(());
        }
        Err(Ending::Broken(DecodeError::new(Reason::QuotaExceeded, why)))
    }
}
