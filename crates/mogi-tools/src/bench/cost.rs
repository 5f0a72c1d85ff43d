//! What a piece of work costs the broker and the generator.

use super::options::Options;
use super::procfs::{self, Usage};
use super::report::Measured;
use std::time::Instant;

/// What both had used at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) at: Instant,
    pub(super) broker: Option<Usage>,
    own: Usage,
}

impl Mark {
    /// Now.
    ///
    /// # Errors
    /// When the broker's usage cannot be read.
    pub(super) fn now(options: &Options) -> Result<Self, String> {
        let broker = broker_usage(options)?;
        Ok(Self { at: Instant::now(), broker, own: procfs::own_usage() })
    }

    /// What was used since `earlier`, for so many messages published and delivered.
    pub(super) fn since(self, earlier: Self, (published, delivered): (u64, u64)) -> Measured {
        let broker = self.broker.zip(earlier.broker);
        let written = |usage: Usage| usage.written_bytes;
        Measured {
            seconds: (self.at - earlier.at).as_secs_f64(),
            published,
            delivered,
            broker_cpu_s: broker.map(|(to, from)| to.cpu_s - from.cpu_s),
            broker_written: broker
                .and_then(|(to, from)| written(to).zip(written(from)))
                .map(|(to, from)| to.saturating_sub(from)),
            generator_cpu_s: self.own.cpu_s - earlier.own.cpu_s,
        }
    }
}

/// What `work`, which says how many were published and delivered, costs.
///
/// # Errors
/// Those of the work, and when the broker's usage cannot be read.
pub(super) fn measure(
    options: &Options,
    work: impl FnOnce() -> Result<(u64, u64), String>,
) -> Result<Measured, String> {
    let before = Mark::now(options)?;
    let counts = work()?;
    Ok(Mark::now(options)?.since(before, counts))
}

/// What the broker has used, when its pid is known.
///
/// # Errors
/// When there is no such process.
pub(super) fn broker_usage(options: &Options) -> Result<Option<Usage>, String> {
    options
        .broker_pid
        .map(|pid| procfs::usage(pid).map_err(|err| format!("--broker-pid: {err}")))
        .transpose()
}

/// The broker's resident set in bytes, when its pid is known.
///
/// # Errors
/// When there is no such process.
pub(super) fn rss(options: &Options) -> Result<Option<u64>, String> {
    Ok(broker_usage(options)?.map(|usage| usage.rss_bytes))
}
