//! The command line of `mogi store`.

use crate::cli::Cli;
use lexopt::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub(super) const HELP: &str = include_str!("help.txt");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Inspect,
    Verify,
    Export,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) command: Command,
    /// What says where the state is, as on the broker's command line.
    pub(super) cli: Cli,
    pub(super) json: bool,
    /// The file to write for Mosquitto.
    pub(super) mosquitto_db: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Help,
    Run(Options),
}

impl Options {
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(args: Vec<OsString>) -> Result<Parsed, String> {
        let mut command = None;
        let (mut cli, mut json, mut mosquitto_db) = (Cli::default(), false, None);
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next().map_err(said)? {
            match arg {
                Short('h') | Long("help") => return Ok(Parsed::Help),
                Short('c') | Long("config-file") => {
                    cli.config = Some(parser.value().map_err(said)?.into());
                }
                Long("mogi-config") => {
                    cli.mogi_config = Some(parser.value().map_err(said)?.into());
                }
                Long("data-dir") => {
                    let dir = parser.value().map_err(said)?;
                    cli.data_dir = Some(dir.to_string_lossy().into_owned());
                }
                Long("json") => json = true,
                Long("mosquitto-db") => mosquitto_db = Some(parser.value().map_err(said)?.into()),
                Value(word) if command.is_none() => command = Some(read_command(&word)?),
                other => return Err(said(other.unexpected())),
            }
        }
        let command = command.ok_or("say what to do: inspect, verify or export")?;
        if cli.config.is_none() && cli.data_dir.is_none() {
            return Err("say where the state is: --data-dir DIR or -c FILE".to_owned());
        }
        if mosquitto_db.is_some() && command != Command::Export {
            return Err("--mosquitto-db belongs to export".to_owned());
        }
        Ok(Parsed::Run(Self { command, cli, json, mosquitto_db }))
    }
}

fn read_command(word: &OsString) -> Result<Command, String> {
    match word.to_str() {
        Some("inspect") => Ok(Command::Inspect),
        Some("verify") => Ok(Command::Verify),
        Some("export") => Ok(Command::Export),
        _ => Err(format!("there is no command '{}'", word.to_string_lossy())),
    }
}

fn said(error: lexopt::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Parsed, String> {
        Options::parse(args.iter().map(OsString::from).collect())
    }

    #[test]
    fn commands_and_options_are_understood() {
        let Ok(Parsed::Run(options)) = parse(&["inspect", "--data-dir", "d", "--json"]) else {
            panic!("it is understood");
        };
        assert_eq!((options.command, options.json), (Command::Inspect, true));
        assert_eq!(options.cli.data_dir.as_deref(), Some("d"));
        let Ok(Parsed::Run(options)) = parse(&["-c", "f", "export", "--mosquitto-db=m.db"]) else {
            panic!("it is understood");
        };
        assert_eq!(options.cli.config, Some(PathBuf::from("f")));
        assert_eq!(options.mosquitto_db, Some(PathBuf::from("m.db")));
        assert_eq!(parse(&["verify", "-h", "--what"]), Ok(Parsed::Help));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |args: &[&str]| parse(args).expect_err("something is wrong");
        assert_eq!(wrong(&["repair"]), "there is no command 'repair'");
        assert!(wrong(&["--data-dir", "d"]).starts_with("say what to do"));
        assert!(wrong(&["inspect"]).starts_with("say where"));
        assert!(wrong(&["inspect", "verify"]).contains("verify"));
        assert!(wrong(&["inspect", "--data-dir"]).contains("--data-dir"));
        assert!(wrong(&["verify", "--data-dir", "d", "--mosquitto-db", "f"]).contains("export"));
    }
}
