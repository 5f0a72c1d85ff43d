//! `mogi store inspect`: what there is, in numbers.

use super::reading::Reading;
use jiff::{Timestamp, tz::TimeZone};
use mogi_core::store::StoredSession;
use mogi_store::Snapshot;
use serde::Serialize;
use std::cmp::Reverse;
use std::path::Path;

/// Queues that are named.
const LARGEST: usize = 10;

/// What `--json` prints. Times are milliseconds since 1970.
#[derive(Serialize)]
struct Report {
    store: String,
    format: Option<u32>,
    in_use_by: Option<String>,
    disk_bytes: Option<u64>,
    last_commit_ms: Option<u64>,
    sessions: Sessions,
    subscriptions: u64,
    messages: Messages,
    received_packet_ids: u64,
    retained: Amount,
    wills: Wills,
    largest_queues: Vec<Queue>,
    set_aside: Vec<String>,
    damaged: bool,
}

#[derive(Default, Serialize)]
struct Sessions {
    count: u64,
    /// Connected when the store was last written.
    connected: u64,
    away: u64,
    longest_away_since_ms: Option<u64>,
    last_away_since_ms: Option<u64>,
}

#[derive(Default, Serialize)]
struct Messages {
    waiting: u64,
    waiting_bytes: u64,
    in_flight: u64,
    /// QoS 2: the client has it, and PUBREL is due.
    released: u64,
}

#[derive(Default, Serialize)]
struct Amount {
    count: u64,
    bytes: u64,
}

#[derive(Default, Serialize)]
struct Wills {
    count: u64,
    /// Of clients that are away: published when their delay is over.
    delayed: u64,
}

#[derive(Serialize)]
struct Queue {
    client: String,
    messages: u64,
    bytes: u64,
}

/// The report as text or JSON.
pub(super) fn report(reading: &Reading, json: bool) -> String {
    let report = count(reading);
    if json {
        // Numbers and texts can always be written.
        return serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
    }
    let mut text = report.in_words();
    if report.damaged {
        text.push_str("\nThe store is damaged: 'mogi store verify' says more.\n");
    }
    text
}

fn count(reading: &Reading) -> Report {
    let mut report = Report {
        store: reading.place.clone(),
        format: reading.snapshot().map(Snapshot::format),
        in_use_by: reading.in_use_by.clone(),
        disk_bytes: reading.snapshot().map(Snapshot::disk_bytes),
        last_commit_ms: reading.report.alive_at_ms,
        sessions: Sessions::default(),
        subscriptions: reading.report.subscriptions,
        messages: Messages::default(),
        received_packet_ids: 0,
        retained: Amount { count: reading.report.loaded.retained, bytes: reading.retained_bytes },
        wills: Wills::default(),
        largest_queues: Vec::new(),
        set_aside: reading.snapshot().map_or_else(Vec::new, |it| set_aside(it.store())),
        damaged: reading.damage.any(),
    };
    reading.sessions.iter().for_each(|session| report.add(session));
    report.largest_queues = largest(&reading.sessions);
    report.wills.count = reading.wills.len() as u64;
    let delayed = reading.wills.iter().filter(|(_, will)| will.due_at_ms.is_some());
    report.wills.delayed = delayed.count() as u64;
    report
}

impl Report {
    fn add(&mut self, session: &StoredSession) {
        let sessions = &mut self.sessions;
        sessions.count += 1;
        match session.record.left_at_ms {
            None => sessions.connected += 1,
            Some(at_ms) => {
                sessions.away += 1;
                let longest = sessions.longest_away_since_ms;
                sessions.longest_away_since_ms = Some(longest.map_or(at_ms, |it| it.min(at_ms)));
                sessions.last_away_since_ms = sessions.last_away_since_ms.max(Some(at_ms));
            }
        }
        let messages = &mut self.messages;
        messages.waiting += session.waiting.len() as u64;
        messages.waiting_bytes +=
            session.waiting.iter().map(|it| u64::from(it.weight)).sum::<u64>();
        let released = session.flights.iter().filter(|it| it.delivery.is_none()).count();
        messages.released += released as u64;
        messages.in_flight += (session.flights.len() - released) as u64;
        self.received_packet_ids += session.received.len() as u64;
    }

    fn in_words(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, what: String| text += &format!("{name:<16}{what}\n");
        let format = self.format.map_or_else(String::new, |it| format!(" (format {it})"));
        row("Store", format!("{}{format}", self.store));
        let user = self.in_use_by.as_deref();
        row("In use", user.map_or_else(|| "no".to_owned(), |user| format!("by {user}")));
        if let Some(disk_bytes) = self.disk_bytes {
            row("On disk", bytes(disk_bytes));
            row("Last commit", self.last_commit_ms.map_or_else(|| "never".to_owned(), time));
        }
        let Sessions { count, connected, away, .. } = self.sessions;
        row("Sessions", format!("{count}: {connected} connected, {away} away"));
        let since = [
            ("  longest away", self.sessions.longest_away_since_ms),
            ("  last to leave", self.sessions.last_away_since_ms),
        ];
        for (name, at_ms) in since {
            if let Some(at_ms) = at_ms {
                row(name, format!("since {}", time(at_ms)));
            }
        }
        row("Subscriptions", self.subscriptions.to_string());
        let Messages { waiting, waiting_bytes, in_flight, released } = self.messages;
        row(
            "Messages",
            format!("{waiting} waiting ({}), {in_flight} in flight", bytes(waiting_bytes)),
        );
        row("QoS 2 ids", format!("{released} sent, {} received", self.received_packet_ids));
        let Amount { count, bytes: size } = self.retained;
        row("Retained", format!("{count} messages ({})", bytes(size)));
        row("Wills", format!("{}, {} of them delayed", self.wills.count, self.wills.delayed));
        self.set_aside.iter().for_each(|name| row("Set aside", name.clone()));
        if !self.largest_queues.is_empty() {
            text += &format!("\nLargest queues\n{:>10}  {:>10}  client\n", "messages", "size");
        }
        for Queue { client, messages, bytes: size } in &self.largest_queues {
            text += &format!("{messages:>10}  {:>10}  {client}\n", bytes(*size));
        }
        text
    }
}

fn largest(sessions: &[StoredSession]) -> Vec<Queue> {
    let mut found: Vec<&StoredSession> =
        sessions.iter().filter(|session| !session.waiting.is_empty()).collect();
    found.sort_by_key(|session| Reverse(session.waiting.len()));
    found.truncate(LARGEST);
    let queue = |session: &&StoredSession| Queue {
        client: session.record.client.to_string(),
        messages: session.waiting.len() as u64,
        bytes: session.waiting.iter().map(|it| u64::from(it.weight)).sum(),
    };
    found.iter().map(queue).collect()
}

/// What earlier starts found damaged.
fn set_aside(store: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(store) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with("damaged-") || name.starts_with("data.damaged-"))
        .collect();
    names.sort_unstable();
    names
}

fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok());
    at.map_or_else(
        || format!("{at_ms} ms after 1970"),
        |at| at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
    )
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(bytes(5 << 50), "5120.0 TiB");
    }
}
