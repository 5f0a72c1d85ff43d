//! The form of a plugin of Mosquitto: `plugin …/libredis_plugin.so`, and a file with the options.
//! mogi has it built in and loads no such file.

use super::Builder;
use crate::config::table;
use crate::config::value::{Line, Problem};
use mogi_store::redis::wire::{Address, Options, Secret, Tls};

/// What the plugin's file is called, wherever it is.
const FILE: &str = "libredis_plugin.so";

/// Lines about the plugin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    /// Whether the plugin stands above the next line.
    above: bool,
    /// Where its line stands, until its options have been read.
    awaited: Option<String>,
}

/// Whether the line is one about the plugin. It is applied then.
///
/// # Errors
/// Something is wrong with it, or with a line of the file it names.
pub(crate) fn is_of_redis(to: &mut Builder, line: &Line) -> Result<bool, Problem> {
    let lines = &mut to.config.persistence.redis.plugin;
    match &*line.name {
        "plugin" | "global_plugin" => {
            let path = line.text().unwrap_or_default();
            lines.above = path.rsplit('/').next() == Some(FILE);
            if lines.above {
                lines.awaited = Some(line.place.clone());
            }
            Ok(lines.above)
        }
        "plugin_opt_config_file" if lines.above => {
            lines.awaited = None;
            read(to, line.text()?)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// # Errors
/// The plugin has no options.
pub(crate) fn check(to: &Builder) -> Result<(), Problem> {
    match &to.config.persistence.redis.plugin.awaited {
        None => Ok(()),
        Some(place) => Err(Problem::new(format!(
            "Error: {FILE} needs the line 'plugin_opt_config_file FILE' below it.\n\
             Error found at {place}."
        ))),
    }
}

/// Reads the plugin's file: a name and a value on each line, with or without `=` between them.
fn read(to: &mut Builder, path: &str) -> Result<(), Problem> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let why = crate::log::why(&error);
        Problem::new(format!("Error: Unable to open the plugin's config file '{path}': {why}."))
    })?;
    let mut place = Place::default();
    for (at, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let text = text.trim();
        if text.starts_with('#') {
            continue;
        }
        let (name, value) = text.split_once(['=', ' ', '\t']).unwrap_or((text, ""));
        let value = value.trim_start_matches([' ', '\t', '=']);
        let at = format!("{path}:{}", at + 1);
        set(to, &mut place, name.trim(), value, &at)
            .map_err(|Problem(what)| Problem(format!("{what}\nError found at {at}.")))?;
    }
    let host = place.host.ok_or_else(|| {
        Problem::new(format!("Error: '{path}' does not say where Redis is: redis_host is missing."))
    })?;
    let port = place.port.unwrap_or(6379);
    let seeds = host.split(',').map(|host| Address { host: host.trim().to_owned(), port });
    let redis = &mut to.config.persistence.redis;
    redis.store = Some(Options {
        username: place.username,
        password: place.password,
        tls: place.tls.then(Tls::default),
        ..Options::new(seeds.collect())
    });
    Ok(())
}

/// What is an address in `persistence_store`.
#[derive(Default)]
struct Place {
    host: Option<String>,
    port: Option<u16>,
    username: Option<String>,
    password: Option<Secret>,
    tls: bool,
}

fn set(
    to: &mut Builder,
    place: &mut Place,
    name: &str,
    value: &str,
    at: &str,
) -> Result<(), Problem> {
    let invalid = || Problem::new(format!("Error: Invalid '{name}' value ({value})."));
    match name {
        "redis_host" if value.is_empty() => return Err(invalid()),
        "redis_host" => place.host = Some(value.to_owned()),
        "redis_port" => {
            let port = value.parse().ok().filter(|port| *port > 0);
            place.port = Some(port.ok_or_else(invalid)?);
        }
        "redis_username" | "redis_user" => place.username = Some(value.to_owned()),
        "redis_password" => place.password = Some(Secret(value.to_owned())),
        "redis_tls" => place.tls = value.parse().map_err(|_| invalid())?,
        // A cluster has no other.
        "redis_db" if value == "0" => {}
        _ => {
            let spec = table::find(name).filter(|spec| spec.name.starts_with("redis_"));
            let spec = spec.ok_or_else(|| {
                Problem::new(format!("Error: Unknown option '{name}' of {FILE}."))
            })?;
            let line = Line::parse(format!("{name} {value}").as_bytes(), at.to_owned());
            return to.apply(spec, &line.ok_or_else(invalid)?);
        }
    }
    Ok(())
}
