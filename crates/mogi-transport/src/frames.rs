//! WebSocket frames of a server: MQTT bytes out of a client's, and frames around what is sent.
//!
//! Payloads are unmasked where they lie and are not gathered: MQTT is a stream in which frames
//! mean nothing ([MQTT-6.0.0-2]), so a frame of any length costs no memory. Only control frames,
//! up to 125 bytes, are kept until they are complete.

use crate::Failure;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Bytes of payload one frame may claim: the largest MQTT packet. More comes from no MQTT client.
pub const MAX_FRAME_BYTES: u64 = 5 + 268_435_455;
/// Bytes of a control frame's payload. (RFC 6455 5.5)
const MAX_CONTROL_BYTES: u64 = 125;
/// Bytes of the longest header. (RFC 6455 5.2)
const MAX_HEADER_BYTES: usize = 14;

/// Reasons to close, RFC 6455 7.4.1.
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED: u16 = 1003;
const TOO_BIG: u16 = 1009;

/// The receiving side of a WebSocket.
#[derive(Debug, Default)]
pub struct Frames {
    /// The beginning of a header that is not complete.
    header: Vec<u8>,
    /// The frame whose payload is being received.
    current: Option<Current>,
    /// A message was begun and its last frame has not come.
    fragmented: bool,
    /// Payload of a control frame so far.
    control: Vec<u8>,
    /// The client has sent Close, or was told to go: nothing that comes counts.
    closed: bool,
    /// The client's own reason to close, which goes back to it. (RFC 6455 5.5.1)
    reason: Option<Vec<u8>>,
    /// Close was sent.
    parted: bool,
}

#[derive(Debug)]
struct Current {
    kind: OpCode,
    mask: [u8; 4],
    left: u64,
}

impl Frames {
    /// Bytes that [`Self::receive`] wants before those received next.
    #[must_use]
    pub const fn kept(&self) -> usize {
        self.header.len()
    }

    /// Whether the client has ended the conversation.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes frames out of `bytes`, which begins with [`Self::kept`] bytes of no meaning, and
    /// leaves the MQTT bytes in them at its front: how many. Frames to answer with are appended to
    /// `answers`; `may_answer_ping` is false while earlier answers still wait for the client.
    ///
    /// # Errors
    /// The client breaks the rules; the frame that tells it so is in `answers`.
    pub fn receive(
        &mut self,
        bytes: &mut [u8],
        may_answer_ping: bool,
        answers: &mut Vec<u8>,
    ) -> Result<usize, Failure> {
        let kept = self.header.len();
        if let Some(front) = bytes.get_mut(..kept) {
            front.copy_from_slice(&self.header);
        }
        self.header.clear();
        let (mut at, mut filled) = (0, 0);
        let mut ping = None;
        while at < bytes.len() && !self.closed {
            let Some(current) = &mut self.current else {
                match self.begin(&bytes[at..]) {
                    Ok(Some(len)) => at += len,
                    Ok(None) => {
                        self.header.extend_from_slice(&bytes[at..]);
                        break;
                    }
                    Err((code, what)) => return Err(self.fail(code, what, answers)),
                }
                self.end_frame(&mut ping);
                continue;
            };
            let rest = bytes.len() - at;
            let take = usize::try_from(current.left).map_or(rest, |left| left.min(rest));
            unmask(&mut bytes[at..at + take], &mut current.mask);
            current.left -= take as u64;
            if matches!(current.kind, OpCode::Data(_)) {
                bytes.copy_within(at..at + take, filled);
                filled += take;
            } else {
                self.control.extend_from_slice(&bytes[at..at + take]);
            }
            at += take;
            self.end_frame(&mut ping);
        }
        // The latest of those that came together is enough. (RFC 6455 5.5.3)
        if let Some(payload) = ping.filter(|_| may_answer_ping && !self.closed) {
            put_frame(OpCode::Control(Control::Pong), &payload, answers);
        }
        Ok(filled)
    }

    /// Reads a header; its length, or `None` if it is not complete.
    fn begin(&mut self, bytes: &[u8]) -> Result<Option<usize>, (u16, String)> {
        let wrong = |what: &str| Err((PROTOCOL_ERROR, what.to_owned()));
        let mut cursor = Cursor::new(&bytes[..bytes.len().min(MAX_HEADER_BYTES)]);
        let parsed = FrameHeader::parse(&mut cursor);
        let Some((header, left)) = parsed.map_err(|e| (PROTOCOL_ERROR, e.to_string()))? else {
            return Ok(None);
        };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return wrong("reserved bits are set"); // RFC 6455 5.2: no extension was agreed on
        }
        let Some(mask) = header.mask else {
            return wrong("a frame is not masked"); // RFC 6455 5.1
        };
        match header.opcode {
            OpCode::Control(_) if !header.is_final => return wrong("a control frame in fragments"),
            OpCode::Control(_) if left > MAX_CONTROL_BYTES => {
                return wrong("a control frame of more than 125 bytes");
            }
            OpCode::Control(_) => {}
            // [MQTT-6.0.0-1]
            OpCode::Data(Data::Text) => {
                return Err((UNSUPPORTED, "a text frame; MQTT comes in binary ones".to_owned()));
            }
            OpCode::Data(Data::Continue) if !self.fragmented => {
                return wrong("a continuation of nothing");
            }
            OpCode::Data(Data::Binary) if self.fragmented => {
                return wrong("a new message before the last one's end");
            }
            OpCode::Data(_) if left > MAX_FRAME_BYTES => {
                return Err((TOO_BIG, format!("a frame of {left} bytes")));
            }
            OpCode::Data(_) => self.fragmented = !header.is_final,
        }
        self.current = Some(Current { kind: header.opcode, mask, left });
        Ok(Some(cursor.position() as usize))
    }

    /// Acts on a frame whose payload is complete.
    fn end_frame(&mut self, ping: &mut Option<Vec<u8>>) {
        let Some(kind) = self.current.take_if(|it| it.left == 0).map(|it| it.kind) else {
            return;
        };
        match kind {
            OpCode::Control(Control::Ping) => *ping = Some(std::mem::take(&mut self.control)),
            OpCode::Control(Control::Close) => {
                // It is answered at the end, behind what is still to be sent.
                self.reason = Some(self.control.get(..2).unwrap_or_default().to_vec());
                self.closed = true;
            }
            _ => {}
        }
        self.control.clear();
    }

    fn fail(&mut self, code: u16, what: String, answers: &mut Vec<u8>) -> Failure {
        self.closed = true;
        self.part(&code.to_be_bytes(), answers);
        Failure::new("WebSocket error", format!("WebSocket: {what}."))
    }

    /// Appends the frame that ends the conversation, unless it was sent. None may follow it.
    pub fn close(&mut self, answers: &mut Vec<u8>) {
        self.closed = true;
        let reason = self.reason.take().unwrap_or_else(|| NORMAL.to_be_bytes().to_vec());
        self.part(&reason, answers);
    }

    fn part(&mut self, reason: &[u8], answers: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.parted, true) {
            put_frame(OpCode::Control(Control::Close), reason, answers);
        }
    }
}

/// Appends the header of a binary frame around `len` bytes.
pub fn put_header(len: usize, to: &mut Vec<u8>) {
    header(OpCode::Data(Data::Binary), len, to);
}

fn put_frame(kind: OpCode, payload: &[u8], to: &mut Vec<u8>) {
    header(kind, payload.len(), to);
    to.extend_from_slice(payload);
}

fn header(opcode: OpCode, len: usize, to: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // Writing to a vector does not fail.
    let _ = header.format(len as u64, to);
}

/// Unmasks a part of a payload, and turns the mask so that it fits the next part.
/// (RFC 6455 5.3)
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let [a, b, c, d] = *mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    mask.rotate_left(tail.len() % 4);
}

#[cfg(test)]
mod tests;
