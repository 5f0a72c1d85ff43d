//! `mogi ctrl broker drain` at a node: its clients are told where to go, and find everything there.

use super::scene::{REFERENCE_OPTION, Site, begin, expect_moved, free_port, publish, resume};
use crate::support::broker::Setup;
use crate::support::ctrl::ctrl;
use crate::support::{Broker, V5, V311};

const CONF: &str = "user root\nlog_type all\nenable_control_api true\nacl_file {dir}/acl\n";
/// For clients without a user name.
const ACL: &str = "topic readwrite #\ntopic readwrite $CONTROL/broker/#\n";

fn node(site: &Site, name: &str, more: &str) -> Broker {
    let setup: Setup = site.setup(name, free_port(), more);
    setup.conf(CONF).file("acl", ACL).start()
}

#[track_caller]
fn drain(node: &mut Broker) {
    let said = ctrl(node, "--strict -i boss broker drain");
    assert_eq!((said.code, &*said.out), (0, ""), "{said:?}");
    node.expect_log("Client boss has the broker drained: it stops.");
    assert!(node.wait().success());
}

#[test]
fn drained_clients_find_their_sessions_where_they_are_sent() {
    let site = Site::new("");
    let mut a = node(&site, "a", REFERENCE_OPTION);
    let b = node(&site, "b", "");
    let mut new = begin(&a, V5, "new");
    new.subscribe("t", 1);
    let mut old = begin(&a, V311, "old");
    old.subscribe("t", 1);
    let mut brief = a.client(V5, "brief");
    publish(&b, "t", "one", 1);
    let first = new.expect_message("t", "one");
    old.receive("t", "one");
    drain(&mut a);
    expect_moved(&mut new);
    expect_moved(&mut brief);
    old.expect_closed();
    publish(&b, "t", "two", 1);
    let mut new = resume(&b, V5, "new");
    let again = new.receive("t", "one");
    assert_eq!((again.packet_id, again.dup), (first.packet_id, true));
    new.receive("t", "two");
    resume(&b, V311, "old").receive("t", "two");
}

/// One after the other, as for an upgrade: nobody waits for a lease, and the last one serves all.
#[test]
fn brokers_are_drained_one_after_the_other() {
    let site = Site::new("");
    let mut nodes = ["a", "b"].map(|name| node(&site, name, ""));
    begin(&nodes[0], V5, "client").subscribe("t", 1);
    for at in [0, 1] {
        let mut client = resume(&nodes[at], V5, "client");
        drain(&mut nodes[at]);
        client.expect_disconnect(0x8B);
        publish(&nodes[1 - at], "t", format!("{at}").as_str(), 1);
        resume(&nodes[1 - at], V5, "client").receive("t", format!("{at}"));
        nodes[at].restart();
    }
}
