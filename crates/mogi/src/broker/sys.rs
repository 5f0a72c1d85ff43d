//! The `$SYS` topics, with the names and formats of Mosquitto 2.1.
//!
//! All are retained. After the first time a value is published when it has changed; the uptime
//! always is.

use crate::cluster::Links;
use crate::net::shared::Shared;
use mogi_codec::QoS;
use mogi_core::cluster::Cluster;
use mogi_core::{MessageView, Stats, Worker};
use mogi_store::{Keeper, Status, Usage};
use std::sync::atomic::{AtomicU64, Ordering};

/// What values are made of.
struct Source<'a> {
    stats: Stats,
    shared: &'a Shared,
    resident_bytes: u64,
    resident_max_bytes: u64,
    clients_max: u64,
}

type Gauge = fn(&Source<'_>) -> u64;

/// Topics below `$SYS/broker/` and their values, in the order they are published.
const GAUGES: &[(&str, Gauge)] = &[
    ("clients/total", |s| s.stats.clients_connected + s.stats.clients_disconnected),
    ("clients/maximum", |s| s.clients_max),
    ("clients/disconnected", |s| s.stats.clients_disconnected),
    ("clients/inactive", |s| s.stats.clients_disconnected),
    ("clients/connected", |s| s.stats.clients_connected),
    ("clients/active", |s| s.stats.clients_connected),
    ("clients/expired", |s| s.stats.clients_expired),
    ("messages/stored", stored_messages),
    ("messages/received", |s| s.stats.packets_received),
    ("messages/sent", |s| s.stats.packets_sent),
    ("store/messages/count", stored_messages),
    ("store/messages/bytes", |s| {
        s.stats.messages_queued_bytes + s.shared.node.retained.payload_bytes() as u64
    }),
    ("subscriptions/count", |s| s.stats.subscriptions),
    ("shared_subscriptions/count", |s| s.stats.shared_subscriptions),
    ("retained messages/count", |s| s.shared.node.retained.len() as u64),
    ("heap/current", |s| s.resident_bytes),
    ("heap/maximum", |s| s.resident_max_bytes),
    ("bytes/received", |s| s.stats.bytes_received),
    ("bytes/sent", |s| s.stats.bytes_sent),
    ("publish/bytes/received", |s| s.stats.publish_bytes_received),
    ("publish/bytes/sent", |s| s.stats.publish_bytes_sent),
    ("publish/messages/dropped", |s| s.stats.dropped()),
    ("publish/messages/received", |s| s.stats.publish_received),
    ("publish/messages/sent", |s| s.stats.publish_sent),
    ("packet/out/count", |s| s.stats.packets_pending),
    ("packet/out/bytes", |s| s.stats.bytes_pending),
    ("connections/socket/count", |s| {
        (s.shared.connections.load(Ordering::Relaxed) + s.shared.listeners.len()) as u64
    }),
];

/// Topics below `$SYS/broker/load/` and the counters whose rate they show.
const LOADS: &[(&str, Gauge)] = &[
    ("messages/received", |s| s.stats.packets_received),
    ("messages/sent", |s| s.stats.packets_sent),
    ("publish/dropped", |s| s.stats.dropped()),
    ("publish/received", |s| s.stats.publish_received),
    ("publish/sent", |s| s.stats.publish_sent),
    ("bytes/received", |s| s.stats.bytes_received),
    ("bytes/sent", |s| s.stats.bytes_sent),
    ("sockets", |s| s.shared.accepted.load(Ordering::Relaxed) as u64),
    ("connections", |s| s.stats.connects),
];

/// Topics below `$SYS/broker/limits/`: what was refused or held up since the start, as soon as
/// there is something. Mosquitto has none of them.
const LIMITS: &[(&str, Gauge)] = &[
    ("connections/refused", |s| count(&s.shared.refused.connections)),
    ("connections/refused/address", |s| count(&s.shared.refused.addresses)),
    ("connections/refused/pending", |s| count(&s.shared.refused.pending)),
    ("connections/refused/late", |s| count(&s.shared.refused.late)),
    ("connections/refused/rate", |s| count(&s.shared.refused.crowded)),
    ("connections/refused/banned", |s| count(&s.shared.refused.banned)),
    ("connections/delayed", |s| count(&s.shared.refused.delayed)),
    ("dropped/queue", |s| s.stats.dropped_queue_full),
    ("dropped/slow", |s| s.stats.dropped_slow),
    ("dropped/size", |s| s.stats.dropped_too_large),
    ("dropped/expired", |s| s.stats.dropped_expired),
    ("publish/throttled", |s| count(&s.shared.refused.throttled)),
    ("retained/refused", |s| s.stats.retained_refused),
    ("subscriptions/refused", |s| s.stats.subscriptions_refused),
    ("topics/refused", |s| s.stats.levels_refused),
    ("sessions/refused", |s| s.stats.sessions_refused),
    ("logins/failed", |s| count(&s.shared.refused.logins)),
    ("memory/refused", |s| s.stats.memory_refused + count(&s.shared.refused.memory)),
];

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

type StoreGauge = fn(&Status, &Usage) -> u64;

/// Topics below `$SYS/broker/store/`, where state is kept. Mosquitto has none of them.
const STORE: &[(&str, StoreGauge)] = &[
    ("commits", |status, _| status.commits),
    ("changes/written", |status, _| status.ops_written),
    ("changes/skipped", |status, _| status.ops_compacted),
    ("changes/pending", |status, _| status.pending_ops),
    ("messages/read", |status, _| status.fetched),
    ("bytes/pending", |status, _| status.pending_bytes),
    ("bytes/disk", |_, usage| usage.disk_bytes),
    ("failing", |status, _| u64::from(status.failing_since.is_some())),
];

type ClusterGauge = fn(&Shared, &Links, &Cluster) -> u64;

/// Topics below `$SYS/broker/cluster/`, where there are other nodes.
const CLUSTER: &[(&str, ClusterGauge)] = &[
    ("nodes", |_, links, _| links.backlog().0 as u64 + 1),
    ("bytes/pending", |_, links, _| links.backlog().1 as u64),
    ("batches/dropped", |_, links, _| links.backlog().2),
    ("sessions/here", |_, _, cluster| cluster.log().residents() as u64),
    ("sessions/elsewhere", |_, _, cluster| cluster.shadows() as u64),
    ("claims", |shared, _, _| claims(shared)),
];

/// The spans of the averages: name and seconds.
const SPANS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// Client ids that are here: connected, or with a session.
fn claims(shared: &Shared) -> u64 {
    let store = shared.store.get().and_then(|store| store.cluster());
    store.map_or(0, |store| store.claims())
}

fn stored_messages(source: &Source<'_>) -> u64 {
    source.stats.messages_queued + source.shared.node.retained.len() as u64
}

/// The `$SYS` tree as it was published last.
pub(super) struct Sys {
    gauges: Vec<Option<u64>>,
    loads: Vec<Load>,
    limits: Vec<u64>,
    store: Vec<Option<u64>>,
    cluster: Vec<Option<u64>>,
    /// What is wrong with the store.
    store_error: Option<String>,
    published: bool,
    clients_max: u64,
    resident_max_bytes: u64,
}

#[derive(Clone, Default)]
struct Load {
    counter: u64,
    averages: [f64; SPANS.len()],
    texts: [String; SPANS.len()],
}

impl Sys {
    pub(super) fn new() -> Self {
        Self {
            gauges: vec![None; GAUGES.len()],
            loads: vec![Load::default(); LOADS.len()],
            limits: vec![0; LIMITS.len()],
            store: vec![None; STORE.len()],
            cluster: vec![None; CLUSTER.len()],
            store_error: None,
            published: false,
            clients_max: 0,
            resident_max_bytes: 0,
        }
    }

    /// Publishes what has changed in the last `elapsed_s` seconds.
    pub(super) fn publish(
        &mut self,
        worker: &mut Worker,
        shared: &Shared,
        now_ms: u64,
        elapsed_s: f64,
    ) {
        let source = self.source(worker, shared);
        let mut out = Out { worker, now_ms };
        if !self.published {
            out.publish("version", &shared.version);
        }
        out.publish("uptime", &format!("{} seconds", shared.started.elapsed().as_secs()));
        for ((name, gauge), last) in GAUGES.iter().zip(&mut self.gauges) {
            let value = gauge(&source);
            // The maximum appears once there was more than one client.
            let hidden = *name == "clients/maximum" && value <= 1;
            if !hidden && *last != Some(value) {
                *last = Some(value);
                out.publish(name, &value.to_string());
            }
        }
        for ((name, gauge), last) in LIMITS.iter().zip(&mut self.limits) {
            let value = gauge(&source);
            if *last != value {
                *last = value;
                out.publish(&format!("limits/{name}"), &value.to_string());
            }
        }
        for ((name, gauge), load) in LOADS.iter().zip(&mut self.loads) {
            load.update(name, gauge(&source), elapsed_s, self.published, &mut out);
        }
        if let Some(store) = shared.store.get() {
            self.publish_store(&**store, &mut out);
        }
        if let (Some(links), Some(cluster)) = (shared.links.get(), shared.node.cluster()) {
            self.publish_cluster(shared, links, cluster, &mut out);
        }
        self.published = true;
    }

    fn publish_cluster(
        &mut self,
        shared: &Shared,
        links: &Links,
        cluster: &Cluster,
        out: &mut Out<'_>,
    ) {
        for ((name, gauge), last) in CLUSTER.iter().zip(&mut self.cluster) {
            let value = gauge(shared, links, cluster);
            if last.replace(value) != Some(value) {
                out.publish(&format!("cluster/{name}"), &value.to_string());
            }
        }
    }

    fn publish_store(&mut self, store: &dyn Keeper, out: &mut Out<'_>) {
        let (status, usage) = (store.status(), store.usage());
        for ((name, gauge), last) in STORE.iter().zip(&mut self.store) {
            let value = gauge(&status, &usage);
            if *last != Some(value) {
                *last = Some(value);
                out.publish(&format!("store/{name}"), &value.to_string());
            }
        }
        // An error that is over is none; an empty retained message would be no message at all.
        let error = status.last_error.filter(|_| status.failing_since.is_some());
        let error = error.map_or_else(|| "none".to_owned(), |error| error.to_string());
        if self.store_error.as_ref() != Some(&error) {
            out.publish("store/error", &error);
            self.store_error = Some(error);
        }
    }

    fn source<'a>(&mut self, worker: &Worker, shared: &'a Shared) -> Source<'a> {
        let mut stats = shared.total_stats();
        // This worker's own counts are fresher than what it reported last.
        stats.clients_connected = stats.clients_connected.max(worker.stats().clients_connected);
        let resident_bytes = resident_bytes();
        self.resident_max_bytes = self.resident_max_bytes.max(resident_bytes);
        let clients = stats.clients_connected + stats.clients_disconnected;
        self.clients_max = self.clients_max.max(clients);
        Source {
            stats,
            shared,
            resident_bytes,
            resident_max_bytes: self.resident_max_bytes,
            clients_max: self.clients_max,
        }
    }
}

impl Load {
    /// An exponential average per span, in units per minute, published when its text changes.
    fn update(
        &mut self,
        name: &str,
        counter: u64,
        elapsed_s: f64,
        running: bool,
        out: &mut Out<'_>,
    ) {
        let per_minute = if elapsed_s > 0.0 && running {
            counter.saturating_sub(self.counter) as f64 * 60.0 / elapsed_s
        } else {
            0.0
        };
        self.counter = counter;
        for (at, (span, span_s)) in SPANS.iter().enumerate() {
            let keep = (-elapsed_s / span_s).exp();
            self.averages[at] = per_minute * (1.0 - keep) + self.averages[at] * keep;
            let text = format!("{:.2}", self.averages[at]);
            if text != self.texts[at] {
                out.publish(&format!("load/{name}/{span}"), &text);
                self.texts[at] = text;
            }
        }
    }
}

struct Out<'a> {
    worker: &'a mut Worker,
    now_ms: u64,
}

impl Out<'_> {
    fn publish(&mut self, name: &str, value: &str) {
        let topic = format!("$SYS/broker/{name}");
        let view = MessageView::internal(&topic, value.as_bytes(), QoS::ExactlyOnce, true);
        self.worker.publish_internal(self.now_ms, &view);
    }
}

/// Memory the process occupies. Mosquitto counts its heap; what a user wants to know is this.
pub(super) fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}
