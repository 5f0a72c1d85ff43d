//! Links that come late.

use super::scene::{Site, TOLD, begin, free_port};
use crate::support::{Message, Out};
use std::collections::BTreeSet;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread::spawn;

/// A way to a node that is blocked until it is opened.
struct Gate {
    listener: TcpListener,
    port: u16,
}

impl Gate {
    fn closed() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("cannot bind a port");
        Self { listener, port: free_port() }
    }

    fn advertised(&self) -> String {
        format!("cluster_advertise {}", self.listener.local_addr().expect("it is bound"))
    }

    fn open(self) {
        spawn(move || {
            for near in self.listener.incoming() {
                let far = TcpStream::connect(("127.0.0.1", self.port));
                let (Ok(near), Ok(far)) = (near, far) else { return };
                let pair = |it: &TcpStream| it.try_clone().expect("a copy of a socket");
                let (mut to_near, mut from_far) = (pair(&near), pair(&far));
                spawn(move || io::copy(&mut from_far, &mut to_near));
                spawn(move || io::copy(&mut &near, &mut &far));
            }
        });
    }
}

/// The node with the subscribers is linked to the one with the publisher, which so knows of them;
/// the other way there is no link yet.
#[test]
fn messages_wait_for_a_link_that_comes_late() {
    for version in TOLD {
        let site = Site::new("");
        let gate = Gate::closed();
        let a = site.node_with("a", gate.port, &gate.advertised());
        let b = site.node("b");
        let mut lasting = begin(&a, version, "lasting");
        let mut brief = a.client(version, "brief");
        let mut sender = b.client(version, "sender");
        for qos in 0..=2 {
            lasting.subscribe(&format!("t/{qos}"), qos);
            brief.subscribe(&format!("t/{qos}"), qos);
            sender.publish(Out::new(&format!("t/{qos}"), "hello").qos(qos));
        }
        gate.open();
        for client in [&mut lasting, &mut brief] {
            // In any order: those of the store may be found there first.
            let mut got = BTreeSet::new();
            while got.len() < 3 {
                let message = Message::of(&client.recv());
                client.complete(&message);
                got.insert((message.topic.clone(), message.qos));
            }
            let all = (0..=2).map(|qos| (format!("t/{qos}"), qos));
            assert_eq!(got, all.collect());
        }
    }
}
