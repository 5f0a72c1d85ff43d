//! `redis_wait` and a replica that stops.

use crate::support::{Servers, call, connect, request, send, until};
use mogi_store::redis::wire::{Depth, Notice, Request, Trouble, Wait};
use std::time::{Duration, Instant};

#[test]
fn a_stopped_replica_holds_durable_requests_only() {
    let servers = Servers::start(&["--masters", "1"]);
    let mut options = servers.options();
    options.wait = Some(Wait {
        replicas: 1,
        depth: Depth::Memory,
        timeout: Duration::from_millis(300),
        if_any: false,
    });
    let (cluster, notices) = connect(options);
    let durable = |key: &str| {
        let mut request = request(&["INCR", key]);
        request.durable = true;
        request
    };
    assert_eq!(call(&cluster, durable("a")).values[0].int(), Some(1));
    servers.signal(1, "STOP");
    let waiting: Vec<_> = (0..10).map(|_| send(&cluster, durable("a"))).collect();
    until("it is said", || {
        notices.degraded(|why| matches!(why, Trouble::Replicas { have: 0, want: 1 }))
    });
    // Others are answered while these wait, which they do to the end.
    for _ in 0..100 {
        call(&cluster, request(&["INCR", "b"]));
    }
    // A connection beside, which waits for no replicas, does not say that it is over, again and
    // again.
    for _ in 0..100 {
        let mut beside = request(&["GET", "b"]);
        beside.aside = true;
        call(&cluster, beside);
    }
    let said = notices.all().into_iter().filter(|it| matches!(it, Notice::Degraded { .. }));
    assert_eq!(said.count(), 1);
    let later = send(&cluster, durable("c"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(waiting.iter().chain([&later]).all(|it| it.try_recv().is_err()));
    servers.signal(1, "CONT");
    for (index, outcome) in waiting.iter().enumerate() {
        let reply = outcome.recv_timeout(crate::support::PATIENCE).expect("in time");
        let reply = reply.expect("a reply");
        assert_eq!((reply.values[0].int(), reply.again), (Some(index as i64 + 2), false));
    }
    assert!(later.recv_timeout(crate::support::PATIENCE).is_ok());
    until("all is said to be well", || notices.settled());
    // And it waits for replicas as before.
    let start = Instant::now();
    (0..20).for_each(|_| drop(call(&cluster, durable("a"))));
    eprintln!("20 durable requests in {:?}", start.elapsed());
}

#[test]
fn a_replica_is_waited_for_as_long_as_there_is_one() {
    let servers = Servers::start(&["--masters", "1"]);
    let mut options = servers.options();
    let timeout = Duration::from_millis(300);
    options.wait = Some(Wait { replicas: 1, depth: Depth::Memory, timeout, if_any: true });
    let (cluster, notices) = connect(options);
    let durable = || Request { durable: true, ..request(&["INCR", "a"]) };
    let alone = |is: bool| {
        notices.all().iter().any(|it| matches!(it, Notice::Alone { alone, .. } if *alone == is))
    };
    assert_eq!(call(&cluster, durable()).values[0].int(), Some(1));
    servers.signal(1, "STOP");
    let waiting = send(&cluster, durable());
    until("it is waited for", || {
        notices.degraded(|why| matches!(why, Trouble::Replicas { have: 0, want: 1 }))
    });
    assert!(waiting.try_recv().is_err());
    servers.signal(1, "KILL");
    let reply = waiting.recv_timeout(crate::support::PATIENCE).expect("in time").expect("a reply");
    assert_eq!((reply.values[0].int(), reply.again), (Some(2), false));
    until("it is said that there is none", || alone(true));
    for count in 3..20 {
        assert_eq!(call(&cluster, durable()).values[0].int(), Some(count));
    }
    servers.restart();
    until("it is said that there is one", || {
        call(&cluster, durable());
        alone(false)
    });
}
