//! Slots that move to another master under load.

use crate::support::{How, Load, Servers, connect, keys, longest, value};
use std::time::Duration;

#[test]
fn slots_move_under_load() {
    let servers = Servers::start(&["--replicas", "0"]);
    let (cluster, notices) = connect(servers.options());
    value(&cluster, &["GET", "a"]);
    // All of them move.
    let plain = Load::start(&cluster, keys(60, 0..200), How::default());
    let atomic = keys(40, 200..300).into_iter().map(|key| key.replace("list", "both"));
    let atomic = How { atomic: true, ..How::default() }.with(&cluster, atomic.collect());
    std::thread::sleep(Duration::from_millis(300));
    let reshard = |from: u16, to: u16| {
        let id = |index| servers.cli(index, &["CLUSTER", "MYID"]);
        let (from, to) = (id(from), id(to));
        let node = format!("127.0.0.1:{}", servers.port);
        let said = servers.cli(
            0,
            &[
                "--cluster",
                "reshard",
                &node,
                "--cluster-from",
                &from,
                "--cluster-to",
                &to,
                "--cluster-slots",
                "300",
                "--cluster-yes",
            ],
        );
        assert!(!said.contains("ERR"), "{said}");
    };
    reshard(0, 1);
    reshard(1, 2);
    let owners = servers.cli(0, &["CLUSTER", "SLOTS"]);
    for records in [plain.finish(&cluster), atomic.finish(&cluster)] {
        let longest = longest(&records, 0..records.len());
        eprintln!("{} requests, the longest took {longest:?}", records.len());
        assert!(records.iter().all(|record| !record.again), "nothing was ambiguous");
    }
    assert!(owners.lines().count() > 12, "slots have moved: {owners}");
    assert!(notices.settled());
}

impl How {
    fn with(
        self,
        cluster: &std::sync::Arc<mogi_store::redis::wire::Cluster>,
        keys: Vec<String>,
    ) -> Load {
        Load::start(cluster, keys, self)
    }
}
