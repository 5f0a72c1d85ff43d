//! Links: frames from one node to another, numbered, sent again until they are acknowledged.
//!
//! ```text
//!  Peer.frames ──► wire ──► the other site: each number is taken once ──► acknowledged
//!  (kept)          (lost when the link breaks)
//! ```

use crate::site::Site;
use crate::store::{Ask, Store, Turn, of_client};
use crate::trace::note;
use mogi_core::cluster::change::Change;
use mogi_core::cluster::roster::Eviction;
use mogi_core::cluster::{Errand, FarBatch, put_retained, retained_items};
use mogi_core::{Rights, SessionNo, StoreOp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What goes over a link.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// Changes, and how many of the log the other knows with them.
    Changes(Vec<u8>, u64),
    Batch(Vec<u8>),
    /// Something before this got lost: what of it is in the store is to be read there.
    Gap,
}

/// A numbered piece of it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) number: u64,
    pub(crate) load: Load,
}

/// Another node, as one knows it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) incarnation: u32,
    pub(crate) place: u16,
    /// Frames it has not acknowledged.
    pub(crate) frames: VecDeque<Frame>,
    /// The last that was put on the wire.
    pub(crate) sent: u64,
    last: u64,
    /// How much of the log is in frames; `None`: everything is to be told at once.
    log_seen: Option<u64>,
    /// How much of it the other has confirmed.
    pub(crate) confirmed: u64,
    /// The last frame of the other's that was taken.
    pub(crate) taken: u64,
    /// Frames taken that are not acknowledged: number, and turns that are to be durable before, as
    /// soon as it is known which.
    pub(crate) unacknowledged: VecDeque<(u64, Option<Vec<Turn>>)>,
    /// Whether everything the other knows was told at some time.
    pub(crate) known: bool,
    /// Retained messages to be sent once these turns are durable.
    retained: Option<(Vec<Turn>, Vec<u8>)>,
    /// What is to be in the store before the node looks into it, as it heard nothing of that.
    unheard: Option<Vec<Turn>>,
}

impl Peer {
    pub(crate) const fn new(incarnation: u32, place: u16) -> Self {
        Self {
            incarnation,
            place,
            frames: VecDeque::new(),
            sent: 0,
            last: 0,
            log_seen: None,
            confirmed: 0,
            taken: 0,
            unacknowledged: VecDeque::new(),
            known: false,
            retained: None,
            unheard: None,
        }
    }

    fn push(&mut self, load: Load) {
        self.last += 1;
        self.frames.push_back(Frame { number: self.last, load });
    }

    /// The link broke. With `lost` not even what was kept is there any more.
    pub(crate) fn broken(&mut self, lost: bool) {
        self.sent = self.frames.front().map_or(self.last, |first| first.number - 1);
        if lost {
            self.frames.clear();
            self.sent = self.last;
            self.log_seen = None;
            self.push(Load::Gap);
        }
    }
}

/// Sessions that another node has, and that workers here are yet to let go of.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// Who told of that, and with which frame.
    from: usize,
    number: u64,
    sessions: Vec<SessionNo>,
    evictions: Vec<Eviction>,
}

/// What is on its way over a link, in one direction.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) down: bool,
    /// To and from which incarnations.
    pub(crate) between: (u32, u32),
    pub(crate) frames: VecDeque<Frame>,
    pub(crate) acks: VecDeque<u64>,
}

/// All links.
pub(crate) type Wires = BTreeMap<(usize, usize), Wire>;

impl Site {
    /// What all other nodes have confirmed.
    pub(crate) fn confirmed(&self) -> u64 {
        self.peers.values().map(|peer| peer.confirmed).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn send_batch(&mut self, batch: FarBatch) {
        let peer = self.peers.values_mut().find(|peer| peer.place == batch.peer);
        // A node that is gone gets nothing.
        if let Some(peer) = peer {
            peer.push(Load::Batch(batch.bytes));
        }
    }

    /// A link begins: what is retained here and durable by then is told as well.
    pub(crate) fn begin_link(&mut self, store: &mut Store, to: usize, now_ms: u64) {
        let turns = self.not_durable(store, now_ms);
        let mut bytes = self.cluster().redone();
        self.node.retained.changed_since(0, &Rights::default(), |change, version| {
            put_retained(change, version, &mut bytes);
        });
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.retained = Some((turns, bytes));
        }
    }

    /// Turns with what was decided so far, that are not in the store.
    fn not_durable(&mut self, store: &mut Store, now_ms: u64) -> Vec<Turn> {
        for worker in 0..self.workers.len() as u16 {
            self.end_turn(store, worker, now_ms);
        }
        self.pending.iter().filter(|(_, it)| it.left > 0).map(|(turn, _)| *turn).collect()
    }

    /// Takes what is retained from the store, where it is newer.
    pub(crate) fn read_retained(&mut self, store: &Store, now_ms: u64) {
        let mut bytes = Vec::new();
        for (key, kept) in store.all() {
            let Some(topic) = key.strip_prefix("t:") else { continue };
            let (version, message) = &kept.retained;
            put_retained(message.as_ref().ok_or(topic), *version, &mut bytes);
        }
        self.workers[0].far_batch(now_ms, &bytes);
    }

    /// Takes retained messages that another node had left undone, and tells all others.
    pub(crate) fn spread_retained<'a>(
        &mut self,
        ops: impl Iterator<Item = &'a StoreOp>,
        now_ms: u64,
    ) {
        let bytes = retained_items(ops);
        self.workers[0].far_batch(now_ms, &bytes);
        self.peers.values_mut().for_each(|peer| peer.push(Load::Batch(bytes.clone())));
    }

    /// Puts new changes into frames; whether there were any.
    pub(crate) fn read_log(&mut self, to: usize) -> bool {
        let (cluster, node) = (self.cluster(), Arc::clone(&self.node));
        let Some(peer) = self.peers.get_mut(&to) else { return false };
        let mut moved = false;
        let pending = &self.pending;
        let done = |turns: &Vec<Turn>| {
            turns.iter().all(|turn| pending.get(turn).is_none_or(|it| it.left == 0))
        };
        if peer.unheard.take_if(|turns| done(turns)).is_some() {
            moved = true;
            peer.push(Load::Gap);
        }
        if let Some((turns, _)) = &peer.retained
            && done(turns)
            && let Some((_, bytes)) = peer.retained.take()
        {
            moved = true;
            peer.push(Load::Batch(bytes));
        }
        let since = peer.log_seen.and_then(|seen| cluster.log().since(seen));
        let Some((changes, seq)) = since else {
            let mut run = Vec::new();
            let seq = node.interest.snapshot(&cluster, |change| change.encode(&mut run));
            peer.log_seen = Some(seq);
            peer.push(Load::Changes(run, seq));
            return true;
        };
        if changes.is_empty() {
            return moved;
        }
        peer.log_seen = Some(seq);
        peer.push(Load::Changes(changes.concat(), seq));
        true
    }

    /// Puts frames on the wire; whether there were any.
    pub(crate) fn send(&mut self, to: usize, wires: &mut Wires) -> bool {
        let (index, incarnation) = (self.index, self.incarnation);
        let Some(peer) = self.peers.get_mut(&to) else { return false };
        let wire = wires.entry((index, to)).or_default();
        if wire.down {
            return false;
        }
        if wire.between != (incarnation, peer.incarnation) {
            let between = (incarnation, peer.incarnation);
            *wire = Wire { between, ..Wire::default() };
            peer.broken(false);
        }
        let new: Vec<Frame> =
            peer.frames.iter().filter(|frame| frame.number > peer.sent).cloned().collect();
        peer.sent = new.last().map_or(peer.sent, |frame| frame.number);
        let moved = !new.is_empty();
        wire.frames.extend(new);
        moved
    }

    /// Takes a frame of another node in.
    pub(crate) fn take_frame(&mut self, store: &mut Store, from: usize, frame: Frame, now_ms: u64) {
        let index = self.index;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if frame.number <= peer.taken {
            // It may not have heard that it was taken.
            if !peer.unacknowledged.iter().any(|(number, _)| *number == frame.number) {
                peer.unacknowledged.push_back((frame.number, Some(Vec::new())));
            }
            return;
        }
        peer.taken = frame.number;
        let place = peer.place;
        let mut turns = Some(Vec::new());
        match frame.load {
            Load::Gap => self.catch_up_all(store),
            Load::Batch(bytes) => {
                let gateway = (from % self.workers.len()) as u16;
                let mut rest = &bytes[..];
                note(|| format!("site {index}: batch of {} bytes of {from}", rest.len()));
                while !rest.is_empty() {
                    let taken = self.workers[usize::from(gateway)].far_batch(now_ms, rest);
                    rest = &rest[taken..];
                    self.flush(gateway, now_ms);
                }
                self.note_closes(gateway);
            }
            Load::Changes(run, _) => {
                let (sessions, evictions, whole) = self.take_changes(store, place, &run);
                if !sessions.is_empty() {
                    let number = frame.number;
                    self.leaving.push_back(Leaving { from, number, sessions, evictions });
                    turns = None;
                }
                // Of what was decided here for its sessions before, the node did not hear.
                let unheard = whole.then(|| self.not_durable(store, now_ms));
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.known = true;
                    if unheard.is_some() {
                        peer.unheard = unheard;
                    }
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.unacknowledged.push_back((frame.number, turns));
        }
    }

    /// Applies what another node told; sessions it has, who is to be let go of for that, and
    /// whether that was all it has.
    fn take_changes(
        &mut self,
        store: &mut Store,
        place: u16,
        run: &[u8],
    ) -> (Vec<SessionNo>, Vec<Eviction>, bool) {
        let changes = Change::decode_all(run).expect("as it was encoded");
        note(|| format!("site {}: told {changes:?}", self.index));
        let mut moved = Vec::new();
        for change in &changes {
            if let Change::Home { session, client, .. } = change {
                self.clients.insert(*session, Arc::clone(client));
                moved.push(*session);
            }
        }
        let whole = changes.contains(&Change::SnapshotEnd);
        let (cluster, node) = (self.cluster(), Arc::clone(&self.node));
        let mut evictions = Vec::new();
        for errand in cluster.apply(&node.interest, place, changes) {
            match errand {
                Errand::Evict(eviction) => evictions.push(eviction),
                Errand::CatchUp(client) => self.catch_up(store, &client),
                Errand::Forget(session) => drop(self.clients.remove(&session)),
            }
        }
        (moved, evictions, whole)
    }

    /// A worker lets go of sessions that another node has; whether there were any. What was routed
    /// before, and to the old place, is to be written down before the other node may read.
    pub(crate) fn let_go(&mut self, store: &mut Store, now_ms: u64) -> bool {
        let Some(Leaving { from, number, sessions, evictions }) = self.leaving.pop_front() else {
            return false;
        };
        for eviction in evictions {
            let at = self.node.owner(&eviction.client);
            let was = self.workers[usize::from(at)].evict(now_ms, &eviction);
            note(|| format!("site {}: {eviction:?}: {was}", self.index));
            self.note_closes(at);
        }
        for worker in 0..self.workers.len() as u16 {
            self.end_turn(store, worker, now_ms);
        }
        let turns = sessions.iter().flat_map(|session| self.writes_for(*session)).collect();
        let peer = self.peers.get_mut(&from);
        let mut frames = peer.into_iter().flat_map(|peer| &mut peer.unacknowledged);
        if let Some((_, waits)) = frames.find(|(it, _)| *it == number) {
            *waits = Some(turns);
        }
        true
    }

    /// Acknowledges what may be; whether there was anything.
    pub(crate) fn acknowledge(&mut self, from: usize, wires: &mut Wires) -> bool {
        let mut moved = false;
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        while let Some((number, turns)) = peer.unacknowledged.front() {
            let done = |turn: &Turn| self.pending.get(turn).is_none_or(|it| it.left == 0);
            if !turns.as_ref().is_some_and(|turns| turns.iter().all(done)) {
                break;
            }
            // The acknowledgement goes back on the wire the frame came by.
            let wire = wires.entry((from, self.index)).or_default();
            if wire.down || wire.between != (peer.incarnation, self.incarnation) {
                break;
            }
            wire.acks.push_back(*number);
            peer.unacknowledged.pop_front();
            moved = true;
        }
        moved
    }

    /// The other node has taken frames up to that number.
    pub(crate) fn acknowledged(&mut self, by: usize, number: u64) {
        let Some(peer) = self.peers.get_mut(&by) else { return };
        while peer.frames.front().is_some_and(|frame| frame.number <= number) {
            if let Some(Frame { load: Load::Changes(_, seq), .. }) = peer.frames.pop_front() {
                peer.confirmed = peer.confirmed.max(seq);
            }
        }
    }

    /// Something another node sent may be missing.
    pub(crate) fn catch_up_all(&mut self, store: &mut Store) {
        let residents: Vec<Arc<str>> = self.clients.values().cloned().collect();
        for client in residents {
            self.catch_up(store, &client);
        }
    }

    /// Reads a session's waiting entries, once more if that is going on.
    pub(crate) fn catch_up(&mut self, store: &mut Store, client: &Arc<str>) {
        if self.reading.contains_key(client) || self.doors.contains_key(client) {
            self.again.insert(Arc::clone(client));
            return;
        }
        let Some(session) = self.worker_of(client).begin_catch_up(client) else { return };
        note(|| format!("site {}: catches up with {client}", self.index));
        let request = store.ask(self.index, &of_client(client), Ask::Waiting(session), None);
        self.reading.insert(Arc::clone(client), request);
    }

    /// A reading, or the serving of a door, is over.
    pub(crate) fn caught_up(&mut self, store: &mut Store, client: &Arc<str>) {
        if self.again.remove(client) {
            self.catch_up(store, client);
        }
    }
}
