//! A copy of a store, taken while a broker may be writing to it: what tools read.
//!
//! Opening a store repairs it, and may write; so whoever only wants to look opens a copy. Tables
//! never change once they are written and are linked; journals and the small files are copied. If a
//! table came or went meanwhile, the parts do not belong together, and it is done again; otherwise
//! the copy is what a crash at this moment would have left.

use super::{journal, log, place};
use crate::error::{ErrorKind, StoreError};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How long it is tried, and how long it waits in between.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// What is read of a journal at once. Parts that are all zeros are not written.
const PIECE_BYTES: usize = 1 << 16;
static ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];

/// A journal is 64 MiB long from its beginning. The one a broker writes to is given up after so
/// many zeros: reading all of them would leave more time for a change.
const ZEROS_MAX: usize = 4 << 20;

/// A copy of a store in a folder of its own, which goes away with it.
#[derive(Debug)]
pub struct Snapshot {
    copy: PathBuf,
    store: PathBuf,
    user: Option<String>,
    format: u32,
    seed: u64,
}

impl Snapshot {
    /// Copies the store in this directory: into a folder beside it, or, where that cannot be
    /// written, into the system's folder for temporary files. Nothing in the directory changes.
    ///
    /// # Errors
    /// * [`ErrorKind::Missing`]: there is no store.
    /// * [`ErrorKind::TooNew`]: a later mogi wrote it.
    /// * [`ErrorKind::Changing`]: tables came and went during each attempt.
    /// * The others if the operating system refuses.
    pub fn take(store: &Path) -> Result<Self, StoreError> {
        let Some((format, seed)) = place::read_format(store)? else {
            return Err(StoreError::new(ErrorKind::Missing, store, "there is no store here"));
        };
        let user = user(store);
        let mut snapshot =
            Self { copy: folder(store)?, store: store.to_owned(), user, format, seed };
        let end = Instant::now() + PATIENCE;
        loop {
            let last = Instant::now() >= end;
            match snapshot.copy_all(last) {
                Ok(true) => return Ok(snapshot),
                Ok(false) if last => {
                    let what = "it changed all the time while it was copied";
                    return Err(StoreError::new(ErrorKind::Changing, store, what));
                }
                Ok(false) => std::thread::sleep(PAUSE),
                Err(error) => return Err(StoreError::io(store, "copy it to read it", &error)),
            }
            snapshot.empty()?;
        }
    }

    /// Where the copy is. It can be opened like any store.
    pub fn dir(&self) -> &Path {
        &self.copy
    }

    /// Where the store is.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The process that had the store open when it was copied, by its id or in words.
    pub fn in_use_by(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The version of the format.
    pub const fn format(&self) -> u32 {
        self.format
    }

    /// Bytes of the store on disk, as the file system counts them; what was set aside is not
    /// counted.
    pub fn disk_bytes(&self) -> u64 {
        place::disk_bytes(&self.data()) + place::disk_bytes(&self.store.join(place::LOG))
    }

    fn data(&self) -> PathBuf {
        // Between the two renames of a repair there is only the new one.
        let data = self.store.join(place::DATA);
        if data.exists() { data } else { self.store.join(place::NEW_DATA) }
    }

    /// Whether the parts belong together. `last`: there is no other attempt.
    fn copy_all(&mut self, last: bool) -> io::Result<bool> {
        // The log first: whatever leaves it later is in the tables by then.
        let copied = self.copy_log()?;
        let (from, to) = (self.data(), self.copy.join(place::DATA));
        let before = list(&from)?;
        fs::copy(self.store.join(place::FORMAT_FILE), self.copy.join(place::FORMAT_FILE))?;
        fs::create_dir_all(&to)?;
        let zeros_max = if self.user.is_some() { ZEROS_MAX } else { usize::MAX };
        for (path, kind) in &before {
            match copy_one(&from.join(path), &to.join(path), kind, zeros_max) {
                // It was removed: the lists will differ.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                copied => copied?,
            }
        }
        if list(&from)? != before {
            return Ok(false);
        }
        if self.user.is_none() || last {
            return Ok(true);
        }
        if !copied {
            return Ok(false);
        }
        // Pages of a journal may become visible while others in front of them are read: that looks
        // like damage, and is none.
        let journals = before.iter().filter(|(_, kind)| **kind == Kind::Journal);
        for (path, _) in journals {
            if journal::is_damaged(&to.join(path))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies the log; whether its parts belong together.
    fn copy_log(&self) -> io::Result<bool> {
        let (from, to) = (self.store.join(place::LOG), self.copy.join(place::LOG));
        if !from.exists() {
            return Ok(true);
        }
        fs::create_dir_all(&to)?;
        for path in list(&from)?.keys() {
            match copy_sparse(&from.join(path), &to.join(path), usize::MAX) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                copied => copied?,
            }
        }
        log::is_whole(&to, self.seed)
    }

    fn empty(&self) -> Result<(), StoreError> {
        for part in [place::DATA, place::LOG] {
            let path = self.copy.join(part);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io(&path, "remove it", &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // Nobody is left to tell, and the next one removes it.
        let _ = fs::remove_dir_all(&self.copy);
    }
}

/// How a file is copied, and how its change is noticed.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    /// Written to all the time, at its end.
    Journal,
    /// Never changes once it is complete.
    Table(SystemTime),
    /// Replaced as a whole.
    Small(SystemTime),
}

/// All there is below `dir`, with paths from there, folders before what is in them.
fn list(dir: &Path) -> io::Result<BTreeMap<PathBuf, Kind>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(dir.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            let kind = if metadata.is_dir() {
                folders.push(path.clone());
                Kind::Folder
            } else if path.extension().is_some_and(|it| it == "jnl") {
                Kind::Journal
            } else if folder.ends_with("tables") {
                Kind::Table(metadata.modified()?)
            } else {
                Kind::Small(metadata.modified()?)
            };
            found.insert(path, kind);
        }
    }
    Ok(found)
}

fn copy_one(from: &Path, to: &Path, kind: &Kind, zeros_max: usize) -> io::Result<()> {
    match kind {
        Kind::Folder => fs::create_dir_all(to),
        Kind::Journal => copy_sparse(from, to, zeros_max),
        // Not where the copy is on another file system, and not everybody may.
        Kind::Table(_) => match fs::hard_link(from, to) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            Err(_) => fs::copy(from, to).map(drop),
        },
        Kind::Small(_) => fs::copy(from, to).map(drop),
    }
}

/// Copies a file that is mostly zeros, and leaves those out. Ends after `zeros_max` of them.
pub(super) fn copy_sparse(from: &Path, to: &Path, zeros_max: usize) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut piece = vec![0; PIECE_BYTES];
    let (mut at, mut zeros) = (0, 0);
    loop {
        let len = from.read(&mut piece)?;
        if len == 0 || zeros >= zeros_max {
            return to.set_len(at);
        }
        if piece[..len] == ZEROS[..len] {
            zeros += len;
        } else {
            to.seek(SeekFrom::Start(at))?;
            to.write_all(&piece[..len])?;
            zeros = 0;
        }
        at += len as u64;
    }
}

/// Who has it open. The lock is only tried where a process of the id in it exists: a broker that
/// starts at this very moment is not to find it taken.
pub(super) fn user(store: &Path) -> Option<String> {
    let path = store.join(place::LOCK);
    let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
    let number: Option<u32> = pid.parse().ok();
    if number.is_some_and(|number| !lives(number)) {
        return None;
    }
    match File::open(&path).ok()?.try_lock_shared() {
        Err(TryLockError::WouldBlock) if number.is_none() => Some("another process".to_owned()),
        Err(TryLockError::WouldBlock) => Some(format!("process {pid}")),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// Whether there may be such a process.
fn lives(pid: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new(&format!("/proc/{pid}")).exists()
}

/// An empty folder for the copy.
fn folder(store: &Path) -> Result<PathBuf, StoreError> {
    let store = fs::canonicalize(store)
        .map_err(|error| StoreError::io(store, "find out where it is", &error))?;
    let name = store.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prefix = format!("{name}.copy-");
    let pid = std::process::id();
    let beside = store.parent().unwrap_or(&store);
    remove_left_over(beside, &prefix);
    let first = beside.join(format!("{prefix}{pid}"));
    let error = match make(&first) {
        Ok(()) => return Ok(first),
        Err(error) => error,
    };
    let second = std::env::temp_dir().join(format!("{prefix}{pid}"));
    make(&second).map_err(|_| StoreError::io(&first, "make a folder for a copy", &error))?;
    Ok(second)
}

/// Copies of tools that were killed.
fn remove_left_over(dir: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse().ok());
        if pid.is_some_and(|pid| !lives(pid)) {
            // It costs room, and nothing else.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Others are not to read the messages in it.
fn make(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{enqueued, message, session_set};
    use crate::embedded::{EmbeddedOptions, EmbeddedStore};
    use crate::store::{Loaded, Store};

    fn entries(dir: &Path) -> usize {
        let mut store = EmbeddedStore::open(EmbeddedOptions::new(dir)).expect("it opens");
        let mut count = 0;
        let visit = &mut |loaded| {
            if let Loaded::Session(session) = loaded {
                count += session.waiting.len();
            }
        };
        let report = store.load(visit).expect("it can be read");
        assert!(!report.damage.any(), "{:?}", report.damage);
        count
    }

    #[test]
    fn copies_of_a_store_that_is_written_to_are_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("store");
        // Small memtables: tables come and go all the time.
        let options = EmbeddedOptions { memtable_bytes: 1 << 18, ..EmbeddedOptions::new(&path) };
        let mut store = EmbeddedStore::open(options).expect("it opens");
        store.commit(&[&[session_set(1)]]).expect("it is written");
        let stop = std::sync::atomic::AtomicBool::new(false);
        let stop = &stop;
        let written = std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let mut at = 0;
                // It ends also if something fails.
                while at < 60_000 && !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // Three at once: a copy has all of them or none.
                    let batch = [1, 2, 3].map(|n| enqueued(1, at + n, &message("t", &[7; 500])));
                    store.commit(&[&batch]).expect("it is written");
                    at += 3;
                }
                at
            });
            let mut last = 0;
            for _ in 0..5 {
                let snapshot = Snapshot::take(&path).expect("a copy");
                assert!(snapshot.in_use_by().is_some());
                let count = entries(snapshot.dir());
                assert!(count >= last && count.is_multiple_of(3), "{count} after {last}");
                last = count;
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            writer.join().expect("it writes")
        });
        let snapshot = Snapshot::take(&path).expect("a copy");
        assert_eq!(entries(snapshot.dir()) as u64, written);
        let copy = snapshot.dir().to_owned();
        drop(snapshot);
        assert!(!copy.exists());
    }

    #[test]
    fn what_a_killed_tool_left_is_removed_and_no_more() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("store");
        drop(EmbeddedStore::open(EmbeddedOptions::new(&path)).expect("it opens"));
        // No process has so large an id.
        let old = dir.path().join("store.copy-4294967295");
        let other = dir.path().join("store.copy-of-mine");
        fs::create_dir(&old).expect("a folder");
        fs::create_dir(&other).expect("a folder");
        let snapshot = Snapshot::take(&path).expect("a copy");
        assert_eq!(snapshot.in_use_by(), None);
        assert_eq!((old.exists(), other.exists()), (false, true));
    }

    #[test]
    fn where_no_store_is_none_is_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = Snapshot::take(dir.path()).expect_err("there is none");
        assert_eq!(error.kind, ErrorKind::Missing);
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }
}
