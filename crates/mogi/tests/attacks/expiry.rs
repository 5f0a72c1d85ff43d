//! What is too old: messages and sessions.

use super::siege::Siege;
use crate::support::{Dial, Id, Out, V5, V311, eventually};
use std::time::Duration;

#[test]
fn q24_message_expiry() {
    Siege::new(32).run(|broker| {
        let dial = Dial::persistent(V5, "q24");
        let mut client = broker.connect(&dial);
        client.subscribe("q24/#", 1);
        client.disconnect();
        let mut writer = broker.client(V5, "writer");
        let message = |topic: &str, expiry_s| {
            let out = Out::new(topic, "m").qos(1);
            out.int(Id::MessageExpiryInterval, expiry_s)
        };
        writer.publish(message("q24/second", 1));
        writer.publish(message("q24/ever", u32::MAX));
        writer.publish(message("q24/second/retained", 1).retain());
        writer.publish(message("q24/ever/retained", u32::MAX).retain());
        // Nothing tells when a message has expired but the time.
        std::thread::sleep(Duration::from_millis(2100));
        let mut client = broker.connect(&dial);
        for topic in ["q24/ever", "q24/ever/retained"] {
            let message = client.receive(topic, "m");
            let left_s = message.props.int(Id::MessageExpiryInterval);
            assert!(left_s.is_some_and(|left_s| left_s >= u32::MAX - 60), "{left_s:?}");
        }
        client.expect_nothing();
        let mut late = broker.client(V311, "late");
        late.subscribe("q24/#", 1);
        late.receive("q24/ever/retained", "m");
        late.expect_nothing();
        // 0 seconds: sent on at most at once, and never kept.
        client.disconnect();
        writer.publish(message("q24/none", 0));
        writer.publish(message("q24/none/retained", 0).retain());
        broker.connect(&dial).expect_nothing();
        let mut later = broker.client(V5, "later");
        later.subscribe("q24/none/#", 1);
        later.expect_nothing();
    });
}

#[test]
fn e25_a_session_expires_while_nobody_looks() {
    Siege::new(32).run(|broker| {
        let dial = Dial::new(V5, "e25").resume().session_expiry(1);
        let mut client = broker.connect(&dial);
        client.subscribe("e25", 1);
        client.abort();
        let mut writer = broker.client(V5, "writer");
        eventually("nobody is subscribed any more", || {
            writer.publish_code(Out::new("e25", "m").qos(1)) == 0x10
        });
        let mut client = broker.dial(&dial);
        assert!(!client.expect_connected().session_present());
        client.expect_nothing();
    });
}
