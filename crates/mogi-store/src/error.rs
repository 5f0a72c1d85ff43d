//! Why a store cannot do what it is asked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What kind of trouble it is, and so who can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The disk or the quota is full.
    Full,
    /// It may not be written.
    ReadOnly,
    /// The device or the file system reports an error.
    Io,
    /// Another process has it open.
    Locked,
    /// What stands there cannot be read.
    Damaged,
    /// A later version of mogi wrote it.
    TooNew,
    /// There is no store.
    Missing,
    /// It changed again and again while it was copied.
    Changing,
    /// It is elsewhere, and does not answer or refuses.
    Unreachable,
    /// A migration to it was not finished.
    Unfinished,
    /// It is elsewhere, and lacks what it is asked for.
    Unable,
}

/// What could not be done, where, why, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// The kind.
    pub kind: ErrorKind,
    /// The file or folder.
    pub path: PathBuf,
    /// What could not be done, and why, in words.
    pub what: String,
}

impl StoreError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, path: &Path, what: impl Into<String>) -> Self {
        Self { kind, path: path.to_owned(), what: what.into() }
    }

    /// The error of an operation of the operating system.
    pub(crate) fn io(path: &Path, doing: &str, error: &io::Error) -> Self {
        Self::new(io_kind(error), path, format!("cannot {doing}: {error}"))
    }

    /// What to do about it.
    pub const fn advice(&self) -> &'static str {
        match self.kind {
            ErrorKind::Full => "make room on this file system; the broker goes on by itself then",
            ErrorKind::ReadOnly => {
                "make it writable for the broker's user; the broker goes on by itself then"
            }
            ErrorKind::Io => "look for disk errors in the system's log",
            ErrorKind::Locked => "end the other broker, or give this one a directory of its own",
            ErrorKind::Damaged => "set it aside by renaming it, or restore a copy",
            ErrorKind::TooNew => "run that version of mogi or a later one",
            ErrorKind::Missing => "name the folder a broker with --data-dir or persistence keeps",
            ErrorKind::Changing => "try again when the broker has less to do, or has ended",
            ErrorKind::Unreachable => {
                "see that it runs, and that address and login are right; the broker goes on by \
                 itself then"
            }
            ErrorKind::Unfinished => {
                "run 'mogi store migrate' again to finish it, or remove what is there"
            }
            ErrorKind::Unable => "change it there, or take the option out",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.path.display(), self.what, self.advice())
    }
}

impl std::error::Error for StoreError {}

pub(crate) fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => ErrorKind::ReadOnly,
        _ => ErrorKind::Io,
    }
}
