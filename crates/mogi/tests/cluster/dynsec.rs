//! Dynamic security that all nodes share.

use super::scene::{Site, free_port, linked};
use crate::support::broker::Setup;
use crate::support::dynsec::{CONF, PASSWORD, admin, ask, count, done, login};
use crate::support::{Broker, Out};
use mogi_auth::dynsec::Dynsec;

fn setup(site: &Site, name: &str) -> Setup {
    site.setup(name, free_port(), "").conf(CONF).file("first", PASSWORD)
}

/// Two nodes that have their links.
fn two(site: &Site) -> [Broker; 2] {
    let nodes = ["a", "b"].map(|name| setup(site, name).start());
    linked(&nodes[0], &nodes[1]);
    nodes
}

const ANN: &str = r##"
    {"command":"createRole","rolename":"r","acls":[
        {"acltype":"publishClientSend","topic":"a/#","allow":true},
        {"acltype":"subscribePattern","topic":"a/#","allow":true}]},
    {"command":"createGroup","groupname":"g","roles":[{"rolename":"r"}]},
    {"command":"createClient","username":"ann","password":"pw","groups":[{"groupname":"g"}]}"##;

#[test]
fn what_one_node_is_told_counts_at_the_others_with_the_answer() {
    let [a, b] = two(&Site::new(""));
    let mut boss = admin(&a, "boss-a");
    done(&mut boss, ANN);
    let mut ann = b.connect(&login("ann"));
    // Nobody wants it, but it is let through.
    assert_eq!(ann.publish_code(Out::new("a/b", "x").qos(1)), 0x10);
    // And the other way round, for one who is at a third place.
    let mut other = admin(&b, "boss-b");
    done(&mut other, r#"{"command":"removeGroupRole","groupname":"g","rolename":"r"}"#);
    ann.expect_disconnect(0x98);
    let mut ann = a.connect(&login("ann"));
    assert_eq!(ann.publish_code(Out::new("a/b", "x").qos(1)), 0x87);
    done(&mut other, r#"{"command":"disableClient","username":"ann"}"#);
    ann.expect_disconnect(0x98);
    a.dial(&login("ann")).expect_connack(0x87);
    // Whom that does not concern stays.
    boss.ping();
}

#[test]
fn of_those_who_write_at_once_nobody_is_forgotten() {
    let site = Site::new("");
    let [mut a, b] = two(&site);
    const EACH: u32 = 25;
    std::thread::scope(|scope| {
        for (node, name) in [(&a, "a"), (&b, "b")] {
            scope.spawn(move || {
                let mut boss = admin(node, name);
                for number in 0..EACH {
                    let client = format!(r#""username":"{name}{number}","password":"pw""#);
                    done(&mut boss, &format!(r#"{{"command":"createClient",{client}}}"#));
                }
            });
        }
    });
    for node in [&a, &b] {
        assert_eq!(count(&mut admin(node, "boss")), 1 + 2 * u64::from(EACH));
    }
    // A start finds all of it, whatever its own file says.
    a.stop();
    a.restart();
    a.connect(&login("b0"));
    assert!(!a.dir().join("dynsec.json").exists());
}

#[test]
fn a_file_of_the_plugin_is_taken_over_by_the_first_node() {
    let hash = mogi_auth::PasswordHash::new(
        mogi_auth::Algorithm::Pbkdf2(Some(5)),
        PASSWORD.as_bytes(),
        &[7; mogi_auth::SALT_BYTES],
    );
    let file = Dynsec::with_admin("admin", hash.expect("hashed")).to_json();
    let file = String::from_utf8(file).expect("text");
    let site = Site::new("");
    let a = setup(&site, "a").file("dynsec.json", &file).start();
    a.expect_log("dynsec: from now on in 't");
    let b = setup(&site, "b").start();
    b.expect_log("version 1; not from ");
    let mut boss = admin(&b, "boss");
    let roles = ask(&mut boss, r#"{"command":"listRoles"}"#);
    assert_eq!(roles[0]["data"]["roles"], serde_json::json!(["admin"]));
    done(&mut boss, r#"{"command":"createClient","username":"ann","password":"pw"}"#);
    a.connect(&login("ann"));
    let left = std::fs::read_to_string(a.dir().join("dynsec.json")).expect("there");
    assert_eq!(left, file, "it stays as it was");
}
