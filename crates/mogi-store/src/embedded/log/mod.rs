//! The log: what was promised since the last checkpoint.
//!
//! ```text
//!  log/0.log   | record 7 | record 8 | record 9 | 0 …            what is written to
//!  log/1.log   | record 2 | record 3 | …                         void: it is written over next
//! ```
//! Every group is appended as one record and synced. When the file is full, either all that counts
//! is in the tables by a checkpoint, and the file begins anew; or little of it still counts, and
//! that little begins the other file as one record, the *base*. Both times the file was written
//! before: its blocks have their places, and a sync writes nothing but data.
//!
//! **After a failed sync** the file is given up: what the page cache shows of it need not be on the
//! disk, and the next sync would not say so. A base begins a new file then.

pub(super) mod changes;
pub(super) mod disk;
mod record;
mod replay;

pub(super) use replay::{Found, is_whole};

use crate::clock::now_ms;
use crate::error::{ErrorKind, StoreError};
use disk::{Disk, Folder, LogFile};
use record::Head;
use std::io;
use std::path::{Path, PathBuf};

/// Behind the last record, so that a whole end differs from a torn one.
const END: usize = 8;

/// At the beginning of a file of which nothing counts any more.
const VOID: &[u8] = b"mogivoid";

/// What the space for records may keep.
const BUFFER_MAX: usize = 1 << 20;

/// By how much the file is made longer at once, for small records: the sync of one that makes the
/// file longer writes the file system's journal too, and takes twice as long. Large records, which
/// many share, have it written with them.
const AHEAD: u64 = 256 << 10;

/// Bytes from which on a record is large.
const LARGE: usize = 8 << 10;

/// What the file is made longer by in one call. A page each, as the page cache keeps what comes at
/// once as one piece, and a byte written over it later would write all of that.
const PAGE: usize = 4096;

const NAMES: [&str; 2] = ["0.log", "1.log"];

/// The log, open for writing.
pub(super) struct Log {
    disk: Box<dyn Disk>,
    path: PathBuf,
    seed: u64,
    /// `None`: there is no file, or none that is to be relied on.
    current: Option<Current>,
    /// Which of [`NAMES`] it is, or was.
    name: usize,
    /// Which of the files this process began, and nothing went wrong with. Others are removed and
    /// made anew: what was read of a file is in the page cache in large pieces, and each byte
    /// written over such a piece would write all of it.
    own: [bool; 2],
    /// How long the file is that is not written to, if it is one's own.
    other_room: u64,
    /// The number of the next record.
    next: u64,
    /// The checksum of the last one.
    before: u64,
    /// The last one that is known to be durable.
    synced: u64,
    buffer: Vec<u8>,
}

struct Current {
    file: Box<dyn LogFile>,
    /// Where the next record goes.
    end: u64,
    /// How long the file is.
    room: u64,
}

impl Log {
    /// The files of the log in this directory.
    pub(super) fn folder(path: &Path) -> Box<dyn Disk> {
        Box::new(Folder::new(path.to_owned()))
    }

    /// Whether records can be appended; else [`Self::begin`] has to come first.
    pub(super) const fn is_open(&self) -> bool {
        self.current.is_some()
    }

    /// The number of the last record.
    pub(super) const fn last(&self) -> u64 {
        self.next - 1
    }

    /// Bytes of records in the file.
    pub(super) fn bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.end)
    }

    /// Appends a record with what `put` puts into it.
    ///
    /// # Errors
    /// Nothing of it counts then; the same may be tried again.
    pub(super) fn append(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), StoreError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        record::begin(&mut buffer);
        put(&mut buffer);
        let appended = match &mut self.current {
            Some(current) => {
                let head = Head {
                    base: false,
                    before: self.before,
                    number: self.next,
                    synced: self.synced,
                    at_ms: now_ms(),
                };
                seal(self.seed, &head, &mut buffer)
                    .and_then(|checksum| current.write(&mut buffer).map(|()| checksum))
            }
            None => Err(io::Error::other("it is not open")),
        };
        buffer.clear();
        buffer.shrink_to(BUFFER_MAX);
        self.buffer = buffer;
        self.before = appended.map_err(|error| self.failed("append to the log", &error))?;
        self.next += 1;
        Ok(())
    }

    /// Makes all records durable.
    ///
    /// # Errors
    /// The file is given up then: [`Self::begin`] is next.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if self.synced + 1 == self.next {
            return Ok(());
        }
        match current.file.sync() {
            Ok(()) => {
                self.synced = self.next - 1;
                Ok(())
            }
            Err(error) => {
                self.current = None;
                self.own = [false; 2];
                Err(self.failed("sync the log", &error))
            }
        }
    }

    /// Begins the other file with a record of all that counts, and syncs it.
    ///
    /// # Errors
    /// The file before is as good as it was; the same may be tried again.
    pub(super) fn begin(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), StoreError> {
        let mut buffer = Vec::new();
        record::begin(&mut buffer);
        put(&mut buffer);
        let number = self.next;
        // Whatever becomes of it, no other record gets the number.
        self.next += 1;
        let head =
            Head { base: true, before: self.before, number, synced: self.synced, at_ms: now_ms() };
        let name = 1 - self.name;
        match self.begin_file(name, &head, &mut buffer) {
            Ok((current, checksum)) => {
                let before = self.current.replace(current);
                self.other_room = before.map_or(0, |before| before.room);
                (self.before, self.synced) = (checksum, number);
                if !self.own[self.name] {
                    // It is void either way.
                    let _ = self.disk.remove(NAMES[self.name]);
                }
                (self.name, self.own[name]) = (name, true);
                Ok(())
            }
            Err(error) => {
                self.own[name] = false;
                // Void as well: a later one of the other file has a greater number.
                let _ = self.disk.remove(NAMES[name]);
                Err(self.failed("begin a new file of the log", &error))
            }
        }
    }

    fn begin_file(
        &self,
        name: usize,
        head: &Head,
        buffer: &mut Vec<u8>,
    ) -> io::Result<(Current, u64)> {
        let checksum = seal(self.seed, head, buffer)?;
        if !self.own[name] {
            match self.disk.remove(NAMES[name]) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let room = if self.own[name] { self.other_room } else { 0 };
        let mut current = Current { file: self.disk.open(NAMES[name])?, end: 0, room };
        current.write(buffer)?;
        current.file.sync()?;
        Ok((current, checksum))
    }

    /// Everything in it is in the tables for good: it begins anew.
    pub(super) fn restart(&mut self) {
        self.synced = self.next - 1;
        let void = match &mut self.current {
            Some(current) => {
                current.end = 0;
                write_all(&mut *current.file, VOID, 0)
            }
            None => self.disk.remove(NAMES[self.name]),
        };
        // What stands there still would say no more than that the tables are to be synced again.
        let _ = void;
    }

    fn failed(&self, doing: &str, error: &io::Error) -> StoreError {
        StoreError::io(&self.path, doing, error)
    }
}

impl Current {
    /// Writes the record behind the others.
    fn write(&mut self, record: &mut Vec<u8>) -> io::Result<()> {
        let len = record.len() as u64;
        record.extend_from_slice(&[0; END]);
        let until = self.end + record.len() as u64;
        if until > self.room {
            // Where there is no space ahead, there may be some for the record.
            let longer = len < LARGE as u64 && self.lengthen(until + AHEAD).is_ok();
            self.room = if longer { until + AHEAD } else { until };
        }
        write_all(&mut *self.file, record, self.end)?;
        self.end += len;
        Ok(())
    }

    /// Fills the file with zeros up to `until`.
    fn lengthen(&mut self, until: u64) -> io::Result<()> {
        let mut at = self.room;
        while at < until {
            let in_page = PAGE as u64 - at % PAGE as u64;
            let len = in_page.min(until - at);
            write_all(&mut *self.file, &[0; PAGE][..len as usize], at)?;
            at += len;
        }
        Ok(())
    }
}

fn seal(seed: u64, head: &Head, buffer: &mut [u8]) -> io::Result<u64> {
    let sealed = record::seal(seed, head, buffer);
    sealed.ok_or_else(|| io::Error::other("too much at once"))
}

fn write_all(file: &mut dyn LogFile, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// That records are damaged, and nothing is to be touched.
fn damaged(path: &Path, bytes: u64) -> StoreError {
    let what = format!("{bytes} bytes of the log are damaged");
    StoreError::new(ErrorKind::Damaged, path, what)
}
