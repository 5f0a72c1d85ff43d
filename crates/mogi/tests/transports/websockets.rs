//! MQTT in WebSocket frames, and files beside it.

use crate::scene::{
    MUTUAL, TLS, client_config, connect, socket, tls, tls_with, until_end, with_files,
};
use crate::support::pki::Pki;
use crate::support::{Broker, Dial, Out, V5, V311};
use std::io::{Read, Write};
use std::net::TcpStream;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

const WEBSOCKETS: &str = "listener {port} 127.0.0.1\nprotocol websockets\n";

/// The request a browser begins with.
fn request(more: &str) -> String {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

const MQTT: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

/// Sends a request; the head of the answer.
#[track_caller]
fn ask(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("it takes the request");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A WebSocket through which MQTT goes; each write is a frame.
struct Socket<S: Read + Write> {
    websocket: WebSocket<S>,
    read: Vec<u8>,
}

impl<S: Read + Write> Socket<S> {
    #[track_caller]
    fn open(mut stream: S) -> Self {
        let answer = ask(&mut stream, &request(MQTT));
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let config = WebSocketConfig::default();
        let websocket = WebSocket::from_raw_socket(stream, Role::Client, Some(config));
        Self { websocket, read: Vec::new() }
    }
}

impl<S: Read + Write> Read for Socket<S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.read.is_empty() {
            match self.websocket.read().map_err(std::io::Error::other)? {
                Message::Binary(bytes) => self.read.extend(bytes),
                Message::Close(_) => return Ok(0),
                _ => {}
            }
        }
        let len = self.read.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.read[..len]);
        self.read.drain(..len);
        Ok(len)
    }
}

impl<S: Read + Write> Write for Socket<S> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let message = Message::Binary(bytes.to_vec().into());
        self.websocket.send(message).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.websocket.flush().map_err(std::io::Error::other)
    }
}

fn open(broker: &Broker) -> Socket<TcpStream> {
    Socket::open(socket(broker.address()))
}

#[test]
fn mqtt_goes_through_a_websocket() {
    let broker = Broker::setup().conf(WEBSOCKETS).own("worker_threads 4\n").start();
    let mut sockets: Vec<_> = (0..8).map(|_| open(&broker)).collect();
    for (n, socket) in sockets.iter_mut().enumerate() {
        crate::scene::works(socket, &format!("w{n}"));
    }
    sockets.iter_mut().for_each(crate::scene::ping);
    for socket in &mut sockets {
        socket.websocket.send(Message::Ping("are you there".into())).expect("it is sent");
        let answer = socket.websocket.read().expect("an answer");
        assert_eq!(answer, Message::Pong("are you there".into()));
        socket.websocket.close(None).expect("it is sent");
        assert!(matches!(socket.websocket.read(), Ok(Message::Close(_))));
    }
}

#[test]
fn mqtt_goes_through_a_secure_websocket() {
    let pki = Pki::new("ca");
    let lines = format!("{TLS}{MUTUAL}protocol websockets\nuse_identity_as_username true\n");
    let broker = with_files(&pki, &pki.server()).conf(&lines).own("worker_threads 4\n").start();
    for n in 0..8 {
        let alice = pki.client(&format!("alice-{n}"));
        let mut socket = Socket::open(tls(&broker, &pki, Some(&alice)));
        crate::scene::works(&mut socket, &format!("w{n}"));
        broker.expect_log(&format!("u'alice-{n}'"));
    }
    let config = client_config(&pki, None, rustls::DEFAULT_VERSIONS);
    let mut nobody = tls_with(broker.address(), &config);
    assert_eq!(ask(&mut nobody, &request(MQTT)), "");
}

/// Packets need not be aligned on frames. [MQTT-6.0.0-2]
#[test]
fn frames_and_packets_have_nothing_to_do_with_each_other() {
    let broker = Broker::start(WEBSOCKETS);
    let mut socket = open(&broker);
    let mut bytes = Dial::new(V311, "split").bytes();
    for _ in 0..3 {
        bytes.extend(Out::new("a", "payload").bytes(V311));
    }
    bytes.extend([0xC0, 0, 0xC0, 0]);
    for piece in bytes.chunks(3) {
        socket.write_all(piece).expect("it is sent");
    }
    let mut answer = [0; 8];
    socket.read_exact(&mut answer).expect("CONNACK and two PINGRESP");
    assert_eq!(answer, [0x20, 2, 0, 0, 0xD0, 0, 0xD0, 0]);
}

/// A large message, in one frame and in many, and back.
#[test]
fn large_messages_go_both_ways() {
    let broker = Broker::start(WEBSOCKETS);
    let payload = vec![b'x'; 1_900_000];
    for (name, step) in [("one", usize::MAX), ("many", 65_536)] {
        let mut receiver = open(&broker);
        assert_eq!(connect(&mut receiver, &Dial::new(V311, "receiver")), Some(0));
        receiver.write_all(b"\x82\x06\0\x01\0\x01t\0").expect("it is sent");
        let mut suback = [0; 5];
        receiver.read_exact(&mut suback).expect("SUBACK");
        let mut sender = open(&broker);
        assert_eq!(connect(&mut sender, &Dial::new(V311, "sender")), Some(0));
        let packet = Out::new("t", payload.clone()).bytes(V311);
        for piece in packet.chunks(step.min(packet.len())) {
            sender.write_all(piece).expect("it is sent");
        }
        let mut received = vec![0; packet.len()];
        receiver.read_exact(&mut received).expect("the message");
        assert!(received == packet, "{name}");
    }
}

#[test]
fn sub_protocols_and_origins_are_checked() {
    let broker = Broker::start(&format!("{WEBSOCKETS}websockets_origin https://a.example\n"));
    let status = |more: &str| {
        let answer = ask(&mut socket(broker.address()), &request(more));
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let good = format!("{MQTT}Origin: https://a.example\r\n");
    assert_eq!(status(&good), "101");
    assert_eq!(status(&good.replace("mqtt", "mqttv3.1")), "101");
    assert_eq!(status(&good.replace("mqtt", "chat, mqtt")), "101");
    assert_eq!(status(&good.replace("mqtt", "chat")), "400");
    assert_eq!(status("Origin: https://a.example\r\n"), "400");
    assert_eq!(status(MQTT), "403");
    assert_eq!(status(&format!("{MQTT}Origin: https://b.example\r\n")), "403");
}

#[test]
fn a_proxy_may_say_whose_websocket_it_is() {
    let forwarded = format!("{MQTT}X-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n");
    for (own, expected) in
        [("websockets_forwarded_for true\n", "from 192.0.2.7:0 as c"), ("", "from 127.0.0.1:")]
    {
        let broker = Broker::setup().conf(WEBSOCKETS).own(own).start();
        let mut stream = socket(broker.address());
        assert!(ask(&mut stream, &request(&forwarded)).contains(" 101 "));
        let config = WebSocketConfig::default();
        let websocket = WebSocket::from_raw_socket(stream, Role::Client, Some(config));
        let mut socket = Socket { websocket, read: Vec::new() };
        assert_eq!(connect(&mut socket, &Dial::new(V5, "c")), Some(0));
        broker.expect_log(&format!("New client connected {expected}"));
    }
}

#[test]
fn files_are_served_from_their_folder_only() {
    let big = "0123456789abcdef".repeat(40_000);
    let broker = Broker::setup()
        .conf(&format!("{WEBSOCKETS}http_dir {{dir}}\n"))
        .file("index.html", "<p>hello")
        .file("big.txt", &big)
        .start();
    std::os::unix::fs::symlink("/etc/passwd", broker.dir().join("link")).expect("a link");
    let get = |line: &str| {
        let mut stream = socket(broker.address());
        stream.write_all(format!("{line}\r\nHost: x\r\n\r\n").as_bytes()).expect("sent");
        String::from_utf8(until_end(&mut stream)).expect("text")
    };
    let index = get("GET / HTTP/1.1");
    assert!(index.starts_with("HTTP/1.1 200 ") && index.ends_with("\r\n\r\n<p>hello"), "{index}");
    assert!(index.contains("Content-Type: text/html"), "{index}");
    assert!(get("GET /big.txt?x=y HTTP/1.1").ends_with(&big));
    let head = get("HEAD /index.html HTTP/1.1");
    assert!(head.contains("Content-Length: 8\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for bad in ["/nope", "/../log", "/%2e%2e/etc/passwd", "//etc/passwd", "/link", "/."] {
        let answer = get(&format!("GET {bad} HTTP/1.1"));
        assert!(answer.starts_with("HTTP/1.1 4") && !answer.contains("root:"), "{bad}: {answer}");
    }
    assert!(get("POST / HTTP/1.1").starts_with("HTTP/1.1 405 "));
}
