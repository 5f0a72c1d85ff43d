//! The broker's process, and its folder.

use super::options::Options;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The number of that signal.
const SIGTERM: i32 = 15;

/// How long a start may take.
pub(super) const START: Duration = Duration::from_secs(30);

/// Small tables, so that they are written, and merged, often.
const OWN: &str = "persistence_memtable_bytes 1048576\nqueue_window_messages 50\n";

/// Nothing is to be dropped for its number, and a message comes once however many filters match.
const COMMON: &str = "user root\nallow_anonymous true\nmax_queued_messages 0\n\
    max_queued_bytes 0\nallow_duplicate_messages false\nconnection_messages false\n\
    log_type error\nlog_type warning\nlog_type notice\nlog_type information\n";

/// The broker under test.
pub(super) struct Process {
    program: PathBuf,
    dir: PathBuf,
    keep: bool,
    child: Option<Child>,
    /// A command that runs it.
    wrapper: Vec<String>,
    pub(super) port: u16,
    /// How long each start took until a client was answered, in milliseconds.
    pub(super) starts_ms: Vec<f64>,
}

impl Process {
    /// Prepares the folder; nothing runs yet.
    pub(super) fn new(options: &Options, program: PathBuf, dir: PathBuf) -> Result<Self> {
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("data"))?;
        let port = free_port(options.seed)?;
        let data = dir.join("data");
        let mut conf = format!("listener {port} 127.0.0.1\n{COMMON}");
        // A plugin that persists takes Mosquitto's own file's place.
        if !options.conf.iter().any(|line| line.starts_with("persistence ")) {
            conf.push_str("persistence true\n");
        }
        conf.push_str(&format!("persistence_location {}/\n", data.display()));
        for line in &options.conf {
            conf.push_str(&format!("{line}\n"));
        }
        fs::write(dir.join("mosquitto.conf"), conf)?;
        if !options.stock {
            let Options { workers, sync, .. } = options;
            let own = format!("{OWN}worker_threads {workers}\npersistence_sync {sync}\n");
            fs::write(dir.join("mogi.conf"), own)?;
        }
        let keep = options.keep;
        let (child, wrapper) = (None, Vec::new());
        Ok(Self { program, dir, keep, child, wrapper, port, starts_ms: Vec::new() })
    }

    /// Prepares one of several brokers with a store that is not its own: `own` is the rest of
    /// `mogi.conf`, `network` where its clients reach it.
    pub(super) fn of_cluster(
        options: &Options,
        program: PathBuf,
        dir: PathBuf,
        own: &str,
        network: Network,
    ) -> Result<Self> {
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        let Network { address, wrapper } = network;
        let port = free_port(options.seed)?;
        reach(port, address);
        let mut conf = format!("listener {port} {address}\n{COMMON}");
        for line in &options.conf {
            conf.push_str(&format!("{line}\n"));
        }
        fs::write(dir.join("mosquitto.conf"), conf)?;
        let workers = options.workers;
        let own = format!("queue_window_messages 50\nworker_threads {workers}\n{own}");
        fs::write(dir.join("mogi.conf"), own)?;
        let keep = options.keep;
        Ok(Self { program, dir, keep, child: None, wrapper, port, starts_ms: Vec::new() })
    }

    /// Its process id, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it and does not wait.
    pub(super) fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.dir.join("log"))?;
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.arg("-c").arg(self.dir.join("mosquitto.conf")).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).current_dir(&self.dir);
        let child = command.spawn();
        self.child = Some(child.with_context(|| self.program.display().to_string())?);
        Ok(())
    }

    /// Starts it and waits until somebody can connect.
    pub(super) fn start(&mut self) -> Result<()> {
        let begun = Instant::now();
        self.spawn()?;
        while TcpStream::connect(place(self.port)).is_err() {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok()?) {
                bail!("the broker ended by itself ({status}):\n{}", self.end_of_log());
            }
            if begun.elapsed() > START {
                bail!("the broker does not listen:\n{}", self.end_of_log());
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// It does not end well.
    pub(super) fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        let status = child.wait()?;
        // One that starts has nothing to tell anybody, and ends at once.
        let ended_early = status.signal() == Some(SIGTERM) && self.was_starting();
        if !status.success() && !ended_early {
            bail!("the broker stopped with {status}:\n{}", self.end_of_log());
        }
        Ok(())
    }

    /// Whether it has ended without being told to.
    pub(super) fn has_died(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Whether it ended before it served anybody, as its store could not be reached.
    pub(super) fn gave_up_starting(&self) -> bool {
        let log = self.end_of_log();
        let last = log.rsplit(" starting\n").next().unwrap_or_default();
        !last.contains(" running") && last.contains("Error: redis://")
    }

    /// Whether it began to start and did not get to serving anybody.
    fn was_starting(&self) -> bool {
        let log = self.end_of_log();
        log.rsplit_once(" starting\n").is_some_and(|(_, last)| !last.contains(" running"))
    }

    /// How many files the broker's data has; it changes when tables are written or merged, and
    /// journals begun.
    pub(super) fn files(&self) -> usize {
        count_files(&self.dir.join("data"))
    }

    /// The last lines of its log.
    pub(super) fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// What the log says in the way of trouble.
    pub(super) fn errors(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let bad = |line: &&str| line.contains("Error") || line.contains("panicked");
        log.lines().filter(bad).take(5).map(ToOwned::to_owned).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if self.keep {
            println!("the broker's folder: {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn count_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let count = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count_files(&entry.path()),
        _ => 1,
    };
    entries.map(count).sum()
}

/// Where a broker is.
pub(super) struct Network {
    /// Where its clients reach it.
    pub(super) address: Ipv4Addr,
    /// A command that runs it there; it has to `exec` it, as signals go to it.
    pub(super) wrapper: Vec<String>,
}

/// Where ports are that are not on the loopback interface.
static ELSEWHERE: RwLock<BTreeMap<u16, Ipv4Addr>> = RwLock::new(BTreeMap::new());

fn reach(port: u16, address: Ipv4Addr) {
    ELSEWHERE.write().unwrap_or_else(PoisonError::into_inner).insert(port, address);
}

/// Where the broker with this port is.
pub(super) fn place(port: u16) -> (Ipv4Addr, u16) {
    let elsewhere = ELSEWHERE.read().unwrap_or_else(PoisonError::into_inner);
    (elsewhere.get(&port).copied().unwrap_or(Ipv4Addr::LOCALHOST), port)
}

/// A port that is free and not one the system gives to connections: while nobody listens on one of
/// those, a connection to it may meet itself.
pub(super) fn free_port(seed: u64) -> Result<u16> {
    let from = 12_000 + (seed ^ u64::from(std::process::id())) % 18_000;
    let ports = (from..from + 1000).map(|port| port as u16);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    { ports }.find(free).context("no free port")
}
