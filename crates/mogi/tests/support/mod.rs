//! What every scenario needs: a broker of its own, and clients that do exactly what they are told.
//!
//! * [`broker`]: [`Broker`] starts the program under test with a configuration on a free port.
//! * [`client`]: [`Client`], a blocking connection: send anything, expect the next thing.
//! * [`ctrl`]: `mogi ctrl`, run as people run it.
//! * [`dial`]: [`Dial`], a CONNECT under construction.
//! * [`dynsec`]: requests of administrators.
//! * [`pki`]: [`Pki`](pki::Pki), an authority and certificates it has signed.
//! * [`relay`]: the same over TLS or WebSocket.
//! * [`sessions`]: sessions that are made, left and resumed, over crashes as well.
//! * [`message`]: [`Out`], a PUBLISH to send; [`Message`], one that was received.
//! * [`frame`]: [`Frame`], one received packet, and [`Props`], its properties.
//!
//! A scenario reads like the sentence it tests:
//!
//! ```ignore
//! #[test]
//! fn mqtt_3_3_1_9_live_messages_are_not_marked_retained() {
//!     let broker = Broker::start("");
//!     let mut alice = broker.client(V311, "alice");
//!     let mut bob = broker.client(V311, "bob");
//!     alice.subscribe("a/b", 0);
//!     bob.publish(Out::new("a/b", "hi").retain());
//!     assert!(!alice.expect_message("a/b", "hi").retain);
//! }
//! ```
//!
//! `MOGI_TEST_BROKER=/path/to/mosquitto` runs all scenarios against another broker with the same
//! configuration. That is a check of the tests themselves; [`other_broker`] tells a scenario of it.
//!
//! No check here is a sleep. That something does *not* come is shown by what comes after it:
//! [`Client::expect_nothing`] and [`Client::expect_nothing_from`]. All waits end after
//! [`PATIENCE`] with a panic that says what was awaited.

// Each test program uses its own part of this module.
#![allow(dead_code, unused_imports, unreachable_pub)]

pub mod broker;
pub mod client;
pub mod ctrl;
pub mod dial;
pub mod dynsec;
pub mod frame;
pub mod message;
pub mod pki;
pub mod relay;
pub mod sessions;

pub use broker::{Broker, other_broker};
pub use client::Client;
pub use dial::Dial;
pub use frame::{Frame, Props};
pub use message::{Message, Out};
pub use mogi_codec::PropertyId as Id;
pub use mogi_codec::Version::{self, V5, V31, V311};
pub use mogi_codec::{PacketKind, Reason};

use std::time::{Duration, Instant};

/// The versions of MQTT a scenario that concerns them all has to hold for.
pub const VERSIONS: [Version; 3] = [V31, V311, V5];

/// How long anything that has to come may take: far more than it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks `condition` until it holds.
///
/// # Panics
/// After [`PATIENCE`], with `what`.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
