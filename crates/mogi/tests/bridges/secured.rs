//! Bridges within TLS: `bridge_cafile` and what stands beside it.

use super::scene::{Server, await_up, bridge_to, mosquitto, mosquittos};
use crate::support::broker::{Setup, free_port};
use crate::support::pki::{Identity, Pki, Validity};
use crate::support::{Broker, Out, PacketKind, V311};
use nix::sys::signal::Signal;
use std::net::TcpListener;

const BOTH: &str = "topic # both 2 here/ there/\nbridge_cafile {dir}/ca.pem\n";
const SHOWN: &str = "bridge_certfile {dir}/bridge.pem\nbridge_keyfile {dir}/bridge.key\n";
const MUTUAL: &str = "cafile {dir}/ca.pem\nrequire_certificate true\n";

/// Gives a broker a second listener, with TLS on the port that is returned.
fn secured(setup: Setup, pki: &Pki, server: &Identity, lines: &str) -> (Setup, u16) {
    let port = free_port();
    let conf = format!(
        "user root\nlog_type all\nlistener {{port}} 127.0.0.1\nlistener {port} 127.0.0.1\n\
         certfile {{dir}}/server.pem\nkeyfile {{dir}}/server.key\n{lines}"
    );
    let setup = setup
        .file("ca.pem", &pki.authority)
        .file("server.pem", &server.certificate)
        .file("server.key", &server.key);
    (setup.conf(&conf), port)
}

/// A broker with TLS, and the port of it.
#[track_caller]
fn remote(pki: &Pki, server: &Identity, lines: &str) -> (Broker, u16) {
    let (setup, port) = secured(Broker::setup(), pki, server, lines);
    (setup.start(), port)
}

/// A broker with a bridge to `port`, which trusts `pki` and may show a certificate of it.
fn bridge(pki: &Pki, port: u16, lines: &str) -> Setup {
    let shown = pki.client("bridge");
    Broker::setup()
        .file("ca.pem", &pki.authority)
        .file("bridge.pem", &shown.certificate)
        .file("bridge.key", &shown.key)
        .conf(&bridge_to(port, lines))
        .own("worker_threads 2\n")
}

/// Messages of QoS 1 and 2 both ways, one of them of many records.
#[track_caller]
fn exchange(here: &Broker, there: &Broker) {
    let (mut near, mut far) = (here.client(V311, "near"), there.client(V311, "far"));
    near.subscribe("here/back", 2);
    far.subscribe("there/out", 2);
    let large = "0123456789abcdef".repeat(100_000);
    for qos in 1..=2 {
        for text in ["one", "two", &large, "three"] {
            near.publish(Out::new("here/out", text).qos(qos));
            assert_eq!(far.receive("there/out", text).qos, qos);
            far.publish(Out::new("there/back", text).qos(qos));
            assert_eq!(near.receive("here/back", text).qos, qos);
        }
    }
    near.expect_nothing();
    far.expect_nothing();
}

/// Both versions of TLS, and a certificate of the bridge.
#[test]
fn messages_go_both_ways() {
    let pki = Pki::new("authority");
    for (version, ciphers) in [
        ("tlsv1.2", "tls_version tlsv1.3\n"),
        ("tlsv1.3", ""),
        ("tlsv1.2", "ciphers_tls1.3 TLS_CHACHA20_POLY1305_SHA256\n"),
    ] {
        let (remote, port) = remote(&pki, &pki.server(), &format!("{MUTUAL}{ciphers}"));
        let lines = format!("bridge_tls_version {version}\n{BOTH}{SHOWN}");
        let broker = bridge(&pki, port, &lines).start();
        await_up(&broker, 1);
        exchange(&broker, &remote);
    }
}

/// What is agreed on is what `bridge_ciphers` has.
#[test]
fn ciphers_are_those_of_the_list() {
    let pki = Pki::new("authority");
    let (remote, port) = remote(&pki, &pki.server(), "");
    let lines = format!("{BOTH}bridge_ciphers_tls1.3 TLS_CHACHA20_POLY1305_SHA256\n");
    let broker = bridge(&pki, port, &lines).start();
    await_up(&broker, 1);
    remote.expect_log("TLSv1.3 cipher TLS_CHACHA20_POLY1305_SHA256");
}

#[test]
fn authorities_may_be_in_a_folder() {
    let pki = Pki::new("authority");
    let (_remote, port) = remote(&pki, &pki.server(), "");
    let broker = bridge(&pki, port, "topic # both\nbridge_capath {dir}\n").start();
    let dir = broker.dir().display();
    broker.expect_log(&format!("bridge_capath {dir}: there is no authority in it, named by its"));
    std::fs::write(broker.dir().join("0123abcd.0"), &pki.authority).expect("a file");
    await_up(&broker, 1);
}

/// The other side is not whom it claims to be, until the file is put right.
#[test]
fn a_wrong_authority_is_told_until_the_right_one_is_there() {
    let (pki, other) = (Pki::new("authority"), Pki::new("another one"));
    let (remote, port) = remote(&pki, &pki.server(), "");
    let broker = bridge(&other, port, BOTH).start();
    broker.expect_log(&format!(
        "Error creating bridge: TLS of bridge 'b': the certificate of 127.0.0.1:{port} is not \
         signed by an authority in bridge_cafile {}/ca.pem. (127.0.0.1:{port})",
        broker.dir().display()
    ));
    let file = broker.dir().join("ca.pem");
    std::fs::write(&file, "nothing").expect("a file");
    broker.expect_log(&format!("TLS of bridge 'b': bridge_cafile {}: there is no", file.display()));
    std::fs::remove_file(&file).expect("no file");
    broker.expect_log(&format!("bridge_cafile {}: No such file or directory", file.display()));
    std::fs::write(&file, &pki.authority).expect("a file");
    await_up(&broker, 1);
    exchange(&broker, &remote);
}

#[test]
fn certificates_that_have_expired_or_are_for_others_are_told() {
    let pki = Pki::new("authority");
    let expired = pki.server_for(Validity::Expired);
    let elsewhere = pki.server_named("elsewhere.example.org");
    for (server, what) in
        [(&expired, "has expired ("), (&elsewhere, "is for another host than '127.0.0.1' (")]
    {
        let (_remote, port) = remote(&pki, server, "");
        let broker = bridge(&pki, port, BOTH).start();
        broker
            .expect_log(&format!("TLS of bridge 'b': the certificate of 127.0.0.1:{port} {what}"));
    }
    let (remote, port) = remote(&pki, &elsewhere, "");
    let broker = bridge(&pki, port, &format!("{BOTH}bridge_insecure true\n")).start();
    broker.expect_log("Warning: Bridge 'b' using insecure mode.");
    await_up(&broker, 1);
    exchange(&broker, &remote);
}

/// In TLS 1.3 the other side says so when the bridge believes that all is well; that does not look
/// like a broker that lets in no bridges.
#[test]
fn that_a_certificate_is_wanted_or_refused_is_told() {
    let (pki, other) = (Pki::new("authority"), Pki::new("another one"));
    for version in ["tlsv1.2", "tlsv1.3"] {
        let version = format!("{MUTUAL}tls_version {version}\n");
        let (_remote, port) = remote(&pki, &pki.server(), &version);
        let broker = bridge(&pki, port, BOTH).start();
        broker.expect_log("refuses: it may want a certificate of this bridge: 'bridge_certfile'");
        broker.expect_log("Client local.there [127.0.0.1:");
        assert!(!broker.log().contains("lets in clients and no bridges"), "{}", broker.log());
        let shown = other.client("bridge");
        let broker = bridge(&pki, port, &format!("{BOTH}{SHOWN}"))
            .file("bridge.pem", &shown.certificate)
            .file("bridge.key", &shown.key)
            .start();
        let file = broker.dir().join("bridge.pem");
        let what = "it does not take the certificate in bridge_certfile";
        broker.expect_log(&format!("refuses: {what} {}", file.display()));
    }
}

#[test]
fn what_speaks_no_tls_is_told() {
    let pki = Pki::new("authority");
    let plain = Broker::start("");
    let broker = bridge(&pki, plain.port(), BOTH).start();
    broker.expect_log("is TLS on there?");
    // And a server that closes at once.
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let broker = bridge(&pki, port, BOTH).start();
    for _ in 0..2 {
        drop(listener.accept().expect("the bridge tries again"));
    }
    broker.expect_log("Error creating bridge: ");
}

#[test]
fn a_key_of_another_certificate_is_told() {
    let pki = Pki::new("authority");
    let (_remote, port) = remote(&pki, &pki.server(), "");
    let broker = bridge(&pki, port, &format!("{BOTH}{SHOWN}"))
        .file("bridge.key", &pki.client("other").key)
        .start();
    let file = broker.dir().join("bridge.key");
    let what = "it does not belong to the certificate";
    broker.expect_log(&format!("TLS of bridge 'b': bridge_keyfile {}: {what}", file.display()));
}

/// SIGHUP: new contents are a changed bridge, though the configuration names the same files.
#[test]
fn certificates_are_read_again() {
    let pki = Pki::new("authority");
    let (remote, port) = remote(&pki, &pki.server(), MUTUAL);
    let lines = format!("{BOTH}{SHOWN}bridge_reload_type immediate\n");
    let broker = bridge(&pki, port, &lines).start();
    await_up(&broker, 1);
    broker.signal(Signal::SIGHUP);
    broker.expect_log("Reloading config.");
    let renewed = pki.client("renewed");
    std::fs::write(broker.dir().join("bridge.pem"), &renewed.certificate).expect("a file");
    std::fs::write(broker.dir().join("bridge.key"), &renewed.key).expect("a file");
    broker.signal(Signal::SIGHUP);
    await_up(&broker, 2);
    exchange(&broker, &remote);
    let connects = broker.log().matches("Received CONNACK on connection").count();
    assert_eq!(connects, 2, "the same contents are no change");
}

/// Without anybody to trust there is no TLS, as with Mosquitto; that is told.
#[test]
fn a_certificate_alone_is_no_tls() {
    let pki = Pki::new("authority");
    let server = Server::new(V311);
    let broker = bridge(&pki, server.port(), &format!("topic # out\n{SHOWN}")).start();
    server.accept().expect(PacketKind::Connect);
    broker.expect_log("Warning: 'bridge_certfile' of bridge 'b' has no effect");
}

#[test]
fn mosquitto_is_reached() {
    for program in mosquittos() {
        let pki = Pki::new("authority");
        let (setup, port) = secured(mosquitto(&program, ""), &pki, &pki.server(), MUTUAL);
        let remote = setup.start();
        let broker = bridge(&pki, port, &format!("{BOTH}{SHOWN}")).start();
        await_up(&broker, 1);
        exchange(&broker, &remote);
    }
}

#[test]
fn mosquitto_reaches_us() {
    for program in mosquittos() {
        let pki = Pki::new("authority");
        let (remote, port) = remote(&pki, &pki.server(), MUTUAL);
        let lines = format!("{BOTH}{SHOWN}");
        let conf = format!("{}bridge_insecure true\n", bridge_to(port, &lines));
        let broker = bridge(&pki, port, "").conf(&conf).program(&program).start();
        broker.expect_log("Received SUBACK from local.");
        exchange(&broker, &remote);
    }
}
