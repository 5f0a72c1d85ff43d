//! The command line of `mogi bench`.

use super::frames::{Login, MAX_ITEMS, STAMP_LEN};
use lexopt::prelude::*;
use mogi_codec::{QoS, Version};
use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub(super) const HELP: &str = include_str!("help.txt");

/// The shape of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Pairs,
    FanOut,
    FanIn,
    Shared,
    PingPong,
    Filters,
    Retained,
    Connect,
    Offline,
    Reconnect,
    Sessions,
    Disk,
}

impl Mode {
    const ALL: [Self; 12] = [
        Self::Pairs,
        Self::FanOut,
        Self::FanIn,
        Self::Shared,
        Self::PingPong,
        Self::Filters,
        Self::Retained,
        Self::Connect,
        Self::Offline,
        Self::Reconnect,
        Self::Sessions,
        Self::Disk,
    ];

    /// Its name on the command line and in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::FanOut => "fan-out",
            Self::FanIn => "fan-in",
            Self::Shared => "shared",
            Self::PingPong => "pingpong",
            Self::Filters => "filters",
            Self::Retained => "retained",
            Self::Connect => "connect",
            Self::Offline => "offline",
            Self::Reconnect => "reconnect",
            Self::Sessions => "sessions",
            Self::Disk => "disk",
        }
    }

    const fn default_clients(self) -> u32 {
        match self {
            Self::Pairs => 50,
            Self::FanOut | Self::FanIn => 100,
            Self::Shared | Self::Filters => 10,
            Self::PingPong | Self::Retained | Self::Offline | Self::Disk => 1,
            Self::Sessions => 500,
            Self::Connect | Self::Reconnect => 1000,
        }
    }

    /// Where sessions are what a mode is about, QoS 0 would leave nothing in them.
    const fn default_qos(self) -> QoS {
        match self {
            Self::Offline | Self::Reconnect | Self::Sessions => QoS::AtLeastOnce,
            _ => QoS::AtMostOnce,
        }
    }

    /// Whether it is a steady load of publishers and subscribers.
    const fn steady(self) -> bool {
        !matches!(
            self,
            Self::Retained
                | Self::Connect
                | Self::Offline
                | Self::Reconnect
                | Self::Sessions
                | Self::Disk
        )
    }
}

/// One run of the load generator.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) mode: Mode,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) version: Version,
    pub(super) login: Login,
    pub(super) qos: QoS,
    /// Payload bytes.
    pub(super) size: usize,
    /// Pairs, subscribers, publishers or connections, as the mode counts.
    pub(super) clients: u32,
    /// Members of the shared group.
    pub(super) members: u32,
    /// Retained messages, filters, messages of an offline queue, or sessions.
    pub(super) items: u32,
    /// Subscriptions of each session.
    pub(super) filters: u32,
    /// Whether the sessions of a steady load outlive their connections.
    pub(super) persistent: bool,
    /// Whether the subscribers are away.
    pub(super) away: bool,
    /// Messages a subscriber takes unacknowledged.
    pub(super) receive_max: Option<u16>,
    /// How often an offline queue is filled and drained.
    pub(super) cycles: u32,
    /// Whether what was stored is left in place.
    pub(super) keep: bool,
    /// The ports of the brokers that clients of a killed one come back to.
    pub(super) to: Vec<u16>,
    /// The broker's data on this host, or where mode disk writes.
    pub(super) data_dir: Option<PathBuf>,
    /// Messages per second of all publishers together; none: as fast as the windows allow.
    pub(super) rate: Option<f64>,
    /// Unacknowledged messages per publisher (QoS 1 and 2).
    pub(super) window: u32,
    /// Messages on their way to one subscriber.
    pub(super) in_flight: u32,
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
    /// Messages to publish in the measured part, instead of a duration.
    pub(super) count: Option<u64>,
    /// How often the retained messages are fetched.
    pub(super) rounds: u32,
    /// How long nothing may arrive at the end before what is missing counts as lost.
    pub(super) drain: Duration,
    /// How long connections are kept idle, or a drained store is left alone before it is measured.
    pub(super) hold: Option<Duration>,
    pub(super) topic: String,
    pub(super) broker_pid: Option<u32>,
    pub(super) json: bool,
    pub(super) compare: Option<PathBuf>,
}

impl Options {
    /// Reads a command line that begins with the mode.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse<I>(args: I) -> Result<Self, String>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let mut parser = lexopt::Parser::from_args(args);
        let mode = read_mode(&mut parser)?;
        let mut options = Self::defaults(mode);
        let (mut window, mut in_flight) = (None, None);
        while let Some(arg) = parser.next().map_err(say)? {
            match arg {
                Long("window") => window = Some(number(&mut parser, 1, 10_000)?),
                Long("in-flight") => in_flight = Some(number(&mut parser, 1, 1_000_000)?),
                Short(_) | Long(_) => {
                    let arg = own(&arg);
                    options.set(&arg, &mut parser)?;
                }
                Value(value) => {
                    return Err(format!("unexpected argument {:?}", value.to_string_lossy()));
                }
            }
        }
        options.fill_windows(window, in_flight);
        options.check()?;
        Ok(options)
    }

    /// The group name of a shared subscription.
    pub(super) fn group(&self) -> &'static str {
        "bench"
    }

    /// The broker's address.
    ///
    /// # Errors
    /// When the name does not resolve.
    pub(super) fn addr(&self) -> Result<SocketAddr, String> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let found = found.map_err(|err| format!("cannot resolve {}: {err}", self.host))?;
        // Brokers that listen on one family only listen on IPv4.
        let all: Vec<_> = found.collect();
        let v4 = all.iter().find(|addr| addr.is_ipv4());
        v4.or_else(|| all.first()).copied().ok_or_else(|| format!("{} has no address", self.host))
    }

    fn defaults(mode: Mode) -> Self {
        Self {
            mode,
            host: "localhost".into(),
            port: 1883,
            version: Version::V311,
            login: Login::default(),
            qos: mode.default_qos(),
            size: 64,
            clients: mode.default_clients(),
            members: 10,
            items: 100_000,
            filters: 3,
            persistent: false,
            away: false,
            receive_max: None,
            cycles: 1,
            keep: false,
            to: Vec::new(),
            data_dir: None,
            rate: None,
            window: 0,
            in_flight: 0,
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(5),
            count: None,
            rounds: 3,
            drain: Duration::from_secs(3),
            hold: None,
            topic: format!("bench/{}", std::process::id()),
            broker_pid: None,
            json: false,
            compare: None,
        }
    }

    fn set(&mut self, arg: &str, parser: &mut lexopt::Parser) -> Result<(), String> {
        match arg {
            "h" | "host" => self.host = text(parser)?,
            "p" | "port" => self.port = number(parser, 1, 65_535)?,
            "V" | "protocol-version" => self.version = version(&text(parser)?)?,
            "u" | "username" => self.login.username = Some(text(parser)?),
            "P" | "pw" => self.login.password = Some(text(parser)?),
            "q" | "qos" => {
                let level: u8 = number(parser, 0, 2)?;
                self.qos = QoS::from_u8(level).unwrap_or_default();
            }
            "s" | "size" => self.size = number(parser, STAMP_LEN, 16 << 20)?,
            "n" | "clients" => self.clients = number(parser, 1, 1_000_000)?,
            "members" => self.members = number(parser, 1, 100_000)?,
            "items" => self.items = number(parser, 1, MAX_ITEMS)?,
            "filters" => self.filters = number(parser, 1, 1000)?,
            "persistent" => self.persistent = true,
            "away" => self.away = true,
            "receive-maximum" => self.receive_max = Some(number(parser, 1, u16::MAX)?),
            "cycles" => self.cycles = number(parser, 1, 10_000)?,
            "keep" => self.keep = true,
            "to" => self.to.push(number(parser, 1, 65_535)?),
            "data-dir" => self.data_dir = Some(parser.value().map_err(say)?.into()),
            "r" | "rate" => self.rate = Some(number(parser, 0.001, 1e8)?),
            "warmup" => self.warmup = seconds(parser)?,
            "d" | "duration" => self.duration = seconds(parser)?,
            "c" | "count" => self.count = Some(number(parser, 1, u64::from(u32::MAX))?),
            "rounds" => self.rounds = number(parser, 0, 10_000)?,
            "drain" => self.drain = seconds(parser)?,
            "hold" => self.hold = Some(seconds(parser)?),
            "t" | "topic" => self.topic = text(parser)?,
            "broker-pid" => self.broker_pid = Some(number(parser, 1, u32::MAX)?),
            "json" => self.json = true,
            "compare" => self.compare = Some(parser.value().map_err(say)?.into()),
            other => return Err(format!("unknown option {}", dashed(other))),
        }
        Ok(())
    }

    /// Defaults with which neither Mosquitto nor mogi drops anything: Mosquitto 2.1 queues 1000
    /// messages per subscriber (`max_queued_messages`), and takes 20 QoS 2 messages at once from
    /// a publisher (`max_inflight_messages`).
    fn fill_windows(&mut self, window: Option<u32>, in_flight: Option<u32>) {
        let ping_pong = self.mode == Mode::PingPong;
        self.window = window.unwrap_or(match self.qos {
            _ if ping_pong => 1,
            QoS::ExactlyOnce => 20,
            _ => 100,
        });
        self.in_flight = in_flight.unwrap_or(if ping_pong { 1 } else { 500 });
    }

    fn check(&self) -> Result<(), String> {
        if self.topic.is_empty() || self.topic.contains(['+', '#']) {
            return Err("--topic needs a topic without wildcards".into());
        }
        if self.mode == Mode::Filters && self.items < self.clients {
            return Err("--items must not be below --clients".into());
        }
        let reconnects = self.mode == Mode::Reconnect;
        let acknowledged = self.qos != QoS::AtMostOnce;
        for (wrong, what) in [
            (self.persistent && !self.mode.steady(), "--persistent is for steady loads only"),
            (self.away && !self.persistent, "--away needs --persistent"),
            (self.away && !acknowledged, "--away needs QoS 1 or 2"),
            (self.mode == Mode::Offline && !acknowledged, "mode offline needs QoS 1 or 2"),
            (reconnects && self.qos != QoS::AtLeastOnce, "mode reconnect needs QoS 1"),
            (reconnects && self.to.is_empty(), "mode reconnect needs --to"),
            (self.mode == Mode::Disk && self.data_dir.is_none(), "mode disk needs --data-dir"),
            (self.receive_max.is_some() && !self.version.is_v5(), "--receive-maximum needs -V 5"),
        ] {
            if wrong {
                return Err(what.into());
            }
        }
        Ok(())
    }
}

fn read_mode(parser: &mut lexopt::Parser) -> Result<Mode, String> {
    let names: Vec<_> = Mode::ALL.iter().map(|mode| mode.name()).collect();
    let names = names.join(", ");
    match parser.next().map_err(say)? {
        Some(Value(value)) => {
            let found = Mode::ALL.iter().find(|mode| value == mode.name());
            found.copied().ok_or_else(|| {
                format!("unknown mode {:?}, one of {names}", value.to_string_lossy())
            })
        }
        _ => Err(format!("the first argument must be a mode: {names}")),
    }
}

fn own(arg: &lexopt::Arg<'_>) -> String {
    match arg {
        Short(letter) => letter.to_string(),
        Long(name) => (*name).to_owned(),
        Value(value) => value.to_string_lossy().into_owned(),
    }
}

fn dashed(option: &str) -> String {
    if option.chars().count() == 1 { format!("-{option}") } else { format!("--{option}") }
}

fn text(parser: &mut lexopt::Parser) -> Result<String, String> {
    let value = parser.value().map_err(say)?;
    value.into_string().map_err(|value| format!("{value:?} is not UTF-8"))
}

fn number<T>(parser: &mut lexopt::Parser, min: T, max: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let text = text(parser)?;
    match text.parse::<T>() {
        Ok(value) if value >= min && value <= max => Ok(value),
        _ => Err(format!("{text:?} is no number from {min} to {max}")),
    }
}

fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, String> {
    Ok(Duration::from_secs_f64(number(parser, 0.0, 1e6)?))
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "31" | "3" | "mqttv31" => Ok(Version::V31),
        "311" | "4" | "mqttv311" => Ok(Version::V311),
        "5" | "mqttv5" => Ok(Version::V5),
        _ => Err(format!("unknown protocol version {text:?}, one of 31, 311, 5")),
    }
}

fn say(err: lexopt::Error) -> String {
    err.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_full_line() {
        let line = "fan-out -n 7 -q1 --size 1024 -V 5 -p 1884 --rate 1000 -d 0.5 --broker-pid 12";
        let options = Options::parse(line.split(' ')).expect("good line");
        assert_eq!((options.mode, options.clients, options.size), (Mode::FanOut, 7, 1024));
        assert_eq!((options.version, options.port), (Version::V5, 1884));
        assert_eq!((options.qos, options.window), (QoS::AtLeastOnce, 100));
        assert_eq!(options.rate, Some(1000.0));
        assert_eq!(options.duration, Duration::from_millis(500));
        assert_eq!(options.broker_pid, Some(12));
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, expected) in [
            ("", "first argument must be a mode"),
            ("fanout", "unknown mode \"fanout\""),
            ("pairs --size 8", "\"8\" is no number from 16 to"),
            ("pairs -q 3", "from 0 to 2"),
            ("pairs --nonsense", "unknown option --nonsense"),
            ("pairs -x", "unknown option -x"),
            ("pairs more", "unexpected argument \"more\""),
            ("pairs -V 6", "unknown protocol version"),
            ("pairs -t a/#", "without wildcards"),
            ("connect --persistent", "steady loads only"),
            ("pairs -q1 --away", "--away needs --persistent"),
            ("pairs --persistent --away", "--away needs QoS 1 or 2"),
            ("offline -q0", "offline needs QoS 1 or 2"),
            ("reconnect", "needs --to"),
            ("reconnect --to 1884 -q2", "needs QoS 1"),
            ("disk", "needs --data-dir"),
            ("offline --receive-maximum 5", "needs -V 5"),
        ] {
            let args: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
            let err = Options::parse(args).expect_err(line);
            assert!(err.contains(expected), "{line}: {err}");
        }
    }

    #[test]
    fn the_help_names_every_mode() {
        for mode in Mode::ALL {
            assert!(HELP.contains(mode.name()), "{}", mode.name());
        }
    }
}
