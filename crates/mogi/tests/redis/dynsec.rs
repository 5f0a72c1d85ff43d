//! Dynamic security kept in Redis, and what becomes of it when Redis fails.

use super::cluster::Servers;
use crate::support::dynsec::{CONF, PASSWORD, admin, ask, count, done, login};
use crate::support::eventually;
use serde_json::Value;

#[test]
fn without_redis_a_request_is_refused_and_not_done_later() {
    let servers = Servers::start(&["--single"]);
    let a = servers.setup("").conf(CONF).file("first", PASSWORD).start();
    let mut boss = admin(&a, "boss");
    done(&mut boss, r#"{"command":"createClient","username":"ann","password":"pw"}"#);
    let document = |field: &str| servers.cli(&["hget", "dynsec", field]);
    let before = document("document");
    servers.cli(&["save"]);
    servers.kill(0);
    let commands = r#"{"command":"createClient","username":"bob","password":"pw"},
        {"command":"deleteClient","username":"ann"},{"command":"getDetails"}"#;
    for _ in 0..2 {
        let responses = ask(&mut boss, commands);
        for response in &responses[..2] {
            let error = response["error"].as_str().expect("an error");
            assert!(error.starts_with("Unable to save dynamic security: "), "{error}");
        }
    }
    // What is asked is answered, and those who are known get in.
    assert_eq!(count(&mut boss), 2);
    servers.restart();
    // It is there again, and what was refused is not done.
    eventually("a change", || {
        let command = r#"{"command":"createClient","username":"cid","password":"pw"}"#;
        ask(&mut boss, command)[0].get("error").is_none()
    });
    assert_eq!(count(&mut boss), 3);
    let after: Value = serde_json::from_str(&document("document")).expect("JSON");
    let before: Value = serde_json::from_str(&before).expect("JSON");
    let names = |of: &Value| -> Vec<String> {
        let clients = of["clients"].as_array().expect("a list").iter();
        clients.map(|it| it["username"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&before), ["admin", "ann"]);
    assert_eq!(names(&after), ["admin", "ann", "cid"]);
}

/// What others have written by hand, or a restored copy, counts too, if it can be read.
#[test]
fn what_stands_in_redis_counts() {
    let servers = Servers::start(&["--single"]);
    let a = servers.setup("").conf(CONF).file("first", PASSWORD).start();
    let mut boss = admin(&a, "boss");
    done(&mut boss, r#"{"command":"createClient","username":"ann","password":"pw"}"#);
    let set = |version: &str, document: &str| {
        servers
            .cli(&["hset", "dynsec", "version", version, "change", "by hand", "document", document])
    };
    let mut ann = a.connect(&login("ann"));
    let good = servers.cli(&["hget", "dynsec", "document"]);
    set("7", "{");
    a.expect_log("What was in force stays.");
    ann.ping();
    let error = ask(&mut boss, r#"{"command":"deleteClient","username":"ann"}"#);
    assert!(error[0]["error"].as_str().expect("an error").contains("not JSON"), "{error:?}");
    set("8", &good.replace("ann", "eve"));
    ann.expect_disconnect(0x98);
    a.connect(&login("eve"));
}
