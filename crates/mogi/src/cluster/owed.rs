//! What one end of a link has taken and is yet to confirm.

use super::frame::{self, Kind};
use super::secure::Stream;
use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// How long messages may wait to be confirmed, while nobody asks. Each confirmation wakes two
/// threads, which is a good part of what a batch costs.
const LEISURE: Duration = Duration::from_millis(20);
/// Bytes of messages that are confirmed earlier: the other end keeps them until then.
const LEISURE_BYTES: usize = 1 << 20;

/// A frame that was taken.
pub(super) struct Frame {
    pub(super) kind: Option<Kind>,
    pub(super) seq: u64,
    /// Its bytes.
    pub(super) len: usize,
    /// What its confirmation waits for.
    pub(super) waits: Option<JoinHandle<()>>,
}

/// Frames that were taken and are yet to be confirmed, in order, and what each waits for. Those of
/// two nodes may wait for one another's messages to be taken, so none of that holds up frames.
#[derive(Default)]
pub(super) struct Owed {
    frames: VecDeque<(u64, Option<JoinHandle<()>>)>,
    /// Bytes of messages among them, and when they are to be confirmed.
    bytes: usize,
    at: Option<Instant>,
}

impl Owed {
    /// A frame was taken. It is confirmed at once, unless it has to wait, or can.
    pub(super) async fn add(
        &mut self,
        frame: Frame,
        stream: &mut Box<dyn Stream>,
    ) -> Result<(), String> {
        let Frame { kind, seq, len, waits } = frame;
        self.frames.push_back((seq, waits));
        if kind == Some(Kind::Messages) && self.has_time(len) {
            return Ok(());
        }
        self.pay(stream).await?;
        if self.frames.is_empty() { Ok(()) } else { tell_taken(seq, stream).await }
    }

    /// Whether messages can be confirmed later: not behind something that waits, as somebody may
    /// wait for these.
    fn has_time(&mut self, len: usize) -> bool {
        if self.frames.front().is_some_and(|(_, waits)| waits.is_some()) {
            return false;
        }
        self.bytes += len;
        self.at.get_or_insert_with(|| Instant::now() + LEISURE);
        self.bytes < LEISURE_BYTES
    }

    /// Confirms what waits for nothing any more.
    pub(super) async fn pay(&mut self, stream: &mut Box<dyn Stream>) -> Result<(), String> {
        (self.bytes, self.at) = (0, None);
        let mut last = None;
        while let Some((seq, waits)) = self.frames.front()
            && waits.as_ref().is_none_or(JoinHandle::is_finished)
        {
            last = Some(*seq);
            self.frames.pop_front();
        }
        let Some(seq) = last else { return Ok(()) };
        let mut ack = Vec::new();
        // It stands for all before it.
        frame::put_ack(seq, &mut ack);
        write(stream, &ack).await
    }

    /// Waits until something is to be confirmed.
    pub(super) async fn due(&mut self) {
        match self.frames.front_mut() {
            // It ends only with what it waits for.
            Some((_, Some(waits))) => drop(waits.await),
            Some((_, None)) => {
                if let Some(at) = self.at {
                    sleep_until(at).await;
                }
            }
            None => pending().await,
        }
    }
}

/// Says that a frame is taken which cannot be confirmed yet.
async fn tell_taken(seq: u64, stream: &mut Box<dyn Stream>) -> Result<(), String> {
    let mut taken = Vec::new();
    frame::put_taken(seq, &mut taken);
    write(stream, &taken).await
}

async fn write(stream: &mut Box<dyn Stream>, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::frame::Arrived;
    use tokio::io::AsyncReadExt;
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;

    /// What was written so far.
    async fn said(other: &mut tokio::io::DuplexStream) -> Vec<(bool, u16)> {
        let mut bytes = Vec::new();
        tokio::select! {
            biased;
            read = other.read_buf(&mut bytes) => assert!(read.unwrap() > 0),
            () = std::future::ready(()) => {}
        }
        let mut said = Vec::new();
        let mut rest = &bytes[..];
        while let Some((arrived, len)) = frame::parse(rest).unwrap() {
            said.push(match arrived {
                Arrived::Ack(id) => (true, id),
                Arrived::Taken(id) => (false, id),
                other => panic!("{other:?}"),
            });
            rest = &rest[len..];
        }
        said
    }

    fn frame(kind: Kind, seq: u64) -> Frame {
        Frame { kind: Some(kind), seq, len: 100, waits: None }
    }

    #[test]
    fn messages_are_confirmed_together_and_at_once_when_somebody_asks() {
        Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
            let (here, mut there) = tokio::io::duplex(4096);
            let mut here: Box<dyn Stream> = Box::new(here);
            let mut owed = Owed::default();
            for seq in 1..=3 {
                owed.add(frame(Kind::Messages, seq), &mut here).await.unwrap();
            }
            assert_eq!(said(&mut there).await, []);
            owed.add(frame(Kind::Ask, 4), &mut here).await.unwrap();
            assert_eq!(said(&mut there).await, [(true, frame::packet_id(4))]);
            let much = Frame { len: LEISURE_BYTES, ..frame(Kind::Messages, 5) };
            owed.add(much, &mut here).await.unwrap();
            assert_eq!(said(&mut there).await, [(true, frame::packet_id(5))]);
            owed.add(frame(Kind::Messages, 6), &mut here).await.unwrap();
            owed.due().await;
            owed.pay(&mut here).await.unwrap();
            assert_eq!(said(&mut there).await, [(true, frame::packet_id(6))]);
        });
    }

    #[test]
    fn behind_what_waits_messages_are_taken_at_once() {
        let tasks = tokio::task::LocalSet::new();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        tasks.block_on(&runtime, async {
            let (here, mut there) = tokio::io::duplex(4096);
            let mut here: Box<dyn Stream> = Box::new(here);
            let mut owed = Owed::default();
            let (done, waits) = oneshot::channel::<()>();
            let waits = tokio::task::spawn_local(async move { drop(waits.await) });
            owed.add(Frame { waits: Some(waits), ..frame(Kind::Changes, 1) }, &mut here)
                .await
                .unwrap();
            owed.add(frame(Kind::Messages, 2), &mut here).await.unwrap();
            let taken = [1, 2].map(|seq| (false, frame::packet_id(seq)));
            assert_eq!(said(&mut there).await, taken);
            done.send(()).unwrap();
            owed.due().await;
            owed.pay(&mut here).await.unwrap();
            assert_eq!(said(&mut there).await, [(true, frame::packet_id(2))]);
        });
    }
}
