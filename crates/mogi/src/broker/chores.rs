//! What worker 0 does besides its connections: signals, `$SYS`, log topics, purges.

use crate::bridge::Bridges;
use crate::broker::memory::MemoryWatch;
use crate::broker::plan::{Reload, Signal, Signals};
use crate::broker::reload::Reloader;
use crate::broker::sys::Sys;
use crate::net::certificates::Certificates;
use crate::net::event_loop;
use crate::net::mailbox::Mail;
use crate::net::shared::Shared;
use mogi_codec::QoS;
use mogi_core::{MessageView, Worker};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes the function the loop of worker 0 calls.
pub(super) fn chores(
    signals: Option<Signals>,
    reload: Reload,
    certificates: Certificates,
    shared: &Arc<Shared>,
    bridges: &Arc<Bridges>,
) -> event_loop::Chores {
    let certificates = Arc::new(Mutex::new(certificates));
    let tuning = shared.tuning();
    let mut chores = Chores {
        signals,
        reloader: Reloader::new(shared, bridges, &certificates, reload),
        certificates,
        sys: Sys::new(),
        memory: MemoryWatch::default(),
        sys_interval_s: tuning.sys_interval_s,
        sys_at_ms: (tuning.sys_interval_s != 0).then_some(0),
        sys_last_ms: shared.now_ms(),
        purge_interval_s: tuning.retain_expiry_interval_s,
        purge_at_ms: tuning.retain_expiry_interval_s.map(|s| shared.now_ms() + s * 1000),
        alive_at_ms: tuning.core.durable.then(|| shared.now_ms() + ALIVE_INTERVAL_S * 1000),
    };
    Box::new(move |worker, shared, now_ms, signalled| chores.run(worker, shared, now_ms, signalled))
}

struct Chores {
    signals: Option<Signals>,
    reloader: Arc<Reloader>,
    certificates: Arc<Mutex<Certificates>>,
    sys: Sys,
    memory: MemoryWatch,
    /// `sys_interval`, as of the last look.
    sys_interval_s: u64,
    sys_at_ms: Option<u64>,
    sys_last_ms: u64,
    /// `retain_expiry_interval`, as of the last look.
    purge_interval_s: Option<u64>,
    purge_at_ms: Option<u64>,
    /// When to say next that the broker runs, for the store.
    alive_at_ms: Option<u64>,
}

impl Chores {
    fn run(
        &mut self,
        worker: &mut Worker,
        shared: &Arc<Shared>,
        now_ms: u64,
        signalled: bool,
    ) -> Option<u64> {
        if signalled {
            self.take_signals(shared);
        }
        self.look_at_tuning(shared, now_ms);
        if self.sys_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            // The others answer for the next time.
            shared.send_all(|| Mail::Measure);
            let elapsed_s = (now_ms - self.sys_last_ms) as f64 / 1000.0;
            self.sys.publish(worker, shared, now_ms, elapsed_s);
            self.sys_last_ms = now_ms;
            self.sys_at_ms = Some(next_boundary_ms(now_ms, self.sys_interval_s));
        }
        if self.purge_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            worker.purge_retained(now_ms);
            self.purge_at_ms = self.purge_interval_s.map(|s| now_ms + s * 1000);
        }
        if self.alive_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            if let Some(file) = shared.alive.get() {
                // Where that fails, sessions seem to be away for a little longer.
                let _ = file.set_modified(SystemTime::now());
            }
            // With `$SYS`, so that one waking serves both.
            self.alive_at_ms = Some(next_boundary_ms(now_ms, ALIVE_INTERVAL_S));
        }
        let certificates_ms = match self.certificates.try_lock() {
            Ok(mut certificates) => certificates.look(shared, now_ms),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().look(shared, now_ms),
            // They are being read just now.
            Err(TryLockError::WouldBlock) => Some(now_ms + LOOK_AGAIN_MS),
        };
        let memory_ms = self.memory.look(shared, now_ms);
        let due = [self.sys_at_ms, self.purge_at_ms, self.alive_at_ms, certificates_ms, memory_ms];
        let due_ms = due.into_iter().flatten().min();
        if !shared.log.publishes() {
            return due_ms;
        }
        for (topic, text) in shared.log.take_topic_lines() {
            let view = MessageView {
                expires_at_ms: now_ms + LOG_EXPIRY_MS,
                ..MessageView::internal(&topic, text.as_bytes(), QoS::ExactlyOnce, false)
            };
            worker.publish_internal(now_ms, &view);
        }
        due_ms.into_iter().chain([now_ms + LOG_INTERVAL_MS]).min()
    }

    /// Times are reckoned anew when the configuration was read again.
    fn look_at_tuning(&mut self, shared: &Shared, now_ms: u64) {
        let tuning = shared.tuning();
        if tuning.sys_interval_s != self.sys_interval_s {
            self.sys_interval_s = tuning.sys_interval_s;
            self.sys_at_ms = (self.sys_interval_s != 0).then_some(now_ms);
        }
        if tuning.retain_expiry_interval_s != self.purge_interval_s {
            self.purge_interval_s = tuning.retain_expiry_interval_s;
            self.purge_at_ms = self.purge_interval_s.map(|s| now_ms + s * 1000);
        }
    }

    fn take_signals(&mut self, shared: &Arc<Shared>) {
        let Some(signals) = &mut self.signals else {
            return;
        };
        for signal in (signals.pending)() {
            match signal {
                Signal::Stop => shared.stop(),
                Signal::Rotate => shared.log.reopen(),
                Signal::Reload => {
                    self.reloader.start();
                }
                Signal::Tree => shared.node.interest.for_each(|filter| println!("{filter}")),
            }
        }
    }
}

/// When certificates are looked at that are being read just now.
const LOOK_AGAIN_MS: u64 = 1000;
/// How often the broker says that it runs.
const ALIVE_INTERVAL_S: u64 = 10;
/// How often log lines are published where they are (`log_dest topic`).
const LOG_INTERVAL_MS: u64 = 200;
/// How long a log line published to `$SYS/broker/log` is worth delivering.
const LOG_EXPIRY_MS: u64 = 20_000;

/// The next multiple of the interval on the wall clock, as Mosquitto 2.1 aligns it.
fn next_boundary_ms(now_ms: u64, interval_s: u64) -> u64 {
    let interval_ms = interval_s * 1000;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall_ms = wall.map_or(now_ms, |elapsed| elapsed.as_millis() as u64);
    now_ms + interval_ms - wall_ms % interval_ms
}
