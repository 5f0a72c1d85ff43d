//! What the configuration says about Redis.

use super::scene::setup;
use crate::support::Broker;

#[test]
fn options_that_make_no_sense_are_refused_with_a_reason() {
    let cases = [
        ("persistence_store localhost:6379", "begins with redis://"),
        ("redis_prefix a{b", "must hold no braces"),
        ("redis_wait many", "must be a number of replicas"),
        ("redis_wait 1 0", "must be a number of replicas"),
        ("redis_wait_aof 2 1", "must be 1 or 0 for the master"),
        ("redis_wait_aof 1", "must be 1 or 0 for the master"),
        ("redis_wait 1\nredis_wait_aof 1 1", "exclude each other"),
        ("redis_cluster maybe", "Invalid"),
        ("cluster_node_id a{b", "must be letters"),
    ];
    for (line, expected) in cases {
        let (status, log) = Broker::setup().conf("user root\n").own(line).run();
        assert!(!status.success() && log.contains(expected), "{line}: {log}");
    }
}

/// The test's Redis keeps nothing on disk, and Debian's is too old besides.
#[test]
fn who_waits_for_disks_of_a_redis_without_them_does_not_start() {
    let (status, log) = setup("", "redis_wait_aof 1 0").run();
    assert!(!status.success(), "{log}");
    let reasons = ["it needs Redis 7.2 or later", "it needs 'appendonly yes' in the configuration"];
    assert!(reasons.iter().any(|reason| log.contains(reason)), "{log}");
}

#[test]
fn where_the_state_is_stands_in_the_log() {
    let broker = setup("", "redis_wait 0\nredis_cluster auto\ncluster_node_id one").start();
    broker.expect_log("0 retained messages from redis://127.0.0.1:");
}
