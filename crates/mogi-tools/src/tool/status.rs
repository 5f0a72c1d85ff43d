//! How far a long send is: a line on the terminal that is written over and over.
//!
//! ```text
//! 48210 sent, 48190 acknowledged, 20 in flight, 16070 per second
//! ```
//! Only where the standard error is a terminal; scripts and files never see it.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two refreshes.
const EVERY: Duration = Duration::from_millis(200);

/// Counts what is sent, and shows it where somebody looks.
#[derive(Debug)]
pub(crate) struct Status {
    shown: bool,
    began: Instant,
    refreshed: Option<Instant>,
    sent: u64,
    acknowledged: u64,
    failed: u64,
    /// Whether messages are acknowledged at all.
    acknowledges: bool,
}

impl Status {
    /// `long`: many messages are to be expected.
    pub(crate) fn new(long: bool, acknowledges: bool) -> Self {
        Self {
            shown: long && io::stderr().is_terminal(),
            began: Instant::now(),
            refreshed: None,
            sent: 0,
            acknowledged: 0,
            failed: 0,
            acknowledges,
        }
    }

    pub(crate) const fn sent(&mut self) {
        self.sent += 1;
    }

    pub(crate) const fn acknowledged(&mut self) {
        self.acknowledged += 1;
    }

    /// The broker refused the message.
    pub(crate) const fn failed(&mut self) {
        self.failed += 1;
    }

    /// Whether [`Self::refresh`] wants to be called now and then.
    pub(crate) const fn is_shown(&self) -> bool {
        self.shown
    }

    /// How often.
    pub(crate) const fn every_ms(&self) -> u64 {
        EVERY.as_millis() as u64
    }

    /// Writes the line, if it is time for that.
    pub(crate) fn refresh(&mut self) {
        if !self.shown {
            return;
        }
        let now = Instant::now();
        let last = self.refreshed.unwrap_or(self.began);
        if now.duration_since(last) < EVERY {
            return;
        }
        self.refreshed = Some(now);
        let line = self.line(now.duration_since(self.began));
        let _ = write!(io::stderr().lock(), "\r\x1B[K{line}");
    }

    /// Takes the line away, before something else is printed.
    pub(crate) fn clear(&mut self) {
        if self.refreshed.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1B[K");
        }
    }

    /// Writes the last line, which stays.
    pub(crate) fn summary(&mut self) {
        self.clear();
        if self.shown {
            let took = self.began.elapsed();
            let line = self.line(took);
            let _ = writeln!(io::stderr().lock(), "{line}, in {:.1} s", took.as_secs_f64());
        }
    }

    fn line(&self, took: Duration) -> String {
        let mut line = format!("{} sent", self.sent);
        if self.acknowledges {
            let waiting = self.sent - self.acknowledged;
            line += &format!(", {} acknowledged, {waiting} in flight", self.acknowledged);
        }
        if self.failed > 0 {
            line += &format!(", {} refused", self.failed);
        }
        let per_second = self.sent as f64 / took.as_secs_f64().max(0.001);
        line + &format!(", {per_second:.0} per second")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_there_is_to_say() {
        let mut status = Status::new(true, true);
        for _ in 0..30 {
            status.sent();
        }
        for _ in 0..20 {
            status.acknowledged();
        }
        let two = Duration::from_secs(2);
        let line = "30 sent, 20 acknowledged, 10 in flight, 15 per second";
        assert_eq!(status.line(two), line);
        status.failed();
        assert!(status.line(two).contains(", 1 refused,"));
        let mut status = Status::new(true, false);
        status.sent();
        assert_eq!(status.line(two), "1 sent, 0 per second");
    }
}
