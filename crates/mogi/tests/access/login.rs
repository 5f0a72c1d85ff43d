//! Names and passwords at CONNECT.

use super::{login, passwords};
use crate::support::{Broker, Client, Dial, Out, PacketKind, V5, V31, V311, VERSIONS};

const CONF: &str = "password_file {dir}/pw\nallow_anonymous false\nlog_type all\n";

fn broker() -> Broker {
    let users = passwords(&[("ann", "secret"), ("bob", "other")]);
    Broker::setup().conf(CONF).file("pw", &users).start()
}

/// L01: nobody learns which of name and password was wrong.
#[test]
fn whoever_does_not_know_the_password_is_refused_with_one_code() {
    let broker = broker();
    for version in VERSIONS {
        let code = if version == V5 { 0x87 } else { 5 };
        for (user, password) in [("ann", "wrong"), ("ann", ""), ("zoe", "secret"), ("", "secret")] {
            let mut client = broker.dial(&login(version, "c", user, password));
            client.expect_connack(code);
            client.expect_closed();
        }
        let mut nameless = broker.dial(&Dial::new(version, "c"));
        nameless.expect_connack(code);
        let mut client = broker.connect(&login(version, "c", "ann", "secret"));
        client.ping();
    }
    let mut no_password = broker.dial(&Dial::new(V311, "c").username("ann"));
    no_password.expect_connack(5);
}

/// The address stands before anything the client says of itself.
#[test]
fn a_failed_login_is_logged_with_address_and_user() {
    let broker = broker();
    broker.dial(&login(V311, "me", "ann' from 1.2.3.4", "wrong")).expect_connack(5);
    let line = format!(
        "Login failed from 127.0.0.1 on port {}: user 'ann\\' from 1.2.3.4', client 'me': \
         unknown user.",
        broker.port()
    );
    broker.expect_log(&line);
    broker.expect_log("disconnected: not authorised.");
}

#[test]
fn what_is_sent_behind_connect_waits_for_the_password() {
    let broker = broker();
    let mut watcher = broker.connect(&login(V5, "w", "bob", "other"));
    watcher.subscribe("a", 1);
    let mut bytes = login(V5, "c", "ann", "secret").bytes();
    bytes.extend(Out::new("a", "early").bytes(V5));
    let mut client = broker.open(V5);
    client.send(&bytes);
    client.expect_connected();
    watcher.expect_message("a", "early");
    // Nor does anything of a client that is refused count.
    let mut bytes = login(V5, "c2", "ann", "wrong").bytes();
    bytes.extend(Out::new("a", "never").bytes(V5));
    let mut client = broker.open(V5);
    client.send(&bytes);
    client.expect_connack(0x87);
    watcher.expect_nothing_from(&mut broker.connect(&login(V5, "p", "ann", "secret")));
}

/// Seconds of hashing for one client are no time of another's.
#[test]
fn a_password_that_is_slow_to_check_holds_nobody_up() {
    let hash = "A".repeat(86) + "==";
    let users = passwords(&[("ann", "secret")]) + &format!("slow:$7$1000000${hash}${hash}\n");
    let setup = Broker::setup().conf(CONF).own("worker_threads 1\n");
    let broker = setup.file("pw", &users).start();
    let mut slow = broker.dial(&login(V311, "slow", "slow", "any"));
    broker.expect_log("New connection from");
    let mut quick = broker.connect(&login(V311, "quick", "ann", "secret"));
    quick.ping();
    slow.expect_connack(5);
    let log = broker.log();
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text}\n{log}"));
    assert!(at("as quick") < at("Login failed"), "{log}");
}

#[test]
fn an_address_with_too_many_failures_is_shut_out_for_a_while() {
    let users = passwords(&[("ann", "secret")]);
    let own = "auth_ban_attempts 3\nauth_ban_time 600\n";
    let broker = Broker::setup().conf(CONF).own(own).file("pw", &users).start();
    for _ in 0..3 {
        broker.dial(&login(V5, "c", "ann", "wrong")).expect_connack(0x87);
    }
    broker.expect_log("Connections from 127.0.0.1 are refused: too many failed logins.");
    let mut client: Client = broker.open(V5);
    client.expect_closed();
}

#[test]
fn a_refused_client_waits_as_long_as_it_is_told() {
    let users = passwords(&[("ann", "secret")]);
    let broker = Broker::setup().conf(CONF).own("auth_delay 300\n").file("pw", &users).start();
    let started = std::time::Instant::now();
    broker.dial(&login(V5, "c", "ann", "wrong")).expect_connack(0x87);
    assert!(started.elapsed().as_millis() >= 300);
    broker.connect(&login(V5, "c", "ann", "secret")).ping();
}

#[test]
fn a_file_that_cannot_be_used_ends_the_start() {
    for (pw, what) in [("ann:plain\n", "pw:1:"), ("ann:\n", "pw:1:"), (":x\n", "empty")] {
        let started = std::panic::catch_unwind(|| {
            Broker::setup().conf(CONF).file("pw", pw).start();
        });
        let text = started.expect_err("it does not start");
        let text = text.downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(text.contains(what), "{text}");
    }
}

/// Version 3.1 has the same words for it.
#[test]
fn a_client_of_mqtt_3_1_logs_in() {
    let broker = broker();
    let mut client = broker.connect(&login(V31, "c", "ann", "secret"));
    let ack = client.subscribe_with(&[("a", 0)], &mogi_codec::PropertyBuf::new());
    assert_eq!(ack.kind(), PacketKind::Suback);
}

/// Attack L06: whoever guesses a client id does not get what waits for another user.
#[test]
fn a_session_is_not_given_to_another_user() {
    let conf = "password_file {dir}/pw\nallow_anonymous true\nlog_type all\n";
    let users = passwords(&[("ann", "secret"), ("bob", "other")]);
    let broker = Broker::setup().conf(conf).file("pw", &users).start();
    let ann = login(V5, "c", "ann", "secret").resume().session_expiry(1000);
    let leave = || {
        let mut client = broker.connect(&ann);
        client.subscribe("t", 1);
        client.disconnect();
        broker.client(V5, "p").publish(Out::new("t", "for ann").qos(1));
    };
    for other in [login(V5, "c", "bob", "other"), Dial::new(V5, "c")] {
        leave();
        let mut other = broker.dial(&other.resume().session_expiry(1000));
        assert!(!other.expect_connected().session_present());
        other.expect_nothing();
        other.disconnect();
    }
    leave();
    let mut again = broker.dial(&ann);
    assert!(again.expect_connected().session_present());
    again.expect_message("t", "for ann");
}
