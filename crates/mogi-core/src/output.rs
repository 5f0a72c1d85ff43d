//! What a connection has yet to send: small packets as bytes, large payloads by reference.
//!
//! ```text
//!  bytes:  [ packet | packet | head of a large PUBLISH | packet | … ]
//!                                                     ▲
//!  large:                       payload of message m ─┘ (goes in here, not copied)
//! ```
//! A payload of [`LARGE`] bytes or more that goes to many receivers is held once.

use crate::message::Message;
use std::collections::VecDeque;
use std::io::IoSlice;

/// From this many bytes on a shared payload is referred to instead of copied.
pub const LARGE: usize = 8 * 1024;

/// The most slices one gathering write is given.
pub const MAX_SLICES: usize = 64;

/// Output of one connection.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// How much of `bytes` is gone.
    start: usize,
    large: VecDeque<Large>,
    large_len: usize,
}

#[derive(Debug)]
struct Large {
    /// The position in `bytes` it goes in before.
    at: usize,
    message: Message,
    /// How much of the payload is gone.
    sent: usize,
}

impl Large {
    fn rest(&self) -> &[u8] {
        self.message.payload().get(self.sent..).unwrap_or_default()
    }
}

impl Output {
    /// Bytes yet to be sent.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start + self.large_len
    }

    /// Whether everything was sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer packets are appended to.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends bytes, for those who send something before there is a client.
    pub fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends the payload of `message` without copying it.
    pub(crate) fn push_payload(&mut self, message: Message) {
        self.large_len += message.payload().len();
        self.large.push_back(Large { at: self.bytes.len(), message, sent: 0 });
    }

    /// The output's front as slices for one gathering write; how many there are.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut count = 0;
        let mut from = self.start;
        for large in &self.large {
            if count + 2 > MAX_SLICES {
                return count;
            }
            if large.at > from {
                slices[count] = IoSlice::new(&self.bytes[from..large.at]);
                count += 1;
                from = large.at;
            }
            slices[count] = IoSlice::new(large.rest());
            count += 1;
        }
        if from < self.bytes.len() && count < MAX_SLICES {
            slices[count] = IoSlice::new(&self.bytes[from..]);
            count += 1;
        }
        count
    }

    /// The output as one slice, where no payload is referred to.
    #[inline]
    pub fn as_slice(&self) -> Option<&[u8]> {
        self.large.is_empty().then(|| &self.bytes[self.start..])
    }

    /// Forgets the first `sent` bytes.
    pub fn advance(&mut self, mut sent: usize) {
        while let Some(large) = self.large.front_mut() {
            let before = (large.at - self.start).min(sent);
            self.start += before;
            sent -= before;
            let gone = large.rest().len().min(sent);
            large.sent += gone;
            self.large_len -= gone;
            sent -= gone;
            if self.start < large.at || !large.rest().is_empty() {
                return;
            }
            self.large.pop_front();
        }
        self.start += sent;
        debug_assert!(self.start <= self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start > self.bytes.len() / 2 && self.large.is_empty() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Takes the byte buffer of an output that is empty, for another connection's use.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        debug_assert!(self.is_empty());
        self.start = 0;
        std::mem::take(&mut self.bytes)
    }

    /// Gives it a buffer to append to.
    pub(crate) fn set_buffer(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.bytes.is_empty() && buffer.is_empty());
        self.bytes = buffer;
    }

    /// Whether it has a buffer to append to.
    pub(crate) fn has_buffer(&self) -> bool {
        self.bytes.capacity() > 0
    }
}

/// Buffers of connections that have nothing to send, kept for those that have.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: Vec<Vec<u8>>,
}

/// Buffers a pool keeps; beyond that they go back to the allocator.
const POOLED: usize = 1024;
/// Bytes of capacity up to which a buffer is worth keeping.
const POOLED_CAPACITY: usize = 256 * 1024;

impl BufferPool {
    pub(crate) fn get(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    pub(crate) fn put(&mut self, buffer: Vec<u8>) {
        if self.free.len() < POOLED && (1..=POOLED_CAPACITY).contains(&buffer.capacity()) {
            self.free.push(buffer);
        }
    }
}
