//! Options of mosquitto.conf(5) and mogi.conf about who may connect, and as whom.

use super::scene::{start, start_with};
use super::wire::{expect_refused, hex};
use crate::support::{
    Client, Dial, Id, Out, PacketKind, V5, V31, V311, VERSIONS, eventually, other_broker,
};

/// The listener takes no more than that; who leaves makes room.
#[test]
fn max_connections() {
    let broker = start("listener {port} 127.0.0.1\nmax_connections 3");
    for version in VERSIONS {
        let clients = ["a", "b", "c"].map(|id| broker.client(version, id));
        let mut one_too_many = broker.dial(&Dial::new(version, "d"));
        expect_refused("the fourth", &mut one_too_many);
        for client in clients {
            client.disconnect();
        }
        eventually("room for a connection", || {
            let mut client = broker.dial(&Dial::new(version, "e"));
            let room = client.next().is_some_and(|answer| answer.code() == 0);
            if room {
                client.disconnect();
            }
            room
        });
    }
}

/// Prefixed on the way in, stripped on the way out; other listeners see the whole topic.
#[test]
fn mount_point() {
    let broker = start("listener {port} 127.0.0.1\nmount_point mp/");
    each_mounted(&broker);
}

fn each_mounted(broker: &crate::support::Broker) {
    for version in VERSIONS {
        let mut one = broker.client(version, "one");
        let mut two = broker.client(version, "two");
        one.subscribe("a/#", 1);
        two.publish(Out::new("a/b", "x").qos(1).retain());
        let live = one.receive("a/b", "x");
        assert!(!live.retain);
        two.subscribe("#", 0);
        assert!(two.receive("a/b", "x").retain);
        let answer = one.unsubscribe(&["a/#"]);
        if version == V5 && !other_broker() {
            // Mosquitto does not find it behind the mount point.
            assert_eq!(answer.codes(), [0]);
        }
        two.publish(Out::new("a/b", "").qos(1).retain());
        let will = Dial::new(version, "three").will("a/w", "gone");
        broker.connect(&will).abort();
        two.receive("a/b", "");
        two.receive("a/w", "gone");
    }
}

/// Versions a listener does not take are told so.
///
/// 5.0: MQTT-3.1.2-2. 3.1.1: MQTT-3.1.2-2.
#[test]
fn mqtt_3_1_2_2_accept_protocol_versions() {
    let broker = start("listener {port} 127.0.0.1\naccept_protocol_versions 4");
    for (version, answer) in [(V31, "20 02 00 01"), (V5, "20 03 00 84 00")] {
        let mut client = broker.dial(&Dial::new(version, "other"));
        client.expect_bytes(&hex(answer));
        client.expect_closed();
    }
    broker.client(V311, "fine").ping();
}

/// 3.1.1: MQTT-3.1.3-9. 5.0: MQTT-3.1.3-8.
#[test]
fn mqtt_3_1_3_9_clientid_prefixes() {
    let broker = start("clientid_prefixes ok-");
    for version in VERSIONS {
        let mut client = broker.dial(&Dial::new(version, "ko-1"));
        let answer = client.recv();
        // Mosquitto says that the client is not authorised.
        let code = if version == V5 { 0x85 } else { 2 };
        assert!(answer.code() == code || other_broker());
        client.expect_closed();
        broker.client(version, "ok-1").ping();
    }
}

/// The user name is the id: who connects with it again takes over, whatever id is given.
#[test]
fn use_username_as_clientid() {
    let broker = start("listener {port} 127.0.0.1\nuse_username_as_clientid true");
    for version in VERSIONS {
        let dial = |id| Dial::new(version, id).username("user").password("x");
        let mut first = broker.connect(&dial("one"));
        let mut second = broker.connect(&dial("two"));
        first.expect_ended(0x8E);
        second.ping();
        let mut nobody = broker.dial(&Dial::new(version, "three"));
        expect_refused("no user name", &mut nobody);
    }
}

/// What generated ids begin with.
#[test]
fn auto_id_prefix() {
    for (conf, prefix) in [("", "auto-"), ("auto_id_prefix made-", "made-")] {
        let broker = start(conf);
        let props = broker.dial(&Dial::new(V5, "")).expect_connected().props();
        let id = props.str(Id::AssignedClientIdentifier).expect("an id").to_owned();
        let rest = id.strip_prefix(prefix).expect("the prefix");
        // Upper-case hexadecimal in the groups of a UUID.
        let groups: Vec<usize> = rest.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
        assert!(rest.chars().all(|c| c == '-' || c.is_ascii_digit() || ('A'..='F').contains(&c)));
    }
}

/// Connections and sessions of the whole broker.
#[test]
fn global_max_clients_and_connections() {
    let broker = start("global_max_connections 2");
    let clients = [broker.client(V311, "a"), broker.client(V5, "b")];
    expect_refused("the third", &mut broker.dial(&Dial::new(V5, "c")));
    drop(clients);
    let broker = start("global_max_clients 2");
    broker.connect(&Dial::persistent(V311, "a")).disconnect();
    let mut b = broker.client(V5, "b");
    for version in VERSIONS {
        let mut third = broker.dial(&Dial::new(version, "c"));
        expect_refused("the third", &mut third);
    }
    // Those who have a session may come back.
    broker.connect(&Dial::persistent(V311, "a")).ping();
    b.ping();
}

/// Connections that never say CONNECT, or not all of it, are closed. Attacks P06 and P07.
#[test]
fn connect_timeout() {
    if other_broker() {
        return; // Half a minute, and no option.
    }
    let broker = start_with("", "connect_timeout 1\n");
    let mut silent = broker.open(V5);
    let mut half = broker.open(V5);
    let whole = Dial::new(V5, "half").bytes();
    half.send(&whole[..whole.len() - 1]);
    let mut slow = broker.open(V311);
    silent.expect_closed();
    half.expect_closed();
    slow.send(&Dial::new(V311, "late").bytes()[..1]);
    slow.expect_closed();
    // Who has said it has all the time of its keep alive.
    let mut good = broker.client(V5, "good");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    good.ping();
}

/// A will is a message of its client's, so its payload has the same limit.
#[test]
fn message_size_limit_holds_for_wills() {
    let broker = start("message_size_limit 10");
    for (version, answer) in [(V31, "20 02 00 05"), (V311, "20 02 00 05"), (V5, "20 03 00 95 00")] {
        let dial = |len| Dial::new(version, "aunt").will("w", "x".repeat(len));
        let mut client = broker.dial(&dial(11));
        client.expect_bytes(&hex(answer));
        client.expect_closed();
        broker.connect(&dial(10)).disconnect();
    }
}

/// mogi's own limits: retained messages, levels of topics.
#[test]
fn max_retained_messages_and_max_topic_levels() {
    if other_broker() {
        return;
    }
    let broker = start_with("sys_interval 0", "max_retained_messages 3\nmax_topic_levels 2\n");
    let mut sender = broker.client(V5, "sender");
    for topic in ["a", "b", "c", "d"] {
        sender.publish(Out::new(topic, "x").qos(1).retain());
    }
    sender.publish(Out::new("a", "").qos(1).retain());
    sender.publish(Out::new("e", "x").qos(1).retain());
    let mut late: Client = broker.client(V311, "late");
    late.subscribe("#", 0);
    let mut topics: Vec<String> = (0..3).map(|_| late.expect_publish().topic).collect();
    topics.sort();
    assert_eq!(topics, ["b", "c", "e"]);
    late.expect_nothing();
    sender.publish(Out::new("1/2/3", "x"));
    late.expect_message("1/2/3", "x");
    sender.send_publish(Out::new("1/2/3/4", "x").qos(1));
    let told = sender.expect(PacketKind::Disconnect);
    assert_eq!(told.code(), 0x90);
}
