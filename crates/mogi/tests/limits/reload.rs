//! SIGHUP: what of the configuration counts from then on, and what does not.

use crate::change;
use crate::support::broker::free_port;
use crate::support::{Broker, Client, Dial, Out, V5, V311, eventually};

fn broker(conf: &str) -> Broker {
    Broker::setup().conf(&format!("user root\n{conf}log_type all\n")).start()
}

/// The reason code of a PUBLISH with so many bytes.
fn publish(client: &mut Client, len: usize) -> u8 {
    client.publish_code(Out::new("t", vec![b'x'; len]).qos(1))
}

/// Counts for clients that are there: what is asked with every packet.
#[test]
fn limits_change_for_clients_that_are_there() {
    let broker = broker("message_size_limit 100\n");
    let mut client = broker.client(V5, "a");
    client.subscribe("t", 0);
    assert_eq!(publish(&mut client, 200), 0x83);
    change(&broker, "message_size_limit 100", "message_size_limit 1000");
    eventually("a larger limit", || publish(&mut client, 200) < 0x80);
    change(&broker, "message_size_limit 1000\n", "");
    eventually("no limit", || publish(&mut client, 5000) < 0x80);
}

/// Counts for those who connect from then on: what a client is told or asked when it connects.
#[test]
fn listeners_change_for_clients_that_come() {
    let broker = broker("max_qos 1\n");
    let mut before = broker.client(V5, "before");
    let connack = |name: &str| broker.connect(&Dial::new(V5, name)).ping();
    connack("works");
    change(&broker, "max_qos 1\n", "mount_point m/\nmax_connections 2\n");
    broker.expect_log("Config reloaded.");
    let mut new = broker.client(V5, "new");
    new.subscribe("#", 2);
    new.publish(Out::new("t", "mounted").qos(2));
    new.receive("t", "mounted");
    before.subscribe("m/t", 0);
    new.publish(Out::new("t", "again").qos(0));
    before.receive("m/t", "again");
    // The third is one too many.
    broker.open(V5).expect_closed();
}

#[test]
fn who_may_not_come_in_any_more_leaves() {
    let broker = broker("");
    let mut client = broker.client(V5, "a");
    change(&broker, "allow_anonymous true", "allow_anonymous false");
    client.expect_disconnect(0x98);
    broker.dial(&Dial::new(V5, "b")).expect_connack(0x87);
    change(&broker, "allow_anonymous false", "allow_anonymous true");
    eventually("it may again", || broker.dial(&Dial::new(V5, "b")).recv().code() == 0);
}

/// Two listeners with the same rules, and then not: each client is judged by its own listener's.
#[test]
fn rules_of_listeners_part() {
    let port = free_port();
    let other = format!("listener {port} 127.0.0.1\nlistener_allow_anonymous true\n");
    let broker = broker(&format!("listener {{port}} 127.0.0.1\n{other}"));
    let mut first = broker.client(V5, "first");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut second = Client::open(address, V5);
    second.send(&Dial::new(V5, "second").bytes());
    second.expect_connected();
    change(&broker, "listener_allow_anonymous true", "listener_allow_anonymous false");
    second.expect_disconnect(0x98);
    first.ping();
}

#[test]
fn log_and_sys_change() {
    let broker = Broker::setup().conf("user root\nsys_interval 0\nlog_type error\n").start();
    let mut client = broker.client(V311, "a");
    client.subscribe("$SYS/broker/uptime", 0);
    client.expect_nothing();
    assert!(!broker.log().contains("PINGREQ"));
    change(&broker, "sys_interval 0\nlog_type error", "sys_interval 1\nlog_type all");
    assert_eq!(client.expect_publish().topic, "$SYS/broker/uptime");
    client.expect_publish();
    client.send(&[0xC0, 0]);
    broker.expect_log("Received PINGREQ from a");
}

/// CVE-2017-7652: nothing of a file counts that has a mistake in it, wherever that stands.
#[test]
fn a_mistake_changes_nothing_and_is_told_with_its_line() {
    let broker = broker("message_size_limit 100\nlog_timestamp false\n");
    let mut client = broker.client(V5, "a");
    let stays = "Error: The configuration stays as it was.";
    change(&broker, "limit 100\n", "limit 1000\nnonsense true\n");
    broker.expect_log("Error: Unknown configuration variable 'nonsense'.\nError found at ");
    broker.expect_log("mosquitto.conf:5.\n");
    broker.expect_log(stays);
    change(&broker, "nonsense true\n", "acl_file {missing}\n");
    broker.expect_log("{missing}");
    eventually("it stays", || broker.log().matches(stays).count() == 2);
    assert_eq!(publish(&mut client, 200), 0x83);
    change(&broker, "acl_file {missing}\n", "");
    eventually("without mistakes", || publish(&mut client, 200) < 0x80);
}

#[test]
fn listeners_neither_come_nor_go() {
    let broker = broker("");
    let conf = "log_type all\n";
    change(&broker, conf, &format!("{conf}listener {} 127.0.0.1\n", free_port()));
    broker.expect_log("Error: It is not currently possible to add/remove listeners when");
    broker.expect_log("mosquitto.conf:5.");
    broker.client(V5, "a").ping();
}

#[test]
fn what_counts_after_a_restart_is_told() {
    let broker = broker("max_packet_size 1000\nqueue_qos0_messages false\n");
    let size = ("max_packet_size 1000", "max_packet_size 5000");
    change(&broker, size.0, size.1);
    broker.expect_log("Warning: 'max_packet_size' has changed (");
    broker.expect_log("mosquitto.conf:4): that counts after a restart of the broker.");
    let mut client = broker.client(V5, "a");
    client.send_publish(Out::new("t", vec![b'x'; 2000]));
    client.expect_disconnect(0x95);
    // It is told again as long as it is so.
    change(&broker, "queue_qos0_messages false", "queue_qos0_messages true");
    let told = || broker.log().matches("'max_packet_size' has changed").count();
    eventually("a second warning", || told() == 2);
    change(&broker, size.1, size.0);
    eventually("a third reload", || broker.log().matches("Config reloaded.").count() == 3);
    assert_eq!(told(), 2);
}
