//! Waking a poll more finely than the milliseconds its own timeout knows.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// A timer that raises an event.
pub(super) struct Timer(TimerFd);

impl Timer {
    /// A timer that reports to `registry` as `token`.
    ///
    /// # Errors
    /// When the system has no timer to give.
    pub(super) fn new(registry: &Registry, token: Token) -> Result<Self, String> {
        let say = |err: &dyn std::fmt::Display| format!("cannot create a timer: {err}");
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).map_err(|err| say(&err))?;
        let fd = timer.as_fd().as_raw_fd();
        registry
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
            .map_err(|err| say(&err))?;
        Ok(Self(timer))
    }

    /// Raises an event after `wait`, instead of whatever was set before.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn set(&self, wait: Duration) -> Result<(), String> {
        // Zero would disarm it.
        let wait = TimeSpec::from_duration(wait.max(Duration::from_nanos(1)));
        self.0
            .set(Expiration::OneShot(wait), TimerSetTimeFlags::empty())
            .map_err(|err| format!("cannot set a timer: {err}"))
    }
}
