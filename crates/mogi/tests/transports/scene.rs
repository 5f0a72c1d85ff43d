//! Brokers with certificates, and clients that reach them by TLS and WebSocket.

use crate::support::broker::Setup;
use crate::support::pki::{Identity, Pki};
use crate::support::{Broker, Dial, PATIENCE, Version};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// A listener's TLS.
pub(crate) const TLS: &str = "listener {port} 127.0.0.1\ncertfile {dir}/server.pem\n\
                              keyfile {dir}/server.key\n";
/// And what asks for clients' certificates.
pub(crate) const MUTUAL: &str = "cafile {dir}/ca.pem\nrequire_certificate true\n";

/// A broker's files, to be configured.
pub(crate) fn with_files(pki: &Pki, server: &Identity) -> Setup {
    Broker::setup()
        .file("ca.pem", &pki.authority)
        .file("server.pem", &server.certificate)
        .file("server.key", &server.key)
}

/// A broker with TLS, and more lines for its listener.
#[track_caller]
pub(crate) fn tls_broker(pki: &Pki, lines: &str) -> Broker {
    with_files(pki, &pki.server()).conf(&format!("{TLS}{lines}")).start()
}

/// A TLS connection.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A socket that gives up in the end.
#[track_caller]
pub(crate) fn socket(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("cannot connect to the broker");
    stream.set_nodelay(true).expect("cannot set TCP_NODELAY");
    stream.set_read_timeout(Some(PATIENCE)).expect("cannot set a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("cannot set a timeout");
    stream
}

/// What a TLS client trusts and shows.
pub(crate) fn client_config(
    pki: &Pki,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(pki.authority.as_bytes()).expect("PEM");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(vec![chain.expect("PEM")], key).expect("they fit")
        }
    })
}

/// A TLS connection whose handshake is not done yet.
#[track_caller]
pub(crate) fn tls_with(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsStream {
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
    StreamOwned::new(session, socket(address))
}

/// The same, with what is usual.
#[track_caller]
pub(crate) fn tls(broker: &Broker, pki: &Pki, identity: Option<&Identity>) -> TlsStream {
    tls_with(broker.address(), &client_config(pki, identity, rustls::DEFAULT_VERSIONS))
}

/// Sends a CONNECT; the CONNACK's code, or `None` if the connection ends.
#[track_caller]
pub(crate) fn connect(stream: &mut (impl Read + Write), dial: &Dial) -> Option<u8> {
    if stream.write_all(&dial.bytes()).and_then(|()| stream.flush()).is_err() {
        return None;
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).ok()?;
    assert_eq!(head[0], 0x20, "no CONNACK");
    // What is left of a 5.0 CONNACK is its properties.
    let mut rest = vec![0; usize::from(head[1]) - 2];
    stream.read_exact(&mut rest).ok()?;
    Some(head[3])
}

/// Connects with a name of its own and checks that packets go both ways.
#[track_caller]
pub(crate) fn works(stream: &mut (impl Read + Write), name: &str) {
    assert_eq!(connect(stream, &Dial::new(Version::V311, name)), Some(0), "{name}");
    ping(stream);
}

/// PINGREQ, and its answer.
#[track_caller]
pub(crate) fn ping(stream: &mut (impl Read + Write)) {
    stream.write_all(&[0xC0, 0]).and_then(|()| stream.flush()).expect("it takes a PINGREQ");
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, [0xD0, 0]);
}

/// Reads until the connection ends, which it has to.
#[track_caller]
pub(crate) fn until_end(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return all,
            Ok(read) => all.extend(&part[..read]),
            Err(error) => {
                let waited = matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
                assert!(!waited, "the connection does not end");
                return all;
            }
        }
    }
}
