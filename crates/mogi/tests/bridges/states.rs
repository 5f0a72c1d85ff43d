//! What a bridge says of itself: `notifications`.

use super::scene::{STATE, bridged, setup_to};
use crate::support::{Broker, Client, V311};

#[track_caller]
fn expect_state(client: &mut Client, topic: &str, state: &str) {
    loop {
        let message = client.expect_publish();
        client.complete(&message);
        if message.topic == topic && message.text() == state {
            return;
        }
    }
}

#[track_caller]
fn watch(broker: &Broker, topic: &str) -> Client {
    let mut client = broker.client(V311, "watcher");
    client.subscribe(topic, 1);
    client
}

#[test]
fn both_brokers_are_told_and_the_will_tells_of_the_end() {
    let remote = Broker::start("");
    let mut far = watch(&remote, STATE);
    let mut broker = bridged(&remote, "topic # out");
    expect_state(&mut far, STATE, "1");
    expect_state(&mut watch(&broker, STATE), STATE, "1");
    broker.kill();
    expect_state(&mut far, STATE, "0");
}

#[test]
fn the_own_broker_is_told_when_the_other_is_gone_and_back() {
    let mut remote = Broker::start("");
    let broker = bridged(&remote, "topic # out");
    let mut near = watch(&broker, STATE);
    expect_state(&mut near, STATE, "1");
    remote.kill();
    expect_state(&mut near, STATE, "0");
    remote.restart();
    expect_state(&mut near, STATE, "1");
    broker.expect_log("Client local.there [127.0.0.1:");
}

#[test]
fn an_orderly_end_of_the_broker_is_told_as_well() {
    let remote = Broker::start("");
    let mut broker = bridged(&remote, "topic # out");
    let mut far = watch(&remote, STATE);
    expect_state(&mut far, STATE, "1");
    assert!(broker.stop().success());
    expect_state(&mut far, STATE, "0");
    assert!(!broker.log().contains("is gone"), "{}", broker.log());
}

#[test]
fn notifications_may_be_left_out_or_go_elsewhere() {
    let remote = Broker::start("");
    let broker = bridged(&remote, "notifications false\ntopic # both 1");
    watch(&broker, "$SYS/broker/connection/#").expect_nothing();
    watch(&remote, "$SYS/broker/connection/#").expect_nothing();

    let remote = Broker::start("");
    let lines = "notifications_local_only true\nnotification_topic my/state\ntopic # both 1";
    let broker = bridged(&remote, lines);
    expect_state(&mut watch(&broker, "my/state"), "my/state", "1");
    let mut far = watch(&remote, "#");
    far.expect_nothing();

    let remote = Broker::start("");
    let broker = bridged(&remote, "notification_topic my/state\ntopic # both 1 l/ r/");
    expect_state(&mut watch(&broker, "my/state"), "my/state", "1");
    expect_state(&mut watch(&remote, "my/state"), "my/state", "1");
}

#[test]
fn a_bridge_that_has_nobody_says_so() {
    // The port of a listener that is gone.
    let port = super::scene::Server::new(V311).port();
    let broker = setup_to(port, "topic # out").start();
    expect_state(&mut watch(&broker, STATE), STATE, "0");
    broker.expect_log("Error creating bridge: Connection refused. (127.0.0.1:");
}
