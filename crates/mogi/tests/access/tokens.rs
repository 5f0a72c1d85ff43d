//! JSON Web Tokens at CONNECT.

use super::subscribe_code;
use crate::support::ctrl::ctrl;
use crate::support::{Broker, Client, Dial, Id, Out, V5, V311, eventually};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const CONF: &str = "allow_anonymous false\nlog_type all\n";

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn token(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).expect("signed")
}

fn claims(user: &str) -> Value {
    json!({"sub": user, "exp": now_s() + 3600})
}

fn broker(own: &str) -> Broker {
    let conf = format!("{CONF}jwt_secret_file {{dir}}/secret\n{own}");
    Broker::setup().conf(&conf).file("secret", SECRET).start()
}

fn with_token(id: &str, claims: &Value) -> Dial {
    Dial::new(V5, id).username("ignored").password(&token(claims))
}

#[test]
fn a_token_is_a_login_and_its_claim_the_user() {
    let broker = broker("");
    for version in [V311, V5] {
        let dial = Dial::new(version, "c").username("x").password(&token(&claims("ann")));
        broker.connect(&dial).ping();
    }
    broker.expect_log("as c (p4, c1, k60, u'ann')");
    // MQTT 5.0 has passwords without user names.
    broker.connect(&Dial::new(V5, "d").password(&token(&claims("bob")))).ping();
    broker.expect_log("u'bob'");
    for (password, why) in [
        ("secret".to_owned(), "no token"),
        (token(&json!({"sub": "ann", "exp": now_s() - 60})), "the token has expired"),
        (token(&json!({"sub": "ann"})), "no end (jwt_require_expiry)"),
        (token(&claims("ann")) + "x", "signature is wrong"),
    ] {
        let mut client = broker.dial(&Dial::new(V5, "c").username("ann").password(&password));
        client.expect_connack(0x87);
        broker.expect_log(why);
    }
}

#[test]
fn rights_come_with_the_token() {
    let broker = broker("jwt_acl write up/%{site}/#\njwt_acl read down/%c\n");
    let mut claims = claims("ann");
    claims["site"] = json!("north");
    claims["acl"] = json!({"all": ["own/%u/#"]});
    let mut ann: Client = broker.connect(&with_token("c1", &claims));
    assert_eq!(subscribe_code(&mut ann, "own/ann/x"), 1);
    assert_eq!(subscribe_code(&mut ann, "down/c1"), 1);
    assert_eq!(subscribe_code(&mut ann, "own/#"), 0x87);
    assert_eq!(subscribe_code(&mut ann, "up/north/x"), 0x87);
    ann.publish(Out::new("own/ann/x", "mine"));
    ann.expect_message("own/ann/x", "mine");
    for (topic, code) in [("up/north/x", 0x10), ("up/south/x", 0x87), ("down/c1", 0x87)] {
        assert_eq!(ann.publish_code(Out::new(topic, "x").qos(1)), code, "{topic}");
    }
    // A token without rights leaves them to files; there is none, and jwt_acl is for all.
    claims["site"] = json!("+");
    let mut other = broker.connect(&with_token("c2", &claims));
    assert_eq!(other.publish_code(Out::new("up/north/x", "x").qos(1)), 0x87);
}

#[test]
fn an_acl_file_counts_where_the_token_says_nothing() {
    let conf =
        format!("{CONF}acl_file {{dir}}/acl\nacl_strict true\njwt_secret_file {{dir}}/secret\n");
    let acl = "user ann\ntopic read a/#\n";
    let broker = Broker::setup().conf(&conf).file("secret", SECRET).file("acl", acl).start();
    let mut ann = broker.connect(&with_token("c1", &claims("ann")));
    assert_eq!(subscribe_code(&mut ann, "a/b"), 1);
    assert_eq!(subscribe_code(&mut ann, "b"), 0x87);
    let mut rich = claims("bob");
    rich["acl"] = json!(["readwrite b"]);
    let mut bob = broker.connect(&with_token("c2", &rich));
    assert_eq!(subscribe_code(&mut bob, "b"), 1);
    assert_eq!(subscribe_code(&mut bob, "a/b"), 0x87);
}

#[test]
fn the_connection_ends_with_the_token() {
    let broker = broker("jwt_leeway 0\n");
    let short = json!({"sub": "ann", "exp": now_s() + 2});
    let mut client = broker.connect(&with_token("c", &short));
    client.expect_disconnect(0x87);
    broker.expect_log("disconnected: its login is over.");
    let mut again = broker.dial(&with_token("c", &short));
    again.expect_connack(0x87);
}

#[test]
fn a_token_may_be_for_one_client_id() {
    let broker = broker("jwt_clientid_claim device\n");
    let mut claims = claims("ann");
    claims["device"] = json!("d17");
    broker.connect(&with_token("d17", &claims)).ping();
    broker.dial(&with_token("d18", &claims)).expect_connack(0x87);
    broker.expect_log("for another client id");
    let mut client = broker.dial(&with_token("", &claims));
    let connack = client.recv();
    assert_eq!(connack.code(), 0);
    assert_eq!(connack.props().str(Id::AssignedClientIdentifier), Some("d17"));
}

/// What waits for a session is still there after a restart, when its token is not known.
#[test]
fn a_session_with_a_token_outlives_a_restart() {
    let conf = format!(
        "{CONF}persistence true\npersistence_location {{dir}}\nacl_file {{dir}}/acl\n\
         jwt_secret_file {{dir}}/secret\n"
    );
    let setup = Broker::setup().conf(&conf).file("secret", SECRET).file("acl", "");
    let mut broker = setup.start();
    let mut rich = claims("ann");
    rich["acl"] = json!(["readwrite a"]);
    let dial = with_token("ann", &rich).resume().session_expiry(1000);
    let mut ann = broker.connect(&dial);
    assert_eq!(subscribe_code(&mut ann, "a"), 1);
    ann.disconnect();
    broker.stop();
    broker.restart();
    let mut bob = broker.connect(&with_token("bob", &rich));
    assert_eq!(bob.publish_code(Out::new("a", "kept").qos(1)), 0);
    let mut ann = broker.dial(&dial);
    assert!(ann.recv().session_present());
    ann.expect_message("a", "kept");
}

/// SIGHUP reads keys anew; who came in by one that is gone has to leave.
#[test]
fn a_key_that_is_taken_away_takes_its_clients_along() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("made");
    let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let signed = encode(&Header::new(Algorithm::ES256), &claims("eve"), &private).expect("signed");
    let conf = format!("{CONF}jwt_secret_file {{dir}}/secret\njwt_key_file {{dir}}/keys\n");
    let broker = Broker::setup()
        .conf(&conf)
        .file("secret", SECRET)
        .file("keys", &pair.public_key_pem())
        .start();
    let mut eve = broker.connect(&Dial::new(V5, "eve").password(&signed));
    let mut ann = broker.connect(&with_token("ann", &claims("ann")));
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("made");
    std::fs::write(broker.dir().join("keys"), other.public_key_pem()).expect("written");
    broker.signal(nix::sys::signal::Signal::SIGHUP);
    eve.expect_disconnect(0x98);
    ann.ping();
    eventually("eve is out", || {
        broker.dial(&Dial::new(V5, "eve").password(&signed)).recv().code() == 0x87
    });
}

#[test]
fn a_key_that_cannot_be_used_ends_the_start() {
    for (text, what) in [("", "jwt_key_file"), ("-----BEGIN PRIVATE KEY-----\n", "private key")] {
        let started = std::panic::catch_unwind(|| {
            let conf = format!("{CONF}jwt_key_file {{dir}}/keys\n");
            Broker::setup().conf(&conf).file("keys", text).start();
        });
        let told = started.expect_err("it does not start");
        let told = told.downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(told.contains(what), "{told}");
    }
}

#[test]
fn a_token_has_to_name_the_right_to_drain() {
    let conf = "enable_control_api true\nuser root\n";
    let rule = "jwt_acl readwrite %{sub}/#\n";
    let none = json!(null);
    let refused = "drain: Error: No rule lets this client publish to $CONTROL/broker/v1.";
    let unheard = "Error: Not allowed to get answers: Not authorized.";
    for (more, user, acl, why) in [
        ("", "ann", &none, refused),
        ("", "ann", &json!({"all": ["#"]}), unheard),
        (rule, "ann", &none, unheard),
        (rule, "$CONTROL", &none, unheard),
        (rule, "ann", &json!({"all": ["$CONTROL/broker/#"]}), ""),
    ] {
        let mut broker = broker(&format!("{conf}{more}"));
        let mut claims = claims(user);
        claims["acl"] = acl.clone();
        let tool = format!("--strict -i boss -u x -P {} broker drain", token(&claims));
        let said = ctrl(&broker, &tool);
        if why.is_empty() {
            assert_eq!(said.code, 0, "{said:?}");
            broker.expect_log("Client boss (user ann) has the broker drained: it stops.");
            assert!(broker.wait().success());
        } else {
            assert!(said.code == 1 && said.err.contains(why), "{user} {acl}: {said:?}");
            let mut client = broker.connect(&with_token("c", &claims));
            let request = Out::new("$CONTROL/broker/v1", r#"{"commands":[{"command":"drain"}]}"#);
            // Where no rule limits topics, the broker answers.
            let code = if why == refused { 0 } else { 0x87 };
            assert_eq!(client.publish_code(request.qos(1)), code, "{user} {acl}");
            client.ping();
        }
    }
}
