//! Options of a store in Redis, and what they come to.

pub(super) mod plugin;

use super::builder::Builder;
use super::table;
use super::value::{Line, Problem};
use mogi_store::redis::wire::{Depth, Mode, Options, Tls, Wait};
use mogi_store::redis::{RedisOptions, client_name};
use std::path::PathBuf;
use std::time::Duration;

type Outcome = Result<(), Problem>;

/// What the files say about Redis.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redis {
    /// `persistence_store`; without it state is on disk, if anywhere.
    pub(crate) store: Option<Options>,
    pub(crate) prefix: Option<String>,
    pub(crate) mode: Mode,
    pub(crate) wait: Option<Wait>,
    pub(crate) node: Option<String>,
    pub(crate) ca_file: Option<String>,
    pub(crate) cert_file: Option<String>,
    pub(crate) key_file: Option<String>,
    pub(crate) insecure: bool,
    /// The plugin's lines, if that is how it was set up.
    pub(super) plugin: plugin::Lines,
}

impl Redis {
    /// Where the store is, if it is in Redis.
    pub(crate) fn options(&self) -> Option<RedisOptions> {
        let mut options = RedisOptions::new(self.store.clone()?);
        let wire = &mut options.wire;
        (wire.mode, wire.wait) = (self.mode, Some(self.wait.unwrap_or(ONE_IF_ANY)));
        let certificate = self.cert_file.as_ref().zip(self.key_file.as_ref());
        if self.ca_file.is_some() || certificate.is_some() || self.insecure {
            let tls = wire.tls.get_or_insert_with(Tls::default);
            tls.ca_file = self.ca_file.as_ref().map(PathBuf::from);
            tls.client = certificate.map(|(cert, key)| (cert.into(), key.into()));
            tls.insecure = self.insecure;
        }
        if let Some(node) = &self.node {
            options.node.clone_from(node);
        }
        options.prefix = self.prefix.clone().unwrap_or_default();
        options.wire.client_name = client_name(&options.node, &options.prefix);
        Some(options)
    }
}

/// Where the store is that lines like those of a file speak of: names and values.
///
/// # Errors
/// What is wrong with them, in words.
pub(crate) fn store_of(lines: &[(String, String)]) -> Result<RedisOptions, String> {
    let mut builder = Builder::default();
    for (name, value) in lines {
        let spec = table::find(name).ok_or_else(|| format!("there is no option {name}"))?;
        let line = Line::parse(format!("{name} {value}").as_bytes(), String::new());
        let line = line.ok_or_else(|| format!("{name} needs a value"))?;
        let plain = |Problem(text): Problem| text.trim_start_matches("Error: ").to_owned();
        builder.apply(spec, &line).map_err(plain)?;
    }
    let options = builder.config.persistence.redis.options();
    options.ok_or_else(|| "there is no address of Redis".to_owned())
}

/// `persistence_store redis://[user:password@]host[:port][,host[:port]…]`.
pub(super) fn persistence_store(to: &mut Builder, line: &Line) -> Outcome {
    let options = Options::from_url(line.text()?);
    let options =
        options.map_err(|error| Problem::new(format!("Error: '{}': {error}.", line.name)))?;
    to.config.persistence.redis.store = Some(options);
    Ok(())
}

/// `redis_cluster true`, `redis_cluster false`, `redis_cluster auto`.
pub(super) fn redis_cluster(to: &mut Builder, line: &Line) -> Outcome {
    to.config.persistence.redis.mode = match line.text()? {
        "auto" => Mode::Auto,
        "true" => Mode::Cluster,
        "false" => Mode::Single,
        other => return Err(line.invalid(other)),
    };
    Ok(())
}

/// `redis_prefix TEXT`.
pub(super) fn redis_prefix(to: &mut Builder, line: &Line) -> Outcome {
    let prefix = line.text()?;
    if prefix.contains(['{', '}']) {
        return Err(Problem::new(format!(
            "Error: '{}' must hold no braces: Redis Cluster takes what stands in them for the \
             part of a key that says where it lies.",
            line.name
        )));
    }
    to.config.persistence.redis.prefix = Some(prefix.to_owned());
    Ok(())
}

/// Where neither `redis_wait` nor `redis_wait_aof` says who has to have what is acknowledged.
const ONE_IF_ANY: Wait =
    Wait { replicas: 1, depth: Depth::Memory, timeout: Duration::from_millis(1000), if_any: true };

const REPLICAS_MAX: u32 = 64;
const WAIT_MAX_MS: u64 = 600_000;

/// `redis_wait REPLICAS TIMEOUT_MS`; 0 replicas: it does not wait.
pub(super) fn redis_wait(to: &mut Builder, line: &Line) -> Outcome {
    let mut words = line.words();
    let replicas = words.next().and_then(|word| word.parse().ok());
    let ms = words.next().map_or(Some(1000), |word| word.parse().ok());
    let (Some(replicas @ 0..=REPLICAS_MAX), Some(ms @ 1..=WAIT_MAX_MS), None) =
        (replicas, ms, words.next())
    else {
        return Err(Problem::new(format!(
            "Error: '{}' must be a number of replicas up to {REPLICAS_MAX}, and 1 to \
             {WAIT_MAX_MS} milliseconds.",
            line.name
        )));
    };
    wait_for(to, replicas, Depth::Memory, ms)
}

/// `redis_wait_aof MASTER REPLICAS [TIMEOUT_MS]`; 0 and 0: it does not wait.
pub(super) fn redis_wait_aof(to: &mut Builder, line: &Line) -> Outcome {
    let mut words = line.words();
    let master = words.next().and_then(|word| word.parse().ok());
    let replicas = words.next().and_then(|word| word.parse().ok());
    let ms = words.next().map_or(Some(5000), |word| word.parse().ok());
    let (Some(master @ 0..=1), Some(replicas @ 0..=REPLICAS_MAX), Some(ms), None) =
        (master, replicas, ms.filter(|ms| (1..=WAIT_MAX_MS).contains(ms)), words.next())
    else {
        return Err(Problem::new(format!(
            "Error: '{}' must be 1 or 0 for the master, a number of replicas up to {REPLICAS_MAX}, \
             and 1 to {WAIT_MAX_MS} milliseconds.",
            line.name
        )));
    };
    let depth = Depth::Disk { master: master == 1 };
    wait_for(to, replicas, depth, ms)
}

fn wait_for(to: &mut Builder, replicas: u32, depth: Depth, ms: u64) -> Outcome {
    let wait = Wait { replicas, depth, timeout: Duration::from_millis(ms), if_any: false };
    let before = &mut to.config.persistence.redis.wait;
    let on_disk = |wait: &Wait| wait.depth != Depth::Memory;
    if before.is_some_and(|before| before.is_any() && on_disk(&before) != on_disk(&wait)) {
        if !wait.is_any() {
            return Ok(());
        }
        return Err(Problem::new(
            "Error: 'redis_wait' and 'redis_wait_aof' exclude each other: the latter counts \
             replicas that have a change on disk, and so have it.",
        ));
    }
    *before = Some(wait);
    Ok(())
}

/// `cluster_node_id TEXT`.
pub(super) fn cluster_node_id(to: &mut Builder, line: &Line) -> Outcome {
    let id = line.text()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    if !id.chars().all(plain) || id.len() > 64 {
        return Err(Problem::new(format!(
            "Error: '{}' must be letters, digits, '-', '_' and '.', up to 64 of them.",
            line.name
        )));
    }
    to.config.persistence.redis.node = Some(id.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for() {
        let wait = |lines: &[(&str, &str)]| {
            let all = [("persistence_store", "redis://h:1")].iter().chain(lines);
            let all: Vec<_> = all.map(|(name, is)| (name.to_string(), is.to_string())).collect();
            store_of(&all).map(|options| options.wire.wait)
        };
        assert_eq!(wait(&[]), Ok(Some(ONE_IF_ANY)));
        assert!(wait(&[("redis_wait", "0")]).is_ok_and(|it| it.is_some_and(|it| !it.is_any())));
        let two = wait(&[("redis_wait", "2 70"), ("redis_wait_aof", "0 0")]);
        assert!(two.is_ok_and(|it| it.is_some_and(|it| it.replicas == 2 && !it.if_any)));
        let both = wait(&[("redis_wait", "1"), ("redis_wait_aof", "0 1")]);
        assert!(both.is_err_and(|why| why.contains("exclude each other")));
    }
}
