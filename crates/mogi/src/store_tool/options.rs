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
    Migrate,
}

/// Which place an option of Redis is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Both,
    From,
    To,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) command: Command,
    /// Folders and addresses of Redis: where the state is; two to migrate.
    pub(super) places: Vec<String>,
    /// What says where the state is, as on the broker's command line.
    pub(super) cli: Cli,
    /// Options of Redis, as in the broker's files.
    pub(super) redis: Vec<(Side, String, String)>,
    pub(super) json: bool,
    /// The file to write for Mosquitto.
    pub(super) mosquitto_db: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Help,
    Run(Box<Options>),
}

impl Options {
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(args: Vec<OsString>) -> Result<Parsed, String> {
        let mut command = None;
        let (mut places, mut redis) = (Vec::new(), Vec::new());
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
                    places.push(parser.value().map_err(said)?.to_string_lossy().into_owned());
                }
                Long("json") => json = true,
                Long("mosquitto-db") => mosquitto_db = Some(parser.value().map_err(said)?.into()),
                Value(word) if command.is_none() => command = Some(read_command(&word)?),
                Value(place) => places.push(place.to_string_lossy().into_owned()),
                Long(name) if of_redis(name).is_some() => {
                    // It is one: see above.
                    let (side, name) = of_redis(name).unwrap_or((Side::Both, String::new()));
                    let value = parser.value().map_err(said)?.to_string_lossy().into_owned();
                    redis.push((side, name, value));
                }
                other => return Err(said(other.unexpected())),
            }
        }
        let command = command.ok_or("say what to do: inspect, verify, export or migrate")?;
        let options = Self { command, places, cli, redis, json, mosquitto_db };
        options.check()?;
        Ok(Parsed::Run(Box::new(options)))
    }

    fn check(&self) -> Result<(), String> {
        let migrates = self.command == Command::Migrate;
        match self.places.len() {
            2 if migrates => {}
            _ if migrates => {
                return Err("say where from and where to: mogi store migrate FROM TO".to_owned());
            }
            0 if self.cli.config.is_none() => {
                return Err("say where the state is: PLACE or -c FILE".to_owned());
            }
            0 | 1 => {}
            _ => return Err("one store at a time".to_owned()),
        }
        if let Some((.., name, _)) = self.redis.iter().find(|(side, ..)| *side != Side::Both)
            && !migrates
        {
            return Err(format!("--from-… and --to-… belong to migrate ({name})"));
        }
        if self.mosquitto_db.is_some() && self.command != Command::Export {
            return Err("--mosquitto-db belongs to export".to_owned());
        }
        Ok(())
    }
}

/// An option of Redis as it stands in the broker's files, and which place it is about.
fn of_redis(name: &str) -> Option<(Side, String)> {
    let sides = [("from-redis-", Side::From), ("to-redis-", Side::To), ("redis-", Side::Both)];
    let (name, side) =
        sides.iter().find_map(|(start, side)| Some((name.strip_prefix(start)?, *side)))?;
    let known = ["prefix", "cluster", "wait", "cafile", "certfile", "keyfile", "insecure"];
    known.contains(&name).then(|| (side, format!("redis_{name}")))
}

fn read_command(word: &OsString) -> Result<Command, String> {
    match word.to_str() {
        Some("inspect") => Ok(Command::Inspect),
        Some("verify") => Ok(Command::Verify),
        Some("export") => Ok(Command::Export),
        Some("migrate") => Ok(Command::Migrate),
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
        assert_eq!(options.places, ["d"]);
        let Ok(Parsed::Run(options)) = parse(&["-c", "f", "export", "--mosquitto-db=m.db"]) else {
            panic!("it is understood");
        };
        assert_eq!(options.cli.config, Some(PathBuf::from("f")));
        assert_eq!(options.mosquitto_db, Some(PathBuf::from("m.db")));
        let words = ["migrate", "d", "redis://h", "--to-redis-prefix=p", "--redis-cafile", "f"];
        let Ok(Parsed::Run(options)) = parse(&words) else {
            panic!("it is understood");
        };
        assert_eq!(options.places, ["d", "redis://h"]);
        let set = |side, name: &str, value: &str| (side, name.to_owned(), value.to_owned());
        let to = set(Side::To, "redis_prefix", "p");
        assert_eq!(options.redis, [to, set(Side::Both, "redis_cafile", "f")]);
        assert_eq!(parse(&["verify", "-h", "--what"]), Ok(Parsed::Help));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |args: &[&str]| parse(args).expect_err("something is wrong");
        assert_eq!(wrong(&["repair"]), "there is no command 'repair'");
        assert!(wrong(&["--data-dir", "d"]).starts_with("say what to do"));
        assert!(wrong(&["inspect"]).starts_with("say where"));
        assert!(wrong(&["inspect", "a", "b"]).contains("one store"));
        assert!(wrong(&["migrate", "a"]).contains("FROM TO"));
        assert!(wrong(&["inspect", "a", "--to-redis-prefix", "p"]).contains("belong to migrate"));
        assert!(wrong(&["inspect", "a", "--redis-what", "p"]).contains("redis-what"));
        assert!(wrong(&["inspect", "--data-dir"]).contains("--data-dir"));
        assert!(wrong(&["verify", "--data-dir", "d", "--mosquitto-db", "f"]).contains("export"));
    }
}
