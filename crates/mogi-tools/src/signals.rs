//! SIGINT and SIGTERM, for `sub`: it says goodbye to the broker first.

use nix::sys::signal::{SigSet, Signal};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Turns the signals into a file descriptor that can be waited for.
///
/// A thread waits for them, because a handler would have to be `unsafe`.
#[derive(Debug)]
pub(crate) struct Signals {
    receiver: UnixStream,
    connected: Arc<AtomicBool>,
}

impl Signals {
    /// Begins. Until [`Self::connected`] is called, a signal ends the process at once, since
    /// opening a connection cannot be interrupted.
    ///
    /// # Errors
    /// The system refused.
    pub(crate) fn catch(exit_code: i32) -> std::io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        // Threads inherit this, so that none but the one below gets them.
        set.thread_block()?;
        let (receiver, mut sender) = UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        let connected = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&connected);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let mut caught = 0;
                while set.wait().is_ok() {
                    caught += 1;
                    // The second one is for those who do not want to wait for the broker.
                    if caught > 1 || !seen.load(Ordering::SeqCst) {
                        std::process::exit(exit_code);
                    }
                    if sender.write_all(&[0]).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            receiver,
            connected,
        })
    }

    /// From now on a signal is told.
    pub(crate) fn connected(&self) {
        self.connected.store(true, Ordering::SeqCst);
    }

    /// Whether one arrived.
    pub(crate) fn arrived(&self) -> bool {
        let mut byte = [0];
        matches!((&self.receiver).read(&mut byte), Ok(1))
    }

    /// Can be read when one arrived.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}
