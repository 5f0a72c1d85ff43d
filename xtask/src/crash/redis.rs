//! The Redis Cluster under the brokers: its nodes die and hang as well.

use super::process::free_port;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Nodes: three masters, a replica of each.
const NODES: u16 = 6;

/// A cluster of `deploy/local-cluster`.
pub(super) struct Redis {
    dir: PathBuf,
    port: u16,
    /// Where brokers find it.
    address: Ipv4Addr,
    keep: bool,
    /// Brings back what was killed.
    mending: Option<Child>,
    /// Something was killed or stopped, and not everything is well again.
    hurt: bool,
}

impl Redis {
    /// Starts one in that folder.
    ///
    /// # Errors
    /// It does not come up.
    pub(super) fn start(dir: &Path, seed: u64, keep: bool, address: Ipv4Addr) -> Result<Self> {
        let _ = fs::remove_dir_all(dir);
        let port = free_port(seed)?;
        let this = Self { dir: dir.to_owned(), port, address, keep, mending: None, hurt: false };
        let mut script = this.script("start");
        script.args(["--port", &port.to_string()]);
        if address != Ipv4Addr::LOCALHOST {
            let bind = format!("bind 127.0.0.1 {address}");
            let announce = format!("cluster-announce-ip {address}");
            for line in [&bind, &announce, "protected-mode no"] {
                script.args(["--config", line]);
            }
        }
        let status = script.status()?;
        ensure!(status.success(), "deploy/local-cluster starts no cluster in {}", dir.display());
        Ok(this)
    }

    /// What brokers are told.
    pub(super) fn address(&self) -> String {
        let nodes: Vec<String> =
            self.nodes().map(|node| format!("{}:{node}", self.address)).collect();
        format!("redis://{}", nodes.join(","))
    }

    /// The nodes, by port.
    pub(super) fn nodes(&self) -> impl Iterator<Item = u16> + use<> {
        self.port..self.port + NODES
    }

    /// The masters now.
    pub(super) fn masters(&self) -> Vec<u16> {
        let is_master = |node: &u16| {
            let port = node.to_string();
            let role =
                Command::new("timeout").args(["1", "redis-cli", "-p", &port, "role"]).output();
            role.is_ok_and(|role| role.stdout.starts_with(b"master"))
        };
        self.nodes().filter(is_master).collect()
    }

    /// Whether all nodes serve, and all replicas have what their masters have.
    pub(super) fn is_whole(&mut self) -> bool {
        let Some(mending) = &mut self.mending else { return !self.hurt };
        match mending.try_wait() {
            Ok(Some(status)) => {
                self.mending = None;
                self.hurt = !status.success();
                if self.hurt {
                    self.mend();
                }
                !self.hurt
            }
            _ => false,
        }
    }

    /// SIGKILL to a node.
    pub(super) fn kill(&mut self, node: u16) {
        self.signal(node, "-KILL");
    }

    /// SIGSTOP or SIGCONT, and the like.
    pub(super) fn signal(&mut self, node: u16, signal: &str) {
        self.hurt = true;
        if let Ok(pid) = fs::read_to_string(self.dir.join(format!("{node}/redis.pid"))) {
            let _ = Command::new("kill").args([signal, pid.trim()]).status();
        }
    }

    /// Begins to start what was killed; [`Self::is_whole`] tells when it is done.
    pub(super) fn mend(&mut self) {
        if self.mending.is_none() {
            self.mending = self.script("start").stdout(Stdio::null()).spawn().ok();
        }
    }

    fn script(&self, verb: &str) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(root.join("../deploy/local-cluster"));
        command.arg(verb).arg(&self.dir).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Where there is a message for a client whose payload begins so.
    pub(super) fn find(&self, client: &str, payload: &str) -> String {
        let port = self.port.to_string();
        let ask = |words: &[&str]| {
            let mut ask = Command::new("timeout");
            let asked = ask.args(["2", "redis-cli", "-c", "-p", &port]).args(words).output();
            asked.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default()
        };
        let mut found = Vec::new();
        let queue = ask(&["XRANGE", &format!("queue:{{{client}}}"), "-", "+"]);
        let lines: Vec<&str> = queue.lines().collect();
        if let Some(at) = lines.iter().position(|line| line.starts_with(payload)) {
            found.push(format!("queue {:?}", &lines[at.saturating_sub(8)..at]));
        }
        for field in ask(&["HGETALL", &format!("inflight:{{{client}}}")]).lines() {
            if ask(&["HGETALL", &format!("msg:{{{client}}}:{field}")]).contains(payload) {
                found.push(format!("inflight {field}"));
            }
        }
        if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
    }

    /// What the nodes have logged of failovers.
    ///
    /// # Errors
    /// Their logs cannot be read.
    pub(super) fn failovers(&self) -> Result<usize> {
        let mut count = 0;
        for node in self.nodes() {
            let log = fs::read(self.dir.join(format!("{node}/redis.log"))).context("no log")?;
            let log = String::from_utf8_lossy(&log);
            count += log.lines().filter(|line| line.contains("election won")).count();
        }
        Ok(count)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut mending) = self.mending.take() {
            let _ = mending.kill();
            let _ = mending.wait();
        }
        let _ = self.script("stop").status();
        if !self.keep {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
