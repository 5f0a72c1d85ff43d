//! Brokers on a Redis Cluster of three masters with a replica each.

use super::scene::{Site, begin, expect_no_message, publish, resume, sleeper};
use crate::support::{Out, V5, V311};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A cluster that ends with the scene.
struct Masters {
    dir: PathBuf,
    port: u16,
}

impl Masters {
    fn start() -> Self {
        let name = format!("masters-{}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&dir);
        // Below what the system gives to connections, and another for each process.
        let port = 14_000 + (std::process::id() % 1_700) as u16 * 10;
        let this = Self { dir, port };
        assert!(this.run("start", &["--port", &port.to_string()]), "no cluster");
        this
    }

    fn run(&self, verb: &str, more: &[&str]) -> bool {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local-cluster");
        let mut command = Command::new(script);
        command.arg(verb).arg(&self.dir).args(more);
        command.status().is_ok_and(|status| status.success())
    }

    /// Begins to start what was killed, some time later.
    fn mend(&self) -> Child {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local-cluster");
        let script = format!("sleep 3; exec {} start {}", script.display(), self.dir.display());
        Command::new("sh").args(["-c", &script]).spawn().expect("a shell")
    }

    /// SIGKILL to the node.
    fn kill(&self, node: u16) {
        let file = self.dir.join(format!("{node}/redis.pid"));
        let pid = std::fs::read_to_string(file).expect("it runs");
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().expect("a process id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    }
}

impl Drop for Masters {
    fn drop(&mut self) {
        self.run("stop", &[]);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn sessions_and_messages_outlive_a_master_and_a_broker() {
    let masters = Masters::start();
    let port = masters.port;
    let site = Site::on(&format!("redis://127.0.0.1:{port}"), "redis_wait 1 1000\n");
    let [mut a, b] = ["a", "b"].map(|name| site.node(name));
    for n in 0..6 {
        sleeper(&a, [V311, V5][n % 2], &format!("client{n}"), "t", 2);
    }
    let mut online = begin(&b, V5, "online");
    online.subscribe("t", 1);
    publish(&a, "t", "one", 2);
    online.receive("t", "one");
    masters.kill(port);
    // With `redis_wait 1` nothing is acknowledged without a replica: it comes back as one.
    let mut mending = masters.mend();
    // Acknowledged when another has taken over.
    let mut sender = a.client(V5, "sender");
    for client in [&mut sender, &mut online] {
        let long = std::time::Duration::from_secs(30);
        client.stream().set_read_timeout(Some(long)).expect("a timeout");
    }
    sender.publish(Out::new("t", "two").qos(2));
    online.receive("t", "two");
    a.kill();
    publish(&b, "t", "three", 2);
    for n in 0..6 {
        let mut client = resume(&b, [V311, V5][n % 2], &format!("client{n}"));
        for text in ["one", "two", "three"] {
            client.receive("t", text);
        }
        expect_no_message(&mut client);
    }
    assert!(mending.wait().is_ok_and(|status| status.success()));
}
