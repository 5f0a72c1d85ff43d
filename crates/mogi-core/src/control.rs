//! Topics that are the broker's own: `$SYS`, `$share`, and requests on `$CONTROL/`.

use crate::end::Ending;
use crate::event::{Control, LogKind};
use crate::worker::Worker;
use mogi_codec::{QoS, RawPublish, Reason};
use std::sync::Arc;

impl Worker {
    /// Why no client may publish to a topic that begins with `$`, if so.
    pub(crate) fn reserved(&self, topic: &[u8]) -> Option<&'static str> {
        // The broker's own topics; bridges report their state on the one exception.
        let bridge_state =
            topic.starts_with(b"$SYS/broker/connection/") && topic.ends_with(b"/state");
        let reserved = topic.starts_with(b"$SYS/") || topic == b"$SYS";
        let control = topic.starts_with(b"$CONTROL/") && !self.turn.rights.takes_control();
        let other = topic.starts_with(b"$share/") || control;
        (reserved && !bridge_state || other).then_some("topic reserved for the broker")
    }

    /// A request on `$CONTROL/`: it goes to nobody else, and what is answered comes later.
    pub(crate) fn take_request(
        &mut self,
        key: u32,
        publish: &RawPublish<'_>,
        topic: &[u8],
    ) -> Result<(), Ending> {
        if self.turn.logs(LogKind::Debug) {
            self.log_received(key, publish, topic);
        }
        if publish.qos == QoS::ExactlyOnce && !self.take_id(key, publish)? {
            return Ok(());
        }
        if let Some(client) = self.clients.get(key) {
            let topic = String::from_utf8_lossy(topic).into_owned();
            let entitled = client.is_entitled(&self.turn, &topic);
            self.turn.effects.controls.push(Control {
                key,
                generation: client.generation,
                client_id: Arc::clone(&client.id),
                username: client.session.username.clone(),
                entitled,
                topic,
                payload: publish.payload.to_vec(),
            });
        }
        self.acknowledge(key, publish, Reason::Success, None);
        Ok(())
    }
}
