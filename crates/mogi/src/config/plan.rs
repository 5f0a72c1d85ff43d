//! From the configuration to what the broker runs.

use super::{Config, Listener, Security};
use crate::broker::plan::{ListenerPlan, Settings};
use mogi_core::ListenerConfig;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// What the broker is to run.
///
/// # Errors
/// A listener's address cannot be found.
pub(crate) fn plan(
    config: &Config,
    seed: u64,
    version: String,
    log_mask: u32,
) -> io::Result<(Vec<ListenerPlan>, Settings)> {
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        listeners.push(ListenerPlan {
            port: listener.port,
            addresses: addresses(config, listener)?,
            interface: listener.interface.clone(),
            max_connections: listener.max_connections,
            core: listener_core(config, listener),
        });
    }
    let mut core = config.core.clone();
    core.log_mask = log_mask;
    let settings = Settings {
        core,
        workers: workers(config.worker_threads),
        seed,
        max_connections: config.max_connections,
        connect_timeout_ms: config.connect_timeout_ms,
        sys_interval_s: config.sys_interval_s,
        retain_expiry_interval_s: config.retain_expiry_interval_s,
        version,
    };
    Ok((listeners, settings))
}

/// `worker_threads`; 0: one per core.
fn workers(configured: u16) -> u16 {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = if configured == 0 { cores() } else { usize::from(configured) };
    wanted.clamp(1, mogi_core::interest::MAX_PEERS) as u16
}

fn addresses(config: &Config, listener: &Listener) -> io::Result<Vec<SocketAddr>> {
    let port = listener.port;
    let mut found: Vec<SocketAddr> = match &listener.host {
        Some(host) => (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| {
                let place = &listener.place;
                io::Error::new(
                    error.kind(),
                    format!("listener address '{host}': {error} ({place})"),
                )
            })?
            .collect(),
        None if config.local_only => vec![
            (IpAddr::V4(Ipv4Addr::LOCALHOST), port).into(),
            (IpAddr::V6(Ipv6Addr::LOCALHOST), port).into(),
        ],
        None => vec![
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into(),
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into(),
        ],
    };
    if let Some(ipv6) = listener.only_ipv6 {
        found.retain(|address| address.is_ipv6() == ipv6);
    }
    found.dedup();
    Ok(found)
}

fn listener_core(config: &Config, listener: &Listener) -> ListenerConfig {
    let common = &config.security;
    let none = Security::default();
    // Under per_listener_settings what stands above all listeners counts for none of them.
    let common = if config.per_listener_settings { &none } else { common };
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
    }
}

/// What `--test-config` says about each listener.
pub(crate) fn describe(config: &Config) -> Vec<String> {
    let describe = |listener: &Listener| {
        let core = listener_core(config, listener);
        let host = listener.host.as_deref().unwrap_or("all addresses");
        let anonymous = if core.allow_anonymous { "anybody" } else { "nobody without a user name" };
        format!(
            "Listener on {host}, port {}: lets in {anonymous} ({}).",
            listener.port, listener.place
        )
    };
    config.listeners.iter().filter(|_| !config.local_only).map(describe).collect()
}
