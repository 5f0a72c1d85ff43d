//! What is logged, where and how.

use super::Destination;
use mogi_core::LogKind;

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

    /// The types a word of `log_type` stands for, as bits.
    pub(crate) fn bits_of(word: &str) -> Option<u32> {
        let one = match word {
            "none" => return Some(0),
            "all" => return Some(Self::ALL),
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
        };
        Some(one as u32)
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

    /// Another line of `log_type`: more types, or none (0) whatever stood above.
    pub(crate) fn add_types(&mut self, types: u32) {
        self.types = Some(if types == 0 { 0 } else { self.types.unwrap_or(0) | types });
    }

    /// The form of the lines alone: on stderr, of the default types. What is said while the
    /// configuration is read looks like that.
    pub(crate) fn form(&self) -> Self {
        Self {
            timestamp: self.timestamp,
            timestamp_format: self.timestamp_format.clone(),
            ..Self::default()
        }
    }
}
