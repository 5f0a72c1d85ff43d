//! The `mogi` binary: the broker, or one of the tools, by its name or first argument. It is a
//! library so that fuzz targets reach what it reads.

mod access;
mod bridge;
mod broker;

mod cli;
mod cluster;
mod config;
mod log;
mod net;
mod process;
mod store_tool;

use broker::plan::{Plan, Reloaded};
use cli::{Cli, Early};
use config::Config;
use log::Logger;
use mogi_core::LogKind;
use net::shared::LogSink;
use process::PidFile;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// Exit codes, as Mosquitto's: libmosquitto's MOSQ_ERR_NOMEM, _INVAL and _ERRNO.
const FAILED: u8 = 1;
const INVALID: u8 = 3;
const SYSTEM: u8 = 14;

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let first = args.next().unwrap_or_default();
    let program = Path::new(&first).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let args: Vec<OsString> = args.collect();
    if let Some(code) = run_tool(&program, &args) {
        return code;
    }
    run_broker(&Name::of(&program), args)
}

/// Reads a configuration file as a start does, and once more as SIGHUP does: what it came to, for
/// people.
///
/// # Errors
/// What is wrong with it, as the log says it.
pub fn test_config(path: &Path) -> Result<Vec<String>, Vec<String>> {
    let cli = Cli { config: Some(path.to_owned()), ..Cli::default() };
    let loaded = config::load(&cli);
    let Some(config) = loaded.config else {
        return Err(loaded.notes.into_iter().map(|(_, line)| line).collect());
    };
    let (_, again, changed) = config::reload(&config, config.clone())
        .map_err(|lines| lines.lines().map(ToOwned::to_owned).collect::<Vec<_>>())?;
    Ok(config::describe(&again).chain(config::warnings(&again)).chain(changed).collect())
}

/// Runs a tool if the program's name or first argument says so.
fn run_tool(program: &str, args: &[OsString]) -> Option<ExitCode> {
    let by_name = program.strip_prefix("mosquitto_");
    let word = by_name.or_else(|| args.first()?.to_str())?;
    let rest = if by_name.is_some() { args } else { &args[1..] };
    let called = if by_name.is_some() { program.to_owned() } else { format!("{program} {word}") };
    let rest = rest.to_vec();
    let code = match word {
        "pub" => mogi_tools::pub_main(called, rest),
        "sub" => mogi_tools::sub_main(called, rest),
        "rr" => mogi_tools::rr_main(called, rest),
        "ctrl" => mogi_tools::ctrl_main(&called, &rest),
        "passwd" => mogi_tools::passwd_main(&called, &rest),
        "bench" => return Some(mogi_tools::bench_main(rest)),
        "store" => return Some(store_tool::main(rest)),
        _ => return None,
    };
    Some(ExitCode::from(code as u8))
}

/// What the broker calls itself in the log: scripts look for it, so one that is run in Mosquitto's
/// place answers to Mosquitto's name and version.
struct Name {
    program: String,
    version: &'static str,
}

impl Name {
    fn of(program: &str) -> Self {
        let (program, version) = match program {
            "mosquitto" => (program, "2.1.2"),
            _ => ("mogi", env!("CARGO_PKG_VERSION")),
        };
        Self { program: program.to_owned(), version }
    }

    /// `NAME version X`.
    fn versioned(&self) -> String {
        format!("{} version {}", self.program, self.version)
    }
}

/// Why the broker did not run, or ended: an exit code, and a line for the log.
struct Failure(u8, String);

fn run_broker(name: &Name, args: Vec<OsString>) -> ExitCode {
    let (cli, end) = cli::parse(args);
    let loaded = config::load(&cli);
    // What is said before the log is open goes to stderr, in the form of log lines.
    let (early, _) = Logger::new(loaded.log, &name.program);
    for (kind, line) in &loaded.notes {
        early.log(*kind, line);
    }
    let Some(config) = loaded.config else {
        return terminate(name, &early, INVALID);
    };
    if let Err(say) = end {
        return say_early(name, &early, &say);
    }
    if cli.test_config {
        print(&config::describe(&config).map(|line| line + "\n").collect::<String>());
        early.log(LogKind::Information, "Configuration file is OK.");
        return terminate(name, &early, 0);
    }
    match serve(name, &cli, &config, &early) {
        Ok(code) => code,
        Err(Failure(code, line)) => {
            early.log(LogKind::Error, &line);
            terminate(name, &early, code)
        }
    }
}

fn terminate(name: &Name, log: &dyn LogSink, code: u8) -> ExitCode {
    log.log(LogKind::Information, &format!("{} terminating", name.versioned()));
    ExitCode::from(code)
}

fn say_early(name: &Name, early: &Logger, say: &Early) -> ExitCode {
    let usage = || print(&format!("{}\n\n{}", name.versioned(), cli::usage(&name.program)));
    let code = match say {
        Early::Help => {
            usage();
            0
        }
        Early::Version => {
            let mogi = env!("CARGO_PKG_VERSION");
            let Name { program, version } = name;
            print(&format!(
                "{program} {version}\nThis is mogi {mogi}.\nLicense MIT OR Apache-2.0.\n"
            ));
            0
        }
        Early::Options => {
            print(&config::page());
            return ExitCode::SUCCESS;
        }
        Early::Unknown(option) => {
            eprintln!("Error: Unknown option '{option}'.");
            usage();
            INVALID
        }
        Early::Wrong(line) => {
            early.log(LogKind::Error, line);
            INVALID
        }
    };
    terminate(name, early, code)
}

/// Prints to stdout. Whoever has closed it wants no more of it.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Runs the broker to its end.
///
/// # Errors
/// The log does not begin: whatever is wrong later is in that log.
fn serve(name: &Name, cli: &Cli, config: &Config, early: &Logger) -> Result<ExitCode, Failure> {
    process::raise_descriptor_limit();
    let data = config::data_dir(config);
    process::drop_privileges(&config.user, &name.program, data.as_deref(), early)
        .map_err(|line| Failure(INVALID, line))?;
    // Before it goes into the background: whoever starts it sees what is wrong with the log.
    let (logger, problems) = Logger::new(config.log.clone(), &name.program);
    for line in problems {
        early.log(LogKind::Error, &line);
    }
    if cli.daemon {
        process::daemonize()
            .map_err(|error| Failure(FAILED, format!("Error in fork: {error}.")))?;
    }
    let pid_file = config.pid_file.as_deref().map(Path::new).map(PidFile::write).transpose();
    let pid_file = pid_file.map_err(|line| Failure(SYSTEM, line))?;
    // The workers log until the very end.
    let logger: &'static Logger = Box::leak(Box::new(logger));
    greet(name, config, logger);
    let code = match run_plan(name, cli, config, logger) {
        Ok(()) => 0,
        Err(line) => {
            logger.log(LogKind::Error, &line);
            FAILED
        }
    };
    let code = terminate(name, logger, code);
    drop(pid_file);
    Ok(code)
}

/// What the log says before the listeners are opened.
fn greet(name: &Name, config: &Config, logger: &Logger) {
    let say = |line: &str| logger.log(LogKind::Information, line);
    say(&format!("{} starting", name.versioned()));
    match &config.file {
        Some(path) => say(&format!("Config loaded from {}.", path.display())),
        None => say("Using default config."),
    }
    for line in config::warnings(config) {
        logger.log(LogKind::Warning, &line);
    }
    if !config.persistence.on {
        say("State is kept in memory only and ends with the broker. To keep it, set 'persistence \
             true' and 'persistence_location', or start with --data-dir DIR.");
    }
    if config.local_only {
        say("Starting in local only mode. Connections will only be possible from clients running \
             on this machine.");
        say("Create a configuration file which defines a listener to allow remote access.");
        say("For more details see https://mosquitto.org/documentation/authentication-methods/");
    }
}

/// # Errors
/// A line for the log.
fn run_plan(
    name: &Name,
    cli: &Cli,
    config: &Config,
    logger: &'static Logger,
) -> Result<(), String> {
    let told = |error: std::io::Error| format!("Error: {}", log::why(&error));
    let mut seed = [0; 8];
    if getrandom::fill(&mut seed).is_err() {
        logger.log(LogKind::Warning, "Warning: the system gives no random numbers.");
    }
    let version = name.versioned();
    if let Some(path) = &config.tls_keylog {
        let wrong =
            |error| format!("Error: --tls-keylog {}: {}.", path.display(), log::why(&error));
        mogi_client::KeyFile::new(path).map_err(wrong)?;
        let line =
            "Warning: --tls-keylog is set: whoever reads that file can read all connections.";
        logger.log(LogKind::Warning, line);
    }
    let (listeners, settings) = config::plan(config, u64::from_ne_bytes(seed), version.clone())?;
    let signals = Some(process::signals().map_err(told)?);
    let announce =
        Box::new(move || logger.log(LogKind::Information, &format!("{version} running")));
    let (cli, current) = (cli.clone(), Arc::new(Mutex::new(config.clone())));
    let reload = Box::new(move || read_again(&cli, &current, logger));
    broker::run(Plan { listeners, settings, log: logger, signals, reload, announce }).map_err(told)
}

/// Reads the configuration again: what of it can be taken over. `current` is the one that counts,
/// and becomes the new one once that does.
fn read_again(
    cli: &Cli,
    current: &Arc<Mutex<Config>>,
    logger: &'static Logger,
) -> Option<Reloaded> {
    let loaded = config::load(cli);
    for (kind, line) in &loaded.notes {
        logger.log(*kind, line);
    }
    let old = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match config::reload(&old, loaded.config?) {
        Ok((reloaded, new, warnings)) => {
            for line in config::warnings(&new).chain(warnings) {
                logger.log(LogKind::Warning, &line);
            }
            let current = Arc::clone(current);
            let commit = Box::new(move || {
                for line in logger.set(&new.log) {
                    logger.log(LogKind::Error, &line);
                }
                *current.lock().unwrap_or_else(PoisonError::into_inner) = new;
            });
            Some(Reloaded { commit, ..reloaded })
        }
        Err(lines) => {
            lines.lines().for_each(|line| logger.log(LogKind::Error, line));
            None
        }
    }
}
