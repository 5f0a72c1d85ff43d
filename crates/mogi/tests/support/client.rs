//! A blocking connection that does what it is told, and nothing by itself.

use super::{Frame, Message, Out, PATIENCE};
use mogi_codec::properties::PropertyBuf;
use mogi_codec::{
    Ack, Disconnect, Header, Packet, PacketKind, Properties, Reason, Subscribe, SubscribeFilter,
    SubscribeOptions, Unsubscribe, Version,
};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A connection to a broker. It acknowledges nothing unless told to.
///
/// Dropping it closes the connection without DISCONNECT.
pub struct Client {
    stream: TcpStream,
    version: Version,
    /// Received bytes that no packet was made of yet.
    buf: Vec<u8>,
    /// Packets that came while an acknowledgement was awaited.
    inbox: VecDeque<Frame>,
    last_id: u16,
}

impl Client {
    /// Connects the socket and sends nothing.
    #[track_caller]
    pub fn open(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect(address).expect("cannot connect to the broker");
        Self::of(stream, version)
    }

    /// The other end of a connection that a broker has made.
    #[track_caller]
    pub fn of(stream: TcpStream, version: Version) -> Self {
        stream.set_nodelay(true).expect("cannot set TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("cannot set a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("cannot set a timeout");
        Self { stream, version, buf: Vec::new(), inbox: VecDeque::new(), last_id: 0 }
    }

    /// The socket, for what a scenario does to it.
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The next packet identifier, 1, 2, 3, …
    pub const fn next_id(&mut self) -> u16 {
        self.last_id = if self.last_id == u16::MAX { 1 } else { self.last_id + 1 };
        self.last_id
    }

    // --- sending

    /// Sends bytes. That the broker has closed the connection is no failure here: it shows in
    /// what is received.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Ok(()) => {}
            Err(error) if is_closed(error.kind()) => {}
            Err(error) => panic!("cannot send {} bytes: {error}", bytes.len()),
        }
    }

    /// Sends a PUBLISH and awaits nothing. The packet identifier it went under; 0 at QoS 0.
    #[track_caller]
    pub fn send_publish(&mut self, mut out: Out) -> u16 {
        if out.qos > 0 && out.packet_id == 0 {
            out.packet_id = self.next_id();
        }
        self.send(&out.bytes(self.version));
        out.packet_id
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP.
    #[track_caller]
    pub fn send_ack(&mut self, kind: PacketKind, packet_id: u16, reason: Reason) {
        let mut bytes = Vec::new();
        Ack::new(packet_id, reason).encode(self.version, kind, &mut bytes);
        self.send(&bytes);
    }

    /// Sends PUBACK with success.
    #[track_caller]
    pub fn puback(&mut self, packet_id: u16) {
        self.send_ack(PacketKind::Puback, packet_id, Reason::Success);
    }

    /// Sends PUBREC with success.
    #[track_caller]
    pub fn pubrec(&mut self, packet_id: u16) {
        self.send_ack(PacketKind::Pubrec, packet_id, Reason::Success);
    }

    /// Sends PUBREL with success.
    #[track_caller]
    pub fn pubrel(&mut self, packet_id: u16) {
        self.send_ack(PacketKind::Pubrel, packet_id, Reason::Success);
    }

    /// Sends PUBCOMP with success.
    #[track_caller]
    pub fn pubcomp(&mut self, packet_id: u16) {
        self.send_ack(PacketKind::Pubcomp, packet_id, Reason::Success);
    }

    // --- whole exchanges

    /// Publishes, and completes the handshake; every answer has to be success.
    #[track_caller]
    pub fn publish(&mut self, out: Out) {
        let code = self.publish_code(out);
        assert!(code < 0x80, "publish refused: 0x{code:02X}");
    }

    /// Publishes, completes the handshake, and hands back the PUBACK's or PUBREC's reason code;
    /// 0 at QoS 0.
    #[track_caller]
    pub fn publish_code(&mut self, out: Out) -> u8 {
        let qos = out.qos;
        let id = self.send_publish(out);
        match qos {
            0 => 0,
            1 => self.await_ack(PacketKind::Puback, id).code(),
            _ => {
                let code = self.await_ack(PacketKind::Pubrec, id).code();
                if code < 0x80 {
                    self.pubrel(id);
                    assert_eq!(self.await_ack(PacketKind::Pubcomp, id).code(), 0);
                }
                code
            }
        }
    }

    /// Subscribes to one filter; it has to be granted at this QoS.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        let ack = self.subscribe_with(&[(filter, qos)], &PropertyBuf::new());
        assert_eq!(ack.codes(), [qos], "SUBACK for {filter:?}");
    }

    /// Subscribes to filters with their option bytes, and hands back the SUBACK.
    #[track_caller]
    pub fn subscribe_with(&mut self, filters: &[(&str, u8)], props: &PropertyBuf) -> Frame {
        let filters: Vec<_> = filters
            .iter()
            .map(|&(filter, byte)| SubscribeFilter {
                filter,
                options: SubscribeOptions::decode(Version::V5, byte)
                    .expect("valid options; send raw bytes for others"),
            })
            .collect();
        let id = self.next_id();
        let mut bytes = Vec::new();
        Subscribe::encode(self.version, id, props.as_properties(), &filters, &mut bytes);
        self.send(&bytes);
        self.await_ack(PacketKind::Suback, id)
    }

    /// Unsubscribes, and hands back the UNSUBACK.
    #[track_caller]
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Frame {
        let id = self.next_id();
        let mut bytes = Vec::new();
        Unsubscribe::encode(self.version, id, Properties::default(), filters, &mut bytes);
        self.send(&bytes);
        self.await_ack(PacketKind::Unsuback, id)
    }

    /// PINGREQ, and its answer.
    #[track_caller]
    pub fn ping(&mut self) {
        self.send(&[0xC0, 0]);
        self.await_frame("PINGRESP", |frame| frame.kind() == PacketKind::Pingresp);
    }

    /// DISCONNECT; the broker has to close the connection.
    #[track_caller]
    pub fn disconnect(self) {
        self.disconnect_with(Reason::Success);
    }

    /// DISCONNECT with a reason code (5.0); the broker has to close the connection.
    #[track_caller]
    pub fn disconnect_with(mut self, reason: Reason) {
        let properties = Properties::default();
        let mut bytes = Vec::new();
        Disconnect { reason, properties }.encode(self.version, &mut bytes);
        self.send(&bytes);
        while let Some(frame) = self.next() {
            let kind = frame.kind();
            assert_ne!(kind, PacketKind::Disconnect, "DISCONNECT answered: {frame:?}");
        }
    }

    /// Closes the connection with a reset, as a crashed machine's does in the end.
    pub fn abort(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("cannot set SO_LINGER");
    }

    /// Says that nothing more will be sent, and goes on receiving.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("cannot half-close");
    }

    // --- receiving

    /// The next packet; none where the connection has ended.
    #[track_caller]
    pub fn next(&mut self) -> Option<Frame> {
        if let Some(frame) = self.inbox.pop_front() {
            return Some(frame);
        }
        self.read_frame()
    }

    /// The next packet.
    #[track_caller]
    pub fn recv(&mut self) -> Frame {
        self.next().expect("the broker closed the connection")
    }

    /// The next packet, which has to be of this kind.
    #[track_caller]
    pub fn expect(&mut self, kind: PacketKind) -> Frame {
        let frame = self.recv();
        assert_eq!(frame.kind(), kind, "{frame:?}");
        frame
    }

    /// The next packet has to be exactly these bytes.
    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        let frame = self.recv();
        assert_eq!(frame.bytes(), bytes, "{frame:?}");
    }

    /// The next packet, which has to be CONNACK with success.
    #[track_caller]
    pub fn expect_connected(&mut self) -> Frame {
        self.expect_connack(0)
    }

    /// The next packet, which has to be CONNACK with this code.
    #[track_caller]
    pub fn expect_connack(&mut self, code: u8) -> Frame {
        let frame = self.expect(PacketKind::Connack);
        assert_eq!(frame.code(), code, "{frame:?}");
        frame
    }

    /// The next packet, which has to be that acknowledgement, with this reason code.
    #[track_caller]
    pub fn expect_ack(&mut self, kind: PacketKind, packet_id: u16, code: u8) -> Frame {
        let frame = self.expect(kind);
        assert_eq!((frame.packet_id(), frame.code()), (Some(packet_id), code), "{frame:?}");
        frame
    }

    /// The next packet, which has to be a PUBLISH. It is not acknowledged.
    #[track_caller]
    pub fn expect_publish(&mut self) -> Message {
        Message::of(&self.recv())
    }

    /// The next packet, which has to be a PUBLISH with this topic and payload. It is not
    /// acknowledged.
    #[track_caller]
    pub fn expect_message(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Message {
        let message = self.expect_publish();
        let payload = String::from_utf8_lossy(payload.as_ref());
        assert_eq!((&*message.topic, &*message.text()), (topic, &*payload));
        message
    }

    /// Like [`Client::expect_message`], and completes the handshake.
    #[track_caller]
    pub fn receive(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Message {
        let message = self.expect_message(topic, payload);
        self.complete(&message);
        message
    }

    /// Completes the handshake of a received message.
    #[track_caller]
    pub fn complete(&mut self, message: &Message) {
        match message.qos {
            0 => {}
            1 => self.puback(message.packet_id),
            _ => {
                self.pubrec(message.packet_id);
                self.await_ack(PacketKind::Pubrel, message.packet_id);
                self.pubcomp(message.packet_id);
            }
        }
    }

    /// Nothing has been sent to this client but what was taken: the answer to a PINGREQ is next.
    ///
    /// It covers what the broker had decided before the ping. For what *another* client has just
    /// published use [`Client::expect_nothing_from`].
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.send(&[0xC0, 0]);
        let frame = self.recv();
        assert_eq!(frame.kind(), PacketKind::Pingresp, "expected nothing, got {frame:?}");
    }

    /// Nothing that `publisher` has published so far comes to this client: a message that
    /// `publisher` sends now is next.
    #[track_caller]
    pub fn expect_nothing_from(&mut self, publisher: &mut Self) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let topic = format!("fence/{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.subscribe(&topic, 0);
        publisher.publish(Out::new(&topic, "fence"));
        let frame = self.recv();
        let Packet::Publish(packet) = frame.packet() else {
            panic!("expected nothing, got {frame:?}");
        };
        assert_eq!(packet.topic, topic, "expected nothing, got {frame:?}");
        self.unsubscribe(&[&topic]);
    }

    /// The broker closes the connection without another packet.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        if let Some(frame) = self.next() {
            panic!("expected the connection's end, got {frame:?}");
        }
    }

    /// The broker sends DISCONNECT with this reason code (5.0), and closes the connection.
    #[track_caller]
    pub fn expect_disconnect(&mut self, code: u8) {
        let frame = self.expect(PacketKind::Disconnect);
        assert_eq!(frame.code(), code, "{frame:?}");
        self.expect_closed();
    }

    /// The broker ends the connection over an error: 5.0 clients are told `code` in a
    /// DISCONNECT, others just see the end.
    #[track_caller]
    pub fn expect_ended(&mut self, code: u8) {
        if self.version.is_v5() {
            self.expect_disconnect(code);
        } else {
            self.expect_closed();
        }
    }

    /// Receives and discards packets until the connection ends.
    #[track_caller]
    pub fn drain(&mut self) {
        while self.next().is_some() {}
    }

    #[track_caller]
    fn await_ack(&mut self, kind: PacketKind, packet_id: u16) -> Frame {
        self.await_frame(kind.name(), |frame| {
            frame.kind() == kind && frame.packet_id() == Some(packet_id)
        })
    }

    /// The first packet that `wanted` picks; those before it wait in the inbox.
    #[track_caller]
    fn await_frame(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        if let Some(index) = self.inbox.iter().position(&wanted) {
            return self.inbox.remove(index).expect("it was there");
        }
        loop {
            let Some(frame) = self.read_frame() else {
                panic!("connection closed instead of {what}; before it: {:?}", self.inbox);
            };
            if wanted(&frame) {
                return frame;
            }
            self.inbox.push_back(frame);
        }
    }

    #[track_caller]
    fn read_frame(&mut self) -> Option<Frame> {
        loop {
            let header = Header::parse(&self.buf).expect("the broker sent no packet");
            if let Some(len) = header.map(|header| header.packet_len())
                && self.buf.len() >= len
            {
                let rest = self.buf.split_off(len);
                let bytes = std::mem::replace(&mut self.buf, rest);
                return Some(Frame::new(self.version, bytes));
            }
            if !self.fill() {
                assert!(self.buf.is_empty(), "cut off in a packet: {:02x?}", self.buf);
                return None;
            }
        }
    }

    /// Reads what there is; `false` at the connection's end.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(len) => {
                    self.buf.extend_from_slice(&chunk[..len]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_closed(error.kind()) => return false,
                Err(error) => panic!(
                    "nothing came in time ({error}); before it: {:?}, {:02x?}",
                    self.inbox, self.buf
                ),
            }
        }
    }
}

/// Whether the error says that the other side has closed the connection.
fn is_closed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected)
}
