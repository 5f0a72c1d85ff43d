//! What a TLS session of OpenSSL reads and writes instead of a socket.

use std::io::{self, ErrorKind, Read, Write};

/// Bytes from a peer that are still to be read, and bytes for it.
#[derive(Debug, Default)]
pub struct Pipe {
    /// What has come from the peer.
    pub input: Vec<u8>,
    /// How much of that was read.
    pub read: usize,
    /// What is to go there.
    pub output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.input[self.read..];
        if rest.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.read += len;
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
