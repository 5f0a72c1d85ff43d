//! Connections: how fast they come and go, and what an idle one costs.

use super::cost::{Mark, rss};
use super::dial::{Dialed, Net, Spec};
use super::frames::DISCONNECT;
use super::link::Link;
use super::options::Options;
use super::report::Report;
use hdrhistogram::Histogram;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::time::{Duration, Instant};

/// Descriptors this process needs beside its connections.
pub(super) const OTHER_FILES: u64 = 32;

/// Connects `options.clients` clients and disconnects them, again and again for the duration; or,
/// where they are to be held, once.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn run(options: &Options, net: &mut Net) -> Result<Report, String> {
    raise_file_limit(u64::from(options.clients) + OTHER_FILES)?;
    let specs: Vec<_> = (0..options.clients)
        .map(|i| Spec {
            client_id: format!("mogi-bench-{}-c{i}", std::process::id()),
            ..Spec::default()
        })
        .collect();
    let mut report = Report::new(options, "connect");
    report.items = options.hold.map(|_| options.clients);
    let before = Mark::now(options)?;
    let mut latency = Histogram::new_with_bounds(1000, 60_000_000_000, 3)
        .map_err(|err| format!("cannot make a histogram: {err}"))?;
    let mut connections = 0;
    let mut dialed;
    loop {
        dialed = net.dial_all(&specs)?;
        connections += dialed.len() as u64;
        for client in &dialed {
            let ns = u64::try_from(client.connect_time.as_nanos()).unwrap_or(u64::MAX);
            latency.saturating_record(ns);
        }
        if options.hold.is_some() {
            break;
        }
        hang_up(std::mem::take(&mut dialed));
        if before.at.elapsed() >= options.duration {
            break;
        }
    }
    report.measured = Mark::now(options)?.since(before, (0, connections));
    report.set_latency(&latency);
    report.rss_before = before.broker.map(|usage| usage.rss_bytes);
    if let Some(hold) = options.hold {
        report.disconnected = keep(net, &mut dialed, hold)?;
    }
    report.rss_ready = rss(options)?;
    report.rss = report.rss_ready;
    hang_up(dialed);
    Ok(report)
}

/// Keeps the connections for that long, and says how many the broker closed.
fn keep(net: &mut Net, dialed: &mut [Dialed], hold: Duration) -> Result<u64, String> {
    let until = Instant::now() + hold;
    let mut closed = 0;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(closed);
        }
        net.wait(Some(left))?;
        for event in &net.events {
            closed += u64::from(event.is_read_closed() && event.token().0 < dialed.len());
        }
    }
}

fn hang_up(dialed: Vec<Dialed>) {
    for Dialed { link, .. } in dialed {
        let mut link: Link = link;
        link.out.extend_from_slice(&DISCONNECT);
        // Whether the broker still listens does not matter any more.
        let _ = link.flush();
    }
}

/// Sees to it that so many files may be open.
///
/// # Errors
/// When the hard limit is below.
pub(super) fn raise_file_limit(wanted: u64) -> Result<(), String> {
    let limit = Resource::RLIMIT_NOFILE;
    let say = |err: nix::Error| format!("cannot change the limit of open files: {err}");
    let (soft, hard) = getrlimit(limit).map_err(say)?;
    if wanted <= soft {
        return Ok(());
    }
    setrlimit(limit, wanted, hard.max(wanted))
        .map_err(|_| format!("{wanted} open files are needed and {hard} allowed (ulimit -Hn)"))
}
