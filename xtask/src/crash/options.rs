//! The command line of `cargo xtask crash`.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How often the broker dies.
    pub(crate) rounds: u64,
    /// Decides everything that is left to chance here.
    pub(crate) seed: u64,
    /// The program; else this tree's mogi, which is built first.
    pub(crate) broker: Option<PathBuf>,
    /// It is a stock Mosquitto: no options of mogi's own for it.
    pub(crate) stock: bool,
    /// `worker_threads` of mogi.
    pub(crate) workers: u16,
    /// `persistence_sync` of mogi.
    pub(crate) sync: String,
    /// More lines for the configuration file.
    pub(crate) conf: Vec<String>,
    /// Where the broker's folder is made; else in the build's.
    pub(crate) dir: Option<PathBuf>,
    /// Three brokers on a Redis Cluster.
    pub(crate) cluster: bool,
    /// Networks between brokers, and between them and Redis, are cut and healed.
    pub(crate) cut: bool,
    /// All that happened is printed.
    pub(crate) verbose: bool,
    /// The broker's folder stays.
    pub(crate) keep: bool,
}

pub(crate) const HELP: &str = "\
cargo xtask crash [OPTION]...

  --rounds N         how often the broker is killed (200)
  --seed S           decides everything left to chance; a fresh one is printed
  --broker PATH      a mogi that is there already
  --stock PATH       a stock Mosquitto instead
  --workers N        worker_threads (2)
  --sync WHAT        persistence_sync: always, off, \"interval 100\" (always)
  --conf LINE        another line for the configuration file; may be repeated
  --dir DIR          where to make the broker's folder: on another disk, or in memory
  --cluster          three brokers on a Redis Cluster (needs redis-server): --rounds says how
                     much happens to them and to Redis
  --cut              with --cluster: networks between brokers, and between them and Redis, are
                     cut and healed too (needs root, unshare, nsenter and ip)
  --verbose          print all that happened to the broker and the clients
  --keep             leave the broker's folder where it is
";

impl Options {
    /// As [`HELP`] says without arguments.
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            rounds: 200,
            seed: since.as_nanos() as u64 % 1_000_000_000,
            broker: None,
            stock: false,
            workers: 2,
            sync: "always".to_owned(),
            conf: Vec::new(),
            dir: None,
            cluster: false,
            cut: false,
            verbose: false,
            keep: false,
        }
    }

    /// Reads the arguments.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self::new();
        let mut args = args.iter();
        while let Some(&name) = args.next() {
            match name {
                "--keep" => options.keep = true,
                "--verbose" => options.verbose = true,
                "--cluster" => options.cluster = true,
                "--cut" => options.cut = true,
                "--help" => bail!("{HELP}"),
                _ => {}
            }
            if matches!(name, "--keep" | "--verbose" | "--cluster" | "--cut") {
                continue;
            }
            let value = args.next().with_context(|| format!("{name} needs a value\n{HELP}"))?;
            let number = || value.parse::<u64>().with_context(|| format!("{name} {value}"));
            match name {
                "--rounds" => options.rounds = number()?,
                "--seed" => options.seed = number()?,
                "--workers" => options.workers = number()?.try_into()?,
                "--sync" => (*value).clone_into(&mut options.sync),
                "--dir" => options.dir = Some(PathBuf::from(value)),
                "--conf" => options.conf.push((*value).to_owned()),
                "--broker" | "--stock" => {
                    options.broker = Some(PathBuf::from(value));
                    options.stock = name == "--stock";
                }
                _ => bail!("{name}?\n{HELP}"),
            }
        }
        Ok(options)
    }
}
