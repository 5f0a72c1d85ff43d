//! Reads the log at a start.

use super::disk::{Disk, Folder};
use super::record::{self, Record};
use super::{END, Log, NAMES, VOID, damaged};
use crate::error::StoreError;
use std::io;
use std::path::Path;

/// By how much numbers rise with each start: a power failure may bring back what stood behind a
/// torn record, or a file that was removed, and none of it is to look new.
const LEAP: u64 = 1 << 32;

/// What is found besides whole records.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Bytes of a last record that is not whole, and that nobody was promised.
    pub(crate) torn_bytes: u64,
    /// Something that is in the tables stands there still: whether they were synced with it is not
    /// known.
    pub(crate) unconfirmed: bool,
    /// Bytes of records that were durable once and cannot be read.
    pub(crate) lost_bytes: u64,
    /// Where those are, in words, and the file's bytes.
    pub(crate) damaged: Vec<(String, &'static str, Vec<u8>)>,
}

/// A record that is gone through: whether it voids those before, when it was written, and its
/// changes.
pub(crate) struct Step<'a> {
    pub(crate) base: bool,
    pub(crate) at_ms: u64,
    pub(crate) changes: &'a [u8],
}

/// What stands in a file, as far as it counts.
struct File {
    name: usize,
    bytes: Vec<u8>,
    /// Where its records begin, by their order, with their numbers and checksums.
    records: Vec<(usize, u64, u64)>,
    torn: u64,
    lost: u64,
    starts_whole: bool,
    /// There are records of before the checkpoint.
    covered: bool,
}

impl Log {
    /// Goes through what was written since the checkpoint, which is the number of the last record
    /// that is in the tables. The log is not open then: what was read need not be on the disk, so
    /// it goes on with another file.
    ///
    /// # Errors
    /// * If it cannot be read.
    /// * [`ErrorKind::Damaged`](crate::error::ErrorKind::Damaged): it is damaged, and `stop` says
    ///   that nothing is to be touched then.
    pub(crate) fn replay(
        (disk, path, seed): (Box<dyn Disk>, &Path, u64),
        checkpoint: u64,
        stop: bool,
        found: &mut Found,
        mut each: impl FnMut(Step<'_>),
    ) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io(path, "read the log", &error);
        let there = disk.list().map_err(failed)?;
        let mut files = Vec::new();
        for (name, text) in NAMES.into_iter().enumerate() {
            if there.iter().any(|it| it == text) {
                let bytes = disk.read(text).map_err(failed)?;
                files.push(File::look_through(name, bytes, seed, checkpoint));
            }
        }
        found.unconfirmed = files.iter().any(|file| file.covered);
        files.sort_by_key(|file| file.records.last().map(|(_, number, _)| *number));
        let mut log = Self {
            disk,
            path: path.to_owned(),
            seed,
            current: None,
            name: 0,
            own: [false; 2],
            other_room: 0,
            next: checkpoint.saturating_add(LEAP),
            before: 0,
            synced: checkpoint,
            buffer: Vec::new(),
        };
        let Some(newest) = files.pop() else { return Ok(log) };
        if newest.lost > 0 && stop {
            return Err(damaged(path, newest.lost));
        }
        if !newest.starts_whole
            && newest.lost > 0
            && let Some(older) = files.pop()
        {
            // What its first record stood for is still there.
            older.steps(seed, &mut each);
        }
        newest.steps(seed, &mut each);
        if let Some((_, number, checksum)) = newest.records.last() {
            (log.next, log.before, log.synced) = (number.saturating_add(LEAP), *checksum, *number);
        }
        log.name = newest.name;
        found.torn_bytes += newest.torn;
        let whole = newest.lost == 0;
        if !whole {
            found.lost_bytes += newest.lost;
            let file = NAMES[newest.name];
            let words = format!("the log {file} is damaged ({} bytes)", newest.lost);
            found.damaged.push((words, file, newest.bytes));
        }
        Ok(log)
    }
}

/// Whether no file in this folder has damage before its last record.
pub(crate) fn is_whole(folder: &Path, seed: u64) -> io::Result<bool> {
    let disk = Folder::new(folder.to_owned());
    for name in disk.list()? {
        if File::look_through(0, disk.read(&name)?, seed, 0).lost > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

impl File {
    fn look_through(name: usize, bytes: Vec<u8>, seed: u64, checkpoint: u64) -> Self {
        let mut file = Self {
            name,
            bytes,
            records: Vec::new(),
            torn: 0,
            lost: 0,
            starts_whole: false,
            covered: false,
        };
        if file.bytes.starts_with(VOID) {
            return file;
        }
        let mut at = 0;
        let mut last = (0, None);
        loop {
            let rest = file.bytes.get(at..).unwrap_or_default();
            let next = record::open(seed, rest);
            let follows = |it: &Record<'_>| {
                it.head.number > last.0 && last.1.is_none_or(|sum| sum == it.head.before)
            };
            match next {
                Some(it) if follows(&it) => {
                    file.starts_whole |= at == 0;
                    file.records.push((at, it.head.number, it.checksum));
                    last = (it.head.number, Some(it.checksum));
                    at += it.len();
                }
                _ => match behind_damage(rest, seed, last.0, checkpoint) {
                    Some(skipped) => {
                        let next = record::head(&rest[skipped..]);
                        let known =
                            next.is_some_and(|it| it.number <= checkpoint.saturating_add(1));
                        // What the tables have is not lost.
                        file.lost += if known { 0 } else { skipped as u64 };
                        at += skipped;
                        last.1 = None;
                    }
                    None => {
                        file.torn = torn(rest);
                        return file.behind(checkpoint);
                    }
                },
            }
        }
    }

    /// Without what is in the tables.
    fn behind(mut self, checkpoint: u64) -> Self {
        let all = self.records.len();
        self.records.retain(|(_, number, _)| *number > checkpoint);
        self.covered = self.records.len() < all;
        if self.records.is_empty() {
            // Whatever else is there is older.
            (self.torn, self.lost) = (0, 0);
        }
        self
    }

    fn steps(&self, seed: u64, each: &mut impl FnMut(Step<'_>)) {
        let from = self
            .records
            .iter()
            .rposition(|(at, ..)| record::head(&self.bytes[*at..]).is_some_and(|head| head.base));
        for (at, ..) in &self.records[from.unwrap_or(0)..] {
            if let Some(Record { head, changes, .. }) = record::open(seed, &self.bytes[*at..]) {
                each(Step { base: head.base, at_ms: head.at_ms, changes });
            }
        }
    }
}

/// How many bytes are to be passed to get to a whole record behind `last` that counts although what
/// stands before it is not whole: what is missing is in the tables, or was durable, as it says.
fn behind_damage(rest: &[u8], seed: u64, last: u64, checkpoint: u64) -> Option<usize> {
    let known = last.max(checkpoint);
    (1..rest.len().saturating_sub(record::HEAD)).find(|at| {
        let bytes = &rest[*at..];
        let likely = record::head(bytes).is_some_and(|head| {
            let counts = head.synced > known || head.number <= checkpoint.saturating_add(1);
            head.number > last && counts
        });
        likely && record::open(seed, bytes).is_some()
    })
}

/// How many bytes behind the last whole record are a part of one.
fn torn(rest: &[u8]) -> u64 {
    let Some(length) = rest.first_chunk::<4>() else { return rest.len() as u64 };
    let head = &rest[..END.min(rest.len())];
    if head.iter().all(|byte| *byte == 0) {
        return 0;
    }
    let frame = u64::from(u32::from_le_bytes(*length)).saturating_add(record::HEAD as u64);
    frame.min(rest.len() as u64)
}
