//! A broker that follows a script.

use mogi_codec::{
    Ack, Connack, Packet, PacketKind, Properties, PropertyBuf, Publish, QoS, Reason, Suback,
    Unsuback, Version,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the broker does about a packet.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    Close,
}

/// Answers to a packet: the number of the connection, the packet, its bytes. `None`: what a
/// broker answers.
pub(crate) type Script = dyn Fn(usize, &Packet<'_>) -> Option<Vec<Reply>> + Send + Sync;

pub(crate) struct Broker {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Broker {
    /// A broker that does nothing special.
    pub(crate) fn plain() -> Self {
        Self::new(|_, _| None)
    }

    pub(crate) fn new(
        script: impl Fn(usize, &Packet<'_>) -> Option<Vec<Reply>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, all): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&all));
                thread::spawn(move || serve(stream, number, &*script, &seen));
            }
        });
        Self { port, seen }
    }

    /// Sends these messages when the client has subscribed.
    pub(crate) fn sending(messages: Vec<Vec<u8>>) -> Self {
        Self::new(move |_, packet| match packet {
            Packet::Subscribe(_) => {
                let mut replies = default(packet);
                replies.extend(messages.iter().cloned().map(Reply::Bytes));
                Some(replies)
            }
            _ => None,
        })
    }

    /// What arrived, in hexadecimal, one packet each.
    pub(crate) fn seen(&self) -> Vec<String> {
        let hex = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect();
        self.seen.lock().expect("no panic").iter().map(hex).collect()
    }

    /// What arrived of one kind.
    pub(crate) fn seen_of(&self, kind: PacketKind) -> Vec<String> {
        let first = format!("{:x}", kind as u8);
        let seen = self.seen().into_iter();
        seen.filter(|frame| frame.starts_with(&first)).collect()
    }
}

fn serve(mut stream: TcpStream, number: usize, script: &Script, seen: &Mutex<Vec<Vec<u8>>>) {
    let mut version = Version::V311;
    let mut input = Vec::new();
    let mut chunk = [0; 65536];
    loop {
        while let Ok(Some((packet, len))) = Packet::parse(version, &input) {
            if let Packet::Connect(connect) = packet {
                version = connect.version;
            }
            let replies = script(number, &packet).unwrap_or_else(|| default(&packet));
            seen.lock().expect("no panic").push(input[..len].to_vec());
            let replies = replies.into_iter();
            for reply in replies {
                match reply {
                    Reply::Bytes(bytes) => {
                        if stream.write_all(&bytes).is_err() {
                            return;
                        }
                    }
                    Reply::Close => return,
                }
            }
            input.drain(..len);
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(n) => input.extend_from_slice(&chunk[..n]),
        }
    }
}

/// What a broker answers that grants everything.
pub(crate) fn default(packet: &Packet<'_>) -> Vec<Reply> {
    // The connection's version is in no packet but the first, and in none of the others does
    // it matter to the tools, except for the lengths below.
    let mut out = Vec::new();
    match packet {
        Packet::Connect(connect) => return vec![connack(connect.version, 0, &PropertyBuf::new())],
        Packet::Publish(publish) => {
            let kind = match publish.qos {
                QoS::AtMostOnce => return Vec::new(),
                QoS::AtLeastOnce => PacketKind::Puback,
                QoS::ExactlyOnce => PacketKind::Pubrec,
            };
            Ack::new(publish.packet_id, Reason::Success).encode(Version::V311, kind, &mut out);
        }
        Packet::Pubrec(ack) => {
            let ack = Ack::new(ack.packet_id, Reason::Success);
            ack.encode(Version::V311, PacketKind::Pubrel, &mut out);
        }
        Packet::Pubrel(ack) => {
            let ack = Ack::new(ack.packet_id, Reason::Success);
            ack.encode(Version::V311, PacketKind::Pubcomp, &mut out);
        }
        Packet::Subscribe(subscribe) => {
            let codes = vec![0; subscribe.filters().count()];
            return vec![suback(version_of(subscribe), subscribe.packet_id, &codes)];
        }
        Packet::Unsubscribe(unsubscribe) => Unsuback {
            packet_id: unsubscribe.packet_id,
            properties: Properties::default(),
            codes: &[],
        }
        .encode(Version::V311, &mut out),
        Packet::Pingreq => out.extend_from_slice(&[0xD0, 0]),
        Packet::Disconnect(_) => return vec![Reply::Close],
        _ => {}
    }
    vec![Reply::Bytes(out)]
}

/// A SUBSCRIBE knows the version it was decoded for; that shows in its debug text only.
fn version_of(subscribe: &mogi_codec::Subscribe<'_>) -> Version {
    if format!("{subscribe:?}").contains("version: V5") { Version::V5 } else { Version::V311 }
}

pub(crate) fn connack(version: Version, code: u8, properties: &PropertyBuf) -> Reply {
    let mut out = Vec::new();
    Connack { session_present: false, code, properties: properties.as_properties() }
        .encode(version, &mut out);
    Reply::Bytes(out)
}

pub(crate) fn suback(version: Version, packet_id: u16, codes: &[u8]) -> Reply {
    let mut out = Vec::new();
    Suback { packet_id, properties: Properties::default(), codes }.encode(version, &mut out);
    Reply::Bytes(out)
}

/// A message for a client of 3.1.1.
pub(crate) fn message(topic: &str, payload: &str, retain: bool) -> Vec<u8> {
    publish(Version::V311, topic, payload, QoS::AtMostOnce, 0, retain)
}

pub(crate) fn publish(
    version: Version,
    topic: &str,
    payload: &str,
    qos: QoS,
    packet_id: u16,
    retain: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    Publish {
        dup: false,
        qos,
        retain,
        topic,
        packet_id,
        properties: Properties::default(),
        payload: payload.as_bytes(),
    }
    .encode(version, &mut out);
    out
}
