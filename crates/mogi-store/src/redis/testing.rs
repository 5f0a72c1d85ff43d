//! A Redis server of a test's own.

use super::RedisOptions;
use super::wire::{Address, Options};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server without persistence that ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts one; `MOGI_REDIS_SERVER` names another program than `redis-server`.
    pub(crate) fn start(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let program =
            std::env::var("MOGI_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let port = free_port();
        let child = Command::new(&program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--dir"])
            .arg(dir.path())
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} starts: {error}"));
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(since.elapsed() < Duration::from_secs(20), "{program} answers");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, port, _dir: dir }
    }

    pub(crate) fn options(&self) -> RedisOptions {
        let seed = Address { host: "127.0.0.1".to_owned(), port: self.port };
        RedisOptions::new(Options::new(vec![seed]))
    }

    /// What `redis-cli` prints.
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).args(words);
        let output = command.output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}
