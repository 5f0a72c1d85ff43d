//! Servers that refuse commands for a while.

use crate::support::{
    How, Load, PATIENCE, Servers, call, connect, keys, request, send, until, value,
};
use mogi_store::redis::wire::{Refusal, SLOTS, Secret, Trouble, Value};
use std::time::Duration;

fn refused(kind: Refusal) -> impl Fn(&Trouble) -> bool {
    move |why| matches!(why, Trouble::Refused(it, _) if *it == kind)
}

#[test]
fn a_cluster_that_is_down_comes_back() {
    let all = "cluster-require-full-coverage yes";
    let servers = Servers::start(&["--replicas", "0", "--config", all]);
    let (cluster, notices) = connect(servers.options());
    let load = Load::start(&cluster, keys(100, 0..SLOTS), How::default());
    load.await_more(500);
    servers.signal(1, "KILL");
    until("it is said", || notices.degraded(refused(Refusal::ClusterDown)));
    servers.restart();
    load.await_more(500);
    load.finish(&cluster);
    until("all is said to be well", || notices.settled());
}

#[test]
fn a_full_server_goes_on_when_there_is_room() {
    let servers = Servers::start(&["--single"]);
    let (cluster, notices) = connect(servers.options());
    assert_eq!(value(&cluster, &["SET", "{a}old", "1"]), Value::Okay);
    servers.cli(0, &["CONFIG", "SET", "maxmemory", "1"]);
    let first = send(&cluster, request(&["RPUSH", "{a}list", "1"]));
    let second = send(&cluster, request(&["RPUSH", "{a}list", "2"]));
    until("it is said", || notices.degraded(refused(Refusal::OutOfMemory)));
    // In order with the others, it would wait for ever.
    let mut frees = request(&["DEL", "{a}old"]);
    frees.frees = true;
    assert_eq!(call(&cluster, frees).values, [Value::Int(1)]);
    // Another slot of the same server can be read.
    assert_eq!(value(&cluster, &["GET", "b"]), Value::Nil);
    let transaction = {
        let mut both = request(&["RPUSH", "{a}list", "3"]);
        both.first.push(&[b"LLEN", b"{a}list"]);
        both.atomic = true;
        send(&cluster, both)
    };
    let read = send(&cluster, request(&["LLEN", "{a}list"]));
    std::thread::sleep(Duration::from_millis(300));
    assert!(first.try_recv().is_err() && read.try_recv().is_err(), "in order");
    servers.cli(0, &["CONFIG", "SET", "maxmemory", "0"]);
    for (outcome, expected) in
        [(first, vec![1]), (second, vec![2]), (transaction, vec![3, 3]), (read, vec![3])]
    {
        let reply = outcome.recv_timeout(PATIENCE).expect("in time").expect("a reply");
        let found: Vec<_> = reply.values.iter().filter_map(Value::int).collect();
        assert_eq!((found, reply.again), (expected, false));
    }
    until("all is said to be well", || notices.settled());
}

#[test]
fn a_changed_password_is_waited_for() {
    let servers = Servers::start(&["--single"]);
    let user = |password: &str| {
        let password = format!(">{password}");
        let words = ["ACL", "SETUSER", "mogi", "on", "resetpass", &password, "~*", "+@all"];
        assert_eq!(servers.cli(0, &words), "OK");
    };
    user("one");
    let mut options = servers.options();
    options.username = Some("mogi".to_owned());
    options.password = Some(Secret("one".to_owned()));
    let (cluster, notices) = connect(options);
    assert_eq!(value(&cluster, &["SET", "a", "1"]), Value::Okay);
    user("two");
    servers.cli(0, &["CLIENT", "KILL", "USER", "mogi"]);
    until("it is said", || notices.degraded(refused(Refusal::Login)));
    let waiting = send(&cluster, request(&["GET", "a"]));
    std::thread::sleep(Duration::from_millis(200));
    assert!(waiting.try_recv().is_err());
    user("one");
    let reply = waiting.recv_timeout(PATIENCE).expect("in time").expect("a reply");
    assert_eq!(reply.values[0].int(), Some(1));
    // A right that is taken away and given back.
    servers.cli(0, &["ACL", "SETUSER", "mogi", "-set"]);
    let waiting = send(&cluster, request(&["SET", "a", "2"]));
    std::thread::sleep(Duration::from_millis(200));
    assert!(waiting.try_recv().is_err());
    servers.cli(0, &["ACL", "SETUSER", "mogi", "+set"]);
    let reply = waiting.recv_timeout(PATIENCE).expect("in time").expect("a reply");
    assert_eq!(reply.values, [Value::Okay]);
    until("all is said to be well", || notices.settled());
}

#[test]
fn a_server_that_hangs_is_given_up_and_tried_again() {
    let servers = Servers::start(&["--single"]);
    let mut options = servers.options();
    options.timeout = Duration::from_millis(800);
    let (cluster, notices) = connect(options);
    value(&cluster, &["GET", "a"]);
    let load = Load::start(&cluster, keys(20, 0..SLOTS), How::default());
    std::thread::sleep(Duration::from_millis(300));
    servers.signal(0, "STOP");
    until("it is said", || {
        notices
            .degraded(|why| matches!(why, Trouble::Unreachable(text) if text.contains("no answer")))
    });
    std::thread::sleep(Duration::from_millis(500));
    servers.signal(0, "CONT");
    std::thread::sleep(Duration::from_millis(300));
    let records = load.finish(&cluster);
    let repeated = records.iter().filter(|record| record.again).count();
    eprintln!("{repeated} of {} again", records.len());
    assert!(repeated > 0, "what was out when it hung is ambiguous");
    until("all is said to be well", || notices.settled());
}
