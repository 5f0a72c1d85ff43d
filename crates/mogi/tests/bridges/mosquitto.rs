//! Bridges to Mosquitto, and Mosquitto's to us.

use super::scene::{await_up, bridge_to, bridged, mosquitto, mosquittos, setup_to};
use crate::support::{Broker, Client, Dial, Out, V311, eventually};
use std::path::Path;

const PROTOCOLS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv50"];

/// Messages of every QoS both ways, retained ones, and no echo.
#[track_caller]
fn exchange(here: &Broker, there: &Broker) {
    let (mut near, mut far) = (here.client(V311, "near"), there.client(V311, "far"));
    near.subscribe("here/#", 2);
    far.subscribe("there/#", 2);
    for qos in 0..=2 {
        for round in 0..30 {
            let text = format!("{qos}/{round}");
            near.publish(Out::new("here/a", &text).qos(qos));
            near.receive("here/a", &text);
            assert_eq!(far.receive("there/a", &text).qos, qos);
            far.publish(Out::new("there/b", &text).qos(qos));
            far.receive("there/b", &text);
            assert_eq!(near.receive("here/b", &text).qos, qos);
        }
    }
    near.publish(Out::new("here/kept", "out").qos(1).retain());
    near.receive("here/kept", "out");
    far.receive("there/kept", "out");
    far.publish(Out::new("there/kept2", "in").qos(1).retain());
    far.receive("there/kept2", "in");
    near.receive("here/kept2", "in");
    expect_retained(there, "there/kept", "out");
    expect_retained(here, "here/kept2", "in");
    near.expect_nothing();
    far.expect_nothing();
}

#[track_caller]
fn expect_retained(broker: &Broker, topic: &str, text: &str) {
    let mut later: Client = broker.client(V311, "later");
    later.subscribe(topic, 0);
    assert!(later.receive(topic, text).retain);
}

fn each(mut test: impl FnMut(&Path, &str)) {
    for program in mosquittos() {
        for protocol in PROTOCOLS {
            test(&program, protocol);
        }
    }
}

#[test]
fn our_bridge_to_mosquitto() {
    each(|program, protocol| {
        let remote = mosquitto(program, "").start();
        let lines = format!("bridge_protocol_version {protocol}\ntopic # both 2 here/ there/");
        let broker = bridged(&remote, &lines);
        exchange(&broker, &remote);
    });
}

#[test]
fn mosquitto_s_bridge_to_us() {
    each(|program, protocol| {
        let remote = Broker::setup().conf("user root\nlog_type all\n").start();
        let lines = format!("bridge_protocol_version {protocol}\ntopic # both 2 here/ there/");
        let conf = bridge_to(remote.port(), &lines);
        let broker = setup_to(remote.port(), "").program(program).conf(&conf).start();
        eventually("Mosquitto's bridge", || broker.log().contains("Received SUBACK from local."));
        exchange(&broker, &remote);
    });
}

#[test]
fn whole_trees_both_ways_do_not_echo() {
    each(|program, protocol| {
        let remote = mosquitto(program, "").start();
        let lines = format!("bridge_protocol_version {protocol}\ntopic # both 1");
        let broker = bridged(&remote, &lines);
        let (mut near, mut far) = (broker.client(V311, "near"), remote.client(V311, "far"));
        near.subscribe("#", 1);
        far.subscribe("#", 1);
        for round in 0..10 {
            let text = round.to_string();
            near.publish(Out::new("a", &text).qos(1));
            near.receive("a", &text);
            far.receive("a", &text);
            far.publish(Out::new("b", &text).qos(1));
            far.receive("b", &text);
            near.receive("b", &text);
        }
        near.expect_nothing();
        far.expect_nothing();
    });
}

#[test]
fn our_queue_waits_for_mosquitto_through_crashes_of_ours() {
    each(|program, protocol| {
        let kept = "persistence true\npersistence_location {dir}/\nmax_queued_messages 0\n";
        let mut remote = mosquitto(program, kept).start();
        let mut far = remote.dial(&Dial::persistent(V311, "far"));
        far.expect_connected();
        far.subscribe("#", 2);
        let lines = format!(
            "persistence true\npersistence_location {{dir}}/data/\nbridge_protocol_version \
             {protocol}\ntopic # out 2"
        );
        let conf = bridge_to(remote.port(), &lines);
        let mut broker = setup_to(remote.port(), "").conf(&conf).start();
        await_up(&broker, 1);
        remote.stop();
        broker.expect_log("Client local.there [127.0.0.1:");
        let mut near = broker.client(V311, "near");
        for at in 0..100 {
            near.publish(Out::new("a", at.to_string()).qos(2));
        }
        broker.kill();
        broker.restart();
        let mut count = 0;
        remote.restart();
        let mut far = remote.dial(&Dial::persistent(V311, "far"));
        assert!(far.expect_connected().session_present());
        while count < 100 {
            let message = far.expect_publish();
            far.complete(&message);
            assert_eq!(message.text(), count.to_string());
            count += 1;
        }
        far.expect_nothing();
    });
}
