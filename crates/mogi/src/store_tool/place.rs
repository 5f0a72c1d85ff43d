//! Where a store is: in a folder or in Redis.

use super::options::{Options, Side};
use super::{Failure, MISUSED, UNREADABLE};
use crate::cli::Cli;
use crate::config;
use mogi_store::redis::RedisOptions;
use std::fmt;
use std::path::{Path, PathBuf};

/// What connections are called that are not a broker's.
const NAME: &str = "mogi.store";

pub(super) enum Place {
    /// The folder of the store itself.
    Folder(PathBuf),
    Redis(Box<RedisOptions>),
}

impl Place {
    /// A folder a broker keeps its state in, or the address of Redis.
    pub(super) fn of(text: &str, side: Side, options: &Options) -> Result<Self, Failure> {
        if !text.contains("://") {
            let cli = Cli { data_dir: Some(text.to_owned()), ..Cli::default() };
            return Self::of_config(&cli);
        }
        let mut lines = vec![("persistence_store".to_owned(), text.to_owned())];
        let of_side = options.redis.iter().filter(|(of, ..)| *of == Side::Both || *of == side);
        lines.extend(of_side.map(|(_, name, value)| (name.clone(), value.clone())));
        config::store_of(&lines).map(Self::redis).map_err(|what| Failure(MISUSED, what))
    }

    /// Where the broker with these files keeps its state.
    pub(super) fn of_config(cli: &Cli) -> Result<Self, Failure> {
        let loaded = config::load(cli);
        let Some(config) = loaded.config else {
            let notes: Vec<_> = loaded.notes.into_iter().map(|(_, note)| note).collect();
            return Err(Failure(UNREADABLE, notes.join("\n")));
        };
        if let Some(options) = config.persistence.redis.options() {
            return Ok(Self::redis(options));
        }
        let Some(dir) = config::data_dir(&config) else {
            let file = cli.config.as_deref().unwrap_or_else(|| Path::new("the configuration"));
            let line =
                format!("with {} no state is kept on disk (persistence false)", file.display());
            return Err(Failure(UNREADABLE, line));
        };
        // Somebody who names the folder that has the files means it.
        let itself = dir.parent().filter(|parent| parent.join("format").is_file());
        let dir = itself.filter(|_| !dir.exists()).map_or_else(|| dir.clone(), Path::to_owned);
        Ok(Self::Folder(dir))
    }

    fn redis(mut options: RedisOptions) -> Self {
        // Another node than any broker.
        NAME.clone_into(&mut options.node);
        NAME.clone_into(&mut options.wire.client_name);
        Self::Redis(Box::new(options))
    }
}

/// Without user and password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(dir) => dir.display().fmt(f),
            Self::Redis(options) => {
                let scheme = if options.wire.tls.is_some() { "rediss" } else { "redis" };
                let seeds: Vec<_> = options.wire.seeds.iter().map(ToString::to_string).collect();
                write!(f, "{scheme}://{}", seeds.join(","))?;
                match &*options.prefix {
                    "" => Ok(()),
                    prefix => write!(f, " (prefix {prefix})"),
                }
            }
        }
    }
}
