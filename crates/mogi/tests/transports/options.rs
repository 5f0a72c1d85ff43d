//! Options that do not go together, and files that are not what they should be: what is said.

use crate::scene::{TLS, with_files};
use crate::support::pki::Pki;
use crate::support::{Broker, Dial, V311};

/// The broker does not start with these lines, and says so.
#[track_caller]
fn refuses(lines: &str, expected: &str) {
    let pki = Pki::new("ca");
    let server = pki.server();
    let (status, log) = with_files(&pki, &server)
        .file("other.key", &pki.server().key)
        .conf(&lines.replace("LISTENER", "listener {port} 127.0.0.1\n"))
        .run();
    assert!(!status.success(), "{lines}: it starts");
    assert!(log.contains(expected), "{lines}\nsays:\n{log}");
}

#[test]
fn certificate_and_key_belong_together() {
    let both = "Error: Both certfile and keyfile must be provided to enable a TLS listener.";
    refuses("LISTENERcertfile {dir}/server.pem\n", both);
    refuses("LISTENERkeyfile {dir}/server.key\n", both);
    let alone = "Error: cafile specified without certfile and keyfile.";
    refuses("LISTENERcafile {dir}/ca.pem\n", alone);
    refuses(
        "LISTENERcertfile {dir}/nope\nkeyfile {dir}/server.key\n",
        "nope\". Check certfile. (No such file or directory)",
    );
    refuses(
        "LISTENERcertfile {dir}/server.key\nkeyfile {dir}/server.key\n",
        "server.key\". Check certfile. (there is no certificate in PEM in it)",
    );
    refuses(
        "LISTENERcertfile {dir}/server.pem\nkeyfile {dir}/nope\n",
        "Error: Unable to load server key file",
    );
    refuses(
        "LISTENERcertfile {dir}/server.pem\nkeyfile {dir}/other.key\n",
        "other.key\". Check keyfile. (it does not belong to the certificate)",
    );
}

#[test]
fn authorities_and_lists_have_to_be_there() {
    let with = |lines: &str| format!("{TLS}{lines}");
    refuses(
        &with("cafile {dir}/nope\nrequire_certificate true\n"),
        "Error: Unable to load CA certificates. Check cafile",
    );
    refuses(&with("require_certificate true\n"), "require_certificate needs a cafile or capath");
    refuses(
        &with("cafile {dir}/ca.pem\nrequire_certificate true\ncrlfile {dir}/ca.pem\n"),
        "Check crlfile. (there is no list in PEM in it)",
    );
}

#[test]
fn ciphers_nobody_has_are_named() {
    let with = |lines: &str| format!("{TLS}{lines}");
    refuses(&with("ciphers AES128-SHA\n"), "Check ciphers \"AES128-SHA\".");
    refuses(&with("ciphers_tls1.3 nope\n"), "Check ciphers_tls1.3 \"nope\".");
    refuses(&with("tls_version tlsv1.1\n"), "'tls_version tlsv1.1' is broken");
    if cfg!(not(feature = "openssl")) {
        refuses("LISTENERpsk_hint x\n", "'psk_hint' is not built into this mogi");
        refuses("psk_file {dir}/x\nLISTENER", "'psk_file' is not built into this mogi");
    }
    let pki = Pki::new("ca");
    let list = "ciphers ECDHE-ECDSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256\n";
    let broker = with_files(&pki, &pki.server()).conf(&with(list)).start();
    broker.expect_log("Warning: 'ciphers': there is no 'DHE-RSA-AES128-GCM-SHA256' here.");
}

#[test]
fn proxy_headers_and_certificates_go_together_as_mosquitto_says() {
    refuses(
        &format!("{TLS}enable_proxy_protocol 2\n"),
        "Error: certfile and keyfile cannot be used with `enable_proxy_protocol 2`.",
    );
    refuses(
        "LISTENERenable_proxy_protocol 2\nuse_subject_as_username true\n",
        "Error: use_subject_as_username cannot be used with `enable_proxy_protocol 2`.",
    );
    refuses("LISTENERenable_proxy_protocol 3\n", "Error: enable_proxy_protocol must be 1 or 2.");
}

#[test]
fn what_has_no_effect_is_said() {
    let broker = Broker::start(
        "listener {port} 127.0.0.1\nrequire_certificate true\nuse_identity_as_username true\n\
         proxy_protocol_v2_require_tls true\nhttp_dir /\n",
    );
    for text in [
        "asks for certificates and has no TLS",
        "takes user names from certificates, and has no TLS: that has no effect",
        "has 'proxy_protocol_v2_require_tls' without",
        "has 'http_dir' without 'protocol websockets'",
    ] {
        broker.expect_log(text);
    }
    broker.client(V311, "it is let in").ping();
    let pki = Pki::new("ca");
    let broker = crate::scene::tls_broker(&pki, "use_identity_as_username true\n");
    broker.expect_log("takes user names from certificates, and asks for none: it lets nobody in");
    let mut stream = crate::scene::tls(&broker, &pki, None);
    let dial = Dial::new(V311, "c");
    assert_eq!(crate::scene::connect(&mut stream, &dial), Some(4));
}
