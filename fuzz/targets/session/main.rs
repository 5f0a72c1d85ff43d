//! Two workers and some clients that send whatever they like, in any order: packets that make
//! sense, packets that do not, and bytes that are none.
//!
//! Whatever happens, the workers do not panic, every client reads packets a broker may send it
//! (see [`watch`]), and when all clients are gone and their sessions have expired, nothing of
//! them is left.
//!
//! Input: choices, read with `arbitrary` from front to back.

#![no_main]

mod broker;
mod packets;
mod store;
mod watch;

use broker::{Broker, SLOTS, WORKERS};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mogi_core::CoreConfig;

fuzz_target!(|input: &[u8]| {
    let mut choices = Unstructured::new(input);
    let Ok(cfg) = config(&mut choices) else {
        return;
    };
    let mut broker = Broker::new(cfg);
    while !choices.is_empty() && act(&mut broker, &mut choices).is_ok() {}
    broker.settle();
    broker.leave();
});

/// Small limits, so that they are reached.
fn config(choices: &mut Unstructured<'_>) -> Result<CoreConfig> {
    Ok(CoreConfig {
        durable: choices.arbitrary()?,
        queue_qos0_messages: choices.arbitrary()?,
        upgrade_outgoing_qos: choices.arbitrary()?,
        allow_duplicate_messages: choices.arbitrary()?,
        max_inflight_messages: choices.int_in_range(0..=3)?,
        max_queued_messages: choices.int_in_range(0..=4)?,
        max_packet_size: 3000,
        message_size_limit: 1000,
        queue_window_messages: 2,
        max_topic_levels: 8,
        max_retained_messages: 5,
        max_subscriptions_per_client: 5,
        receive_maximum_tolerance: 2,
        // No session is for ever, so that at the end none is left.
        persistent_client_expiration_s: Some(1000),
        log_mask: 0x7F,
        ..CoreConfig::default()
    })
}

fn act(broker: &mut Broker, choices: &mut Unstructured<'_>) -> Result<()> {
    let slot = choices.choose_index(SLOTS)?;
    let worker = choices.choose_index(WORKERS)?;
    match choices.int_in_range(0..=15)? {
        0 | 1 => broker.open(slot, &packets::connect(choices, slot)?),
        2 => {
            let len = choices.int_in_range(0..=40)?;
            broker.send(slot, choices.bytes(len.min(choices.len()))?);
        }
        3 => broker.close(slot),
        4 => broker.pass(choices.int_in_range(0..=200_000)?),
        5 => broker.end_turn(worker),
        6 => broker.deliver(worker),
        7 => broker.stored(worker),
        8 => broker.narrow(slot, choices.int_in_range(0..=300)?),
        9 => broker.answer(),
        _ => {
            let version = broker.version(slot);
            let packet = packets::packet(choices, version)?;
            broker.send(slot, &packet);
        }
    }
    Ok(())
}
