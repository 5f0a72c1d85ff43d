//! Files for browsers (`http_dir`), beside the WebSocket of the same listener.

use mogi_transport::upgrade;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a file that are read at once.
const PART_BYTES: usize = 16 * 1024;

/// What a folder is asked for when its name is.
const INDEX: &str = "index.html";

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct FileAnswer {
    head: Option<Vec<u8>>,
    file: Option<File>,
    /// Bytes of the file still to be sent: as many as were announced, whatever becomes of it.
    left: u64,
}

impl FileAnswer {
    /// The answer to a request for `path`, which begins with `/` and does not lead upwards.
    pub(crate) fn open(folder: Option<&Path>, path: &str, head_only: bool) -> Self {
        let Some((file, name, len)) = folder.and_then(|folder| open(folder, path)) else {
            return Self { head: Some(upgrade::not_found()), file: None, left: 0 };
        };
        let left = if head_only { 0 } else { len };
        Self { head: Some(upgrade::file_head(&name, len)), file: Some(file), left }
    }

    /// The next bytes to send; `None`: that was all.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub(crate) fn next_part(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        let Some(file) = self.file.as_mut().filter(|_| self.left > 0) else {
            return Ok(None);
        };
        let wanted = usize::try_from(self.left).map_or(PART_BYTES, |left| left.min(PART_BYTES));
        let mut part = vec![0; wanted];
        file.read_exact(&mut part)?;
        self.left -= wanted as u64;
        Ok(Some(part))
    }
}

/// A regular file within the folder, links followed: its name and length too.
fn open(folder: &Path, path: &str) -> Option<(File, String, u64)> {
    let mut relative = path.trim_start_matches('/').to_owned();
    if relative.is_empty() || relative.ends_with('/') {
        relative.push_str(INDEX);
    }
    let whole = folder.join(&relative).canonicalize().ok()?;
    // A link may lead elsewhere within the folder, but not out of it.
    if !whole.starts_with(folder.canonicalize().ok()?) {
        return None;
    }
    // Judged before it is opened: a pipe would keep whoever opens it waiting.
    if !whole.metadata().ok()?.is_file() {
        return None;
    }
    let file = File::open(&whole).ok()?;
    let len = file.metadata().ok()?.len();
    Some((file, relative, len))
}
