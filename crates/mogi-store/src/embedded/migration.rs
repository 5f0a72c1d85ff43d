//! A note in the store's folder: what stands there is not complete yet.

use super::snapshot;
use crate::error::{ErrorKind, StoreError};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The file whose text says where the state comes from.
const NOTE: &str = "migrating";

/// Where the state in this folder comes from, if `mogi store migrate` has not brought all of it.
///
/// # Errors
/// If the operating system refuses.
pub fn migrating(dir: &Path) -> Result<Option<String>, StoreError> {
    let path = dir.join(NOTE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(&path, "read it", &error)),
    }
}

/// Refuses a folder in which a migration was not finished.
///
/// # Errors
/// [`ErrorKind::Unfinished`] then, or the operating system refuses.
pub fn refuse_unfinished(dir: &Path) -> Result<(), StoreError> {
    match migrating(dir)? {
        None => Ok(()),
        Some(from) => {
            let what = format!("what was migrated from {from} is not complete");
            Err(StoreError::new(ErrorKind::Unfinished, dir, what))
        }
    }
}

/// Says that what is there is not all there is in `from`, before anything is.
///
/// # Errors
/// If the operating system refuses.
pub fn begin_migration(dir: &Path, from: &str) -> Result<(), StoreError> {
    let path = dir.join(NOTE);
    let write = || {
        let mut file = File::create(&path)?;
        writeln!(file, "{from}")?;
        file.sync_all()?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|error| StoreError::io(&path, "write it", &error))
}

/// Says that it is.
///
/// # Errors
/// If the operating system refuses.
pub fn end_migration(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(NOTE);
    let removed = fs::remove_file(&path).and_then(|()| File::open(dir)?.sync_all());
    removed.map_err(|error| StoreError::io(&path, "remove it", &error))
}

/// The process that has the store open, by its id or in words.
pub fn in_use_by(dir: &Path) -> Option<String> {
    snapshot::user(dir)
}
