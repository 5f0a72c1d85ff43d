//! Where log lines go (`log_dest`).

use super::why;
use mogi_core::LogKind;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
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
    Syslog(Syslog),
    File(PathBuf, File),
}

impl Destination {
    /// Opens it, as `program` for the system's log.
    ///
    /// # Errors
    /// A line for people.
    pub(super) fn open(&self, program: &str, facility: Option<u8>) -> Result<Open, String> {
        Ok(match self {
            Self::Stdout => Open::Stdout,
            Self::Stderr => Open::Stderr,
            Self::Topic => Open::Topic,
            Self::Syslog => Open::Syslog(Syslog::open(program, facility)?),
            Self::File(path) => {
                let file = append(path).map_err(|error| {
                    let (path, why) = (path.display(), why(&error));
                    format!("Error: Unable to open log file {path} for writing: {why}.")
                })?;
                Open::File(path.clone(), file)
            }
        })
    }
}

impl Open {
    /// Writes a whole line to what takes bytes. A log that cannot be written is no reason to stop
    /// serving, and there is nowhere to say so.
    pub(super) fn write_line(&mut self, line: &str) {
        let text = format!("{line}\n");
        let _ = match self {
            Self::Stdout => io::stdout().lock().write_all(text.as_bytes()),
            Self::Stderr => io::stderr().lock().write_all(text.as_bytes()),
            Self::File(_, file) => file.write_all(text.as_bytes()),
            Self::Topic | Self::Syslog(_) => Ok(()),
        };
    }

    /// Opens the file anew; what cannot be opened stays what it was.
    pub(super) fn reopen(&mut self) {
        if let Self::File(path, file) = self
            && let Ok(new) = append(path)
        {
            *file = new;
        }
    }
}

/// Only its owner may read it, as with Mosquitto: it says who talks to whom.
fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The system's log (RFC 3164, as syslog(3) speaks it).
pub(super) struct Syslog {
    socket: UnixDatagram,
    path: PathBuf,
    program: String,
    facility: u8,
}

impl Syslog {
    fn open(program: &str, facility: Option<u8>) -> Result<Self, String> {
        Self::at(Path::new("/dev/log"), program, facility)
            .map_err(|error| format!("Error: Unable to reach the system's log: {}.", why(&error)))
    }

    fn at(path: &Path, program: &str, facility: Option<u8>) -> io::Result<Self> {
        const DAEMON: u8 = 3;
        const LOCAL0: u8 = 16;
        let socket = UnixDatagram::unbound()?;
        // A system log that does not keep up loses lines; it does not stop workers.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            program: program.to_owned(),
            facility: facility.map_or(DAEMON, |local| LOCAL0 + local),
        })
    }

    /// Sends one line. The log daemon may be started again at any time, so each goes by name.
    pub(super) fn send(&self, kind: LogKind, line: &str) {
        let severity = match kind {
            LogKind::Error => 3,
            LogKind::Warning => 4,
            LogKind::Notice | LogKind::Subscribe | LogKind::Unsubscribe => 5,
            LogKind::Information => 6,
            LogKind::Debug => 7,
        };
        let priority = self.facility * 8 + severity;
        let text = format!("<{priority}>{}[{}]: {line}", self.program, std::process::id());
        // As above: no log daemon is no reason to stop.
        let _ = self.socket.send_to(text.as_bytes(), &self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mogi-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[test]
    fn syslog_gets_priority_name_and_line() {
        let folder = folder("syslog");
        let path = folder.join("log");
        let daemon = UnixDatagram::bind(&path).expect("a socket");
        let received = |facility, kind| {
            let log = Syslog::at(&path, "mosquitto", facility).expect("reachable");
            log.send(kind, "a line");
            let mut text = [0; 100];
            let length = daemon.recv(&mut text).expect("a line");
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        let line = format!("mosquitto[{}]: a line", std::process::id());
        assert_eq!(received(None, LogKind::Error), format!("<27>{line}"));
        assert_eq!(received(Some(0), LogKind::Information), format!("<134>{line}"));
        assert_eq!(received(Some(7), LogKind::Debug), format!("<191>{line}"));
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_system_log_that_is_not_there_stops_nobody() {
        let log = Syslog::at(Path::new("/no/such/socket"), "mogi", None).expect("a socket");
        log.send(LogKind::Error, "unheard");
    }

    #[test]
    fn log_files_are_their_owners() {
        let folder = folder("log-mode");
        let path = folder.join("log");
        let open = |path: &Path| Destination::File(path.to_owned()).open("mogi", None);
        assert!(open(&path).is_ok());
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let problem = open(&folder).err().expect("a folder is no file");
        let start = format!("Error: Unable to open log file {} for writing", folder.display());
        assert!(problem.starts_with(&start), "{problem}");
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
