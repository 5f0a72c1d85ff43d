//! The configuration: what the files say, as mosquitto.conf(5) has them read.
//!
//! * `table`: every option there is
//! * `value`: one line
//! * `apply`: what each option does
//! * `doc`: the page about all options
//! * `plan`: from the configuration to what the broker runs

mod apply;
mod doc;
mod plan;
mod table;
mod value;

use crate::cli::Cli;
use crate::log::LogConfig;
use mogi_codec::QoS;
use mogi_core::CoreConfig;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use table::Status;
use value::{Line, Problem};

/// The broker's configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Limits and choices of the core.
    pub(crate) core: CoreConfig,
    /// The log.
    pub(crate) log: LogConfig,
    /// Listeners, in the order of the file.
    pub(crate) listeners: Vec<Listener>,
    /// Whether there is no listener in the file: only this machine may connect.
    pub(crate) local_only: bool,
    /// Whether security options count for the listener above them.
    pub(crate) per_listener_settings: bool,
    /// Security options for all listeners.
    pub(crate) security: Security,
    /// Worker threads; 0: one per core.
    pub(crate) worker_threads: u16,
    /// Connections the broker takes at once.
    pub(crate) max_connections: Option<usize>,
    /// Milliseconds a connection has to send its CONNECT.
    pub(crate) connect_timeout_ms: u64,
    /// Seconds between publications of `$SYS`; 0: none.
    pub(crate) sys_interval_s: u64,
    /// Seconds between purges of expired retained messages.
    pub(crate) retain_expiry_interval_s: Option<u64>,
    /// Where the process id is written.
    pub(crate) pid_file: Option<PathBuf>,
    /// Who to become when started by root.
    pub(crate) user: String,
    /// The main file, if there is one.
    pub(crate) file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            core: CoreConfig::default(),
            log: LogConfig::default(),
            listeners: Vec::new(),
            local_only: false,
            per_listener_settings: false,
            security: Security::default(),
            worker_threads: 0,
            max_connections: None,
            connect_timeout_ms: 30_000,
            sys_interval_s: 10,
            retain_expiry_interval_s: None,
            pid_file: None,
            user: "mosquitto".to_owned(),
            file: None,
        }
    }
}

/// Options that count for all listeners, or for one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    pub(crate) allow_anonymous: Option<bool>,
    pub(crate) allow_zero_length_clientid: Option<bool>,
    pub(crate) auto_id_prefix: Option<String>,
}

/// A listener.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) port: u16,
    pub(crate) host: Option<String>,
    pub(crate) interface: Option<String>,
    /// `socket_domain`: `Some(true)` for IPv6 only, `Some(false)` for IPv4 only.
    pub(crate) only_ipv6: Option<bool>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) mount_point: Option<String>,
    pub(crate) max_qos: QoS,
    pub(crate) use_username_as_clientid: bool,
    pub(crate) accept_versions: u8,
    pub(crate) max_topic_alias: u16,
    pub(crate) max_topic_alias_broker: u16,
    /// Security options of its own.
    pub(crate) own: Security,
    /// `FILE:LINE` where it begins.
    pub(crate) place: String,
}

impl Listener {
    fn new(port: u16, host: Option<&str>, place: String) -> Self {
        Self {
            port,
            host: host.map(str::to_owned),
            interface: None,
            only_ipv6: None,
            max_connections: None,
            mount_point: None,
            max_qos: QoS::ExactlyOnce,
            use_username_as_clientid: false,
            accept_versions: 1 << 3 | 1 << 4 | 1 << 5,
            max_topic_alias: 10,
            max_topic_alias_broker: 10,
            own: Security::default(),
            place,
        }
    }
}

/// Why there is no configuration: lines for the log.
#[derive(Debug)]
pub(crate) struct ConfigError(pub(crate) Vec<String>);

/// A configuration under construction.
pub(crate) struct Builder {
    pub(crate) config: Config,
    /// Which listener the next option belongs to.
    current: Option<usize>,
    /// The listener of `port` and `bind_address`, or of options without a listener above.
    default: Option<usize>,
    seen: HashSet<String>,
    notes: Vec<String>,
    main_file: bool,
}

/// Reads the configuration the command line asks for; notes for the log come with it.
///
/// # Errors
/// A file cannot be read, or a line is not accepted.
pub(crate) fn load(cli: &Cli) -> Result<(Config, Vec<String>), ConfigError> {
    let mut builder = Builder {
        config: Config::default(),
        current: None,
        default: None,
        seen: HashSet::new(),
        notes: Vec::new(),
        main_file: true,
    };
    if let Some(path) = &cli.config {
        builder.config.file = Some(path.clone());
        builder.read_file(path).map_err(|problem| builder.failed(problem))?;
    }
    if let Some(path) = own_file(cli) {
        builder.current = None;
        builder.main_file = true;
        builder.read_file(&path).map_err(|problem| builder.failed(problem))?;
    }
    builder.finish(cli);
    Ok((builder.config, builder.notes))
}

/// The file of mogi's own options: named on the command line, or `mogi.conf` beside the main one.
fn own_file(cli: &Cli) -> Option<PathBuf> {
    if let Some(path) = &cli.mogi_config {
        return Some(path.clone());
    }
    let main = cli.config.as_ref()?;
    let beside = main.with_file_name("mogi.conf");
    (beside != *main && beside.is_file()).then_some(beside)
}

impl Builder {
    /// Something the log says about the file.
    pub(crate) fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    /// An error if the option was there before.
    pub(crate) fn once(&mut self, line: &Line<'_>) -> Result<(), Problem> {
        if self.seen.insert(line.name.to_owned()) {
            return Ok(());
        }
        let name = line.name;
        Err(Problem::new(format!("Error: Duplicate '{name}' value in configuration.")))
    }

    pub(crate) fn begin_listener(&mut self, port: u16, host: Option<&str>, line: &Line<'_>) {
        self.config.listeners.push(Listener::new(port, host, line.place()));
        self.current = Some(self.config.listeners.len() - 1);
    }

    /// The listener above the line, which has to have one.
    pub(crate) fn listener(&mut self, line: &Line<'_>) -> Result<&mut Listener, Problem> {
        match self.current.and_then(|at| self.config.listeners.get_mut(at)) {
            Some(listener) => Ok(listener),
            None => Err(Problem::new(format!(
                "Error: The '{}' option requires a listener to be defined first.",
                line.name
            ))),
        }
    }

    /// The listener above the line, or the default one.
    pub(crate) fn listener_or_default(&mut self, line: &Line<'_>) -> &mut Listener {
        if let Some(at) = self.current {
            return &mut self.config.listeners[at];
        }
        let name = line.name;
        if self.default.is_none() {
            self.note(&format!("Creating default listener due to '{name}' option."));
            self.note(&format!(
                "It is best practice to define a 'listener' first. Using the '{name}' option \
                 without a listener will be disabled in the future."
            ));
        }
        self.default_listener(line)
    }

    /// The listener of `port` and `bind_address`.
    pub(crate) fn default_listener(&mut self, line: &Line<'_>) -> &mut Listener {
        let at = match self.default {
            Some(at) => at,
            None => {
                self.config.listeners.push(Listener::new(1883, None, line.place()));
                self.config.listeners.len() - 1
            }
        };
        self.default = Some(at);
        &mut self.config.listeners[at]
    }

    /// The security options a line belongs to.
    pub(crate) fn security(&mut self, line: &Line<'_>) -> &mut Security {
        if !self.config.per_listener_settings {
            return &mut self.config.security;
        }
        &mut self.listener_or_default(line).own
    }

    /// Reads all `*.conf` of a folder in Mosquitto's order: upper before lower case of a letter.
    pub(crate) fn include(&mut self, folder: &str) -> Result<(), Problem> {
        if !self.main_file {
            return Err(Problem::new("Error: include_dir is only allowed in the main file."));
        }
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Err(Problem::new(format!("Error: Unable to open include_dir '{folder}'.")));
        };
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "conf"))
            .collect();
        files.sort_by_cached_key(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name.to_lowercase(), name)
        });
        self.main_file = false;
        for file in files {
            // Each included file begins with no listener above it.
            self.current = None;
            self.read_file(&file)?;
        }
        self.main_file = true;
        self.current = None;
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<(), Problem> {
        let name = path.display().to_string();
        if path.is_dir() {
            return Err(located(format!("Error: Config file '{name}' is a directory.")));
        }
        let Ok(bytes) = std::fs::read(path) else {
            return Err(located(format!("Error: Unable to open config file '{name}'.")));
        };
        for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let place = format!("{name}:{}", at + 1);
            let found = |problem: Problem| {
                let text = format!("{}\nError found at {place}.", problem.text);
                if problem.located { problem } else { located(text) }
            };
            let Ok(line) = std::str::from_utf8(line) else {
                return Err(found(Problem::new("Error: Malformed UTF-8 in configuration.")));
            };
            self.read_line(&name, at + 1, line).map_err(found)?;
        }
        Ok(())
    }

    fn read_line(&mut self, file: &str, number: usize, text: &str) -> Result<(), Problem> {
        let text = text.trim_end_matches(['\r', '\n']);
        // Only the first column makes a comment.
        if text.starts_with('#') {
            return Ok(());
        }
        let text = text.trim_matches([' ', '\t']);
        if text.is_empty() {
            return Ok(());
        }
        let (name, value) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let line = Line { name, value: value.trim(), file, number };
        let Some(spec) = table::find(name) else {
            return Err(Problem::new(format!("Error: Unknown configuration variable '{name}'.")));
        };
        match spec.status {
            Status::Works(apply) => apply(self, &line),
            Status::NoEffect(why) => {
                self.note(&format!("The '{name}' option has no effect: {why}."));
                Ok(())
            }
            Status::NotYet => {
                Err(Problem::new(format!("Error: The '{name}' option is not built into mogi yet.")))
            }
        }
    }

    fn failed(&self, problem: Problem) -> ConfigError {
        let mut lines = self.notes.clone();
        lines.extend(problem.text.lines().map(str::to_owned));
        ConfigError(lines)
    }

    /// What follows from the whole: without a listener only this machine may connect.
    fn finish(&mut self, cli: &Cli) {
        if self.config.listeners.is_empty() {
            self.config.local_only = true;
            let ports = if cli.ports.is_empty() { &[1883][..] } else { &cli.ports };
            for &port in ports {
                let listener = Listener::new(port, None, "the command line".to_owned());
                self.config.listeners.push(listener);
            }
        }
        if cli.verbose {
            self.config.log.types = Some(crate::log::LogType::ALL);
        }
        if cli.quiet {
            self.config.log.types = Some(0);
        }
    }
}

fn located(text: String) -> Problem {
    Problem { text, located: true }
}

pub(crate) use doc::page;
pub(crate) use plan::{describe, plan};

#[cfg(test)]
mod tests;
