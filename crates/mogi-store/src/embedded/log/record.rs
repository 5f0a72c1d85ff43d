//! The frame around each group of changes.
//!
//! ```text
//!  | length 4 | flags 4 | checksum 8 | checksum of the one before 8 |
//!  | number 8 | synced 8 | time 8 | changes …                       |
//! ```
//! Numbers rise. Each record names the one before it by its checksum: what an earlier life
//! of the file left behind the end is never taken for what comes next. `synced` is the number of
//! the last record that was durable when this one was written: so a record that is missing though
//! a later one says it was durable is damage, and one that nobody vouches for is a tail that a
//! power failure tore.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes before the changes.
pub(super) const HEAD: usize = 48;

/// In the flags of every record; so hardly anything else looks like one.
const MARK: u32 = 0x676F_6D00;

/// It stands for everything since the last checkpoint: what stands before it is void.
const BASE: u32 = 1;

/// What stands in a record's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) base: bool,
    /// Of the record before.
    pub(super) before: u64,
    pub(super) number: u64,
    pub(super) synced: u64,
    /// When it was written, in milliseconds since 1970.
    pub(super) at_ms: u64,
}

/// A whole record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) head: Head,
    pub(super) checksum: u64,
    pub(super) changes: &'a [u8],
}

impl Record<'_> {
    /// Bytes in the file.
    pub(super) const fn len(&self) -> usize {
        HEAD + self.changes.len()
    }
}

/// Makes room for the head at the beginning of `out`; the changes follow.
pub(super) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.resize(HEAD, 0);
}

/// Completes the record whose changes stand in `out` behind the head's room; its checksum, or
/// `None` if it is longer than a record can be.
pub(super) fn seal(seed: u64, head: &Head, out: &mut [u8]) -> Option<u64> {
    let len = u32::try_from(out.len() - HEAD).ok()?;
    out[..4].copy_from_slice(&len.to_le_bytes());
    let flags = MARK | if head.base { BASE } else { 0 };
    out[4..8].copy_from_slice(&flags.to_le_bytes());
    let fields = [head.before, head.number, head.synced, head.at_ms];
    for (at, field) in fields.into_iter().enumerate() {
        out[16 + at * 8..24 + at * 8].copy_from_slice(&field.to_le_bytes());
    }
    let checksum = checksum(seed, out);
    out[8..16].copy_from_slice(&checksum.to_le_bytes());
    Some(checksum)
}

/// The record at the beginning of `bytes`, if there is a whole one.
pub(super) fn open(seed: u64, bytes: &[u8]) -> Option<Record<'_>> {
    let head = head(bytes)?;
    let len = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let whole = bytes.get(..HEAD.checked_add(len)?)?;
    let found = number_at(bytes, 8)?;
    (checksum(seed, whole) == found).then_some(Record {
        head,
        checksum: found,
        changes: &whole[HEAD..],
    })
}

/// What the head at the beginning of `bytes` says, true or not.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let flags = u32::from_le_bytes(*bytes.get(4..8)?.first_chunk()?);
    if flags & !BASE != MARK {
        return None;
    }
    Some(Head {
        base: flags & BASE != 0,
        before: number_at(bytes, 16)?,
        number: number_at(bytes, 24)?,
        synced: number_at(bytes, 32)?,
        at_ms: number_at(bytes, 40)?,
    })
}

fn number_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.first_chunk().map(|it| u64::from_le_bytes(*it))
}

/// Of all but the checksum's own place. The store's seed is in it: records of another store are
/// none of this one.
fn checksum(seed: u64, whole: &[u8]) -> u64 {
    let head = xxh3_64_with_seed(&whole[..8], seed);
    xxh3_64_with_seed(&whole[16..], head)
}
