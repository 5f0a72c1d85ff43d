use super::*;
use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

const BINARY: u8 = 0x82;

/// A masked frame with the given first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What comes of bytes received in pieces of `step`: MQTT bytes, answers, and the problem.
fn receive(bytes: &[u8], step: usize) -> (Vec<u8>, Vec<u8>, Option<Failure>) {
    let mut frames = Frames::default();
    let (mut mqtt, mut answers) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        let mut buffer = vec![0; frames.kept()];
        buffer.extend(piece);
        match frames.receive(&mut buffer, true, &mut answers) {
            Ok(filled) => mqtt.extend(&buffer[..filled]),
            Err(failure) => return (mqtt, answers, Some(failure)),
        }
    }
    (mqtt, answers, None)
}

#[test]
fn frames_mean_nothing_to_mqtt() {
    let mut bytes = frame(BINARY, b"one ");
    bytes.extend(frame(0x02, b"two "));
    bytes.extend(frame(0x89, b"ping between fragments"));
    bytes.extend(frame(0x00, b""));
    bytes.extend(frame(0x80, b"three "));
    bytes.extend(frame(BINARY, &[b'x'; 70_000]));
    let mut all = b"one two three ".to_vec();
    all.extend([b'x'; 70_000]);
    for step in [1, 2, 3, 7, 8, 13, 100, 65_536, bytes.len()] {
        let (mqtt, answers, problem) = receive(&bytes, step);
        assert_eq!(problem, None);
        assert_eq!(mqtt, all, "in pieces of {step}");
        assert_eq!(answers, [&[0x8A, 22][..], b"ping between fragments"].concat());
    }
}

#[test]
fn rules_are_kept() {
    let huge = |len: u64| [&[BINARY, 0xFF][..], &len.to_be_bytes(), &[0; 4]].concat();
    let cases: [(&str, Vec<u8>, u16); 12] = [
        ("unmasked", vec![BINARY, 1, b'x'], 1002),
        ("text [MQTT-6.0.0-1]", frame(0x81, b"x"), 1003),
        ("reserved bit", frame(BINARY | 0x40, b"x"), 1002),
        ("reserved data opcode", frame(0x83, b"x"), 1002),
        ("reserved control opcode", frame(0x8B, b"x"), 1002),
        ("long ping", frame(0x89, &[0; 126]), 1002),
        ("ping in fragments", frame(0x09, b"x"), 1002),
        ("continuation of nothing", frame(0x80, b"x"), 1002),
        ("message in a message", [frame(0x02, b"x"), frame(BINARY, b"x")].concat(), 1002),
        ("2^63 bytes", huge(1 << 63), 1009),
        ("a byte more than a packet has", huge(MAX_FRAME_BYTES + 1), 1009),
        ("text continuing", [frame(0x02, b"x"), frame(0x81, b"x")].concat(), 1003),
    ];
    for (name, bytes, code) in cases {
        for step in [1, bytes.len()] {
            let (_, answers, problem) = receive(&bytes, step);
            assert!(problem.is_some(), "{name}");
            assert_eq!(answers, [&[0x88, 2][..], &code.to_be_bytes()].concat(), "{name}");
        }
    }
    assert_eq!(receive(&huge(MAX_FRAME_BYTES), 1).2, None);
}

#[test]
fn close_is_answered_once_and_at_the_end() {
    let mut bytes = [frame(0x88, &[0x03, 0xE9, b'b']), frame(BINARY, b"late")].concat();
    let mut frames = Frames::default();
    let mut answers = Vec::new();
    assert_eq!(frames.receive(&mut bytes, true, &mut answers), Ok(0));
    assert!(frames.is_closed() && answers.is_empty(), "what is still to be sent comes first");
    frames.close(&mut answers);
    frames.close(&mut answers);
    assert_eq!(answers, [0x88, 2, 0x03, 0xE9]);
    let mut frames = Frames::default();
    answers.clear();
    frames.close(&mut answers);
    assert_eq!(answers, [0x88, 2, 0x03, 0xE8]);
}

#[test]
fn a_flood_of_pings_gets_few_answers() {
    let bytes = [frame(0x89, b"a"), frame(0x89, b"b")].concat();
    let (_, answers, _) = receive(&bytes, bytes.len());
    assert_eq!(answers, [0x8A, 1, b'b'], "the latest of those that came together");
    let mut frames = Frames::default();
    let mut answers = Vec::new();
    let mut bytes = bytes;
    assert_eq!(frames.receive(&mut bytes, false, &mut answers), Ok(0));
    assert!(answers.is_empty(), "while an answer waits there is none");
}

proptest! {
    /// What another implementation frames as a client comes out, and it reads what is framed here.
    #[test]
    fn understands_and_is_understood(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
        step in 1usize..400,
    ) {
        let config = WebSocketConfig::default();
        let wire = std::io::Cursor::new(Vec::new());
        let mut client = WebSocket::from_raw_socket(wire, Role::Client, Some(config));
        for message in &messages {
            client.send(Message::Binary(message.clone().into())).expect("writes to memory");
        }
        let sent = client.get_ref().get_ref().clone();
        let (mqtt, answers, problem) = receive(&sent, step);
        prop_assert_eq!(problem, None);
        prop_assert_eq!(answers, b"");
        prop_assert_eq!(&mqtt, &messages.concat());

        let mut framed = Vec::new();
        for message in &messages {
            put_header(message.len(), &mut framed);
            framed.extend(message);
        }
        let wire = std::io::Cursor::new(framed);
        let mut client = WebSocket::from_raw_socket(wire, Role::Client, Some(config));
        for message in messages {
            prop_assert_eq!(client.read().expect("a frame"), Message::Binary(message.into()));
        }
    }

    /// Nothing a client sends leads to more than what it sent, or to a panic.
    #[test]
    fn garbage_is_harmless(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        step in 1usize..50,
    ) {
        let (mqtt, answers, _) = receive(&bytes, step);
        prop_assert!(mqtt.len() <= bytes.len());
        prop_assert!(answers.len() <= 2 * bytes.len() + 4);
    }
}
