//! A service on this machine that other brokers' users have: it answers requests as it is told.

use crate::support::pki::Identity;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is answered to a path with a JSON document: status and body; `None`: nothing at all.
type Answer = dyn Fn(&str, &Value) -> Option<(u16, String)> + Send + Sync;

pub(super) struct Service {
    scheme: &'static str,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Service {
    pub(super) fn start(
        answer: impl Fn(&str, &Value) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        Self::over("http", Some, Box::new(answer))
    }

    /// The same over TLS.
    pub(super) fn secured(
        identity: &Identity,
        answer: impl Fn(&str, &Value) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.expect("PEM")], key);
        let config = Arc::new(config.expect("a certificate and its key"));
        let tls = move |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).ok()?;
            Some(StreamOwned::new(session, stream))
        };
        Self::over("https", tls, Box::new(answer))
    }

    fn over<S: Read + Write>(
        scheme: &'static str,
        layer: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
        answer: Box<Answer>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log): (Arc<Answer>, _) = (answer.into(), Arc::clone(&asked));
        let layer = Arc::new(layer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                let layer = Arc::clone(&layer);
                std::thread::spawn(move || serve(layer(stream)?, &*answer, &log));
            }
        });
        Self { scheme, address, asked }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The requests so far.
    pub(super) fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

/// One connection, with as many requests as it has. Without a body `Value::Null` is asked.
fn serve(
    stream: impl Read + Write,
    answer: &Answer,
    log: &Mutex<Vec<(String, Value)>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut len = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let header = header.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(text) = header.strip_prefix("content-length:") {
                len = text.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body).ok()?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        log.lock().expect("not poisoned").push((path.clone(), body.clone()));
        let Some((status, text)) = answer(&path, &body) else {
            // It has the request, and keeps the connection open.
            std::thread::sleep(std::time::Duration::from_secs(60));
            return None;
        };
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", text.len());
        reader.get_mut().write_all((head + &text).as_bytes()).ok()?;
        reader.get_mut().flush().ok()?;
    }
}
