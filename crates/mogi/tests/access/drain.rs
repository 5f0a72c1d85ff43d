//! Who may have the broker stop (`mogi ctrl broker drain`), and what it does then.

use super::{login, passwords};
use crate::support::broker::Setup;
use crate::support::ctrl::{Said, ctrl};
use crate::support::dynsec::{self, done};
use crate::support::{Broker, Client, Out, V5, V311};
use serde_json::Value;

const TOPIC: &str = "$CONTROL/broker/v1";
const DRAIN: &str = r#"{"commands":[{"command":"drain"}]}"#;
const API: &str = "enable_control_api true\nlog_type all\nuser root\n";

fn setup(conf: &str) -> Setup {
    let users = passwords(&["ann", "bob"].map(|name| (name, "pw")));
    Broker::setup().conf(&format!("{API}{conf}")).file("pw", &users)
}

/// Ann has a rule for it, and bob may do everything that needs none.
fn ruled(acl: &str) -> Broker {
    let acl = format!(
        "{acl}topic readwrite #\nuser bob\ntopic readwrite #\n\
         user ann\ntopic readwrite #\ntopic readwrite $CONTROL/broker/#\n"
    );
    setup("password_file {dir}/pw\nacl_file {dir}/acl\n").file("acl", &acl).start()
}

/// Publishes commands; the responses.
#[track_caller]
fn ask(client: &mut Client, commands: &str) -> Value {
    let request = format!("{{\"commands\":[{commands}]}}");
    assert_eq!(client.publish_code(Out::new(TOPIC, request).qos(1)), 0);
    let answer: Value = serde_json::from_slice(&client.expect_publish().payload).expect("JSON");
    answer["responses"].clone()
}

#[track_caller]
fn expect_drained(said: &Said, mut broker: Broker, who: &str) {
    assert_eq!((said.code, &*said.out), (0, ""), "{said:?}");
    broker.expect_log(&format!("Client {who} has the broker drained: it stops."));
    assert!(broker.wait().success());
}

/// It was refused, and the broker serves on.
#[track_caller]
fn expect_refused(said: &Said, why: &str, client: &mut Client) {
    assert!(said.code == 1 && said.err.contains(why), "{said:?}");
    client.ping();
}

const NO_RULE: &str = "drain: Error: No rule lets this client publish to $CONTROL/broker/v1.";

#[test]
fn drain_stops_a_single_broker() {
    for qos in ["", "-q 0", "-q 2"] {
        let broker = ruled("");
        let mut client = broker.connect(&login(V5, "c", "bob", "pw"));
        let mut old = broker.connect(&login(V311, "old", "bob", "pw"));
        let said = ctrl(&broker, &format!("--strict {qos} -i boss -u ann -P pw broker drain"));
        expect_drained(&said, broker, "boss (user ann)");
        client.expect_disconnect(0x8B);
        old.expect_closed();
    }
}

#[test]
fn who_drains_has_the_answer_before_the_connection_ends() {
    let mut broker = ruled("");
    let mut ann = broker.connect(&login(V5, "c", "ann", "pw"));
    ann.subscribe("$CONTROL/broker/v1/response", 1);
    let commands = r#"{"command":"drain","correlationData":"x"},{"command":"listListeners"}"#;
    let responses = ask(&mut ann, commands);
    assert_eq!(responses[0].to_string(), r#"{"command":"drain","correlationData":"x"}"#);
    assert_eq!(responses[1]["data"]["listeners"][0]["port"], broker.port());
    ann.expect_disconnect(0x8B);
    assert!(broker.wait().success());
}

/// A password is no rule, and neither is that there are none.
#[test]
fn drain_needs_more_than_the_lack_of_rules() {
    let users = "password_file {dir}/pw\nallow_anonymous false\n";
    for (conf, who, name) in [("", "", "boss"), (users, "-u ann -P pw", "boss (user ann)")] {
        let broker = setup(conf).start();
        let mut client = broker.connect(&login(V5, "c", "ann", "pw"));
        // Who may look may not stop.
        let said = ctrl(&broker, &format!("--strict -i boss {who} broker listListeners"));
        assert_eq!(said.code, 0, "{said:?}");
        let said = ctrl(&broker, &format!("--strict -i boss {who} broker drain"));
        expect_refused(&said, NO_RULE, &mut client);
        broker.expect_log(&format!("Client {name} may not drain the broker: no rule says so."));
        // As `mosquitto_ctrl` has it, only --strict makes a refusal an error.
        let said = ctrl(&broker, &format!("{who} broker drain"));
        assert!(said.code == 0 && said.err.contains(NO_RULE), "{said:?}");
    }
}

#[test]
fn rules_for_everything_else_are_none_for_drain() {
    let broker = ruled("pattern readwrite %c/#\npattern readwrite %u/#\n");
    let mut client = broker.connect(&login(V5, "c", "bob", "pw"));
    for who in ["-u bob -P pw", "-i boss", "-i $CONTROL", "-i $CONTROL -u bob -P pw"] {
        let said = ctrl(&broker, &format!("--strict {who} broker drain"));
        expect_refused(&said, "Error: Request refused: Not authorized", &mut client);
    }
}

#[test]
fn a_rule_for_clients_without_a_name_is_one_for_drain() {
    let broker = ruled("topic readwrite $CONTROL/broker/#\n");
    let said = ctrl(&broker, "--strict -i boss broker drain");
    expect_drained(&said, broker, "boss");
}

#[test]
fn in_dynamic_security_it_takes_a_role_to_drain() {
    let conf = format!("{}{API}", dynsec::CONF);
    let broker = Broker::setup().conf(&conf).file("first", dynsec::PASSWORD).start();
    let mut boss = dynsec::admin(&broker, "boss");
    done(&mut boss, CLIENTS);
    let mut client = broker.connect(&login(V5, "c", "user", "pw"));
    for user in ["user", "keeper"] {
        let said = ctrl(&broker, &format!("--strict -u {user} -P pw broker drain"));
        expect_refused(&said, "Error: Not allowed to get answers: Not authorized", &mut client);
        // Who does without an answer is not heard either.
        let mut rude = broker.connect(&dynsec::login(user));
        assert_eq!(rude.publish_code(Out::new(TOPIC, DRAIN).qos(1)), 0x87);
    }
    let said = ctrl(&broker, "--strict -i x -u admin2 -P pw broker drain");
    expect_drained(&said, broker, "x (user admin2)");
}

const CLIENTS: &str = r#"
    {"command":"setDefaultACLAccess","acls":[
        {"acltype":"publishClientSend","allow":true},{"acltype":"subscribe","allow":true}]},
    {"command":"createClient","username":"user","password":"pw","roles":[{"rolename":"client"}]},
    {"command":"createClient","username":"keeper","password":"pw",
        "roles":[{"rolename":"dynsec-admin"}]},
    {"command":"createClient","username":"admin2","password":"pw",
        "roles":[{"rolename":"broker-admin"}]}"#;

#[test]
fn drain_is_off_where_the_broker_answers_no_requests() {
    let broker = Broker::setup().conf(dynsec::CONF).file("first", "administrator\n").start();
    let mut client = broker.connect(&login(V5, "c", "admin", "administrator"));
    let said = ctrl(&broker, "--strict -u admin -P administrator broker drain");
    expect_refused(&said, "Error: endpoint not available.", &mut client);
}
