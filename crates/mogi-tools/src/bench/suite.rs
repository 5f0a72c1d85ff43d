//! `mogi bench suite`: the standard table of loads, run against several brokers in turns.

use super::measure;
use super::options::Options;
use super::report::Report;
use lexopt::prelude::*;
use std::ffi::OsString;
use std::fmt::Write as _;

/// What a cell of the table shows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// CPU seconds per million deliveries.
    Cpu,
    /// Bytes of memory for each item.
    BytesEach,
    /// Deliveries or connections per second.
    PerSecond,
    /// 99th percentile of latency, µs.
    P99,
}

impl Metric {
    fn of(self, report: &Report) -> Option<f64> {
        match self {
            Self::Cpu => report.measured.cpu_per_million(),
            Self::BytesEach => report.bytes_per_item(),
            Self::PerSecond => Some(report.measured.per_s(report.measured.delivered)),
            Self::P99 => report.latency_us.map(|latency| latency.p99),
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "CPU s/M",
            Self::BytesEach => "bytes each",
            Self::PerSecond => "per second",
            Self::P99 => "p99 µs",
        }
    }
}

/// One row: its name, the part of the report and what of it, and the ratio to the base that mogi
/// wants to reach (at most; for rates: at least).
struct Cell(&'static str, &'static str, Metric, &'static str);

/// One load, and the rows it fills.
struct Load {
    args: &'static str,
    cells: &'static [Cell],
}

const LOADS: &[Load] = &[
    Load { args: "pairs -q0", cells: &[Cell("50 pairs, QoS 0", "pairs", Metric::Cpu, "1/25")] },
    Load { args: "pairs -q1", cells: &[Cell("50 pairs, QoS 1", "pairs", Metric::Cpu, "1/14")] },
    Load { args: "pairs -q2", cells: &[Cell("50 pairs, QoS 2", "pairs", Metric::Cpu, "1/13")] },
    Load {
        args: "pairs -q0 -s1024",
        cells: &[Cell("50 pairs, 1 KiB, QoS 0", "pairs", Metric::Cpu, "1/9")],
    },
    Load {
        args: "pairs -q1 -s1024",
        cells: &[Cell("50 pairs, 1 KiB, QoS 1", "pairs", Metric::Cpu, "1/9")],
    },
    Load {
        args: "fan-out -q0",
        cells: &[Cell("fan-out 100, QoS 0", "fan-out", Metric::Cpu, "1/18")],
    },
    Load {
        args: "fan-out -q1",
        cells: &[Cell("fan-out 100, QoS 1", "fan-out", Metric::Cpu, "1/12")],
    },
    Load {
        args: "fan-out -q2",
        cells: &[Cell("fan-out 100, QoS 2", "fan-out", Metric::Cpu, "1/12")],
    },
    Load {
        args: "fan-out -q0 -n500",
        cells: &[Cell("fan-out 500, QoS 0", "fan-out", Metric::Cpu, "1/25")],
    },
    Load { args: "fan-in -q0", cells: &[Cell("fan-in 100, QoS 0", "fan-in", Metric::Cpu, "1/5")] },
    Load { args: "fan-in -q1", cells: &[Cell("fan-in 100, QoS 1", "fan-in", Metric::Cpu, "1/7")] },
    Load { args: "fan-in -q2", cells: &[Cell("fan-in 100, QoS 2", "fan-in", Metric::Cpu, "1/10")] },
    Load {
        args: "shared -q0",
        cells: &[Cell("shared 10 → 10, QoS 0", "shared", Metric::Cpu, "1/12")],
    },
    Load {
        args: "shared -q1",
        cells: &[Cell("shared 10 → 10, QoS 1", "shared", Metric::Cpu, "1/10")],
    },
    Load {
        args: "pingpong -q0",
        cells: &[
            Cell("one message at a time, QoS 0", "pingpong", Metric::Cpu, "0.7"),
            Cell("one message at a time, QoS 0", "pingpong", Metric::P99, ""),
        ],
    },
    Load {
        args: "pingpong -q1",
        cells: &[
            Cell("one message at a time, QoS 1", "pingpong", Metric::Cpu, "0.75"),
            Cell("one message at a time, QoS 1", "pingpong", Metric::P99, ""),
        ],
    },
    Load {
        args: "filters -q0",
        cells: &[
            Cell("wildcard filters, matching", "filters", Metric::Cpu, "1/9"),
            Cell("wildcard filters, memory", "filters", Metric::BytesEach, "≤ 500 bytes"),
        ],
    },
    Load {
        args: "retained -q0 --rounds 10",
        cells: &[
            Cell("retained, store", "retained-store", Metric::Cpu, "1/3"),
            Cell("retained, deliver on '#'", "retained-deliver", Metric::Cpu, "1/3"),
            Cell("retained, memory", "retained-store", Metric::BytesEach, "≤ 450 bytes + payload"),
        ],
    },
    Load {
        args: "connect",
        cells: &[
            Cell("connect and disconnect", "connect", Metric::Cpu, ""),
            Cell("connect and disconnect", "connect", Metric::PerSecond, "≥ 2"),
        ],
    },
    Load {
        args: "connect -n10000 --hold 1",
        cells: &[Cell("idle connection, memory", "connect", Metric::BytesEach, "≤ 4096 bytes")],
    },
];

/// The load whose latency is compared at a fixed rate, and the part of the base's maximum.
const PACED: &str = "pairs -q0";
const PACED_SHARE: f64 = 0.3;

/// The name of the broker that is none: `mogi bench floor`, which only some loads can have.
const LIMIT: &str = "limit";

/// Beginnings of loads that need a broker.
const NO_LIMIT: &[&str] = &["filters", "retained", "connect -n10000"];

/// A running broker.
#[derive(Debug, PartialEq, Eq)]
struct Broker {
    name: String,
    pid: u32,
    port: u16,
}

/// The command line of `mogi bench suite`.
#[derive(Debug)]
pub(super) struct Suite {
    brokers: Vec<Broker>,
    rounds: u32,
    only: Option<String>,
    without: Vec<String>,
    /// Given to every load as it is.
    passed_on: Vec<String>,
}

impl Suite {
    /// Reads what follows `suite`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut suite = Self {
            brokers: Vec::new(),
            rounds: 3,
            only: None,
            without: Vec::new(),
            passed_on: ["--duration", "3"].map(String::from).to_vec(),
        };
        let mut parser = lexopt::Parser::from_args(args);
        let say = |err: lexopt::Error| err.to_string();
        while let Some(arg) = parser.next().map_err(say)? {
            let name = match arg {
                Short(letter) => letter.to_string(),
                Long(name) => name.to_owned(),
                Value(value) => {
                    return Err(format!("unexpected argument {:?}", value.to_string_lossy()));
                }
            };
            let value = parser.value().and_then(ValueExt::string).map_err(say)?;
            match name.as_str() {
                "broker" => suite.brokers.push(Broker::parse(&value)?),
                "rounds" => {
                    suite.rounds = value
                        .parse()
                        .ok()
                        .filter(|&rounds| rounds > 0)
                        .ok_or_else(|| format!("--rounds: {value:?} is no number above 0"))?;
                }
                "only" => suite.only = Some(value),
                "without" => suite.without.push(value),
                "d" | "duration" => suite.pass_on("--duration", value),
                "warmup" | "items" => suite.pass_on(&format!("--{name}"), value),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        if suite.brokers.is_empty() {
            return Err("at least one --broker NAME=PID:PORT is needed".into());
        }
        Ok(suite)
    }

    /// Measures everything and gives the table back, as Markdown.
    ///
    /// # Errors
    /// The first load that could not be measured.
    pub(super) fn run(&self) -> Result<String, String> {
        let mut text = self.head();
        for load in LOADS {
            if !load.cells.iter().any(|cell| self.wants(cell.0)) {
                continue;
            }
            let runs = self.run_load(load.args)?;
            for cell in load.cells {
                text += &self.row(cell, &runs);
            }
            if load.args == PACED {
                text += &self.run_paced(&runs)?;
            }
        }
        Ok(text)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
            && !self.without.iter().any(|without| name.contains(without))
    }

    /// Latency at a fixed share of what the base can deliver.
    fn run_paced(&self, runs: &[Vec<Report>]) -> Result<String, String> {
        let per_s = median(&values(&runs[0], PACED_PART, Metric::PerSecond)).unwrap_or(0.0);
        let rate = (per_s * PACED_SHARE).floor().max(1.0);
        let runs = self.run_load(&format!("{PACED} --rate {rate}"))?;
        let cell = Cell("50 pairs at 30 % of the base's maximum", PACED_PART, Metric::P99, "1");
        Ok(self.row(&cell, &runs))
    }

    /// All reports of one load, by broker; the brokers take turns.
    fn run_load(&self, args: &str) -> Result<Vec<Vec<Report>>, String> {
        let mut runs: Vec<Vec<Report>> = self.brokers.iter().map(|_| Vec::new()).collect();
        for round in 1..=self.rounds {
            for (broker, runs) in self.brokers.iter().zip(&mut runs) {
                if broker.is_limit() && NO_LIMIT.iter().any(|it| args.starts_with(it)) {
                    continue;
                }
                eprintln!("{args}: round {round} of {}, {}", self.rounds, broker.name);
                let mut line: Vec<String> = args.split(' ').map(String::from).collect();
                line.extend_from_slice(&self.passed_on);
                for (option, value) in [
                    ("--host", "127.0.0.1".to_owned()),
                    ("--port", broker.port.to_string()),
                    ("--broker-pid", broker.pid.to_string()),
                ] {
                    line.extend([option.to_owned(), value]);
                }
                let options = Options::parse(line)?;
                let reports = measure(&options).map_err(|err| format!("{}: {err}", broker.name))?;
                for report in reports.iter().filter(|report| !report.clean()) {
                    eprintln!("not clean:\n{}", report.table());
                }
                runs.extend(reports);
            }
        }
        Ok(runs)
    }

    fn head(&self) -> String {
        let mut head = String::from("| load | |");
        let mut line = String::from("|---|---|");
        for (i, broker) in self.brokers.iter().enumerate() {
            let _ = write!(head, " {} |", broker.name);
            line += "---|";
            if i > 0 {
                head += if broker.is_limit() { " times the limit |" } else { " ratio | goal |" };
                line += if broker.is_limit() { "---|" } else { "---|---|" };
            }
        }
        format!("{head} faults |\n{line}---|\n")
    }

    fn row(&self, cell: &Cell, runs: &[Vec<Report>]) -> String {
        let Cell(name, part, metric, goal) = *cell;
        let mut row = format!("| {name} | {} |", metric.unit());
        let (mut base, mut last) = (None, None);
        for (i, (broker, runs)) in self.brokers.iter().zip(runs).enumerate() {
            let values = values(runs, part, metric);
            // Memory once taken is not given back: only the first round sees it grow.
            let value = match metric {
                Metric::BytesEach => values.first().copied(),
                _ => median(&values),
            };
            let _ = write!(row, " {} |", value.map_or_else(|| "-".into(), show));
            if i == 0 {
                base = value;
                continue;
            }
            // Of the limit: how far above it the broker before it is.
            let (value, base) = if broker.is_limit() { (last, value) } else { (value, base) };
            let ratio = value.zip(base).filter(|&(_, base)| base > 0.0);
            let ratio = ratio.map_or_else(|| "-".into(), |(value, base)| show_ratio(value / base));
            let _ = match broker.is_limit() {
                true => write!(row, " {ratio} |"),
                false => write!(row, " {ratio} | {goal} |"),
            };
            last = value;
        }
        format!("{row} {} |\n", self.faults(part, runs))
    }

    /// What went wrong in any round, by broker.
    fn faults(&self, part: &str, runs: &[Vec<Report>]) -> String {
        let mut faults = Vec::new();
        for (broker, runs) in self.brokers.iter().zip(runs) {
            let runs = || runs.iter().filter(|report| report.part == part);
            let sum = |count: fn(&Report) -> u64| runs().map(count).sum::<u64>();
            for (what, count) in [
                ("lost", sum(|report| report.lost)),
                ("twice", sum(|report| report.duplicated)),
                ("reordered", sum(|report| report.reordered)),
                ("foreign", sum(|report| report.foreign)),
                ("refused", sum(|report| report.refused)),
                ("disconnected", sum(|report| report.disconnected)),
            ] {
                if count > 0 {
                    faults.push(format!("{}: {what} {count}", broker.name));
                }
            }
        }
        faults.join(", ")
    }

    fn pass_on(&mut self, option: &str, value: String) {
        self.passed_on.extend([option.to_owned(), value]);
    }
}

const PACED_PART: &str = "pairs";

impl Broker {
    fn is_limit(&self) -> bool {
        self.name == LIMIT
    }

    fn parse(text: &str) -> Result<Self, String> {
        let parse = || {
            let (name, rest) = text.split_once('=')?;
            let (pid, port) = rest.split_once(':')?;
            let (pid, port) = (pid.parse().ok()?, port.parse().ok()?);
            let name = name.to_owned();
            Some(Self { name, pid, port })
        };
        parse().ok_or_else(|| format!("--broker: {text:?} is not NAME=PID:PORT"))
    }
}

fn values(runs: &[Report], part: &str, metric: Metric) -> Vec<f64> {
    let runs = runs.iter().filter(|report| report.part == part);
    runs.filter_map(|report| metric.of(report)).collect()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some((sorted[last / 2] + sorted[last.div_ceil(2)]) / 2.0)
}

fn show(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A ratio as the goals are written: below one half as a fraction.
fn show_ratio(ratio: f64) -> String {
    if ratio > 0.0 && ratio < 0.5 { format!("1/{:.1}", 1.0 / ratio) } else { format!("{ratio:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(line: &str) -> Result<Suite, String> {
        Suite::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn every_line_of_the_table_is_a_good_command() {
        for load in LOADS {
            let options = Options::parse(load.args.split(' '));
            assert!(options.is_ok(), "{}: {options:?}", load.args);
        }
        assert!(LOADS.iter().any(|load| load.args == PACED));
    }

    #[test]
    fn reads_brokers_and_what_is_passed_on() {
        let suite = suite("--broker a=12:1883 --broker b=13:1884 --rounds 5 -d 2").expect("good");
        let names: Vec<_> = suite.brokers.iter().map(|broker| broker.name.as_str()).collect();
        assert_eq!((names, suite.rounds), (vec!["a", "b"], 5));
        assert_eq!(suite.passed_on, ["--duration", "3", "--duration", "2"]);
    }

    #[test]
    fn loads_are_chosen_by_name() {
        let suite = suite("--broker a=1:2 --only QoS --without fan --without KiB").expect("good");
        let wanted: Vec<_> =
            ["50 pairs, QoS 0", "fan-in 100, QoS 0", "50 pairs, 1 KiB, QoS 0", "x"]
                .into_iter()
                .filter(|name| suite.wants(name))
                .collect();
        assert_eq!(wanted, ["50 pairs, QoS 0"]);
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, expected) in [
            ("--rounds 1", "at least one --broker"),
            ("--broker a=1", "not NAME=PID:PORT"),
            ("--broker a=1:2 --rounds 0", "no number above 0"),
            ("--broker a=1:2 --fast yes", "unknown option fast"),
        ] {
            let err = suite(line).expect_err(line);
            assert!(err.contains(expected), "{line}: {err}");
        }
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_row_shows_the_ratio_and_whose_fault_it_is() {
        let suite = suite("--broker a=12:1883 --broker b=13:1884").expect("good");
        let report = |cpu_s, lost| {
            let mut report = Report { part: "pairs".into(), lost, ..Report::default() };
            report.measured.delivered = 1_000_000;
            report.measured.broker_cpu_s = Some(cpu_s);
            report
        };
        let runs = [vec![report(10.0, 0)], vec![report(0.4, 7)]];
        let row = suite.row(&Cell("x", "pairs", Metric::Cpu, "1/25"), &runs);
        assert_eq!(row, "| x | CPU s/M | 10.0 | 0.400 | 1/25.0 | 1/25 | b: lost 7 |\n");
        assert_eq!(suite.head().lines().next().map(|head| head.matches('|').count()), Some(8));
    }

    #[test]
    fn a_limit_tells_how_far_above_it_the_broker_before_it_is() {
        let suite = suite("--broker a=1:2 --broker b=3:4 --broker limit=5:6").expect("good");
        let report = |cpu_s| {
            let mut report = Report { part: "pairs".into(), ..Report::default() };
            report.measured.delivered = 1_000_000;
            report.measured.broker_cpu_s = Some(cpu_s);
            report
        };
        let runs = [vec![report(10.0)], vec![report(0.9)], vec![report(0.5)]];
        let row = suite.row(&Cell("x", "pairs", Metric::Cpu, "1/25"), &runs);
        assert_eq!(row, "| x | CPU s/M | 10.0 | 0.900 | 1/11.1 | 1/25 | 0.500 | 1.80 |  |\n");
        let runs = [vec![report(10.0)], vec![report(0.9)], Vec::new()];
        let row = suite.row(&Cell("x", "pairs", Metric::Cpu, "1/25"), &runs);
        assert!(row.contains("| - | - |"), "{row}");
        assert_eq!(suite.head().lines().next().map(|head| head.matches('|').count()), Some(10));
    }
}
