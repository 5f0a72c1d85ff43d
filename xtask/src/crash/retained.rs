//! What a broker retains, as a client finds it.

use super::link::{Inward, Link};
use anyhow::{Result, bail};
use mogi_codec::{Connect, Properties, QoS, Subscribe, SubscribeFilter, SubscribeOptions, Version};
use std::time::{Duration, Instant};

/// All of a broker: topics and numbers.
///
/// # Errors
/// Nobody listens there, or they do not come within `patience_ms`.
pub(super) fn read(port: u16, patience_ms: u64) -> Result<Vec<(String, usize)>> {
    let version = Version::V311;
    let begun = Instant::now();
    let Some(mut link) = Link::open(port, version) else { bail!("nobody listens at {port}") };
    let connect = Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive_s: 60,
        properties: Properties::default(),
        client_id: "reader",
        will: None,
        username: None,
        password: None,
    };
    connect.encode(&mut link.output);
    let options = SubscribeOptions { qos: QoS::AtMostOnce, ..SubscribeOptions::default() };
    let filter = SubscribeFilter { filter: "r/#", options };
    Subscribe::encode(version, 1, Properties::default(), &[filter], &mut link.output);
    link.output.extend_from_slice(&[0xC0, 0]);
    let mut found = Vec::new();
    while begun.elapsed() < Duration::from_millis(patience_ms) {
        if !link.pump() {
            std::thread::sleep(Duration::from_micros(200));
        }
        while let Some(inward) = link.next() {
            match inward {
                Inward::Publish(arrival) => {
                    let text = String::from_utf8_lossy(&arrival.payload).into_owned();
                    let seq = text.split(' ').nth(1).and_then(|seq| seq.parse().ok());
                    found.push((arrival.topic, seq.unwrap_or(usize::MAX)));
                }
                // PINGRESP: all that was there has come.
                Inward::Other => return Ok(found),
                _ => {}
            }
        }
    }
    bail!("retained messages do not come from {port}")
}
