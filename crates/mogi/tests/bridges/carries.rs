//! What goes over a bridge, and as what.

use super::scene::{await_up, bridged, setup_to};
use crate::support::{Broker, Id, Out, V5, V311};

const PROTOCOLS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv50"];

#[test]
fn messages_go_both_ways_with_their_prefixes_and_qos() {
    for protocol in PROTOCOLS {
        let remote = Broker::start("");
        let lines = format!("bridge_protocol_version {protocol}\ntopic # both 2 here/ there/");
        let broker = bridged(&remote, &lines);
        let (mut near, mut far) = (broker.client(V311, "near"), remote.client(V311, "far"));
        near.subscribe("#", 2);
        far.subscribe("#", 2);
        for qos in 0..=2 {
            near.publish(Out::new("here/a/b", "out").qos(qos));
            assert_eq!(near.receive("here/a/b", "out").qos, qos);
            assert_eq!(far.receive("there/a/b", "out").qos, qos, "{protocol}");
            far.publish(Out::new("there/c", "in").qos(qos));
            assert_eq!(far.receive("there/c", "in").qos, qos);
            assert_eq!(near.receive("here/c", "in").qos, qos, "{protocol}");
        }
        near.publish(Out::new("elsewhere", "no").qos(1));
        near.receive("elsewhere", "no");
        near.publish(Out::new("here/end", "yes"));
        near.receive("here/end", "yes");
        far.receive("there/end", "yes");
        // Nothing came back.
        near.expect_nothing();
        far.expect_nothing();
    }
}

#[test]
fn a_loop_does_not_echo() {
    for protocol in PROTOCOLS {
        let remote = Broker::start("");
        let lines = format!("bridge_protocol_version {protocol}\ntopic # both 1");
        let broker = bridged(&remote, &lines);
        let (mut near, mut far) = (broker.client(V311, "near"), remote.client(V311, "far"));
        near.subscribe("#", 1);
        far.subscribe("#", 1);
        for at in 0..20 {
            let text = at.to_string();
            near.publish(Out::new("a", &text).qos(1));
            near.receive("a", &text);
            far.receive("a", &text);
            far.publish(Out::new("b", &text).qos(1));
            far.receive("b", &text);
            near.receive("b", &text);
        }
        near.expect_nothing();
        far.expect_nothing();
    }
}

#[test]
fn the_topic_s_qos_is_the_highest() {
    let remote = Broker::start("");
    let broker = bridged(&remote, "topic low/# both 0\ntopic mid/# both 1");
    let (mut near, mut far) = (broker.client(V311, "near"), remote.client(V311, "far"));
    far.subscribe("#", 2);
    near.publish(Out::new("low/a", "x").qos(2));
    assert_eq!(far.receive("low/a", "x").qos, 0);
    near.publish(Out::new("mid/a", "x").qos(2));
    assert_eq!(far.receive("mid/a", "x").qos, 1);
    near.subscribe("#", 2);
    far.publish(Out::new("mid/b", "x").qos(2));
    assert_eq!(near.receive("mid/b", "x").qos, 1);
}

#[test]
fn directions_and_single_topics() {
    let remote = Broker::start("");
    let lines = "topic only/out out 1\ntopic only/in in 1\ntopic \"\" both 1 mine yours";
    let broker = bridged(&remote, lines);
    let (mut near, mut far) = (broker.client(V311, "near"), remote.client(V311, "far"));
    near.subscribe("#", 0);
    far.subscribe("#", 0);
    far.publish(Out::new("only/out", "no").qos(1));
    far.receive("only/out", "no");
    far.publish(Out::new("yours", "in").qos(1));
    far.receive("yours", "in");
    near.receive("mine", "in");
    near.publish(Out::new("only/in", "no").qos(1));
    near.receive("only/in", "no");
    near.publish(Out::new("mine", "out").qos(1));
    near.receive("mine", "out");
    far.receive("yours", "out");
    far.publish(Out::new("only/in", "in").qos(1));
    near.receive("only/in", "in");
}

#[test]
fn retained_messages_stay_retained() {
    for protocol in PROTOCOLS {
        let remote = Broker::start("");
        remote.client(V311, "far").publish(Out::new("there/old", "far").qos(1).retain());
        let lines = format!("bridge_protocol_version {protocol}\ntopic # both 1 here/ there/");
        let broker = bridged(&remote, &lines);
        let mut near = broker.client(V311, "near");
        near.publish(Out::new("here/new", "near").qos(1).retain());
        near.subscribe("here/old", 1);
        near.receive("here/old", "far");
        // It is there for who comes later, on both sides.
        let mut later = broker.client(V311, "later");
        later.subscribe("here/old", 0);
        assert!(later.receive("here/old", "far").retain);
        let mut far = remote.client(V311, "far");
        far.subscribe("there/new", 1);
        far.receive("there/new", "near");
        let mut later = remote.client(V311, "later");
        later.subscribe("there/new", 0);
        assert!(later.receive("there/new", "near").retain);
    }
}

#[test]
fn what_was_retained_before_the_bridge_was_there_goes_over() {
    let remote = Broker::start("");
    let broker = setup_to(remote.port(), "topic # out 1").start();
    broker.client(V311, "near").publish(Out::new("old", "value").qos(1).retain());
    let mut far = remote.client(V311, "far");
    far.subscribe("old", 1);
    far.receive("old", "value");
}

#[test]
fn retain_is_left_out_on_request() {
    let remote = Broker::start("");
    let broker = bridged(&remote, "bridge_outgoing_retain false\ntopic # out 1");
    let mut far = remote.client(V5, "far");
    far.subscribe_with(&[("#", 0b1000)], &mogi_codec::PropertyBuf::new());
    broker.client(V311, "near").publish(Out::new("a", "x").qos(1).retain());
    assert!(!far.receive("a", "x").retain);
}

#[test]
fn properties_go_over_in_5_0() {
    let remote = Broker::start("");
    let broker = bridged(&remote, "bridge_protocol_version mqttv50\ntopic # both 1 here/ there/");
    let (mut near, mut far) = (broker.client(V5, "near"), remote.client(V5, "far"));
    far.subscribe("#", 1);
    near.subscribe("#", 1);
    let out = Out::new("here/a", "x").qos(1).str(Id::ContentType, "text").user("k", "v");
    near.publish(out.int(Id::MessageExpiryInterval, 1000));
    near.receive("here/a", "x");
    let message = far.receive("there/a", "x");
    assert_eq!(message.props.str(Id::ContentType), Some("text"));
    assert_eq!(message.props.users(), [("k", "v")]);
    assert!(message.props.int(Id::MessageExpiryInterval).is_some_and(|s| s <= 1000));
    far.publish(Out::new("there/b", "y").qos(1).str(Id::ResponseTopic, "r"));
    far.receive("there/b", "y");
    assert_eq!(near.receive("here/b", "y").props.str(Id::ResponseTopic), Some("r"));
}

#[test]
fn large_messages_go_over_whole() {
    let remote = Broker::start("");
    let broker = bridged(&remote, "topic # both 2 here/ there/");
    let (mut near, mut far) = (broker.client(V311, "near"), remote.client(V311, "far"));
    far.subscribe("#", 2);
    near.subscribe("here/in", 2);
    let large = vec![b'x'; 1_900_000];
    near.publish(Out::new("here/large", &large).qos(2));
    far.receive("there/large", &large);
    far.publish(Out::new("there/in", &large).qos(2));
    far.receive("there/in", &large);
    near.receive("here/in", &large);
}

#[test]
fn many_messages_keep_their_order() {
    let remote = Broker::start("max_queued_messages 0\n");
    let broker = bridged(&remote, "max_queued_messages 0\ntopic # both 1 here/ there/");
    let (mut near, mut far) = (broker.client(V311, "near"), remote.client(V311, "far"));
    far.subscribe("there/#", 1);
    near.subscribe("here/#", 1);
    for at in 0..2000 {
        near.send_publish(Out::new("here/x", at.to_string()).qos(0));
        far.send_publish(Out::new("there/y", at.to_string()).qos(0));
    }
    let order = |client: &mut crate::support::Client, topic: &str| {
        let mut next = 0;
        while next < 2000 {
            let message = client.expect_publish();
            if message.topic == topic {
                assert_eq!(message.text(), next.to_string());
                next += 1;
            }
        }
    };
    order(&mut far, "there/x");
    order(&mut near, "here/y");
}

/// Whoever writes the configuration says what a bridge carries: as in Mosquitto rights of clients
/// are not asked for it.
#[test]
fn rights_are_about_clients_and_not_about_bridges() {
    let remote = Broker::start("");
    let lines = "topic out/# out 1\ntopic in/# in 1\nacl_file {dir}/acl\n";
    let setup = setup_to(remote.port(), lines);
    let acl = "topic write out/#\ntopic read in/#\n";
    let broker = setup.file("acl", acl).start();
    await_up(&broker, 1);
    let mut near = broker.client(V5, "near");
    let mut far = remote.client(V5, "far");
    near.subscribe("#", 1);
    far.subscribe("out/#", 1);
    near.publish(Out::new("out/a", "x").qos(1));
    far.receive("out/a", "x");
    far.publish(Out::new("in/b", "y").qos(1));
    near.receive("in/b", "y");
    assert_eq!(near.publish_code(Out::new("in/b", "z").qos(1)), 0x87);
}
