//! Clients of a broker that is killed, all of which come back to others at once.

use super::cost::Mark;
use super::dial::{Dialed, Net};
use super::offline::{fetch, fill, publisher, subscriber};
use super::options::Options;
use super::report::Report;
use super::sessions::forget;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Connections on their way at once when all come back: more than listeners queue would be sent
/// again by the system, a second later.
const RETURNING: usize = 1000;
/// How long the broker may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects `options.clients` clients whose sessions last, has `options.items` messages published
/// to each, which none of them acknowledges, waits until somebody kills the broker, connects them
/// to the brokers at the ports `options.to`, and fetches the messages.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn run(options: &Options, net: &mut Net) -> Result<Vec<Report>, String> {
    let mut specs: Vec<_> = (0..options.clients).map(|i| subscriber(options, i)).collect();
    let held = net.dial_all(&specs)?;
    // A poll of its own, as the subscribers' messages are not read.
    let mut other = Net::new(net.addr, net.version, net.login.clone(), options.size + 1024)?;
    let filled = fill(options, &mut other, &publisher(options), 0)?;
    eprintln!("mogi bench: {} clients wait for the end of their broker", options.clients);
    wait_for_end(net, held)?;
    for (spec, port) in specs.iter_mut().zip(options.to.iter().cycle()) {
        // The subscriptions are the session's: who returns does not repeat them.
        spec.filters.clear();
        spec.port = Some(*port);
    }
    net.at_once = RETURNING;
    let before = Mark::now(options)?;
    let dialed = net.dial_all(&specs)?;
    let mut connected = Report::new(options, "reconnect");
    connected.measured = Mark::now(options)?.since(before, (0, dialed.len() as u64));
    connected.set_latency(&latency(&dialed)?);
    let drained =
        fetch(options, net, dialed, (Report::new(options, "reconnect-drain"), before), 0)?;
    if !options.keep {
        forget(net, &specs)?;
    }
    Ok(vec![filled, connected, drained])
}

/// Waits until the first of them is closed, and closes the others.
fn wait_for_end(net: &mut Net, held: Vec<Dialed>) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        net.wait(Some(Duration::from_millis(100)))?;
        let mut closed = net.events.iter().filter(|event| event.is_read_closed());
        if closed.any(|event| event.token().0 < held.len()) {
            return Ok(());
        }
    }
    Err(format!("nobody killed the broker within {} s", PATIENCE.as_secs()))
}

/// From each client's SYN to its CONNACK.
fn latency(dialed: &[Dialed]) -> Result<Histogram<u64>, String> {
    let mut latency = Histogram::new_with_bounds(1000, 60_000_000_000, 3)
        .map_err(|err| format!("cannot make a histogram: {err}"))?;
    for client in dialed {
        let ns = u64::try_from(client.connect_time.as_nanos()).unwrap_or(u64::MAX);
        latency.saturating_record(ns);
    }
    Ok(latency)
}
