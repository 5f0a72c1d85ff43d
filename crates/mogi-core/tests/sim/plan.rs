//! What a run is like: chosen from its seed, so that different runs press on different places.

use crate::rng::Rng;
use mogi_codec::Version;
use mogi_core::{CoreConfig, ListenerConfig};

/// The choices of one run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) workers: u16,
    pub(crate) clients: usize,
    /// Random steps before everything is left to settle.
    pub(crate) steps: usize,
    /// Connection losses in 10,000 steps.
    pub(crate) losses: usize,
    /// How often a client connects anew while its connection lives, in 10,000 steps.
    pub(crate) takeovers: usize,
    /// Crashes of the broker in 10,000 steps.
    pub(crate) crashes: usize,
    /// Sockets that take only a few bytes at a time, in percent of connections.
    pub(crate) narrow: usize,
    /// The most bytes delivered at once.
    pub(crate) chunk: usize,
    /// The most milliseconds that pass between two steps.
    pub(crate) pace_ms: usize,
    /// Weights of: client acts, bytes up, bytes down, peer batch, store, end turn, time.
    pub(crate) weights: [usize; 7],
    /// Messages with payloads larger than what is referred to instead of copied, in percent.
    pub(crate) large: usize,
    /// Messages to shared groups, in tenths.
    pub(crate) groups: usize,
    pub(crate) wills: bool,
    pub(crate) expiry: bool,
    pub(crate) aliases: bool,
    pub(crate) keep_alive: bool,
    pub(crate) packet_limit: bool,
    pub(crate) versions: &'static [Version],
    /// Whether the core may drop messages for its limits.
    pub(crate) tight: bool,
    pub(crate) core: CoreConfig,
    pub(crate) listener: ListenerConfig,
}

const ALL: &[Version] = &[Version::V31, Version::V311, Version::V5, Version::V5];
const V5: &[Version] = &[Version::V5];
const V311: &[Version] = &[Version::V311];

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let tight = rng.percent(20);
        let mut core = CoreConfig {
            durable: rng.percent(60),
            max_inflight_messages: *rng.pick(&[20, 20, 1, 2, 5]),
            max_queued_messages: if tight { rng.range(1, 10) } else { 0 },
            max_queued_bytes: if tight && rng.percent(50) { 500 } else { 0 },
            max_inflight_bytes: if rng.percent(15) { 200 } else { 0 },
            queue_window_messages: *rng.pick(&[1000, 1, 3, 10]),
            queue_qos0_messages: rng.percent(30),
            upgrade_outgoing_qos: rng.percent(10),
            allow_duplicate_messages: rng.percent(60),
            route_cache_topics: *rng.pick(&[65_536, 65_536, 1, 3]),
            log_mask: if rng.percent(20) { 127 } else { 0 },
            ..CoreConfig::default()
        };
        if rng.percent(20) {
            core.send_timeout_ms = 2000;
        }
        let listener = ListenerConfig {
            mount_point: rng.percent(15).then(|| "mount/".to_owned()),
            ..ListenerConfig::default()
        };
        let quiet = rng.percent(20);
        let crashes = *rng.pick(&[0, 0, 3, 20, 100, 400]);
        Self {
            workers: rng.range(1, 4) as u16,
            clients: rng.range(2, 8),
            steps: rng.range(200, 4000),
            losses: if quiet { 0 } else { *rng.pick(&[0, 20, 100, 400]) },
            takeovers: if quiet { 0 } else { *rng.pick(&[0, 20, 300]) },
            crashes: if core.durable { crashes } else { 0 },
            narrow: *rng.pick(&[0, 0, 20, 60]),
            chunk: *rng.pick(&[1, 7, 60, 5000, 100_000]),
            pace_ms: *rng.pick(&[0, 3, 50, 400, 5000]),
            weights: [
                rng.range(4, 30),
                rng.range(4, 30),
                rng.range(4, 30),
                rng.range(2, 20),
                rng.range(2, 20),
                rng.range(2, 30),
                rng.range(1, 5),
            ],
            large: *rng.pick(&[0, 0, 5, 30]),
            groups: *rng.pick(&[0, 0, 2, 7]),
            wills: rng.percent(60),
            expiry: rng.percent(20),
            aliases: rng.percent(40),
            keep_alive: rng.percent(15),
            packet_limit: rng.percent(15),
            versions: *rng.pick(&[ALL, ALL, ALL, V5, V311]),
            tight,
            core,
            listener,
        }
    }
}
