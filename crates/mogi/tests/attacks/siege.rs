//! A broker under attack, and those who watch it.

// Each test program uses its own part of this module.
#![allow(dead_code)]

use crate::support::broker::Setup;
use crate::support::{Broker, Client, Out, V5, V311, eventually};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) const MIB: u64 = 1024 * 1024;

/// How long a healthy client may wait for its own message: the checklist's 3 s, and what a busy
/// machine adds.
const LONGEST_WAIT: Duration = Duration::from_secs(6);

/// Healthy clients: enough that some are on each worker, whatever the hashes of their ids are.
const HEALTHY: usize = 4;

/// An attack about to begin.
pub(crate) struct Siege {
    setup: Setup,
    bound: u64,
    alone: bool,
}

impl Siege {
    /// An attack under which the broker's memory may grow by so much.
    pub(crate) fn new(bound_mib: u64) -> Self {
        Self::of(Broker::setup().conf(""), bound_mib)
    }

    /// The same of a broker that was set up already.
    pub(crate) fn of(setup: Setup, bound_mib: u64) -> Self {
        let bound = (bound_mib + crate::OVER.extra_mib()) * MIB;
        Self { setup: setup.over(crate::OVER), bound, alone: false }
    }

    /// With a configuration.
    pub(crate) fn conf(mut self, conf: &str) -> Self {
        self.setup = self.setup.conf(conf);
        self
    }

    /// With options that are mogi's own.
    pub(crate) fn own(mut self, conf: &str) -> Self {
        self.setup = self.setup.own(conf);
        self
    }

    /// Not beside another attack that needs the whole machine.
    pub(crate) const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Runs `attack` against a fresh broker, and checks that nobody else noticed. What `attack`
    /// connected has to be gone when it returns.
    pub(crate) fn run(self, attack: impl FnOnce(&Broker)) {
        let _machine = self.alone.then(whole_machine);
        let broker = self.setup.start();
        // The watchers are dropped first, so that they do not complain of a broker that is gone.
        let watched = broker;
        let healthy = Watcher::healthy(&watched);
        warm_up(&watched);
        let files = watched.open_files();
        let base = watched.rss();
        let peak = Arc::new(AtomicU64::new(base));
        let memory = Watcher::memory(watched.pid(), Arc::clone(&peak));

        attack(&watched);

        watched.client(V5, "afterwards").ping();
        eventually("file descriptors come back", || watched.open_files() <= files);
        memory.finish();
        let longest = healthy.finish();
        assert!(longest <= LONGEST_WAIT, "a healthy client waited for {longest:?}");
        let growth = peak.load(Ordering::Relaxed).saturating_sub(base);
        assert!(
            growth <= self.bound,
            "memory grew by {} KiB, {} KiB are allowed",
            growth / 1024,
            self.bound / 1024
        );
        if std::env::var_os("MOGI_SIEGE_FIGURES").is_some() {
            let name = std::thread::current().name().unwrap_or("").to_owned();
            let (growth, bound) = (growth / 1024, self.bound / 1024);
            eprintln!("figures: {name}: +{growth} of {bound} KiB, longest wait {longest:?}");
        }
    }
}

/// Waits for the machine, which is free again when the file is closed. The runner gives each test
/// a process of its own, so it is a file that they share.
fn whole_machine() -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("whole-machine.lock");
    let file = File::create(&path).expect("the lock can be made");
    file.lock().expect("the lock can be had");
    file
}

/// Lets each worker make what it makes once.
fn warm_up(broker: &Broker) {
    for n in 0..8 {
        let mut client = broker.client(V311, &format!("warm-{n}"));
        client.subscribe("warm/up", 1);
        client.publish(Out::new("warm/up", "x").qos(1));
        client.receive("warm/up", "x");
        client.disconnect();
    }
}

/// A thread that watches until it is told to stop.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Duration>>,
}

impl Watcher {
    fn spawn(watch: impl FnOnce(&AtomicBool) -> Duration + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        Self { stop, thread: Some(std::thread::spawn(move || watch(&flag))) }
    }

    /// Clients that hand a message around at QoS 1; the longest time one step took.
    fn healthy(broker: &Broker) -> Self {
        let mut clients: Vec<Client> = (0..HEALTHY)
            .map(|n| {
                let version = if n % 2 == 0 { V311 } else { V5 };
                let mut client = broker.client(version, &format!("healthy-{n}"));
                client.subscribe(&format!("healthy/{n}"), 1);
                client
            })
            .collect();
        Self::spawn(move |stop| {
            let mut longest = Duration::ZERO;
            let mut at = 0;
            while !stop.load(Ordering::Relaxed) {
                let next = (at + 1) % HEALTHY;
                let topic = format!("healthy/{next}");
                let begun = Instant::now();
                clients[at].publish(Out::new(&topic, "round").qos(1));
                clients[next].receive(&topic, "round");
                longest = longest.max(begun.elapsed());
                at = next;
                std::thread::sleep(Duration::from_millis(5));
            }
            longest
        })
    }

    /// The most memory the process has at any time.
    fn memory(pid: u32, peak: Arc<AtomicU64>) -> Self {
        Self::spawn(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(rss(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
            Duration::ZERO
        })
    }

    fn finish(mut self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("not finished before");
        thread.join().expect("a healthy client was disturbed, see above")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Only where the test has failed already.
            let _ = thread.join();
        }
    }
}

/// Resident memory of a process in bytes; 0 once it is gone.
fn rss(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|text| text.parse().ok());
    pages.map_or(0, |pages: u64| pages * 4096)
}
