//! Dynamic security: requests on `$CONTROL/dynamic-security/v1`, and what follows.

use super::{login, subscribe_code};
use crate::support::{Broker, Client, Dial, Out, V5, V311};
use mogi_auth::dynsec::Dynsec;
use serde_json::Value;

const TOPIC: &str = "$CONTROL/dynamic-security/v1";
const CONF: &str = "plugin /usr/lib/mosquitto_dynamic_security.so\n\
    plugin_opt_config_file {dir}/dynsec.json\nplugin_opt_password_init_file {dir}/first\n\
    allow_anonymous false\nlog_type all\nenable_control_api true\nuser root\n";

fn setup() -> crate::support::broker::Setup {
    Broker::setup().conf(CONF).file("first", "a long password\n")
}

fn admin(broker: &Broker) -> Client {
    broker.connect(&login(V5, "ctrl", "admin", "a long password"))
}

/// Sends commands; the responses.
fn ask(admin: &mut Client, commands: &str) -> Value {
    let request = format!("{{\"commands\":[{commands}]}}");
    assert_eq!(admin.publish_code(Out::new(TOPIC, request).qos(1)), 0);
    let answer = admin.expect_publish();
    assert_eq!(answer.topic, format!("{TOPIC}/response"));
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    answer["responses"].clone()
}

fn done(admin: &mut Client, commands: &str) {
    let responses = ask(admin, commands);
    for response in responses.as_array().expect("a list") {
        assert!(response.get("error").is_none(), "{response}");
    }
}

const ANN: &str = r##"
    {"command":"createRole","rolename":"r","acls":[
        {"acltype":"publishClientSend","topic":"a/#","allow":true},
        {"acltype":"subscribePattern","topic":"a/#","allow":true}]},
    {"command":"createClient","username":"ann","password":"pw","roles":[{"rolename":"r"}]}"##;

#[test]
fn clients_roles_and_groups_decide_at_once_and_after_a_restart() {
    let mut broker = setup().start();
    let mut boss = admin(&broker);
    broker.dial(&login(V5, "a", "ann", "pw")).expect_connack(0x87);
    done(&mut boss, ANN);
    let mut ann = broker.connect(&login(V5, "a", "ann", "pw"));
    assert_eq!(ann.publish_code(Out::new("a/b", "x").qos(1)), 0x10);
    assert_eq!(ann.publish_code(Out::new("b", "x").qos(1)), 0x87);
    assert_eq!(subscribe_code(&mut ann, "a/+"), 1);
    assert_eq!(subscribe_code(&mut ann, "#"), 0x87);
    assert_eq!(subscribe_code(&mut ann, "$share/g/a/b"), 0x87);
    let details = ask(&mut boss, r#"{"command":"getDetails","correlationData":"x"}"#);
    assert_eq!(details[0]["data"]["changeIndex"], 2);
    assert_eq!(details[0]["correlationData"], "x");
    broker.expect_log("dynsec: ctrl/admin | createClient | username=ann | password=******");
    broker.stop();
    broker.restart();
    let mut ann = broker.connect(&login(V311, "a", "ann", "pw"));
    assert_eq!(subscribe_code(&mut ann, "#"), 0x80);
}

#[test]
fn whose_rights_change_is_disconnected() {
    let broker = setup().start();
    let mut boss = admin(&broker);
    done(&mut boss, ANN);
    let mut ann = broker.connect(&login(V5, "a", "ann", "pw"));
    ann.subscribe("a/#", 1);
    let change = r#"{"command":"removeRoleACL","rolename":"r","acltype":"publishClientSend",
        "topic":"a/#"}"#;
    done(&mut boss, change);
    ann.expect_disconnect(0x98);
    let mut ann = broker.connect(&login(V5, "a", "ann", "pw"));
    assert_eq!(ann.publish_code(Out::new("a/b", "x").qos(1)), 0x87);
    done(&mut boss, r#"{"command":"disableClient","username":"ann"}"#);
    ann.expect_disconnect(0x98);
    broker.dial(&login(V5, "a", "ann", "pw")).expect_connack(0x87);
    boss.ping();
}

/// CVE-2021-34434: a right that is taken away ends the subscriptions of those who are away.
#[test]
fn a_lasting_subscription_ends_with_the_right_to_it() {
    let broker = setup().start();
    let mut boss = admin(&broker);
    done(&mut boss, ANN);
    let dial = Dial::persistent(V5, "a").username("ann").password("pw");
    let mut ann = broker.connect(&dial);
    ann.subscribe("a/#", 1);
    ann.disconnect();
    let change = r#"{"command":"removeRoleACL","rolename":"r","acltype":"subscribePattern",
        "topic":"a/#"}"#;
    done(&mut boss, change);
    broker.expect_log("Subscription of a to a/# ended: not authorised.");
    done(&mut boss, r#"{"command":"addClientRole","username":"admin","rolename":"client"}"#);
    boss.expect_disconnect(0x98);
    let mut boss = admin(&broker);
    boss.publish(Out::new("a/x", "x").qos(1));
    let mut ann = broker.connect(&dial.resume());
    ann.expect_nothing();
}

#[test]
fn who_may_not_administer_is_not_heard() {
    let broker = setup().start();
    let mut boss = admin(&broker);
    done(&mut boss, ANN);
    let mut ann = broker.connect(&login(V5, "a", "ann", "pw"));
    let request = r#"{"commands":[{"command":"deleteClient","username":"admin"}]}"#;
    assert_eq!(ann.publish_code(Out::new(TOPIC, request).qos(1)), 0x87);
    ann.expect_nothing();
    let details = ask(&mut boss, r#"{"command":"getDetails"}"#);
    assert_eq!(details[0]["data"]["clientCount"], 2);
}

#[test]
fn what_cannot_be_saved_is_told_and_does_not_count() {
    let broker = setup().start();
    let mut boss = admin(&broker);
    // What is in the way of the new file stays there: it is a folder that is not empty.
    let new = broker.dir().join("dynsec.json.new/x");
    std::fs::create_dir_all(&new).expect("made");
    let both = r#"{"command":"createClient","username":"ann","password":"pw"},
        {"command":"getDetails"}"#;
    let responses = ask(&mut boss, both);
    let error = responses[0]["error"].as_str().expect("an error");
    assert!(error.starts_with("Unable to save "), "{error}");
    let details = ask(&mut boss, r#"{"command":"getDetails"}"#);
    assert_eq!(details[0]["data"]["clientCount"], 1);
    broker.dial(&login(V5, "a", "ann", "pw")).expect_connack(0x87);
}

#[test]
fn other_endpoints_and_the_broker_itself_answer() {
    let broker = setup().start();
    let mut boss = admin(&broker);
    boss.publish(Out::new("$CONTROL/nothing/v1", "{}").qos(2));
    let answer = boss.expect_publish();
    assert_eq!(answer.topic, "$CONTROL/nothing/v1/response");
    assert_eq!(answer.payload, b"{\"error\": \"endpoint not available\"}");
    let request = r#"{"commands":[{"command":"listListeners"},{"command":"listPlugins"},5]}"#;
    boss.publish(Out::new("$CONTROL/broker/v1", request).qos(1));
    let answer: Value = serde_json::from_slice(&boss.expect_publish().payload).expect("JSON");
    let responses = &answer["responses"];
    assert_eq!(responses[0]["data"]["listeners"][0]["port"], broker.port());
    assert_eq!(responses[1]["data"]["plugins"][0]["name"], "dynamic-security");
    assert_eq!(responses[2]["error"], "Command not an object");
}

#[test]
fn without_a_file_the_first_administrator_is_made() {
    let broker = setup().start();
    let mut boss = admin(&broker);
    let details = ask(&mut boss, r#"{"command":"getDetails"}"#);
    assert_eq!(details[0]["data"]["roleCount"], 7);
    let saved = std::fs::read(broker.dir().join("dynsec.json")).expect("saved");
    Dynsec::parse(&saved).expect("read back");
}
