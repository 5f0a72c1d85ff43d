//! Redis as Mosquitto's users set it up: all in `mosquitto.conf`, and as a plugin.

use super::cluster::{Servers, lasting, patient};
use crate::support::{Broker, Out};

#[test]
fn tls_and_replicas_are_set_up_in_mosquitto_conf() {
    let servers = Servers::start(&["--single", "--replicas", "1", "--tls", "--password", "secret"]);
    let tls = servers.dir.join("tls");
    let tls = tls.display();
    let conf = format!(
        "user root\npersistence_store rediss://:secret@127.0.0.1:{}\nredis_wait 1 500\n\
         redis_cafile {tls}/ca.crt\nredis_certfile {tls}/client.crt\n\
         redis_keyfile {tls}/client.key\n",
        servers.port
    );
    let mut broker = Broker::start(&conf);
    broker.expect_log(&format!("from rediss://127.0.0.1:{}", servers.port));
    let mut sleeper = lasting(&broker, "sleeper");
    sleeper.subscribe("t", 1);
    sleeper.disconnect();
    let mut publisher = patient(&broker, "p");
    publisher.publish(Out::new("t", "one").qos(1));
    // Without its replica the master's word is not enough.
    servers.kill(1);
    let packet_id = publisher.send_publish(Out::new("t", "two").qos(1));
    super::cluster::sooner_or_later("a word about it", || {
        broker.log().contains("replicas wanted (redis_wait)")
    });
    servers.restart();
    publisher.expect_ack(mogi_codec::PacketKind::Puback, packet_id, 0);
    broker.kill();
    broker.restart();
    let mut sleeper = lasting(&broker, "sleeper");
    sleeper.receive("t", "one");
    sleeper.receive("t", "two");
}

#[test]
fn the_plugin_s_lines_set_the_store_up() {
    let port = super::server::port();
    let plugin = "# the plugin's own file\nredis_host 127.0.0.1\nredis_port = {port}\n\
                  redis_prefix plugin:\nredis_cluster false\nredis_wait 0\n";
    let conf = "user root\nplugin /usr/lib/nowhere/libredis_plugin.so\n\
                plugin_opt_config_file {dir}/plugin.conf\n";
    let plugin = plugin.replace("{port}", &port.to_string());
    let broker = Broker::setup().conf(conf).file("plugin.conf", &plugin).start();
    broker.expect_log(&format!("messages from redis://127.0.0.1:{port}"));
    broker.client(crate::support::V5, "p").publish(Out::new("kept", "here").qos(1).retain());
    let mut cli = std::process::Command::new("redis-cli");
    let output = cli.args(["-p", &port.to_string(), "get", "plugin:retained:kept"]).output();
    let value = String::from_utf8_lossy(&output.expect("redis-cli").stdout).into_owned();
    assert_eq!(value.trim(), "here");
}

#[test]
fn what_is_wrong_in_the_plugin_s_file_is_said_with_its_line() {
    let cases = [
        ("redis_hots a\n", "plugin.conf:1"),
        ("redis_host a\n\nredis_port x\n", "plugin.conf:3"),
        ("redis_prefix p\n", "redis_host"),
        ("redis_host a\nredis_cluster maybe\n", "plugin.conf:2"),
    ];
    for (text, expected) in cases {
        let conf = "user root\nplugin /nowhere/libredis_plugin.so\n\
                    plugin_opt_config_file {dir}/plugin.conf\n";
        let (status, log) = Broker::setup().conf(conf).file("plugin.conf", text).run();
        assert!(!status.success() && log.contains(expected), "{text}: {log}");
    }
    let conf = "user root\nplugin /nowhere/libredis_plugin.so\nplugin_opt_config_file /no/file\n";
    let (status, log) = Broker::setup().conf(conf).run();
    assert!(!status.success() && log.contains("/no/file"), "{log}");
    let (status, log) =
        Broker::setup().conf("user root\nplugin /nowhere/libredis_plugin.so\n").run();
    assert!(!status.success() && log.contains("plugin_opt_config_file"), "{log}");
}
