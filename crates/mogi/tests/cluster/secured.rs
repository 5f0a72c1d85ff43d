//! TLS on the links: who is a node, and who is not.

use super::scene::{Site, free_port, linked, publish};
use crate::support::broker::Setup;
use crate::support::pki::{Identity, Pki, Validity};
use crate::support::{Broker, PATIENCE, V5};
use nix::sys::signal::Signal;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

const TLS: &str = "cluster_cafile {dir}/ca.pem\ncluster_certfile {dir}/node.pem\n\
                   cluster_keyfile {dir}/node.key\n";

fn with_files(setup: Setup, ca: &Pki, identity: &Identity) -> Setup {
    setup
        .file("ca.pem", &ca.authority)
        .file("node.pem", &identity.certificate)
        .file("node.key", &identity.key)
}

/// A node that trusts this authority and shows a certificate of it.
#[track_caller]
fn node(site: &Site, name: &str, ca: &Pki) -> Broker {
    shows(site, name, ca, &ca.server(), "")
}

/// A node that trusts this authority and shows that certificate.
#[track_caller]
fn shows(site: &Site, name: &str, ca: &Pki, identity: &Identity, more: &str) -> Broker {
    let setup = site.setup(name, free_port(), &format!("{TLS}{more}"));
    with_files(setup, ca, identity).start()
}

/// A way to a port on which all is written down.
fn tap(port: u16) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("cannot bind a port");
    let address = listener.local_addr().expect("it is bound");
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let all = Arc::clone(&heard);
    spawn(move || {
        for near in listener.incoming() {
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(("127.0.0.1", port))) else {
                continue;
            };
            let pair = |it: &TcpStream| it.try_clone().expect("a copy of a socket");
            let (near_too, far_too, heard) = (pair(&near), pair(&far), Arc::clone(&heard));
            spawn(move || {
                let _ = io::copy(&mut &far_too, &mut &near_too);
                let _ = near_too.shutdown(Shutdown::Both);
            });
            spawn(move || {
                let mut some = [0; 4096];
                while let Ok(len @ 1..) = (&near).read(&mut some) {
                    heard.lock().expect("nobody panics").extend_from_slice(&some[..len]);
                    if (&far).write_all(&some[..len]).is_err() {
                        break;
                    }
                }
                let _ = far.shutdown(Shutdown::Both);
            });
        }
    });
    (address, all)
}

/// Who listens in between hears what goes over a link in the clear, and nothing of it within TLS.
#[test]
fn what_goes_over_a_link_is_sealed() {
    for secure in [false, true] {
        let (site, ca) = (Site::new(""), Pki::new("nodes"));
        let port = free_port();
        let (address, heard) = tap(port);
        let tls = if secure { TLS } else { "" };
        let setup = site.setup("a", port, &format!("cluster_advertise {address}\n{tls}"));
        let a = with_files(setup, &ca, &ca.server()).start();
        let b = with_files(site.setup("b", free_port(), tls), &ca, &ca.server()).start();
        linked(&a, &b);
        let mut client = a.client(V5, "client");
        client.subscribe("secrets/#", 1);
        for qos in 0..=2 {
            publish(&b, "secrets/one", "open sesame", qos);
            client.receive("secrets/one", "open sesame");
        }
        // Both ways.
        let mut other = b.client(V5, "other");
        other.subscribe("secrets/#", 1);
        publish(&a, "secrets/two", "open sesame", 1);
        other.receive("secrets/two", "open sesame");
        let heard = heard.lock().expect("nobody panics");
        let open = heard.windows(11).any(|bytes| bytes == b"open sesame");
        assert_eq!(open, !secure, "{}", String::from_utf8_lossy(&heard));
    }
}

#[test]
fn a_node_of_another_authority_is_refused() {
    let site = Site::new("");
    let (ours, theirs) = (Pki::new("ours"), Pki::new("theirs"));
    let a = node(&site, "a", &ours);
    let b = node(&site, "b", &theirs);
    for broker in [&a, &b] {
        broker.expect_log("no link yet: its certificate is not signed by an authority in");
    }
    // One that trusts ours, but shows theirs.
    let c = shows(&site, "c", &ours, &theirs.server(), "");
    a.expect_log("is not signed by an authority in cluster_cafile");
    c.expect_log("it does not take the certificate in cluster_certfile");
    for broker in [&a, &b, &c] {
        assert!(!broker.log().contains("linked to"), "{}", broker.log());
    }
}

/// The authority may sign others than nodes: what they have makes them none.
#[test]
fn a_certificate_for_another_host_makes_no_node() {
    let (site, ca) = (Site::new(""), Pki::new("everybody"));
    let a = node(&site, "a", &ca);
    let b = shows(&site, "b", &ca, &ca.server_named("elsewhere.example.org"), "");
    b.expect_log("it refuses the link");
    a.expect_log("is refused: its certificate is for another host");
    a.expect_log("no link yet: its certificate is for another host");
    let c = shows(&site, "c", &ca, &ca.client("c"), "");
    a.expect_log("its certificate is not for both ends of a link");
    let d = shows(&site, "d", &ca, &ca.server_for(Validity::Expired), "");
    a.expect_log("its certificate has expired");
    for broker in [&a, &b, &c, &d] {
        assert!(!broker.log().contains("linked to"), "{}", broker.log());
    }
}

#[test]
fn whose_host_does_not_count_may_have_any() {
    let (site, ca) = (Site::new(""), Pki::new("nodes"));
    let elsewhere = ca.server_named("elsewhere.example.org");
    let node = |name| shows(&site, name, &ca, &elsewhere, "cluster_insecure true\n");
    let (a, b) = (node("a"), node("b"));
    linked(&a, &b);
}

#[test]
fn a_node_in_the_clear_is_refused_and_both_say_why() {
    let (site, ca) = (Site::new(""), Pki::new("nodes"));
    let a = node(&site, "a", &ca);
    let b = site.node("b");
    a.expect_log("it does not speak TLS; nodes have cluster_cafile, cluster_certfile and");
    b.expect_log("it speaks TLS: set cluster_cafile, cluster_certfile and cluster_keyfile here");
    for broker in [&a, &b] {
        assert!(!broker.log().contains("linked to"), "{}", broker.log());
    }
}

/// What a stranger may send to a node's listener, whether links have TLS or not.
#[test]
fn strangers_get_nowhere() {
    let hello = b"\x10\x2d\x00\x04MQTT\x05\x02\x00\x00\x1b\x26\x00\x09mogi-link\x00\x011\
                  \x26\x00\x07cluster\x00\x00\x00\x04evil";
    let tls_hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 501]].concat();
    let rubbish: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: there\r\n\r\n",
        &[0; 5000],
        &[0xFF; 100_000],
        b"\x16\x03\x01\xff\xff",
        b"\x10\xff\xff\xff\x7f",
        hello,
        &tls_hello,
    ];
    for tls in ["", TLS] {
        let (site, ca) = (Site::new(""), Pki::new("nodes"));
        let port = free_port();
        let a = with_files(site.setup("a", port, tls), &ca, &ca.server()).start();
        a.expect_log(concat!(env!("CARGO_PKG_VERSION"), " running"));
        let silent = TcpStream::connect(("127.0.0.1", port)).expect("a link's listener");
        for _ in 0..4 {
            rubbish.iter().for_each(|bytes| insult(port, bytes));
        }
        a.expect_log("More of them are not logged for a minute");
        // Whoever says nothing is not waited for.
        assert!(is_ended(&silent), "{}", a.log());
        let lines = a.log().matches("Cluster: link from").count();
        assert_eq!(lines, 10, "{}", a.log());
        let b = with_files(site.setup("b", free_port(), tls), &ca, &ca.server()).start();
        linked(&a, &b);
    }
}

/// Sends it, and waits until the node ends the connection.
#[track_caller]
fn insult(port: u16, bytes: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a link's listener");
    // It may be ended before all is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    assert!(is_ended(&stream), "{bytes:?}");
}

fn is_ended(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(2 * PATIENCE)).expect("a socket");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

/// Certificates of another authority take the place of the old ones while the nodes run. What is
/// wrong with them leaves everything as it was.
#[test]
fn files_are_read_again_on_sighup() {
    let site = Site::new("");
    let (old, new) = (Pki::new("old"), Pki::new("new"));
    let (a, b) = (node(&site, "a", &old), node(&site, "b", &old));
    linked(&a, &b);
    put(&a, "rubbish", &old.server());
    a.signal(Signal::SIGHUP);
    a.expect_log("Check cluster_cafile");
    a.expect_log("The configuration stays as it was");
    let both = format!("{}{}", old.authority, new.authority);
    for broker in [&a, &b] {
        put(broker, &both, &new.server());
        broker.signal(Signal::SIGHUP);
        broker.expect_log("node.pem\" was read again");
    }
    let c = node(&site, "c", &new);
    c.expect_log("linked to node a");
    c.expect_log("linked to node b");
    a.expect_log("linked to node c");
    b.expect_log("linked to node c");
    // What was linked before has stayed so.
    assert!(!a.log().contains("the link broke"), "{}", a.log());
}

fn put(broker: &Broker, authority: &str, identity: &Identity) {
    let files =
        [("ca.pem", authority), ("node.pem", &identity.certificate), ("node.key", &identity.key)];
    for (name, text) in files {
        let new = broker.dir().join("new");
        std::fs::write(&new, text).expect("cannot write a file");
        std::fs::rename(&new, broker.dir().join(name)).expect("cannot rename a file");
    }
}

#[test]
fn files_that_are_missing_or_no_use_end_the_start() {
    let (site, ca) = (Site::new(""), Pki::new("nodes"));
    let mut other = ca.server();
    other.key = ca.server().key;
    let cases = [
        ("cluster_certfile {dir}/node.pem\n", "but cluster_cafile is not set"),
        ("cluster_cafile {dir}/ca.pem\n", "but cluster_certfile is not set"),
        (TLS, "Check cluster_keyfile. (it does not belong to the certificate)"),
    ];
    for (lines, expected) in cases {
        let setup = with_files(site.setup("a", free_port(), lines), &ca, &other);
        let (status, log) = setup.run();
        assert!(!status.success() && log.contains(expected), "{lines}: {log}");
    }
}
