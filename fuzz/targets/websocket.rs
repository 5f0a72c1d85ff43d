//! WebSocket requests and frames: whatever comes, there is never more than was sent, and in how
//! many pieces it comes makes no difference.
//!
//! Input: one byte of choices, one that says how large the pieces are, then what a client sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mogi_transport::upgrade::WebSocketRules;
use mogi_transport::{Layers, LayersPlan};
use std::sync::Arc;

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let Some((&[pick, step], bytes)) = input.split_first_chunk() else {
        return;
    };
    // Frames are hard to reach through a request that has to be right first.
    let begin: &[u8] = if pick & 1 == 0 { REQUEST } else { &[] };
    let bytes = [begin, bytes].concat();
    let whole = receive(&bytes, bytes.len().max(1));
    let pieces = receive(&bytes, usize::from(step).max(1));
    assert!(whole.0.len() <= bytes.len());
    assert_eq!(whole, pieces);
});

/// The MQTT bytes, and whether the connection ends.
fn receive(bytes: &[u8], step: usize) -> (Vec<u8>, bool) {
    let origins = Vec::new();
    let rules = WebSocketRules { origins, max_head_bytes: 1024, forwarded_for: true };
    let plan = LayersPlan { websocket: Some(Arc::new(rules)), ..LayersPlan::default() };
    let mut layers = Layers::new(&plan).expect("they begin").expect("there are some");
    let (mut mqtt, mut out) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        let mut raw = piece.to_vec();
        let mut plain = vec![0; raw.len() + 64];
        match layers.receive(&mut raw, &mut plain, true, &mut out) {
            Ok(received) => {
                mqtt.extend(&plain[..received.filled]);
                if received.closed || received.file.is_some() {
                    return (mqtt, true);
                }
            }
            Err(_) => return (Vec::new(), true),
        }
    }
    (mqtt, false)
}
