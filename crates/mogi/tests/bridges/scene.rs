//! Two brokers and a bridge between them, and servers made of a listening socket.

use crate::support::broker::Setup;
use crate::support::{Broker, Client, PATIENCE, Version, eventually};
use mogi_codec::{Connack, Packet, PacketKind, Properties, Suback, Unsuback};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a bridge is called at the other broker.
pub(super) const ID: &str = "there";
/// Where it says how it is.
pub(super) const STATE: &str = "$SYS/broker/connection/there/state";

/// The lines of a bridge to `port`.
pub(super) fn bridge_to(port: u16, lines: &str) -> String {
    format!(
        "user root\nlog_type all\nconnection b\naddress 127.0.0.1:{port}\nremote_clientid {ID}\n\
         restart_timeout 1\n{lines}\n"
    )
}

/// A broker with a bridge to `port`; its state is in memory.
pub(super) fn setup_to(port: u16, lines: &str) -> Setup {
    Broker::setup().conf(&bridge_to(port, lines)).own("worker_threads 2\n")
}

/// A broker with a bridge to `remote`, when both sides have their subscriptions.
#[track_caller]
pub(super) fn bridged(remote: &Broker, lines: &str) -> Broker {
    let broker = setup_to(remote.port(), lines).start();
    await_up(&broker, 1);
    broker
}

/// Waits until the bridge is up for the `count`-th time and has its subscriptions on both sides.
#[track_caller]
pub(super) fn await_up(broker: &Broker, count: usize) {
    let conf = std::fs::read_to_string(broker.dir().join("mosquitto.conf")).expect("a file");
    let has = |words: &[&str]| {
        let lines = conf.lines().filter(|line| line.starts_with("topic "));
        lines.filter(|line| words.iter().any(|word| line.contains(word))).count()
    };
    let incoming = has(&[" in", " both"]);
    eventually("the bridge to be up", || {
        let log = broker.log();
        let Some(at) = nth(&log, "Received CONNACK on connection", count) else {
            return false;
        };
        let answers = log[at..].matches("Received SUBACK from").count();
        let local = log[at..].matches("Sending SUBACK to local.").count();
        answers >= incoming && (local > 0 || has(&[" out", " both"]) == 0)
    });
}

fn nth(text: &str, what: &str, count: usize) -> Option<usize> {
    text.match_indices(what).nth(count - 1).map(|(at, _)| at)
}

/// Programs of Mosquitto to meet.
pub(super) fn mosquittos() -> Vec<PathBuf> {
    let programs: Vec<PathBuf> = match std::env::var("MOGI_TEST_MOSQUITTO") {
        Ok(programs) => programs.split(':').map(PathBuf::from).collect(),
        Err(_) => ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .into_iter()
            .collect(),
    };
    if programs.is_empty() {
        eprintln!("no mosquitto is installed, so there is nothing to bridge to");
    }
    programs
}

/// A Mosquitto, not started yet.
pub(super) fn mosquitto(program: &Path, conf: &str) -> Setup {
    Broker::setup().program(program).conf(&format!("user root\nlog_type all\n{conf}"))
}

/// A server that answers only what it is told to.
pub(super) struct Server {
    listener: TcpListener,
    version: Version,
}

impl Server {
    pub(super) fn new(version: Version) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        Self { listener, version }
    }

    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().expect("a bound socket has an address").port()
    }

    /// The next connection of the bridge.
    #[track_caller]
    pub(super) fn accept(&self) -> Client {
        Client::of(self.accept_stream(), self.version)
    }

    #[track_caller]
    fn accept_stream(&self) -> TcpStream {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(false).expect("a socket that blocks");
                return stream;
            }
            assert!(Instant::now() < deadline, "the bridge does not connect");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// The next connection, with its CONNECT answered, and everything the bridge says of itself.
    #[track_caller]
    pub(super) fn welcome(&self, session_present: bool) -> Client {
        let mut client = self.accept();
        client.expect(PacketKind::Connect);
        self.connack(&mut client, session_present, 0, Properties::default());
        client
    }

    /// Sends CONNACK.
    pub(super) fn connack(
        &self,
        client: &mut Client,
        session_present: bool,
        code: u8,
        properties: Properties<'_>,
    ) {
        let mut bytes = Vec::new();
        Connack { session_present, code, properties }.encode(self.version, &mut bytes);
        client.send(&bytes);
    }

    /// The next message of the bridge; its own SUBSCRIBE and UNSUBSCRIBE before it are answered.
    #[track_caller]
    pub(super) fn next_message(&self, client: &mut Client) -> crate::support::Message {
        loop {
            let frame = client.recv();
            if !self.answer(client, &frame) {
                return crate::support::Message::of(&frame);
            }
        }
    }

    /// Answers SUBSCRIBE and UNSUBSCRIBE; whether it was one of them.
    pub(super) fn answer(&self, client: &mut Client, frame: &crate::support::Frame) -> bool {
        let mut bytes = Vec::new();
        let properties = Properties::default();
        match frame.packet() {
            Packet::Subscribe(subscribe) => {
                let codes: Vec<u8> =
                    subscribe.filters().map(|filter| filter.options.qos as u8).collect();
                Suback { packet_id: subscribe.packet_id, properties, codes: &codes }
                    .encode(self.version, &mut bytes);
            }
            Packet::Unsubscribe(unsubscribe) => {
                let codes = vec![0; unsubscribe.filters().count()];
                Unsuback { packet_id: unsubscribe.packet_id, properties, codes: &codes }
                    .encode(self.version, &mut bytes);
            }
            _ => return false,
        }
        client.send(&bytes);
        true
    }
}
