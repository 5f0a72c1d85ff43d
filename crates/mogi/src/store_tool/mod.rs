//! `mogi store`: looks into the folder a broker keeps its state in.
//!
//! * `options`: the command line
//! * `reading`: a copy of the store, opened and read
//! * `inspect`, `verify`, `export`: the commands
//! * `line`: what an export consists of; `mosquitto`: the same for Mosquitto
//!
//! **Invariant.** Nothing in the store's folder is written: what is opened is a copy.

mod export;
mod inspect;
mod line;
mod mosquitto;
mod options;
mod reading;
mod verify;

use crate::config;
use mogi_store::{ErrorKind, StoreError};
use options::{Command, Options, Parsed};
use reading::Reading;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const DAMAGED: u8 = 1;
const UNREADABLE: u8 = 2;
const MISUSED: u8 = 3;

/// Why a command came to no good end: an exit code, and a line for stderr.
struct Failure(u8, String);

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = if error.kind == ErrorKind::Damaged { DAMAGED } else { UNREADABLE };
        Self(code, error.to_string())
    }
}

/// Nobody reads what is printed any more, or it cannot be written.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self(0, String::new()),
            _ => Self(UNREADABLE, format!("cannot write the output: {error}")),
        }
    }
}

/// Runs `mogi store` with the arguments that follow its name.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let result = match Options::parse(args) {
        Ok(Parsed::Help) => print(options::HELP),
        Ok(Parsed::Run(options)) => run(&options),
        Err(what) => Err(Failure(MISUSED, format!("{what}\nTry 'mogi store --help'."))),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Failure(code, line)) => {
            if !line.is_empty() {
                eprintln!("Error: {line}");
            }
            ExitCode::from(code)
        }
    }
}

fn run(options: &Options) -> Result<u8, Failure> {
    let dir = store_dir(options)?;
    // Whoever is to get a file has to learn early that it cannot be written.
    let file = options.mosquitto_db.as_deref().map(mosquitto::create).transpose()?;
    let mut reading = Reading::open(&dir)?;
    match (options.command, file) {
        (Command::Inspect, _) => {
            print(&inspect::report(&reading, options.json))?;
            Ok(if reading.damage.any() { DAMAGED } else { 0 })
        }
        (Command::Verify, _) => verify::run(reading, options.json),
        (Command::Export, None) => export::run(&mut reading),
        (Command::Export, Some(file)) => mosquitto::run(&mut reading, file),
    }
}

/// The folder of the store.
fn store_dir(options: &Options) -> Result<PathBuf, Failure> {
    let loaded = config::load(&options.cli);
    let Some(config) = loaded.config else {
        let notes: Vec<_> = loaded.notes.into_iter().map(|(_, note)| note).collect();
        return Err(Failure(UNREADABLE, notes.join("\n")));
    };
    let Some(dir) = config::data_dir(&config) else {
        let file = options.cli.config.as_deref().unwrap_or_else(|| Path::new("the configuration"));
        let line = format!("with {} no state is kept on disk (persistence false)", file.display());
        return Err(Failure(UNREADABLE, line));
    };
    // Somebody who names the folder that has the files means it.
    let itself = dir.parent().filter(|parent| parent.join("format").is_file());
    Ok(itself.filter(|_| !dir.exists()).map_or_else(|| dir.clone(), Path::to_owned))
}

fn print(text: &str) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(0)
}

/// The exit code of a command that printed what there is, and what it says about damage.
fn conclude(reading: &Reading) -> u8 {
    if !reading.damage.any() {
        return 0;
    }
    eprintln!(
        "Error: The store in {} is damaged; this is what could be read. 'mogi store verify' says \
         more.",
        reading.store().display()
    );
    DAMAGED
}
