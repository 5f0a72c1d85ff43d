//! What a run found out: as JSON for programs, as a table for people, as ratios to another run.

use super::disk::{self, Space};
use super::options::{Mode, Options};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The results of one command.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Reports {
    pub(super) reports: Vec<Report>,
}

/// The result of one measured part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// The mode; `retained` has two parts.
    pub(super) part: String,
    pub(super) protocol: u8,
    pub(super) qos: u8,
    /// Payload bytes.
    pub(super) size: usize,
    pub(super) clients: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) members: Option<u32>,
    /// Retained messages, filters or connections.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) items: Option<u32>,
    /// Which time round, from 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) cycle: Option<u32>,
    /// Messages per second asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) rate: Option<f64>,
    #[serde(flatten)]
    pub(super) measured: Measured,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) latency_us: Option<Latency>,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    /// Deliveries of something that was not sent there.
    pub(super) foreign: u64,
    /// Negative acknowledgements.
    pub(super) refused: u64,
    /// Messages that blocked a window for so long that they were given up.
    pub(super) given_up: u64,
    /// Connections that broke.
    pub(super) disconnected: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) disconnect_reason: Option<String>,
    /// The broker's resident set in bytes: before the clients came, when they were ready, at the
    /// end of the measured part.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) rss_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) rss_ready: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) rss: Option<u64>,
    /// What the broker's data takes on disk when the part is over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) disk: Option<Space>,
}

/// Totals of the measured part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) published: u64,
    /// Deliveries; in mode connect: connections.
    pub(super) delivered: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) broker_cpu_s: Option<f64>,
    /// Bytes it caused to be written to storage.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) broker_written: Option<u64>,
    pub(super) generator_cpu_s: f64,
}

impl Measured {
    /// What happened `count` times, per second.
    pub(super) fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.seconds.max(1e-9)
    }

    /// The broker's CPU seconds per million deliveries; per million messages where nothing was to
    /// be delivered.
    pub(super) fn cpu_per_million(&self) -> Option<f64> {
        self.per_million(self.broker_cpu_s?)
    }

    /// Bytes the broker caused to be written for each of them.
    pub(super) fn written_per_message(&self) -> Option<f64> {
        self.per_million(self.broker_written? as f64 / 1e6)
    }

    fn per_million(&self, amount: f64) -> Option<f64> {
        let count = match self.delivered {
            0 => self.published,
            delivered => delivered,
        };
        (count > 0).then(|| amount * 1e6 / count as f64)
    }
}

/// From when a message was due until it arrived, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Report {
    /// An empty report of a part of the run `options` ask for.
    pub(super) fn new(options: &Options, part: &str) -> Self {
        Self {
            part: part.into(),
            protocol: options.version as u8,
            qos: options.qos as u8,
            size: options.size,
            clients: options.clients,
            members: (options.mode == Mode::Shared).then_some(options.members),
            items: match options.mode {
                Mode::Filters
                | Mode::Retained
                | Mode::Offline
                | Mode::Reconnect
                | Mode::Sessions => Some(options.items),
                _ => None,
            },
            rate: options.rate,
            ..Self::default()
        }
    }

    /// Counts what the broker's data takes on disk, where it is known where that is.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn count_disk(&mut self, options: &Options) -> Result<(), String> {
        self.disk = options.data_dir.as_deref().map(disk::space).transpose()?;
        Ok(())
    }

    /// Takes the percentiles from a histogram of nanoseconds.
    pub(super) fn set_latency(&mut self, histogram: &Histogram<u64>) {
        let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        self.latency_us = (!histogram.is_empty()).then(|| Latency {
            p50: us(0.5),
            p99: us(0.99),
            p999: us(0.999),
            max: us(1.0),
        });
    }

    /// Memory the broker took while the items or connections were set up, in bytes for each.
    pub(super) fn bytes_per_item(&self) -> Option<f64> {
        let grown = self.rss_ready?.saturating_sub(self.rss_before?);
        let items = self.items?;
        (items > 0).then(|| grown as f64 / f64::from(items))
    }

    /// Whether every message arrived once, in order, at whom it was for.
    pub(super) fn clean(&self) -> bool {
        self.lost + self.duplicated + self.reordered + self.foreign == 0
            && self.refused + self.given_up + self.disconnected == 0
    }

    /// The report as lines of a name and a value.
    pub(super) fn table(&self) -> String {
        let measured = &self.measured;
        let mut rows = Rows::default();
        rows.title(self);
        let what = match self.part.as_str() {
            "connect" | "reconnect" => "connections",
            "sessions" => "sessions",
            _ => "delivered",
        };
        if measured.published > 0 {
            rows.count("published", measured.published, measured.per_s(measured.published));
        }
        if measured.delivered > 0 {
            rows.count(what, measured.delivered, measured.per_s(measured.delivered));
        }
        if let Some(latency) = self.latency_us {
            let Latency { p50, p99, p999, max } = latency;
            rows.row(
                "latency",
                &format!("p50 {p50:.0}  p99 {p99:.0}  p99.9 {p999:.0}  max {max:.0} µs"),
            );
        }
        rows.row("lost", &self.faults());
        let cpu = |rows: &mut Rows, name: &str, cpu_s: f64| {
            if let Some(per_million) = measured.per_million(cpu_s) {
                rows.row(name, &format!("{cpu_s:.2} s, {per_million:.3} s per million"));
            }
        };
        if let Some(cpu_s) = measured.broker_cpu_s {
            cpu(&mut rows, "broker CPU", cpu_s);
        }
        cpu(&mut rows, "generator CPU", measured.generator_cpu_s);
        self.rows_of_disk(&mut rows);
        if let Some(rss) = self.rss {
            rows.row("broker memory", &self.memory(rss));
        }
        rows.text
    }

    fn rows_of_disk(&self, rows: &mut Rows) {
        let measured = &self.measured;
        if let (Some(bytes), Some(each)) = (measured.broker_written, measured.written_per_message())
        {
            rows.row("broker wrote", &format!("{:.1} MiB, {each:.0} bytes each", mib(bytes)));
        }
        if let Some(Space { apparent, allocated }) = self.disk {
            let text = format!("{:.1} MiB, {:.1} allocated", mib(apparent), mib(allocated));
            rows.row("on disk", &text);
        }
    }

    fn faults(&self) -> String {
        let mut text =
            format!("{}, duplicated {}, reordered {}", self.lost, self.duplicated, self.reordered);
        for (name, count) in [
            ("foreign", self.foreign),
            ("refused", self.refused),
            ("given up", self.given_up),
            ("disconnected", self.disconnected),
        ] {
            if count > 0 {
                let _ = write!(text, ", {name} {count}");
            }
        }
        if let Some(why) = &self.disconnect_reason {
            let _ = write!(text, " ({why})");
        }
        text
    }

    fn memory(&self, rss: u64) -> String {
        let mut text = format!("{:.1} MiB", mib(rss));
        if let (Some(before), Some(ready)) = (self.rss_before, self.rss_ready) {
            let _ = write!(text, " (before {:.1}, ready {:.1}", mib(before), mib(ready));
            if let Some(each) = self.bytes_per_item() {
                let _ = write!(text, ", {each:.0} bytes each");
            }
            text.push(')');
        }
        text
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Ratios of `new` to `old`, one line for each part both have.
pub(super) fn compare(old: &Reports, new: &Reports) -> String {
    let mut text = String::from("ratios to the earlier run:\n");
    let ratio = |new: Option<f64>, old: Option<f64>| match (new, old) {
        (Some(new), Some(old)) if old > 0.0 => format!("{:.3}", new / old),
        _ => "-".into(),
    };
    for report in &new.reports {
        let same = |old: &&Report| (&old.part, old.qos) == (&report.part, report.qos);
        let Some(old) = old.reports.iter().find(same) else {
            let _ = writeln!(text, "  {} is not in the earlier run", report.part);
            continue;
        };
        let per_s = |of: &Report| Some(of.measured.per_s(of.measured.delivered));
        let p99 = |of: &Report| of.latency_us.map(|latency| latency.p99);
        let _ = writeln!(
            text,
            "  {}: CPU per delivery {}, deliveries/s {}, p99 {}, memory {}",
            report.part,
            ratio(report.measured.cpu_per_million(), old.measured.cpu_per_million()),
            ratio(per_s(report), per_s(old)),
            ratio(p99(report), p99(old)),
            ratio(report.rss.map(|rss| rss as f64), old.rss.map(|rss| rss as f64)),
        );
    }
    text
}

/// Lines of a name and a value.
#[derive(Default)]
struct Rows {
    text: String,
}

impl Rows {
    fn title(&mut self, report: &Report) {
        let Report { part, qos, size, clients, .. } = report;
        let _ = write!(self.text, "{part}: {clients} clients, QoS {qos}, {size} bytes");
        if let Some(members) = report.members {
            let _ = write!(self.text, ", {members} members");
        }
        if let Some(items) = report.items {
            let _ = write!(self.text, ", {items} items");
        }
        if let Some(cycle) = report.cycle {
            let _ = write!(self.text, ", cycle {cycle}");
        }
        if let Some(rate) = report.rate {
            let _ = write!(self.text, ", {rate} messages/s asked for");
        }
        let _ = writeln!(self.text, ", {:.2} s", report.measured.seconds);
    }

    fn count(&mut self, name: &str, count: u64, per_s: f64) {
        self.row(name, &format!("{count} ({per_s:.0}/s)"));
    }

    fn row(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "  {name:<14} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let options = Options::parse(["filters", "--items", "1000"]).expect("good options");
        let mut report = Report::new(&options, "filters");
        report.measured = Measured {
            seconds: 2.0,
            published: 1_000_000,
            delivered: 500_000,
            broker_cpu_s: Some(1.5),
            broker_written: Some(64_000_000),
            generator_cpu_s: 0.5,
        };
        report.rss_before = Some(10 << 20);
        report.rss_ready = Some((10 << 20) + 450_000);
        report.rss = Some(11 << 20);
        report.disk = Some(Space { apparent: 3 << 20, allocated: 2 << 20 });
        report
    }

    #[test]
    fn cpu_is_counted_per_million_deliveries() {
        let report = sample();
        assert_eq!(report.measured.cpu_per_million(), Some(3.0));
        let stored = Measured { delivered: 0, ..report.measured };
        assert_eq!(stored.cpu_per_million(), Some(1.5));
        assert_eq!(Measured::default().cpu_per_million(), None);
    }

    #[test]
    fn what_goes_to_disk_is_shown_in_all_and_for_each() {
        assert_eq!(sample().measured.written_per_message(), Some(128.0));
        let table = sample().table();
        assert!(table.contains("broker wrote   61.0 MiB, 128 bytes each"), "{table}");
        assert!(table.contains("on disk        3.0 MiB, 2.0 allocated"), "{table}");
    }

    #[test]
    fn memory_is_divided_by_the_items() {
        assert_eq!(sample().bytes_per_item(), Some(450.0));
    }

    #[test]
    fn percentiles_come_in_microseconds() {
        let mut histogram = Histogram::new_with_bounds(1000, 60_000_000_000, 3).expect("bounds");
        for us in 1..=1000u64 {
            histogram.saturating_record(us * 1000);
        }
        let mut report = sample();
        report.set_latency(&histogram);
        let latency = report.latency_us.expect("recorded");
        for (found, expected) in [(latency.p50, 500.0), (latency.p99, 990.0), (latency.max, 1000.0)]
        {
            let off: f64 = found - expected;
            assert!(off.abs() <= expected * 0.002 + 1.0, "{found} is not {expected}");
        }
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let text = serde_json::to_string(&sample()).expect("serializes");
        let back: Report = serde_json::from_str(&text).expect("parses");
        assert_eq!(back, sample());
    }

    #[test]
    fn ratios_name_the_part_and_what_is_missing() {
        let old = Reports { reports: vec![sample()] };
        let mut faster = sample();
        faster.measured.broker_cpu_s = Some(0.15);
        let mut other = sample();
        other.part = "pairs".into();
        let new = Reports { reports: vec![faster, other] };
        let text = compare(&old, &new);
        assert!(text.contains("filters: CPU per delivery 0.100"), "{text}");
        assert!(text.contains("pairs is not in the earlier run"), "{text}");
    }

    #[test]
    fn the_table_shows_faults_only_where_there_are_some() {
        let mut report = sample();
        assert!(report.clean() && !report.table().contains("disconnected"));
        report.disconnected = 2;
        report.disconnect_reason = Some("gone".into());
        assert!(!report.clean());
        assert!(report.table().contains("disconnected 2 (gone)"), "{}", report.table());
    }
}
