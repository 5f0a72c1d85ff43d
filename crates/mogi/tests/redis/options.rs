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
        ("redis_cluster maybe", "Invalid"),
        ("cluster_node_id a{b", "must be letters"),
    ];
    for (line, expected) in cases {
        let (status, log) = Broker::setup().conf("user root\n").own(line).run();
        assert!(!status.success() && log.contains(expected), "{line}: {log}");
    }
}

#[test]
fn where_the_state_is_stands_in_the_log() {
    let broker = setup("", "redis_wait 0\nredis_cluster auto\ncluster_node_id one").start();
    broker.expect_log("0 retained messages from redis://127.0.0.1:");
}
