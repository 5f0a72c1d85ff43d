//! Masters that die or hang while requests stream in.

use crate::support::{How, Load, Record, Servers, connect, keys_of, longest, until, value};
use mogi_store::redis::wire::{Cluster, Depth, Notice, Trouble, Wait};
use std::sync::Arc;
use std::time::Duration;

const KEYS: usize = 40;

/// Load on all three masters; keys of the first come first.
fn load(cluster: &Arc<Cluster>) -> Load {
    let keys = (0..3).flat_map(|master| keys_of(KEYS, master)).collect();
    let load = Load::start(cluster, keys, How { durable: true, atomic: false });
    std::thread::sleep(Duration::from_millis(700));
    load
}

/// What was said before a failover holds after it, and only who was hit has noticed.
fn check(records: &[Record]) {
    let of_others = longest(records, KEYS..3 * KEYS);
    let of_its = longest(records, 0..KEYS);
    let repeated = records.iter().filter(|record| record.again).count();
    eprintln!(
        "{} requests; longest wait: others {of_others:?}, its own {of_its:?}; {repeated} again",
        records.len()
    );
    // A dead master is missed for seconds; a busy machine makes everybody wait longer.
    assert!(of_others < of_its / 2, "others waited {of_others:?}, its own {of_its:?}");
    let innocent = records.iter().filter(|record| record.key >= KEYS && record.again);
    assert_eq!(innocent.count(), 0, "requests of others were repeated");
    assert!(repeated < records.len() / 4, "{repeated} of {}", records.len());
}

fn connected(servers: &Servers) -> (Arc<Cluster>, crate::support::Notices) {
    let mut options = servers.options();
    options.wait = Some(Wait {
        replicas: 1,
        depth: Depth::Memory,
        timeout: Duration::from_millis(500),
        if_any: false,
    });
    let (cluster, notices) = connect(options);
    value(&cluster, &["GET", "a"]);
    (cluster, notices)
}

fn masters(notices: &crate::support::Notices) -> Vec<u16> {
    let last = notices.all().into_iter().rev().find_map(|notice| match notice {
        Notice::Topology { masters, .. } => Some(masters),
        _ => None,
    });
    last.unwrap_or_default().iter().map(|(node, _)| node.port).collect()
}

#[test]
fn a_killed_master_delays_only_its_own_slots() {
    let servers = Servers::start(&[]);
    let (cluster, notices) = connected(&servers);
    let load = load(&cluster);
    servers.signal(0, "KILL");
    until("its replica is master", || masters(&notices).contains(&(servers.port + 3)));
    // Without a replica, what the new master has is not durable.
    servers.restart();
    std::thread::sleep(Duration::from_millis(500));
    let records = load.finish(&cluster);
    check(&records);
    assert!(notices.degraded(|why| matches!(why, Trouble::Unreachable(_))));
    until("all is said to be well", || notices.settled());
}

#[test]
fn a_hung_master_is_replaced_and_may_wake_up() {
    let servers = Servers::start(&[]);
    let (cluster, notices) = connected(&servers);
    let load = load(&cluster);
    servers.signal(0, "STOP");
    until("its replica is master", || masters(&notices).contains(&(servers.port + 3)));
    servers.signal(0, "CONT");
    std::thread::sleep(Duration::from_millis(500));
    let records = load.finish(&cluster);
    check(&records);
    until("all is said to be well", || notices.settled());
}
