//! How many connections there are, from where, and how fast they come.

use crate::support::broker::free_port;
use crate::support::pki::Pki;
use crate::support::{Broker, Client, Dial, V5, V311, eventually};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

fn broker(own: &str) -> Broker {
    Broker::setup().conf("user root\nlog_type all\nsys_interval 1\n").own(own).start()
}

#[test]
fn an_address_has_so_many_connections() {
    let broker = broker("max_connections_per_address 3\n");
    let mut first = broker.client(V5, "a");
    let second = broker.client(V311, "b");
    let third = broker.open(V5);
    broker.open(V5).expect_closed();
    broker.expect_log("denied: max_connections_per_address exceeded.");
    first.subscribe("$SYS/broker/limits/#", 0);
    let told = first.expect_publish();
    assert_eq!(told.topic, "$SYS/broker/limits/connections/refused/address");
    assert_eq!(told.text(), "1");
    // Another address has its own.
    let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let stream = stream.expect("a socket");
    stream.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("bound");
    stream.connect(&broker.address().into()).expect("connected");
    let mut other = Client::of(stream.into(), V5);
    other.send(&Dial::new(V5, "other").bytes());
    other.expect_connected();
    // Whoever leaves makes room, whatever it had been.
    second.disconnect();
    drop(third);
    for n in 0..10 {
        let id = format!("again-{n}");
        eventually("room", || {
            let mut client = broker.open(V5);
            client.send(&Dial::new(V5, &id).bytes());
            client.next().is_some_and(|frame| frame.code() == 0)
        });
    }
}

/// Behind a proxy the client's address counts, and it is told why it may not come in.
#[test]
fn behind_a_proxy_the_clients_address_counts() {
    let broker = Broker::setup()
        .conf("user root\nlistener {port} 127.0.0.1\nenable_proxy_protocol 1\n")
        .own("max_connections_per_address 1\n")
        .start();
    let dial = |source: &str, id: &str| {
        let mut client = broker.open(V5);
        client.send(format!("PROXY TCP4 {source} 192.0.2.9 1000 1883\r\n").as_bytes());
        client.send(&Dial::new(V5, id).bytes());
        client
    };
    let mut a = dial("192.0.2.1", "a");
    a.expect_connected();
    dial("192.0.2.2", "b").expect_connected();
    dial("192.0.2.1", "c").expect_connack(0x97);
    drop(a);
    eventually("room", || dial("192.0.2.1", "c").recv().code() == 0);
}

#[test]
fn so_many_may_take_their_time_to_connect() {
    let broker = broker("max_pending_connections 2\n");
    let mut clients: Vec<Client> = (0..5).map(|n| broker.client(V5, &n.to_string())).collect();
    let mut silent: Vec<Client> = (0..2).map(|_| broker.open(V5)).collect();
    broker.open(V5).expect_closed();
    broker.expect_log("denied: max_pending_connections exceeded.");
    silent[0].send(&Dial::new(V5, "late").bytes());
    silent[0].expect_connected();
    eventually("room", || {
        let mut client = broker.open(V5);
        client.send(&Dial::new(V5, "new").bytes());
        client.next().is_some_and(|frame| frame.code() == 0)
    });
    drop(silent);
    eventually("more room", || {
        let two: Vec<Client> = (0..2).map(|_| broker.open(V5)).collect();
        let mut third = broker.open(V5);
        drop(two);
        third.send(&Dial::new(V5, "third").bytes());
        third.next().is_none()
    });
    clients.iter_mut().for_each(Client::ping);
}

/// Those who come too fast wait, and all of them come in.
#[test]
fn connections_come_no_faster_than_they_may() {
    let broker = broker("max_connection_rate 10\n");
    let mut watcher = broker.client(V311, "watcher");
    let begun = Instant::now();
    let mut clients: Vec<Client> =
        (0..25).map(|n| broker.dial(&Dial::new(V5, &n.to_string()))).collect();
    watcher.ping();
    for client in &mut clients {
        client.expect_connected();
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1400), "it took {took:?}");
}

/// One metric below `$SYS/broker/limits/`.
fn metric(broker: &Broker, name: &str) -> u64 {
    let mut watcher = broker.client(V5, "watcher");
    watcher.subscribe(&format!("$SYS/broker/limits/{name}"), 0);
    watcher.expect_publish().text().parse().expect("a number")
}

/// Who would be let in when it has long given up is told to come later, and who comes next finds
/// an open door.
#[test]
fn a_crowd_that_stays_is_told_to_come_later() {
    let broker = broker("max_connection_rate 1\nmax_connection_wait 1\n");
    let version = |n: usize| if n.is_multiple_of(2) { V5 } else { V311 };
    let dials = (0..30).map(|n| Dial::new(version(n), &n.to_string()));
    let mut clients: Vec<Client> = dials.map(|dial| broker.dial(&dial)).collect();
    let mut refused = 0;
    for (n, client) in clients.iter_mut().enumerate() {
        let code = client.recv().code();
        if code == 0 {
            client.ping();
            continue;
        }
        // Server unavailable, where there is no better word.
        assert_eq!(code, if version(n) == V5 { 0x9F } else { 3 });
        client.expect_closed();
        refused += 1;
    }
    assert!(refused > 0 && refused < 30, "{refused}");
    broker.expect_log("disconnected: max_connection_rate exceeded.");
    eventually("an open door", || {
        broker.dial(&Dial::new(V5, "later")).next().is_some_and(|frame| frame.code() == 0)
    });
}

/// Of TLS not even the handshake is begun: it is what costs.
#[test]
fn a_crowd_that_stays_is_not_heard_over_tls() {
    let pki = Pki::new("authority");
    let server = pki.server();
    let port = free_port();
    let conf = format!(
        "user root\nsys_interval 1\nlog_type all\nlistener {port} 127.0.0.1\n\
         listener {{port}} 127.0.0.1\ncertfile {{dir}}/server.pem\nkeyfile {{dir}}/server.key\n"
    );
    let broker = Broker::setup()
        .conf(&conf)
        .own("max_connection_rate 1\nmax_connection_wait 1\n")
        .file("server.pem", &server.certificate)
        .file("server.key", &server.key)
        .start();
    // They say nothing, so that only the door can close them.
    let crowd: Vec<Client> = (0..30).map(|_| broker.open(V5)).collect();
    broker.expect_log("Client connection from 127.0.0.1 denied: max_connection_rate exceeded.");
    drop(crowd);
    eventually("an open door", || {
        let mut client = Client::open(SocketAddr::from(([127, 0, 0, 1], port)), V5);
        client.send(&Dial::new(V5, "watcher").bytes());
        client.next().is_some_and(|frame| frame.code() == 0)
    });
}

/// What a limit has refused is counted where people look.
#[test]
fn what_is_refused_is_counted() {
    let broker = Broker::setup()
        .conf("user root\nsys_interval 1\nglobal_max_clients 2\npassword_file {dir}/pw\n")
        .own("connect_timeout 1\nmax_topic_levels 5\n")
        .file("pw", "")
        .start();
    broker.open(V5).expect_closed();
    let mut a = broker.client(V5, "a");
    let suback = a.subscribe_with(&[("a/b/c/d/e/f/g", 0)], &mogi_codec::PropertyBuf::new());
    assert_eq!(suback.codes(), [0x8F]);
    let first = broker.client(V5, "watcher");
    broker.dial(&Dial::new(V5, "c")).expect_connack(0x89);
    broker.dial(&Dial::new(V5, "d").username("ann").password("x")).expect_connack(0x87);
    drop(first);
    let names = ["connections/refused/late", "topics/refused", "sessions/refused", "logins/failed"];
    for name in names {
        assert_eq!(metric(&broker, name), 1, "{name}");
    }
}

/// Behind a proxy the client's address is shut out, and not the proxy's.
#[test]
fn behind_a_proxy_the_clients_address_is_shut_out() {
    let conf = "user root\nsys_interval 1\nlistener {port} 127.0.0.1\n\
                enable_proxy_protocol 1\npassword_file {dir}/pw\n";
    let own = "auth_ban_attempts 2\nauth_ban_time 600\n";
    let broker = Broker::setup().conf(conf).own(own).file("pw", "").start();
    let dial = |source: &str, version, user: Option<&str>| {
        let mut client = broker.open(version);
        client.send(format!("PROXY TCP4 {source} 192.0.2.9 1000 1883\r\n").as_bytes());
        let dial = Dial::new(version, "c");
        let dial = match user {
            Some(user) => dial.username(user).password("x"),
            None => dial,
        };
        client.send(&dial.bytes());
        client
    };
    for _ in 0..2 {
        dial("192.0.2.1", V5, Some("ann")).expect_connack(0x87);
    }
    dial("192.0.2.1", V5, None).expect_connack(0x8A);
    dial("192.0.2.1", V311, None).expect_connack(5);
    let mut other = dial("192.0.2.2", V5, None);
    other.expect_connected();
    other.subscribe("$SYS/broker/limits/connections/refused/banned", 0);
    assert_eq!(other.expect_publish().text(), "2");
}

/// The limit of one listener leaves the others alone.
#[test]
fn a_listener_has_so_many_clients() {
    let port = free_port();
    let broker = Broker::setup()
        .conf(&format!(
            "user root\nlistener {{port}} 127.0.0.1\nmax_connections 1\n\
             listener {port} 127.0.0.1\n"
        ))
        .start();
    let mut first = broker.client(V5, "a");
    broker.open(V5).expect_closed();
    let mut other = Client::open(SocketAddr::from(([127, 0, 0, 1], port)), V5);
    other.send(&Dial::new(V5, "b").bytes());
    other.expect_connected();
    first.ping();
}
