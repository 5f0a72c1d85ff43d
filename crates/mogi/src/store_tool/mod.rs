//! `mogi store`: looks into what a broker keeps, on disk or in Redis, and takes it elsewhere.
//!
//! * `options`: the command line; `place`: where a store is
//! * `reading`: a store, opened and read
//! * `inspect`, `verify`, `export`: the commands
//! * `line`: what an export consists of; `mosquitto`: the same for Mosquitto
//! * `migrate`: from one place to another; `target`, `lack`: what is there already, what is not
//!
//! **Invariant.** Nothing is written to a store, but to one that is migrated to: what is on disk is
//! read from a copy.

mod export;
mod inspect;
mod lack;
mod line;
mod migrate;
mod mosquitto;
mod options;
mod place;
mod reading;
mod target;
mod verify;

use mogi_store::redis::Purpose;
use mogi_store::{ErrorKind, StoreError};
use options::{Command, Options, Parsed, Side};
use place::Place;
use reading::Reading;
use std::ffi::OsString;
use std::io::{self, Write};
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
    if let Command::Migrate = options.command {
        return migrate::run(options);
    }
    let place = match options.places.first() {
        Some(text) => Place::of(text, Side::Both, options)?,
        None => Place::of_config(&options.cli)?,
    };
    // Whoever is to get a file has to learn early that it cannot be written.
    let file = options.mosquitto_db.as_deref().map(mosquitto::create).transpose()?;
    let mut reading = Reading::open(&place, Purpose::Look)?;
    match (options.command, file) {
        (Command::Inspect, _) => {
            print(&inspect::report(&reading, options.json))?;
            Ok(if reading.damage.any() { DAMAGED } else { 0 })
        }
        (Command::Verify, _) => verify::run(reading, options.json),
        (_, None) => export::run(&mut reading),
        (_, Some(file)) => mosquitto::run(&mut reading, file),
    }
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
        reading.place
    );
    DAMAGED
}
