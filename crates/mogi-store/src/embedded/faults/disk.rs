//! A disk in memory that loses what was not synced when the power fails, and fails in other ways.

use crate::embedded::log::disk::{Disk, LogFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is written to a device at once.
const SECTOR: usize = 512;

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Faulty(Arc<Mutex<State>>);

/// How often something fails, of 100.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Odds {
    pub(super) short_write: u64,
    pub(super) torn_write: u64,
    pub(super) full: u64,
    pub(super) sync: u64,
    pub(super) open: u64,
    pub(super) read: u64,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    /// Removed, but a power failure may bring them back.
    removed: BTreeMap<String, File>,
    odds: Odds,
    random: u64,
    /// Nothing works any more: the process is gone.
    dead: bool,
}

#[derive(Clone, Default)]
struct File {
    /// What a read gives.
    cache: Vec<u8>,
    /// What is on the device.
    device: Vec<u8>,
    /// Where the page cache is to be written back.
    dirty: Vec<(usize, usize)>,
}

impl Faulty {
    pub(super) fn new(seed: u64) -> Self {
        let disk = Self::default();
        disk.state().random = seed | 1;
        disk
    }

    pub(super) fn set_odds(&self, odds: Odds) {
        self.state().odds = odds;
    }

    /// The process is gone: nothing it does from now on counts.
    pub(super) fn kill(&self) {
        self.state().dead = true;
    }

    /// A new process finds what the page cache has.
    pub(super) fn revive(&self) {
        self.state().dead = false;
    }

    /// The power failed: of what was not synced, any part may be there.
    pub(super) fn lose_power(&self) {
        let mut state = self.state();
        for (name, file) in std::mem::take(&mut state.removed) {
            if state.chance(50) {
                state.files.entry(name).or_insert(file);
            }
        }
        let mut files = std::mem::take(&mut state.files);
        for file in files.values_mut() {
            let kept = state.below(101);
            state.write_back(file, kept);
            file.cache = file.device.clone();
        }
        state.files = files;
    }

    /// The first sector of every file cannot be read any more as it was written.
    pub(super) fn damage(&self) {
        for file in self.state().files.values_mut() {
            let end = SECTOR.min(file.cache.len());
            file.cache[..end].fill(0xEE);
        }
    }

    /// A folder for a store to open.
    pub(super) fn folder(&self) -> Box<dyn Disk> {
        Box::new(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Xorshift: any seed gives the same run again.
    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the process is gone")) } else { Ok(()) }
    }

    /// Writes so many percent of the dirty sectors to the device, some of them as garbage.
    fn write_back(&mut self, file: &mut File, percent: u64) {
        for (from, to) in std::mem::take(&mut file.dirty) {
            for at in (from / SECTOR * SECTOR..to).step_by(SECTOR) {
                let (from, to) = (at.max(from), (at + SECTOR).min(to));
                if file.device.len() < to {
                    // The length is known before the data is there.
                    file.device.resize(to, 0);
                }
                if self.chance(percent) {
                    file.device[from..to].copy_from_slice(&file.cache[from..to]);
                } else if self.chance(10) {
                    let garbage = self.below(256) as u8;
                    file.device[from..to].fill(garbage);
                }
            }
        }
    }
}

impl Disk for Faulty {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        let percent = state.odds.read;
        if state.chance(percent) {
            return Err(io::Error::other("it cannot be read"));
        }
        let file = state.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.cache.clone())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let mut state = self.state();
        state.alive()?;
        let percent = state.odds.open;
        if state.chance(percent) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if !state.files.contains_key(name) {
            // Its name is durable, and so no other of the name comes back.
            state.removed.remove(name);
            state.files.insert(name.to_owned(), File::default());
        }
        drop(state);
        Ok(Box::new(Handle { disk: self.clone(), name: name.to_owned() }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let file = state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.removed.insert(name.to_owned(), file);
        Ok(())
    }
}

struct Handle {
    disk: Faulty,
    name: String,
}

impl Handle {
    /// Runs something on the file, which may be gone.
    fn with<T>(&self, run: impl FnOnce(&mut State, &mut File) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        state.alive()?;
        let mut file = state.files.remove(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let result = run(&mut state, &mut file);
        state.files.insert(self.name.clone(), file);
        result
    }
}

impl LogFile for Handle {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.with(|state, file| {
            let Odds { short_write, torn_write, full, .. } = state.odds;
            let at = at as usize;
            let part = state.below(bytes.len() as u64 + 1) as usize;
            let (len, result) = if state.chance(short_write) {
                (part.max(1), Ok(part.max(1)))
            } else if state.chance(torn_write) {
                (part, Err(io::Error::other("the device reports an error")))
            } else if state.chance(full) {
                (part, Err(io::ErrorKind::StorageFull.into()))
            } else {
                (bytes.len(), Ok(bytes.len()))
            };
            if file.cache.len() < at + len {
                file.cache.resize(at + len, 0);
            }
            file.cache[at..at + len].copy_from_slice(&bytes[..len]);
            file.dirty.push((at, at + len));
            result
        })
    }

    /// One that fails writes a part, and forgets the rest: the next one has nothing to do.
    fn sync(&mut self) -> io::Result<()> {
        self.with(|state, file| {
            let percent = state.odds.sync;
            if state.chance(percent) {
                let kept = state.below(100);
                state.write_back(file, kept);
                return Err(io::Error::other("the device reports an error"));
            }
            state.write_back(file, 100);
            Ok(())
        })
    }
}
