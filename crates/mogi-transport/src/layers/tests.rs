use super::*;
use crate::tls_config::{self, TlsFiles, TlsRules};
use proptest::prelude::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{Read, Write};
use std::sync::LazyLock;

/// What both ends of a connection agree with.
struct Ends {
    plan: LayersPlan,
    client: Arc<ClientConfig>,
}

static ENDS: LazyLock<Ends> = LazyLock::new(|| {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let files = TlsFiles {
        certificates: made.cert.pem().into_bytes(),
        key: made.signing_key.serialize_pem().into_bytes(),
        ..TlsFiles::default()
    };
    let config = tls_config::build(&files, &TlsRules::default()).unwrap_or_else(|problem| {
        panic!("{problem:?}");
    });
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(&files.certificates).expect("PEM");
    roots.add(certificate).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let plan = LayersPlan { tls: Some(config.server.into()), ..LayersPlan::default() };
    Ends { plan, client: Arc::new(client) }
});

/// A connection's server side, fed in pieces.
struct Server {
    layers: Layers,
    plain: Vec<u8>,
    out: Vec<u8>,
}

impl Server {
    fn new(plan: &LayersPlan) -> Self {
        let layers = Layers::new(plan).expect("it begins").expect("there are some");
        Self { layers, plain: Vec::new(), out: Vec::new() }
    }

    fn feed(&mut self, bytes: &[u8], step: usize) -> Result<(), Failure> {
        for piece in bytes.chunks(step.max(1)) {
            let mut raw = self.layers.kept().to_vec();
            raw.extend(piece);
            let mut plain = vec![0; raw.len() + 64];
            let received = self.layers.receive(&mut raw, &mut plain, true, &mut self.out)?;
            self.plain.extend(&plain[..received.filled]);
        }
        Ok(())
    }
}

fn client() -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::clone(&ENDS.client), name).expect("a session")
}

/// What the client wants to send.
fn written(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).expect("writes to memory");
    }
    bytes
}

/// Lets the client read what the server has to send; what was in it for it.
fn read(client: &mut ClientConnection, server: &mut Server) -> Vec<u8> {
    let sent = std::mem::take(&mut server.out);
    let mut rest = &sent[..];
    let mut plain = Vec::new();
    while !rest.is_empty() {
        client.read_tls(&mut rest).expect("reads from memory");
        client.process_new_packets().expect("the server keeps the rules");
        let mut part = [0; 4096];
        while let Ok(len @ 1..) = client.reader().read(&mut part) {
            plain.extend(&part[..len]);
        }
    }
    plain
}

/// Both after their handshake, of which the server gets `step` bytes at a time.
fn met(plan: &LayersPlan, step: usize) -> (ClientConnection, Server) {
    let (mut client, mut server) = (client(), Server::new(plan));
    for _ in 0..4 {
        let bytes = written(&mut client);
        server.feed(&bytes, step).expect("a client of good manners");
        read(&mut client, &mut server);
    }
    assert!(!client.is_handshaking() && !server.layers.is_handshaking());
    (client, server)
}

#[test]
fn handshakes_and_messages_may_come_in_pieces() {
    for step in [1, 3, 100, 1000, usize::MAX] {
        let (mut client, mut server) = met(&ENDS.plan, step);
        let message = b"a message".repeat(5000);
        client.writer().write_all(&message).expect("it is taken");
        let bytes = written(&mut client);
        // What is sent in between does not disturb what is half received.
        let (begin, end) = bytes.split_at(bytes.len() / 2);
        server.feed(begin, step).expect("a good one");
        let mut out = Vec::new();
        server.layers.seal(b"answer", &mut out).expect("it is sealed");
        server.out.extend(out);
        server.feed(end, step).expect("a good one");
        assert!(server.plain == message, "in pieces of {step}");
        assert_eq!(read(&mut client, &mut server), b"answer");
    }
}

#[test]
fn new_keys_may_be_asked_for_at_any_time() {
    let (mut client, mut server) = met(&ENDS.plan, 7);
    for _ in 0..3 {
        client.refresh_traffic_keys().expect("TLS 1.3");
        client.writer().write_all(b"x").expect("it is taken");
        let bytes = written(&mut client);
        // Half of a record with a message of the handshake lies there while something is sent.
        let (begin, end) = bytes.split_at(bytes.len() / 3);
        server.feed(begin, 1).expect("a good one");
        let mut out = Vec::new();
        server.layers.seal(b"y", &mut out).expect("it is sealed");
        server.out.extend(out);
        server.feed(end, 5).expect("a good one");
        assert_eq!(read(&mut client, &mut server), b"y");
    }
    assert_eq!(server.plain, b"xxx");
}

#[test]
fn an_end_is_said_and_understood() {
    let (mut client, mut server) = met(&ENDS.plan, 100);
    client.send_close_notify();
    let bytes = written(&mut client);
    let mut plain = vec![0; bytes.len() + 64];
    let mut raw = bytes;
    let received = server.layers.receive(&mut raw, &mut plain, true, &mut server.out);
    assert_eq!(received, Ok(Received { closed: true, ..Received::default() }));
    server.layers.close(&mut server.out);
    let mut sent = &server.out[..];
    client.read_tls(&mut sent).expect("reads from memory");
    assert!(client.process_new_packets().expect("in order").peer_has_closed());
}

/// Whatever is wrong, the client is told once, and nothing more is said.
#[test]
fn a_failure_is_told_once() {
    for bytes in [&b"\x10\x0d\0\x04MQTT"[..], b"GET / HTTP/1.1\r\n\r\n", &[22, 3, 3, 0xFF, 0xFF]] {
        let mut server = Server::new(&ENDS.plan);
        assert!(server.feed(bytes, usize::MAX).is_err());
        let told = server.out.len();
        assert!(told <= 16, "an alert and no more");
        server.layers.close(&mut server.out);
        assert_eq!(server.out.len(), told);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A client that breaks the rules at any place, during the handshake or after it, is refused;
    /// nothing worse happens.
    #[test]
    fn broken_records_are_refused(
        at in 0usize..3000,
        change in any::<u8>(),
        cut in 0usize..3000,
        step in 1usize..600,
        after in any::<bool>(),
    ) {
        let (mut client, mut server) = if after {
            met(&ENDS.plan, 500)
        } else {
            (client(), Server::new(&ENDS.plan))
        };
        if after {
            client.refresh_traffic_keys().expect("TLS 1.3");
            client.writer().write_all(&[b'x'; 1000]).expect("it is taken");
        }
        let mut bytes = written(&mut client);
        let len = bytes.len();
        bytes[at % len] ^= change;
        bytes.truncate(cut % len + 1);
        let result = server.feed(&bytes, step);
        let mut out = Vec::new();
        let sealed = server.layers.seal(b"answer", &mut out);
        prop_assert!(result.is_ok() || sealed.is_err());
        server.layers.close(&mut out);
    }

    /// The same of what was never TLS, WebSocket or a PROXY header.
    #[test]
    fn garbage_is_harmless(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        step in 1usize..600,
        layers in 0u8..8,
    ) {
        let plan = LayersPlan {
            proxy: (layers & 1 != 0).then(|| {
                let v2 = layers & 4 != 0;
                ProxyRules { v2, ..ProxyRules::default() }
            }),
            tls: (layers & 2 != 0).then(|| ENDS.plan.tls.clone()).flatten(),
            websocket: Some(Arc::new(WebSocketRules {
                max_head_bytes: 1024,
                ..WebSocketRules::default()
            })),
        };
        let mut server = Server::new(&plan);
        let _ = server.feed(&bytes, step);
        prop_assert!(server.plain.len() <= bytes.len());
        server.layers.close(&mut server.out);
    }
}
