//! SIGINT and SIGTERM, for `sub`: it says goodbye to the broker first.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The signals as a file descriptor that can be waited for.
#[derive(Debug)]
pub(crate) struct Signals {
    receiver: UnixStream,
    /// Whether a signal ends the process by itself.
    at_once: Arc<AtomicBool>,
}

impl Signals {
    /// Begins. Until [`Self::connected`] is called, a signal ends the process at once with this
    /// code, since opening a connection cannot be interrupted. So does a second signal, for
    /// those who do not want to wait for the broker.
    ///
    /// # Errors
    /// The system refused.
    pub(crate) fn catch(exit_code: i32) -> io::Result<Self> {
        let (receiver, sender) = UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        let at_once = Arc::new(AtomicBool::new(true));
        for signal in [SIGINT, SIGTERM] {
            // They act in this order.
            flag::register_conditional_shutdown(signal, exit_code, Arc::clone(&at_once))?;
            flag::register(signal, Arc::clone(&at_once))?;
            low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Self { receiver, at_once })
    }

    /// From now on a signal is told.
    pub(crate) fn connected(&self) {
        self.at_once.store(false, Ordering::SeqCst);
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
