//! Whether Redis can say what is on disk.

use super::link::Link;
use super::wire::{Commands, Depth, Request, SLOTS, Value, Wait};
use crate::error::{ErrorKind, StoreError};
use std::path::Path;

/// Slots, evenly spread, whose nodes are asked: all masters, unless one has very few slots.
const ASKED: u16 = 64;

/// Asks for nothing to be on disk, as will be asked with each change for the change.
///
/// # Errors
/// A master is older than Redis 7.2, or keeps no append-only file: nothing would ever be
/// acknowledged.
pub(super) fn check(link: &Link) -> Result<(), StoreError> {
    let Some(Wait { depth: Depth::Disk { master }, .. }) = link.wait else {
        return Ok(());
    };
    let masters: &[u8] = if master { b"1" } else { b"0" };
    let ask = |slot| Request::new(slot, Commands::one(&[b"WAITAOF", masters, b"0", b"1"]));
    let asked = (0..SLOTS).step_by(usize::from(SLOTS / ASKED)).map(ask).collect();
    let replies = link.call(asked)?;
    let said = replies.iter().flat_map(|reply| &reply.values).find_map(Value::error);
    let Some(said) = said.map(ToString::to_string) else {
        return Ok(());
    };
    let advice = if said.contains("unknown command") {
        "it needs Redis 7.2 or later, or Valkey"
    } else if said.contains("appendonly") {
        "it needs 'appendonly yes' in the configuration of Redis"
    } else {
        "Redis refuses it"
    };
    let what = format!("redis_wait_aof: {advice} ({said})");
    Err(StoreError::new(ErrorKind::Unable, Path::new(&link.place), what))
}
