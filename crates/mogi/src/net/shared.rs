//! What the threads of the process share besides the core's node.

use crate::access::Access;
use crate::broker::plan::{TransportPlan, Tuning};
use crate::cluster::Links;
use crate::net::crowd::Crowd;
use crate::net::event_loop::EventLoop;
use crate::net::mailbox::{Mail, Mailbox};
use crate::net::meter::{Common, Users};
use mogi_core::{ListenerConfig, LogKind, Memory, Node, Stats};
use mogi_store::Keeper;
use mogi_transport::proxy::ProxyRules;
use mogi_transport::upgrade::WebSocketRules;
use mogi_transport::{LayersPlan, Sessions};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Instant;

/// Where log lines go.
pub(crate) trait LogSink: Send + Sync {
    /// Writes one line.
    fn log(&self, kind: LogKind, line: &str);
    /// Takes the lines that are to be published (`log_dest topic`): (topic, text).
    fn take_topic_lines(&self) -> Vec<(String, String)>;
    /// Whether there are such lines at all.
    fn publishes(&self) -> bool;
    /// Opens the log file anew, after it was moved away.
    fn reopen(&self);
}

/// The number of the listener that bridges come in by; their connections are not counted.
pub(crate) const BRIDGES: u16 = u16::MAX;

/// A listener as the data plane sees it.
#[derive(Debug)]
pub(crate) struct ListenerState {
    pub(crate) port: u16,
    /// The host it is configured with, if any.
    pub(crate) host: Option<String>,
    pub(crate) connections: AtomicUsize,
    /// What its clients may publish together.
    pub(crate) bucket: Common,
    /// Replaced as a whole when the configuration is read again.
    rules: RwLock<Arc<ListenerRules>>,
}

/// What counts for those who come in through a listener from now on.
#[derive(Debug)]
pub(crate) struct ListenerRules {
    pub(crate) transport: Transport,
    pub(crate) core: ListenerConfig,
    /// Clients it takes at once (`max_connections`).
    pub(crate) max_connections: Option<usize>,
}

impl ListenerState {
    pub(crate) fn new(port: u16, host: Option<String>, rules: ListenerRules) -> Self {
        let (connections, rules) = (AtomicUsize::new(0), RwLock::new(Arc::new(rules)));
        Self { port, host, connections, bucket: Common::default(), rules }
    }

    /// What counts now.
    pub(crate) fn rules(&self) -> Arc<ListenerRules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Others count from now on.
    pub(crate) fn set_rules(&self, rules: ListenerRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }
}

/// What is between a listener's sockets and MQTT.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    /// A PROXY header comes first (`enable_proxy_protocol`).
    pub(crate) proxy: Option<ProxyRules>,
    /// What new TLS sessions are made of; another one after the certificates were read again.
    tls: RwLock<Option<Sessions>>,
    /// It speaks WebSocket (`protocol websockets`).
    pub(crate) websocket: Option<Arc<WebSocketRules>>,
    /// Files for browsers (`http_dir`).
    pub(crate) http_dir: Option<PathBuf>,
    /// Where clients' user names come from.
    pub(crate) name_from: NameFrom,
    /// Whether there is anything of all that.
    layered: bool,
}

/// Where a client's user name comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NameFrom {
    /// Its CONNECT.
    #[default]
    Connect,
    /// Its certificate's common name (`use_identity_as_username`).
    CommonName,
    /// The identity of its shared key (`use_identity_as_username`).
    Identity,
    /// Its certificate's subject (`use_subject_as_username`).
    Subject,
}

impl Transport {
    pub(crate) fn new(plan: &TransportPlan, tls: Option<Sessions>) -> Self {
        Self {
            layered: plan.proxy.is_some() || plan.websocket.is_some() || tls.is_some(),
            proxy: plan.proxy,
            tls: RwLock::new(tls),
            websocket: plan.websocket.clone().map(Arc::new),
            http_dir: plan.http_dir.clone(),
            name_from: plan.name_from,
        }
    }

    /// Whether a PROXY header comes first.
    pub(crate) const fn is_proxied(&self) -> bool {
        self.proxy.is_some()
    }

    /// Whether somebody in between says later from where a connection comes.
    pub(crate) fn hides_address(&self) -> bool {
        let forwarded = self.websocket.as_ref().is_some_and(|rules| rules.forwarded_for);
        self.is_proxied() || forwarded
    }

    /// Whether it begins with a TLS handshake.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The layers of a new connection, if it has any.
    pub(crate) fn layers(&self) -> Option<LayersPlan> {
        self.layered.then(|| LayersPlan {
            proxy: self.proxy,
            tls: self.tls.read().unwrap_or_else(PoisonError::into_inner).clone(),
            websocket: self.websocket.clone(),
        })
    }

    /// New sessions are made of this from now on.
    pub(crate) fn set_tls(&self, config: Sessions) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }
}

/// What was refused or held up, for `$SYS`.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Connections above `max_connections` or `global_max_connections`.
    pub(crate) connections: AtomicU64,
    /// Connections above `max_connections_per_address`.
    pub(crate) addresses: AtomicU64,
    /// Connections above `max_pending_connections`.
    pub(crate) pending: AtomicU64,
    /// Times it was waited because of `max_connection_rate`.
    pub(crate) delayed: AtomicU64,
    /// Connections turned away because too many waited for that (`max_connection_wait`).
    pub(crate) crowded: AtomicU64,
    /// Connections that did not say in time who they are (`connect_timeout`).
    pub(crate) late: AtomicU64,
    /// Connections from addresses with too many failed logins (`auth_ban_attempts`).
    pub(crate) banned: AtomicU64,
    /// Logins that failed.
    pub(crate) logins: AtomicU64,
    /// Times a client was not read because of how much it had published.
    pub(crate) throttled: AtomicU64,
    /// Connections for which there was no memory.
    pub(crate) memory: AtomicU64,
}

/// How much memory there is left, for all workers.
#[derive(Debug)]
pub(crate) struct Pressure {
    /// As of the last look.
    level: AtomicU8,
    /// Bytes of messages from which on there is none, until the next look.
    ceiling: AtomicU64,
}

impl Default for Pressure {
    fn default() -> Self {
        Self { level: AtomicU8::new(0), ceiling: AtomicU64::new(u64::MAX) }
    }
}

impl Pressure {
    /// What there is while `node` keeps what it does.
    pub(crate) fn get(&self, node: &Node) -> Memory {
        let ceiling = self.ceiling.load(Ordering::Relaxed);
        if ceiling != u64::MAX && node.kept_bytes() >= ceiling {
            return Memory::Full;
        }
        match self.level.load(Ordering::Relaxed) {
            0 => Memory::Enough,
            1 => Memory::Tight,
            _ => Memory::Full,
        }
    }

    pub(crate) fn set(&self, memory: Memory, ceiling: u64) {
        self.level.store(memory as u8, Ordering::Relaxed);
        self.ceiling.store(ceiling, Ordering::Relaxed);
    }
}

/// What all workers of the process share.
pub(crate) struct Shared {
    pub(crate) node: Arc<Node>,
    /// Replaced as a whole when the configuration is read again.
    pub(crate) tuning: RwLock<Arc<Tuning>>,
    /// Who may come in, and do what.
    pub(crate) access: Access,
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) listeners: Vec<ListenerState>,
    /// What bridges meet in their own broker.
    pub(crate) bridge_rules: Arc<ListenerRules>,
    pub(crate) log: &'static dyn LogSink,
    /// Connections of all listeners, known or not.
    pub(crate) connections: AtomicUsize,
    /// Connections by address.
    pub(crate) crowd: Crowd,
    /// What users may publish.
    pub(crate) users: Users,
    /// What was refused or held up since the start.
    pub(crate) refused: Refused,
    /// How much memory there is left (`memory_limit`).
    pub(crate) pressure: Pressure,
    /// Connections accepted since the start.
    pub(crate) accepted: AtomicUsize,
    /// The text of `$SYS/broker/version`.
    pub(crate) version: String,
    pub(crate) started: Instant,
    /// When that was, in milliseconds since 1970.
    pub(crate) started_us: u64,
    /// What makes changes durable, if anything does.
    pub(crate) store: OnceLock<Box<dyn Keeper>>,
    /// The other nodes, if this is one of several.
    pub(crate) links: OnceLock<Arc<Links>>,
    /// The places of the nodes there were when the store was read.
    pub(crate) places: Mutex<BTreeMap<String, u16>>,
    /// A file of the store whose time of change says that the broker runs.
    pub(crate) alive: OnceLock<File>,
    /// Bytes that wait for it from which on publishers wait (`persistence_buffer_limit`).
    pub(crate) store_limit: u64,
    /// The counts of each worker as of its last turn.
    pub(crate) stats: Vec<Mutex<Stats>>,
    /// How busy each thread was lately, in percent.
    pub(crate) busy: Vec<AtomicU32>,
    /// Loops have threads of their own because one thread had to share its processor with others.
    pub(crate) denied: AtomicBool,
    /// Loops whose threads have too little to do, for the captain to take back.
    pub(crate) home: Mutex<Vec<EventLoop>>,
    /// Whether there are any.
    pub(crate) any_home: AtomicBool,
    /// The broker stops.
    pub(crate) stopping: AtomicBool,
    /// Workers that have published their wills because the broker stops.
    pub(crate) wills_published: AtomicUsize,
}

impl Shared {
    /// Milliseconds since 1970, as the clock was at the start and without its jumps since: what is
    /// stored with such a time is understood by the next start.
    pub(crate) fn now_ms(&self) -> u64 {
        (self.started_us + self.started.elapsed().as_micros() as u64) / 1000
    }

    /// What counts now.
    pub(crate) fn tuning(&self) -> Arc<Tuning> {
        Arc::clone(&self.tuning.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other choices count from now on; workers are told.
    pub(crate) fn set_tuning(&self, tuning: Tuning) {
        let core = Arc::clone(&tuning.core);
        *self.tuning.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tuning);
        self.send_all(|| Mail::Config(Arc::clone(&core)));
    }

    /// Whether so much waits for the disk that those who wait for it are not to send more.
    pub(crate) fn store_is_full(&self) -> bool {
        self.store.get().is_some_and(|store| store.pending_bytes() >= self.store_limit)
    }

    /// What counts for a listener's clients; [`BRIDGES`] is one as well.
    pub(crate) fn rules(&self, listener: u16) -> Option<Arc<ListenerRules>> {
        if listener == BRIDGES {
            return Some(Arc::clone(&self.bridge_rules));
        }
        self.listeners.get(usize::from(listener)).map(ListenerState::rules)
    }

    pub(crate) fn send_all(&self, mail: impl Fn() -> Mail) {
        for mailbox in &self.mailboxes {
            mailbox.send(mail(), false);
        }
    }

    /// Has the broker stop in good order: wills are published, then clients are told. What was
    /// sent to workers before is dealt with before.
    pub(crate) fn stop(&self) {
        if !self.stopping.swap(true, Ordering::AcqRel) {
            self.send_all(|| Mail::PublishWills);
        }
    }

    /// How busy all threads together were lately, in percent of one.
    pub(crate) fn total_busy(&self) -> u32 {
        self.busy.iter().map(|busy| busy.load(Ordering::Relaxed)).sum()
    }

    /// The counts of all workers together.
    pub(crate) fn total_stats(&self) -> Stats {
        let mut total = Stats::default();
        for stats in &self.stats {
            total.add(&stats.lock().unwrap_or_else(PoisonError::into_inner));
        }
        total
    }

    /// Counts a connection in, if it may come in.
    pub(crate) fn admit_connection(&self, listener: u16) -> bool {
        let Some(listener) = self.listeners.get(usize::from(listener)) else {
            return false;
        };
        let below = |count: &AtomicUsize, limit: Option<usize>| {
            limit.is_none_or(|limit| count.load(Ordering::Relaxed) < limit)
        };
        if !below(&listener.connections, listener.rules().max_connections)
            || !below(&self.connections, self.tuning().max_connections)
        {
            return false;
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        listener.connections.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Counts a connection out.
    pub(crate) fn release_connection(&self, listener: u16) {
        if let Some(listener) = self.listeners.get(usize::from(listener)) {
            listener.connections.fetch_sub(1, Ordering::Relaxed);
            self.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The random part of a client id the broker makes: the form Mosquitto gives it, an upper-case
/// UUID.
pub(crate) fn fresh_id() -> String {
    let mut bytes = [0u8; 16];
    // Without randomness from the system the time since the start has to do; ids stay distinct
    // because a taken one is a takeover nobody can aim at.
    if getrandom::fill(&mut bytes).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanos = now.map_or(0, |elapsed| elapsed.as_nanos());
        bytes.copy_from_slice(&nanos.to_be_bytes());
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
