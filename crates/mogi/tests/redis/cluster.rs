//! Redis servers of a test's own, started by `deploy/local-cluster`.

use crate::support::broker::Setup;
use crate::support::{Broker, Client, Dial, PATIENCE, V5};
use mogi_store::redis::wire::{SLOTS, slot_of};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longer than an election takes on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// They end with this value, however the test ends.
pub(super) struct Servers {
    pub(super) dir: PathBuf,
    pub(super) port: u16,
    /// Stops them when its standard input ends.
    guard: Child,
}

impl Servers {
    /// Starts with these options, on ports that are free.
    pub(super) fn start(options: &[&str]) -> Self {
        let port = free_ports();
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{port}"));
        // What a killed run left behind.
        let _ = std::fs::remove_dir_all(&dir);
        let mut guard = Command::new("sh")
            .args(["-c", "cat >/dev/null; \"$1\" stop \"$2\"; rm -r \"$2\"", "guard"])
            .args([script().as_path(), &dir])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut start = Command::new(script());
        start.arg("start").arg(&dir).args(["--port", &port.to_string()]).args(options);
        if !start.status().expect("the script").success() {
            drop(guard.stdin.take());
            panic!("no servers");
        }
        Self { dir, port, guard }
    }

    /// Starts again what does not run.
    pub(super) fn restart(&self) {
        let mut start = Command::new(script());
        assert!(start.arg("start").arg(&self.dir).status().expect("the script").success());
    }

    /// `kill -9` of the node of this index.
    pub(super) fn kill(&self, index: u16) {
        let file = self.dir.join((self.port + index).to_string()).join("redis.pid");
        let pid = std::fs::read_to_string(file).expect("a process");
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().expect("a number"));
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("sent");
    }

    /// Whether the node of this index says that the cluster is down.
    pub(super) fn is_down(&self, index: u16) -> bool {
        self.ask(index, &["cluster", "info"]).contains("cluster_state:fail")
    }

    /// Asks the first node with `redis-cli`.
    pub(super) fn cli(&self, words: &[&str]) -> String {
        self.ask(0, words)
    }

    fn ask(&self, index: u16, words: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        let output = cli.args(["-p", &(self.port + index).to_string()]).args(words).output();
        String::from_utf8_lossy(&output.expect("redis-cli").stdout).trim().to_owned()
    }

    /// The first node's address, and those of two more: one is enough to find the others.
    pub(super) fn seeds(&self) -> String {
        let seeds: Vec<_> = (0..3).map(|n| format!("127.0.0.1:{}", self.port + n)).collect();
        seeds.join(",")
    }

    /// A broker with its state there, not started yet.
    pub(super) fn setup(&self, own: &str) -> Setup {
        let store = format!("worker_threads 2\npersistence_store redis://{}\n", self.seeds());
        let conf = "user root\nmax_queued_messages 0\n";
        Broker::setup().conf(conf).own(&(store + own))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // It has ended, or will.
        let _ = self.guard.wait();
    }
}

/// A client id whose state the master of this index (of three) has.
pub(super) fn id_on(master: u16, name: &str) -> String {
    let third = |index: u16| u32::from(index) * u32::from(SLOTS) / 3;
    let slots = third(master)..third(master + 1);
    let ids = (0..).map(|number| format!("{name}{number}"));
    let on = |id: &String| slots.contains(&u32::from(slot_of(format!("{{{id}}}").as_bytes())));
    ids.into_iter().find(on).expect("one of them")
}

/// A client with a clean session that waits long for answers.
pub(super) fn patient(broker: &Broker, id: &str) -> Client {
    let client = broker.client(V5, id);
    client.stream().set_read_timeout(Some(LONG)).expect("a timeout");
    client
}

/// The same with a session that lasts.
pub(super) fn lasting(broker: &Broker, id: &str) -> Client {
    let mut client = broker.dial(&Dial::persistent(V5, id));
    client.stream().set_read_timeout(Some(LONG)).expect("a timeout");
    client.expect_connected();
    client
}

/// Waits longer than [`PATIENCE`].
#[track_caller]
pub(super) fn sooner_or_later(what: &str, mut is: impl FnMut() -> bool) {
    let tries = LONG.as_millis().max(PATIENCE.as_millis()) / 20;
    for _ in 0..tries {
        if is() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("waited in vain for {what}");
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local-cluster")
}

/// The first of enough free ports below those the system gives away. Tests run in processes of
/// their own at the same time, and each begins to search elsewhere.
fn free_ports() -> u16 {
    let start = std::process::id() % 100;
    let bases = (0..100).map(|try_| 10_000 + ((start + try_ * 7) % 100) as u16 * 100);
    let free = |base: &u16| {
        let ports = (*base..*base + 8).chain(*base + 50..*base + 58);
        let held: Vec<_> = ports.map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        held.iter().all(Result::is_ok)
    };
    bases.into_iter().find(free).expect("free ports")
}
