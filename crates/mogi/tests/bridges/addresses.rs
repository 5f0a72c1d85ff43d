//! Several addresses: `addresses`, `round_robin`.

use super::scene::{Server, setup_to};
use crate::support::{Broker, Out, PacketKind, V311};

/// A bridge to the ports in turn.
fn setup(ports: [u16; 2], lines: &str) -> crate::support::broker::Setup {
    let [first, second] = ports;
    let conf = super::scene::bridge_to(first, &format!("notifications false\n{lines}"));
    let one = format!("address 127.0.0.1:{first}\n");
    let both = format!("addresses localhost:{first} 127.0.0.1:{second} # and no more\n");
    setup_to(first, "").conf(&conf.replace(&one, &both))
}

#[test]
fn the_next_address_is_tried_and_the_first_is_gone_back_to() {
    let mut main = Broker::start("");
    let spare = Broker::start("");
    main.kill();
    let broker = setup([main.port(), spare.port()], "topic # out 1").start();
    broker.client(V311, "near").publish(Out::new("a", "one").qos(1).retain());
    let mut far = spare.client(V311, "far");
    far.subscribe("#", 1);
    far.receive("a", "one");
    main.restart();
    broker.expect_log("Bridge b goes back to its first address.");
    let mut far = main.client(V311, "far");
    far.subscribe("#", 1);
    broker.client(V311, "near").publish(Out::new("a", "two").qos(1));
    loop {
        let message = far.expect_publish();
        far.complete(&message);
        if message.text() == "two" {
            break;
        }
    }
}

#[test]
fn all_are_equal_on_request() {
    let (first, second) = (Server::new(V311), Server::new(V311));
    let lines = "round_robin true\ntopic # out 1";
    let _broker = setup([first.port(), second.port()], lines).start();
    drop(first.welcome(false));
    let mut client = second.welcome(false);
    // It stays there for longer than the first one would be probed after.
    client.stream().set_read_timeout(Some(std::time::Duration::from_secs(7))).expect("a socket");
    client.send(&[0xD0, 0]);
    let mut byte = [0];
    let read = std::io::Read::read(&mut client.stream(), &mut byte);
    assert!(read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    drop(client);
    first.welcome(false).stream().shutdown(std::net::Shutdown::Both).expect("a socket");
    second.accept().expect(PacketKind::Connect);
}

#[test]
fn a_name_that_does_not_exist_is_no_end() {
    let remote = Broker::start("");
    let conf = super::scene::bridge_to(remote.port(), "topic # out 1");
    let one = format!("address 127.0.0.1:{}", remote.port());
    let both = format!("addresses no-such-host.invalid 127.0.0.1:{}", remote.port());
    let broker = setup_to(1, "").conf(&conf.replace(&one, &both)).start();
    let mut far = remote.client(V311, "far");
    far.subscribe("#", 1);
    broker.client(V311, "near").publish(Out::new("a", "x").qos(1));
    far.receive("a", "x");
    assert!(broker.log().contains("Error creating bridge: "), "{}", broker.log());
}
