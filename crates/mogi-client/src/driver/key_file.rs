//! The secrets of TLS sessions, for whoever looks into a recording (`--tls-keylog`).

use rustls::KeyLog;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that gets a line for each secret, in the format of NSS, which Wireshark reads.
#[derive(Debug)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// # Errors
    /// Nothing can be appended to the file.
    pub fn new(path: &Path) -> io::Result<Self> {
        open(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl KeyLog for KeyFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        // Opened anew, so that it may be taken away meanwhile. A session does not end over this.
        let _ = open(&self.0).and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// Whoever has it can read what was sent.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
