//! What can be wrong with a file, or with what is to be written to one.

use super::VERSION;
use std::fmt;

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DbError {
    /// It does not begin as a `mosquitto.db` does.
    NotADatabase,
    /// It is of another version of the format.
    Version(u32),
    /// It begins well, and this is wrong with it. [`read_lossy`](super::read_lossy) takes the
    /// rest.
    Damaged(Damage),
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADatabase => f.write_str("this is no mosquitto.db: its first bytes differ"),
            Self::Version(old @ 2..VERSION) => write!(
                f,
                "format version {old}, which Mosquitto wrote before 2.0; start Mosquitto 2 with \
                 this file and stop it again: it writes version {VERSION}, which can be read here"
            ),
            Self::Version(version) => write!(
                f,
                "format version {version}, which no known Mosquitto writes; 2.0 and 2.1 write \
                 version {VERSION}"
            ),
            Self::Damaged(damage) => damage.fmt(f),
        }
    }
}

impl std::error::Error for DbError {}

/// A chunk that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where the chunk begins, in bytes from the file's beginning.
    pub offset: usize,
    /// What kind of chunk it is.
    pub chunk: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}, {} chunk: {}", self.offset, self.chunk, self.what)
    }
}

/// Something that the format cannot say, or that Mosquitto would stumble over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteError {
    /// Which message, client or subscription.
    pub record: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be written to a mosquitto.db: {}", self.record, self.what)
    }
}

impl std::error::Error for WriteError {}
