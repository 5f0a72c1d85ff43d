//! The `mogi` binary: the broker, or one of the tools, by its name or first argument.

mod broker;
mod cli;
mod config;
mod log;
mod net;
mod process;

use broker::plan::Plan;
use cli::{Cli, Early};
use config::Config;
use log::{LogConfig, Logger};
use mogi_core::LogKind;
use net::shared::LogSink;
use process::PidFile;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Exit code for a command line or configuration that makes no sense, as Mosquitto's.
const INVALID: u8 = 3;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let first = args.next().unwrap_or_default();
    let program = Path::new(&first).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let args: Vec<OsString> = args.collect();
    if let Some(code) = run_tool(&program, &args) {
        return code;
    }
    run_broker(&Name::of(&program), args)
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
        "bench" => return Some(mogi_tools::bench_main(rest)),
        _ => return None,
    };
    Some(ExitCode::from(code as u8))
}

/// What the broker calls itself in the log: scripts look for it, so one that is run in Mosquitto's
/// place answers to Mosquitto's name and version.
struct Name {
    program: String,
    /// `NAME version X`.
    versioned: String,
}

impl Name {
    fn of(program: &str) -> Self {
        if program == "mosquitto" {
            let versioned = "mosquitto version 2.1.2".to_owned();
            return Self { program: program.to_owned(), versioned };
        }
        let versioned = format!("mogi version {}", env!("CARGO_PKG_VERSION"));
        Self { program: "mogi".to_owned(), versioned }
    }
}

fn run_broker(name: &Name, args: Vec<OsString>) -> ExitCode {
    // Until the configuration is read the log is what it is without one.
    let (early, _) = Logger::new(LogConfig::default());
    let code = match cli::parse(args) {
        Ok(cli) => match config::load(&cli) {
            Ok((config, notes)) => return serve(name, &cli, &config, &notes),
            Err(error) => {
                for line in error.0 {
                    early.log(LogKind::Error, &line);
                }
                INVALID
            }
        },
        Err(Early::Help) => {
            print!("{}\n\n{}", name.versioned, cli::usage(&name.program));
            0
        }
        Err(Early::Version) => {
            println!("{} {}", name.program, name.versioned.rsplit(' ').next().unwrap_or_default());
            println!("Licence MIT OR Apache-2.0");
            0
        }
        Err(Early::Options) => {
            print!("{}", config::page());
            return ExitCode::SUCCESS;
        }
        Err(Early::Usage) => {
            print!("{}\n\n{}", name.versioned, cli::usage(&name.program));
            INVALID
        }
        Err(Early::Wrong(line)) => {
            early.log(LogKind::Error, &line);
            INVALID
        }
    };
    early.log(LogKind::Notice, &format!("{} terminating", name.versioned));
    ExitCode::from(code)
}

fn serve(name: &Name, cli: &Cli, config: &Config, notes: &[String]) -> ExitCode {
    if cli.test_config {
        return tell_test_result(name, config, notes);
    }
    if cli.daemon
        && let Err(error) = process::daemonize()
    {
        eprintln!("Error in fork: {error}");
        return ExitCode::FAILURE;
    }
    process::raise_descriptor_limit();
    let pid_file = match config.pid_file.as_deref().map(PidFile::write).transpose() {
        Ok(pid_file) => pid_file,
        Err(line) => {
            eprintln!("{line}");
            return ExitCode::FAILURE;
        }
    };
    let dropped = process::drop_privileges(&config.user);
    let (logger, problems) = Logger::new(config.log.clone());
    let mut failed = !problems.is_empty();
    for line in problems {
        logger.log(LogKind::Error, &line);
    }
    match dropped {
        Ok(lines) => lines.iter().for_each(|line| logger.log(LogKind::Warning, line)),
        Err(line) => {
            logger.log(LogKind::Error, &line);
            failed = true;
        }
    }
    let logger: Box<dyn LogSink> = Box::new(logger);
    let logger: &'static dyn LogSink = Box::leak(logger);
    if !failed {
        logger.log(LogKind::Information, &format!("{} starting", name.versioned));
        greet(config, notes, logger);
        failed = run_plan(name, config, logger).is_err();
    }
    logger.log(LogKind::Information, &format!("{} terminating", name.versioned));
    drop(pid_file);
    ExitCode::from(u8::from(failed))
}

fn tell_test_result(name: &Name, config: &Config, notes: &[String]) -> ExitCode {
    let (logger, _) = Logger::new(LogConfig::default());
    for line in notes.iter().chain(&config::describe(config)) {
        logger.log(LogKind::Notice, line);
    }
    logger.log(LogKind::Notice, "Configuration file is OK.");
    logger.log(LogKind::Notice, &format!("{} terminating", name.versioned));
    ExitCode::SUCCESS
}

/// What the log says before the listeners are opened.
fn greet(config: &Config, notes: &[String], logger: &dyn LogSink) {
    match &config.file {
        Some(path) => {
            logger.log(LogKind::Information, &format!("Config loaded from {}.", path.display()));
        }
        None => logger.log(LogKind::Information, "Using default config."),
    }
    for note in notes {
        logger.log(LogKind::Notice, note);
    }
    if config.local_only {
        logger.log(
            LogKind::Notice,
            "Starting in local only mode. Connections will only be possible from clients running \
             on this machine.\nCreate a configuration file which defines a listener to allow \
             remote access.\nFor more details see \
             https://mosquitto.org/documentation/authentication-methods/",
        );
    }
}

fn run_plan(name: &Name, config: &Config, logger: &'static dyn LogSink) -> Result<(), ()> {
    let told = |error: std::io::Error| {
        logger.log(LogKind::Error, &format!("Error: {error}"));
    };
    let mut seed = [0; 8];
    if getrandom::fill(&mut seed).is_err() {
        logger.log(LogKind::Warning, "Warning: the system gives no random numbers.");
    }
    let mask = config.log.mask() & 127;
    let version = name.versioned.clone();
    let (listeners, settings) =
        config::plan(config, u64::from_ne_bytes(seed), version, mask).map_err(told)?;
    let signals = Some(process::signals().map_err(told)?);
    let running = format!("{} running", name.versioned);
    let announce = Box::new(move || logger.log(LogKind::Information, &running));
    broker::run(Plan { listeners, settings, log: logger, signals, announce }).map_err(told)
}
