//! Sessions that outlive their connections: making many, leaving them, and removing them.

use super::cost::{measure, rss};
use super::dial::{Dialed, Net, Spec};
use super::frames::{DISCONNECT, Terms};
use super::link::Link;
use super::options::Options;
use super::report::Report;
use std::time::{Duration, Instant};

/// How long a broker may take to close connections that said goodbye.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sessions removed at a time.
const BATCH: usize = 500;

/// Makes `options.items` lasting sessions with `options.filters` subscriptions each, and leaves
/// them behind.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn run(options: &Options, net: &mut Net) -> Result<Report, String> {
    let mut report = Report::new(options, "sessions");
    report.rss_before = rss(options)?;
    report.measured = measure(options, || {
        let mut first = 0;
        while first < options.items {
            let end = options.items.min(first.saturating_add(options.clients));
            let specs: Vec<_> = (first..end).map(|i| session(options, i)).collect();
            let dialed = net.dial_all(&specs)?;
            goodbye(net, links(dialed))?;
            first = end;
        }
        Ok((0, u64::from(options.items)))
    })?;
    report.rss_ready = rss(options)?;
    report.rss = report.rss_ready;
    report.count_disk(options)?;
    Ok(report)
}

fn session(options: &Options, i: u32) -> Spec {
    let filter = |j| format!("{}/{i}/{j}/+", options.topic);
    Spec {
        client_id: format!("{}-{i}", options.topic),
        filters: (0..options.filters).map(filter).collect(),
        qos: options.qos,
        terms: Terms { lasting: true, receive_max: options.receive_max },
        ..Spec::default()
    }
}

/// Takes the links of clients whose other properties do not matter any more.
pub(super) fn links(dialed: Vec<Dialed>) -> Vec<Link> {
    dialed.into_iter().map(|dialed| dialed.link).collect()
}

/// Says DISCONNECT on every link and waits until the broker has closed them: then it knows that
/// these clients are gone.
///
/// # Errors
/// When the system refuses to wait.
pub(super) fn goodbye(net: &mut Net, mut links: Vec<Link>) -> Result<(), String> {
    for link in &mut links {
        link.out.extend_from_slice(&DISCONNECT);
        // Who does not listen any more is gone already.
        let _ = link.flush();
    }
    let until = Instant::now() + PATIENCE;
    while !links.is_empty() && Instant::now() < until {
        net.wait(Some(Duration::from_millis(20)))?;
        let scratch = &mut net.scratch;
        links.retain_mut(|link| link.read(scratch, |_, _, _| Ok(())).is_ok());
    }
    Ok(())
}

/// Removes the sessions of these clients: each connects once with a clean session.
///
/// # Errors
/// The first client that does not get through, in words.
pub(super) fn forget(net: &mut Net, specs: &[Spec]) -> Result<(), String> {
    for chunk in specs.chunks(BATCH) {
        let clean = |spec: &Spec| {
            let (client_id, port) = (spec.client_id.clone(), spec.port);
            Spec { client_id, port, ..Spec::default() }
        };
        let clean: Vec<_> = chunk.iter().map(clean).collect();
        let dialed = net.dial_all(&clean)?;
        goodbye(net, links(dialed))?;
    }
    Ok(())
}
