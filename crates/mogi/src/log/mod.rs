//! The log: Mosquitto's line types, destinations and form.
//!
//! * `config`: what is logged, where and how
//! * `destination`: where lines go
//! * `line`: what they look like

mod config;
mod destination;
mod line;

pub(crate) use config::{LogConfig, LogType};
pub(crate) use destination::Destination;
pub(crate) use line::{why, why_unread};

use crate::net::shared::LogSink;
use destination::Open;
use mogi_core::LogKind;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Lines that wait to be published; beyond that the oldest go.
const MAX_TOPIC_LINES: usize = 1000;

/// Writes lines, whole, from any thread.
pub(crate) struct Logger {
    program: String,
    mask: AtomicU32,
    state: Mutex<State>,
}

struct State {
    config: LogConfig,
    open: Vec<Open>,
    topic_lines: VecDeque<(String, String)>,
}

impl Logger {
    /// Opens the destinations, as `program` for the system's log. Those that cannot be opened are
    /// named in the result; without any other, lines go to stderr.
    pub(crate) fn new(config: LogConfig, program: &str) -> (Self, Vec<String>) {
        let (open, problems) = open_all(&config, program);
        let mask = AtomicU32::new(config.mask());
        let state = Mutex::new(State { config, open, topic_lines: VecDeque::new() });
        (Self { program: program.to_owned(), mask, state }, problems)
    }

    /// Goes on as another configuration says; the result is that of [`Self::new`].
    pub(crate) fn set(&self, config: &LogConfig) -> Vec<String> {
        let (open, problems) = open_all(config, &self.program);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.mask.store(config.mask(), Ordering::Relaxed);
        state.open = open;
        state.config = config.clone();
        problems
    }

    fn write(&self, kind: LogKind, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { config, open, topic_lines } = &mut *state;
        let stamp = line::stamp(config);
        // Lines of our own go on with a tab; any other end of line is a stranger's.
        for (at, part) in text.split("\n\t").enumerate() {
            let part = if at == 0 { part.to_owned() } else { format!("\t{part}") };
            let whole = line::whole(&stamp, &part);
            for destination in open.iter_mut() {
                match destination {
                    Open::Topic => {
                        let Some(topic) = topic_of(kind) else {
                            continue;
                        };
                        if topic_lines.len() >= MAX_TOPIC_LINES {
                            topic_lines.pop_front();
                        }
                        topic_lines.push_back((topic.to_owned(), whole.clone()));
                    }
                    // The system's log has a clock of its own.
                    Open::Syslog(syslog) => syslog.send(kind, &line::whole("", &part)),
                    other => other.write_line(&whole),
                }
            }
        }
    }
}

/// Opens the destinations; see [`Logger::new`].
fn open_all(config: &LogConfig, program: &str) -> (Vec<Open>, Vec<String>) {
    let mut problems = Vec::new();
    let stderr = [Destination::Stderr];
    let wanted = config.destinations.as_deref().unwrap_or(&stderr);
    let mut open = Vec::new();
    for destination in wanted {
        match destination.open(program, config.facility) {
            Ok(one) => open.push(one),
            Err(error) => problems.push(error),
        }
    }
    if open.is_empty() && !problems.is_empty() {
        open.push(Open::Stderr);
    }
    (open, problems)
}

impl LogSink for Logger {
    fn log(&self, kind: LogKind, line: &str) {
        if self.mask.load(Ordering::Relaxed) & kind as u32 != 0 {
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

/// Where lines of that kind are published (`log_dest topic`). Lines about packets are not: each
/// would send packets to whoever reads them, and so be the cause of the next.
const fn topic_of(kind: LogKind) -> Option<&'static str> {
    match kind {
        LogKind::Error => Some("$SYS/broker/log/E"),
        LogKind::Warning => Some("$SYS/broker/log/W"),
        LogKind::Notice => Some("$SYS/broker/log/N"),
        LogKind::Information => Some("$SYS/broker/log/I"),
        LogKind::Subscribe => Some("$SYS/broker/log/M/subscribe"),
        LogKind::Unsubscribe => Some("$SYS/broker/log/M/unsubscribe"),
        LogKind::Debug => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mogi-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        folder
    }

    fn logger(types: Option<u32>, destinations: &[Destination]) -> Logger {
        let config = LogConfig {
            types,
            destinations: Some(destinations.to_vec()),
            timestamp: false,
            ..LogConfig::default()
        };
        let (logger, problems) = Logger::new(config, "mogi");
        assert_eq!(problems, Vec::<String>::new());
        logger
    }

    fn content(path: &Path) -> String {
        std::fs::read_to_string(path).expect("a file")
    }

    #[test]
    fn files_are_opened_anew() {
        let folder = folder("anew");
        let path = folder.join("log");
        let logger = logger(None, &[Destination::File(path.clone())]);
        logger.log(LogKind::Notice, "one");
        logger.log(LogKind::Debug, "not wanted");
        std::fs::rename(&path, folder.join("old")).expect("renamed");
        logger.log(LogKind::Notice, "two");
        logger.reopen();
        logger.log(LogKind::Error, "three");
        assert_eq!(content(&folder.join("old")), "one\ntwo\n");
        assert_eq!(content(&path), "three\n");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn only_our_own_lines_go_on() {
        let folder = folder("own");
        let path = folder.join("log");
        let logger = logger(None, &[Destination::File(path.clone())]);
        logger.log(LogKind::Notice, "a will\n\tits topic");
        logger.log(LogKind::Notice, "a client\n1: Error: forged");
        assert_eq!(content(&path), "a will\n\tits topic\na client\\n1: Error: forged\n");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn types_choose_lines() {
        let every = [
            (LogKind::Error, LogType::Error),
            (LogKind::Warning, LogType::Warning),
            (LogKind::Notice, LogType::Notice),
            (LogKind::Information, LogType::Information),
            (LogKind::Subscribe, LogType::Subscribe),
            (LogKind::Unsubscribe, LogType::Unsubscribe),
        ];
        for (kind, wanted) in every {
            let logger = logger(Some(wanted as u32), &[Destination::Topic]);
            for (other, _) in every {
                logger.log(other, &format!("{other:?}"));
            }
            let lines = logger.take_topic_lines();
            assert_eq!(lines.len(), 1, "{kind:?}: {lines:?}");
            assert_eq!(lines[0].1, format!("{kind:?}"));
        }
    }

    #[test]
    fn lines_for_topics_wait_within_a_limit() {
        let logger = logger(None, &[Destination::Topic]);
        assert!(logger.publishes());
        for n in 0..MAX_TOPIC_LINES + 5 {
            logger.log(LogKind::Error, &n.to_string());
        }
        let lines = logger.take_topic_lines();
        assert_eq!(lines.len(), MAX_TOPIC_LINES);
        assert_eq!(lines[0], ("$SYS/broker/log/E".to_owned(), "5".to_owned()));
        assert!(logger.take_topic_lines().is_empty());
    }

    #[test]
    fn lines_about_packets_make_no_packets() {
        let logger = logger(Some(LogType::ALL), &[Destination::Topic]);
        logger.log(LogKind::Debug, "Sending PUBLISH to watcher");
        assert!(logger.take_topic_lines().is_empty());
        logger.log(LogKind::Unsubscribe, "id a/b");
        let line = ("$SYS/broker/log/M/unsubscribe".to_owned(), "id a/b".to_owned());
        assert_eq!(logger.take_topic_lines(), [line]);
    }

    #[test]
    fn a_destination_that_fails_leaves_the_others_or_stderr() {
        let missing = Destination::File(PathBuf::from("/no/such/folder/log"));
        let open = |destinations: Vec<Destination>| {
            let config = LogConfig { destinations: Some(destinations), ..LogConfig::default() };
            let (logger, problems) = Logger::new(config, "mogi");
            assert_eq!(problems.len(), 1);
            let state = logger.state.into_inner().expect("not poisoned");
            state.open
        };
        assert!(matches!(open(vec![missing.clone()])[..], [Open::Stderr]));
        assert!(matches!(open(vec![missing, Destination::Topic])[..], [Open::Topic]));
    }

    #[test]
    fn words_of_log_type_are_bits() {
        let mut config = LogConfig::default();
        assert_eq!(config.mask(), 15);
        let add = |config: &mut LogConfig, word| {
            config.add_types(LogType::bits_of(word).expect("a word of log_type"));
            config.mask()
        };
        assert_eq!(add(&mut config, "debug"), 16);
        assert_eq!(add(&mut config, "error"), 17);
        assert_eq!(add(&mut config, "none"), 0);
        assert_eq!(add(&mut config, "subscribe"), 32);
        assert_eq!(add(&mut config, "all"), LogType::ALL);
        assert_eq!(LogType::bits_of("info"), None);
    }
}
