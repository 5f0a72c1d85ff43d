//! Services that are asked over TLS: whose certificates count, and whose do not.

use super::login;
use super::service::Service;
use crate::support::pki::{Identity, Pki};
use crate::support::{Broker, Dial, V5};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

const CONF: &str = "allow_anonymous false\nlog_type all\n";

fn doorman(_: &str, body: &Value) -> Option<(u16, String)> {
    Some((if body["password"] == "secret" { 204 } else { 403 }, String::new()))
}

/// A broker that asks a service with this certificate, and trusts `authority`.
fn broker(identity: &Identity, authority: Option<&Pki>) -> (Broker, Service) {
    let service = Service::secured(identity, doorman);
    let cafile = authority.map_or("", |_| "http_cafile {dir}/ca.pem\n");
    let conf = format!("{CONF}http_auth_url {}\n{cafile}", service.url("/auth"));
    let setup = Broker::setup().conf(&conf);
    let setup = match authority {
        Some(pki) => setup.file("ca.pem", &pki.authority),
        None => setup,
    };
    (setup.start(), service)
}

#[test]
fn a_service_is_asked_over_tls() {
    let pki = Pki::new("authority");
    let (broker, service) = broker(&pki.server(), Some(&pki));
    broker.connect(&login(V5, "c", "ann", "secret")).ping();
    broker.dial(&login(V5, "c", "ann", "wrong")).expect_connack(0x87);
    assert_eq!(service.asked().len(), 2);
}

/// A password goes to nobody who cannot show that it is the one who is meant.
#[test]
fn a_service_that_is_not_trusted_is_told_nothing() {
    let pki = Pki::new("authority");
    for (identity, authority, why) in [
        (pki.server(), None, "UnknownIssuer"),
        (pki.server(), Some(&Pki::new("another")), "UnknownIssuer"),
        (pki.server_named("other.example"), Some(&pki), "not valid for name"),
    ] {
        let (broker, service) = broker(&identity, authority);
        broker.dial(&login(V5, "c", "ann", "secret")).expect_connack(0x88);
        broker.expect_log(why);
        assert_eq!(service.asked().len(), 0);
    }
}

#[test]
fn keys_of_tokens_are_fetched_over_tls() {
    let pki = Pki::new("authority");
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("made");
    let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let jwk = Jwk::from_encoding_key(&private, Algorithm::ES256).expect("a key");
    let set = json!({"keys": [jwk]}).to_string();
    let claims = json!({"sub": "ann", "exp": 4_000_000_000_u64});
    let token = encode(&Header::new(Algorithm::ES256), &claims, &private).expect("signed");
    for trusted in [true, false] {
        let set = set.clone();
        let service = Service::secured(&pki.server(), move |_, _| Some((200, set.clone())));
        let authority = if trusted { pki.authority.clone() } else { Pki::new("x").authority };
        let conf = format!("{CONF}jwt_jwks_url {}\nhttp_cafile {{dir}}/ca.pem\n", service.url("/"));
        let broker = Broker::setup().conf(&conf).file("ca.pem", &authority).start();
        let mut client = broker.dial(&Dial::new(V5, "c").password(&token));
        match trusted {
            true => drop(client.expect_connected()),
            false => {
                assert!(client.recv().code() >= 0x80);
                broker.expect_log("UnknownIssuer");
            }
        }
        assert_eq!(service.asked().len(), usize::from(trusted));
    }
}
