//! What the broker is to run.

use crate::access::plan::AccessPlan;
use crate::bridge::plan::BridgePlan;
use crate::cluster::ClusterPlan;
use crate::net::crowd::CrowdLimits;
use crate::net::meter::Rates;
use crate::net::shared::{LogSink, NameFrom};
use mio::net::UnixStream;
use mogi_core::{CoreConfig, ListenerConfig};
use mogi_store::EmbeddedOptions;
use mogi_store::redis::RedisOptions;
use mogi_transport::proxy::ProxyRules;
use mogi_transport::psk::PskRules;
use mogi_transport::tls_config::TlsRules;
use mogi_transport::upgrade::WebSocketRules;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Everything the broker needs to run; the configuration is read by then.
pub(crate) struct Plan {
    pub(crate) listeners: Vec<ListenerPlan>,
    pub(crate) settings: Settings,
    pub(crate) log: &'static dyn LogSink,
    pub(crate) signals: Option<Signals>,
    /// Reads the configuration again: what it says now, unless there is something wrong.
    pub(crate) reload: Reload,
    /// Called when everything is open and the workers are about to run.
    pub(crate) announce: Box<dyn FnOnce()>,
}

/// See [`Plan::reload`].
pub(crate) type Reload = Box<dyn FnMut() -> Option<Reloaded> + Send>;

/// What the configuration says when it is read again, of all that can change while the broker runs.
pub(crate) struct Reloaded {
    /// As many as there were, at the same places.
    pub(crate) listeners: Vec<ListenerPlan>,
    pub(crate) tuning: Tuning,
    pub(crate) access: AccessPlan,
    pub(crate) bridges: Vec<BridgePlan>,
    /// Called when all of that is in force: the log changes, and this is what the next one is
    /// compared with.
    pub(crate) commit: Box<dyn FnOnce() + Send>,
}

/// Choices that concern the whole process, and may change while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Tuning {
    pub(crate) core: Arc<CoreConfig>,
    /// Connections the broker takes at once (`global_max_connections`).
    pub(crate) max_connections: Option<usize>,
    /// Milliseconds a connection has to send its CONNECT (`connect_timeout`).
    pub(crate) connect_timeout_ms: u64,
    /// Seconds between publications of `$SYS`; 0: none (`sys_interval`).
    pub(crate) sys_interval_s: u64,
    /// Seconds between purges of expired retained messages (`retain_expiry_interval`).
    pub(crate) retain_expiry_interval_s: Option<u64>,
    /// How many connections there may be, besides.
    pub(crate) crowd: CrowdLimits,
    /// What clients may publish in a second.
    pub(crate) rates: Rates,
    /// Bytes of memory from which on nobody new is let in; 0: any (`memory_limit`).
    pub(crate) memory_limit: u64,
}

/// A listener to open.
#[derive(Clone, Debug)]
pub(crate) struct ListenerPlan {
    /// The port as it is configured, for the log.
    pub(crate) port: u16,
    /// The host as it is configured, if it is.
    pub(crate) host: Option<String>,
    /// Where to listen; an unspecified host gives one address per family.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether it is enough to listen on one of them: local-only mode takes what there is.
    pub(crate) one_is_enough: bool,
    /// The interface to bind to (`bind_interface`).
    pub(crate) interface: Option<String>,
    /// Clients it takes at once (`max_connections`).
    pub(crate) max_connections: Option<usize>,
    /// The path of a Unix socket, in the place of addresses.
    pub(crate) unix: Option<PathBuf>,
    /// What is between its sockets and MQTT.
    pub(crate) transport: TransportPlan,
    /// What it asks of its clients.
    pub(crate) core: ListenerConfig,
}

/// What is to be between a listener's sockets and MQTT.
#[derive(Clone, Debug, Default)]
pub(crate) struct TransportPlan {
    /// A PROXY header (`enable_proxy_protocol`).
    pub(crate) proxy: Option<ProxyRules>,
    /// TLS (`certfile`).
    pub(crate) tls: Option<TlsPlan>,
    /// TLS with keys that are shared beforehand (`psk_hint`).
    pub(crate) psk: Option<PskPlan>,
    /// WebSocket (`protocol websockets`).
    pub(crate) websocket: Option<WebSocketRules>,
    /// Files for browsers (`http_dir`).
    pub(crate) http_dir: Option<PathBuf>,
    /// Where clients' user names come from.
    pub(crate) name_from: NameFrom,
}

/// A listener's TLS with shared keys.
#[derive(Clone, Debug)]
pub(crate) struct PskPlan {
    /// Where they stand (`psk_file`); without it nobody has one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) rules: PskRules,
}

/// TLS of a listener, or of links between brokers.
#[derive(Clone, Debug)]
pub(crate) struct TlsPlan {
    /// What the names of its options begin with: nothing, or `cluster_`.
    pub(crate) prefix: &'static str,
    pub(crate) certfile: PathBuf,
    pub(crate) keyfile: PathBuf,
    pub(crate) cafile: Option<PathBuf>,
    pub(crate) capath: Option<PathBuf>,
    pub(crate) crlfile: Option<PathBuf>,
    pub(crate) rules: TlsRules,
}

/// Choices that concern the whole process.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) tuning: Tuning,
    /// Who may come in, and do what.
    pub(crate) access: AccessPlan,
    /// Worker threads, 1 to 64 (`worker_threads`).
    pub(crate) workers: u16,
    /// What makes hash tables unpredictable.
    pub(crate) seed: u64,
    /// What is kept on disk, if anything is (`persistence`).
    pub(crate) store: Option<StorePlan>,
    /// What makes it one of several, if it is (`cluster_listener`).
    pub(crate) cluster: Option<ClusterPlan>,
    /// Bridges to other brokers (`connection`).
    pub(crate) bridges: Vec<BridgePlan>,
    /// The text of `$SYS/broker/version`.
    pub(crate) version: String,
}

/// The store to open.
#[derive(Clone, Debug)]
pub(crate) struct StorePlan {
    /// Where it is, and how it behaves.
    pub(crate) options: EmbeddedOptions,
    /// Where it is if it is in Redis; then what is said of the disk does not count.
    pub(crate) redis: Option<RedisOptions>,
    /// Mosquitto's file, which a new store begins with if it is there.
    pub(crate) import: PathBuf,
    /// Bytes of changes that are not durable yet, from which on publishers wait.
    pub(crate) buffer_limit: u64,
}

/// Signals, as bytes on a socket that the readiness loop can watch.
pub(crate) struct Signals {
    /// Becomes readable when a signal has come.
    pub(crate) stream: UnixStream,
    /// The signals that have come since the last call.
    pub(crate) pending: Box<dyn FnMut() -> Vec<Signal> + Send>,
    /// As long as this is set, signals that stop the broker end the process at once.
    pub(crate) starting: Arc<AtomicBool>,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM, SIGINT: stop.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGRTMIN: open the log file anew.
    Rotate,
    /// SIGUSR2: print the subscription tree.
    Tree,
}
