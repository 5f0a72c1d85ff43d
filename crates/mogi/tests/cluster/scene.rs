//! Brokers that share a Redis server.

use super::server;
use crate::support::broker::Setup;
pub(super) use crate::support::sessions::{TOLD, begin, resume, resume_with, sleeper};
use crate::support::{Broker, Client, Id, Out, PacketKind, V5};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

/// Nodes with one store, which no other scene uses.
pub(super) struct Site {
    prefix: u32,
    store: String,
    own: String,
}

impl Site {
    /// On the Redis server of this process. `own`: more options of mogi's own.
    pub(super) fn new(own: &str) -> Self {
        Self::on(&format!("redis://127.0.0.1:{}", server::port()), own)
    }

    /// On another store.
    pub(super) fn on(store: &str, own: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { prefix, store: store.to_owned(), own: own.to_owned() }
    }

    /// The name of a key of theirs in Redis.
    pub(super) fn key(&self, name: &str) -> String {
        format!("t{}:{name}", self.prefix)
    }

    /// A node, serving. A lease lasts two seconds.
    #[track_caller]
    pub(super) fn node(&self, name: &str) -> Broker {
        self.node_with(name, free_port(), "")
    }

    /// A node whose links come in at that port, with more options of mogi's own.
    #[track_caller]
    pub(super) fn node_with(&self, name: &str, port: u16, more: &str) -> Broker {
        self.setup(name, port, more).start()
    }

    /// Such a node, not started yet.
    pub(super) fn setup(&self, name: &str, port: u16, more: &str) -> Setup {
        let Self { prefix, store, own } = self;
        let own = format!(
            "worker_threads 2\npersistence_store {store}\nredis_prefix t{prefix}:\n\
             cluster_listener {port} 127.0.0.1\ncluster_node_id {name}\n\
             cluster_lease_seconds 2\n{own}\n{more}"
        );
        Broker::setup().conf("user root\nlog_type all\n").own(&own)
    }
}

/// Two nodes.
#[track_caller]
pub(super) fn two() -> [Broker; 2] {
    let site = Site::new("");
    ["a", "b"].map(|name| site.node(name))
}

/// Three nodes.
#[track_caller]
pub(super) fn three() -> [Broker; 3] {
    let site = Site::new("");
    ["a", "b", "c"].map(|name| site.node(name))
}

/// Where clients of a node that stops are to go.
pub(super) const REFERENCE_OPTION: &str =
    "cluster_server_reference b.example:1883 c.example:1883\n";

/// The node stops, and says where to go ([`REFERENCE_OPTION`]).
#[track_caller]
pub(super) fn expect_moved(client: &mut Client) {
    let told = client.expect(PacketKind::Disconnect);
    assert_eq!(told.code(), 0x9D, "{told:?}");
    let (_, reference) = REFERENCE_OPTION.trim_end().split_once(' ').expect("name and value");
    assert_eq!(told.props().str(Id::ServerReference), Some(reference));
    client.expect_closed();
}

/// Waits until each of the two has its link to the other.
#[track_caller]
pub(super) fn linked(a: &Broker, b: &Broker) {
    a.expect_log("linked to node");
    b.expect_log("linked to node");
}

/// Publishes at this QoS from a client that comes and goes.
#[track_caller]
pub(super) fn publish(broker: &Broker, topic: &str, payload: &str, qos: u8) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let id = format!("sender-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    broker.client(V5, &id).publish(Out::new(topic, payload).qos(qos));
}

/// Nothing waits for the client. PUBREL may come again, where its PUBCOMP was on its way when the
/// session moved.
#[track_caller]
pub(super) fn expect_no_message(client: &mut Client) {
    client.send(&[0xC0, 0]);
    loop {
        let frame = client.recv();
        match frame.kind() {
            PacketKind::Pubrel => client.pubcomp(frame.packet_id().expect("an id")),
            kind => return assert_eq!(kind, PacketKind::Pingresp, "{frame:?}"),
        }
    }
}

/// What the Redis server of this process answers to a command, if that is short.
#[track_caller]
pub(super) fn ask_redis(command: &str) -> String {
    let mut redis = TcpStream::connect((Ipv4Addr::LOCALHOST, server::port())).expect("Redis");
    write!(redis, "{command}\r\n").expect("sent");
    let mut answer = [0; 64];
    let len = redis.read(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("cannot bind a port");
    listener.local_addr().expect("a bound socket has an address").port()
}
