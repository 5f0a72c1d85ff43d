//! A timer that makes a readiness loop wake up.
//!
//! Waiting with a time-out would have the kernel arm and disarm a timer at every turn. This one is
//! armed when the next deadline comes nearer, and otherwise left alone: waking once too often costs
//! less than arming thousands of times.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// An alarm of one loop.
pub(crate) struct Alarm {
    timer: TimerFd,
    /// When it will ring, on the process's clock.
    at_ms: Option<u64>,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self { timer, at_ms: None })
    }

    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let fd = self.timer.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
    }

    /// Makes it ring at `at_ms` at the latest; `false` if that is not in the future, or the system
    /// does not let it.
    pub(crate) fn set(&mut self, at_ms: u64, now_ms: u64) -> bool {
        if self.at_ms.is_some_and(|armed_ms| armed_ms <= at_ms && armed_ms > now_ms) {
            return true;
        }
        if at_ms <= now_ms {
            return false;
        }
        // A millisecond more than the difference: waking early would only mean waking again.
        let wait = Duration::from_millis(at_ms - now_ms + 1);
        let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.at_ms = Some(at_ms);
        self.timer.set(expiration, TimerSetTimeFlags::empty()).is_ok()
    }

    /// It rang: it has to be set again.
    pub(crate) fn rang(&mut self) {
        self.at_ms = None;
        // Reading makes it ready to ring again; there is nothing to read after a spurious event.
        let _ = self.timer.wait();
    }
}
