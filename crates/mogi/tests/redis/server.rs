//! A Redis server of the test's own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The port of a server that ends with this process, one for all its tests.
pub(super) fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(start)
}

/// `MOGI_REDIS_SERVER` names another program than `redis-server`.
fn start() -> u16 {
    let program = std::env::var("MOGI_REDIS_SERVER").unwrap_or("redis-server".to_owned());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    drop(listener);
    // Its input ends with this process, however that ends.
    let script = "\"$0\" --port \"$1\" --bind 127.0.0.1 --save '' --appendonly no >/dev/null & \
                  server=$!; read -r end; kill -9 $server";
    let child = Command::new("sh")
        .args(["-c", script, &program, &port.to_string()])
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    // It is never waited for: it ends when this process does.
    std::mem::forget(child);
    let since = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(since.elapsed() < Duration::from_secs(30), "{program} does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    port
}
