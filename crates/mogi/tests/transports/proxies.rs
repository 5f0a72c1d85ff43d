//! Brokers behind a load balancer that says for whom it speaks.

use crate::scene::{connect, socket, tls_with, until_end};
use crate::support::pki::Pki;
use crate::support::{Broker, Dial, V311};
use std::io::Write;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// 9.8.7.6:4444 to 5.6.7.8:1883.
const ADDRESSES: [u8; 12] = [9, 8, 7, 6, 5, 6, 7, 8, 0x11, 0x5C, 0x07, 0x5B];

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = (rest.len() as u16).to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &len, rest].concat()
}

/// The field that says how the client came to the proxy.
fn tls_field(flags: u8, verify: u8, name: &str) -> Vec<u8> {
    let mut value = vec![flags, 0, 0, 0, verify, 0x22, 0, name.len() as u8];
    value.extend(name.as_bytes());
    [&ADDRESSES[..], &[0x20, 0, value.len() as u8], &value].concat()
}

/// What becomes of a CONNECT behind that header.
fn behind(broker: &Broker, header: &[u8]) -> Option<u8> {
    let mut stream = socket(broker.address());
    stream.write_all(header).expect("it takes the header");
    connect(&mut stream, &Dial::new(V311, "c"))
}

fn broker(lines: &str) -> Broker {
    Broker::start(&format!("listener {{port}} 127.0.0.1\n{lines}"))
}

#[test]
fn version_1_names_the_client() {
    let broker = broker("enable_proxy_protocol 1\n");
    assert_eq!(behind(&broker, b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 1883\r\n"), Some(0));
    broker.expect_log("New client connected from 1.2.3.4:1111 as c");
    assert_eq!(behind(&broker, b"PROXY TCP6 2001:db8::1 ::2 2222 1883\r\n"), Some(0));
    broker.expect_log("New client connected from 2001:db8::1:2222 as c");
    assert_eq!(behind(&broker, b"PROXY UNKNOWN\r\n"), Some(0));
    broker.expect_log("New client connected from 127.0.0.1:");
    assert_eq!(behind(&broker, b""), None, "no header");
    broker.expect_log("PROXY header: there is none");
    assert_eq!(behind(&broker, &v2(1, 0x11, &ADDRESSES)), None);
}

#[test]
fn version_2_names_the_client() {
    let broker = broker("enable_proxy_protocol 2\n");
    assert_eq!(behind(&broker, &v2(1, 0x11, &ADDRESSES)), Some(0));
    broker.expect_log("New client connected from 9.8.7.6:4444 as c");
    assert_eq!(behind(&broker, &v2(0, 0, &[])), Some(0), "a health check");
    broker.expect_log("New client connected from 127.0.0.1:");
    assert_eq!(behind(&broker, b"PROXY UNKNOWN\r\n"), None);
    assert_eq!(behind(&broker, &v2(1, 0x11, &[0; 4])), None);
}

#[test]
fn a_header_may_come_in_pieces() {
    let broker = broker("enable_proxy_protocol 2\n");
    let mut stream = socket(broker.address());
    for byte in v2(1, 0x11, &ADDRESSES) {
        stream.write_all(&[byte]).expect("it takes a byte");
    }
    assert_eq!(connect(&mut stream, &Dial::new(V311, "c")), Some(0));
    broker.expect_log("New client connected from 9.8.7.6:4444 as c");
}

#[test]
fn tls_before_the_proxy_can_be_asked_for() {
    let broker = broker("enable_proxy_protocol 2\nproxy_protocol_v2_require_tls true\n");
    assert_eq!(behind(&broker, &v2(1, 0x11, &ADDRESSES)), None);
    broker.expect_log("did not come over TLS");
    assert_eq!(behind(&broker, &v2(1, 0x11, &tls_field(1, 0, ""))), Some(0));
}

#[test]
fn the_certificate_the_proxy_has_seen_names_the_user() {
    let broker = broker(
        "enable_proxy_protocol 2\nrequire_certificate true\nuse_identity_as_username true\n",
    );
    assert_eq!(behind(&broker, &v2(1, 0x11, &tls_field(3, 0, "alice"))), Some(0));
    broker.expect_log("u'alice'");
    for (flags, verify) in [(1, 0), (3, 1)] {
        assert_eq!(behind(&broker, &v2(1, 0x11, &tls_field(flags, verify, "mallory"))), None);
    }
    assert!(!broker.log().contains("u'mallory'"));
}

#[test]
fn tls_may_come_behind_a_header_of_version_1() {
    let pki = Pki::new("ca");
    let broker = crate::scene::tls_broker(&pki, "enable_proxy_protocol 1\n");
    let config = crate::scene::client_config(&pki, None, rustls::DEFAULT_VERSIONS);
    let mut stream = tls_with(broker.address(), &config);
    stream.sock.write_all(b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 1883\r\n").expect("it takes it");
    crate::scene::works(&mut stream, "c");
    broker.expect_log("New client connected from 1.2.3.4:1111 as c");
}

#[test]
fn what_is_no_header_ends_the_connection() {
    let broker = broker("enable_proxy_protocol 1\n");
    let mut stream = socket(broker.address());
    stream.write_all(&[b'P'; 10_000]).expect("it takes it");
    assert_eq!(until_end(&mut stream), b"");
}
