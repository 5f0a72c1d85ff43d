//! Whose certificates are accepted, and what names they give.

use crate::scene::{
    MUTUAL, TLS, client_config, connect, tls, tls_broker, tls_with, with_files, works,
};
use crate::support::pki::{Pki, Validity};
use crate::support::{Broker, Dial, V5, V311};
use rustls::version::{TLS12, TLS13};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn both_versions_of_tls_work() {
    let pki = Pki::new("ca");
    let broker = tls_broker(&pki, "log_type all\n");
    for (version, name) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let config = client_config(&pki, None, &[version]);
        works(&mut tls_with(broker.address(), &config), "both");
        broker.expect_log(&format!("Client both negotiated {name} cipher TLS_"));
    }
    let only_13 = tls_broker(&pki, "tls_version tlsv1.3\n");
    let old = client_config(&pki, None, &[&TLS12]);
    assert_eq!(connect(&mut tls_with(only_13.address(), &old), &Dial::new(V311, "a")), None);
    works(&mut tls(&only_13, &pki, None), "new");
}

#[test]
fn a_session_is_resumed_where_no_certificate_is_asked_for() {
    let pki = Pki::new("ca");
    for (lines, identity, expected) in [
        ("", None, rustls::HandshakeKind::Resumed),
        (MUTUAL, Some(pki.client("alice")), rustls::HandshakeKind::Full),
    ] {
        let broker = tls_broker(&pki, lines);
        for version in [&TLS12, &TLS13] {
            let config = client_config(&pki, identity.as_ref(), &[version]);
            works(&mut tls_with(broker.address(), &config), "first");
            let mut again = tls_with(broker.address(), &config);
            works(&mut again, "second");
            assert_eq!(again.conn.handshake_kind(), Some(expected), "{version:?}");
        }
    }
}

#[test]
fn ciphers_are_those_of_the_lists() {
    let pki = Pki::new("ca");
    let broker = tls_broker(
        &pki,
        "ciphers ECDHE-ECDSA-CHACHA20-POLY1305\nciphers_tls1.3 TLS_AES_128_GCM_SHA256\n",
    );
    for (version, expected) in [
        (&TLS12, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        (&TLS13, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256),
    ] {
        let mut stream = tls_with(broker.address(), &client_config(&pki, None, &[version]));
        works(&mut stream, "c");
        let suite = stream.conn.negotiated_cipher_suite().expect("agreed on");
        assert_eq!(suite.suite(), expected);
    }
}

#[test]
fn a_certificate_is_asked_for_and_verified() {
    let (pki, other) = (Pki::new("ca"), Pki::new("other"));
    let broker = tls_broker(&pki, MUTUAL);
    works(&mut tls(&broker, &pki, Some(&pki.client("alice"))), "good");
    let dial = Dial::new(V311, "bad");
    assert_eq!(connect(&mut tls(&broker, &pki, None), &dial), None, "none shown");
    let foreign = other.client("alice");
    assert_eq!(connect(&mut tls(&broker, &pki, Some(&foreign)), &dial), None, "not ours");
    let expired = pki.client_for("alice", Validity::Expired);
    assert_eq!(connect(&mut tls(&broker, &pki, Some(&expired)), &dial), None, "too old");
    broker.expect_log("TLS: peer sent no certificates");
    broker.expect_log("TLS: invalid peer certificate: UnknownIssuer");
    broker.expect_log("certificate expired");
    // Mosquitto asks nobody for a certificate where none is required.
    let asks_nobody = tls_broker(&pki, "cafile {dir}/ca.pem\n");
    works(&mut tls(&asks_nobody, &pki, Some(&foreign)), "not asked");
}

#[test]
fn dates_may_be_left_out_of_account() {
    let pki = Pki::new("ca");
    let broker = tls_broker(&pki, &format!("{MUTUAL}disable_client_cert_date_checks true\n"));
    let expired = pki.client_for("alice", Validity::Expired);
    works(&mut tls(&broker, &pki, Some(&expired)), "old");
    let foreign = Pki::new("other").client_for("alice", Validity::Expired);
    let dial = Dial::new(V311, "bad");
    assert_eq!(connect(&mut tls(&broker, &pki, Some(&foreign)), &dial), None, "nobody's and old");
}

#[test]
fn revoked_certificates_are_refused() {
    let pki = Pki::new("ca");
    let (good, bad) = (pki.client("good"), pki.client("bad"));
    let broker = with_files(&pki, &pki.server())
        .file("crl.pem", &pki.revoke(&[&bad]))
        .conf(&format!("{TLS}{MUTUAL}crlfile {{dir}}/crl.pem\n"))
        .start();
    works(&mut tls(&broker, &pki, Some(&good)), "good");
    assert_eq!(connect(&mut tls(&broker, &pki, Some(&bad)), &Dial::new(V311, "bad")), None);
    broker.expect_log("Revoked");
}

#[test]
fn the_certificate_names_the_user() {
    let pki = Pki::new("ca");
    let alice = pki.client("alice");
    let claims = Dial::new(V5, "c").username("mallory").password("x");
    let broker = tls_broker(
        &pki,
        &format!("{MUTUAL}use_identity_as_username true\nallow_anonymous false\n"),
    );
    assert_eq!(connect(&mut tls(&broker, &pki, Some(&alice)), &claims), Some(0));
    broker.expect_log("u'alice'");
    let nameless = pki.client("");
    let code = connect(&mut tls(&broker, &pki, Some(&nameless)), &claims);
    assert_eq!(code, Some(0x86));
    let broker = tls_broker(&pki, &format!("{MUTUAL}use_subject_as_username true\n"));
    assert_eq!(connect(&mut tls(&broker, &pki, Some(&alice)), &claims), Some(0));
    broker.expect_log("u'CN=alice,O=Acme'");
    let as_id = format!("{MUTUAL}use_identity_as_username true\nuse_username_as_clientid true\n");
    let broker = tls_broker(&pki, &as_id);
    assert_eq!(connect(&mut tls(&broker, &pki, Some(&alice)), &claims), Some(0));
    broker.expect_log(" as alice (");
}

/// `openssl x509 -req` makes certificates of version 1 where nobody tells it otherwise, and so do
/// the instructions people have followed for years.
#[test]
fn certificates_of_version_1_are_good_enough() {
    let pki = Pki::new("ca");
    let dir = Pki::new("old").authority.len();
    let folder = std::env::temp_dir().join(format!("mogi-v1-{}-{dir}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let script = "set -e; \
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 \
          -subj /CN=ca; \
        for name in good bad; do \
          openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name; \
          openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
            -out $name.pem -days 30; \
          openssl x509 -in $name.pem -noout -text | grep -q 'Version: 1'; \
        done; \
        touch index; echo 01 > number; \
        printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\ncrlnumber=number\\n\
                default_md=sha256\\ndefault_crl_days=30\\n' > ca.conf; \
        openssl ca -config ca.conf -cert ca.pem -keyfile ca.key -revoke bad.pem; \
        openssl ca -config ca.conf -cert ca.pem -keyfile ca.key -gencrl -out crl.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(&folder).output();
    let made = made.expect("cannot run openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("it was made");
    let broker = with_files(&pki, &pki.server())
        .file("ca.pem", &read("ca.pem"))
        .file("crl.pem", &read("crl.pem"))
        .conf(&format!("{TLS}{MUTUAL}crlfile {{dir}}/crl.pem\nuse_identity_as_username true\n"))
        .start();
    // rustls' client does not read such certificates, so the tool it comes from is the client.
    let talk = |name: &str, version: &str| {
        let script = format!(
            "(printf '\\020\\015\\000\\004MQTT\\004\\002\\000\\074\\000\\001a'; sleep 1) | \
             timeout 20 openssl s_client -quiet -connect {} {version} -cert {name}.pem \
             -key {name}.key 2>/dev/null | od -An -tx1",
            broker.address()
        );
        let output = Command::new("sh").args(["-c", &script]).current_dir(&folder).output();
        String::from_utf8_lossy(&output.expect("it runs").stdout).trim().to_owned()
    };
    for version in ["-tls1_2", "-tls1_3"] {
        assert_eq!(talk("good", version), "20 02 00 00", "{version}");
        assert_eq!(talk("bad", version), "", "{version}");
    }
    broker.expect_log("u'good'");
    broker.expect_log("Revoked");
    std::fs::remove_dir_all(&folder).expect("it is ours");
}

#[test]
fn authorities_may_be_a_folder_of_hashes() {
    let pki = Pki::new("ca");
    let conf = format!("{TLS}capath {{dir}}\nrequire_certificate true\n");
    let broker =
        with_files(&pki, &pki.server()).file("0123abcd.0", &pki.authority).conf(&conf).start();
    works(&mut tls(&broker, &pki, Some(&pki.client("alice"))), "good");
    let (status, log) = with_files(&pki, &pki.server()).conf(&conf).run();
    assert!(!status.success() && log.contains("openssl rehash"), "{log}");
}

/// Both ends and all workers: what a connection agreed on moves with it.
#[test]
fn connections_move_between_workers() {
    let pki = Pki::new("ca");
    let broker = with_files(&pki, &pki.server()).conf(TLS).own("worker_threads 4\n").start();
    let mut streams: Vec<_> = (0..16).map(|_| tls(&broker, &pki, None)).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        works(stream, &format!("client-{n}"));
    }
    for stream in &mut streams {
        crate::scene::ping(stream);
    }
}

#[test]
fn a_listener_without_tls_is_not_disturbed() {
    let pki = Pki::new("ca");
    let port = crate::support::broker::free_port();
    let tls_port = format!("listener {port} 127.0.0.1\n{}", TLS.split_once('\n').expect("lines").1);
    let broker: Broker = with_files(&pki, &pki.server())
        .conf(&format!("listener {{port}} 127.0.0.1\n{tls_port}"))
        .start();
    broker.client(V311, "plain").ping();
    let config = client_config(&pki, None, rustls::DEFAULT_VERSIONS);
    works(&mut tls_with(([127, 0, 0, 1], port).into(), &config), "sealed");
}

/// `--tls-keylog` of both sides: the same secrets, in a file for its owner alone.
#[test]
fn secrets_are_written_where_that_is_asked_for() {
    let pki = Pki::new("ca");
    let setup = with_files(&pki, &pki.server()).conf(&format!("{TLS}user root\n"));
    let broker = setup.args(&["--tls-keylog", "{dir}/broker.keys"]).start();
    let port = broker.port().to_string();
    let args = ["pub", "-h", "localhost", "-p", &port, "--cafile", "ca.pem", "-t", "t", "-m", "x"];
    let tool = Command::new(env!("CARGO_BIN_EXE_mogi"))
        .args([&args[..], &["--tls-keylog", "tool.keys"]].concat())
        .current_dir(broker.dir())
        .status();
    assert!(tool.expect("it runs").success());
    let keys = |name: &str| {
        let path = broker.dir().join(name);
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(path).expect("text");
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    let (broker_keys, tool_keys) = (keys("broker.keys"), keys("tool.keys"));
    assert!(tool_keys.iter().any(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")));
    assert!(tool_keys.iter().all(|line| broker_keys.contains(line)), "{broker_keys:?}");
}
