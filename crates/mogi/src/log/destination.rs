//! Where log lines go (`log_dest`).

use mogi_core::LogKind;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// A destination as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Stdout,
    Stderr,
    Syslog,
    /// Topics below `$SYS/broker/log`.
    Topic,
    File(PathBuf),
}

/// A destination that is open.
pub(super) enum Open {
    Stdout,
    Stderr,
    Topic,
    Syslog(Option<UnixDatagram>),
    File(PathBuf, File),
}

impl Destination {
    pub(super) fn open(&self) -> Result<Open, String> {
        Ok(match self {
            Self::Stdout => Open::Stdout,
            Self::Stderr => Open::Stderr,
            Self::Topic => Open::Topic,
            Self::Syslog => Open::Syslog(UnixDatagram::unbound().ok()),
            Self::File(path) => {
                let file = append(path).map_err(|error| {
                    format!(
                        "Error: Unable to open log file {} for writing: {error}.",
                        path.display()
                    )
                })?;
                Open::File(path.clone(), file)
            }
        })
    }
}

impl Open {
    /// A log that cannot be written is no reason to stop serving; there is nowhere to say so.
    pub(super) fn write_line(&mut self, stamp: &str, line: &str) {
        let text = format!("{stamp}{line}\n");
        let _ = match self {
            Self::Stdout => std::io::stdout().lock().write_all(text.as_bytes()),
            Self::Stderr => std::io::stderr().lock().write_all(text.as_bytes()),
            Self::File(_, file) => file.write_all(text.as_bytes()),
            Self::Topic | Self::Syslog(_) => Ok(()),
        };
    }

    pub(super) fn reopen(&mut self) {
        if let Self::File(path, file) = self
            && let Ok(new) = append(path)
        {
            *file = new;
        }
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Sends one line to the system's log (RFC 3164).
pub(super) fn syslog_socket(
    socket: &Option<UnixDatagram>,
    facility: u8,
    kind: LogKind,
    line: &str,
) {
    let severity = match kind {
        LogKind::Error => 3,
        LogKind::Warning => 4,
        LogKind::Notice | LogKind::Subscribe | LogKind::Unsubscribe => 5,
        LogKind::Information => 6,
        LogKind::Debug => 7,
    };
    if let Some(socket) = socket {
        let text = format!("<{}>mogi[{}]: {line}", facility * 8 + severity, std::process::id());
        // As above: no log daemon is no reason to stop.
        let _ = socket.send_to(text.as_bytes(), "/dev/log");
    }
}
