//! The sending end of a link.

use super::frame::{self, Answer, Arrived, Hello};
use super::links::Links;
use super::queue::LinkQueue;
use super::secure::{Secure, Stream, no_tls};
use crate::net::mailbox::Mail;
use crate::net::shared::Shared;
use mogi_codec::PacketKind;
use mogi_core::LogKind;
use mogi_core::cluster::change::Change;
use mogi_core::cluster::{Cluster, put_retained};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long the other end may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Between attempts: the first pause, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a node that was there refuses connections before it counts as ended: one that is
/// started again at once goes on with what it has.
const GONE: Duration = Duration::from_millis(500);
/// Bytes of changes in one frame.
const CHANGES_BYTES: usize = 1 << 20;
/// Retained messages that changed so long before the node joined are sent to it as well: it may
/// have read the store before they were there.
const OVERLAP_MS: u64 = 30_000;

/// Keeps a link to a node until the task is ended.
pub(super) struct Outgoing {
    pub(super) shared: Arc<Shared>,
    pub(super) links: Arc<Links>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) queue: Arc<LinkQueue>,
    pub(super) node: String,
    pub(super) address: String,
    /// The incarnation the link was with.
    pub(super) incarnation: Option<u64>,
    /// Changes of interest that were sent.
    pub(super) cursor: Option<u64>,
    /// Since when its host refuses connections.
    pub(super) refused: Option<Instant>,
}

impl Outgoing {
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        let mut told = false;
        loop {
            match self.connect().await {
                Ok(stream) => {
                    let line =
                        format!("Cluster: linked to node {} at {}.", self.node, self.address);
                    self.shared.log.log(LogKind::Notice, &line);
                    (pause, told) = (PAUSE_MIN, false);
                    self.queue.set_up(true);
                    let error = self.serve(stream).await;
                    self.queue.set_up(false);
                    self.say(LogKind::Warning, &format!("the link broke: {error}"));
                }
                Err(why) => {
                    if !std::mem::replace(&mut told, true) {
                        self.say(LogKind::Warning, &format!("no link yet: {why}"));
                    }
                }
            }
            sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    fn say(&self, kind: LogKind, what: &str) {
        let (node, address) = (&self.node, &self.address);
        self.shared.log.log(kind, &format!("Cluster: node {node} at {address}: {what}"));
    }

    /// Connects, and sends what has to come first.
    async fn connect(&mut self) -> Result<Box<dyn Stream>, String> {
        let connecting = timeout(ANSWER, TcpStream::connect(&self.address)).await;
        self.watch_end(connecting.as_ref().is_ok_and(|it| it.as_ref().is_err_and(is_refusal)));
        let stream = connecting
            .map_err(|_| "it does not answer".to_owned())?
            .map_err(|error| error.to_string())?;
        let failed = |error: io::Error| error.to_string();
        stream.set_nodelay(true).map_err(failed)?;
        let secure = self.links.secure();
        let mut stream: Box<dyn Stream> = match &secure {
            None => Box::new(stream),
            Some(secure) => timeout(ANSWER, secure.connect(stream, &self.address))
                .await
                .map_err(|_| "it does not answer within TLS".to_owned())??,
        };
        let hello = Hello {
            node: self.links.plan.node.clone(),
            cluster: self.links.plan.name.clone(),
            incarnation: self.links.incarnation(),
        };
        stream.write_all(&hello.connect()).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let answered = timeout(ANSWER, read_connack(&mut stream, secure.as_deref())).await;
        let answer = answered.map_err(|_| "it does not answer".to_owned())??;
        let Answer::Welcome(incarnation) = answer else {
            self.links.refused(hello.incarnation);
            return Err("it has taken this node for dead".to_owned());
        };
        let mut out = Vec::new();
        self.queue.begin(incarnation);
        self.queue.again(&mut out);
        if self.incarnation != Some(incarnation) {
            self.put_everything(&mut out);
            self.incarnation = Some(incarnation);
        }
        stream.write_all(&out).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        Ok(stream)
    }

    /// A host that refuses connections says that nobody listens there: where there was a link
    /// before, the node has ended. One that hangs or cannot be reached refuses nothing, and is
    /// waited for until its lease has ended.
    fn watch_end(&mut self, refused: bool) {
        let Some(start) = self.incarnation.filter(|_| refused) else {
            self.refused = None;
            return;
        };
        let since = *self.refused.get_or_insert_with(Instant::now);
        if since.elapsed() >= GONE {
            self.links.saw_end(&self.node, start);
        }
    }

    /// What a node that begins is to know.
    fn put_everything(&mut self, out: &mut Vec<u8>) {
        let mut run = Vec::new();
        let mut frames = Vec::new();
        let seq = self.shared.node.interest.snapshot(&self.cluster, |change: Change| {
            change.encode(&mut run);
            if run.len() >= CHANGES_BYTES {
                frames.push(std::mem::take(&mut run));
            }
        });
        frames.push(run);
        for frame in frames {
            self.queue.take(Some((frame, seq)), out);
        }
        self.cursor = Some(seq);
        let since = self.shared.now_ms().saturating_sub(OVERLAP_MS) << 22;
        let mut retained = self.cluster.redone();
        let rights = self.shared.access.rights();
        self.shared.node.retained.changed_since(since, &rights, |change, version| {
            put_retained(change, version, &mut retained);
            if retained.len() >= CHANGES_BYTES {
                self.queue.push(std::mem::take(&mut retained));
            }
        });
        if !retained.is_empty() {
            self.queue.push(retained);
        }
    }

    /// Sends until the link breaks; why it did.
    async fn serve(&mut self, stream: Box<dyn Stream>) -> String {
        let (reader, writer) = tokio::io::split(stream);
        let acks = Acks {
            shared: Arc::clone(&self.shared),
            links: Arc::clone(&self.links),
            queue: Arc::clone(&self.queue),
        };
        tokio::select! {
            why = acks.read(reader) => why,
            why = self.write(writer) => why,
        }
    }

    async fn write(&mut self, mut writer: WriteHalf<Box<dyn Stream>>) -> String {
        let mut out = Vec::new();
        loop {
            out.clear();
            let changes = self.changes();
            self.queue.take(changes, &mut out);
            if out.is_empty() {
                self.queue.bell.notified().await;
                continue;
            }
            if let Err(error) = writer.write_all(&out).await {
                return error.to_string();
            }
            if let Err(error) = writer.flush().await {
                return error.to_string();
            }
            if out.capacity() > 4 << 20 {
                out = Vec::new();
            }
        }
    }

    /// The changes since the last, if there are any.
    fn changes(&mut self) -> Option<(Vec<u8>, u64)> {
        let cursor = self.cursor.unwrap_or_default();
        let Some((changes, seq)) = self.cluster.log().since(cursor) else {
            // So far behind that everything is told at once again.
            let mut run = Vec::new();
            let snapshot = |change: Change| change.encode(&mut run);
            let seq = self.shared.node.interest.snapshot(&self.cluster, snapshot);
            self.cursor = Some(seq);
            return Some((run, seq));
        };
        self.cursor = Some(seq);
        (!changes.is_empty()).then(|| (changes.concat(), seq))
    }
}

/// The acknowledgements of a link.
struct Acks {
    shared: Arc<Shared>,
    links: Arc<Links>,
    queue: Arc<LinkQueue>,
}

impl Acks {
    /// Takes acknowledgements until the link breaks; why it did.
    async fn read(self, mut reader: ReadHalf<Box<dyn Stream>>) -> String {
        let mut bytes = Vec::with_capacity(4096);
        loop {
            match reader.read_buf(&mut bytes).await {
                Ok(0) => return "it closed the link".to_owned(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
            let mut done = 0;
            let mut more = false;
            loop {
                match frame::parse(&bytes[done..]) {
                    Ok(Some((Arrived::Ack(packet_id), len))) => {
                        more |= self.queue.acknowledged(packet_id);
                        done += len;
                    }
                    Ok(Some((Arrived::Taken(packet_id), len))) => {
                        self.queue.took(packet_id);
                        done += len;
                    }
                    Ok(Some((_, len))) => done += len,
                    Ok(None) => break,
                    Err(error) => return error.to_string(),
                }
            }
            bytes.drain(..done);
            if more && self.links.look_again() {
                self.shared.send_all(|| Mail::Told);
            }
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

async fn read_connack(
    stream: &mut Box<dyn Stream>,
    secure: Option<&Secure>,
) -> Result<Answer, String> {
    // Whether it takes this node's certificate it says with the first bytes only.
    let failed =
        |error: io::Error| secure.map_or_else(|| error.to_string(), |secure| secure.tell(&error));
    let mut bytes = Vec::new();
    loop {
        let read = stream.read_buf(&mut bytes).await.map_err(failed)?;
        if secure.is_none() {
            no_tls(&bytes)?;
        }
        if let Some(body) =
            frame::body_of(PacketKind::Connack, &bytes).map_err(|error| error.to_string())?
        {
            return Hello::of_connack(body);
        }
        if read == 0 || bytes.len() > frame::PACKET_MAX {
            return Err("it closed the connection".to_owned());
        }
    }
}
