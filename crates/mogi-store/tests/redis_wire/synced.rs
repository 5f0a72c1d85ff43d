//! `redis_wait_aof`: what is durable is on disk, of the master and of replicas.

use crate::support::{PATIENCE, Servers, call, connect, request, send, until};
use mogi_store::redis::wire::{Depth, Options, Trouble, Wait};
use std::time::{Duration, Instant};

/// A master, a replica, and who waits for both disks.
fn start() -> (Servers, Options) {
    let servers = Servers::start(&["--masters", "1", "--config", "appendfsync always"]);
    let mut options = servers.options();
    let depth = Depth::Disk { master: true };
    options.wait =
        Some(Wait { replicas: 1, depth, timeout: Duration::from_millis(300), if_any: false });
    (servers, options)
}

/// Whether there is `WAITAOF`: Debian's Redis may be older.
fn is_new(servers: &Servers) -> bool {
    let info = servers.cli(0, &["INFO", "server"]);
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    let version = version.expect("a version").trim().split('.').map(|part| part.parse::<u32>());
    let version: Vec<_> = version.map(|part| part.expect("a number")).collect();
    version[..2] >= [7, 2][..]
}

#[test]
fn a_disk_that_is_not_synced_holds_durable_requests() {
    let (servers, options) = start();
    let (cluster, notices) = connect(options);
    let durable = |key: &str| {
        let mut request = request(&["INCR", key]);
        request.durable = true;
        request
    };
    if !is_new(&servers) {
        // A master that replaced a newer one: nothing is acknowledged, and it is said why.
        let waiting = send(&cluster, durable("a"));
        until("it is said", || {
            notices.degraded(|why| {
                let Trouble::Unsynced { have: (0, 0), said: Some(said), .. } = why else {
                    return false;
                };
                said.contains("unknown command")
            })
        });
        assert!(waiting.try_recv().is_err());
        call(&cluster, request(&["INCR", "b"]));
        return;
    }
    assert_eq!(call(&cluster, durable("a")).values[0].int(), Some(1));
    servers.signal(1, "STOP");
    let waiting: Vec<_> = (0..10).map(|_| send(&cluster, durable("a"))).collect();
    let lacks = |have| {
        notices.degraded(|why| matches!(why, Trouble::Unsynced { have: it, .. } if *it == have))
    };
    until("the replica's lack is said", || lacks((1, 0)));
    let start = Instant::now();
    call(&cluster, request(&["INCR", "b"]));
    eprintln!("another waited {:?}", start.elapsed());
    assert!(waiting.iter().all(|it| it.try_recv().is_err()));
    servers.signal(1, "CONT");
    for (index, outcome) in waiting.iter().enumerate() {
        let reply = outcome.recv_timeout(PATIENCE).expect("in time").expect("a reply");
        assert_eq!((reply.values[0].int(), reply.again), (Some(index as i64 + 2), false));
    }
    until("all is said to be well", || notices.settled());
    assert_eq!(servers.cli(0, &["CONFIG", "SET", "appendonly", "no"]), "OK");
    let waiting = send(&cluster, durable("a"));
    until("the master's lack is said", || lacks((0, 0)));
    assert!(waiting.try_recv().is_err());
    assert_eq!(servers.cli(0, &["CONFIG", "SET", "appendonly", "yes"]), "OK");
    assert!(waiting.recv_timeout(PATIENCE).expect("in time").is_ok());
    until("all is said to be well", || notices.settled());
}

/// A disk that is synced once a second is synced for all that came in that second.
#[test]
fn one_sync_is_for_all() {
    let (servers, options) = start();
    if !is_new(&servers) {
        let said = servers.cli(0, &["WAITAOF", "0", "0", "1"]);
        return assert!(said.contains("unknown command"), "{said}");
    }
    for node in 0..2 {
        assert_eq!(servers.cli(node, &["CONFIG", "SET", "appendfsync", "everysec"]), "OK");
    }
    let (cluster, _) = connect(options);
    let start = Instant::now();
    let waiting: Vec<_> = (0..20_000)
        .map(|number| {
            let mut request = request(&["INCR", &format!("{}", number % 100)]);
            request.durable = true;
            send(&cluster, request)
        })
        .collect();
    for outcome in waiting {
        assert!(outcome.recv_timeout(PATIENCE).expect("in time").is_ok());
    }
    // A sync for each pipeline would take five seconds of these alone.
    eprintln!("20,000 in {:?}", start.elapsed());
}
