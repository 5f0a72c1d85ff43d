//! The order of what a client publishes, wherever it is connected.

use super::links::is_answered;
use super::scene::{Site, begin, free_port, linked};
use crate::support::{Broker, Dial, Out, V5};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// A way to a node on which links may be slow.
struct Way {
    address: SocketAddr,
    port: u16,
    /// How many of the first links are held up.
    held: Arc<AtomicUsize>,
}

impl Way {
    fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("cannot bind a port");
        let address = listener.local_addr().expect("it is bound");
        let way = Self { address, port: free_port(), held: Arc::default() };
        let (port, held, mut links) = (way.port, Arc::clone(&way.held), 0..);
        spawn(move || {
            for near in listener.incoming() {
                let far = TcpStream::connect(("127.0.0.1", port));
                // The node may not run yet.
                let (Ok(near), Ok(far)) = (near, far) else { continue };
                let Some(at) = links.next() else { return };
                let pair = |it: &TcpStream| it.try_clone().expect("a copy of a socket");
                let (near_too, mut far_too, held) = (pair(&near), pair(&far), Arc::clone(&held));
                spawn(move || {
                    let _ = io::copy(&mut far_too, &mut &near_too);
                    let _ = near_too.shutdown(Shutdown::Both);
                });
                spawn(move || {
                    let _ = pass_on(near, &far, || at < held.load(Ordering::Relaxed));
                    let _ = far.shutdown(Shutdown::Both);
                });
            }
        });
        way
    }

    #[track_caller]
    fn node(&self, site: &Site, name: &str) -> Broker {
        site.node_with(name, self.port, &format!("cluster_advertise {}", self.address))
    }

    /// Holds up what goes to the node over the first link.
    fn hold_first(&self) {
        self.held.store(1, Ordering::Relaxed);
    }

    fn release(&self) {
        self.held.store(0, Ordering::Relaxed);
    }
}

fn pass_on(mut from: TcpStream, mut to: &TcpStream, is_held: impl Fn() -> bool) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let len = from.read(&mut bytes)?;
        while is_held() {
            sleep(Duration::from_millis(5));
        }
        if len == 0 {
            return Ok(());
        }
        to.write_all(&bytes[..len])?;
    }
}

/// What it published before it moved is on its way to the subscriber's node over a slow link, and
/// what it publishes now would go over a fast one.
#[test]
fn mqtt_4_6_0_5_a_publisher_that_moves_does_not_overtake_itself() {
    for qos in [1, 2] {
        let (site, way) = (Site::new(""), Way::new());
        let a = site.node("a");
        let c = way.node(&site, "c");
        linked(&a, &c);
        let mut subscriber = begin(&c, V5, "subscriber");
        let b = site.node("b");
        b.expect_log("linked to node c");
        a.expect_log("linked to node b");
        subscriber.subscribe("t", 1);
        let mut sender = begin(&a, V5, "sender");
        way.hold_first();
        sender.publish(Out::new("t", "one").qos(qos));
        let mut sender = b.dial(&Dial::persistent(V5, "sender"));
        if !is_answered(&sender) {
            way.release();
        }
        sender.expect_connected();
        sender.publish(Out::new("t", "two").qos(qos));
        way.release();
        subscriber.receive("t", "one");
        subscriber.receive("t", "two");
    }
}
