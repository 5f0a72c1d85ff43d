//! From the configuration to what the broker runs, and what that means in words.

use super::cluster_tls::secure_plan;
use super::{
    Cluster, ClusterListener, Config, Listener, Persistence, Security, bridge_plans, identity,
    transport,
};
use crate::broker::plan::{ListenerPlan, Settings, StorePlan, Tuning};
use crate::cluster::ClusterPlan;
use crate::log::why;
use mogi_codec::QoS;
use mogi_core::{CoreConfig, ListenerConfig};
use mogi_store::EmbeddedOptions;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the broker is to run.
///
/// # Errors
/// A listener has no address to listen on: a line for the log.
pub(crate) fn plan(
    config: &Config,
    seed: u64,
    version: String,
) -> Result<(Vec<ListenerPlan>, Settings), String> {
    let mut listeners = listener_plans(config);
    for (plan, listener) in listeners.iter_mut().zip(&config.listeners) {
        if listener.unix.is_none() {
            plan.addresses = addresses(config, listener)?;
        }
    }
    let settings = Settings {
        tuning: tuning(config),
        access: super::rights::rights(config)?,
        workers: workers(config.worker_threads),
        seed,
        store: config.persistence.on.then(|| store_plan(&config.persistence)),
        cluster: cluster(config)?,
        bridges: bridge_plans(config),
        version,
    };
    Ok((listeners, settings))
}

/// The listeners, without their addresses.
pub(super) fn listener_plans(config: &Config) -> Vec<ListenerPlan> {
    let plan = |(number, listener): (u16, &Listener)| ListenerPlan {
        port: listener.port,
        addresses: Vec::new(),
        unix: listener.unix.as_ref().map(PathBuf::from),
        transport: transport::plan(config, listener),
        host: listener.host.clone(),
        one_is_enough: config.local_only,
        interface: listener.interface.clone(),
        max_connections: listener.max_connections,
        // Who comes in without a name is asked of the rules, which change.
        core: ListenerConfig {
            rights: number,
            methods: methods(config, listener),
            allow_anonymous: true,
            ..listener_core(config, listener)
        },
    };
    (0..).zip(&config.listeners).map(plan).collect()
}

/// What may change while the broker runs.
pub(super) fn tuning(config: &Config) -> Tuning {
    let log_mask = config.log.mask();
    Tuning {
        core: Arc::new(CoreConfig { log_mask, ..config.core.clone() }),
        max_connections: config.max_connections,
        connect_timeout_ms: config.connect_timeout_ms,
        sys_interval_s: config.sys_interval_s,
        retain_expiry_interval_s: config.retain_expiry_interval_s,
        crowd: config.crowd,
        rates: config.rates,
        memory_limit: config.memory_limit,
    }
}

/// Methods of enhanced authentication a listener takes. Where certificates say who somebody is,
/// there are none.
fn methods(config: &Config, listener: &Listener) -> &'static [&'static str] {
    let scram = identity::security(config, listener).scram_file.is_some();
    let transport = &listener.transport;
    let certified = transport.subject_as_username || transport.identity_as_username;
    if scram && !certified { &[mogi_auth::scram::METHOD] } else { &[] }
}

/// The folder of mogi's own store, in `persistence_location`.
const STORE_DIR: &str = "mogi-store";

/// The folder of the store, if state is kept on disk.
pub(crate) fn data_dir(config: &Config) -> Option<PathBuf> {
    let on_disk = config.persistence.on && config.persistence.redis.store.is_none();
    on_disk.then(|| store_plan(&config.persistence).options.dir)
}

/// `persistence_location`, else where the broker is started.
fn location(persistence: &Persistence) -> &Path {
    Path::new(persistence.location.as_deref().unwrap_or("."))
}

fn store_plan(persistence: &Persistence) -> StorePlan {
    let location = location(persistence);
    let options = EmbeddedOptions {
        sync: persistence.sync,
        on_damage: persistence.on_damage,
        cache_bytes: persistence.cache_bytes,
        memtable_bytes: persistence.memtable_bytes,
        journal_bytes: persistence.journal_bytes,
        ..EmbeddedOptions::new(location.join(STORE_DIR))
    };
    let file = persistence.file.as_deref().unwrap_or("mosquitto.db");
    StorePlan {
        options,
        redis: persistence.redis.options(),
        import: location.join(file),
        buffer_limit: persistence.buffer_limit,
    }
}

/// What makes the broker one of several, if it is.
///
/// # Errors
/// There is no address to listen on, or nothing other nodes could be told: a line for the log.
fn cluster(config: &Config) -> Result<Option<ClusterPlan>, String> {
    let Some(ClusterListener { port, host, place }) = &config.cluster.listener else {
        return Ok(None);
    };
    let listen: Vec<SocketAddr> = match host {
        Some(host) => (host.as_str(), *port)
            .to_socket_addrs()
            .map_err(|error| {
                format!("Error: cluster_listener: {}. ('{host}', {place})", why(&error))
            })?
            .collect(),
        None => vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), *port)],
    };
    let host_name = || nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    let reachable = listen.iter().find(|address| !address.ip().is_unspecified());
    let advertise = match (&config.cluster.advertise, reachable) {
        (Some(advertise), _) => advertise.clone(),
        (None, Some(address)) => address.to_string(),
        (None, None) => format!("{}:{port}", host_name().unwrap_or_else(|_| "localhost".into())),
    };
    let node = config.persistence.redis.node.clone();
    let node = node.unwrap_or_else(|| format!("{}-{port}", host_name().unwrap_or_default()));
    if config.persistence.redis.store.is_none() {
        return Err(format!(
            "Error: cluster_listener needs a store that all brokers share: set persistence_store. \
             ({place})"
        ));
    }
    let Cluster { name, lease_ms, buffer_limit, .. } = config.cluster.clone();
    let secure = secure_plan(config)?;
    Ok(Some(ClusterPlan { node, name, listen, advertise, lease_ms, buffer_limit, secure }))
}

/// What `--test-config` says about each listener, and what is worth a warning.
pub(crate) fn describe(config: &Config) -> impl Iterator<Item = String> {
    let listeners = config.listeners.iter().map(|listener| describe_one(config, listener));
    listeners.chain(warnings(config))
}

/// What is accepted because Mosquitto accepts it, but hardly does what was meant.
pub(crate) fn warnings(config: &Config) -> impl Iterator<Item = String> {
    let doubts = config.doubts.iter().map(|doubt| format!("Warning: {doubt}"));
    let idle = config.idle_listener.iter().map(|place| {
        format!(
            "Warning: The options of a listener from {place} on have no effect in local only \
             mode. Put a 'listener' above them."
        )
    });
    let closed = config.listeners.iter().filter(|listener| listener.accept_versions == 0);
    let closed = closed.map(|listener| {
        format!("Warning: The listener at {} accepts no version of MQTT.", listener.place)
    });
    doubts.chain(idle).chain(closed).chain(transport::doubts(config))
}

/// `worker_threads`; 0: one per core.
fn workers(configured: u16) -> u16 {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = if configured == 0 { cores() } else { usize::from(configured) };
    wanted.clamp(1, mogi_core::interest::MAX_PEERS) as u16
}

fn addresses(config: &Config, listener: &Listener) -> Result<Vec<SocketAddr>, String> {
    let port = listener.port;
    let place = &listener.place;
    let mut found: Vec<SocketAddr> = match &listener.host {
        Some(host) => (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| {
                let why = why(&error);
                format!("Error creating listener: {why}. ('{host}', {place})")
            })?
            .collect(),
        None => {
            let all: [IpAddr; 2] = if config.local_only {
                [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            } else {
                [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
            };
            all.map(|ip| SocketAddr::new(ip, port)).to_vec()
        }
    };
    if let Some(ipv6) = listener.only_ipv6 {
        found.retain(|address| address.is_ipv6() == ipv6);
    }
    found.sort_by_key(SocketAddr::is_ipv6);
    found.dedup();
    if found.is_empty() {
        return Err(format!(
            "Error creating listener: Address family for hostname not supported. ({place})"
        ));
    }
    Ok(found)
}

fn listener_core(config: &Config, listener: &Listener) -> ListenerConfig {
    let none = Security::default();
    // Under per_listener_settings what stands above all listeners counts for none of them.
    let common = if config.per_listener_settings { &none } else { &config.security };
    let own = &listener.own;
    ListenerConfig {
        allow_anonymous: own
            .allow_anonymous
            .or(common.allow_anonymous)
            .unwrap_or(config.local_only),
        allow_zero_length_clientid: own
            .allow_zero_length_clientid
            .or(common.allow_zero_length_clientid)
            .unwrap_or(true),
        auto_id_prefix: own
            .auto_id_prefix
            .clone()
            .or_else(|| common.auto_id_prefix.clone())
            .unwrap_or_else(|| "auto-".to_owned()),
        use_username_as_clientid: listener.use_username_as_clientid,
        mount_point: listener.mount_point.clone(),
        max_qos: listener.max_qos,
        max_topic_alias: listener.max_topic_alias,
        max_topic_alias_broker: listener.max_topic_alias_broker,
        accept_versions: listener.accept_versions,
        methods: &[],
        rights: 0,
    }
}

fn describe_one(config: &Config, listener: &Listener) -> String {
    let core = listener_core(config, listener);
    let place = if listener.place.is_empty() { "local only mode" } else { &listener.place };
    let host = match (&listener.host, listener.only_ipv6) {
        (Some(host), _) => host,
        (None, None) if config.local_only => "127.0.0.1 and ::1",
        (None, None) => "all addresses",
        (None, Some(false)) => "all IPv4 addresses",
        (None, Some(true)) => "all IPv6 addresses",
    };
    let mut line = match &listener.unix {
        Some(path) => format!("{place}: Unix socket {path}"),
        None => format!("{place}: port {} on {host}", listener.port),
    };
    line.push_str(&transport::describe(listener));
    if let Some(interface) = &listener.interface {
        line.push_str(&format!(", interface {interface}"));
    }
    let versions: Vec<&str> = [(3, "3.1"), (4, "3.1.1"), (5, "5.0")]
        .into_iter()
        .filter_map(|(bit, name)| (core.accept_versions & 1 << bit != 0).then_some(name))
        .collect();
    line.push_str(&format!(", MQTT {}", versions.join(", ")));
    line.push_str(if core.allow_anonymous {
        "; lets in clients without a user name"
    } else {
        "; refuses clients without a user name"
    });
    if let Some(limit) = listener.max_connections {
        line.push_str(&format!("; at most {limit} connections"));
    }
    if listener.max_qos != QoS::ExactlyOnce {
        line.push_str(&format!("; QoS up to {}", listener.max_qos as u8));
    }
    if let Some(mount_point) = &listener.mount_point {
        line.push_str(&format!("; puts '{mount_point}' before topics"));
    }
    line
}
