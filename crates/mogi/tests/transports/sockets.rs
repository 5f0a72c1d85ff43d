//! Unix sockets.

use crate::scene::{connect, ping};
use crate::support::{Broker, Dial, PATIENCE, V311};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

/// The path may have about a hundred bytes, so it is not in the broker's folder.
struct Place(std::path::PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mogi-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).expect("cannot make a folder");
        // Started by root, the broker is somebody else by then.
        open_to_all(&folder);
        Self(folder.join("socket"))
    }

    fn conf(&self) -> String {
        format!("listener {{port}} 127.0.0.1\nlistener 0 {}\n", self.0.display())
    }

    fn open(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.0).expect("cannot connect to the broker");
        stream.set_read_timeout(Some(PATIENCE)).expect("cannot set a timeout");
        stream
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().expect("it has a folder"));
    }
}

fn open_to_all(path: &std::path::Path) {
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(path, mode).expect("cannot change permissions");
}

#[test]
fn a_unix_socket_is_a_listener() {
    let place = Place::new("unix");
    let mut broker = Broker::setup().conf(&place.conf()).own("worker_threads 2\n").start();
    let path = place.0.display();
    broker.expect_log(&format!("Opening unix listen socket on path {path}."));
    let mut streams: Vec<_> = (0..8).map(|_| place.open()).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        assert_eq!(connect(stream, &Dial::new(V311, &format!("u{n}"))), Some(0));
    }
    streams.iter_mut().for_each(ping);
    broker.expect_log(&format!("New client connected from {path}:0 as u0 (p4"));
    let mode = std::fs::metadata(&place.0).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o770);
    assert!(broker.stop().success());
    assert!(!place.0.exists(), "it goes with the broker");
}

#[test]
fn a_socket_left_behind_makes_room_and_another_does_not() {
    let place = Place::new("stale");
    drop(UnixListener::bind(&place.0).expect("cannot bind"));
    open_to_all(&place.0);
    let broker = Broker::start(&place.conf());
    assert_eq!(connect(&mut place.open(), &Dial::new(V311, "u")), Some(0));
    let (status, log) = Broker::setup().conf(&place.conf()).run();
    assert!(!status.success() && log.contains("Error binding unix socket"), "{log}");
    drop(broker);
    let _ = std::fs::remove_file(&place.0);
    std::fs::write(&place.0, "a file").expect("cannot write");
    let (status, log) = Broker::setup().conf(&place.conf()).run();
    assert!(!status.success() && log.contains("Address already in use"), "{log}");
    assert!(place.0.is_file(), "somebody's file stays");
}
