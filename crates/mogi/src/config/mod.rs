//! The configuration: what the files say, as mosquitto.conf(5) has them read.
//!
//! * `table`: every option there is
//! * `value`: one line
//! * `builder`: where the lines go
//! * `apply`, `apply_bridge`: options that are more than a value
//! * `bridge`: what a bridge is; `bridge_tls`: how it is secured
//! * `transport`: those of TLS, WebSocket and PROXY headers, and what they come to together
//! * `plugins`: plugins that are served here
//! * `reader`: the files
//! * `plan`: from the configuration to what the broker runs
//! * `rights`: the same for who may do what
//! * `reload`: what of it counts while the broker runs
//! * `identity`: users that no file knows
//! * `redis`: options of a store in Redis
//! * `page`: the page about all options

mod apply;
mod apply_bridge;
mod bridge;
mod bridge_tls;
mod builder;
mod cluster_tls;
mod identity;
mod page;
mod plan;
mod plugins;
mod reader;
mod redis;
mod reload;
mod rights;
mod table;
mod transport;
mod value;

pub(crate) use bridge::{Bridge, bridge_plans};
pub(crate) use page::page;
pub(crate) use plan::{data_dir, describe, plan, warnings};
pub(crate) use redis::store_of;
pub(crate) use reload::reload;

use crate::access::plan::{BanLimits, WebPlan};
use crate::cli::Cli;
use crate::log::LogConfig;
use crate::net::crowd::CrowdLimits;
use crate::net::meter::Rates;
use builder::Builder;
use cluster_tls::ClusterTls;
use mogi_codec::QoS;
use mogi_core::{CoreConfig, LogKind};
use mogi_store::{EmbeddedOptions, OnDamage, Sync};
use std::path::PathBuf;
use transport::Transport;

/// The broker's configuration. What an option means is said in the table.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Limits and choices of the core.
    pub(crate) core: CoreConfig,
    /// The log.
    pub(crate) log: LogConfig,
    /// Listeners, in the order of the file.
    pub(crate) listeners: Vec<Listener>,
    /// Bridges, in the order of the file.
    pub(crate) bridges: Vec<Bridge>,
    /// Whether there is no listener in the file: only this machine may connect.
    pub(crate) local_only: bool,
    /// Where options of a listener stand that local-only mode does not open.
    pub(crate) idle_listener: Option<String>,
    /// Whether security options count for the listener above them.
    pub(crate) per_listener_settings: bool,
    /// Security options for all listeners.
    pub(crate) security: Security,
    /// Plugins, in the order of the file.
    pub(crate) plugins: Vec<plugins::Plugin>,
    /// What else decides who may come in.
    pub(crate) access: Access,
    /// Worker threads; 0: one per core.
    pub(crate) worker_threads: u16,
    /// Connections the broker takes at once.
    pub(crate) max_connections: Option<usize>,
    /// How many connections there may be, besides.
    pub(crate) crowd: CrowdLimits,
    /// What clients may publish in a second.
    pub(crate) rates: Rates,
    /// Bytes of memory from which on nobody new is let in; 0: any.
    pub(crate) memory_limit: u64,
    /// Bytes a WebSocket's HTTP request may have.
    pub(crate) max_head_bytes: usize,
    /// Whether `X-Forwarded-For` is believed.
    pub(crate) forwarded_for: bool,
    /// The file that gets the secrets of TLS sessions.
    pub(crate) tls_keylog: Option<PathBuf>,
    /// Milliseconds a connection has to send its CONNECT.
    pub(crate) connect_timeout_ms: u64,
    /// Seconds between publications of `$SYS`; 0: none.
    pub(crate) sys_interval_s: u64,
    /// Seconds between purges of expired retained messages.
    pub(crate) retain_expiry_interval_s: Option<u64>,
    /// What is kept on disk.
    pub(crate) persistence: Persistence,
    /// Where the process id is written.
    /// What makes it one of several.
    pub(crate) cluster: Cluster,
    pub(crate) pid_file: Option<String>,
    /// Who to become when started by root.
    pub(crate) user: String,
    /// The main file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// What is accepted, as Mosquitto does, but hardly meant.
    pub(crate) doubts: Vec<String>,
    /// The lines that count after a restart only.
    fixed: reload::Fixed,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            core: CoreConfig::default(),
            log: LogConfig::default(),
            listeners: Vec::new(),
            bridges: Vec::new(),
            local_only: false,
            idle_listener: None,
            per_listener_settings: false,
            security: Security::default(),
            plugins: Vec::new(),
            access: Access::default(),
            worker_threads: 0,
            max_connections: None,
            crowd: CrowdLimits::default(),
            rates: Rates::default(),
            memory_limit: 0,
            max_head_bytes: 4096,
            forwarded_for: false,
            tls_keylog: None,
            connect_timeout_ms: 30_000,
            sys_interval_s: 10,
            retain_expiry_interval_s: None,
            persistence: Persistence::default(),
            cluster: Cluster::default(),
            pid_file: None,
            user: crate::process::DEFAULT_USER.to_owned(),
            file: None,
            doubts: Vec::new(),
            fixed: reload::Fixed::new(),
        }
    }
}

/// What is kept on disk, and where.
#[derive(Clone, Debug)]
pub(crate) struct Persistence {
    /// Whether anything is (`persistence`).
    pub(crate) on: bool,
    /// The folder (`persistence_location`); else where the broker is started.
    pub(crate) location: Option<String>,
    /// The name of Mosquitto's file there (`persistence_file`), which the first start imports.
    pub(crate) file: Option<String>,
    pub(crate) sync: Sync,
    pub(crate) on_damage: OnDamage,
    /// Bytes of blocks that were read, in memory.
    pub(crate) cache_bytes: u64,
    /// Bytes of new data in memory before a table is written.
    pub(crate) memtable_bytes: u64,
    /// Bytes of journals on disk.
    pub(crate) journal_bytes: u64,
    /// Bytes of changes that are not durable yet, from which on publishers wait.
    pub(crate) buffer_limit: u64,
    /// Where Redis is, if state is kept there.
    pub(crate) redis: redis::Redis,
}

impl Default for Persistence {
    fn default() -> Self {
        let EmbeddedOptions { sync, on_damage, cache_bytes, memtable_bytes, journal_bytes, .. } =
            EmbeddedOptions::new("");
        Self {
            on: false,
            location: None,
            file: None,
            sync,
            on_damage,
            cache_bytes,
            memtable_bytes,
            journal_bytes,
            buffer_limit: 64 << 20,
            redis: redis::Redis::default(),
        }
    }
}

/// What makes the broker one of several.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// Where other nodes connect to (`cluster_listener`); `None`: there are none.
    pub(crate) listener: Option<ClusterListener>,
    pub(crate) name: String,
    pub(crate) advertise: Option<String>,
    pub(crate) lease_ms: u64,
    pub(crate) buffer_limit: usize,
    pub(crate) tls: ClusterTls,
    /// Each node carries its bridges itself (`cluster_bridges each`).
    pub(crate) bridges_each: bool,
}

impl Cluster {
    /// Whether one node at a time carries a bridge.
    pub(crate) const fn shares_bridges(&self) -> bool {
        self.listener.is_some() && !self.bridges_each
    }
}

/// A `cluster_listener`.
#[derive(Clone, Debug)]
pub(crate) struct ClusterListener {
    pub(crate) port: u16,
    pub(crate) host: Option<String>,
    /// `FILE:LINE`.
    pub(crate) place: String,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            listener: None,
            name: "mogi".to_owned(),
            advertise: None,
            lease_ms: 10_000,
            buffer_limit: 64 << 20,
            tls: ClusterTls::default(),
            bridges_each: false,
        }
    }
}

/// Options that count for all listeners, or for one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    pub(crate) allow_anonymous: Option<bool>,
    pub(crate) allow_zero_length_clientid: Option<bool>,
    pub(crate) auto_id_prefix: Option<String>,
    pub(crate) password_file: Option<String>,
    pub(crate) acl_file: Option<String>,
    pub(crate) psk_file: Option<String>,
    pub(crate) scram_file: Option<String>,
    pub(crate) jwt: identity::Jwt,
    pub(crate) http_auth_url: Option<String>,
    pub(crate) http_acl_url: Option<String>,
}

impl Security {
    /// Whether anything is said.
    pub(crate) const fn says_something(&self) -> bool {
        self.allow_anonymous.is_some()
            || self.allow_zero_length_clientid.is_some()
            || self.auto_id_prefix.is_some()
            || self.password_file.is_some()
            || self.acl_file.is_some()
            || self.psk_file.is_some()
    }
}

/// What decides who may come in, for the whole broker.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// SUBSCRIBE is refused where not everything may be read (`acl_strict`).
    pub(crate) acl_strict: bool,
    /// `$CONTROL/broker/v1` is answered (`enable_control_api`).
    pub(crate) control_api: bool,
    /// Threads that check passwords (`auth_threads`).
    pub(crate) threads: u16,
    /// Milliseconds a refused client waits for the answer (`auth_delay`).
    pub(crate) delay_ms: u64,
    pub(crate) bans: BanLimits,
    /// How services are asked (`http_*`).
    pub(crate) web: WebPlan,
    /// Who signs their certificates (`http_cafile`).
    pub(crate) cafile: Option<String>,
    /// Seconds by which clocks may differ (`jwt_leeway`).
    pub(crate) leeway_s: u64,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            acl_strict: false,
            control_api: false,
            threads: 2,
            delay_ms: 0,
            bans: BanLimits::default(),
            web: WebPlan::default(),
            cafile: None,
            leeway_s: 30,
        }
    }
}

/// A listener.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) port: u16,
    pub(crate) host: Option<String>,
    pub(crate) interface: Option<String>,
    /// `socket_domain`: `Some(true)` for IPv6 only, `Some(false)` for IPv4 only.
    pub(crate) only_ipv6: Option<bool>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) mount_point: Option<String>,
    pub(crate) max_qos: QoS,
    pub(crate) use_username_as_clientid: bool,
    /// The protocol levels let in, one bit each: 3, 4, 5.
    pub(crate) accept_versions: u8,
    pub(crate) max_topic_alias: u16,
    pub(crate) max_topic_alias_broker: u16,
    /// A Unix socket's path, in the place of a port.
    pub(crate) unix: Option<String>,
    /// TLS, WebSocket, PROXY headers.
    pub(crate) transport: Transport,
    /// Security options of its own.
    pub(crate) own: Security,
    /// `FILE:LINE` where it begins; empty: on the command line, or nowhere.
    pub(crate) place: String,
}

impl Listener {
    fn new(port: u16, host: Option<&str>, place: String) -> Self {
        Self {
            port,
            host: host.map(str::to_owned),
            interface: None,
            only_ipv6: None,
            max_connections: None,
            mount_point: None,
            max_qos: QoS::ExactlyOnce,
            use_username_as_clientid: false,
            accept_versions: 1 << 3 | 1 << 4 | 1 << 5,
            max_topic_alias: 10,
            max_topic_alias_broker: 10,
            unix: None,
            transport: Transport::default(),
            own: Security::default(),
            place,
        }
    }
}

/// A line for the log.
pub(crate) type Note = (LogKind, String);

/// What reading the configuration came to.
pub(crate) struct Loaded {
    /// The configuration, unless a file cannot be read or a line is not accepted.
    pub(crate) config: Option<Config>,
    /// What is to be said about the files, the reason for there being no configuration last.
    pub(crate) notes: Vec<Note>,
    /// The form of log lines as far as the files were read: it counts for the notes already.
    pub(crate) log: LogConfig,
}

/// Reads the configuration the command line asks for.
pub(crate) fn load(cli: &Cli) -> Loaded {
    let mut builder = Builder::default();
    let mut read = Ok(());
    if let Some(path) = &cli.config {
        builder.config.file = Some(path.clone());
        read = reader::read_main(&mut builder, path);
    }
    if let Some(path) = own_file(cli)
        && read.is_ok()
    {
        read = reader::read_own(&mut builder, &path);
    }
    if read.is_ok() {
        read = redis::plugin::check(&builder);
    }
    if read.is_ok() {
        read = bridge::check(&mut builder.config.bridges, &mut builder.notes);
    }
    let log = builder.config.log.form();
    match read {
        Ok(()) => {
            let (config, mut notes) = builder.finish(cli);
            match transport::check(&config) {
                Ok(()) => Loaded { config: Some(config), notes, log },
                Err(value::Problem(problem)) => {
                    notes.push((LogKind::Error, problem));
                    Loaded { config: None, notes, log }
                }
            }
        }
        Err(value::Problem(problem)) => {
            let mut notes = builder.notes;
            notes.extend(problem.lines().map(|line| (LogKind::Error, line.to_owned())));
            Loaded { config: None, notes, log }
        }
    }
}

/// The file of mogi's own options: named on the command line, or `mogi.conf` beside the main one.
fn own_file(cli: &Cli) -> Option<PathBuf> {
    if let Some(path) = &cli.mogi_config {
        return Some(path.clone());
    }
    let main = cli.config.as_ref()?;
    let beside = main.with_file_name("mogi.conf");
    (beside != *main && beside.is_file()).then_some(beside)
}

#[cfg(test)]
mod tests;
