//! Services that know users (`http_auth_url`, `http_acl_url`) or keys (`jwt_jwks_url`).

use super::service::Service;
use super::{login, passwords, subscribe_code};
use crate::support::{Broker, Dial, Out, V5, V311, eventually};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const CONF: &str = "allow_anonymous false\nlog_type all\n";

fn broker(service: &Service, more: &str) -> Broker {
    let conf = format!("{CONF}http_auth_url {}\n{more}", service.url("/auth"));
    Broker::setup().conf(&conf).start()
}

/// Lets in whoever has the password "secret".
fn doorman(_: &str, body: &Value) -> Option<(u16, String)> {
    let yes = body["password"] == "secret";
    Some((200, json!({"result": if yes { "allow" } else { "deny" }}).to_string()))
}

#[test]
fn a_service_decides_who_comes_in_and_is_asked_once() {
    let service = Service::start(doorman);
    let broker = broker(&service, "http_header Authorization: Bearer x\n");
    for _ in 0..3 {
        broker.connect(&login(V311, "c", "ann", "secret")).ping();
        broker.dial(&login(V5, "c", "ann", "wrong")).expect_connack(0x87);
    }
    broker.expect_log("refused by http_auth_url");
    let asked = service.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let (path, body) = &asked[0];
    let told = json!({"clientid": "c", "username": "ann", "password": "secret",
                      "ipaddress": "127.0.0.1"});
    assert_eq!((&**path, body), ("/auth", &told));
    broker.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("it is asked again", || {
        broker.connect(&login(V311, "c", "ann", "secret")).ping();
        service.asked().len() > 2
    });
}

/// Files come first; whom they know is not asked about.
#[test]
fn a_password_file_stands_before_the_service() {
    let service = Service::start(doorman);
    let conf = format!("{CONF}password_file {{dir}}/pw\nhttp_auth_url {}\n", service.url("/auth"));
    let broker = Broker::setup().conf(&conf).file("pw", &passwords(&[("bob", "own")])).start();
    broker.connect(&login(V5, "b", "bob", "own")).ping();
    broker.dial(&login(V5, "b", "bob", "secret")).expect_connack(0x87);
    assert_eq!(service.asked().len(), 0);
    broker.connect(&login(V5, "a", "ann", "secret")).ping();
}

#[test]
fn a_login_may_come_with_rights() {
    let service = Service::start(|_, body| {
        let answer = match body["username"].as_str() {
            Some("root") => json!({"result": "allow", "is_superuser": true}),
            _ => json!({"result": "allow", "acl": {"sub": ["a/%u/#"], "pub": ["b"]}}),
        };
        Some((200, answer.to_string()))
    });
    let broker = broker(&service, "");
    let mut ann = broker.connect(&login(V5, "c", "ann", "x"));
    assert_eq!(subscribe_code(&mut ann, "a/ann/x"), 1);
    assert_eq!(subscribe_code(&mut ann, "a/bob/x"), 0x87);
    assert_eq!(ann.publish_code(Out::new("a/ann/x", "x").qos(1)), 0x87);
    assert_eq!(ann.publish_code(Out::new("b", "x").qos(1)), 0x10);
    let mut root = broker.connect(&login(V5, "r", "root", "x"));
    assert_eq!(subscribe_code(&mut root, "#"), 1);
}

/// Answers about topics: asked for while the client waits, in the order of its packets.
#[test]
fn a_service_decides_about_topics() {
    let service = Service::start(|path, body| {
        let topic = body["topic"].as_str().unwrap_or_default();
        let yes = path == "/auth" || topic.starts_with("ok/") || topic == "$share/g/ok/x";
        Some((if yes { 200 } else { 403 }, String::new()))
    });
    let broker = broker(&service, &format!("http_acl_url {}\n", service.url("/acl")));
    let mut ann = broker.connect(&login(V5, "c", "ann", "x"));
    assert_eq!(subscribe_code(&mut ann, "ok/#"), 1);
    assert_eq!(subscribe_code(&mut ann, "no/#"), 0x87);
    assert_eq!(subscribe_code(&mut ann, "$share/g/ok/x"), 1);
    assert_eq!(ann.unsubscribe(&["$share/g/ok/x"]).codes(), [0]);
    for number in 0..20 {
        ann.send_publish(Out::new(&format!("ok/{}", number % 3), format!("{number}")));
        ann.send_publish(Out::new("no/a", "never"));
    }
    for number in 0..20 {
        ann.expect_message(&format!("ok/{}", number % 3), format!("{number}"));
    }
    assert_eq!(ann.publish_code(Out::new("no/a", "x").qos(1)), 0x87);
    let asked = service.asked();
    let about: Vec<&Value> = asked.iter().map(|(_, body)| &body["topic"]).collect();
    assert_eq!(about.len(), 8, "each once: {about:?}");
    let (path, body) = &asked[1];
    assert_eq!((&**path, &body["action"]), ("/acl", &json!("subscribe")));
    assert_eq!((&body["clientid"], &body["username"]), (&json!("c"), &json!("ann")));
    assert_eq!(asked[4].1["action"], "publish");
}

#[test]
fn a_will_is_asked_about_at_the_login() {
    let service = Service::start(|path, body| {
        let yes = path == "/auth" || body["topic"] == "ok" || body["action"] == "subscribe";
        Some((if yes { 200 } else { 403 }, String::new()))
    });
    let broker = broker(&service, &format!("http_acl_url {}\n", service.url("/acl")));
    let mut watcher = broker.connect(&login(V5, "w", "w", "x"));
    assert_eq!(subscribe_code(&mut watcher, "#"), 1);
    broker.connect(&login(V5, "a", "a", "x").will("no", "gone")).abort();
    broker.connect(&login(V5, "b", "b", "x").will("ok", "gone")).abort();
    watcher.expect_message("ok", "gone");
}

/// It costs those who are connected nothing, and the clients it is asked about their login.
#[test]
fn a_service_that_does_not_answer_holds_nobody_up() {
    let silent = Arc::new(AtomicBool::new(true));
    let own = Arc::clone(&silent);
    let service = Service::start(move |path, body| match own.load(Ordering::SeqCst) {
        true if body["username"] != "here" || path == "/acl" => None,
        _ => doorman(path, body),
    });
    let more = "http_timeout 500\nhttp_failures 2\nhttp_retry_time 1\nhttp_requests 2\n";
    let setup = format!("{more}http_acl_url {}\n", service.url("/acl"));
    let broker = broker(&service, &setup);
    let mut here = broker.connect(&login(V311, "here", "here", "secret"));
    let mut waiting = broker.dial(&login(V5, "c", "ann", "secret"));
    here.ping();
    // 0x88: server unavailable. It fails closed.
    waiting.expect_connack(0x88);
    broker.dial(&login(V5, "c", "bob", "secret")).expect_connack(0x88);
    broker.expect_log("is asked again in 1 s");
    // Now it is not even asked.
    let before = service.asked().len();
    broker.dial(&login(V5, "c", "carl", "secret")).expect_connack(0x88);
    assert_eq!(service.asked().len(), before);
    // What cannot be asked about topics is refused, and the connection goes on.
    assert_eq!(subscribe_code(&mut here, "a"), 0x80);
    here.ping();
    silent.store(false, Ordering::SeqCst);
    eventually("it is asked again", || {
        broker.dial(&login(V5, "c", "ann", "secret")).recv().code() == 0
    });
    broker.expect_log("answers again.");
}

#[test]
fn an_answer_that_makes_no_sense_lets_nobody_in() {
    let bodies = ["<html>welcome</html>", "{}", "{\"result\": \"allow\", \"acl\": \"all\"}"];
    let next = AtomicUsize::new(0);
    let service = Service::start(move |_, _| {
        let body = bodies[next.fetch_add(1, Ordering::SeqCst) % bodies.len()];
        Some((200, body.to_owned()))
    });
    let broker = broker(&service, "http_failures 0\n");
    for _ in bodies {
        broker.dial(&login(V5, "c", "ann", "x")).expect_connack(0x88);
    }
    let port = crate::support::broker::free_port();
    let conf = format!("{CONF}http_auth_url http://127.0.0.1:{port}/\n");
    let broker = Broker::setup().conf(&conf).start();
    broker.dial(&login(V311, "c", "ann", "x")).expect_connack(3);
    broker.expect_log("does not answer as it should");
}

/// Keys change: one that is not known yet is looked for.
#[test]
fn keys_of_tokens_are_fetched() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("made");
    let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let mut jwk = Jwk::from_encoding_key(&private, Algorithm::ES256).expect("a key");
    jwk.common.key_id = Some("first".to_owned());
    let set = Arc::new(Mutex::new(json!({"keys": [jwk]}).to_string()));
    let own = Arc::clone(&set);
    let service = Service::start(move |_, _| Some((200, own.lock().expect("whole").clone())));
    let conf = format!("{CONF}jwt_jwks_url {}\n", service.url("/keys"));
    let broker = Broker::setup().conf(&conf).start();
    let token = |name: &str| {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(name.to_owned());
        encode(&header, &json!({"sub": "ann", "exp": 4_000_000_000_u64}), &private).expect("signed")
    };
    let dial = |name: &str| Dial::new(V5, "c").password(&token(name));
    for _ in 0..3 {
        broker.connect(&dial("first")).ping();
    }
    broker.dial(&dial("second")).expect_connack(0x87);
    broker.expect_log("signed with a key that is not known");
    assert_eq!(service.asked().len(), 1, "not at each login");
}
