//! What the log needs of a file system, so that tests can put a failing one in its place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

/// The folder of the log.
pub(crate) trait Disk: Send {
    /// The names of all files; none if there is no folder.
    fn list(&self) -> io::Result<Vec<String>>;

    /// All of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Opens a file to write to it; makes it, and its name durable, if it is not there.
    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>>;

    /// Removes a file. Nobody relies on that being durable.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// An open file.
pub(crate) trait LogFile: Send {
    /// Writes at this place, and tells how much of it.
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<usize>;

    /// Makes what was written durable (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
}

/// The real one.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(name))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let path = self.0.join(name);
        if !self.0.exists() {
            DirBuilder::new().mode(0o700).create(&self.0)?;
            File::open(self.0.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()?;
        }
        let is_new = !path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        if is_new {
            self.sync()?;
        }
        Ok(Box::new(Real(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }
}

struct Real(File);

impl LogFile for Real {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.0.write_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}
