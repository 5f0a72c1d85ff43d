//! What a broker keeps for its clients, and how much memory that takes.

use crate::support::{Broker, Dial, Out, PacketKind, V5, V311, eventually};

fn broker(conf: &str) -> Broker {
    Broker::setup().conf(&format!("user root\nlog_type all\nsys_interval 1\n{conf}")).start()
}

#[test]
fn retained_messages_have_so_many_bytes() {
    let broker = broker("max_retained_bytes 10000\n");
    let mut client = broker.client(V5, "a");
    let keep = |topic: &str, len: usize| Out::new(topic, vec![b'x'; len]).qos(1).retain();
    client.publish(keep("one", 6000));
    client.publish(keep("two", 6000));
    broker.expect_log("Retained message on 'two' not kept: max_retained_messages or");
    // What takes the place of a larger one always may, and what is removed makes room.
    client.publish(keep("one", 5000));
    client.publish(keep("two", 4000));
    let mut other = broker.client(V311, "b");
    other.subscribe("+", 0);
    let mut lens = [other.expect_publish(), other.expect_publish()].map(|it| it.payload.len());
    lens.sort_unstable();
    assert_eq!(lens, [4000, 5000]);
    other.expect_nothing();
    other.subscribe("$SYS/broker/limits/retained/refused", 0);
    assert_eq!(other.expect_publish().text(), "1");
}

#[test]
fn queues_of_all_clients_have_so_many_bytes() {
    let broker = broker("max_queued_bytes_total 20000\nmax_queued_messages 0\n");
    let dials = ["a", "b"].map(|id| Dial::persistent(V311, id));
    for dial in &dials {
        let mut client = broker.connect(dial);
        client.subscribe("t", 1);
        client.disconnect();
    }
    let mut client = broker.client(V5, "c");
    for _ in 0..30 {
        client.publish(Out::new("t", [b'x'; 1000]).qos(1));
    }
    broker.expect_log("Outgoing messages are being dropped for client");
    broker.expect_log("has reached max_queued_bytes_total 20000: what comes now is dropped.");
    let mut got = 0;
    for dial in &dials {
        let mut receiver = broker.connect(dial);
        receiver.subscribe("end", 1);
        client.publish(Out::new("end", "").qos(1));
        loop {
            let message = receiver.expect_publish();
            receiver.complete(&message);
            if message.topic == "end" {
                break;
            }
            got += 1;
        }
        receiver.disconnect();
    }
    assert!((18..=20).contains(&got), "{got} messages of 1000 bytes were kept");
    // What was delivered makes room.
    let mut left = broker.connect(&dials[0]);
    left.ping();
    drop(left);
    client.publish(Out::new("t", [b'x'; 5000]).qos(1));
    let mut receiver = broker.connect(&dials[0]);
    let mut message = receiver.expect_publish();
    while message.topic == "end" {
        message = receiver.expect_publish();
    }
    assert_eq!(message.payload.len(), 5000);
}

#[test]
fn a_client_has_so_many_subscriptions() {
    let broker = broker("max_subscriptions_per_client 2\n");
    let mut client = broker.client(V5, "a");
    client.subscribe("one", 0);
    client.subscribe("two", 0);
    let refused = client.subscribe_with(&[("three", 0)], &mogi_codec::PropertyBuf::new());
    assert_eq!(refused.codes(), [0x97]);
    client.subscribe("two", 1);
    client.unsubscribe(&["one", "two"]);
    client.subscribe("$SYS/broker/limits/subscriptions/refused", 0);
    assert_eq!(client.expect_publish().text(), "1");
}

/// New clients are turned away before those who are there notice anything; then messages that would
/// have to be kept are; and when there is memory again, everything is as before.
#[test]
fn memory_has_a_limit() {
    let setup = Broker::setup().conf(
        "user root\nlog_type all\nsys_interval 1\nmemory_limit 90000000\nmax_queued_messages 0\n",
    );
    let broker = setup.own("worker_threads 1\n").start();
    let mut away = broker.connect(&Dial::persistent(V311, "away"));
    away.subscribe("t", 1);
    away.disconnect();
    let mut healthy = broker.client(V311, "healthy");
    healthy.subscribe("live", 0);
    let mut publisher = broker.client(V5, "publisher");
    let message = || Out::new("t", vec![b'x'; 100_000]).qos(1);
    let mut refused = None;
    for n in 0..2000 {
        if publisher.publish_code(message()) == 0x97 {
            refused = Some(n);
            break;
        }
    }
    let kept = refused.expect("memory is limited");
    assert!(broker.rss() < 120_000_000, "it takes {}", broker.rss());
    broker.expect_log("memory_limit is 90000000");
    // Who is there goes on with what need not be kept, who cannot be told leaves.
    publisher.publish(Out::new("live", "x"));
    healthy.receive("live", "x");
    // A client that comes is told, or not heard at all.
    let mut new = broker.dial(&Dial::new(V5, "new"));
    assert!(new.next().is_none_or(|frame| frame.code() == 0x89));
    healthy.publish(Out::new("live", "y"));
    healthy.receive("live", "y");
    // What the process has may fall below the limit by itself: then it is filled again.
    let leaves = (0..20).any(|_| {
        while publisher.publish_code(message()) != 0x97 {}
        let publish = Out::new("live", "z").qos(1).id(1).bytes(V311);
        healthy.send(&[&publish[..], &[0xC0, 0]].concat());
        let mut frames = std::iter::from_fn(|| healthy.next());
        !frames.any(|frame| frame.kind() == PacketKind::Pingresp)
    });
    assert!(leaves, "who cannot be told stays");
    // Space is made: an administrator ends the session. It cannot come in, so the limit is raised.
    crate::change(&broker, "memory_limit 90000000", "memory_limit 2000000000");
    let dial = Dial::persistent(V311, "away").clean();
    eventually("room", || broker.dial(&dial).next().is_some_and(|frame| frame.code() == 0));
    assert!(kept > 100, "only {kept} messages were kept");
    assert!(publisher.publish_code(message()) < 0x80);
}

#[test]
fn what_is_dropped_is_counted_by_its_reason() {
    let broker = broker("max_queued_messages 5\n");
    let mut client = broker.connect(&Dial::persistent(V311, "away"));
    client.subscribe("t", 1);
    client.disconnect();
    let mut client = broker.client(V5, "c");
    for _ in 0..12 {
        client.publish(Out::new("t", "x").qos(1));
    }
    broker.expect_log("Client away has reached max_queued_messages 5: what comes now is dropped.");
    client.subscribe("$SYS/broker/limits/dropped/queue", 0);
    while client.expect_publish().text() != "7" {}
}
