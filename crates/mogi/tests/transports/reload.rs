//! Certificates that change while the broker runs.

use crate::scene::{TLS, tls, tls_broker, with_files, works};
use crate::support::pki::{Identity, Pki, Validity};
use crate::support::{Broker, Dial, V311, eventually};
use nix::sys::signal::Signal;
use std::fs;

fn put(broker: &Broker, identity: &Identity) {
    // As certbot does: the new file takes the old one's place at once.
    for (name, text) in [("server.pem", &identity.certificate), ("server.key", &identity.key)] {
        let new = broker.dir().join("new");
        fs::write(&new, text).expect("cannot write a file");
        fs::rename(&new, broker.dir().join(name)).expect("cannot rename a file");
    }
}

/// The certificate a new client is shown.
fn shown(broker: &Broker, pki: &Pki, name: &str) -> Vec<u8> {
    let mut stream = tls(broker, pki, None);
    works(&mut stream, name);
    stream.conn.peer_certificates().expect("one was shown")[0].to_vec()
}

#[test]
fn certificates_are_read_again_on_sighup() {
    let pki = Pki::new("ca");
    let broker = tls_broker(&pki, "");
    let mut before = tls(&broker, &pki, None);
    works(&mut before, "before");
    let old = shown(&broker, &pki, "old");
    put(&broker, &pki.server());
    broker.signal(Signal::SIGHUP);
    broker.expect_log("was read again");
    assert_ne!(shown(&broker, &pki, "new"), old);
    // Who is connected stays so.
    crate::scene::ping(&mut before);
}

#[test]
fn certificates_are_read_again_when_the_file_changes() {
    let pki = Pki::new("ca");
    let broker = tls_broker(&pki, "");
    let old = shown(&broker, &pki, "old");
    put(&broker, &pki.server());
    // It is looked every ten seconds.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !broker.log().contains("was read again") {
        assert!(std::time::Instant::now() < deadline, "it was not noticed");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    eventually("the new certificate", || shown(&broker, &pki, "new") != old);
}

#[test]
fn what_is_broken_does_not_replace_what_works() {
    let pki = Pki::new("ca");
    let broker = tls_broker(&pki, "");
    let old = shown(&broker, &pki, "old");
    fs::write(broker.dir().join("server.pem"), "rubbish").expect("cannot write a file");
    broker.signal(Signal::SIGHUP);
    broker.expect_log("Check certfile.");
    broker.expect_log("Error: The configuration stays as it was.");
    assert_eq!(shown(&broker, &pki, "new"), old);
}

#[test]
fn the_end_of_a_certificate_is_announced() {
    let pki = Pki::new("ca");
    for (validity, expected) in [
        (Validity::Days(29), Some("expires in 29 days")),
        (Validity::Days(31), None),
        (Validity::Expired, Some("has expired, on 2021-01-01T00:00:00Z")),
    ] {
        let broker = with_files(&pki, &pki.server_for(validity)).conf(TLS).start();
        broker.expect_log("running");
        match expected {
            Some(text) => broker.expect_log(text),
            None => {
                // A client is served after what is said at the start.
                let _ = tls(&broker, &pki, None);
                assert!(!broker.log().contains("expire"), "{}", broker.log());
            }
        }
    }
}

/// TLS options change with the rest of the file, for those who connect from then on.
#[test]
fn certificates_are_required_from_now_on() {
    let pki = Pki::new("ca");
    let broker = tls_broker(&pki, "cafile {dir}/ca.pem\nrequire_certificate false\n");
    let mut before = tls(&broker, &pki, None);
    works(&mut before, "before");
    let path = broker.dir().join("mosquitto.conf");
    let text = fs::read_to_string(&path).expect("a configuration");
    let changed = text.replace("require_certificate false", "require_certificate true");
    fs::write(&path, changed).expect("written");
    broker.signal(Signal::SIGHUP);
    broker.expect_log("Config reloaded.");
    let mut without = tls(&broker, &pki, None);
    assert_eq!(crate::scene::connect(&mut without, &Dial::new(V311, "without")), None);
    works(&mut tls(&broker, &pki, Some(&pki.client("ann"))), "with");
    crate::scene::ping(&mut before);
}
