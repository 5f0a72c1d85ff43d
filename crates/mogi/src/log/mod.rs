//! The log: Mosquitto's line types, destinations and form.
//!
//! * `destination`: where lines go

mod destination;

pub(crate) use destination::Destination;

use crate::net::shared::LogSink;
use destination::{Open, syslog_socket};
use mogi_core::LogKind;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// A type of log line (`log_type`). The first seven are the core's kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum LogType {
    Error = LogKind::Error as u32,
    Warning = LogKind::Warning as u32,
    Notice = LogKind::Notice as u32,
    Information = LogKind::Information as u32,
    Debug = LogKind::Debug as u32,
    Subscribe = LogKind::Subscribe as u32,
    Unsubscribe = LogKind::Unsubscribe as u32,
    Websockets = 128,
    Internal = 256,
}

impl LogType {
    /// All types.
    pub(crate) const ALL: u32 = 511;
    /// What is logged unless something else is asked for.
    const DEFAULT: u32 =
        Self::Error as u32 | Self::Warning as u32 | Self::Notice as u32 | Self::Information as u32;

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "error" => Self::Error,
            "warning" => Self::Warning,
            "notice" => Self::Notice,
            "information" => Self::Information,
            "debug" => Self::Debug,
            "subscribe" => Self::Subscribe,
            "unsubscribe" => Self::Unsubscribe,
            "websockets" => Self::Websockets,
            "internal" => Self::Internal,
            _ => return None,
        })
    }
}

/// What is logged, where and how.
#[derive(Clone, Debug)]
pub(crate) struct LogConfig {
    /// The sum of the wanted types; `None`: the default.
    pub(crate) types: Option<u32>,
    /// `None`: stderr.
    pub(crate) destinations: Option<Vec<Destination>>,
    pub(crate) timestamp: bool,
    /// As in strftime(3); `None`: seconds since 1970.
    pub(crate) timestamp_format: Option<String>,
    /// Syslog local0 to local7; `None`: daemon.
    pub(crate) facility: Option<u8>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            types: None,
            destinations: None,
            timestamp: true,
            timestamp_format: None,
            facility: None,
        }
    }
}

impl LogConfig {
    /// The sum of the wanted types.
    pub(crate) fn mask(&self) -> u32 {
        self.types.unwrap_or(LogType::DEFAULT)
    }
}

/// Lines longer than this are cut off, as Mosquitto does.
const MAX_LINE_BYTES: usize = 1000;
/// Lines that wait to be published; beyond that the oldest go.
const MAX_TOPIC_LINES: usize = 1000;

/// Writes lines, whole, from any thread.
pub(crate) struct Logger {
    config: LogConfig,
    mask: u32,
    state: Mutex<State>,
}

struct State {
    open: Vec<Open>,
    topic_lines: VecDeque<(String, String)>,
}

impl Logger {
    /// Opens the destinations; those that cannot be opened are named in the result.
    pub(crate) fn new(config: LogConfig) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let stderr = [Destination::Stderr];
        let wanted = config.destinations.as_deref().unwrap_or(&stderr);
        let mut open = Vec::new();
        for destination in wanted {
            match destination.open() {
                Ok(one) => open.push(one),
                Err(error) => problems.push(error),
            }
        }
        let mask = config.mask();
        let state = Mutex::new(State { open, topic_lines: VecDeque::new() });
        (Self { config, mask, state }, problems)
    }

    fn write(&self, kind: LogKind, text: &str) {
        let stamp = self.stamp();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { open, topic_lines } = &mut *state;
        for line in text.split('\n') {
            let line = printable(line);
            for destination in open.iter_mut() {
                match destination {
                    Open::Topic => {
                        if topic_lines.len() >= MAX_TOPIC_LINES {
                            topic_lines.pop_front();
                        }
                        topic_lines.push_back((topic_of(kind), format!("{stamp}{line}")));
                    }
                    Open::Syslog(socket) => {
                        let facility = self.config.facility.map_or(3, |n| 16 + n);
                        syslog_socket(socket, facility, kind, &line);
                    }
                    other => other.write_line(&stamp, &line),
                }
            }
        }
    }

    fn stamp(&self) -> String {
        if !self.config.timestamp {
            return String::new();
        }
        let now = jiff::Zoned::now();
        match &self.config.timestamp_format {
            None => format!("{}: ", now.timestamp().as_second()),
            Some(format) => {
                let text = jiff::fmt::strtime::format(format, &now);
                format!("{}: ", text.unwrap_or_else(|_| now.timestamp().as_second().to_string()))
            }
        }
    }
}

impl LogSink for Logger {
    fn log(&self, kind: LogKind, line: &str) {
        if self.mask & kind as u32 != 0 {
            self.write(kind, line);
        }
    }

    fn take_topic_lines(&self) -> Vec<(String, String)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.topic_lines.drain(..).collect()
    }

    fn publishes(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.iter().any(|open| matches!(open, Open::Topic))
    }

    fn reopen(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for open in &mut state.open {
            open.reopen();
        }
    }
}

/// Where lines of that kind are published (`log_dest topic`).
fn topic_of(kind: LogKind) -> String {
    let name = match kind {
        LogKind::Error => "E",
        LogKind::Warning => "W",
        LogKind::Notice => "N",
        LogKind::Information => "I",
        LogKind::Debug => "D",
        LogKind::Subscribe => "M/subscribe",
        LogKind::Unsubscribe => "M/unsubscribe",
    };
    format!("$SYS/broker/log/{name}")
}

/// The line without control characters: client ids and topics come from strangers, who must not
/// write lines of their own or move the cursor of whoever reads the log. A leading tab is ours.
fn printable(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for (at, character) in line.char_indices() {
        if out.len() >= MAX_LINE_BYTES {
            break;
        }
        if character.is_control() && !(at == 0 && character == '\t') {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_write_lines() {
        assert_eq!(printable("a\x1b[2Jb\rc"), "a\\u{1b}[2Jb\\rc");
        assert_eq!(printable("\tfilter"), "\tfilter");
        assert!(printable(&"x".repeat(5000)).len() <= MAX_LINE_BYTES);
    }

    #[test]
    fn files_are_opened_anew() {
        let folder = std::env::temp_dir().join(format!("mogi-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        let path = folder.join("log");
        let config = LogConfig {
            destinations: Some(vec![Destination::File(path.clone())]),
            timestamp: false,
            ..LogConfig::default()
        };
        let (logger, problems) = Logger::new(config);
        assert!(problems.is_empty());
        logger.log(LogKind::Notice, "one");
        logger.log(LogKind::Debug, "not wanted");
        std::fs::rename(&path, folder.join("old")).expect("renamed");
        logger.reopen();
        logger.log(LogKind::Error, "two");
        assert_eq!(std::fs::read_to_string(folder.join("old")).expect("old"), "one\n");
        assert_eq!(std::fs::read_to_string(&path).expect("new"), "two\n");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn lines_for_topics_wait_within_a_limit() {
        let config = LogConfig {
            destinations: Some(vec![Destination::Topic]),
            timestamp: false,
            ..LogConfig::default()
        };
        let (logger, _) = Logger::new(config);
        for n in 0..MAX_TOPIC_LINES + 5 {
            logger.log(LogKind::Error, &n.to_string());
        }
        let lines = logger.take_topic_lines();
        assert_eq!(lines.len(), MAX_TOPIC_LINES);
        assert_eq!(lines[0], ("$SYS/broker/log/E".to_owned(), "5".to_owned()));
    }
}
