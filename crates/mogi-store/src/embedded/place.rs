//! The directory: who has it, and what stands in it.
//!
//! ```text
//!  DIR/lock      held as long as a broker has it open; its process id stands in it
//!  DIR/format    the version of all this, and the seed of long keys
//!  DIR/data/     fjall's
//!  DIR/log/      what is not in there yet
//!  DIR/damaged-<time>/, DIR/data.damaged-<time>/      what was set aside
//! ```

use crate::clock::now_ms;
use crate::error::{ErrorKind, StoreError};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The version this code writes; it reads this one and earlier ones.
const FORMAT: u32 = 2;

pub(super) const FORMAT_FILE: &str = "format";
pub(super) const LOCK: &str = "lock";
pub(super) const DATA: &str = "data";
pub(super) const LOG: &str = "log";
pub(super) const NEW_DATA: &str = "data.new";
const FIRST_DATA: &str = "data.first";

/// A directory that is ours until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    /// What long keys are hashed with.
    pub(super) seed: u64,
    _lock: File,
}

impl Place {
    /// Makes the directory if it is not there, and takes it.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let doing = |what: &'static str| move |error| StoreError::io(dir, what, &error);
        // What people send each other stands in it.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(doing("make this directory"))?;
        let lock = take_lock(dir)?;
        let seed = match read_format(dir)? {
            Some((FORMAT, seed)) => seed,
            // An earlier one: an earlier mogi must not open it any more, as it knows no log.
            Some((_, seed)) => write_format(dir, seed)?,
            None => write_format(dir, RandomState::new().hash_one(now_ms()))?,
        };
        let place = Self { dir: dir.to_owned(), seed, _lock: lock };
        // Between the two renames of a repair: the new one is whole.
        if !place.data().exists() && place.new_data().exists() {
            place.finish_new_data()?;
        }
        Ok(place)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where fjall's files are.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    /// Renames fjall's directory, so that a new one can be started.
    pub(super) fn set_data_aside(&self) -> Result<PathBuf, StoreError> {
        let data = self.data();
        let aside = self.unused(&format!("data.damaged-{}", now_ms()));
        let failed = |error| StoreError::io(&data, "set this damaged store aside", &error);
        fs::rename(&data, &aside).map_err(failed)?;
        Ok(aside)
    }

    /// The names of fjall's journals.
    pub(super) fn journals(&self) -> std::io::Result<Vec<PathBuf>> {
        let paths = fs::read_dir(self.data())?.map(|entry| Ok(entry?.path()));
        let is_journal = |path: &PathBuf| path.extension().is_some_and(|it| it == "jnl");
        paths.filter(|path| path.as_ref().map_or(true, is_journal)).collect()
    }

    /// Makes room for a new `data` that is put together while the old one is still in its place.
    pub(super) fn begin_new_data(&self) -> Result<PathBuf, StoreError> {
        emptied(self.new_data())
    }

    /// Puts the new `data` in its place.
    pub(super) fn finish_new_data(&self) -> Result<(), StoreError> {
        self.name_data(&self.new_data())
    }

    /// Makes room for the first `data`. What is left of it when that fails counts for nothing.
    pub(super) fn begin_first_data(&self) -> Result<PathBuf, StoreError> {
        emptied(self.dir.join(FIRST_DATA))
    }

    /// Puts the first `data` in its place.
    pub(super) fn finish_first_data(&self) -> Result<(), StoreError> {
        self.name_data(&self.dir.join(FIRST_DATA))
    }

    fn name_data(&self, path: &Path) -> Result<(), StoreError> {
        let failed = |error| StoreError::io(path, "put this new store in its place", &error);
        let rename = || {
            fs::rename(path, self.data())?;
            File::open(&self.dir)?.sync_all()
        };
        rename().map_err(failed)
    }

    fn new_data(&self) -> PathBuf {
        self.dir.join(NEW_DATA)
    }

    /// A new directory for damaged parts.
    pub(super) fn make_aside(&self) -> Result<PathBuf, StoreError> {
        let aside = self.unused(&format!("damaged-{}", now_ms()));
        let failed = |error| StoreError::io(&aside, "make this directory", &error);
        fs::create_dir(&aside).map_err(failed)?;
        Ok(aside)
    }

    /// Bytes in all files, as the file system counts them.
    pub(super) fn disk_bytes(&self) -> u64 {
        disk_bytes(&self.data()) + disk_bytes(&self.dir.join(LOG))
    }

    /// Writes a little and takes it away, to learn what the operating system says to that.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        let path = self.dir.join("probe");
        let failed = |error| StoreError::io(&self.dir, "write", &error);
        let result = File::create(&path)
            .and_then(|mut file| file.write_all(&[0; 8192]).and_then(|()| file.sync_data()));
        // It may not be there, and nobody misses it.
        let _ = fs::remove_file(&path);
        result.map_err(failed)
    }

    fn unused(&self, name: &str) -> PathBuf {
        let mut path = self.dir.join(name);
        for count in 2.. {
            if !path.exists() {
                break;
            }
            path = self.dir.join(format!("{name}-{count}"));
        }
        path
    }
}

fn emptied(path: PathBuf) -> Result<PathBuf, StoreError> {
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io(&path, "remove what an earlier attempt left", &error))
        }
        _ => Ok(path),
    }
}

fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let failed = |error| StoreError::io(&path, "open the lock file", &error);
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
    let mut file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // It is for people only.
            let _ = file.read_to_string(&mut pid);
            let who = match pid.trim() {
                "" => "another process".to_owned(),
                pid => format!("process {pid}"),
            };
            return Err(StoreError::new(ErrorKind::Locked, dir, format!("{who} has it open")));
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::io(&path, "lock it", &error)),
    }
    // For people too: a full disk is no reason not to start.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Reads the `format` file: the version and the seed; `None`: there is none.
pub(super) fn read_format(dir: &Path) -> Result<Option<(u32, u64)>, StoreError> {
    let path = dir.join(FORMAT_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io(&path, "read it", &error)),
    };
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("mogi-store "));
    let version = version.and_then(|it| it.parse::<u32>().ok());
    let seed = lines.next().and_then(|line| line.strip_prefix("seed "));
    let seed = seed.and_then(|it| u64::from_str_radix(it, 16).ok());
    match (version, seed) {
        (Some(version), _) if version > FORMAT => {
            let what = format!("it has format {version}, and this mogi reads up to {FORMAT}");
            Err(StoreError::new(ErrorKind::TooNew, dir, what))
        }
        (Some(version), Some(seed)) => Ok(Some((version, seed))),
        _ => {
            let what = "this is no format file of mogi";
            Err(StoreError::new(ErrorKind::Damaged, &path, what))
        }
    }
}

fn write_format(dir: &Path, seed: u64) -> Result<u64, StoreError> {
    let path = dir.join(FORMAT_FILE);
    let failed = |error| StoreError::io(&path, "write it", &error);
    let new = dir.join("format.new");
    let write = || {
        let mut file = File::create(&new)?;
        write!(file, "mogi-store {FORMAT}\nseed {seed:016x}\n")?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(failed)?;
    Ok(seed)
}

pub(super) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => allocated(&metadata),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    // Journals are long before they are full: only blocks that are written count.
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}
