//! The receiving end of links.

use super::barrier::Barrier;
use super::frame::{self, Arrived, Hello, Kind};
use super::known::Known;
use super::links::Links;
use super::owed::{Frame, Owed};
use super::secure::{Secure, Stream, no_tls};
use super::strangers::Strangers;
use crate::net::mailbox::Mail;
use crate::net::shared::Shared;
use mogi_codec::{PacketKind, Reason};
use mogi_core::LogKind;
use mogi_core::cluster::change::Change;
use mogi_core::cluster::{Cluster, Errand};
use mogi_core::store::SessionNo;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

/// How long a connection has to say who it is.
const HELLO: Duration = Duration::from_secs(5);
/// Bytes a hello may have.
const HELLO_MAX: usize = 4096;
/// How long a full mailbox is waited for before it is looked at again.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// How long changed rights may take to be read.
const RIGHTS: Duration = Duration::from_secs(2);
/// How long an unknown node is waited for: it may be known with the next renewal.
const UNKNOWN: Duration = Duration::from_secs(3);

/// Takes links in.
#[derive(Clone)]
pub(super) struct Incoming {
    pub(super) shared: Arc<Shared>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) nodes: Arc<Known>,
    pub(super) name: String,
    pub(super) links: Arc<Links>,
    pub(super) strangers: Strangers,
}

/// What was taken from a node over all its links.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) incarnation: u64,
    /// The number of the last frame.
    pub(super) seq: u64,
    /// Counts links: an older one that still has something in its buffers is not heard.
    pub(super) link: u64,
    /// Rings when the node's place is given up.
    pub(super) ends: Arc<Notify>,
}

impl Incoming {
    pub(super) async fn accept(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let this = self.clone();
                    let Some(stranger) = self.strangers.come() else {
                        self.refuse(address, "too many others have not said who they are");
                        continue;
                    };
                    spawn_local(async move {
                        if let Err(why) = this.serve(stream, stranger).await {
                            this.refuse(address, &why);
                        }
                    });
                }
                // Out of descriptors: only time helps.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn refuse(&self, address: SocketAddr, why: &str) {
        let line = format!("Cluster: link from {address}: {why}.");
        if let Some(line) = self.strangers.line(line) {
            self.shared.log.log(LogKind::Warning, &line);
        }
    }

    async fn serve(&self, stream: TcpStream, stranger: OwnedSemaphorePermit) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        stream.set_nodelay(true).map_err(failed)?;
        let greeted = timeout(HELLO, self.greet(stream)).await;
        let greeted = greeted.map_err(|_| "it does not say who it is".to_owned())??;
        let Greeted { mut stream, bytes, hello, check } = greeted;
        let admitted = match self.admit(&hello, check).await {
            Ok(()) if self.nodes.is_dead(&hello.node, hello.incarnation) => {
                let why = format!("node {} was taken for dead", hello.node);
                Err((Reason::SessionTakenOver, why))
            }
            admitted => admitted.map_err(|why| (Reason::NotAuthorized, why)),
        };
        if let Err((reason, why)) = admitted {
            let connack = Hello::connack(self.links.incarnation(), reason);
            stream.write_all(&connack).await.map_err(failed)?;
            stream.flush().await.map_err(failed)?;
            return Err(why);
        }
        drop(stranger);
        let connack = Hello::connack(self.links.incarnation(), Reason::Success);
        stream.write_all(&connack).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let Some((peer, taken)) = self.nodes.place(&hello.node) else {
            return Ok(());
        };
        let link = {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            if taken.incarnation != hello.incarnation {
                // What it wrote last, before it began anew, it could not tell.
                self.shared.send_all(|| Mail::CatchUp);
                // Its subscribers get what is taken in here once they are known, linked or not.
                self.links.begin(peer, hello.incarnation);
                (taken.incarnation, taken.seq) = (hello.incarnation, 0);
            }
            taken.link += 1;
            taken.link
        };
        let ends = Arc::clone(&taken.lock().unwrap_or_else(PoisonError::into_inner).ends);
        let source = Source { peer, link, taken };
        tokio::select! {
            result = self.read(stream, bytes, &source) => result,
            // Its place is given up: whoever comes next is heard from the beginning.
            () = ends.notified() => Ok(()),
        }
    }

    /// Hears who has connected, within TLS if links have it.
    async fn greet(&self, stream: TcpStream) -> Result<Greeted, String> {
        let secure = self.links.secure();
        let mut check = None;
        let mut stream: Box<dyn Stream> = match secure {
            None => Box::new(stream),
            Some(secure) => {
                let (stream, shown) = secure.accept(stream).await?;
                check = Some((secure, shown));
                stream
            }
        };
        let mut bytes = Vec::new();
        let hello = read_hello(&mut stream, &mut bytes, check.is_none()).await?;
        Ok(Greeted { stream, bytes, hello, check })
    }

    /// Whether that node may come in.
    async fn admit(&self, hello: &Hello, check: Option<Check>) -> Result<(), String> {
        let node = &hello.node;
        if hello.cluster != self.name {
            return Err(format!("node {node} is of cluster '{}'", hello.cluster));
        }
        let known = self.place_of(node).await.and_then(|_| self.nodes.address(node));
        let Some(address) = known else {
            return Err(format!("node {node} is not known to the store"));
        };
        let Some((secure, shown)) = check else {
            return Ok(());
        };
        let checked = secure.check(shown.as_ref(), &address);
        checked.map_err(|why| format!("node {node} at {address} is refused: {why}"))
    }

    async fn place_of(&self, node: &str) -> Option<u16> {
        let looked = timeout(UNKNOWN, async {
            loop {
                if let Some((peer, _)) = self.nodes.place(node) {
                    return peer;
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
        looked.await.ok()
    }

    async fn read(
        &self,
        mut stream: Box<dyn Stream>,
        mut bytes: Vec<u8>,
        source: &Source,
    ) -> Result<(), String> {
        let mut owed = Owed::default();
        loop {
            let mut done = 0;
            loop {
                let parsed = frame::parse(&bytes[done..]).map_err(|error| error.to_string())?;
                let Some((arrived, len)) = parsed else { break };
                if let Arrived::Frame(kind, seq, frame) = arrived {
                    let waits = match source.takes(seq)? {
                        true => self.take(kind, frame, source.peer).await?,
                        // What it waited for when it came over the link before may go on.
                        false if kind == Some(Kind::Changes) => Some(self.settled(true)),
                        false => None,
                    };
                    owed.add(Frame { kind, seq, len, waits }, &mut stream).await?;
                }
                done += len;
                // There may be hundreds, and the lease is to be kept meanwhile.
                yield_now().await;
            }
            bytes.drain(..done);
            if bytes.capacity() - bytes.len() < 64 * 1024 {
                bytes.reserve(256 * 1024);
            }
            tokio::select! {
                read = stream.read_buf(&mut bytes) => match read {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                },
                () = owed.due() => owed.pay(&mut stream).await?,
            }
        }
    }

    /// Takes a frame; what its confirmation waits for, if it does. What comes behind it does not.
    async fn take(
        &self,
        kind: Option<Kind>,
        frame: &[u8],
        peer: u16,
    ) -> Result<Option<JoinHandle<()>>, String> {
        let shared = &self.shared;
        match kind {
            Some(Kind::Changes) => {
                let changes = Change::decode_all(frame).map_err(|error| error.to_string())?;
                let interest = &shared.node.interest;
                self.learn(&changes);
                for change in &changes {
                    if let Change::Home { epoch, .. } | Change::Taken { epoch, .. } = change {
                        shared.node.heard_of(*epoch);
                    }
                }
                let moved: Vec<SessionNo> = changes.iter().filter_map(session_of_move).collect();
                let whole = changes.contains(&Change::SnapshotEnd);
                let errands = self.cluster.apply(interest, peer, changes);
                // No worker lets one of them in from now on.
                let leaves = moved.iter().any(|it| self.cluster.log().client_of(*it).is_some());
                errands.into_iter().for_each(|errand| self.run(errand));
                if whole {
                    self.nodes.heard_all_of(peer);
                    self.tell_of_before(peer);
                }
                if !moved.is_empty() {
                    return Ok(Some(self.settled(leaves)));
                }
            }
            Some(Kind::Messages) => {
                let gateway = usize::from(peer) % shared.mailboxes.len();
                let mailbox = &shared.mailboxes[gateway];
                while !mailbox.has_room() {
                    sleep(FULL_PAUSE).await;
                }
                mailbox.send(Mail::Batch { from: peer, bytes: frame.to_vec() }, false);
            }
            Some(Kind::Gap) => shared.send_all(|| Mail::CatchUp),
            Some(Kind::Rights) => {
                let shared = Arc::clone(shared);
                let reading = tokio::task::spawn_blocking(move || crate::access::refresh(&shared));
                // It goes on by itself; messages behind this wait no longer.
                let _ = timeout(RIGHTS, reading).await;
            }
            // Confirmed at once, as what the other node may say that is one release ahead.
            Some(Kind::Ask) | None => {}
        }
        Ok(None)
    }
}

impl Incoming {
    /// Ends when what workers decided before they knew of a move is in the store, and, if a session
    /// left, when what its client published here is with the other nodes.
    fn settled(&self, leaves: bool) -> JoinHandle<()> {
        let (shared, links) = (Arc::clone(&self.shared), Arc::clone(&self.links));
        let before = barrier(&shared);
        spawn_local(async move {
            before.all_passed().await;
            if leaves {
                // Until its worker had let go of it, messages for the session stayed here, whoever
                // knew of the move: where both places are listed, the one here counts.
                barrier(&shared).all_passed().await;
                // What its client publishes there is not to overtake what it published here
                // ([MQTT-4.6.0-5]), wherever its subscribers are.
                links.all_taken().await;
            }
        })
    }

    /// Has the node look into the store when everything is there that was decided here before it
    /// told which sessions it has: of messages for them it did not hear.
    fn tell_of_before(&self, peer: u16) {
        let (settled, links) = (self.settled(false), Arc::clone(&self.links));
        spawn_local(async move {
            // It ends only with what it waits for.
            drop(settled.await);
            links.tell_gap(peer);
        });
    }

    /// Does what another node's change asks for.
    fn run(&self, errand: Errand) {
        let (client, mail) = match errand {
            Errand::Evict(it) => (Arc::clone(&it.client), Mail::Evict(it)),
            Errand::CatchUp(it) => (Arc::clone(&it), Mail::CatchUpOne { client: it }),
            Errand::Forget(session) => {
                if let Some(store) = self.shared.store.get().and_then(|store| store.cluster()) {
                    store.forget(session);
                }
                return;
            }
        };
        let owner = usize::from(self.shared.node.owner(&client));
        if let Some(mailbox) = self.shared.mailboxes.get(owner) {
            mailbox.send(mail, false);
        }
    }

    /// Messages are written down here for sessions that live there.
    fn learn(&self, changes: &[Change]) {
        let Some(store) = self.shared.store.get().and_then(|store| store.cluster()) else {
            return;
        };
        for change in changes {
            if let Change::Home { session, client, .. } = change {
                store.learn(*session, Arc::clone(client));
            }
        }
    }
}

/// The session that is elsewhere from that change on.
const fn session_of_move(change: &Change) -> Option<SessionNo> {
    match change {
        Change::Home { session, .. } => Some(*session),
        _ => None,
    }
}

/// A barrier for all workers.
fn barrier(shared: &Shared) -> Arc<Barrier> {
    let barrier = Arc::new(Barrier::new(shared.mailboxes.len()));
    shared.send_all(|| Mail::Barrier(Arc::clone(&barrier)));
    barrier
}

/// Where a link comes from.
struct Source {
    peer: u16,
    link: u64,
    taken: Arc<Mutex<Taken>>,
}

impl Source {
    /// Whether the frame was not taken before.
    fn takes(&self, seq: u64) -> Result<bool, String> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.link != self.link {
            return Err("the node has a newer link".to_owned());
        }
        let new = seq > taken.seq;
        taken.seq = taken.seq.max(seq);
        Ok(new)
    }
}

/// What a node has shown, and what it is checked with.
type Check = (Arc<Secure>, Option<CertificateDer<'static>>);

/// Somebody who has said who it is.
struct Greeted {
    stream: Box<dyn Stream>,
    /// What it has sent besides.
    bytes: Vec<u8>,
    hello: Hello,
    /// If links have TLS.
    check: Option<Check>,
}

async fn read_hello(
    stream: &mut Box<dyn Stream>,
    bytes: &mut Vec<u8>,
    plain: bool,
) -> Result<Hello, String> {
    loop {
        let read = stream.read_buf(bytes).await.map_err(|error| error.to_string())?;
        if plain {
            no_tls(bytes)?;
        }
        let found = frame::body_of(PacketKind::Connect, bytes);
        if let Some(body) = found.map_err(|error| error.to_string())? {
            let hello = Hello::of_connect(body)?;
            // What follows the packet is frames.
            let whole = 2 + body.len() + usize::from(body.len() > 127);
            bytes.drain(..whole.min(bytes.len()));
            return Ok(hello);
        }
        if read == 0 || bytes.len() > HELLO_MAX {
            return Err("it is no mogi broker".to_owned());
        }
    }
}
