//! One server, and a cluster where nothing happens.

use crate::support::{How, Load, Servers, call, connect, keys, request, until, value};
use mogi_store::redis::wire::{Commands, Library, Mode, Notice, Options, Request, SLOTS, Value};
use std::time::Duration;

#[test]
fn one_server_serves_all_slots() {
    let servers = Servers::start(&["--single"]);
    let mut options = servers.options();
    options.library = Some(Library { name: "mogi_test_1".to_owned(), code: LIBRARY.to_owned() });
    let (cluster, notices) = connect(options);
    assert_eq!(value(&cluster, &["SET", "a", "1"]), Value::Okay);
    assert_eq!(value(&cluster, &["GET", "a"]), Value::BulkString(b"1"[..].into()));
    // Errors of a command are its value.
    let error = value(&cluster, &["LPUSH", "a", "1"]);
    assert_eq!(error.error().map(|error| error.code()), Some("WRONGTYPE"));
    // Both or none, and the values are those of the commands.
    let mut both = request(&["INCR", "a"]);
    both.first.push(&[b"GET", b"a"]);
    both.atomic = true;
    let reply = call(&cluster, both);
    assert_eq!(reply.values, [Value::Int(2), Value::BulkString(b"2"[..].into())]);
    let mut aside = request(&["GET", "a"]);
    aside.aside = true;
    assert_eq!(call(&cluster, aside).values[0].int(), Some(2));
    functions_are_loaded(&servers, &cluster);
    large_values_pass(&cluster);
    assert_eq!(cluster.pending_bytes(), 0);
    assert!(notices.settled());
    let told = notices.all();
    let Notice::Topology { masters, .. } = &told[0] else { panic!("{told:?}") };
    assert_eq!(masters[0].1, SLOTS);
}

const LIBRARY: &str = "#!lua name=mogi_test_1
    redis.register_function('mogi_fenced', function(keys, args)
        return redis.error_reply('FENCED epoch ' .. args[1])
    end)";

fn functions_are_loaded(servers: &Servers, cluster: &mogi_store::redis::wire::Cluster) {
    let fcall = || Request::new(0, Commands::one(&[b"FCALL", b"mogi_fenced", b"0", b"3"]));
    let fenced = call(cluster, fcall()).values.remove(0);
    let error = fenced.error().expect("an error");
    assert_eq!((error.code(), error.detail()), ("FENCED", "epoch 3"));
    // Who deletes them finds them again.
    servers.cli(0, &["FUNCTION", "FLUSH"]);
    let fenced = call(cluster, fcall()).values.remove(0);
    assert_eq!(fenced.error().map(|error| error.code()), Some("FENCED"));
}

fn large_values_pass(cluster: &mogi_store::redis::wire::Cluster) {
    let large = "x".repeat(5 << 20);
    assert_eq!(value(cluster, &["SET", "large", &large]), Value::Okay);
    let read = value(cluster, &["GET", "large"]);
    assert_eq!(read.bytes().map(<[u8]>::len), Some(large.len()));
    let many = (0..20_000).map(|number| request(&["RPUSH", "many", &number.to_string()]));
    let replies = cluster.call(many.collect(), Duration::from_secs(20)).expect("replies");
    let counts: Vec<_> = replies.iter().map(|reply| reply.values[0].int()).collect();
    assert_eq!(counts, (1..=20_000).map(Some).collect::<Vec<_>>());
    let all = value(cluster, &["LRANGE", "many", "0", "-1"]);
    assert_eq!(all.array().map(<[Value]>::len), Some(20_000));
}

#[test]
fn a_cluster_keeps_the_order_of_each_slot() {
    let servers = Servers::start(&[]);
    let mut options = servers.options();
    // Any node tells where the others are.
    options.seeds[0].port += 4;
    let (cluster, notices) = connect(options);
    let load = Load::start(&cluster, keys(300, 0..SLOTS), How::default());
    for _ in 0..200 {
        let mut aside = request(&["GET", "nothing"]);
        aside.aside = true;
        assert_eq!(call(&cluster, aside).values, [Value::Nil]);
    }
    load.await_more(3000);
    let records = load.finish(&cluster);
    assert!(records.iter().all(|record| !record.again));
    assert!(notices.settled());
    let crossing = Commands::one(&[b"MGET", b"a", b"b"]);
    let slot = mogi_store::redis::wire::slot_of(b"a");
    let value = call(&cluster, Request::new(slot, crossing)).values.remove(0);
    assert_eq!(value.error().map(|error| error.code()), Some("CROSSSLOT"));
}

#[test]
fn what_cannot_be_reached_is_said_and_given_up_at_the_end() {
    // Nobody listens on port 1.
    let mut options = Options::from_url("redis://127.0.0.1:1").expect("an address");
    options.mode = Mode::Auto;
    let (cluster, notices) = connect(options);
    let outcome = crate::support::send(&cluster, request(&["GET", "a"]));
    until("it is said", || notices.degraded(|why| why.to_string().contains("refused")));
    assert!(outcome.try_recv().is_err());
    drop(cluster);
    let fault = outcome.recv().expect("an outcome").expect_err("a fault");
    assert_eq!(fault.to_string(), "the connection to Redis was closed");
}
