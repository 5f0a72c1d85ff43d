//! mogi's own tools over TLS, WebSocket and Unix sockets.

use crate::scene::{MUTUAL, TLS, with_files};
use crate::support::pki::Pki;
use crate::support::{Broker, V311};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

/// Runs a tool in the broker's folder; `{port}` in its arguments is the broker's.
fn run(broker: &Broker, args: &str) -> Output {
    let port = broker.port().to_string();
    let words = args.split(' ').map(|word| word.replace("{port}", &port));
    let mut command = Command::new(env!("CARGO_BIN_EXE_mogi"));
    command.args(words).current_dir(broker.dir()).env("HOME", "/").output().expect("it runs")
}

/// A retained message goes in and comes out by these flags.
#[track_caller]
fn round(broker: &Broker, how: &str) {
    // Larger than one record, one frame and what a tool reads at once.
    let payload = "0123456789".repeat(30_000);
    std::fs::write(broker.dir().join("payload"), &payload).expect("cannot write");
    let sent = run(broker, &format!("pub {how} -t t -r -q 2 -f payload"));
    assert!(sent.status.success(), "{how}: {}", String::from_utf8_lossy(&sent.stderr));
    let got = run(broker, &format!("sub {how} -t t -q 2 -C 1 -W 20"));
    let text = String::from_utf8_lossy(&got.stdout);
    assert!(text.trim_end() == payload, "{how}: {}", String::from_utf8_lossy(&got.stderr));
}

#[track_caller]
fn fails(broker: &Broker, how: &str, why: &str) {
    let ran = run(broker, &format!("pub {how} -t t -m x"));
    let text = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && text.contains(why), "{how}: {text}");
}

#[test]
fn tools_speak_tls() {
    let pki = Pki::new("ca");
    let broker = crate::scene::tls_broker(&pki, "");
    round(&broker, "-h localhost -p {port} --cafile ca.pem");
    round(&broker, "-h localhost -p {port} --cafile ca.pem --tls-version tlsv1.3");
    let how = "-h localhost -p {port} --cafile ca.pem --tls-version tlsv1.2 --ciphers";
    round(&broker, &format!("{how} nonsense:ECDHE-ECDSA-CHACHA20-POLY1305"));
    fails(&broker, &format!("{how} AES128-SHA"), "--ciphers: there is none of 'AES128-SHA'");
    fails(&broker, "-h localhost -p {port} --tls-use-os-certs", "UnknownIssuer");
    // The certificate has this name, but not the other.
    fails(&broker, "-h 127.0.0.2 -p {port} --cafile ca.pem", "Connection refused");
    let alice = pki.client("alice");
    let broker = with_files(&pki, &pki.server())
        .file("alice.pem", &alice.certificate)
        .file("alice.key", &alice.key)
        .conf(&format!("{TLS}{MUTUAL}use_identity_as_username true\n"))
        .start();
    round(&broker, "-h localhost -p {port} --cafile ca.pem --cert alice.pem --key alice.key");
    broker.expect_log("u'alice'");
    let half = "Both --cert and --key must be provided";
    fails(&broker, "-h localhost -p {port} --cafile ca.pem --cert alice.pem", half);
    fails(&broker, "-h localhost -p {port} --cafile nope", "nope: No such file");
}

#[test]
fn names_count_unless_told_otherwise() {
    let pki = Pki::new("ca");
    let broker = with_files(&pki, &pki.server_named("elsewhere.example")).conf(TLS).start();
    let how = "-h localhost -p {port} --cafile ca.pem";
    fails(&broker, how, "certificate not valid for name");
    round(&broker, &format!("{how} --insecure"));
    // Who has signed it counts in any case.
    fails(&broker, "-h localhost -p {port} --tls-use-os-certs --insecure", "UnknownIssuer");
}

#[test]
fn tools_speak_websocket() {
    let pki = Pki::new("ca");
    let broker = Broker::start("listener {port} 127.0.0.1\nprotocol websockets\n");
    round(&broker, "-h 127.0.0.1 -p {port} --ws");
    let url = run(&broker, "pub -L ws://localhost:{port}/from/url -m x");
    assert!(url.status.success(), "{}", String::from_utf8_lossy(&url.stderr));
    let broker = crate::scene::tls_broker(&pki, "protocol websockets\n");
    round(&broker, "-h localhost -p {port} --ws --cafile ca.pem");
    let url = run(&broker, "pub -L wss://localhost:{port}/from/url -m x --cafile ca.pem");
    assert!(url.status.success(), "{}", String::from_utf8_lossy(&url.stderr));
    let plain = Broker::start("");
    plain.client(V311, "it is there").ping();
    fails(&plain, "-h localhost -p {port} --ws -W 5", "");
}

/// Mosquitto ends secure WebSockets with bytes that are no TLS: they end the conversation and not
/// the tool.
#[test]
fn what_is_no_tls_at_the_end_is_an_end() {
    let pki = Pki::new("ca");
    let server = pki.server();
    let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).expect("PEM");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate and its key");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let served = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a client");
        let session = rustls::ServerConnection::new(config.into()).expect("a session");
        let mut stream = rustls::StreamOwned::new(session, socket);
        let mut seen = Vec::new();
        while !seen.ends_with(&[0xE0, 0]) {
            let mut part = [0; 1000];
            let read = stream.read(&mut part).expect("packets");
            assert!(read > 0, "it ends before DISCONNECT");
            if seen.is_empty() {
                stream.write_all(&[0x20, 2, 0, 0]).expect("it takes CONNACK");
            }
            seen.extend(&part[..read]);
        }
        for _ in 0..5 {
            // It may have enough of this.
            let _ = stream.sock.write_all(&[0x88, 2, 3, 0xE8, 0, 0, 0, 0]);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    });
    let broker = with_files(&pki, &server).start();
    let ran = run(&broker, &format!("pub -h localhost -p {port} --cafile ca.pem -t t -m x -V 311"));
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    served.join().expect("it has served");
}
