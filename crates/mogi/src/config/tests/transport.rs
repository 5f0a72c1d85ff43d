//! Options of TLS, WebSocket and PROXY headers.

use super::{ExpectedThere, read, refusal};

/// An example of each, and how it is found at its listener.
pub(super) const EXAMPLES: &[(&str, ExpectedThere)] = &[
    ("cafile c\ncertfile a\nkeyfile b", |l| l.transport.cafile.as_deref() == Some("c")),
    ("capath c", |l| l.transport.capath.as_deref() == Some("c")),
    ("certfile a b\nkeyfile b", |l| l.transport.certfile.as_deref() == Some("a b")),
    ("ciphers HIGH:!x", |l| l.transport.ciphers.as_deref() == Some("HIGH:!x")),
    ("ciphers_tls1.3 x", |l| l.transport.ciphers_tls13.as_deref() == Some("x")),
    ("crlfile c", |l| l.transport.crlfile.as_deref() == Some("c")),
    ("disable_client_cert_date_checks true", |l| l.transport.ignore_dates),
    ("enable_proxy_protocol 2", |l| l.transport.proxy == 2),
    ("http_dir /", |l| l.transport.http_dir.is_some()),
    ("keyfile b\ncertfile a", |l| l.transport.keyfile.as_deref() == Some("b")),
    ("protocol websockets", |l| l.transport.websockets),
    ("proxy_protocol_v2_require_tls true", |l| l.transport.proxy_require_tls),
    ("require_certificate true", |l| l.transport.require_certificate),
    ("tls_version tlsv1.3", |l| l.transport.only_tls13),
    ("use_identity_as_username true", |l| l.transport.identity_as_username),
    ("use_subject_as_username true", |l| l.transport.subject_as_username),
    ("websockets_origin https://a", |l| l.transport.origins == ["https://a"]),
];

#[test]
fn a_listener_may_be_a_unix_socket() {
    let config = read("listener 0 /run/mogi socket\n");
    let listener = &config.listeners[0];
    assert_eq!((listener.port, listener.unix.as_deref()), (0, Some("/run/mogi")));
    assert!(refusal("listener 0\n").contains("must provide a Unix socket path"));
}

#[test]
fn a_websocket_request_has_room_for_what_it_needs() {
    assert_eq!(read("websockets_headers_size 1\n").max_head_bytes, 1024);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (line, what) in [
        ("protocol http_api", "'protocol http_api' is not built into mogi yet"),
        ("protocol quic", "Invalid 'protocol' value (quic)"),
        ("tls_version tlsv1.1", "'tls_version tlsv1.1' is broken"),
        ("tls_version sslv3", "Invalid 'tls_version' value (sslv3)"),
        ("enable_proxy_protocol 0", "enable_proxy_protocol must be 1 or 2"),
        ("http_dir /no/such/folder", "http_dir '/no/such/folder' is not a folder"),
    ] {
        let text = refusal(&format!("listener 1\n{line}\n"));
        assert!(text.contains(what) && text.contains("test.conf:2"), "{text}");
    }
}
