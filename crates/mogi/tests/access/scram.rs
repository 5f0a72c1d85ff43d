//! SCRAM-SHA-256 by AUTH packets.

use crate::support::{Broker, Client, Dial, Id, Out, PacketKind, Reason, V5};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use mogi_auth::scram::{SALT_BYTES, Verifier};
use mogi_codec::{Auth, PropertyBuf, Version};
use sha2::{Digest, Sha256};

const METHOD: &str = "SCRAM-SHA-256";
const FIRST: &str = "n,,n=ann,r=abcdef";

fn users(users: &[(&str, &str)]) -> String {
    let line = |(user, password): &(&str, &str)| {
        format!("{user}:{}\n", Verifier::new(password.as_bytes(), &[7; SALT_BYTES], 50))
    };
    users.iter().map(line).collect()
}

fn broker() -> Broker {
    let conf = "allow_anonymous false\nlog_type all\nscram_file {dir}/scram\n";
    Broker::setup().conf(conf).file("scram", &users(&[("ann", "secret"), ("bob", "x")])).start()
}

fn dial(first: &str) -> Dial {
    let dial = Dial::new(V5, "c").str(Id::AuthenticationMethod, METHOD);
    dial.data(Id::AuthenticationData, first.as_bytes())
}

fn auth(reason: Reason, method: &str, data: &str) -> Vec<u8> {
    let mut properties = PropertyBuf::new();
    properties.str(Id::AuthenticationMethod, method);
    properties.bytes(Id::AuthenticationData, data.as_bytes());
    let mut packet = Vec::new();
    Auth { reason, properties: properties.as_properties() }.encode(Version::V5, &mut packet);
    packet
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// The client's answer to the server's first message, and what the server has to say then.
fn answer(first: &str, server_first: &str, password: &str) -> (String, String) {
    let part = |name: &str| {
        let part = server_first.split(',').find_map(|part| part.strip_prefix(name));
        part.expect("there").to_owned()
    };
    let (nonce, salt, iterations) = (part("r="), part("s="), part("i="));
    let salt = STANDARD.decode(salt).expect("base64");
    let mut salted = [0; 32];
    let iterations = iterations.parse().expect("a number");
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, iterations, &mut salted);
    let client_key = mac(&salted, b"Client Key");
    let without_proof = format!("c=biws,r={nonce}");
    let bare = first.strip_prefix("n,,").expect("no channel binding");
    let said = format!("{bare},{server_first},{without_proof}");
    let signature = mac(&Sha256::digest(client_key), said.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let server = STANDARD.encode(mac(&mac(&salted, b"Server Key"), said.as_bytes()));
    (format!("{without_proof},p={}", STANDARD.encode(proof)), format!("v={server}"))
}

/// Takes an AUTH packet; its reason code and what it says.
fn expect_auth(client: &mut Client) -> (u8, String) {
    let frame = client.expect(PacketKind::Auth);
    let props = frame.props();
    assert_eq!(props.str(Id::AuthenticationMethod), Some(METHOD));
    let data = props.bytes(Id::AuthenticationData).unwrap_or_default();
    (frame.code(), String::from_utf8(data.to_vec()).expect("text"))
}

fn log_in(broker: &Broker, password: &str) -> (Client, String) {
    let mut client = broker.dial(&dial(FIRST));
    let (code, server_first) = expect_auth(&mut client);
    assert_eq!(code, 0x18);
    let (last, server) = answer(FIRST, &server_first, password);
    client.send(&auth(Reason::ContinueAuthentication, METHOD, &last));
    (client, server)
}

#[test]
fn client_and_broker_show_each_other_that_they_know_the_password() {
    let broker = broker();
    let (mut client, server) = log_in(&broker, "secret");
    let connack = client.expect_connack(0);
    let props = connack.props();
    assert_eq!(props.str(Id::AuthenticationMethod), Some(METHOD));
    assert_eq!(props.bytes(Id::AuthenticationData), Some(server.as_bytes()));
    client.subscribe("a", 0);
    client.publish(Out::new("a", "x"));
    client.expect_message("a", "x");
    broker.expect_log("u'ann'");
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let broker = broker();
    let (mut client, _) = log_in(&broker, "wrong");
    client.expect_connack(0x87);
    client.expect_closed();
    broker.expect_log("Login failed from 127.0.0.1");
    let first = FIRST.replace("ann", "zoe");
    let mut client = broker.dial(&dial(&first));
    let (_, server_first) = expect_auth(&mut client);
    let (last, _) = answer(&first, &server_first, "secret");
    client.send(&auth(Reason::ContinueAuthentication, METHOD, &last));
    client.expect_connack(0x87);
    client.expect_closed();
}

/// [MQTT-4.12.0-1], [MQTT-4.12.0-2], [MQTT-4.12.0-5]
#[test]
fn what_is_not_of_the_exchange_ends_it() {
    let broker = broker();
    let other = Dial::new(V5, "c").str(Id::AuthenticationMethod, "PLAIN");
    broker.dial(&other).expect_connack(0x8C);
    broker.dial(&dial("nonsense")).expect_connack(0x87);
    let named = dial(FIRST).username("bob");
    broker.dial(&named).expect_connack(0x87);
    broker.expect_log("the user name of CONNECT is another one");
    for bytes in [
        vec![0xC0, 0],
        auth(Reason::ContinueAuthentication, "PLAIN", "x"),
        auth(Reason::Reauthenticate, METHOD, "x"),
        vec![0xF0, 0],
    ] {
        let mut client = broker.dial(&dial(FIRST));
        expect_auth(&mut client);
        client.send(&bytes);
        client.expect_connack(0x82);
        client.expect_closed();
    }
    // A method needs somebody to know users by it.
    let without = Broker::start("");
    without.dial(&dial(FIRST)).expect_connack(0x8C);
}

/// Section 4.12.1.
#[test]
fn a_connected_client_authenticates_anew() {
    let broker = broker();
    let (mut client, _) = log_in(&broker, "secret");
    client.expect_connack(0);
    client.subscribe("a", 0);
    for _ in 0..2 {
        client.send(&auth(Reason::Reauthenticate, METHOD, FIRST));
        let (code, server_first) = expect_auth(&mut client);
        assert_eq!(code, 0x18);
        // It may be used meanwhile ([MQTT-4.12.1-1]).
        client.publish(Out::new("a", "between"));
        client.expect_message("a", "between");
        let (last, server) = answer(FIRST, &server_first, "secret");
        client.send(&auth(Reason::ContinueAuthentication, METHOD, &last));
        assert_eq!(expect_auth(&mut client), (0, server));
    }
    client.ping();
    // [MQTT-4.12.1-2]: whoever fails has to leave.
    client.send(&auth(Reason::Reauthenticate, METHOD, FIRST));
    let (_, server_first) = expect_auth(&mut client);
    let (last, _) = answer(FIRST, &server_first, "wrong");
    client.send(&auth(Reason::ContinueAuthentication, METHOD, &last));
    client.expect_disconnect(0x87);
}

#[test]
fn nobody_becomes_somebody_else_by_authenticating_anew() {
    let broker = broker();
    let (mut client, _) = log_in(&broker, "secret");
    client.expect_connack(0);
    client.send(&auth(Reason::Reauthenticate, METHOD, &FIRST.replace("ann", "bob")));
    client.expect_disconnect(0x87);
    let (mut client, _) = log_in(&broker, "secret");
    client.expect_connack(0);
    client.send(&auth(Reason::ContinueAuthentication, METHOD, "x"));
    client.expect_disconnect(0x82);
}

#[test]
fn a_verifier_that_is_taken_away_takes_its_clients_along() {
    let broker = broker();
    let (mut client, _) = log_in(&broker, "secret");
    client.expect_connack(0);
    std::fs::write(broker.dir().join("scram"), users(&[("bob", "x")])).expect("written");
    broker.signal(nix::sys::signal::Signal::SIGHUP);
    client.expect_disconnect(0x98);
}

/// With a file that `mogi passwd` has made.
#[test]
fn users_are_made_with_mogi_passwd() {
    let folder = broker();
    let file = folder.dir().join("made");
    let args = ["passwd", "-c", "-b", "-H", "scram-sha-256", "-I", "60"];
    let mogi = std::process::Command::new(env!("CARGO_BIN_EXE_mogi"))
        .args(args)
        .arg(&file)
        .args(["ann", "new"])
        .output()
        .expect("it runs");
    assert!(mogi.status.success(), "{mogi:?}");
    let text = std::fs::read_to_string(file).expect("read");
    assert!(text.starts_with("ann:SCRAM-SHA-256$60:"), "{text}");
    let conf = "allow_anonymous false\nscram_file {dir}/scram\n";
    let broker = Broker::setup().conf(conf).file("scram", &text).start();
    log_in(&broker, "new").0.expect_connack(0);
}

#[test]
fn an_exchange_that_is_not_finished_is_ended() {
    let conf = "allow_anonymous false\nscram_file {dir}/scram\nconnect_timeout 1\n";
    let broker = Broker::setup().conf(conf).file("scram", &users(&[("ann", "secret")])).start();
    // Some CONNECTs are there when the connection is accepted, some come after it.
    let mut clients: Vec<_> = (0..16).map(|_| broker.dial(&dial(FIRST))).collect();
    clients.iter_mut().for_each(|client| drop(expect_auth(client)));
    clients.iter_mut().for_each(Client::expect_closed);
    broker.expect_log("exceeded timeout");
}
