//! Tokens that are believed, and those that are not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mogi_auth::jwt::{BadToken, ClaimRules, Claims, Keys, TokenRules, algorithm, check_template};
use mogi_auth::{Access, Who};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};

const NOW_S: u64 = 1_700_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn rules() -> TokenRules {
    let claims = ClaimRules { username: "sub".into(), acl: "acl".into(), ..ClaimRules::default() };
    TokenRules { leeway_s: 5, claims, ..TokenRules::default() }
}

fn claims() -> Value {
    json!({"sub": "ann", "exp": NOW_S + 60})
}

fn secret() -> (EncodingKey, Keys) {
    (EncodingKey::from_secret(SECRET), Keys::parse_secret(SECRET).expect("a secret").0)
}

fn token(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).expect("signed")
}

fn verify(rules: &TokenRules, claims: &Value) -> Result<Claims, BadToken> {
    let (key, keys) = secret();
    rules.verify(&keys, &token(Algorithm::HS256, &key, claims), NOW_S)
}

fn why(outcome: Result<Claims, BadToken>) -> &'static str {
    match outcome {
        Err(BadToken::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A key pair of each kind: its private half, and the public one in PEM.
fn pairs() -> Vec<(Algorithm, EncodingKey, String)> {
    let pair = |kind| KeyPair::generate_for(kind).expect("made");
    let rsa = pair(&PKCS_RSA_SHA256);
    let ec = pair(&PKCS_ECDSA_P256_SHA256);
    let ed = pair(&PKCS_ED25519);
    let private = |pair: &KeyPair| pair.serialize_pem().into_bytes();
    let rsa_key = EncodingKey::from_rsa_pem(&private(&rsa)).expect("RSA");
    let ec_key = EncodingKey::from_ec_pem(&private(&ec)).expect("EC");
    let ed_key = EncodingKey::from_ed_pem(&private(&ed)).expect("Ed25519");
    vec![
        (Algorithm::RS256, rsa_key.clone(), rsa.public_key_pem()),
        (Algorithm::PS256, rsa_key, rsa.public_key_pem()),
        (Algorithm::ES256, ec_key, ec.public_key_pem()),
        (Algorithm::EdDSA, ed_key, ed.public_key_pem()),
    ]
}

#[test]
fn each_algorithm_is_believed_with_its_own_key() {
    let pairs = pairs();
    let all: String = pairs.iter().map(|(.., public)| public.as_str()).collect();
    let all = Keys::parse(all.as_bytes()).expect("keys");
    for (algorithm, key, public) in &pairs {
        let token = token(*algorithm, key, &claims());
        let own = Keys::parse(public.as_bytes()).expect("a key");
        for keys in [&own, &all] {
            let claims = rules().verify(keys, &token, NOW_S).expect("believed");
            assert_eq!((&*claims.username, claims.end_s), ("ann", Some(NOW_S + 65)));
            assert!(keys.knows(claims.key) && !secret().1.knows(claims.key));
        }
        assert_eq!(rules().verify(&secret().1, &token, NOW_S).err(), Some(BadToken::UnknownKey));
        // Signed by another key of the kind.
        let (_, other, _) =
            self::pairs().into_iter().find(|other| other.0 == *algorithm).expect("there");
        let forged = self::token(*algorithm, &other, &claims());
        assert_eq!(why(rules().verify(&own, &forged, NOW_S)), "the token's signature is wrong");
    }
}

/// RFC 8725, 3.1: what is public is no secret.
#[test]
fn a_public_key_is_no_secret() {
    for (_, _, public) in pairs() {
        let keys = Keys::parse(public.as_bytes()).expect("a key");
        let forged =
            token(Algorithm::HS256, &EncodingKey::from_secret(public.as_bytes()), &claims());
        assert_eq!(rules().verify(&keys, &forged, NOW_S).err(), Some(BadToken::UnknownKey));
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!("{}.{}.", part(json!({"alg": "none"})), part(claims()));
    assert!(rules().verify(&secret().1, &unsigned, NOW_S).is_err());
    assert_eq!(algorithm("none"), None);
    for text in ["", "secret", "a.b", "a.b.c", "..", "a.b.c.d"] {
        let outcome = rules().verify(&secret().1, text, NOW_S);
        assert_eq!(outcome.err(), Some(BadToken::NotAToken), "{text}");
    }
}

#[test]
fn keys_of_a_set_are_found_by_name() {
    let pairs = pairs();
    let key = |(algorithm, key, _): &(Algorithm, EncodingKey, String)| {
        let mut jwk = Jwk::from_encoding_key(key, *algorithm).expect("a key");
        jwk.common.key_id = Some(format!("{algorithm:?}"));
        serde_json::to_value(&jwk).expect("JSON")
    };
    // The library makes no such entry of a key with its public half in it.
    let (ed, ed_key) = {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("made");
        let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        let entry = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "EdDSA"});
        (entry, EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("Ed25519"))
    };
    let mut set: Vec<Value> = pairs[..3].iter().map(key).collect();
    set.push(ed);
    let keys = Keys::parse(json!({"keys": set}).to_string().as_bytes()).expect("keys");
    let ed = (Algorithm::EdDSA, ed_key, String::new());
    for (algorithm, key, _) in pairs[..3].iter().chain([&ed]) {
        let mut header = Header::new(*algorithm);
        header.kid = Some(format!("{algorithm:?}"));
        let token = encode(&header, &claims(), key).expect("signed");
        assert!(rules().verify(&keys, &token, NOW_S).is_ok(), "{algorithm:?}");
        header.kid = Some("other".into());
        let token = encode(&header, &claims(), key).expect("signed");
        assert_eq!(rules().verify(&keys, &token, NOW_S).err(), Some(BadToken::UnknownKey));
    }
}

#[test]
fn what_is_no_key_is_refused_with_a_reason() {
    let private = KeyPair::generate().expect("made").serialize_pem();
    for (text, what) in [
        ("", "neither"),
        ("hello", "neither"),
        (&*private, "private key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public"),
        ("{", "no JSON"),
        ("{}", "no key of a kind"),
        (r#"{"keys": 3}"#, "no list"),
        (r#"{"keys": [{"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}]}"#, "no key"),
        (r#"{"keys": [{"kty": "oct", "k": "AAAA", "alg": "RS256"}]}"#, "no key"),
    ] {
        let error = Keys::parse(text.as_bytes()).expect_err(text);
        assert!(error.0.contains(what), "{text}: {error}");
    }
    assert!(Keys::parse_secret(b"\n").is_err() && Keys::parse_secret(b"base64:!").is_err());
    let (_, doubt) = Keys::parse_secret(b"short\n").expect("a secret");
    assert!(doubt.is_some_and(|doubt| doubt.contains("5 bytes")));
}

#[test]
fn times_issuer_and_audience_have_to_be_right() {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    assert_eq!(why(verify(&rules(), &with("exp", json!(NOW_S - 5)))), "the token has expired");
    assert!(verify(&rules(), &with("exp", json!(NOW_S - 4))).is_ok(), "within the leeway");
    assert!(why(verify(&rules(), &with("exp", json!("soon")))).contains("no time"));
    assert!(why(verify(&rules(), &with("exp", Value::Null))).contains("no end"));
    let endless = TokenRules { endless: true, ..rules() };
    assert!(verify(&endless, &with("exp", Value::Null)).is_ok());
    assert!(why(verify(&rules(), &with("nbf", json!(NOW_S + 6)))).contains("not valid yet"));
    assert!(verify(&rules(), &with("nbf", json!(NOW_S + 5))).is_ok());

    let strict =
        TokenRules { issuers: vec!["me".into()], audiences: vec!["mqtt".into()], ..rules() };
    assert!(why(verify(&strict, &claims())).contains("no iss or no aud"));
    let mut full = with("iss", json!("me"));
    full["aud"] = json!(["web", "mqtt"]);
    assert!(verify(&strict, &full).is_ok());
    full["aud"] = json!("web");
    assert!(why(verify(&strict, &full)).contains("another audience"));
    full["aud"] = json!("mqtt");
    full["iss"] = json!("you");
    assert!(why(verify(&strict, &full)).contains("another issuer"));
    // RFC 7519, 4.1.3: a token for somebody else is not for us.
    assert!(why(verify(&rules(), &with("aud", json!("web")))).contains("another audience"));
    let only = TokenRules { algorithms: vec![Algorithm::HS512], ..rules() };
    assert!(why(verify(&only, &claims())).contains("jwt_algorithms"));
}

#[test]
fn claims_become_names_and_rights() {
    let mut rules = rules();
    rules.claims.client_id = "device.id".into();
    rules.claims.templates = vec!["write up/%{sub}/%{site}/#".into(), "read down/%c".into()];
    let mut claims = claims();
    assert!(why(verify(&rules, &claims)).contains("jwt_clientid_claim"));
    claims["device"] = json!({"id": 17});
    claims["site"] = json!("north");
    claims["acl"] = json!({"sub": ["news/#"]});
    let told = verify(&rules, &claims).expect("believed");
    assert_eq!(told.client_id.as_deref(), Some("17"));
    let granted = told.granted.expect("rights");
    let who = Who { client_id: "17", username: Some("ann") };
    let may = |access, topic| granted.allows(&who, access, topic);
    assert!(may(Access::Write, "up/ann/north/x") && !may(Access::Write, "up/ann/south/x"));
    assert!(may(Access::Read, "down/17") && may(Access::Subscribe, "news/+"));
    assert!(!may(Access::Read, "up/ann/north/x"));

    // What would reach further than its level makes no rule.
    for value in [json!("+"), json!("a/b"), json!("#"), json!("%u"), json!(["x"]), Value::Null] {
        claims["site"] = value.clone();
        let granted = verify(&rules, &claims).expect("believed").granted.expect("rights");
        assert!(!granted.allows(&who, Access::Write, "up/ann/north/x"), "{value}");
        assert!(granted.allows(&who, Access::Read, "down/17"), "{value}");
    }
    claims["acl"] = json!("everything");
    assert!(why(verify(&rules, &claims)).contains("jwt_acl_claim"));
    for template in ["read a/%{sub", "read a/%{}", "reed a", "read a/#/%{sub}"] {
        assert!(check_template(template).is_err(), "{template}");
    }
    assert_eq!(check_template("readwrite a/%{sub}/#"), Ok(()));
}

#[test]
fn a_user_has_a_name() {
    for name in [json!(""), json!("a\u{0}b"), json!(true), Value::Null] {
        let mut claims = claims();
        claims["sub"] = name.clone();
        assert!(why(verify(&rules(), &claims)).contains("no user name"), "{name}");
    }
}
