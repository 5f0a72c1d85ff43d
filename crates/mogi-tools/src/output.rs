//! The standard output: collected, and written when there is nothing more to do.

use std::io::{self, ErrorKind, Write};

/// Bytes that are collected before they are written.
const COLLECTED_MAX: usize = 64 * 1024;

/// The standard output of a tool that prints messages.
#[derive(Debug, Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
    /// Why nothing can be printed any more.
    failed: Option<io::Error>,
}

impl Output {
    /// Where to append what is to be printed.
    pub(crate) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(crate) fn line(&mut self, line: &str) {
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.push(b'\n');
    }

    /// Writes if much is collected.
    pub(crate) fn relieve(&mut self) {
        if self.buffer.len() >= COLLECTED_MAX {
            self.flush();
        }
    }

    /// Writes everything.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() || self.failed.is_some() {
            return;
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.failed = written.err();
        self.buffer.clear();
        // One large message is no reason to keep its memory.
        self.buffer.shrink_to(COLLECTED_MAX * 2);
    }

    /// Whether the reader of the standard output is gone, or the disk is full: then there is
    /// no reason to go on. Says so once, unless it is a reader who has seen enough (`| head`).
    pub(crate) fn has_failed(&mut self) -> bool {
        let Some(error) = &self.failed else {
            return false;
        };
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("Error: cannot write to the standard output: {error}");
        }
        true
    }
}

/// Prints a text at once. A reader who went away is no error.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}
