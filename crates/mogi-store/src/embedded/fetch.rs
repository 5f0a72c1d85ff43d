//! Reads messages of a queue: mostly neighbours, so in one walk.

use super::engine::Engine;
use super::keys;
use super::rubbish::Rubbish;
use super::scan::read_body;
use crate::coding;
use crate::error::StoreError;
use crate::ops::{EntryNo, SessionNo, StoredDelivery};
use mogi_core::Message;

/// Records nobody asked for that are passed one by one; after that the walk jumps. A jump costs
/// about as much as a dozen steps.
const PASSED_MAX: u32 = 16;

/// Appends those of the wanted entries that are there to `out`, by rising number. `wanted` rises.
pub(super) fn fetch(
    engine: &Engine,
    session: SessionNo,
    mut wanted: &[EntryNo],
    rubbish: &mut Rubbish,
    out: &mut Vec<(EntryNo, StoredDelivery)>,
) -> Result<(), StoreError> {
    // Neighbours often share a body.
    let mut last: Option<(u64, Message)> = None;
    while let (Some(first), Some(end)) = (wanted.first(), wanted.last()) {
        let range = keys::queue(session, *first)..=keys::queue(session, *end);
        let walk = engine.read(|| {
            let mut passed = 0;
            for guard in engine.queue.range(range) {
                let (key, record) = guard.into_inner()?;
                let Some((_, number)) = keys::split_queue(&key) else { continue };
                let behind = wanted.partition_point(|entry| *entry < number);
                wanted = &wanted[behind..];
                if wanted.first() != Some(&number) {
                    passed += 1;
                    if passed > PASSED_MAX {
                        return Ok(());
                    }
                    continue;
                }
                (wanted, passed) = (&wanted[1..], 0);
                let entry = coding::open(&key, &record).and_then(coding::entry);
                let body = |number| body(engine, number, &mut last);
                match entry.and_then(|entry| entry.delivery(body)) {
                    Some(delivery) => out.push((number, delivery)),
                    None => rubbish.add("queue", &key, &record),
                }
            }
            wanted = &[];
            Ok(())
        });
        walk?;
    }
    Ok(())
}

fn body(engine: &Engine, number: u64, last: &mut Option<(u64, Message)>) -> Option<Message> {
    if let Some((known, message)) = last
        && *known == number
    {
        return Some(message.clone());
    }
    let message = read_body(engine, number)?;
    *last = Some((number, message.clone()));
    Some(message)
}
